//! How the leader of a classic group divides partitions among its members: Java's assignors, with Java's results.
//!
//! Members with an instance id come first, by it; the others by member id. Where Java's result hangs on the order of a
//! hash table (who keeps one partition more when owned partitions are divided anew), here the order of ids decides.

mod balance;
mod even;
mod range;
mod remembered;
mod round_robin;
mod sticky;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::codec::Reader;
use ottla_protocol::message::Message;
use ottla_protocol::records::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment,
    consumer_protocol_subscription,
};
use ottla_protocol::records::encode_versioned;

use crate::consumer::TopicPartition;

/// The generation of a member that has none.
pub const NO_GENERATION: i32 = -1;

/// A way to divide partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Each topic by itself: a run of neighbouring partitions for each member.
    Range,
    /// One partition after the other to one member after the other.
    RoundRobin,
    /// Even, and as before where that can be; everybody lets go of everything first.
    Sticky,
    /// The same, but members keep what stays with them (KIP-429).
    CooperativeSticky,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// The id its owner gave it.
    pub instance_id: Option<String>,
    /// The topics it wants.
    pub topics: BTreeSet<Arc<str>>,
    /// The partitions it says it owns.
    pub owned: Vec<TopicPartition>,
    /// The generation in which it got them, where it says so.
    pub generation: Option<i32>,
    /// Its rack.
    pub rack: Option<String>,
    /// What its assignor wrote for its fellow at the leader.
    pub user_data: Option<Bytes>,
}

/// The topics there are: for each partition the racks of its replicas.
pub type Topics = BTreeMap<Arc<str>, Vec<BTreeSet<String>>>;

/// What each member gets.
pub type Assignment = BTreeMap<String, Vec<TopicPartition>>;

impl Assignor {
    /// Every one there is.
    pub const ALL: [Self; 4] = [Self::Range, Self::RoundRobin, Self::Sticky, Self::CooperativeSticky];

    /// Its name in the protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor of a name, or of a Java class.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let short = name.trim().strip_prefix("org.apache.kafka.clients.consumer.").unwrap_or(name.trim());
        match short {
            "range" | "RangeAssignor" => Some(Self::Range),
            "roundrobin" | "RoundRobinAssignor" => Some(Self::RoundRobin),
            "sticky" | "StickyAssignor" => Some(Self::Sticky),
            "cooperative-sticky" | "CooperativeStickyAssignor" => Some(Self::CooperativeSticky),
            _ => None,
        }
    }

    /// Whether members may keep their partitions while they rebalance.
    #[must_use]
    pub fn is_cooperative(self) -> bool {
        self == Self::CooperativeSticky
    }

    /// Divides the topics among the members. Topics that are not in `topics` are nobody's.
    #[must_use]
    pub fn assign(self, topics: &Topics, members: &[Member]) -> Assignment {
        let mut sorted: Vec<&Member> = members.iter().collect();
        sorted.sort_by_key(|member| (member.instance_id.is_none(), &member.instance_id, &member.id));
        match self {
            Self::Range => range::assign(topics, &sorted),
            Self::RoundRobin => round_robin::assign(topics, &sorted),
            Self::Sticky => sticky::assign(topics, &sticky::claims(self, members)).0,
            Self::CooperativeSticky => {
                let (mut assignment, moving) = sticky::assign(topics, &sticky::claims(self, members));
                // What somebody else still owns is given when that owner has let go of it.
                for (partition, to) in moving {
                    if let Some(got) = assignment.get_mut(&to) {
                        got.retain(|other| *other != partition);
                    }
                }
                assignment
            }
        }
    }

    /// What a member says of itself when it joins.
    pub(crate) fn subscription(self, me: &Me<'_>) -> Bytes {
        let user_data = match self {
            Self::Range | Self::RoundRobin => None,
            Self::Sticky => {
                me.last.map(|(partitions, generation)| remembered::sticky(partitions, generation))
            }
            Self::CooperativeSticky => {
                Some(remembered::cooperative(me.last.map_or(NO_GENERATION, |(_, generation)| generation)))
            }
        };
        let topic = |(topic, partitions): (&str, Vec<i32>)| consumer_protocol_subscription::TopicPartition {
            topic: topic.to_owned(),
            partitions,
        };
        let message = ConsumerProtocolSubscription {
            topics: me.topics.iter().map(|topic| topic.to_string()).collect(),
            user_data,
            owned_partitions: by_topic(me.owned).into_iter().map(topic).collect(),
            generation_id: me.generation,
            rack_id: me.rack.map(str::to_owned),
        };
        // Every field is one that the version has, and no name is longer than the broker's that gave it.
        encode_versioned(&message, ConsumerProtocolSubscription::MAX).unwrap_or_default()
    }
}

