//! A toy that keeps numbers under names, hosted on a log in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_metadata::Image;
use ottla_protocol::batch::{ControlType, StampedBatch, TransactionMarker};
use ottla_protocol::compression::Effort;
use ottla_protocol::time::Deadline;
use ottla_protocol::{LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId, Refusal, Ticket};
use proptest::prelude::*;

use crate::decider::{Around, Decider, Decision, Outcome, Producer, Written};
use crate::hosted::{Hosted, Journal, Released};

#[derive(Default)]
struct Toy {
    numbers: BTreeMap<String, i64>,
    /// What open transactions would change.
    pending: BTreeMap<Producer, Vec<Entry>>,
    /// Who waits for a `Say`.
    listeners: Vec<Ticket>,
    /// When it writes something of its own.
    alarm: Option<Deadline>,
    unwritten: Vec<(Vec<Entry>, Refusal)>,
    is_loaded: bool,
    /// It has nothing to say when its alarm goes off.
    is_silent: bool,
}

/// A name and its new number, `None` to forget it.
type Entry = (String, Option<i64>);

#[derive(Debug)]
enum Ask {
    Put(Vec<Entry>),
    PutIn(Producer, Entry),
    Get(&'static str),
    Listen,
    Say,
    Wake(Deadline),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Done,
    Number(Option<i64>),
    Refused(Refusal),
}

impl From<Refusal> for Said {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

type Decided = Decision<Entry, Said, &'static str>;

impl Decider for Toy {
    type Command = Ask;
    type Reply = Said;
    type Record = Entry;
    type Effect = &'static str;

    fn decide(&mut self, _: Around<'_>, ticket: Ticket, command: Ask) -> Decided {
        match command {
            Ask::Put(entries) => {
                Decision { effects: vec!["put"], ..Decision::write(entries, ticket, Said::Done) }
            }
            Ask::PutIn(producer, entry) => {
                Decision { transaction: Some(producer), ..Decision::write(vec![entry], ticket, Said::Done) }
            }
            Ask::Get(name) => Decision::reply(ticket, Said::Number(self.numbers.get(name).copied())),
            Ask::Listen => {
                self.listeners.push(ticket);
                Decision::nothing()
            }
            Ask::Say => {
                let listeners = std::mem::take(&mut self.listeners);
                let replies = listeners.into_iter().chain([ticket]).map(|ticket| (ticket, Said::Done));
                Decision { replies: replies.collect(), ..Decision::nothing() }
            }
            Ask::Wake(deadline) => {
                self.alarm = Some(deadline);
                Decision::reply(ticket, Said::Done)
            }
        }
    }

    fn tick(&mut self, around: Around<'_>) -> Option<Decided> {
        self.alarm.filter(|&alarm| around.now.reached(alarm))?;
        (!self.is_silent)
            .then(|| Decision { records: vec![("alarm".into(), Some(1))], ..Decision::nothing() })
    }

    fn deadline(&self) -> Option<Deadline> {
        self.alarm
    }

    fn apply(&mut self, written: Written, (name, number): Entry) {
        if let Some(producer) = written.transaction {
            self.pending.entry(producer).or_default().push((name, number));
            return;
        }
        if name == "alarm" {
            self.alarm = None;
        }
        match number {
            Some(number) => self.numbers.insert(name, number),
            None => self.numbers.remove(&name),
        };
    }

    fn apply_marker(&mut self, producer: Producer, outcome: Outcome) {
        let pending = self.pending.remove(&producer).unwrap_or_default();
        if outcome == Outcome::Committed {
            self.numbers.extend(pending.into_iter().filter_map(|(name, number)| Some((name, number?))));
        }
    }

    fn loaded(&mut self, _: Around<'_>) {
        assert!(!self.is_loaded, "loaded once");
        self.is_loaded = true;
    }

    fn unwritten(&mut self, _: Around<'_>, records: Vec<Entry>, refusal: Refusal) -> Vec<(Ticket, Said)> {
        self.unwritten.push((records, refusal));
        std::mem::take(&mut self.listeners).into_iter().map(|ticket| (ticket, refusal.into())).collect()
    }

    fn take_tickets(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.listeners)
    }

    fn whose((name, _): &Entry) -> &str {
        name
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Option<Entry> {
        let name = String::from_utf8(key.strip_prefix(b"toy ")?.to_vec()).ok()?;
        let number = value.map(|value| Some(i64::from_be_bytes(*value.first_chunk()?)));
        match number {
            Some(None) => None,
            Some(number) => Some((name, number)),
            None => Some((name, None)),
        }
    }

    fn encode((name, number): &Entry) -> (Bytes, Option<Bytes>) {
        let value = number.map(|number| Bytes::copy_from_slice(&number.to_be_bytes()));
        (format!("toy {name}").into(), value)
    }
}

/// A log in memory.
#[derive(Clone, Default)]
struct Memory {
    batches: Vec<StampedBatch>,
    refuses: Option<Refusal>,
}

impl Memory {
    fn end(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, |batch| batch.header().next_offset())
    }

