"""kafka-python of any age, with the verbs of ../README.md; transactions where it has them."""

import logging
import sys
import time

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

import ending

# Where it stands still, this says where.
logging.basicConfig(level=logging.INFO)


def produce(broker, topic, start, count):
    producer = KafkaProducer(bootstrap_servers=broker, acks="all", linger_ms=5)
    sent = [producer.send(topic, str(n).encode(), f"key-{n % 100}".encode()) for n in range(int(start), int(start) + int(count))]
    for future in sent:
        future.get(60)
    producer.close()


def joined(broker, group, topic, protocol):
    ending.wait()
    assert protocol == "classic", protocol
    consumer = KafkaConsumer(topic, bootstrap_servers=broker, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
                             session_timeout_ms=10_000, heartbeat_interval_ms=500, fetch_max_wait_ms=100)
    return consumer


def member(broker, group, topic, protocol):
    consumer, owned = joined(broker, group, topic, protocol), None
    while not ending.over.is_set():
        batches = consumer.poll(100)
        owned = told(consumer, owned)
        for batch in batches.values():
            for record in batch:
                ending.show(record.partition, record.offset, record.key, record.value)
        if batches:
            try:
                consumer.commit()
            except KafkaError as error:
                print(repr(error), file=sys.stderr)
    consumer.close()


def told(consumer, before):
    owned = {part.partition for part in consumer.assignment()}
    if owned != before:
        ending.owns(owned)
    return owned


def copy(broker, group, source, target, name, protocol):
    consumer, owned = joined(broker, group, source, protocol), None
    producer = KafkaProducer(bootstrap_servers=broker, transactional_id=name)
    producer.init_transactions()
    number = 0
    while not ending.over.is_set():
        batches = consumer.poll(100)
        owned = told(consumer, owned)
        records = [record for batch in batches.values() for record in batch]
        if not records:
            continue
        if number % 3 == 0:
            transaction(producer, consumer, target, records)
            producer.abort_transaction()
        number += 1
        transaction(producer, consumer, target, records)
        producer.commit_transaction()
        for record in records:
            ending.show(record.partition, record.offset, record.key, record.value)
    consumer.close()
    producer.close()


def transaction(producer, consumer, target, records):
    producer.begin_transaction()
    offsets = {}
    for record in records:
        producer.send(target, record.value, record.key)
        offsets[TopicPartition(record.topic, record.partition)] = OffsetAndMetadata(record.offset + 1, "", -1)
    producer.send_offsets_to_transaction(offsets, consumer.group_metadata())


def committed(broker, topic):
    consumer = KafkaConsumer(bootstrap_servers=broker, isolation_level="read_committed", fetch_max_wait_ms=100)
    parts = [TopicPartition(topic, part) for part in consumer.partitions_for_topic(topic)]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    ends, until = consumer.end_offsets(parts), time.time() + 60
    while any(consumer.position(part) < ends[part] for part in parts):
        if time.time() > until:
            sys.exit("nothing more to read")
        for batch in consumer.poll(200).values():
            for record in batch:
                ending.show(record.partition, record.offset, record.key, record.value)
    consumer.close()


globals()[sys.argv[1]](*sys.argv[2:])
