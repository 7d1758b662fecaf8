//! One partition that a consumer reads: where it stands, and what has been fetched ahead of it.

use std::collections::VecDeque;

use ottla_protocol::time::Deadline;

use crate::consumer::fetched::Fetched;

/// Where a consumer stands in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// It is to be found out: at the first offset whose timestamp is not less, or −2 for the first there is, −1 for the end.
    Sought(i64),
    /// Where the group stands, which is to be found out.
    Committed,
    /// Before this offset.
    At(i64),
    /// The policy is to tell the caller, which has been done.
    Lost,
}

#[derive(Debug)]
pub(super) struct Assigned {
    pub position: Position,
    /// Where the next fetch begins: ahead of the position by what is buffered.
    pub fetch_from: i64,
    pub buffered: VecDeque<Fetched>,
    pub flow: Flow,
    /// A rebalance is about to take it, or has not quite given it.
    pub held: bool,
    /// The leader epoch of the last record that was handed out, for those who commit the position.
    pub leader_epoch: Option<i32>,
    /// Changes with each seek, so that answers to earlier questions are not taken for answers to later ones.
    pub generation: u64,
    /// Whether a request about it is under way.
    pub asked: bool,
    pub failures: u32,
    pub not_before: Option<Deadline>,
    /// A nearer replica that the leader named (KIP-392), and until when.
    pub replica: Option<(i32, Deadline)>,
    pub marks: Marks,
}

/// Whether a partition is read at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    On,
    Paused,
}

/// What the broker said last about the ends of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The first offset there is.
    pub log_start: i64,
    /// The offset behind the last replicated record.
    pub high_watermark: i64,
    /// The offset behind the last record that belongs to no open transaction.
    pub last_stable: i64,
}

impl Assigned {
    pub(super) fn new(position: Position, generation: u64) -> Self {
        let mut new = Self {
            position,
            fetch_from: 0,
            buffered: VecDeque::new(),
            flow: Flow::On,
            held: false,
            leader_epoch: None,
            generation,
            asked: false,
            failures: 0,
            not_before: None,
            replica: None,
            marks: Marks { log_start: -1, high_watermark: -1, last_stable: -1 },
        };
        new.stand(position);
        new
    }

    /// Begins anew elsewhere.
    pub(super) fn seek(&mut self, position: Position, generation: u64) {
        self.generation = generation;
        // What is under way belongs to the old generation; a new question need not wait for its answer.
        self.asked = false;
        self.failures = 0;
        self.not_before = None;
        self.buffered.clear();
        self.leader_epoch = None;
        self.stand(position);
    }

    /// Whether its records may be handed out.
    pub(super) fn is_on(&self) -> bool {
        self.flow == Flow::On && !self.held
    }

    fn stand(&mut self, position: Position) {
        self.position = position;
        if let Position::At(offset) = position {
            self.fetch_from = offset;
        }
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        self.buffered.iter().map(Fetched::len).sum()
    }
}
