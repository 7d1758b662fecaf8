"""An idempotent producer that writes until it is told to stop, and notes what was acknowledged.

    producer.py write BROKER TOPIC PARTITIONS NOTES   until standard input ends; a line `partition offset number` each
    producer.py read BROKER TOPIC PARTITIONS          the same lines of everything that is there
"""

import select
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition


def write(broker, topic, partitions, notes):
    with open(notes, "w", buffering=1) as acknowledged:
        failures = []

        def delivered(error, message):
            if error is not None:
                failures.append(str(error))
            else:
                acknowledged.write(f"{message.partition()} {message.offset()} {message.value().decode()}\n")

        producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True, "linger.ms": 2,
                             "delivery.timeout.ms": 300_000, "retry.backoff.ms": 20,
                             "reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 100})
        number = 0
        while not failures and not select.select([sys.stdin], [], [], 0)[0]:
            # Enough to keep requests under way all the time, not enough to fill the disk.
            if len(producer) < 2_000:
                for _ in range(100):
                    producer.produce(topic, str(number).encode(), partition=number % int(partitions), on_delivery=delivered)
                    number += 1
            producer.poll(0.01)
        left = producer.flush(120)
        if failures or left:
            sys.exit(f"{left} not delivered; {failures[:3]}")


def read(broker, topic, partitions):
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "unused", "enable.auto.commit": False})
    ends = {}
    for partition in range(int(partitions)):
        for _ in range(60):
            try:
                ends[partition] = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
                break
            except KafkaException:
                time.sleep(0.5)
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in ends])
    left = {partition for partition, end in ends.items() if end}
    until = time.time() + 120
    while left and time.time() < until:
        for message in consumer.consume(1000, 0.1):
            if message.error():
                sys.exit(str(message.error()))
            print(message.partition(), message.offset(), message.value().decode())
            if message.offset() + 1 >= ends[message.partition()]:
                left.discard(message.partition())
    if left or len(ends) < int(partitions):
        sys.exit(f"not read to the end: {left}")
    consumer.close()


{"write": write, "read": read}[sys.argv[1]](*sys.argv[2:])
