//! Groups commit, alone and in transactions, forget, and are deleted, while the machine stops at any change of its disk.
//! Whatever was acknowledged must be there after each start, whatever was not may be. `CRASH_SEEDS=1000` runs that many.

use std::collections::BTreeMap;

use ottla_log::MemoryDisk;
use ottla_log::disk::Crash;
use ottla_protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_protocol::messages::offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use ottla_protocol::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use ottla_protocol::messages::{
    DeleteGroupsRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, TxnOffsetCommitRequest,
};
use ottla_protocol::{Refusal, Request};
use ottla_raft::random::Random;

use super::support::*;

const GROUPS: [&str; 3] = ["a", "b", "c"];
const PARTITIONS: i32 = 2;
const LIVES: u64 = 6;
const OPS: u64 = 40;

/// Few partitions, so that a start is quick.
const PROPERTIES: &[(&str, &str)] =
    &[("offsets.topic.num.partitions", "2"), ("transaction.state.log.num.partitions", "1")];

/// A group's partition.
type Place = (&'static str, i32);

/// What is committed, and which commit, counted from the first, that was.
type Committed = Option<(i64, u64)>;

/// The machine has stopped.
struct Stopped;

#[derive(Clone, Debug, Default)]
struct Slot {
    is: Committed,
    /// What it may have become by a request without an answer.
    perhaps: Option<Committed>,
}

struct Run {
    memory: MemoryDisk,
    random: Random,
    world: World,
    /// Begun and lost ones, too.
    commits: u64,
    slots: BTreeMap<Place, Slot>,
    producer: (i64, i16),
    pending: BTreeMap<Place, (i64, u64)>,
    elapsed_ms: i64,
    crashes: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let memory = MemoryDisk::new();
        let mut world = World::start(&memory, PROPERTIES);
        world.create("t", PARTITIONS);
        let places = GROUPS.iter().flat_map(|&group| (0..PARTITIONS).map(move |index| (group, index)));
        let mut run = Self {
            memory,
            random: Random::new(seed),
            world,
            commits: 0,
            slots: places.map(|place| (place, Slot::default())).collect(),
            producer: (-1, -1),
            pending: BTreeMap::new(),
            elapsed_ms: 0,
            crashes: 0,
        };
        assert!(run.come_to_life().is_ok());
        run
    }

    /// Asks until there is an answer, or the machine has stopped.
    fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, Stopped> {
        self.world.send(request, version);
        for _ in 0..1000 {
            if self.memory.has_crashed() {
                return Err(Stopped);
            }
            if let Some(response) = self.world.receive::<R>(version) {
                return Ok(response);
            }
            self.world.pass(10);
        }
        panic!("no answer to {request:?}");
    }

    /// Finds both coordinators and takes the transactional id over, which ends what was open.
    fn come_to_life(&mut self) -> Result<(), Stopped> {
        for key_type in [0, 1] {
            let coordinator_keys = vec!["tx".into()];
            let search = FindCoordinatorRequest { key_type, coordinator_keys, ..Default::default() };
            assert_eq!(self.call(&search, 6)?.coordinators[0].error_code, 0);
        }
        let request = InitProducerIdRequest {
            transactional_id: Some("tx".into()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        loop {
            let response = self.call(&request, 5)?;
            match Refusal::from_code(response.error_code) {
                None => {
                    self.producer = (response.producer_id, response.producer_epoch);
                    self.pending.clear();
                    return Ok(());
                }
                Some(refusal) => {
                    assert!(refusal.is_retriable(), "{refusal:?}");
                    self.world.pass(100);
                }
            }
        }
    }

    fn place(&mut self) -> Place {
        let group = GROUPS[self.random.below(GROUPS.len() as u64) as usize];
        (group, self.random.below(PARTITIONS as u64) as i32)
    }

    fn step(&mut self) -> Result<(), Stopped> {
        let place = self.place();
        match self.random.below(10) {
            0..4 => self.commit(place),
            4..7 => self.commit_in_transaction(place),
            7 => self.end(),
            8 => self.forget(place),
            _ => self.delete(place.0),
        }
    }

    /// What a request does to places, once it is answered, or perhaps.
    fn change<R: Request>(
        &mut self,
        (request, version): (&R, i16),
        changes: Vec<(Place, Committed)>,
        error: impl Fn(&R::Response) -> i16,
    ) -> Result<(), Stopped> {
        for &(place, committed) in &changes {
            self.slots.get_mut(&place).unwrap().perhaps = Some(committed);
        }
        let response = self.call(request, version)?;
        assert_eq!(error(&response), 0, "{response:?}");
        for (place, committed) in changes {
            self.slots.insert(place, Slot { is: committed, perhaps: None });
        }
        Ok(())
    }

    fn commit(&mut self, place: Place) -> Result<(), Stopped> {
        let offset = self.next_offset();
        let row = OffsetCommitRequestPartition {
            partition_index: place.1,
            committed_offset: offset,
            committed_leader_epoch: -1,
            commit_timestamp: -1,
            committed_metadata: None,
        };
        let topic =
            OffsetCommitRequestTopic { name: "t".into(), partitions: vec![row], ..Default::default() };
        let request = OffsetCommitRequest {
            group_id: place.0.into(),
            generation_id_or_member_epoch: -1,
            retention_time_ms: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let committed = Some((offset, self.commits));
        self.change((&request, 8), vec![(place, committed)], |response| {
            response.topics[0].partitions[0].error_code
        })
    }

    fn commit_in_transaction(&mut self, place: Place) -> Result<(), Stopped> {
        let offset = self.next_offset();
        let row = TxnOffsetCommitRequestPartition {
            partition_index: place.1,
            committed_offset: offset,
            committed_leader_epoch: -1,
            committed_metadata: None,
        };
        let request = TxnOffsetCommitRequest {
            transactional_id: "tx".into(),
            group_id: place.0.into(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            generation_id_or_member_epoch: -1,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: "t".into(),
                partitions: vec![row],
                ..Default::default()
            }],
            ..Default::default()
        };
        loop {
            let response = self.call(&request, 5)?;
            match Refusal::from_code(response.topics[0].partitions[0].error_code) {
                None => break,
                Some(refusal) => assert!(refusal.is_retriable(), "{refusal:?}"),
            }
            self.world.pass(20);
        }
        self.pending.insert(place, (offset, self.commits));
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stopped> {
        let committed = self.random.below(3) > 0;
        if self.pending.is_empty() {
            return Ok(());
        }
        let request = EndTxnRequest {
            transactional_id: "tx".into(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            committed,
        };
        let pending = std::mem::take(&mut self.pending);
        // What was committed after it stays.
        let is_newer = |(place, pending): &(Place, (i64, u64))| {
            self.slots[place].is.is_none_or(|(_, commit)| commit < pending.1)
        };
        let changes = pending.into_iter().filter(is_newer).map(|(place, pending)| (place, Some(pending)));
        let changes: Vec<_> = changes.filter(|_| committed).collect();
        let mut producer = self.producer;
        for &(place, pending) in &changes {
            self.slots.get_mut(&place).unwrap().perhaps = Some(pending);
        }
        let response = self.call(&request, 5)?;
        assert_eq!(response.error_code, 0, "{response:?}");
        if response.producer_id >= 0 {
            producer = (response.producer_id, response.producer_epoch);
        }
        self.producer = producer;
        for (place, pending) in changes {
            // The decision is on the disk; its markers are on their way.
            self.slots.insert(place, Slot { is: pending, perhaps: None });
        }
        self.world.pass(20);
        Ok(())
    }

    fn forget(&mut self, place: Place) -> Result<(), Stopped> {
        if self.pending.contains_key(&place) || self.is_unknown(place.0) {
            return Ok(());
        }
        let partitions = vec![OffsetDeleteRequestPartition { partition_index: place.1 }];
        let topics = vec![OffsetDeleteRequestTopic { name: "t".into(), partitions }];
        let request = OffsetDeleteRequest { group_id: place.0.into(), topics };
        self.change((&request, 0), vec![(place, None)], |response| response.error_code)
    }

    fn delete(&mut self, group: &'static str) -> Result<(), Stopped> {
        if self.pending.keys().any(|place| place.0 == group) || self.is_unknown(group) {
            return Ok(());
        }
        let request = DeleteGroupsRequest { groups_names: vec![group.into()] };
        let changes = (0..PARTITIONS).map(|index| ((group, index), None)).collect();
        self.change((&request, 2), changes, |response| response.results[0].error_code)
    }

    fn is_unknown(&self, group: &str) -> bool {
        self.slots.iter().all(|(place, slot)| place.0 != group || slot.is.is_none())
    }

    fn next_offset(&mut self) -> i64 {
        self.commits += 1;
        100 + self.commits as i64
    }

    /// What a group has committed for a partition, for good.
    fn read(&mut self, place: Place) -> Result<Option<i64>, Stopped> {
        let topic = OffsetFetchRequestTopics {
            name: "t".into(),
            partition_indexes: vec![place.1],
            ..Default::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: place.0.into(),
            member_epoch: -1,
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let request = OffsetFetchRequest { groups: vec![group], require_stable: true, ..Default::default() };
        loop {
            let response = self.call(&request, 9)?;
            assert_eq!(response.groups[0].error_code, 0, "{response:?}");
            let row = &response.groups[0].topics[0].partitions[0];
            match Refusal::from_code(row.error_code) {
                None => return Ok((row.committed_offset >= 0).then_some(row.committed_offset)),
                Some(refusal) => assert_eq!(refusal, Refusal::UnstableOffsetCommit),
            }
            self.world.pass(50);
        }
    }

    fn compare(&mut self) -> Result<(), Stopped> {
        for place in self.slots.keys().copied().collect::<Vec<_>>() {
            let there = self.read(place)?;
            let slot = &self.slots[&place];
            let mut possible = [Some(slot.is), slot.perhaps].into_iter().flatten();
            let found = possible.find(|committed| committed.map(|(offset, _)| offset) == there);
            let is = found.unwrap_or_else(|| panic!("{place:?}: {there:?} is there, not {slot:?}"));
            self.slots.insert(place, Slot { is, perhaps: None });
        }
        Ok(())
    }

    fn live(&mut self) {
        self.memory.crash_at(1 + self.random.below(120));
        for _ in 0..OPS {
            if self.step().is_err() {
                break;
            }
        }
        let seed = self.random.next_u64();
        let crash = match self.random.below(4) {
            0 => Crash::Process,
            1 => Crash::Power,
            2 => Crash::Torn { seed },
            _ => Crash::Scattered { seed },
        };
        self.crashes += u64::from(self.memory.has_crashed());
        self.memory.reboot(crash);
        self.elapsed_ms += 10_000;
        let start = Start { after_ms: self.elapsed_ms, seed, ..Start::with(PROPERTIES) };
        self.world = World::try_start(&self.memory, start).unwrap_or_else(|why| panic!("no start: {why}"));
        // What was open is aborted by the next who takes the id over.
        let back = self.come_to_life().and_then(|()| self.compare());
        assert!(back.is_ok(), "nothing stops the machine now");
    }
}

#[test]
fn no_acknowledged_offset_is_lost_whenever_the_machine_stops() {
    let seeds = std::env::var_os("CRASH_SEEDS").and_then(|seeds| seeds.to_str()?.parse().ok());
    let seeds = seeds.unwrap_or(10);
    let (mut crashes, mut lost) = (0, 0);
    for seed in 0..seeds {
        // So that a failure says which seed it is.
        println!("seed {seed}");
        let mut run = Run::new(seed);
        for _ in 0..LIVES {
            run.live();
        }
        crashes += run.crashes;
        lost += run.memory.injected().lost_changes;
    }
    println!("{crashes} crashes, {lost} changes lost");
    assert!(crashes > seeds, "only {crashes} crashes");
    assert!(lost > seeds, "only {lost} changes were lost");
}