/// What a member knows of itself.
pub(crate) struct Me<'a> {
    pub topics: &'a BTreeSet<Arc<str>>,
    pub owned: &'a [TopicPartition],
    pub generation: i32,
    pub rack: Option<&'a str>,
    /// The last assignment it took, and its generation.
    pub last: Option<(&'a [TopicPartition], i32)>,
}

impl Member {
    /// Reads what a member said of itself. Newer versions than ours are read as ours, as Java does.
    pub(crate) fn read(id: String, instance_id: Option<String>, metadata: &Bytes) -> Option<Self> {
        let (mut reader, version) = versioned(metadata)?;
        let version = version.min(ConsumerProtocolSubscription::MAX);
        let read = ConsumerProtocolSubscription::decode(&mut reader, version).ok()?;
        let owned = read.owned_partitions.into_iter().flat_map(|row| {
            let topic: Arc<str> = row.topic.into();
            let partition = move |partition| TopicPartition { topic: topic.clone(), partition };
            row.partitions.into_iter().map(partition)
        });
        Some(Self {
            id,
            instance_id,
            owned: owned.collect(),
            topics: read.topics.into_iter().map(Arc::from).collect(),
            generation: Some(read.generation_id).filter(|generation| *generation >= 0),
            rack: read.rack_id.filter(|rack| !rack.is_empty()),
            user_data: read.user_data,
        })
    }
}

/// What the leader tells a member, as bytes.
pub(crate) fn encode(partitions: &[TopicPartition]) -> Bytes {
    let topic = |(topic, partitions): (&str, Vec<i32>)| consumer_protocol_assignment::TopicPartition {
        topic: topic.to_owned(),
        partitions,
    };
    let message = ConsumerProtocolAssignment {
        assigned_partitions: by_topic(partitions).into_iter().map(topic).collect(),
        user_data: None,
    };
    encode_versioned(&message, ConsumerProtocolAssignment::MAX).unwrap_or_default()
}

/// What a member was told; nothing where there are no bytes, `None` where they are not an assignment.
pub(crate) fn decode(bytes: &Bytes) -> Option<Vec<TopicPartition>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let (mut reader, version) = versioned(bytes)?;
    let version = version.min(ConsumerProtocolAssignment::MAX);
    let read = ConsumerProtocolAssignment::decode(&mut reader, version).ok()?;
    let partitions = read.assigned_partitions.into_iter().flat_map(|row| {
        let topic: Arc<str> = row.topic.into();
        row.partitions.into_iter().map(move |partition| TopicPartition { topic: topic.clone(), partition })
    });
    Some(partitions.collect())
}

fn versioned(bytes: &Bytes) -> Option<(Reader, i16)> {
    let mut reader = Reader::new(bytes.clone());
    let version = reader.i16();
    reader.check().ok()?;
    (version >= 0).then_some((reader, version))
}

/// Partitions by topic, both in order.
fn by_topic(partitions: &[TopicPartition]) -> BTreeMap<&str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    for partitions in topics.values_mut() {
        partitions.sort_unstable();
    }
    topics
}

#[cfg(test)]
mod tests;
