/* Transactions as a Java program makes them; works with every kafka-clients since 2.1. Ends with 0 if all is as it should be. */

import java.lang.reflect.Method;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

public class Transactions {
    static String broker;

    public static void main(String[] args) throws Exception {
        broker = args[0];
        String run = args.length > 1 ? args[1] : "java";
        String in = run + "-in", out = run + "-out", group = run + "-group";
        create(in, out);
        commitAndAbort(run, in);
        fence(run, in);
        copy(run, in, out, group);
        timeOut(run, in);
        System.out.println("transactions: ok");
    }

    static void create(String... topics) throws Exception {
        try (Admin admin = Admin.of()) {
            admin.create(topics);
        }
    }

    /** Both generations of the admin's class. */
    static class Admin implements AutoCloseable {
        final AdminClient client;

        Admin(AdminClient client) {
            this.client = client;
        }

        static Admin of() {
            return new Admin(AdminClient.create(Map.of("bootstrap.servers", broker)));
        }

        void create(String... topics) throws Exception {
            List<NewTopic> all = new ArrayList<>();
            for (String topic : topics) all.add(new NewTopic(topic, 3, (short) 1));
            try {
                client.createTopics(all).all().get();
            } catch (java.util.concurrent.ExecutionException failure) {
                // The answer to the first attempt may have been lost with the node.
                if (!(failure.getCause() instanceof org.apache.kafka.common.errors.TopicExistsException)) throw failure;
            }
        }

        @Override
        public void close() {
            client.close();
        }
    }

