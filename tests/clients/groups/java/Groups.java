// The Java client of any generation from 2.1 on, with the verbs of ../README.md.

import java.io.IOException;
import java.lang.reflect.Method;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public final class Groups {
    private static volatile boolean over = false;

    public static void main(String[] a) throws Exception {
        switch (a[0]) {
            case "produce": produce(a[1], a[2], Integer.parseInt(a[3]), Integer.parseInt(a[4])); break;
            case "member": member(a[1], a[2], a[3], a[4]); break;
            case "copy": copy(a[1], a[2], a[3], a[4], a[5], a[6]); break;
            case "committed": committed(a[1], a[2]); break;
            default: throw new IllegalArgumentException(a[0]);
        }
    }

    private static void produce(String broker, String topic, int from, int count) throws Exception {
        try (KafkaProducer<String, String> producer = producer(broker, null)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int n = from; n < from + count; n++) sent.add(producer.send(new ProducerRecord<>(topic, "key-" + n % 100, "" + n)));
            for (Future<RecordMetadata> one : sent) one.get();
        }
    }

    private static void member(String broker, String group, String topic, String protocol) {
        try (KafkaConsumer<String, String> consumer = consumer(broker, group, topic, protocol)) {
            while (!over) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                for (ConsumerRecord<String, String> record : records) print(record);
                if (!records.isEmpty()) commit(consumer, records);
            }
        }
    }

    // A rebalance between poll and commit is an ordinary thing: what was not committed is read again.
    private static void commit(KafkaConsumer<String, String> consumer, ConsumerRecords<String, String> records) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (ConsumerRecord<String, String> record : records) offsets.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
        try {
            consumer.commitSync(offsets, Duration.ofSeconds(60));
            offsets.forEach((part, offset) -> System.out.println("committed " + part.partition() + " " + offset.offset()));
        } catch (org.apache.kafka.clients.consumer.CommitFailedException | org.apache.kafka.common.errors.RebalanceInProgressException error) {
            System.err.println(error);
        }
    }

    private static void copy(String broker, String group, String from, String to, String id, String protocol) throws Exception {
        int number = 0;
        try (KafkaConsumer<String, String> consumer = consumer(broker, group, from, protocol); KafkaProducer<String, String> producer = producer(broker, id)) {
            producer.initTransactions();
            while (!over) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                if (records.isEmpty()) continue;
                if (number++ % 3 == 0) {
                    transaction(producer, consumer, group, to, records);
                    producer.abortTransaction();
                }
                transaction(producer, consumer, group, to, records);
                producer.commitTransaction();
                for (ConsumerRecord<String, String> record : records) print(record);
            }
        }
    }

    private static void transaction(KafkaProducer<String, String> producer, KafkaConsumer<String, String> consumer, String group, String to, ConsumerRecords<String, String> records) throws Exception {
        producer.beginTransaction();
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (ConsumerRecord<String, String> record : records) {
            producer.send(new ProducerRecord<>(to, record.key(), record.value()));
            offsets.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        // The form with the name of the group left in 4.0, the one with all of its metadata came in 2.5.
        for (Method method : KafkaProducer.class.getMethods()) {
            if (!method.getName().equals("sendOffsetsToTransaction")) continue;
            boolean old = method.getParameterTypes()[1] == String.class;
            if (old && hasMetadata()) continue;
            method.invoke(producer, offsets, old ? group : KafkaConsumer.class.getMethod("groupMetadata").invoke(consumer));
            return;
        }
    }

    private static boolean hasMetadata() {
        return Arrays.stream(KafkaConsumer.class.getMethods()).anyMatch(method -> method.getName().equals("groupMetadata"));
    }

    private static void committed(String broker, String topic) {
        Properties properties = properties(broker);
        properties.put("isolation.level", "read_committed");
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> parts = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(part -> parts.add(new TopicPartition(topic, part.partition())));
            consumer.assign(parts);
            consumer.seekToBeginning(parts);
            Map<TopicPartition, Long> ends = consumer.endOffsets(parts);
            long until = System.currentTimeMillis() + 60_000;
            while (parts.stream().anyMatch(part -> consumer.position(part) < ends.get(part))) {
                if (System.currentTimeMillis() > until) throw new IllegalStateException("nothing more to read");
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) print(record);
            }
        }
    }

    private static KafkaConsumer<String, String> consumer(String broker, String group, String topic, String protocol) {
        Thread ending = new Thread(() -> {
            try {
                while (System.in.read() >= 0) { }
            } catch (IOException ignored) {
            }
            over = true;
        });
        ending.setDaemon(true);
        ending.start();
        Properties properties = properties(broker);
        properties.put("group.id", group);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        properties.put("isolation.level", "read_committed");
        if (protocol.equals("consumer")) {
            properties.put("group.protocol", "consumer");
        } else {
            properties.put("session.timeout.ms", System.getenv().getOrDefault("SESSION_MS", "10000"));
            properties.put("heartbeat.interval.ms", "500");
        }
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
        consumer.subscribe(Collections.singletonList(topic), new ConsumerRebalanceListener() {
            @Override public void onPartitionsRevoked(Collection<TopicPartition> gone) { }
            @Override public void onPartitionsAssigned(Collection<TopicPartition> come) {
                StringJoiner owned = new StringJoiner(" ", "owns ", "");
                for (TopicPartition part : consumer.assignment()) owned.add("" + part.partition());
                System.out.println(owned);
            }
        });
        return consumer;
    }

    private static KafkaProducer<String, String> producer(String broker, String id) {
        Properties properties = properties(broker);
        properties.put("acks", "all");
        properties.put("enable.idempotence", "true");
        if (id != null) properties.put("transactional.id", id);
        return new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
    }

    private static Properties properties(String broker) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", broker);
        return properties;
    }

    private static void print(ConsumerRecord<String, String> record) {
        System.out.println(record.partition() + " " + record.offset() + " " + record.key() + " " + record.value());
    }
}
