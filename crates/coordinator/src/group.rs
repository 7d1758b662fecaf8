//! The group coordinator: groups of every protocol and their committed offsets, on one partition of `__consumer_offsets`.
//!
//! Here is only who is asked; what is answered stands in the files below. A group that commits without members is a
//! classic one without a protocol: it comes into being with its first offset.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use ottla_metadata::config::Settings;
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, SyncGroupRequest, TxnOffsetCommitRequest,
};
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, ProducerEpoch, ProducerId, Refusal, Ticket, TopicId};

use crate::decider::{Around, Decider, Outcome, Producer, Written};
use crate::mutant::{Mutant, Planted};

mod alarms;
pub(crate) mod any;
pub(crate) mod classic;
pub mod command;
pub(crate) mod consumer;
mod listing;
pub(crate) mod migration;
pub mod offsets;
pub mod record;
pub mod scene;
pub mod settings;
mod unsettled;

use alarms::Alarms;
pub(crate) use any::{Group, GroupMap};
use classic::ClassicGroup;
pub use command::{Caller, Command, Reply};
use offsets::{CommittingGroup, Offsets, Rest, Sweep, TOMBSTONES_AT_ONCE};
pub use record::Record;
pub use scene::{Decided, Effect, Random, Scene};
pub use settings::GroupSettings;
use settings::LITTLE_BYTES;
use unsettled::Unsettled;

/// See the module.
#[derive(Debug)]
pub struct Groups {
    settings: GroupSettings,
    groups: GroupMap,
    offsets: Offsets,
    random: Random,
    alarms: Alarms,
    unsettled: Unsettled,
    sweep: Sweep,
    stage: Stage,
    /// To be decided again as soon as the records of the last decision have been applied.
    again: VecDeque<(Ticket, Command)>,
}

/// Where the log has been read to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Loading,
    /// With the time of the last decision: what is applied is applied at that time.
    Live(Now),
}

