//! A group coordinator whose log never fails unless told to, with a clock that is turned by hand.
//!
//! Ids of members are told as `m1`, `m2`, … in the order in which they are seen; requests may be given those names.
//! Each request has the number of its ticket, and no ticket may be answered twice.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_coordinator::group::command::FetchOffsets;
use ottla_coordinator::group::{Caller, Command, Decided, Groups, Reply};
use ottla_coordinator::{Around, Decider, Written};
use ottla_metadata::Image;
use ottla_metadata::config::Settings;
use ottla_protocol::messages::join_group::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group::MemberIdentity;
use ottla_protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_protocol::messages::offset_fetch::OffsetFetchRequestGroup;
use ottla_protocol::messages::sync_group::SyncGroupRequestAssignment;
use ottla_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    SyncGroupRequest,
};
use ottla_protocol::{Message, Now, Offset, Refusal, Ticket};

use super::words::{self, Words};

/// See the module.
pub struct World {
    settings: BTreeMap<String, String>,
    groups: Groups,
    image: Image,
    now: Now,
    log: Vec<(Bytes, Option<Bytes>)>,
    tickets: u64,
    open: BTreeSet<u64>,
    names: BTreeMap<String, String>,
    loses: bool,
    trace: Vec<String>,
}

impl Default for World {
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

impl World {
    fn new(settings: BTreeMap<String, String>) -> Self {
        let mut world = Self {
            groups: Groups::new(Settings::new(settings.clone()).unwrap(), 1),
            settings,
            image: Image::default(),
            now: Now { monotonic_us: 1_000_000, wall_ms: 1_700_000_000_000 },
            log: Vec::new(),
            tickets: 0,
            open: BTreeSet::new(),
            names: BTreeMap::new(),
            loses: false,
            trace: Vec::new(),
        };
        world.groups.loaded(Around { now: world.now, image: &world.image });
        world
    }

    /// Carries out a command; gives what came of it.
    pub fn run(&mut self, command: &str) -> Vec<String> {
        let (command, loses) = match command.strip_prefix("lose ") {
            Some(rest) => (rest, true),
            None => (command, false),
        };
        self.loses = loses;
        let words = Words::new(command);
        match words.at(0) {
            "settings" => {
                let named = words.named.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                *self = Self::new(named.collect());
            }
            "wait" => self.wait(words.at(1).parse().unwrap()),
            "restart" => {
                let named = words.named.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                self.settings.extend(named);
                self.restart();
            }
            "waiting" => {
                let open: Vec<String> = self.open.iter().map(|ticket| format!("#{ticket}")).collect();
                self.trace.push(format!("waiting {}", open.join(" ")).trim_end().to_owned());
            }
            "quiet" => {
                // A group without members wants nothing before the next look at expired offsets.
                let deadline = self.groups.deadline().map(|deadline| self.now.until(deadline).as_millis());
                self.trace.push(format!("next {deadline:?}"));
            }
            _ => {
                let command = self.command(&words);
                self.ask(command);
            }
        }
        self.told()
    }

    fn told(&mut self) -> Vec<String> {
        let mut names: Vec<(&String, &String)> = self.names.iter().collect();
        names.sort_by_key(|(id, _)| std::cmp::Reverse(id.len()));
        let replace = |line: String| names.iter().fold(line, |line, (id, name)| line.replace(*id, name));
        std::mem::take(&mut self.trace).into_iter().map(replace).collect()
    }

    fn ask(&mut self, command: Command) {
        self.tickets += 1;
        self.open.insert(self.tickets);
        let ticket = Ticket { asker: 0, question: self.tickets };
        let image = self.image.clone();
        let decided = self.groups.decide(Around { now: self.now, image: &image }, ticket, command);
        self.carry_out(decided);
        self.name_members();
        self.tick();
    }

    /// Members are named in the order in which they come, though they hear of it later.
    fn name_members(&mut self) {
        let image = self.image.clone();
        let around = Around { now: self.now, image: &image };
        let aside = Ticket { asker: 1, question: 0 };
        let all = self.groups.decide(around, aside, Command::List(ListGroupsRequest::default()));
        for (_, reply) in all.replies {
            let Reply::List(listed) = reply else { continue };
            for group in listed {
                let caller = Caller { client_id: String::new(), client_host: String::new(), version: 6 };
                let described = self.groups.decide(around, aside, Command::Describe(caller, group.group_id));
                for (_, reply) in described.replies {
                    let Reply::Describe(group) = reply else { continue };
                    group.members.iter().for_each(|member| self.name_member(&member.member_id));
                }
            }
        }
    }

    fn name_member(&mut self, id: &str) {
        let name = format!("m{}", self.names.len() + 1);
        self.names.entry(id.to_owned()).or_insert(name);
    }

