// Kafka's own generated classes as an oracle for our codec: reads and writes single messages on demand.
//
// Questions on standard input: 'C' class version to length bytes (read in one version, write in another), 'R' class
// version seed (write a random message), 'D' class version (write a message as it is when it is new). Answers on standard output: a byte (0 done, 1 failed, 2 no such class or version), length, bytes.

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;

public class Oracle {
    private static final String[] PACKAGES = {
        "org.apache.kafka.common.message.",
        "org.apache.kafka.common.metadata.",
        "org.apache.kafka.coordinator.group.generated.",
        "org.apache.kafka.coordinator.transaction.generated.",
        "org.apache.kafka.coordinator.share.generated.",
        "org.apache.kafka.raft.generated.",
        "org.apache.kafka.storage.internals.log.generated.",
        "org.apache.kafka.storage.internals.generated.",
        "org.apache.kafka.server.log.remote.metadata.storage.generated.",
    };

    public static void main(String[] arguments) throws Exception {
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out));
        while (true) {
            int question;
            try {
                question = in.readByte();
            } catch (EOFException end) {
                return;
            }
            String name = in.readUTF();
            short version = in.readShort();
            long seed = question == 'R' ? in.readLong() : 0;
            short to = question == 'C' ? in.readShort() : version;
            byte[] bytes = new byte[question == 'C' ? in.readInt() : 0];
            in.readFully(bytes);
            int status = 0;
            byte[] answer;
            try {
                Message message = message(name, version);
                if (message == null || message(name, to) == null) {
                    status = 2;
                    answer = new byte[0];
                } else {
                    if (question == 'C') {
                        ByteBuffer buffer = ByteBuffer.wrap(bytes);
                        message.read(new ByteBufferAccessor(buffer), version);
                        if (buffer.hasRemaining()) {
                            throw new IOException(buffer.remaining() + " bytes left over");
                        }
                    } else if (question == 'R') {
                        new Dice(seed, version).fill(message);
                    }
                    answer = write(message, to);
                }
            } catch (Throwable error) {
                status = 1;
                answer = error.toString().getBytes(StandardCharsets.UTF_8);
            }
            out.writeByte(status);
            out.writeInt(answer.length);
            out.write(answer);
            out.flush();
        }
    }

    private static byte[] write(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException("the size was wrong");
        }
        return buffer.array();
    }

    /** A new message of Kafka's name; null where there is none of that name or version. */
    private static Message message(String name, short version) throws Exception {
        for (String folder : PACKAGES) {
            for (String suffix : new String[] {"Data", ""}) {
                try {
                    Class<?> type = Class.forName(folder + name + suffix);
                    Message message = (Message) type.getDeclaredConstructor().newInstance();
                    boolean known = version >= message.lowestSupportedVersion()
                        && version <= message.highestSupportedVersion();
                    return known ? message : null;
                } catch (ClassNotFoundException next) {
                    continue;
                }
            }
        }
        return null;
    }

    /** Fills a message with random values, in the fields that its schema has in one version. */
    private static final class Dice {
        private static final String[] WORDS = {"a", "topic-1", "Ottla", "\u0159", "\u65e5\u672c", "\ud83d\ude00", "\n\""};
        private final Random random;
        private final short version;
        private int elementsLeft = 60;

        Dice(long seed, short version) {
            this.random = new Random(seed);
            this.version = version;
        }

        <T> T fill(T message) throws Exception {
            Map<String, Method> setters = setters(message.getClass());
            for (BoundField field : schema(message.getClass()).fields()) {
                if (field.def.type instanceof TaggedFields) {
                    for (org.apache.kafka.common.protocol.types.Field tagged : tagged(field.def.type)) {
                        if (random.nextBoolean()) {
                            set(message, setters.get(plain(tagged.name)), tagged.type);
                        }
                    }
                } else {
                    set(message, setters.get(plain(field.def.name)), field.def.type);
                }
            }
            return message;
        }

        private Schema schema(Class<?> type) throws Exception {
            Schema[] schemas = (Schema[]) type.getField("SCHEMAS").get(null);
            Schema schema = version < schemas.length ? schemas[version] : null;
            if (schema == null) {
                throw new IllegalStateException("no schema of " + type + " in version " + version);
            }
            return schema;
        }

        /** Old clients keep the list to themselves. */
        @SuppressWarnings("unchecked")
        private static Collection<org.apache.kafka.common.protocol.types.Field> tagged(Object type) throws Exception {
            java.lang.reflect.Field fields = TaggedFields.class.getDeclaredField("fields");
            fields.setAccessible(true);
            return ((Map<Integer, org.apache.kafka.common.protocol.types.Field>) fields.get(type)).values();
        }

        /** The class moved into a package of its own in Kafka 4. */
        private static Object records(byte[] bytes) throws Exception {
            Class<?> type;
            try {
                type = Class.forName("org.apache.kafka.common.record.internal.MemoryRecords");
            } catch (ClassNotFoundException old) {
                type = Class.forName("org.apache.kafka.common.record.MemoryRecords");
            }
            return type.getMethod("readableRecords", ByteBuffer.class).invoke(null, ByteBuffer.wrap(bytes));
        }

        private static Map<String, Method> setters(Class<?> type) {
            Map<String, Method> setters = new HashMap<>();
            for (Method method : type.getDeclaredMethods()) {
                if (method.getName().startsWith("set") && method.getParameterCount() == 1) {
                    setters.put(plain(method.getName().substring(3)), method);
                }
            }
            return setters;
        }

        /** Schemas have names with underscores, setters have none. */
        private static String plain(String name) {
            return name.replace("_", "").toLowerCase();
        }

        private void set(Object message, Method setter, Object wireType) throws Exception {
            boolean nullable = ((org.apache.kafka.common.protocol.types.Type) wireType).isNullable();
            setter.setAccessible(true);
            boolean isNull = nullable && random.nextInt(5) == 0;
            Object value = isNull ? null : value(setter.getGenericParameterTypes()[0]);
            switch (wireType.toString()) {
                case "UINT16": value = ((Number) value).intValue() & 0xffff; break;
                case "UINT32": value = ((Number) value).longValue() & 0xffffffffL; break;
                default: break;
            }
            setter.invoke(message, value);
        }

        private Object value(Type type) throws Exception {
            if (type instanceof ParameterizedType) {
                List<Object> list = new ArrayList<>();
                Type element = ((ParameterizedType) type).getActualTypeArguments()[0];
                for (int left = count(); left > 0; left--) {
                    list.add(value(element));
                }
                return list;
            }
            Class<?> plain = (Class<?>) type;
            if (Collection.class.isAssignableFrom(plain)) {
                @SuppressWarnings("unchecked")
                Collection<Object> collection = (Collection<Object>) plain.getDeclaredConstructor().newInstance();
                Type parent = plain.getGenericSuperclass();
                Type element = ((ParameterizedType) parent).getActualTypeArguments()[0];
                for (int left = count(); left > 0; left--) {
                    collection.add(value(element));
                }
                return collection;
            }
            switch (plain.getSimpleName()) {
                case "boolean": return random.nextBoolean();
                case "byte": case "Byte": return (byte) number();
                case "short": case "Short": return (short) number();
                case "int": case "Integer": return (int) number();
                case "long": case "Long": return number();
                case "double": return (double) random.nextInt() / 8;
                case "String": return string();
                case "Uuid": return new Uuid(number(), number());
                case "byte[]": return bytes();
                case "ByteBuffer": return ByteBuffer.wrap(bytes());
                case "BaseRecords": return records(bytes());
                default: return fill(plain.getDeclaredConstructor().newInstance());
            }
        }

        private int count() {
            int count = Math.min(random.nextInt(5), elementsLeft);
            elementsLeft -= count;
            return count;
        }

        private long number() {
            switch (random.nextInt(6)) {
                case 0: return 0;
                case 1: return -1;
                case 2: return random.nextInt(256);
                default: return random.nextLong();
            }
        }

        private byte[] bytes() {
            byte[] bytes = new byte[random.nextInt(5) == 0 ? 200 : random.nextInt(8)];
            random.nextBytes(bytes);
            return bytes;
        }

        private String string() {
            StringBuilder text = new StringBuilder();
            for (int left = random.nextInt(6) == 0 ? 40 : random.nextInt(4); left > 0; left--) {
                text.append(WORDS[random.nextInt(WORDS.length)]);
            }
            return text.toString();
        }
    }
}
