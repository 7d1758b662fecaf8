"""aiokafka with the verbs of ../README.md."""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

import ending


async def produce(broker, topic, start, count):
    async with AIOKafkaProducer(bootstrap_servers=broker, enable_idempotence=True) as producer:
        sent = [await producer.send(topic, str(n).encode(), f"key-{n % 100}".encode()) for n in range(int(start), int(start) + int(count))]
        await asyncio.gather(*sent)


class Owned(ConsumerRebalanceListener):
    async def on_partitions_revoked(self, revoked):
        pass

    async def on_partitions_assigned(self, assigned):
        ending.owns(part.partition for part in assigned)


def consumer_of(broker, group, topic, protocol):
    ending.wait()
    assert protocol == "classic", protocol
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
                                session_timeout_ms=10_000, heartbeat_interval_ms=500, fetch_max_wait_ms=100, isolation_level="read_committed")
    consumer.subscribe([topic], listener=Owned())
    return consumer


async def member(broker, group, topic, protocol):
    async with consumer_of(broker, group, topic, protocol) as consumer:
        while not ending.over.is_set():
            batches = await consumer.getmany(timeout_ms=100)
            for batch in batches.values():
                for record in batch:
                    ending.show(record.partition, record.offset, record.key, record.value)
            if batches:
                try:
                    await consumer.commit()
                except KafkaError as error:
                    print(repr(error), file=sys.stderr)


async def copy(broker, group, source, target, name, protocol):
    number = 0
    async with consumer_of(broker, group, source, protocol) as consumer, AIOKafkaProducer(bootstrap_servers=broker, transactional_id=name) as producer:
        while not ending.over.is_set():
            batches = await consumer.getmany(timeout_ms=100)
            records = [record for batch in batches.values() for record in batch]
            if not records:
                continue
            if number % 3 == 0:
                await transaction(producer, group, target, records)
                await producer.abort_transaction()
            number += 1
            await transaction(producer, group, target, records)
            await producer.commit_transaction()
            for record in records:
                ending.show(record.partition, record.offset, record.key, record.value)


async def transaction(producer, group, target, records):
    await producer.begin_transaction()
    offsets = {}
    for record in records:
        await producer.send(target, record.value, record.key)
        offsets[TopicPartition(record.topic, record.partition)] = record.offset + 1
    await producer.send_offsets_to_transaction(offsets, group)


async def committed(broker, topic):
    async with AIOKafkaConsumer(bootstrap_servers=broker, isolation_level="read_committed", fetch_max_wait_ms=100) as consumer:
        await consumer._client.set_topics([topic])
        parts = [TopicPartition(topic, part) for part in consumer.partitions_for_topic(topic)]
        consumer.assign(parts)
        await consumer.seek_to_beginning(*parts)
        ends = await consumer.end_offsets(parts)
        async with asyncio.timeout(60):
            while [part for part in parts if await consumer.position(part) < ends[part]]:
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    for record in batch:
                        ending.show(record.partition, record.offset, record.key, record.value)


asyncio.run(globals()[sys.argv[1]](*sys.argv[2:]))