    fn tick(&mut self) {
        let image = self.image.clone();
        for _ in 0..1000 {
            if !self.groups.deadline().is_some_and(|deadline| self.now.reached(deadline)) {
                return;
            }
            match self.groups.tick(Around { now: self.now, image: &image }) {
                Some(decided) => self.carry_out(decided),
                None => return,
            }
        }
        panic!("it always has something to say");
    }

    fn carry_out(&mut self, decided: Decided) {
        let image = self.image.clone();
        let around = Around { now: self.now, image: &image };
        if self.loses && !decided.records.is_empty() {
            let refusal = Refusal::NotCoordinator;
            for (ticket, _) in decided.replies {
                self.answer(ticket, &Reply::Refused(refusal));
            }
            for (ticket, reply) in self.groups.unwritten(around, decided.records, refusal) {
                self.answer(ticket, &reply);
            }
            return;
        }
        for record in decided.records {
            self.trace.push(words::record(&record));
            let (key, value) = Groups::encode(&record);
            let read = Groups::decode(&key, value.as_deref()).expect("what is written is read");
            assert_eq!(read, record, "what is written is read as it was");
            let offset = Offset(i64::try_from(self.log.len()).unwrap());
            self.log.push((key, value));
            let timestamp_ms = self.now.wall_ms;
            self.groups.apply(Written { offset, timestamp_ms, transaction: decided.transaction }, record);
        }
        for (ticket, reply) in decided.replies {
            self.answer(ticket, &reply);
        }
    }

    fn answer(&mut self, ticket: Ticket, reply: &Reply) {
        assert!(self.open.remove(&ticket.question), "#{} is answered twice", ticket.question);
        if let Reply::Join(response) = reply
            && response.error_code == Refusal::MemberIdRequired.code()
        {
            self.name_member(&response.member_id);
        }
        self.trace.push(format!("= #{} {}", ticket.question, words::reply(reply)));
    }

    /// Time passes; what happens meanwhile happens at its time.
    fn wait(&mut self, ms: u64) {
        let (start, until) = (self.now.monotonic_us, self.now.monotonic_us + ms * 1000);
        for _ in 0..10_000 {
            let next = self
                .groups
                .deadline()
                .map_or(until, |deadline| deadline.0.clamp(self.now.monotonic_us, until));
            self.set_clock(next);
            let said = self.trace.len();
            self.tick();
            if self.trace.len() > said {
                self.trace.insert(said, format!("+{} ms", (self.now.monotonic_us - start) / 1000));
            }
            if self.now.monotonic_us >= until && !self.groups.deadline().is_some_and(|d| self.now.reached(d))
            {
                return;
            }
        }
        panic!("time stands still");
    }

    fn set_clock(&mut self, monotonic_us: u64) {
        let passed = i64::try_from((monotonic_us - self.now.monotonic_us) / 1000).unwrap();
        self.now = Now { monotonic_us, wall_ms: self.now.wall_ms + passed };
    }

    /// Another node reads the log.
    fn restart(&mut self) {
        let mut waiting: Vec<u64> = self.groups.take_tickets().iter().map(|ticket| ticket.question).collect();
        waiting.sort_unstable();
        assert_eq!(waiting, self.open.iter().copied().collect::<Vec<_>>(), "nobody is forgotten");
        for ticket in std::mem::take(&mut self.open) {
            self.trace.push(format!("= #{ticket} refused {}", Refusal::NotCoordinator.name()));
        }
        self.groups = Groups::new(Settings::new(self.settings.clone()).unwrap(), self.tickets + 100);
        for (at, (key, value)) in self.log.iter().enumerate() {
            let record = Groups::decode(key, value.as_deref()).unwrap();
            let offset = Offset(i64::try_from(at).unwrap());
            let timestamp_ms = self.now.wall_ms;
            self.groups.apply(Written { offset, timestamp_ms, transaction: None }, record);
        }
        self.groups.loaded(Around { now: self.now, image: &self.image });
        self.tick();
    }

    fn member(&self, name: &str) -> String {
        let known = self.names.iter().find(|(_, known)| *known == name);
        known.map_or_else(|| name.to_owned(), |(id, _)| id.clone())
    }