    static KafkaProducer<String, String> producer(String id, int timeoutMs) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", broker);
        config.put("transactional.id", id);
        config.put("transaction.timeout.ms", timeoutMs);
        config.put("delivery.timeout.ms", 30000);
        config.put("request.timeout.ms", 20000);
        config.put("linger.ms", 0);
        return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(String group, String isolation) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", broker);
        config.put("group.id", group);
        config.put("isolation.level", isolation);
        config.put("enable.auto.commit", false);
        config.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    static List<String> read(String topic, String isolation) {
        List<String> values = new ArrayList<>();
        try (KafkaConsumer<String, String> consumer = consumer("unused", isolation)) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (int p = 0; p < 3; p++) partitions.add(new TopicPartition(topic, p));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            long until = System.currentTimeMillis() + 30000;
            while (!partitions.stream().allMatch(p -> consumer.position(p) >= ends.get(p))) {
                if (System.currentTimeMillis() > until) throw new IllegalStateException("cannot read to the end of " + topic);
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) values.add(record.value());
            }
        }
        Collections.sort(values);
        return values;
    }

    static void expect(Object expected, Object is, String what) {
        if (!expected.equals(is)) throw new IllegalStateException(what + ": expected " + expected + ", is " + is);
    }

    static void commitAndAbort(String run, String topic) throws Exception {
        List<String> committed = new ArrayList<>();
        try (KafkaProducer<String, String> producer = producer(run + "-a", 60000)) {
            producer.initTransactions();
            for (int round = 0; round < 20; round++) {
                boolean commits = round % 3 != 1;
                producer.beginTransaction();
                for (int i = 0; i < 30; i++) {
                    String value = String.format("%03d-%02d", round, i);
                    producer.send(new ProducerRecord<>(topic, i % 3, null, value));
                    if (commits) committed.add(value);
                }
                if (commits) {
                    producer.commitTransaction();
                } else {
                    producer.flush();
                    producer.abortTransaction();
                }
            }
            // An empty one, of either kind.
            producer.beginTransaction();
            producer.commitTransaction();
            producer.beginTransaction();
            producer.abortTransaction();
        }
        Collections.sort(committed);
        expect(committed, read(topic, "read_committed"), "committed");
        expect(600, read(topic, "read_uncommitted").size(), "everything");
    }

    static void fence(String run, String topic) throws Exception {
        int before = read(topic, "read_committed").size();
        try (KafkaProducer<String, String> first = producer(run + "-f", 60000);
             KafkaProducer<String, String> second = producer(run + "-f", 60000)) {
            first.initTransactions();
            first.beginTransaction();
            first.send(new ProducerRecord<>(topic, 0, null, "of the first")).get();
            second.initTransactions();
            try {
                first.send(new ProducerRecord<>(topic, 1, null, "of the first, late"));
                first.commitTransaction();
                throw new IllegalStateException("a fenced producer has committed");
            } catch (org.apache.kafka.common.KafkaException expected) {
                // Whether it says "fenced" or "invalid epoch" differs between releases.
            }
            second.beginTransaction();
            second.send(new ProducerRecord<>(topic, 0, null, "of the second")).get();
            second.commitTransaction();
        }
        List<String> now = read(topic, "read_committed");
        expect(before + 1, now.size(), "after fencing");
        expect(true, now.contains("of the second"), "the second's record");
    }

    /** Reads, writes and commits what was read, exactly once, through two aborts. */
    static void copy(String run, String in, String out, String group) throws Exception {
        List<String> all = read(in, "read_committed");
        int rounds = 0;
        try (KafkaConsumer<String, String> consumer = consumer(group, "read_committed");
             KafkaProducer<String, String> producer = producer(run + "-c", 60000)) {
            producer.initTransactions();
            List<TopicPartition> partitions = new ArrayList<>();
            for (int p = 0; p < 3; p++) partitions.add(new TopicPartition(in, p));
            consumer.assign(partitions);
            int copied = 0;
            while (copied < all.size()) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofSeconds(20));
                if (records.isEmpty()) throw new IllegalStateException("nothing more to copy after " + copied);
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (ConsumerRecord<String, String> record : records) {
                    producer.send(new ProducerRecord<>(out, record.partition(), null, record.value()));
                }
                for (TopicPartition partition : records.partitions()) offsets.put(partition, new OffsetAndMetadata(consumer.position(partition)));
                sendOffsets(producer, consumer, offsets, group);
                if (rounds++ < 2) {
                    producer.abortTransaction();
                    for (TopicPartition partition : records.partitions()) consumer.seek(partition, records.records(partition).get(0).offset());
                } else {
                    producer.commitTransaction();
                    copied += records.count();
                }
            }
            for (TopicPartition partition : partitions) {
                OffsetAndMetadata committed = committed(consumer, partition);
                expect(consumer.position(partition), committed == null ? -1L : committed.offset(), "committed offset of " + partition);
            }
        }
        expect(all, read(out, "read_committed"), "the copy");
    }

    /** The group was named by itself once, and is named by its consumer now. */
    static void sendOffsets(KafkaProducer<String, String> producer, KafkaConsumer<String, String> consumer,
                            Map<TopicPartition, OffsetAndMetadata> offsets, String group) throws Exception {
        for (Method method : KafkaProducer.class.getMethods()) {
            if (!method.getName().equals("sendOffsetsToTransaction")) continue;
            boolean byName = method.getParameterTypes()[1] == String.class;
            Object who = byName ? group : KafkaConsumer.class.getMethod("groupMetadata").invoke(consumer);
            method.invoke(producer, offsets, who);
            return;
        }
        throw new IllegalStateException("no sendOffsetsToTransaction");
    }

    @SuppressWarnings({"unchecked", "deprecation"})
    static OffsetAndMetadata committed(KafkaConsumer<String, String> consumer, TopicPartition partition) throws Exception {
        try {
            Method many = KafkaConsumer.class.getMethod("committed", Set.class);
            return ((Map<TopicPartition, OffsetAndMetadata>) many.invoke(consumer, Set.of(partition))).get(partition);
        } catch (NoSuchMethodException old) {
            return (OffsetAndMetadata) KafkaConsumer.class.getMethod("committed", TopicPartition.class).invoke(consumer, partition);
        }
    }

    /** Nobody ends it: the coordinator does, and readers go on. */
    static void timeOut(String run, String topic) throws Exception {
        int before = read(topic, "read_committed").size();
        try (KafkaProducer<String, String> hanging = producer(run + "-t", 1000)) {
            hanging.initTransactions();
            hanging.beginTransaction();
            hanging.send(new ProducerRecord<>(topic, 2, null, "never")).get();
            try (KafkaProducer<String, String> other = producer(run + "-o", 60000)) {
                other.initTransactions();
                other.beginTransaction();
                other.send(new ProducerRecord<>(topic, 2, null, "behind it")).get();
                other.commitTransaction();
            }
            long until = System.currentTimeMillis() + 40000;
            while (read(topic, "read_committed").size() == before) {
                if (System.currentTimeMillis() > until) throw new IllegalStateException("the transaction hangs");
                Thread.sleep(500);
            }
            expect(before + 1, read(topic, "read_committed").size(), "after the timeout");
            try {
                hanging.commitTransaction();
                throw new IllegalStateException("a transaction was committed after its timeout");
            } catch (org.apache.kafka.common.KafkaException expected) {
            }
        }
    }
}
