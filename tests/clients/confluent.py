"""confluent-kafka (librdkafka) with the verbs of README.md."""

import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import records

LIMIT = 20_000_000


def create(broker, partitions, configs, *topics):
    admin = AdminClient({"bootstrap.servers": broker})
    new = [NewTopic(t, num_partitions=int(partitions), config=records.configs(configs)) for t in topics]
    for done in admin.create_topics(new, operation_timeout=30).values():
        done.result(60)


def write(broker, path, *topics):
    for topic, codec in (pair.split(":") for pair in topics):
        batch = {"compression.type": codec, "linger.ms": 20, "message.max.bytes": LIMIT}
        with_producer(broker, batch, topic, ((0, *record) for record in records.read_file(path)))


def bulk_write(broker, topic, partitions, count, size):
    def all_records():
        for number in range(int(count)):
            for partition in range(int(partitions)):
                yield partition, 0, None, records.bulk_value(number, int(size)), []

    with_producer(broker, {"linger.ms": 20, "queue.buffering.max.messages": 100_000}, topic, all_records())


def with_producer(broker, config, topic, all_records):
    producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True, **config})
    failures = []

    def delivered(error, _message):
        if error is not None:
            failures.append(error)

    for partition, timestamp, key, value, headers in all_records:
        while True:
            try:
                producer.produce(topic, value, key, partition, delivered, timestamp=timestamp, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(120) or failures:
        sys.exit(f"{topic}: not delivered: {failures[:3]}")


def messages(broker, topic, partitions, config):
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "unused", "enable.auto.commit": False,
                         "fetch.message.max.bytes": LIMIT, **config})
    wanted = {p: end_offset(consumer, TopicPartition(topic, p)) for p in range(partitions)}
    left = {p: end for p, end in wanted.items() if end > 0}
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in left])
    until = time.time() + 180
    while left:
        if time.time() > until:
            sys.exit(f"{topic}: nothing more to read, partitions left: {list(left.items())[:3]}")
        for message in consumer.consume(500, 0.1):
            if message.error():
                sys.exit(f"{topic}: {message.error()}")
            yield message
            if message.offset() + 1 >= wanted[message.partition()]:
                left.pop(message.partition(), None)
    consumer.close()


def end_offset(consumer, partition):
    """Tries again for a while: a node that has just started may not lead its partitions yet."""
    for _ in range(60):
        try:
            return consumer.get_watermark_offsets(partition, timeout=30)[1]
        except KafkaException as error:
            failure = error
            time.sleep(0.5)
    sys.exit(f"{partition}: {failure}")


def read(broker, *topics):
    for topic in topics:
        print(f"> {topic}")
        for message in messages(broker, topic, 1, {}):
            print(records.line(message.timestamp()[1], message.key(), message.value(), message.headers()))


def bulk_read(broker, topic, partitions, count, limit):
    seen = [0] * int(partitions)
    small = {"max.partition.fetch.bytes": int(limit), "fetch.max.bytes": max(int(limit), 1_000), "message.max.bytes": 1_000}
    for message in messages(broker, topic, int(partitions), {"fetch.message.max.bytes": int(limit), **small}):
        number = int(message.value()[:10])
        if number != seen[message.partition()]:
            sys.exit(f"partition {message.partition()}: {number} instead of {seen[message.partition()]}")
        seen[message.partition()] += 1
    if seen != [int(count)] * int(partitions):
        sys.exit(f"read {sum(seen)} of {int(partitions) * int(count)}")
    print(sum(seen))


globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