    fn command(&self, words: &Words<'_>) -> Command {
        let group = words.at(1).trim_matches('"').to_owned();
        let caller = Caller {
            client_id: words.named("client").unwrap_or("c").to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            version: words.number("v", 9),
        };
        match words.at(0) {
            "join" => Command::Join(caller, self.join(group, words)),
            "sync" => Command::Sync(caller, self.sync(group, words)),
            "heartbeat" => {
                let request = HeartbeatRequest {
                    group_id: group,
                    generation_id: words.number("generation", 1),
                    member_id: self.member(words.at(2)),
                    group_instance_id: words.named("instance").map(str::to_owned),
                };
                Command::Heartbeat(caller, request)
            }
            "leave" => Command::Leave(caller, self.leave(group, words)),
            "commit" => Command::CommitOffsets(caller, self.commit(group, words)),
            "fetch" => {
                let group = OffsetFetchRequestGroup { group_id: group, topics: None, ..Default::default() };
                Command::FetchOffsets(caller, FetchOffsets { group, require_stable: false })
            }
            "describe" => Command::Describe(Caller { version: words.number("v", 6), ..caller }, group),
            "list" => Command::List(ListGroupsRequest {
                states_filter: words.list("states"),
                types_filter: words.list("types"),
            }),
            "delete" => Command::Delete(group),
            other => panic!("no command {other}"),
        }
    }

    fn join(&self, group_id: String, words: &Words<'_>) -> JoinGroupRequest {
        let protocol = |text: &str| {
            let (name, metadata) = text.split_once(':').unwrap_or((text, "x"));
            let metadata = match metadata.strip_prefix('@') {
                Some(topics) => subscription(topics),
                None => Bytes::copy_from_slice(metadata.as_bytes()),
            };
            JoinGroupRequestProtocol { name: name.to_owned(), metadata }
        };
        let protocols = words.named("protocols").unwrap_or("range");
        JoinGroupRequest {
            group_id,
            session_timeout_ms: words.number("session", 10_000),
            rebalance_timeout_ms: words.number("rebalance", 60_000),
            member_id: self.member(words.at(2)),
            group_instance_id: words.named("instance").map(str::to_owned),
            protocol_type: words.named("type").unwrap_or("consumer").to_owned(),
            protocols: protocols.split(',').filter(|text| !text.is_empty()).map(protocol).collect(),
            reason: words.named("reason").map(str::to_owned),
        }
    }

    fn sync(&self, group_id: String, words: &Words<'_>) -> SyncGroupRequest {
        let is_member = |name: &str| name.starts_with('m') && name[1..].parse::<u8>().is_ok();
        let assignments = words.named.iter().filter(|(name, _)| is_member(name));
        SyncGroupRequest {
            group_id,
            generation_id: words.number("generation", 1),
            member_id: self.member(words.at(2)),
            group_instance_id: words.named("instance").map(str::to_owned),
            protocol_type: words.named("type").map(str::to_owned),
            protocol_name: words.named("protocol").map(str::to_owned),
            assignments: assignments
                .map(|(name, value)| SyncGroupRequestAssignment {
                    member_id: self.member(name),
                    assignment: Bytes::copy_from_slice(value.as_bytes()),
                })
                .collect(),
        }
    }

    /// Members by id, `instance:name` by static name, or both: `m1:name`.
    fn leave(&self, group_id: String, words: &Words<'_>) -> LeaveGroupRequest {
        let member = |word: &&str| {
            let (id, instance) = word.split_once(':').map_or((*word, None), |(id, name)| (id, Some(name)));
            MemberIdentity {
                member_id: if id == "instance" { String::new() } else { self.member(id) },
                group_instance_id: instance.map(str::to_owned),
                reason: words.named("reason").map(str::to_owned),
            }
        };
        let members = words.plain.iter().skip(2).map(member).collect();
        LeaveGroupRequest { group_id, members, ..Default::default() }
    }

    fn commit(&self, group_id: String, words: &Words<'_>) -> OffsetCommitRequest {
        let partition = |text: &str| OffsetCommitRequestPartition {
            committed_offset: text.parse().unwrap(),
            ..Default::default()
        };
        let topics = words.named.iter().filter(|(name, _)| name.starts_with('t'));
        OffsetCommitRequest {
            group_id,
            generation_id_or_member_epoch: words.number("generation", -1),
            member_id: self.member(words.at(2)),
            group_instance_id: words.named("instance").map(str::to_owned),
            topics: topics
                .map(|(name, offset)| OffsetCommitRequestTopic {
                    name: (*name).to_owned(),
                    partitions: vec![partition(offset)],
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }
    }
}

/// What a consumer says: version 1, and these topics.
fn subscription(topics: &str) -> Bytes {
    use ottla_protocol::records::consumer_protocol::ConsumerProtocolSubscription;
    let topics = topics.split('+').map(str::to_owned).collect();
    let subscription = ConsumerProtocolSubscription { topics, ..Default::default() };
    let mut bytes = vec![0, 1];
    bytes.extend(subscription.to_bytes(1).unwrap());
    bytes.into()
}
