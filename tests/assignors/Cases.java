import java.nio.ByteBuffer;
import java.util.*;
import java.util.stream.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.*;
import org.apache.kafka.common.*;

/** Writes random groups and what Java's assignors make of them: see README.md. */
public class Cases {
    public static void main(String[] words) {
        Random random = new Random(Long.parseLong(words[0]));
        int count = Integer.parseInt(words[1]);
        StringBuilder out = new StringBuilder();
        for (int n = 0; n < count; n++) one(random, out);
        System.out.print(out);
    }

    static void one(Random random, StringBuilder out) {
        boolean racks = random.nextInt(4) == 0, alike = random.nextInt(2) == 0, fresh = random.nextInt(3) == 0;
        int brokers = 1 + random.nextInt(3);
        List<Node> nodes = new ArrayList<>();
        for (int id = 0; id < brokers; id++) nodes.add(new Node(id, "h", 1, racks ? "r" + id : null));
        List<PartitionInfo> all = new ArrayList<>();
        List<String> topics = new ArrayList<>();
        int topicCount = 1 + random.nextInt(4), same = 1 + random.nextInt(5);
        for (int t = 0; t < topicCount; t++) {
            topics.add("t" + t);
            int partitions = random.nextBoolean() ? same : random.nextInt(8);
            out.append("T t").append(t);
            for (int p = 0; p < partitions; p++) {
                int first = random.nextInt(brokers), replicas = 1 + random.nextInt(brokers);
                Node[] on = IntStream.range(0, replicas).mapToObj(r -> nodes.get((first + r) % brokers)).toArray(Node[]::new);
                all.add(new PartitionInfo("t" + t, p, on[0], on, on));
                out.append(' ').append(racks ? Arrays.stream(on).map(Node::rack).collect(Collectors.joining(",")) : "-");
            }
            out.append('\n');
        }
        Cluster cluster = new Cluster("c", nodes, all, Set.of(), Set.of());
        int members = 1 + random.nextInt(6);
        List<List<TopicPartition>> owned = new ArrayList<>();
        for (int m = 0; m < members; m++) owned.add(new ArrayList<>());
        if (!fresh) for (PartitionInfo info : all) {
            TopicPartition partition = new TopicPartition(info.topic(), info.partition());
            int owner = random.nextInt(members * 2);
            if (owner < members) owned.get(owner).add(partition);
        }
        Map<String, Subscription> range = new TreeMap<>(), sticky = new TreeMap<>();
        for (int m = 0; m < members; m++) {
            String id = "m" + m, instance = random.nextInt(5) == 0 ? "i" + (9 - m) : null;
            String rack = racks && random.nextInt(4) > 0 ? "r" + random.nextInt(3) : null;
            int generation = fresh ? -1 : 5;
            List<String> wants = topics.stream().filter(t -> alike || random.nextInt(3) > 0).collect(Collectors.toList());
            List<TopicPartition> has = owned.get(m);
            out.append("M ").append(id).append(' ').append(instance == null ? "-" : instance).append(' ').append(rack == null ? "-" : rack)
                .append(' ').append(generation).append(' ').append(wants.isEmpty() ? "-" : String.join(",", wants))
                .append(' ').append(has.isEmpty() ? "-" : shown(has)).append('\n');
            StickyAssignor assignor = new StickyAssignor();
            ByteBuffer data = null;
            if (!fresh) {
                assignor.onAssignment(new Assignment(has), new ConsumerGroupMetadata("g", generation, id, Optional.empty()));
                data = assignor.subscriptionUserData(new HashSet<>(wants));
            }
            range.put(id, subscription(wants, null, has, generation, rack, instance));
            sticky.put(id, subscription(wants, data, List.of(), generation, rack, instance));
        }
        result("range", new RangeAssignor().assign(cluster, new GroupSubscription(range)), out);
        result("roundrobin", new RoundRobinAssignor().assign(cluster, new GroupSubscription(range)), out);
        result("sticky", new StickyAssignor().assign(cluster, new GroupSubscription(sticky)), out);
        result("cooperative-sticky", new CooperativeStickyAssignor().assign(cluster, new GroupSubscription(range)), out);
        out.append('\n');
    }

    static Subscription subscription(List<String> topics, ByteBuffer data, List<TopicPartition> owned, int generation, String rack, String instance) {
        Subscription made = new Subscription(topics, data, owned, generation, Optional.ofNullable(rack));
        made.setGroupInstanceId(Optional.ofNullable(instance));
        return made;
    }

    static void result(String name, GroupAssignment assignment, StringBuilder out) {
        out.append("R ").append(name);
        new TreeMap<>(assignment.groupAssignment()).forEach((id, got) -> {
            List<TopicPartition> sorted = new ArrayList<>(got.partitions());
            out.append(' ').append(id).append('=').append(shown(sorted));
        });
        out.append('\n');
    }

    static String shown(List<TopicPartition> partitions) {
        return partitions.stream().sorted(Comparator.comparing(TopicPartition::topic).thenComparing(TopicPartition::partition))
            .map(p -> p.topic() + ":" + p.partition()).collect(Collectors.joining(","));
    }
}
