//! The coordinators that stand on partitions of this node, as the rest of the broker sees them.
//!
//! A coordinator is a decider hosted on a partition that this node leads ([`ottla_coordinator::Hosted`]); which one
//! depends on the topic. Sessions ask it through [`crate::answer::Question::Coordinator`]; the shard that has the
//! partition keeps both together.

use std::collections::VecDeque;

use bytes::Bytes;
use ottla_coordinator::group::{self, Groups};
use ottla_coordinator::transaction::{self, Transactions};
use ottla_coordinator::{Around, Decider, Hosted, Journal, Released};
use ottla_partition::{Output, Partition, VerificationGuard};
use ottla_protocol::batch::{BatchError, StampedBatch};
use ottla_protocol::compression::{Compression, Effort};
use ottla_protocol::time::Deadline;
use ottla_protocol::{LeaderEpoch, Now, Offset, PartitionId, Refusal, Ticket};

use crate::node::Node;

/// The topic of the groups.
pub const GROUPS_TOPIC: &str = "__consumer_offsets";

/// The topic of the transactions.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// Who asks where no session does: the reply is dropped.
pub const NOBODY: Ticket = Ticket { asker: u64::MAX, question: 0 };

/// What a coordinator can be asked.
#[derive(Debug)]
pub enum Command {
    /// The group coordinator. What it writes into a transaction needs the guard that the partition gave out for it.
    Group(Box<group::Command>, Option<VerificationGuard>),
    /// The transaction coordinator.
    Transaction(Box<transaction::Command>),
}

/// A coordinator's reply.
#[derive(Debug)]
pub enum Reply {
    /// The group coordinator's.
    Group(group::Reply),
    /// The transaction coordinator's.
    Transaction(transaction::Reply),
    /// There is no coordinator, or none that can be asked now.
    Refused(Refusal),
}

/// What a coordinator wants done by others.
#[derive(Debug)]
pub enum Effect {
    /// The transaction coordinator. The answer comes back as a [`Command::Transaction`] to the same partition.
    Transaction(transaction::Effect),
}

/// A coordinator and what the shard has to know of it.
pub struct Coordinator {
    hosted: Kind,
    /// The leader epoch in which it came to be.
    epoch: LeaderEpoch,
    /// What was said while it could not listen.
    deferred: Vec<Command>,
    /// The deadline under which the shard knows it.
    pub alarm: Option<Deadline>,
}

enum Kind {
    Groups(Box<Hosted<Groups>>),
    Transactions(Box<Hosted<Transactions>>),
}

/// Does the same to whichever decider is hosted.
macro_rules! on_hosted {
    ($coordinator:expr, $hosted:ident => $act:expr) => {
        match &mut $coordinator.hosted {
            Kind::Groups($hosted) => $act,
            Kind::Transactions($hosted) => $act,
        }
    };
}

impl Coordinator {
    /// The coordinator that stands on a partition of this topic, if there is one. It has read nothing of its log yet,
    /// which begins at `start`.
    #[must_use]
    pub fn on(topic: &str, id: PartitionId, epoch: LeaderEpoch, node: &Node, start: Offset) -> Option<Self> {
        let hosted = match topic {
            GROUPS_TOPIC => {
                let groups = Groups::new(node.settings.clone(), seed(id, node));
                Kind::Groups(Box::new(Hosted::new(groups, start, offsets_effort(node))))
            }
            TRANSACTIONS_TOPIC => {
                let transactions = Transactions::new(epoch, transaction::Settings::of(&node.settings));
                Kind::Transactions(Box::new(Hosted::new(transactions, start, Effort::default())))
            }
            _ => return None,
        };
        Some(Self { hosted, epoch, deferred: Vec::new(), alarm: None })
    }

    /// Whether it goes on when this node leads its partition in another epoch. The epoch of a transaction coordinator
    /// stands in what it writes into other partitions, so that one begins anew.
    #[must_use]
    pub fn outlives(&self, epoch: LeaderEpoch) -> bool {
        self.has_groups() || self.epoch == epoch
    }

    /// The leader epoch in which it came to be.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Whether groups are what it coordinates.
    #[must_use]
    pub fn has_groups(&self) -> bool {
        matches!(self.hosted, Kind::Groups(_))
    }