impl Groups {
    /// No groups yet: they come out of the log. Ids of members follow from the seed.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        let settings = GroupSettings::new(settings);
        let sweep = Sweep::new(settings.offsets.check_interval_ms);
        Self {
            settings,
            groups: GroupMap::new(),
            offsets: Offsets::new(),
            random: Random::new(seed),
            alarms: Alarms::default(),
            unsettled: Unsettled::default(),
            sweep,
            stage: Stage::Loading,
            again: VecDeque::new(),
        }
    }

    /// Plants a bug, for tests.
    pub fn plant(&mut self, planted: Planted) {
        self.settings.planted = planted;
        self.offsets.plant(planted);
    }

    /// The state of a group, as ListGroups has it; `None` if there is none.
    #[must_use]
    pub fn state(&self, group: &str) -> Option<&'static str> {
        self.groups.get(group).map(Group::state_name)
    }

    /// The committed offsets.
    #[must_use]
    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    fn scene<'a>(&'a mut self, around: Around<'a>) -> (Scene<'a>, &'a mut GroupMap, &'a mut Offsets) {
        let Self { settings, groups, offsets, random, .. } = self;
        (Scene { now: around.now, image: around.image, settings, random }, groups, offsets)
    }

    fn join(
        &mut self,
        around: Around<'_>,
        ticket: Ticket,
        caller: Caller,
        request: JoinGroupRequest,
    ) -> Decided {
        if let Some(refused) = classic::refuse_join(&self.settings, around.image, &caller, &request) {
            return Decided::reply(ticket, Reply::Join(refused));
        }
        let (growth, host) = classic::growth(self.groups.get(&request.group_id), &caller, &request);
        if growth > 0 && !self.has_room(around, growth, host) {
            return Decided::reply(ticket, Refusal::CoordinatorNotAvailable);
        }
        if let Some(group @ Group::Consumer(_)) = self.groups.get(&request.group_id)
            && group.is_empty()
        {
            // The consumer group is forgotten first; then the classic one begins where there was nothing.
            let records = group.tombstones();
            self.again.push_back((ticket, Command::Join(caller, request)));
            return Decided { records, ..Decided::nothing() };
        }
        let (mut scene, groups, _) = self.scene(around);
        match groups.get_mut(&request.group_id) {
            Some(Group::Consumer(group)) => group.join(&mut scene, ticket, &caller, request),
            _ => classic::join(groups, &mut scene, ticket, caller, request),
        }
    }

    /// Whether so many more bytes of members on this host may be known that are in no record.
    fn has_room(&self, around: Around<'_>, growth: usize, host: &str) -> bool {
        let max = if growth <= LITTLE_BYTES {
            self.settings.unsettled_bytes_max(around.image)
        } else {
            self.settings.loud_bytes_max(around.image)
        };
        self.unsettled.total().saturating_add(growth) <= max
            && self.unsettled.of_host(host).saturating_add(growth)
                <= self.settings.host_bytes_max(around.image)
    }

    fn sync(
        &mut self,
        around: Around<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: SyncGroupRequest,
    ) -> Decided {
        let (mut scene, groups, _) = self.scene(around);
        match groups.get_mut(&request.group_id) {
            Some(Group::Consumer(group)) => group.sync(&mut scene, ticket, caller, request),
            Some(Group::Classic(group)) => group.sync(&scene, ticket, request),
            None => Decided::reply(ticket, classic::sync_with_nobody(&request)),
        }
    }

    fn heartbeat(
        &mut self,
        around: Around<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: &HeartbeatRequest,
    ) -> Decided {
        let (mut scene, groups, _) = self.scene(around);
        match groups.get_mut(&request.group_id) {
            Some(Group::Consumer(group)) => group.classic_heartbeat(&mut scene, ticket, caller, request),
            Some(Group::Classic(group)) => group.heartbeat(&scene, ticket, request),
            None => Decided::reply(ticket, classic::heartbeat_of_nobody(request)),
        }
    }

    fn leave(
        &mut self,
        around: Around<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: LeaveGroupRequest,
    ) -> Decided {
        let (mut scene, groups, _) = self.scene(around);
        match groups.get_mut(&request.group_id) {
            Some(Group::Consumer(group)) => group.leave(&mut scene, ticket, caller, request),
            Some(Group::Classic(group)) => group.leave(&scene, ticket, caller, request),
            None => Decided::reply(ticket, classic::leave_by_nobody(caller, request)),
        }
    }

    fn consumer_heartbeat(
        &mut self,
        around: Around<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: ConsumerGroupHeartbeatRequest,
    ) -> Decided {
        let (mut scene, groups, _) = self.scene(around);
        consumer::heartbeat(groups, &mut scene, ticket, caller, request)
    }

    fn commit(
        &mut self,
        around: Around<'_>,
        ticket: Ticket,
        caller: &Caller,
        mut request: OffsetCommitRequest,
    ) -> Decided {
        let (now, metadata_max) = (around.now, self.settings.offsets.metadata_max);
        let (group_id, member_id) = (request.group_id.clone(), request.member_id.clone());
        let group = self.groups.get(&group_id);
        let unchecked = match group {
            Some(Group::Classic(_)) => self.settings.planted.has(Mutant::ClassicCommitsUnchecked),
            Some(Group::Consumer(_)) => self.settings.planted.has(Mutant::ConsumerCommitsUnchecked),
            None => false,
        };
        if unchecked {
            request.generation_id_or_member_epoch = -1;
        }
        let group = group.filter(|_| !unchecked).map(|group| group as &dyn CommittingGroup);
        match Offsets::commit(now, caller.version, request, group, metadata_max) {
            Ok((records, response)) => {
                if let Some(Group::Classic(group)) = self.groups.get_mut(&group_id) {
                    group.keep_alive_by_commit(&member_id, now);
                }
                Decided::write(records, ticket, Reply::CommitOffsets(response))
            }
            Err(refusal) => Decided::reply(ticket, refusal),
        }
    }

    fn commit_in_transaction(
        &mut self,
        around: Around<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: TxnOffsetCommitRequest,
    ) -> Decided {
        let producer =
            Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) };
        let group = self.groups.get(&request.group_id).map(|group| group as &dyn CommittingGroup);
        let metadata_max = self.settings.offsets.metadata_max;
        match Offsets::commit_in_transaction(around.now, caller.version, request, group, metadata_max) {
            Ok((records, response)) => Decided {
                transaction: Some(producer),
                ..Decided::write(records, ticket, Reply::CommitOffsetsInTransaction(response))
            },
            Err(refusal) => Decided::reply(ticket, refusal),
        }
    }

    /// Some tombstones at a time, until nothing is left.
    fn topics_deleted(&mut self, ticket: Ticket, topics: Vec<(TopicId, String)>) -> Decided {
        let records = self.offsets.topics_deleted(&topics);
        if records.len() < TOMBSTONES_AT_ONCE {
            return Decided::write(records, ticket, Reply::Done);
        }
        self.again.push_back((ticket, Command::TopicsDeleted(topics)));
        Decided { records, ..Decided::nothing() }
    }

    /// Looks for offsets that have expired, and for groups that have nothing left; some at a time.
    fn sweep(&mut self, now: Now, from: Bound<String>) -> Decided {
        let mut decided = Decided::nothing();
        let retention_ms = self.settings.offsets.retention_ms;
        for (name, group) in self.groups.range((from, Bound::Unbounded)) {
            let rest = self.offsets.expire(now, retention_ms, (name, group), &mut decided.records);
            match rest {
                Rest::More => {
                    self.sweep.pause(Bound::Included(name.clone()));
                    return decided;
                }
                Rest::Nothing if group.is_empty() => decided.records.extend(group.tombstones()),
                Rest::Nothing | Rest::Something => {}
            }
            if decided.records.len() >= TOMBSTONES_AT_ONCE {
                self.sweep.pause(Bound::Excluded(name.clone()));
                return decided;
            }
        }
        self.sweep.done(now);
        decided
    }

    /// Decides upon a command of which nobody needs to be told apart by its group.
    fn decide_any(&mut self, around: Around<'_>, ticket: Ticket, command: Command) -> Decided {
        let group = |name: &str| self.groups.get(name).map(|group| group as &dyn CommittingGroup);
        match command {
            Command::Join(caller, request) => self.join(around, ticket, caller, request),
            Command::Sync(caller, request) => self.sync(around, ticket, &caller, request),
            Command::Heartbeat(caller, request) => self.heartbeat(around, ticket, &caller, &request),
            Command::Leave(caller, request) => self.leave(around, ticket, &caller, request),
            Command::ConsumerHeartbeat(caller, request) => {
                self.consumer_heartbeat(around, ticket, &caller, request)
            }
            Command::CommitOffsets(caller, request) => self.commit(around, ticket, &caller, request),
            Command::CommitOffsetsInTransaction(caller, request) => {
                self.commit_in_transaction(around, ticket, &caller, request)
            }
            Command::FetchOffsets(_, request) => {
                let name = request.group.group_id.clone();
                let answer = self.offsets.fetch(request, group(&name));
                Decided::reply(ticket, answer.map_or_else(Reply::Refused, Reply::FetchOffsets))
            }
            Command::DeleteOffsets(request) => {
                let name = request.group_id.clone();
                match self.offsets.delete(request, group(&name)) {
                    Ok((records, answer)) => Decided::write(records, ticket, Reply::DeleteOffsets(answer)),
                    Err(refusal) => Decided::reply(ticket, refusal),
                }
            }
            Command::TopicsDeleted(topics) => self.topics_deleted(ticket, topics),
            Command::Describe(caller, name) => {
                Decided::reply(ticket, Reply::Describe(listing::describe(&self.groups, &caller, name)))
            }
            Command::ConsumerDescribe(name) => {
                let described = consumer::describe(&self.groups, &self.settings, around.image, name);
                Decided::reply(ticket, Reply::ConsumerDescribe(described))
            }
            Command::List(filters) => {
                Decided::reply(ticket, Reply::List(listing::list(&self.groups, &filters)))
            }
            Command::Delete(name) => match listing::delete(&self.groups, &self.offsets, &name) {
                Ok(records) => self.write_bit_by_bit(ticket, records, Command::Delete(name)),
                Err(refusal) => Decided::reply(ticket, refusal),
            },
        }
    }

    /// Tombstones that may be too many for one batch: after the first ones, the command is decided upon again.
    fn write_bit_by_bit(&mut self, ticket: Ticket, mut records: Vec<Record>, command: Command) -> Decided {
        if records.len() <= TOMBSTONES_AT_ONCE {
            return Decided::write(records, ticket, Reply::Done);
        }
        records.truncate(TOMBSTONES_AT_ONCE);
        self.again.push_back((ticket, command));
        Decided { records, ..Decided::nothing() }
    }

    /// The group's alarm is what the group says, and so is what it costs.
    fn take_note(&mut self, name: &str) {
        let group = self.groups.get_mut(name);
        self.alarms.set(name, group.as_ref().and_then(|group| group.deadline()));
        match group.and_then(Group::ledger) {
            Some(ledger) => self.unsettled.take(name, ledger),
            None => self.unsettled.forget(name),
        }
    }

    /// Asks groups whose time has come, until one has something to say.
    fn tick_groups(&mut self, around: Around<'_>) -> Option<Decided> {
        while let Some(name) = self.alarms.take_due(around.now) {
            let (mut scene, groups, _) = self.scene(around);
            let Some(group) = groups.get_mut(&*name) else { continue };
            let decided = group.tick(&mut scene);
            let silent = decided.is_nothing();
            // Whoever has nothing to say is not asked again within the same moment.
            let earliest = around.now.after_ms(i64::from(silent));
            let deadline = group.deadline().map(|deadline| deadline.max(earliest));
            self.alarms.set(&name, deadline);
            if let Some(ledger) = self.groups.get_mut(&*name).and_then(Group::ledger) {
                self.unsettled.take(&name, ledger);
            }
            if !silent {
                return Some(decided);
            }
        }
        None
    }
}

