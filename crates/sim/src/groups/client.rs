//! A consumer: it keeps its place in a group by one of the two protocols, and reads what is assigned to it.
//!
//! It has one connection, on which at most two requests are under way: one for its membership, one for its offsets. What
//! it believes to own it gives up before it says so, as real clients do.

use std::collections::BTreeMap;

use ottla_coordinator::group::command::FetchOffsets;
use ottla_coordinator::group::{Caller, Command, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_protocol::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponseGroup,
};
use ottla_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use ottla_raft::random::Random;

use super::classic::Classic;
use super::cluster::{Cluster, Place};
use super::consumer::Consumer;

/// See the module.
#[derive(Debug)]
pub struct Client {
    /// Its number.
    pub index: usize,
    /// Its group.
    pub group: String,
    /// Its static name.
    pub instance: Option<String>,
    /// What it reads.
    pub topics: Vec<usize>,
    /// How it takes part.
    pub member: Member,
    /// Whether the process runs.
    pub up: bool,
    /// Counts its processes and connections.
    pub connection: u64,
    /// Nothing that it sends later arrives before this.
    pub last_arrival_us: u64,
    /// What is under way.
    pub under_way: [Option<UnderWay>; 2],
    /// When it wants to act, for each of the two.
    pub wakes_us: [u64; 2],
    /// What it believes to own, and how far it has read.
    pub owned: BTreeMap<Place, Position>,
    /// What it was assigned for last, as a member of the classic protocol.
    pub assigned_for: Vec<usize>,
    /// How many partitions the topics had when it last assigned them.
    pub assigned_of: Vec<i32>,
    /// Counts the changes of what is owned: an answer from before a change says nothing.
    tenure: u64,
    tokens: u64,
}

/// How a client takes part in its group.
#[derive(Debug)]
pub enum Member {
    /// By JoinGroup and SyncGroup.
    Classic(Classic),
    /// By ConsumerGroupHeartbeat.
    Consumer(Consumer),
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Membership.
    Membership = 0,
    /// Offsets.
    Work = 1,
}

/// A request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Its number.
    pub correlation: u64,
    /// When the client gives up on it.
    pub patience_us: u64,
    tenure: u64,
}

/// How far an owned partition has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The committed offset has to be asked for.
    Unknown,
    /// The next offset to read.
    At(i64),
}

/// What a member does next: a request, or nothing for so long.
#[derive(Debug)]
pub enum Move {
    /// Sends this, and waits so long for an answer.
    Ask(Box<Command>, u64),
    /// Nothing, for so many microseconds.
    Rest(u64),
}

/// What becomes of what is owned.
#[derive(Debug)]
pub enum Change {
    /// Nothing.
    Keep,
    /// From now on this.
    Own(Vec<Place>),
}

/// How long a client waits for an ordinary answer.
pub const PATIENCE_US: u64 = 4_000_000;

impl Client {
    /// A client that will start.
    #[must_use]
    pub fn new(
        index: usize,
        group: &str,
        member: Member,
        instance: Option<String>,
        topics: Vec<usize>,
    ) -> Self {
        Self {
            index,
            group: group.to_owned(),
            instance,
            topics,
            member,
            up: false,
            connection: 0,
            last_arrival_us: 0,
            under_way: [None; 2],
            wakes_us: [0; 2],
            owned: BTreeMap::new(),
            assigned_for: Vec::new(),
            assigned_of: Vec::new(),
            tenure: 0,
            tokens: 0,
        }
    }

    /// The process starts.
    pub fn start(&mut self, now_us: u64) {
        self.up = true;
        self.connection += 1;
        self.wakes_us = [now_us; 2];
        match &mut self.member {
            Member::Classic(_) if self.instance.is_some() && !self.assigned_for.is_empty() => {
                // A static member takes its old place without a rebalance: it must want what it wanted.
                self.topics.clone_from(&self.assigned_for);
                self.member = Member::Classic(Classic::new());
            }
            Member::Classic(classic) => *classic = Classic::new(),
            Member::Consumer(consumer) => {
                *consumer = Consumer::new(format!("m{}-{}", self.index, self.connection));
            }
        }
    }

