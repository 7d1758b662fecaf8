//! What coordinators want done by others: producer ids from control, transaction markers from the leaders of partitions.
//!
//! An errand asks like a session, but for a client it has the coordinator that sent it. Its answer may fail to come when
//! a core goes down; the coordinator then sends another one, so errands that are too old are forgotten.

use std::collections::BTreeMap;

use ottla_coordinator::transaction::{self, Effect as Wanted, Markers};
use ottla_metadata::Image;
use ottla_partition::{Question as Ask, Reply, Ticket};
use ottla_protocol::time::Deadline;
use ottla_protocol::{NodeId, Now, PartitionId, Refusal};

use crate::answer::{Answered, Question};
use crate::api::mark_of;
use crate::control;
use crate::coordinators::{Command, Effect};
use crate::core::{CoreId, SessionId};
use crate::session::Session;

/// The session under whose name errands ask. No client gets it: a process does not live through that many connections.
pub const ERRANDS: SessionId = SessionId(u32::MAX);

/// How long an errand is remembered without an answer.
const FORGOTTEN_AFTER_MS: i64 = 120_000;

/// See the module.
#[derive(Debug)]
pub struct Errands {
    core: CoreId,
    node: NodeId,
    next: u32,
    /// By rising number, so by age.
    running: BTreeMap<u32, Errand>,
}

#[derive(Debug)]
struct Errand {
    coordinator: PartitionId,
    forgotten_at: Deadline,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    ProducerId,
    Markers {
        markers: Box<Markers>,
        answers: BTreeMap<(String, i32), Option<Refusal>>,
        asked: Vec<(String, i32)>,
    },
}

/// What an errand begins with.
pub struct Begun {
    /// Whom it asks.
    pub questions: Vec<(Ticket, Question)>,
    /// What its coordinator is told at once, where there is nobody to ask.
    pub told: Option<(PartitionId, Command)>,
}

impl Errands {
    /// The errands of a core's coordinators.
    #[must_use]
    pub fn new(core: CoreId, node: NodeId) -> Self {
        Self { core, node, next: 0, running: BTreeMap::new() }
    }

    /// Sets out for a coordinator.
    pub fn begin(&mut self, now: Now, image: &Image, coordinator: PartitionId, effect: Effect) -> Begun {
        let Effect::Transaction(wanted) = effect;
        self.forget(now);
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let (kind, questions) = match wanted {
            Wanted::ProducerId => {
                (Kind::ProducerId, vec![Question::Control(control::Command::NextProducerId)])
            }
            Wanted::WriteMarkers(markers) => self.markers(image, markers),
        };
        let errand = Errand { coordinator, forgotten_at: now.after_ms(FORGOTTEN_AFTER_MS), kind };
        if questions.is_empty() {
            return Begun { questions: Vec::new(), told: Some((coordinator, errand.kind.told(None))) };
        }
        self.running.insert(number, errand);
        let questions = questions.into_iter().zip(0_u64..);
        Begun {
            questions: questions.map(|(question, index)| (self.ticket(number, index), question)).collect(),
            told: None,
        }
    }

    /// Takes a reply; gives what the coordinator is told when it was the last one.
    pub fn answered(&mut self, ticket: Ticket, answered: Answered) -> Option<(PartitionId, Command)> {
        let number = (ticket.question >> 32) as u32;
        let index = (ticket.question & 0xffff_ffff) as usize;
        let errand = self.running.get_mut(&number)?;
        if let Kind::Markers { answers, asked, .. } = &mut errand.kind {
            let outcome = match &answered {
                Answered::Partition(Reply::Appended(_)) => None,
                Answered::Partition(Reply::Refused(refusal)) => Some(*refusal),
                _ => Some(Refusal::UnknownServerError),
            };
            answers.insert(asked.get(index)?.clone(), outcome);
            if asked.iter().any(|partition| !answers.contains_key(partition)) {
                return None;
            }
        }
        let errand = self.running.remove(&number)?;
        Some((errand.coordinator, errand.kind.told(Some(answered))))
    }

    /// The questions to the leaders of partitions on this node: what a WriteTxnMarkers request would have asked them.
    fn markers(&self, image: &Image, markers: Markers) -> (Kind, Vec<Question>) {
        let mut answers = BTreeMap::new();
        let mut asked = Vec::new();
        let mut questions = Vec::new();
        let mark = mark_of(&markers.marker);
        for topic in &markers.marker.topics {
            for &index in &topic.partition_indexes {
                let partition = (topic.name.clone(), index);
                let id = find(image, &topic.name, index);
                if markers.leader != self.node {
                    // The place to send a WriteTxnMarkers request to another broker, once nodes speak to one another.
                    answers.insert(partition, Some(Refusal::NotLeaderOrFollower));
                } else if let Some(id) = id {
                    asked.push(partition);
                    questions.push(Question::Partition(id, Ask::Mark(mark)));
                } else {
                    answers.insert(partition, Some(Refusal::UnknownTopicOrPartition));
                }
            }
        }
        (Kind::Markers { markers: Box::new(markers), answers, asked }, questions)
    }

    fn ticket(&self, number: u32, index: u64) -> Ticket {
        let asker = u64::from(self.core.0) << 32 | u64::from(ERRANDS.0);
        let ticket = Ticket { asker, question: u64::from(number) << 32 | index };
        debug_assert_eq!((Session::core_of(ticket), Session::of(ticket)), (self.core, ERRANDS));
        ticket
    }

    fn forget(&mut self, now: Now) {
        while let Some(oldest) = self.running.first_entry() {
            if !now.reached(oldest.get().forgotten_at) {
                return;
            }
            oldest.remove();
        }
    }
}

impl Kind {
    /// What the coordinator is told.
    fn told(self, last: Option<Answered>) -> Command {
        let command = match self {
            Self::ProducerId => transaction::Command::ProducerIdGranted(match last {
                Some(Answered::Control(control::Reply::ProducerId(id))) => Ok(id),
                Some(Answered::Control(control::Reply::Refused(refusal))) => Err(refusal),
                _ => Err(Refusal::CoordinatorLoadInProgress),
            }),
            Self::Markers { markers, answers, .. } => {
                let outcome = |topic: &str, index: i32| {
                    let answer = answers.get(&(topic.to_owned(), index)).copied();
                    answer.unwrap_or(Some(Refusal::UnknownServerError))
                };
                transaction::Command::MarkersWritten(markers.answered(outcome))
            }
        };
        Command::Transaction(Box::new(command))
    }
}

fn find(image: &Image, topic: &str, index: i32) -> Option<PartitionId> {
    let id = PartitionId { topic: image.topics.named(topic)?.id, index };
    image.topics.partition(id).map(|_| id)
}
