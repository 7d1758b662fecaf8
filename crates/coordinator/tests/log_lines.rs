//! What coordinators say of what they have decided: nothing is said to have happened that could not be written, and who
//! could not be served is named.

use std::sync::mpsc;

use bytes::Bytes;
use ottla_coordinator::group::{Caller, Command, Groups, Reply};
use ottla_coordinator::{Around, Hosted, Journal, Released};
use ottla_metadata::Image;
use ottla_metadata::config::Settings;
use ottla_protocol::batch::StampedBatch;
use ottla_protocol::compression::Effort;
use ottla_protocol::messages::join_group::JoinGroupRequestProtocol;
use ottla_protocol::messages::sync_group::SyncGroupRequestAssignment;
use ottla_protocol::messages::{JoinGroupRequest, SyncGroupRequest};
use ottla_protocol::{LeaderEpoch, Now, Offset, Refusal, Ticket};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Hands every event on as a line: level, fields in their order.
struct Scribe(mpsc::Sender<String>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl Subscriber for Scribe {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.send(line.0).expect("the test listens");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A log in memory, which may refuse.
#[derive(Default)]
struct Memory {
    end: Offset,
    refuses: Option<Refusal>,
}

impl Journal for Memory {
    fn append(&mut self, batch: StampedBatch) -> Result<Offset, Refusal> {
        if let Some(refusal) = self.refuses {
            return Err(refusal);
        }
        let base = self.end;
        self.end = batch.at(base, LeaderEpoch(1)).header().next_offset();
        Ok(base)
    }

    fn name(&self) -> String {
        "__consumer_offsets-7".to_owned()
    }
}

struct World {
    hosted: Hosted<Groups>,
    image: Image,
    log: Memory,
    now: Now,
}

impl World {
    fn new() -> Self {
        let groups = Groups::new(Settings::default(), 3);
        let mut hosted = Hosted::new(groups, Offset::ZERO, Effort::default());
        let image = Image::default();
        let now = Now { monotonic_us: 9_000_000, wall_ms: 1_000_000 };
        hosted.loaded(Around { now, image: &image });
        Self { hosted, image, log: Memory::default(), now }
    }

    fn caller() -> Caller {
        Caller { client_id: "c".to_owned(), client_host: "/127.0.0.1".to_owned(), version: 3 }
    }

    fn ask(&mut self, command: Command) -> Option<Reply> {
        let ticket = Ticket { asker: 0, question: 1 };
        let around = Around { now: self.now, image: &self.image };
        self.hosted.ask(around, &mut self.log, ticket, command);
        self.reply()
    }

    /// Four seconds later.
    fn wait(&mut self) -> Option<Reply> {
        self.now = Now { monotonic_us: self.now.monotonic_us + 4_000_000, wall_ms: self.now.wall_ms + 4_000 };
        self.hosted.tick(Around { now: self.now, image: &self.image }, &mut self.log);
        self.reply()
    }

    fn reply(&mut self) -> Option<Reply> {
        self.hosted.advance(self.log.end);
        match self.hosted.next_released()? {
            Released::Reply(_, reply) => Some(reply),
            Released::Effect(effect) => match effect {},
        }
    }

    /// The only member of the group `g` joins; its sync.
    fn join(&mut self) -> SyncGroupRequest {
        let request = JoinGroupRequest {
            group_id: "g".to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "connect".to_owned(),
            protocols: vec![JoinGroupRequestProtocol { name: "p".to_owned(), metadata: Bytes::new() }],
            ..Default::default()
        };
        assert!(self.ask(Command::Join(Self::caller(), request)).is_none());
        let Some(Reply::Join(joined)) = self.wait() else { panic!("nobody else is awaited") };
        let mine = SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: Bytes::from_static(b"everything"),
        };
        SyncGroupRequest {
            group_id: "g".to_owned(),
            generation_id: joined.generation_id,
            member_id: joined.member_id,
            assignments: vec![mine],
            ..Default::default()
        }
    }
}

/// What is said meanwhile, but for what is of no interest to an operator.
fn lines_of(act: impl FnOnce()) -> Vec<String> {
    let (scribe, lines) = mpsc::channel();
    tracing::subscriber::with_default(Scribe(scribe), act);
    lines.into_iter().filter(|line| line.starts_with("INFO") || line.starts_with("WARN")).collect()
}

#[test]
fn an_assignment_that_is_refused_is_not_said_to_have_been_made() {
    let mut world = World::new();
    let sync = world.join();
    world.log.refuses = Some(Refusal::RecordListTooLarge);
    let lines = lines_of(|| {
        let reply = world.ask(Command::Sync(World::caller(), sync));
        assert!(matches!(reply, Some(Reply::Refused(Refusal::UnknownServerError))), "{reply:?}");
    });
    assert!(!lines.iter().any(|line| line.contains("has rebalanced")), "{lines:#?}");
    let of_the_write = lines.iter().find(|line| line.contains("could not be written")).expect("it is said");
    for part in ["WARN", "__consumer_offsets-7", "whose=\"g\"", "RECORD_LIST_TOO_LARGE"] {
        assert!(of_the_write.contains(part), "{part} in {of_the_write}");
    }
}

#[test]
fn an_assignment_that_is_written_is_said_once() {
    let mut world = World::new();
    let sync = world.join();
    let lines = lines_of(|| {
        assert!(matches!(world.ask(Command::Sync(World::caller(), sync)), Some(Reply::Sync(_))));
    });
    let said: Vec<&String> = lines.iter().filter(|line| line.contains("has rebalanced")).collect();
    assert!(matches!(&said[..], [line] if line.contains("group=\"g\"")), "{lines:#?}");
}
