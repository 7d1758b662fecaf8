//! What a consumer asks: ListOffsets where a position is to be found, Fetch where there is room for records.

use std::collections::BTreeMap;

use ottla_protocol::messages::fetch::{FetchPartition, FetchTopic};
use ottla_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::{FetchRequest, ListOffsetsRequest};
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Uuid};

use crate::call::Call;
use crate::cluster::{Cluster, Target};
use crate::consumer::assigned::{Assigned, Position};
use crate::consumer::{Consumer, Isolation, TopicPartition};

/// The first version of Fetch with batches of format 2 and isolation levels, and the last in which topics have names.
const FETCH_MIN: i16 = 4;
const FETCH_MAX_NAMES: i16 = 12;
/// The first version of ListOffsets that gives one offset, and the first that knows isolation levels.
const LIST_MIN: i16 = 1;
const LIST_MIN_ISOLATION: i16 = 2;
/// The session epoch of a fetch that wants no session (KIP-227).
const SESSIONLESS: i32 = -1;

/// A request under way.
#[derive(Debug)]
pub(super) struct Question {
    pub node: i32,
    pub kind: Kind,
    pub partitions: Vec<Asked>,
    /// The ids that stand for topics in this request.
    pub topic_ids: BTreeMap<Uuid, std::sync::Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Fetch,
    ListOffsets,
}

/// A partition in a request, as it was when it was asked about.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub partition: TopicPartition,
    pub generation: u64,
    /// The offset that was fetched from, or the timestamp that was looked for.
    pub wanted: i64,
}

impl Consumer {
    /// Looks at the clock and the metadata and asks what is to be asked.
    pub fn step(&mut self, now: Now, cluster: &mut Cluster) {
        self.pauses.retain(|_, until| !now.reached(*until));
        self.step_group(now, cluster);
        for assigned in self.partitions.values_mut() {
            assigned.not_before = assigned.not_before.filter(|pause| !now.reached(*pause));
            assigned.replica = assigned.replica.filter(|(_, until)| !now.reached(*until));
        }
        self.seek_offsets(now, cluster);
        self.fetch(now, cluster);
        let pauses = self.partitions.values().filter_map(|assigned| assigned.not_before);
        self.wake = pauses.chain(self.pauses.values().copied()).min();
    }

    /// Asks the leaders of partitions whose position is to be found.
    pub(super) fn seek_offsets(&mut self, now: Now, cluster: &mut Cluster) {
        let mut by_leader: BTreeMap<i32, Vec<Asked>> = BTreeMap::new();
        for (partition, assigned) in &mut self.partitions {
            let Position::Sought(wanted) = assigned.position else { continue };
            if assigned.asked || assigned.not_before.is_some() {
                continue;
            }
            let found = cluster.metadata().leader(&partition.topic, partition.partition);
            let Some((leader, _)) = found else { continue };
            assigned.asked = true;
            let generation = assigned.generation;
            by_leader.entry(leader).or_default().push(Asked {
                partition: partition.clone(),
                generation,
                wanted,
            });
        }
        for (node, partitions) in by_leader {
            let call = self.list_offsets(cluster, &partitions);
            let give_up = now.after(self.settings.request_timeout);
            let ticket = cluster.submit(now, Target::Node(node), call, give_up);
            let kind = Kind::ListOffsets;
            self.questions.insert(ticket, Question { node, kind, partitions, topic_ids: BTreeMap::new() });
        }
    }