impl Decider for Groups {
    type Command = Command;
    type Effect = Effect;
    type Record = Record;
    type Reply = Reply;

    fn decide(&mut self, around: Around<'_>, ticket: Ticket, command: Command) -> Decided {
        self.stage = Stage::Live(around.now);
        let name = command.group().map(str::to_owned);
        let decided = self.decide_any(around, ticket, command);
        if let Some(name) = name {
            self.take_note(&name);
        }
        decided
    }

    fn tick(&mut self, around: Around<'_>) -> Option<Decided> {
        self.stage = Stage::Live(around.now);
        if let Some((ticket, command)) = self.again.pop_front() {
            return Some(self.decide(around, ticket, command));
        }
        if let Some(decided) = self.tick_groups(around) {
            return Some(decided);
        }
        while let Some(from) = self.sweep.due(around.now) {
            let decided = self.sweep(around.now, from);
            if !decided.is_nothing() {
                return Some(decided);
            }
        }
        None
    }

    fn deadline(&self) -> Option<Deadline> {
        if !self.again.is_empty() {
            return Some(Deadline(0));
        }
        [self.alarms.first(), self.sweep.deadline()].into_iter().flatten().min()
    }

    fn apply(&mut self, written: Written, record: Record) {
        let name = record.group().to_owned();
        let now = match self.stage {
            Stage::Loading => None,
            Stage::Live(now) => Some(now),
        };
        match record {
            Record::OffsetCommit(key, value) => {
                if value.is_some() {
                    let simple = || Group::Classic(ClassicGroup::simple(&name, written.timestamp_ms));
                    self.groups.entry(name.clone()).or_insert_with(simple);
                }
                self.offsets.apply(written, &key, value);
            }
            Record::GroupMetadata(_, value) => classic::apply(&mut self.groups, now, &name, value),
            record => consumer::apply(&mut self.groups, now, record),
        }
        if now.is_some() {
            self.take_note(&name);
        }
    }

