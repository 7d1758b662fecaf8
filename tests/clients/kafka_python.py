"""kafka-python with the verbs of README.md."""

import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

import records

LIMIT = 20_000_000


def create(broker, partitions, configs, *topics):
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.create_topics([NewTopic(t, int(partitions), 1, topic_configs=records.configs(configs)) for t in topics])
    admin.close()


def write(broker, path, *topics):
    for topic, codec in (pair.split(":") for pair in topics):
        codec = None if codec == "none" else codec
        producer = KafkaProducer(bootstrap_servers=broker, acks="all", compression_type=codec, linger_ms=20,
                                 max_request_size=LIMIT)
        sent = [producer.send(topic, value, key, headers, 0, timestamp)
                for timestamp, key, value, headers in records.read_file(path)]
        producer.flush(120)
        for future in sent:
            future.get(60)
        producer.close()


def messages(broker, topic, partitions, limit):
    consumer = KafkaConsumer(bootstrap_servers=broker, group_id=None, max_partition_fetch_bytes=limit,
                             fetch_max_bytes=max(limit, 1_000), fetch_max_wait_ms=50)
    parts = [TopicPartition(topic, p) for p in range(partitions)]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    ends = consumer.end_offsets(parts)
    until = time.time() + 180
    while any(consumer.position(part) < ends[part] for part in parts):
        if time.time() > until:
            sys.exit(f"{topic}: nothing more to read")
        for batch in consumer.poll(1000).values():
            yield from batch
    consumer.close()


def read(broker, *topics):
    for topic in topics:
        print(f"> {topic}")
        for message in messages(broker, topic, 1, LIMIT):
            print(records.line(message.timestamp, message.key, message.value, message.headers))


def bulk_read(broker, topic, partitions, count, limit):
    seen = [0] * int(partitions)
    for message in messages(broker, topic, int(partitions), int(limit)):
        number = int(message.value[:10])
        if number != seen[message.partition]:
            sys.exit(f"partition {message.partition}: {number} instead of {seen[message.partition]}")
        seen[message.partition] += 1
    if seen != [int(count)] * int(partitions):
        sys.exit(f"read {sum(seen)} of {int(partitions) * int(count)}")
    print(sum(seen))


globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