    fn list_offsets(&self, cluster: &Cluster, partitions: &[Asked]) -> Call {
        let mut topics: Vec<ListOffsetsTopic> = Vec::new();
        for Asked { partition, wanted, .. } in partitions {
            if topics.last().is_none_or(|topic| *topic.name != *partition.topic) {
                topics.push(ListOffsetsTopic { name: partition.topic.to_string(), partitions: Vec::new() });
            }
            let leader = cluster.metadata().leader(&partition.topic, partition.partition);
            if let Some(topic) = topics.last_mut() {
                topic.partitions.push(ListOffsetsPartition {
                    partition_index: partition.partition,
                    current_leader_epoch: leader.map_or(-1, |(_, epoch)| epoch),
                    timestamp: *wanted,
                    ..ListOffsetsPartition::default()
                });
            }
        }
        let committed = self.settings.isolation == Isolation::ReadCommitted;
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: self.settings.isolation.code(),
            topics,
            timeout_ms: i32::try_from(self.settings.request_timeout.as_millis()).unwrap_or(i32::MAX),
        };
        Call::new(request).within(if committed { LIST_MIN_ISOLATION } else { LIST_MIN }, i16::MAX)
    }

    /// Fetches from every node that has room-making partitions and no fetch of ours.
    fn fetch(&mut self, now: Now, cluster: &mut Cluster) {
        let mut by_node: BTreeMap<i32, Vec<Asked>> = BTreeMap::new();
        // A fetch may wait at the broker: it would hold up a partition that has room only afterwards.
        let mut full = Vec::new();
        for (partition, assigned) in &self.partitions {
            let Some(node) = self.source(cluster, partition, assigned) else { continue };
            if !assigned.is_on() || !matches!(assigned.position, Position::At(_)) {
                continue;
            }
            if assigned.buffered_bytes() >= self.settings.partition_max_bytes.max(1) as usize {
                full.push(node);
            } else if !assigned.asked && assigned.not_before.is_none() {
                let (generation, wanted) = (assigned.generation, assigned.fetch_from);
                let partition = partition.clone();
                by_node.entry(node).or_default().push(Asked { partition, generation, wanted });
            }
        }
        for (node, partitions) in by_node {
            if full.contains(&node) || self.fetching.contains(&node) || self.pauses.contains_key(&node) {
                continue;
            }
            self.fetch_from(now, cluster, node, partitions);
        }
    }

    /// The node that a partition is read from.
    fn source(&self, cluster: &Cluster, partition: &TopicPartition, assigned: &Assigned) -> Option<i32> {
        let replica = assigned.replica.map(|(node, _)| node);
        let replica = replica.filter(|node| cluster.metadata().brokers.contains_key(node));
        let leader = || cluster.metadata().leader(&partition.topic, partition.partition);
        replica.or_else(|| leader().map(|(leader, _)| leader))
    }

    fn fetch_from(&mut self, now: Now, cluster: &mut Cluster, node: i32, partitions: Vec<Asked>) {
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut topic_ids = BTreeMap::new();
        let mut named = false;
        for Asked { partition, wanted, .. } in &partitions {
            let name = &partition.topic;
            if topics.last().is_none_or(|topic| *topic.topic != **name) {
                let id = cluster.metadata().topics.get(&**name).map_or(Uuid::ZERO, |topic| topic.id);
                named |= id.is_zero();
                topic_ids.insert(id, name.clone());
                topics.push(FetchTopic { topic: name.to_string(), topic_id: id, partitions: Vec::new() });
            }
            let leader = cluster.metadata().leader(name, partition.partition);
            if let Some(assigned) = self.partitions.get_mut(partition) {
                assigned.asked = true;
            }
            if let Some(topic) = topics.last_mut() {
                topic.partitions.push(FetchPartition {
                    partition: partition.partition,
                    current_leader_epoch: leader.map_or(-1, |(_, epoch)| epoch),
                    fetch_offset: *wanted,
                    partition_max_bytes: self.settings.partition_max_bytes,
                    ..FetchPartition::default()
                });
            }
        }
        let request = FetchRequest {
            max_wait_ms: i32::try_from(self.settings.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: self.settings.fetch_min_bytes,
            max_bytes: self.settings.fetch_max_bytes,
            isolation_level: self.settings.isolation.code(),
            session_id: 0,
            session_epoch: SESSIONLESS,
            topics,
            rack_id: self.settings.rack.clone(),
            ..FetchRequest::default()
        };
        let call = Call::new(request).within(FETCH_MIN, if named { FETCH_MAX_NAMES } else { i16::MAX });
        let give_up = now.after(self.settings.request_timeout);
        let ticket = cluster.submit(now, Target::Node(node), call, give_up);
        self.fetching.insert(node);
        self.counters.fetches += 1;
        self.questions.insert(ticket, Question { node, kind: Kind::Fetch, partitions, topic_ids });
    }

    /// Pauses a partition after a failure.
    pub(super) fn back_off(&mut self, now: Now, partition: &TopicPartition) {
        let random = self.random.next();
        if let Some(assigned) = self.partitions.get_mut(partition) {
            assigned.failures = assigned.failures.saturating_add(1);
            let wait = self.settings.retry_backoff.wait(assigned.failures, random);
            assigned.not_before = Some(now.after(wait));
        }
    }

    pub(super) fn replica_until(&self, now: Now) -> Deadline {
        now.after(self.settings.metadata_max_age)
    }
}
