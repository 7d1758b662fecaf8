"""confluent-kafka (librdkafka) with the verbs of ../README.md."""

import os
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

import ending


def produce(broker, topic, start, count):
    failures = []
    producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True, "linger.ms": 5})
    for n in range(int(start), int(start) + int(count)):
        producer.produce(topic, str(n), f"key-{n % 100}", on_delivery=lambda e, _: failures.append(e) if e else None)
    if producer.flush(60) or failures:
        sys.exit(f"not delivered: {failures[:3]}")


def member(broker, group, topic, protocol):
    consumer = joined(broker, group, topic, protocol)
    while not ending.over.is_set():
        batch = polled(consumer)
        for message in batch:
            ending.show(message.partition(), message.offset(), message.key(), message.value())
        if batch:
            try:
                consumer.commit(asynchronous=False)
            except KafkaException as error:
                print(error, file=sys.stderr)
    consumer.close()


def copy(broker, group, source, target, name, protocol):
    consumer = joined(broker, group, source, protocol)
    producer = Producer({"bootstrap.servers": broker, "transactional.id": name})
    producer.init_transactions(60)
    number = 0
    while not ending.over.is_set():
        batch = polled(consumer)
        if not batch:
            continue
        if number % 3 == 0:
            transaction(producer, consumer, target, batch)
            producer.abort_transaction(60)
        number += 1
        transaction(producer, consumer, target, batch)
        producer.commit_transaction(60)
        for message in batch:
            ending.show(message.partition(), message.offset(), message.key(), message.value())
    consumer.close()


def transaction(producer, consumer, target, batch):
    producer.begin_transaction()
    offsets = {}
    for message in batch:
        producer.produce(target, message.value(), message.key())
        offsets[message.partition()] = TopicPartition(message.topic(), message.partition(), message.offset() + 1)
    producer.send_offsets_to_transaction(list(offsets.values()), consumer.consumer_group_metadata(), 60)


def joined(broker, group, topic, protocol):
    ending.wait()
    timing = {} if protocol == "consumer" else {"session.timeout.ms": int(os.environ.get("SESSION_MS", 10_000)), "heartbeat.interval.ms": 500}
    consumer = Consumer({"bootstrap.servers": broker, "group.id": group, "group.protocol": protocol, "auto.offset.reset": "earliest",
                         "enable.auto.commit": False, "isolation.level": "read_committed", "fetch.wait.max.ms": 100, **timing})
    consumer.subscribe([topic], on_assign=lambda _, parts: ending.owns(part.partition for part in parts))
    return consumer


def polled(consumer):
    batch = []
    for message in consumer.consume(int(os.environ.get("BATCH", 100)), 0.1):
        if message.error() is None:
            batch.append(message)
        elif not message.error().retriable():
            print(message.error(), file=sys.stderr)
    return batch


def committed(broker, topic):
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "unused", "enable.auto.commit": False, "isolation.level": "read_committed",
                         "enable.partition.eof": True})
    parts = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, part, OFFSET_BEGINNING) for part in parts])
    left, until = set(parts), time.time() + 60
    while left:
        if time.time() > until:
            sys.exit("nothing more to read")
        for message in consumer.consume(500, 0.2):
            if message.error() is None:
                ending.show(message.partition(), message.offset(), message.key(), message.value())
            else:
                left.discard(message.partition())
    consumer.close()


globals()[sys.argv[1]](*sys.argv[2:])