    /// Everything from a batch on, in one piece.
    fn bytes(&self, from: usize) -> Bytes {
        let batches: Vec<Bytes> = self.batches[from..].iter().map(StampedBatch::to_bytes).collect();
        batches.concat().into()
    }

    fn mark(&mut self, producer: Producer, end: ControlType) {
        let marker = TransactionMarker {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            end,
            coordinator_epoch: 0,
        };
        self.batches.push(marker.batch(0).at(self.end(), LeaderEpoch(1)));
    }
}

impl Journal for Memory {
    fn name(&self) -> String {
        "memory-0".to_owned()
    }

    fn append(&mut self, batch: StampedBatch) -> Result<Offset, Refusal> {
        let base = self.end();
        match self.refuses {
            Some(refusal) => Err(refusal),
            None => {
                self.batches.push(batch.at(base, LeaderEpoch(1)));
                Ok(base)
            }
        }
    }
}

fn at(ms: u64) -> Now {
    Now { monotonic_us: ms * 1000, wall_ms: ms as i64 }
}

fn ticket(question: u64) -> Ticket {
    Ticket { asker: 1, question }
}

fn producer(id: i64) -> Producer {
    Producer { id: ProducerId(id), epoch: ProducerEpoch(0) }
}

fn entry(name: &str, number: i64) -> Entry {
    (name.into(), Some(number))
}

struct World {
    image: Image,
    hosted: Hosted<Toy>,
    log: Memory,
    questions: u64,
}

impl World {
    fn new() -> Self {
        Self::over(Memory::default())
    }

    fn over(log: Memory) -> Self {
        let mut hosted = Hosted::new(Toy::default(), Offset::ZERO, Effort::default());
        hosted.replay(&log.bytes(0), log.end()).unwrap();
        let image = Image::default();
        hosted.loaded(Around { now: at(0), image: &image });
        hosted.advance(log.end());
        Self { image, hosted, log, questions: 0 }
    }

    fn ask(&mut self, command: Ask) -> Ticket {
        self.questions += 1;
        let ticket = ticket(self.questions);
        self.hosted.ask(Around { now: at(0), image: &self.image }, &mut self.log, ticket, command);
        ticket
    }

    fn tick(&mut self, ms: u64) {
        self.hosted.tick(Around { now: at(ms), image: &self.image }, &mut self.log);
    }

    fn released(&mut self) -> Vec<Released<Said, &'static str>> {
        std::iter::from_fn(|| self.hosted.next_released()).collect()
    }
}

#[test]
fn a_reply_waits_for_what_was_written_before_it() {
    let mut world = World::new();
    let read = world.ask(Ask::Get("a"));
    assert_eq!(world.released(), [Released::Reply(read, Said::Number(None))], "nothing to wait for");
    let put = world.ask(Ask::Put(vec![entry("a", 1), entry("b", 2)]));
    let read = world.ask(Ask::Get("b"));
    assert_eq!(world.released(), []);
    world.hosted.advance(Offset(1));
    assert_eq!(world.released(), [], "half of the batch is not enough");
    world.hosted.advance(Offset(2));
    let all = world.released();
    assert_eq!(
        all,
        [
            Released::Reply(put, Said::Done),
            Released::Effect("put"),
            Released::Reply(read, Said::Number(Some(2)))
        ]
    );
}

#[test]
fn a_reply_may_come_with_a_later_decision() {
    let mut world = World::new();
    let listener = world.ask(Ask::Listen);
    assert_eq!(world.released(), []);
    world.ask(Ask::Put(vec![entry("a", 1)]));
    let speaker = world.ask(Ask::Say);
    assert_eq!(world.released(), [], "what was written before counts for both");
    world.hosted.advance(Offset(1));
    let replies: Vec<_> = world.released().into_iter().skip(2).collect();
    assert_eq!(replies, [Released::Reply(listener, Said::Done), Released::Reply(speaker, Said::Done)]);
}