    /// The process ends without a word.
    pub fn die(&mut self) {
        self.up = false;
        self.hang_up();
        self.own(&[]);
    }

    /// It reads other topics from now on, and says so when it next can.
    pub fn subscribe(&mut self, topics: Vec<usize>) {
        self.topics = topics;
        match &mut self.member {
            Member::Classic(classic) => classic.rejoin_soon(),
            Member::Consumer(consumer) => consumer.say_everything(),
        }
    }

    /// It leaves the group at its next move, and comes again.
    pub fn leave(&mut self) {
        match &mut self.member {
            Member::Classic(classic) => classic.leave_soon(),
            Member::Consumer(consumer) => consumer.leave_soon(),
        }
    }

    /// Closes the connection; nothing of what is under way comes back.
    pub fn hang_up(&mut self) {
        self.connection += 1;
        self.under_way = [None; 2];
    }

    /// The id by which the coordinator knows it.
    #[must_use]
    pub fn member_id(&self) -> &str {
        match &self.member {
            Member::Classic(classic) => classic.member_id(),
            Member::Consumer(consumer) => consumer.member_id(),
        }
    }

    /// Its generation or epoch.
    #[must_use]
    pub fn epoch(&self) -> i32 {
        match &self.member {
            Member::Classic(classic) => classic.generation(),
            Member::Consumer(consumer) => consumer.epoch(),
        }
    }

    /// What it does next.
    pub fn act(&mut self, purpose: Purpose, cluster: &Cluster, random: &mut Random) -> Move {
        if purpose == Purpose::Work {
            return self.work(random);
        }
        let mut member = std::mem::replace(&mut self.member, Member::Classic(Classic::new()));
        let (next, change) = match &mut member {
            Member::Classic(classic) => classic.act(self, cluster, random),
            Member::Consumer(consumer) => consumer.act(self),
        };
        self.member = member;
        self.change(change);
        next
    }

    /// Notes that a request is under way.
    pub fn sent(&mut self, purpose: Purpose, correlation: u64, patience_us: u64) {
        self.under_way[purpose as usize] = Some(UnderWay { correlation, patience_us, tenure: self.tenure });
    }

    /// An answer has come. The result is how long it rests.
    pub fn hear(&mut self, purpose: Purpose, reply: Reply, cluster: &Cluster, random: &mut Random) -> u64 {
        let Some(under_way) = self.under_way[purpose as usize].take() else { return 0 };
        if purpose == Purpose::Work {
            return self.hear_of_work(under_way, reply, cluster, random);
        }
        let mut member = std::mem::replace(&mut self.member, Member::Classic(Classic::new()));
        let (rest_us, change) = match &mut member {
            Member::Classic(classic) => classic.hear(self, reply, cluster, random),
            Member::Consumer(consumer) => consumer.hear(self, reply, cluster, random),
        };
        self.member = member;
        self.change(change);
        rest_us
    }

    /// No answer has come, and none will.
    pub fn failed(&mut self, purpose: Purpose) {
        self.under_way[purpose as usize] = None;
        if purpose == Purpose::Membership {
            match &mut self.member {
                Member::Classic(classic) => classic.failed(),
                Member::Consumer(consumer) => consumer.say_everything(),
            }
        }
    }

    /// Who it says it is.
    #[must_use]
    pub fn caller(&self, version: i16) -> Caller {
        Caller { client_id: format!("c{}", self.index), client_host: "/127.0.0.1".to_owned(), version }
    }

    fn change(&mut self, change: Change) {
        if let Change::Own(places) = change {
            self.own(&places);
        }
    }

    fn own(&mut self, places: &[Place]) {
        let before = std::mem::take(&mut self.owned);
        let position = |place: &Place| before.get(place).copied().unwrap_or(Position::Unknown);
        self.owned = places.iter().map(|place| (*place, position(place))).collect();
        if !before.keys().eq(self.owned.keys()) {
            self.tenure += 1;
        }
    }

    /// Whoever has to begin anew forgets how far it had read: others may have read on in between.
    pub(super) fn forget_positions(&mut self) {
        self.owned.values_mut().for_each(|position| *position = Position::Unknown);
    }

