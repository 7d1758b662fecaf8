"""Transactions as a program of confluent-kafka (librdkafka) makes them. Ends with 0 if all is as it should be."""

import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 3
broker = sys.argv[1]
run = sys.argv[2] if len(sys.argv) > 2 else "librdkafka"


def create(*topics):
    admin = AdminClient({"bootstrap.servers": broker})
    new = [NewTopic(topic, num_partitions=PARTITIONS) for topic in topics]
    for done in admin.create_topics(new, operation_timeout=30).values():
        try:
            done.result(60)
        except KafkaException as error:
            # The answer to the first attempt may have been lost with the node.
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise


def producer(name, timeout_ms=60_000):
    made = Producer({"bootstrap.servers": broker, "transactional.id": f"{run}-{name}", "linger.ms": 0,
                     "transaction.timeout.ms": timeout_ms})
    made.init_transactions(60)
    return made


def consumer(group, isolation):
    return Consumer({"bootstrap.servers": broker, "group.id": group, "isolation.level": isolation,
                     "enable.auto.commit": False, "auto.offset.reset": "earliest",
                     "enable.partition.eof": True})


def read(topic, isolation):
    reader = consumer("unused", isolation)
    reader.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    values, ends, until = [], set(), time.time() + 60
    while len(ends) < PARTITIONS:
        if time.time() > until:
            sys.exit(f"cannot read to the end of {topic}: {ends}")
        message = reader.poll(0.2)
        if message is None:
            continue
        if message.error() is None:
            values.append(message.value().decode())
        elif message.error().name() == "_PARTITION_EOF":
            ends.add(message.partition())
        else:
            sys.exit(f"{topic}: {message.error()}")
    reader.close()
    return sorted(values)


def expect(expected, actual, what):
    if expected != actual:
        sys.exit(f"{what}: expected {expected}, is {actual}")


def commit_and_abort(topic):
    writer, committed = producer("a"), []
    for number in range(20):
        commits = number % 3 != 1
        writer.begin_transaction()
        for i in range(30):
            value = f"{number:03}-{i:02}"
            writer.produce(topic, value, partition=i % PARTITIONS)
            if commits:
                committed.append(value)
        if commits:
            writer.commit_transaction(60)
        else:
            writer.flush(30)
            writer.abort_transaction(60)
    writer.begin_transaction()
    writer.commit_transaction(60)
    writer.begin_transaction()
    writer.abort_transaction(60)
    expect(sorted(committed), read(topic, "read_committed"), "committed")
    expect(600, len(read(topic, "read_uncommitted")), "everything")


def fence(topic):
    before = len(read(topic, "read_committed"))
    first = producer("f")
    first.begin_transaction()
    first.produce(topic, "of the first", partition=0)
    first.flush(30)
    second = producer("f")
    try:
        first.produce(topic, "of the first, late", partition=1)
        first.commit_transaction(60)
        sys.exit("a fenced producer has committed")
    except KafkaException as error:
        if not error.args[0].fatal():
            sys.exit(f"not fenced for good: {error}")
    second.begin_transaction()
    second.produce(topic, "of the second", partition=0)
    second.commit_transaction(60)
    now = read(topic, "read_committed")
    expect(before + 1, len(now), "after fencing")
    expect(True, "of the second" in now, "the second's record")


def copy(source, target, group):
    everything = read(source, "read_committed")
    reader, writer = consumer(group, "read_committed"), producer("c")
    reader.assign([TopicPartition(source, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    copied, rounds, until = 0, 0, time.time() + 60
    while copied < len(everything):
        if time.time() > until:
            sys.exit(f"nothing more to copy after {copied}")
        messages = [m for m in reader.consume(100, 1) if m.error() is None]
        if not messages:
            continue
        writer.begin_transaction()
        for message in messages:
            writer.produce(target, message.value(), partition=message.partition())
        writer.send_offsets_to_transaction(reader.position(reader.assignment()), reader.consumer_group_metadata(), 60)
        rounds += 1
        if rounds <= 2:
            writer.abort_transaction(60)
            first = {}
            for message in messages:
                first.setdefault(message.partition(), message.offset())
            for partition, offset in first.items():
                reader.seek(TopicPartition(source, partition, offset))
        else:
            writer.commit_transaction(60)
            copied += len(messages)
    positions = {p.partition: p.offset for p in reader.position(reader.assignment())}
    stored = {p.partition: p.offset for p in reader.committed(reader.assignment(), 30)}
    expect(positions, stored, "committed offsets")
    reader.close()
    expect(everything, read(target, "read_committed"), "the copy")


def time_out(topic):
    before = len(read(topic, "read_committed"))
    hanging = producer("t", 1000)
    hanging.begin_transaction()
    hanging.produce(topic, "never", partition=2)
    hanging.flush(30)
    other = producer("o")
    other.begin_transaction()
    other.produce(topic, "behind it", partition=2)
    other.commit_transaction(60)
    until = time.time() + 40
    while len(read(topic, "read_committed")) == before:
        if time.time() > until:
            sys.exit("the transaction hangs")
        time.sleep(0.5)
    expect(before + 1, len(read(topic, "read_committed")), "after the timeout")
    try:
        hanging.commit_transaction(60)
        sys.exit("a transaction was committed after its timeout")
    except KafkaException:
        pass


create(f"{run}-in", f"{run}-out")
commit_and_abort(f"{run}-in")
fence(f"{run}-in")
copy(f"{run}-in", f"{run}-out", f"{run}-group")
time_out(f"{run}-in")
print("transactions: ok")