    /// Whether its log is still being read.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        match &self.hosted {
            Kind::Groups(hosted) => hosted.is_loading(),
            Kind::Transactions(hosted) => hosted.is_loading(),
        }
    }

    /// The first offset that it does not know.
    #[must_use]
    pub fn next(&self) -> Offset {
        match &self.hosted {
            Kind::Groups(hosted) => hosted.next(),
            Kind::Transactions(hosted) => hosted.next(),
        }
    }

    /// When it wants [`Coordinator::tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        match &self.hosted {
            Kind::Groups(hosted) => hosted.deadline(),
            Kind::Transactions(hosted) => hosted.deadline(),
        }
    }

    /// Takes in a stretch of its log, which ends before `next`.
    ///
    /// # Errors
    /// What is there is no batch: it must not serve.
    pub fn replay(&mut self, batches: &Bytes, next: Offset) -> Result<(), BatchError> {
        on_hosted!(self, hosted => hosted.replay(batches, next))
    }

    /// Its log has been read to the end.
    pub fn loaded(&mut self, around: Around<'_>, journal: &mut PartitionJournal<'_>) {
        on_hosted!(self, hosted => hosted.loaded(around));
        for command in std::mem::take(&mut self.deferred) {
            self.ask(around, journal, NOBODY, command);
        }
    }

    /// Takes a command to its end, but for the reply.
    pub fn ask(
        &mut self,
        around: Around<'_>,
        journal: &mut PartitionJournal<'_>,
        ticket: Ticket,
        command: Command,
    ) {
        if ticket == NOBODY && self.is_loading() {
            self.deferred.push(command);
            return;
        }
        match (&mut self.hosted, command) {
            (Kind::Groups(hosted), Command::Group(command, guard)) => {
                journal.guard = guard;
                hosted.ask(around, journal, ticket, *command);
            }
            (Kind::Transactions(hosted), Command::Transaction(command)) => {
                hosted.ask(around, journal, ticket, *command);
            }
            (_, command) => tracing::error!(?command, "not for this coordinator"),
        }
    }

    /// Carries out what time has brought.
    pub fn tick(&mut self, around: Around<'_>, journal: &mut PartitionJournal<'_>) {
        on_hosted!(self, hosted => hosted.tick(around, journal));
    }

    /// The high watermark of its partition is here now.
    pub fn advance(&mut self, high_watermark: Offset) {
        on_hosted!(self, hosted => hosted.advance(high_watermark));
    }

    /// Takes everything that may leave now.
    pub fn drain(&mut self, replies: &mut VecDeque<(Ticket, Reply)>, effects: &mut Vec<Effect>) {
        match &mut self.hosted {
            Kind::Groups(hosted) => drain(hosted, replies, Reply::Group, |none: group::Effect| match none {}),
            Kind::Transactions(hosted) => {
                drain(hosted, replies, Reply::Transaction, |effect| {
                    effects.push(Effect::Transaction(effect))
                });
            }
        }
    }

    /// Gives up; everybody who still waits is to be refused.
    #[must_use]
    pub fn unload(self) -> Vec<Ticket> {
        let mut tickets = match self.hosted {
            Kind::Groups(hosted) => hosted.unload(),
            Kind::Transactions(hosted) => hosted.unload(),
        };
        tickets.retain(|&ticket| ticket != NOBODY);
        tickets
    }
}

fn drain<D: Decider>(
    hosted: &mut Hosted<D>,
    replies: &mut VecDeque<(Ticket, Reply)>,
    reply: fn(D::Reply) -> Reply,
    mut effect: impl FnMut(D::Effect),
) {
    while let Some(released) = hosted.next_released() {
        match released {
            Released::Reply(NOBODY, _) => {}
            Released::Reply(ticket, said) => replies.push_back((ticket, reply(said))),
            Released::Effect(wanted) => effect(wanted),
        }
    }
}

/// Another one for each partition and each start of the node.
fn seed(id: PartitionId, node: &Node) -> u64 {
    let bytes = node.incarnation.0.into_iter().chain(id.topic.0).chain(id.index.to_be_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// `offsets.topic.compression.codec`.
fn offsets_effort(node: &Node) -> Effort {
    let codec = node.settings.node().int("offsets.topic.compression.codec");
    let compression = match codec {
        1 => Compression::Gzip,
        2 => Compression::Snappy,
        3 => Compression::Lz4,
        4 => Compression::Zstd,
        _ => Compression::None,
    };
    Effort { compression, level: None }
}

/// A partition as the log of its coordinator.
pub struct PartitionJournal<'a> {
    /// The present moment.
    pub now: Now,
    /// The name of its topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: &'a mut Partition,
    /// What it does to the world.
    pub out: &'a mut Vec<Output>,
    /// What the next append needs if it begins a transaction.
    pub guard: Option<VerificationGuard>,
}

impl Journal for PartitionJournal<'_> {
    fn append(&mut self, batch: StampedBatch) -> Result<Offset, Refusal> {
        self.partition.append_for_coordinator(self.now, batch, self.guard.take(), self.out)
    }

    fn name(&self) -> String {
        format!("{}-{}", self.topic, self.partition.id().index)
    }
}