#[test]
fn what_cannot_be_written_changes_nothing_and_is_said() {
    for (refusal, told) in [
        (Refusal::NotEnoughReplicas, Refusal::CoordinatorNotAvailable),
        (Refusal::NotLeaderOrFollower, Refusal::NotCoordinator),
        (Refusal::KafkaStorageError, Refusal::NotCoordinator),
        (Refusal::RecordListTooLarge, Refusal::UnknownServerError),
        (Refusal::InvalidProducerEpoch, Refusal::InvalidProducerEpoch),
    ] {
        let mut world = World::new();
        world.log.refuses = Some(refusal);
        let listener = world.ask(Ask::Listen);
        let put = world.ask(Ask::Put(vec![entry("a", 1)]));
        let refused = |ticket| Released::Reply(ticket, Said::Refused(told));
        assert_eq!(world.released(), [refused(put), refused(listener)]);
        assert_eq!(world.hosted.decider().numbers, BTreeMap::new());
        assert_eq!(world.hosted.decider().unwritten, [(vec![entry("a", 1)], told)]);
        assert_eq!(world.hosted.next(), Offset::ZERO);
        world.log.refuses = None;
        world.ask(Ask::Put(vec![entry("a", 1)]));
        assert_eq!(world.hosted.next(), Offset(1), "the next may succeed");
    }
}

#[test]
fn there_is_a_bound_to_who_waits() {
    let mut world = World::new();
    world.ask(Ask::Put(vec![entry("a", 1)]));
    for _ in 1..super::WAITING_MAX {
        world.ask(Ask::Get("a"));
    }
    assert_eq!(world.released(), []);
    let end = world.log.end();
    let one_more = world.ask(Ask::Put(vec![entry("a", 2)]));
    let refused = Said::Refused(Refusal::CoordinatorNotAvailable);
    assert_eq!(world.released(), [Released::Reply(one_more, refused)]);
    assert_eq!(world.log.end(), end);
    world.hosted.advance(end);
    assert_eq!(world.released().len(), super::WAITING_MAX + 1, "with the effect of the first");
}

#[test]
fn nobody_is_served_while_the_log_is_read() {
    let mut world = World::new();
    world.hosted = Hosted::new(Toy::default(), Offset::ZERO, Effort::default());
    let read = world.ask(Ask::Get("a"));
    let refused = Said::Refused(Refusal::CoordinatorLoadInProgress);
    assert_eq!(world.released(), [Released::Reply(read, refused)]);
    assert_eq!(world.hosted.deadline(), None);
    world.tick(1000);
    assert!(world.log.batches.is_empty());
}

#[test]
fn everybody_who_waits_is_known_when_it_is_unloaded() {
    let mut world = World::new();
    let put = world.ask(Ask::Put(vec![entry("a", 1)]));
    let listener = world.ask(Ask::Listen);
    let read = world.ask(Ask::Get("a"));
    assert_eq!(world.hosted.unload(), [put, read, listener]);
}

#[test]
fn a_log_read_again_says_the_same_whatever_the_steps() {
    let mut world = World::new();
    let (kept, undone, open) = (producer(7), producer(8), producer(9));
    world.ask(Ask::Put(vec![entry("a", 1), entry("b", 2), entry("c", 3)]));
    world.ask(Ask::PutIn(kept, entry("kept", 1)));
    world.ask(Ask::PutIn(undone, entry("undone", 1)));
    world.ask(Ask::PutIn(open, entry("open", 1)));
    world.ask(Ask::Put(vec![("b".into(), None)]));
    let before = world.log.batches.len();
    world.log.mark(kept, ControlType::Commit);
    world.log.mark(undone, ControlType::Abort);
    // Markers are written by others: the host takes them in by reading on.
    world.hosted.replay(&world.log.bytes(before), world.log.end()).unwrap();
    world.ask(Ask::Put(vec![entry("after", 4)]));
    let state = |toy: &Toy| (toy.numbers.clone(), toy.pending.clone());
    let expected = state(world.hosted.decider());
    assert_eq!(
        expected.0,
        [("a", 1), ("c", 3), ("kept", 1), ("after", 4)].map(|(n, v)| (n.into(), v)).into()
    );
    assert_eq!(expected.1.keys().copied().collect::<Vec<_>>(), [open]);

    for cut in 0..=world.log.batches.len() {
        let mut hosted = Hosted::new(Toy::default(), Offset::ZERO, Effort::default());
        let first: Vec<Bytes> = world.log.batches[..cut].iter().map(StampedBatch::to_bytes).collect();
        let next = world.log.batches.get(cut).map_or(world.log.end(), |batch| batch.header().base_offset);
        hosted.replay(&first.concat().into(), next).unwrap();
        // A read that begins within what is known already repeats it.
        hosted.replay(&world.log.bytes(cut.saturating_sub(1)), world.log.end()).unwrap();
        assert_eq!(state(hosted.decider()), expected, "cut at {cut}");
        assert_eq!(hosted.next(), world.log.end());
    }
}

