//! Coordinators that have to wait until their log can be read.

use std::sync::Arc;

use ottla_coordinator::{Around, transaction};
use ottla_log::{Disk, MemoryDisk};
use ottla_metadata::Image;
use ottla_metadata::config::NodeConfig;
use ottla_protocol::records::metadata::{
    MetadataRecord, PartitionChangeRecord, PartitionRecord, TopicRecord,
};
use ottla_protocol::{LeaderEpoch, Now, PartitionId, Refusal, Ticket, Uuid};
use ottla_raft::random::Random;

use crate::control::Place;
use crate::coordinators::{Command, Coordinator, Reply, TRANSACTIONS_TOPIC};
use crate::core::{CoreId, Publication};
use crate::home;
use crate::node::{Birth, Node};
use crate::shard::Shard;
use crate::topics::Topics;

const NOW: Now = Now { monotonic_us: 1_000_000, wall_ms: 1_700_000_000_000 };
const ID: PartitionId = PartitionId { topic: Uuid([7; 16]), index: 0 };

/// A node of one core that leads one partition, with a coordinator that has to wait.
struct World {
    shard: Shard,
    topics: Topics,
    image: Arc<Image>,
}

impl World {
    fn new() -> Self {
        let config = NodeConfig::standalone([].into()).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let home = home::move_in(&config, &disk, &[], &mut Random::new(1), NOW).unwrap();
        let birth = Birth {
            cluster_id: home.cluster_id.clone(),
            incarnation: Uuid([9; 16]),
            cores: 1,
            ports: config.listeners.iter().map(|_| 9092).collect(),
            host: "localhost".into(),
        };
        let node = Arc::new(Node::new(&config, birth));
        let id = node.id.0;
        let shard = Shard::new(CoreId(0), Arc::clone(&node), home.directories, NOW);
        let mut world = Self { shard, topics: Topics::new(node), image: Arc::default() };
        let topic = TopicRecord { name: TRANSACTIONS_TOPIC.to_owned(), topic_id: ID.topic };
        let partition = PartitionRecord {
            partition_id: 0,
            topic_id: ID.topic,
            replicas: vec![id],
            isr: vec![id],
            leader: id,
            leader_epoch: 3,
            directories: vec![Uuid([1; 16])],
            ..PartitionRecord::default()
        };
        world.publish(&[topic.into(), partition.into()]);
        assert!(world.epoch().is_some());
        world.shard.begin_later(NOW, ID);
        world
    }

    fn publish(&mut self, records: &[MetadataRecord]) {
        let (image, delta) = self.image.apply(self.image.end_offset, records).unwrap();
        self.image = Arc::new(image);
        let places = [(ID, Place::In(0))].into();
        let publication = Publication { image: Arc::clone(&self.image), delta, places };
        self.topics.refresh(&publication.image, &publication.delta);
        self.shard.reconcile(NOW, &publication, &mut self.topics);
    }

    fn epoch(&self) -> Option<LeaderEpoch> {
        self.shard.coordinators.by_partition.get(&ID).map(Coordinator::epoch)
    }

    fn refusal(&mut self) -> Option<Refusal> {
        let ticket = Ticket { asker: 1, question: 1 };
        let command = Command::Transaction(Box::new(transaction::Command::Describe("id".to_owned())));
        self.shard.ask_coordinator(Around { now: NOW, image: &self.image }, ticket, ID, command);
        match self.shard.next_coordinated() {
            Some((_, Reply::Refused(refusal))) => Some(refusal),
            _ => None,
        }
    }
}

#[test]
fn who_begins_anew_before_long_is_loading_till_then() {
    let mut world = World::new();
    assert_eq!(world.epoch(), None);
    assert_eq!(world.refusal(), Some(Refusal::CoordinatorLoadInProgress));
    world.shard.take_over_late();
    assert!(world.epoch().is_some());
    world.shard.give_up(ID);
    assert_eq!(world.refusal(), Some(Refusal::NotCoordinator));
}

#[test]
fn a_new_epoch_makes_good_for_what_had_to_wait() {
    let mut world = World::new();
    let leader = world.shard.node.id.0;
    let next = PartitionChangeRecord {
        partition_id: 0,
        topic_id: ID.topic,
        leader,
        ..PartitionChangeRecord::default()
    };
    world.publish(&[next.into()]);
    assert_eq!(world.epoch(), Some(LeaderEpoch(4)));
    world.shard.take_over_late();
    assert_eq!(world.epoch(), Some(LeaderEpoch(4)), "it is not replaced by one of the epoch before");
}
