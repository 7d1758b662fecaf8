// The Java client of any generation from 2.1 on, with the verbs of ../README.md.

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import java.util.zip.CRC32;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Client {
    private static final String LIMIT = "20000000";
    private static final PrintStream out = new PrintStream(System.out, false);

    public static void main(String[] a) throws Exception {
        switch (a[0]) {
            case "create": create(a[1], Integer.parseInt(a[2]), a[3], Arrays.copyOfRange(a, 4, a.length)); break;
            case "write": write(a[1], a[2], Arrays.copyOfRange(a, 3, a.length)); break;
            case "read": read(a[1], Arrays.copyOfRange(a, 2, a.length)); break;
            case "bulk-write": bulkWrite(a[1], a[2], Integer.parseInt(a[3]), Integer.parseInt(a[4]), Integer.parseInt(a[5])); break;
            case "bulk-read": bulkRead(a[1], a[2], Integer.parseInt(a[3]), Integer.parseInt(a[4]), a[5]); break;
            default: throw new IllegalArgumentException(a[0]);
        }
        out.flush();
    }

    private static void create(String broker, int partitions, String given, String[] topics) throws Exception {
        Map<String, String> configs = new HashMap<>();
        if (!given.equals("-")) for (String pair : given.split(",")) configs.put(pair.split("=")[0], pair.split("=")[1]);
        try (AdminClient admin = AdminClient.create(properties(broker))) {
            List<NewTopic> created = new ArrayList<>();
            for (String topic : topics) created.add(new NewTopic(topic, partitions, (short) 1).configs(configs));
            admin.createTopics(created).all().get();
        }
    }

    private static void write(String broker, String file, String[] topics) throws Exception {
        List<String> lines = Files.readAllLines(Paths.get(file));
        for (String pair : topics) {
            String topic = pair.split(":")[0];
            try (KafkaProducer<byte[], byte[]> producer = producer(broker, pair.split(":")[1])) {
                List<Future<RecordMetadata>> sent = new ArrayList<>();
                for (String line : lines) {
                    String[] field = line.split("\t", -1);
                    List<Header> headers = new ArrayList<>();
                    for (String header : field[3].split(",")) {
                        if (header.isEmpty()) continue;
                        String[] named = header.split("=", -1);
                        headers.add(new RecordHeader(named[0], bytes(named[1])));
                    }
                    sent.add(producer.send(new ProducerRecord<>(topic, 0, Long.valueOf(field[0]), bytes(field[1]), bytes(field[2]), headers)));
                }
                producer.flush();
                for (Future<RecordMetadata> one : sent) one.get();
            }
        }
    }

    private static void read(String broker, String[] topics) {
        for (String topic : topics) {
            out.println("> " + topic);
            records(broker, topic, 1, LIMIT, record -> {
                StringJoiner headers = new StringJoiner(",");
                for (Header header : record.headers()) headers.add(header.key() + "=" + text(header.value()));
                out.println(record.timestamp() + "\t" + text(record.key()) + "\t" + text(record.value()) + "\t" + headers);
            });
        }
    }

    private static void bulkWrite(String broker, String topic, int partitions, int count, int size) throws Exception {
        char[] padding = new char[size - 10];
        Arrays.fill(padding, 'x');
        try (KafkaProducer<byte[], byte[]> producer = producer(broker, "none")) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int number = 0; number < count; number++) {
                byte[] value = (String.format("%010d", number) + new String(padding)).getBytes(StandardCharsets.UTF_8);
                for (int p = 0; p < partitions; p++) sent.add(producer.send(new ProducerRecord<>(topic, p, null, value)));
            }
            producer.flush();
            for (Future<RecordMetadata> one : sent) one.get();
        }
    }

    private static void bulkRead(String broker, String topic, int partitions, int count, String limit) {
        int[] seen = new int[partitions];
        records(broker, topic, partitions, limit, record -> {
            int number = Integer.parseInt(new String(record.value(), 0, 10, StandardCharsets.UTF_8));
            if (number != seen[record.partition()]++) throw new IllegalStateException("a gap before " + number + " in partition " + record.partition());
        });
        for (int n : seen) if (n != count) throw new IllegalStateException("read " + n + " of " + count);
        out.println((long) partitions * count);
    }

    private static void records(String broker, String topic, int partitions, String limit, Consumer<ConsumerRecord<byte[], byte[]>> each) {
        Properties properties = properties(broker);
        properties.put("max.partition.fetch.bytes", limit);
        properties.put("fetch.max.bytes", limit);
        properties.put("enable.auto.commit", "false");
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> parts = new ArrayList<>();
            for (int p = 0; p < partitions; p++) parts.add(new TopicPartition(topic, p));
            consumer.assign(parts);
            consumer.seekToBeginning(parts);
            Map<TopicPartition, Long> ends = consumer.endOffsets(parts);
            long until = System.currentTimeMillis() + 180_000;
            while (parts.stream().anyMatch(part -> consumer.position(part) < ends.get(part))) {
                if (System.currentTimeMillis() > until) throw new IllegalStateException(topic + ": nothing more to read");
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) each.accept(record);
            }
        }
    }

    private static KafkaProducer<byte[], byte[]> producer(String broker, String codec) {
        Properties properties = properties(broker);
        properties.put("acks", "all");
        properties.put("enable.idempotence", "true");
        properties.put("compression.type", codec);
        properties.put("linger.ms", "20");
        properties.put("max.request.size", LIMIT);
        properties.put("buffer.memory", "100000000");
        return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static Properties properties(String broker) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", broker);
        return properties;
    }

    private static String text(byte[] bytes) {
        if (bytes == null) return "-";
        StringBuilder text = new StringBuilder();
        if (bytes.length > 1024) {
            CRC32 crc = new CRC32();
            crc.update(bytes, 0, bytes.length);
            return String.format("#%d:%08x", bytes.length, crc.getValue());
        }
        for (byte b : bytes) text.append(String.format("%02x", b));
        return text.toString();
    }

    private static byte[] bytes(String field) {
        if (field.equals("-")) return null;
        byte[] bytes = new byte[field.length() / 2];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) (Character.digit(field.charAt(2 * i), 16) << 4 | Character.digit(field.charAt(2 * i + 1), 16));
        }
        return bytes;
    }
}