#[test]
fn a_log_that_begins_within_a_batch_or_ends_in_a_gap_is_read() {
    let mut world = World::new();
    world.ask(Ask::Put(vec![entry("a", 1), entry("b", 2), entry("c", 3)]));
    let mut hosted = Hosted::new(Toy::default(), Offset(2), Effort::default());
    hosted.replay(&world.log.bytes(0), Offset(9)).unwrap();
    assert_eq!(hosted.decider().numbers, [(String::from("c"), 3)].into());
    assert_eq!(hosted.next(), Offset(9), "compaction may have taken the last records");
}

#[test]
fn damage_is_reported() {
    let mut world = World::new();
    world.ask(Ask::Put(vec![entry("a", 1)]));
    let bytes = world.log.bytes(0);
    let mut hosted = Hosted::new(Toy::default(), Offset::ZERO, Effort::default());
    assert!(hosted.replay(&bytes.slice(..bytes.len() - 1), Offset(1)).is_err());
}

#[test]
fn what_time_brings_is_written_and_not_tried_in_a_hurry() {
    let mut world = World::new();
    world.ask(Ask::Wake(at(100).after_ms(0)));
    world.tick(50);
    assert!(world.log.batches.is_empty());
    world.log.refuses = Some(Refusal::NotEnoughReplicas);
    world.tick(100);
    assert_eq!(world.hosted.decider().unwritten.len(), 1);
    assert_eq!(world.hosted.deadline(), Some(at(600).after_ms(0)), "it rests");
    world.tick(599);
    assert_eq!(world.hosted.decider().unwritten.len(), 1);
    world.log.refuses = None;
    world.tick(600);
    assert_eq!(world.hosted.decider().numbers, [(String::from("alarm"), 1)].into());
    assert_eq!(world.hosted.deadline(), None);
}

#[test]
fn whoever_has_nothing_to_say_is_not_asked_all_the_time() {
    let mut world = World::new();
    world.hosted.decider.is_silent = true;
    world.ask(Ask::Wake(at(100).after_ms(0)));
    world.tick(100);
    assert_eq!(world.hosted.deadline(), Some(at(110).after_ms(0)));
}

/// What happens in a random life.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, i64),
    Forget(u8),
    Read(u8),
    Commit(u8),
    Refuse(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8, any::<i64>()).prop_map(|(name, number)| Step::Put(name, number)),
        1 => (0..4_u8).prop_map(Step::Forget),
        3 => (0..4_u8).prop_map(Step::Read),
        3 => any::<u8>().prop_map(Step::Commit),
        1 => any::<bool>().prop_map(Step::Refuse),
    ]
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

proptest! {
    /// Whatever has been said is still true after everything above the high watermark is lost.
    #[test]
    fn nothing_said_is_ever_lost(steps in prop::collection::vec(step(), 0..40)) {
        let mut world = World::new();
        let mut high_watermark = Offset::ZERO;
        // What each question was about, by its ticket: the log's end when it was asked, and the state then.
        let mut asked: BTreeMap<Ticket, (Offset, BTreeMap<String, i64>)> = BTreeMap::new();
        let mut said: Vec<(Offset, BTreeMap<String, i64>)> = Vec::new();
        for step in steps {
            let command = match step {
                Step::Put(name, number) => Ask::Put(vec![entry(NAMES[usize::from(name)], number)]),
                Step::Forget(name) => Ask::Put(vec![(NAMES[usize::from(name)].into(), None)]),
                Step::Read(name) => Ask::Get(NAMES[usize::from(name)]),
                Step::Commit(share) => {
                    let end = world.log.end().0;
                    let ahead = (end - high_watermark.0) * i64::from(share) / 255;
                    high_watermark = high_watermark.plus(ahead);
                    world.hosted.advance(high_watermark);
                    for released in world.released() {
                        if let Released::Reply(ticket, reply) = released
                            && !matches!(reply, Said::Refused(_))
                        {
                            said.push(asked[&ticket].clone());
                        }
                    }
                    continue;
                }
                Step::Refuse(refuses) => {
                    world.log.refuses = refuses.then_some(Refusal::NotEnoughReplicas);
                    continue;
                }
            };
            let ticket = world.ask(command);
            asked.insert(ticket, (world.log.end(), world.hosted.decider().numbers.clone()));
        }
        for (end, state) in said {
            prop_assert!(end <= high_watermark);
            let mut left = world.log.clone();
            left.batches.retain(|batch| batch.header().next_offset() <= end);
            let reborn = World::over(left);
            prop_assert_eq!(&reborn.hosted.decider().numbers, &state);
        }
    }
}