    fn apply_marker(&mut self, producer: Producer, outcome: Outcome) {
        self.offsets.apply_marker(producer.id, outcome);
    }

    fn loaded(&mut self, around: Around<'_>) {
        self.stage = Stage::Live(around.now);
        self.sweep.begin(around.now);
        let (mut scene, groups, _) = self.scene(around);
        let mut deadlines = BTreeMap::new();
        for (name, group) in groups.iter_mut() {
            group.loaded(&mut scene);
            deadlines.extend(group.deadline().map(|deadline| (name.clone(), deadline)));
        }
        for (name, deadline) in deadlines {
            self.alarms.set(&name, Some(deadline));
        }
    }

    fn unwritten(
        &mut self,
        around: Around<'_>,
        records: Vec<Record>,
        refusal: Refusal,
    ) -> Vec<(Ticket, Reply)> {
        self.stage = Stage::Live(around.now);
        let mut replies: Vec<(Ticket, Reply)> =
            self.again.drain(..).map(|(ticket, _)| (ticket, refusal.into())).collect();
        for record in records {
            let name = record.group().to_owned();
            let (scene, groups, _) = self.scene(around);
            if let (Some(Group::Classic(group)), Record::GroupMetadata(_, Some(value))) =
                (groups.get_mut(&name), record)
            {
                replies.extend(group.unwritten(&scene, &value));
                self.take_note(&name);
            }
        }
        replies
    }

    fn take_tickets(&mut self) -> Vec<Ticket> {
        let mut tickets: Vec<Ticket> = self.again.drain(..).map(|(ticket, _)| ticket).collect();
        for group in self.groups.values_mut() {
            tickets.extend(group.take_tickets());
        }
        tickets
    }

    fn whose(record: &Record) -> &str {
        record.group()
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Option<Record> {
        Record::decode(key, value)
    }

    fn encode(record: &Record) -> (bytes::Bytes, Option<bytes::Bytes>) {
        record.encode()
    }
}

#[cfg(test)]
mod tests;
