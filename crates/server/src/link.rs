//! What the two sides of a connection share: its task, which reads and writes, and its core, which answers.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use ottla_broker::core::{Chunk, SessionId};
use ottla_protocol::Now;
use ottla_protocol::time::Deadline;

use crate::connection::outgoing::Outgoing;
use crate::limits::Limits;

/// See the module. Lives on one thread.
#[derive(Debug)]
pub struct Link {
    /// The connection's name within its core.
    pub session: SessionId,
    /// What is still to be written.
    pub outgoing: RefCell<Outgoing>,
    ending: Cell<Ending>,
    waker: RefCell<Option<Waker>>,
    /// When bytes last came or went.
    active: Cell<Now>,
    /// When the frame that has begun must have ended.
    frame_due: Cell<Option<Deadline>>,
    is_stalled: Cell<bool>,
    is_in_turn: Cell<bool>,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It does.
    No,
    /// It ends, for this reason, when everything is written.
    WhenWritten(&'static str),
    /// It ends now, for this reason.
    Now(&'static str),
}

impl Link {
    /// A connection that has just come.
    #[must_use]
    pub fn new(session: SessionId, now: Now) -> Self {
        Self {
            session,
            outgoing: RefCell::default(),
            ending: Cell::new(Ending::No),
            waker: RefCell::default(),
            active: Cell::new(now),
            frame_due: Cell::new(None),
            is_stalled: Cell::new(false),
            is_in_turn: Cell::new(false),
        }
    }

    /// Gives the task something to write.
    pub fn write(&self, chunks: Vec<Chunk>) {
        self.outgoing.borrow_mut().push(chunks);
        self.wake();
    }

    /// Ends the connection; of two reasons the first counts, and at once is sooner than when written.
    pub fn end(&self, ending: Ending) {
        let is_sooner = match self.ending.get() {
            Ending::No => true,
            Ending::WhenWritten(_) => matches!(ending, Ending::Now(_)),
            Ending::Now(_) => false,
        };
        if is_sooner {
            self.ending.set(ending);
            self.wake();
        }
    }

    /// Whether the connection ends.
    #[must_use]
    pub fn ending(&self) -> Ending {
        self.ending.get()
    }

    /// The task has its turn: it looks at everything itself before the turn is over, so nobody has to wake it.
    pub fn begin_turn(&self, waker: &Waker) {
        self.is_in_turn.set(true);
        let mut mine = self.waker.borrow_mut();
        match &mut *mine {
            Some(mine) => mine.clone_from(waker),
            None => *mine = Some(waker.clone()),
        }
    }

    /// The task waits again.
    pub fn end_turn(&self) {
        self.is_in_turn.set(false);
    }

    /// Lets the task go on.
    pub fn wake(&self) {
        if !self.is_in_turn.get()
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Bytes have come or gone.
    pub fn touch(&self, now: Now) {
        self.active.set(now);
    }

    /// Sets or ends the time in which a frame must have come whole.
    pub fn set_frame_due(&self, due: Option<Deadline>) {
        self.frame_due.set(due);
    }

    /// The time at which the connection will have been idle for too long.
    #[must_use]
    pub fn due(&self, limits: &Limits) -> Option<Deadline> {
        let idle = limits.idle.map(|idle| self.active.get().after(idle));
        [idle, self.frame_due.get()].into_iter().flatten().min()
    }

    /// Marks the connection as one that waits for others; whether it was not marked before.
    pub fn stall(&self) -> bool {
        !self.is_stalled.replace(true)
    }

    /// Lets a stalled connection look again.
    pub fn unstall(&self) {
        self.is_stalled.set(false);
        self.wake();
    }
}