    fn work(&mut self, random: &mut Random) -> Move {
        if self.owned.is_empty() {
            return Move::Rest(200_000);
        }
        let unknown: Vec<Place> = self
            .owned
            .iter()
            .filter(|(_, position)| **position == Position::Unknown)
            .map(|(place, _)| *place)
            .collect();
        let command = if unknown.is_empty() { self.commit(random) } else { self.fetch(&unknown, random) };
        Move::Ask(Box::new(command), PATIENCE_US)
    }

    fn fetch(&self, places: &[Place], random: &mut Random) -> Command {
        let topics =
            by_topic(places).into_iter().map(|(topic, partition_indexes)| OffsetFetchRequestTopics {
                name: Cluster::name(topic),
                topic_id: Cluster::id(topic),
                partition_indexes,
            });
        let mut group = OffsetFetchRequestGroup {
            group_id: self.group.clone(),
            topics: Some(topics.collect()),
            ..Default::default()
        };
        if matches!(self.member, Member::Consumer(_)) {
            group.member_id = Some(self.member_id().to_owned());
            group.member_epoch = self.epoch();
        }
        let require_stable = random.below(2) == 0;
        Command::FetchOffsets(self.caller(10), FetchOffsets { group, require_stable })
    }

    fn commit(&mut self, random: &mut Random) -> Command {
        let mut partitions: BTreeMap<usize, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        let chosen = random.below(self.owned.len() as u64);
        for (at, ((topic, partition_index), position)) in (0..).zip(&mut self.owned) {
            let Position::At(offset) = position else { continue };
            if at != chosen && random.below(3) > 0 {
                continue;
            }
            *offset += 1 + i64::try_from(random.below(4)).unwrap_or(0);
            self.tokens += 1;
            partitions.entry(*topic).or_default().push(OffsetCommitRequestPartition {
                partition_index: *partition_index,
                committed_offset: *offset,
                committed_metadata: Some(format!("c{}.{}", self.index, self.tokens)),
                ..Default::default()
            });
        }
        let topics = partitions.into_iter().map(|(topic, partitions)| OffsetCommitRequestTopic {
            name: Cluster::name(topic),
            topic_id: Cluster::id(topic),
            partitions,
        });
        let request = OffsetCommitRequest {
            group_id: self.group.clone(),
            generation_id_or_member_epoch: self.epoch(),
            member_id: self.member_id().to_owned(),
            group_instance_id: self.instance.clone(),
            topics: topics.collect(),
            ..Default::default()
        };
        Command::CommitOffsets(self.caller(10), request)
    }

    fn hear_of_work(
        &mut self,
        under_way: UnderWay,
        reply: Reply,
        cluster: &Cluster,
        random: &mut Random,
    ) -> u64 {
        let pause_us = 100_000 + random.below(600_000);
        if under_way.tenure != self.tenure {
            return pause_us;
        }
        match reply {
            Reply::FetchOffsets(response) => self.fetched(&response, cluster),
            Reply::CommitOffsets(response) if is_refused(&response) => return 4 * pause_us,
            Reply::Refused(_) => return 4 * pause_us,
            _ => {}
        }
        pause_us
    }

    fn fetched(&mut self, response: &OffsetFetchResponseGroup, cluster: &Cluster) {
        for topic in &response.topics {
            let Some(number) = cluster.with_name(&topic.name) else { continue };
            for partition in &topic.partitions {
                if partition.error_code == 0
                    && let Some(position @ Position::Unknown) =
                        self.owned.get_mut(&(number, partition.partition_index))
                {
                    *position = Position::At(partition.committed_offset.max(0));
                }
            }
        }
    }
}

/// Partitions under their topics.
#[must_use]
pub fn by_topic(places: &[Place]) -> BTreeMap<usize, Vec<i32>> {
    let mut topics: BTreeMap<usize, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in places {
        topics.entry(*topic).or_default().push(*partition);
    }
    topics
}

/// The refusal of an answer's error code.
#[must_use]
pub fn refusal_of(code: i16) -> Option<Refusal> {
    Refusal::from_code(code)
}

fn is_refused(response: &OffsetCommitResponse) -> bool {
    response.topics.iter().flat_map(|topic| &topic.partitions).any(|partition| partition.error_code != 0)
}
