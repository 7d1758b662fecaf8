//! A core's thread as its tasks see it: the machine, the connections, the ways out.
//!
//! All tasks of a core share one desk by `Rc`. The machine is stepped by whoever has an input, at once and to its end;
//! what it wants done is done before the step is over. Nothing here is awaited, so no borrow lives across a pause.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use ottla_broker::core::{Input, Output, SessionId};
use ottla_broker::disk_work::DiskWork;
use ottla_protocol::Now;
use ottla_protocol::time::Deadline;
use tokio::sync::mpsc::UnboundedSender;

use crate::clock::Clock;
use crate::limits::{Limits, READ_BUFFER, READ_ROOM_MIN};
use crate::link::{Ending, Link};
use crate::machine::Serves;
use crate::posts::Posts;
use crate::seldom::Seldom;

/// See the module.
pub struct Desk<M> {
    machine: RefCell<M>,
    /// Filled by the machine; empty between steps.
    outputs: Cell<Vec<Output>>,
    /// By the number of the session.
    links: RefCell<HashMap<u32, Rc<Link>>>,
    next_session: Cell<u32>,
    /// Connections that may not read before others have made progress.
    stalled: RefCell<Vec<Rc<Link>>>,
    timer: Timer,
    /// What the tasks may use without asking.
    pub tools: Tools,
}

/// What every task of a core needs.
pub struct Tools {
    /// The clocks.
    pub clock: Clock,
    /// The bounds.
    pub limits: Limits,
    /// The ways to other threads.
    pub posts: Posts,
    /// What is read from sockets comes here first.
    pub buffer: RefCell<BytesMut>,
    /// Work for the task that has it done; at most one flush for each partition.
    pub disk_work: UnboundedSender<DiskWork>,
    /// Frames that have begun.
    pub begun: Begun,
    /// Log lines about connections that break rules.
    pub complaints: Seldom,
}

/// Wakes the task that waits for the machine's deadline when there is a sooner one. A later one is found when the
/// alarm goes off for nothing; most deadlines are of requests that are answered long before.
#[derive(Debug, Default)]
struct Timer {
    waker: RefCell<Option<Waker>>,
    alarm: Cell<Option<Deadline>>,
    must_look: Cell<bool>,
}

/// Counts the bytes of frames that have begun and not ended, over all connections of a core.
#[derive(Debug, Default)]
pub struct Begun {
    bytes: Cell<usize>,
    /// The connection that may read on although there are too many.
    exception: Cell<Option<SessionId>>,
}

impl<M: Serves> Desk<M> {
    /// A desk without connections.
    #[must_use]
    pub fn new(machine: M, tools: Tools) -> Self {
        Self {
            machine: RefCell::new(machine),
            outputs: Cell::default(),
            links: RefCell::default(),
            next_session: Cell::new(0),
            stalled: RefCell::default(),
            timer: Timer::default(),
            tools,
        }
    }

    /// Gives the machine an input and does what it wants done.
    pub fn step(&self, input: Input) {
        let mut outputs = self.outputs.take();
        self.machine.borrow_mut().step(self.tools.clock.now(), input, &mut outputs);
        self.carry_out(outputs);
    }

    /// Gives the machine a frame. A panic is the end of this connection alone.
    pub fn step_frame(&self, link: &Link, frame: Bytes) {
        let session = link.session;
        let mut outputs = self.outputs.take();
        let now = self.tools.clock.now();
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            self.machine.borrow_mut().step(now, Input::Frame { session, frame }, &mut outputs);
        }));
        self.carry_out(outputs);
        if let Err(panic) = stepped {
            tracing::error!(session = session.0, "a request panicked: {}", panic_text(&*panic));
            link.end(Ending::Now("a request panicked"));
        }
    }

    /// How many frames of a session wait for those before them.
    pub fn waiting(&self, session: SessionId) -> usize {
        self.machine.borrow().waiting(session)
    }

    /// When the machine wants to be told that time has passed.
    pub fn deadline(&self) -> Option<Deadline> {
        self.machine.borrow().deadline()
    }

    /// Names a new connection and tells the machine of it.
    pub fn open(&self, listener: usize, host: String) -> Rc<Link> {
        // Four billion connections on one core: then the oldest names come again, long free.
        let mut session = SessionId(self.next_session.get());
        while self.links.borrow().contains_key(&session.0) {
            session.0 = session.0.wrapping_add(1);
        }
        self.next_session.set(session.0.wrapping_add(1));
        let link = Rc::new(Link::new(session, self.tools.clock.now()));
        self.links.borrow_mut().insert(session.0, Rc::clone(&link));
        self.step(Input::Opened { session, listener, host });
        link
    }

    /// Forgets a connection and tells the machine so.
    pub fn close(&self, session: SessionId) {
        if self.links.borrow_mut().remove(&session.0).is_some() {
            self.step(Input::Closed { session });
        }
    }

    /// Ends every connection when what it has to write is written.
    pub fn end_all(&self, why: &'static str) {
        self.links.borrow().values().for_each(|link| link.end(Ending::WhenWritten(why)));
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.links.borrow().len()
    }

    /// Lets a connection wait until others have made progress.
    pub fn stall(&self, link: &Rc<Link>) {
        if link.stall() {
            self.stalled.borrow_mut().push(Rc::clone(link));
            self.timer.look();
        }
    }

    /// Whether connections wait for others.
    pub fn has_stalled(&self) -> bool {
        !self.stalled.borrow().is_empty()
    }

    /// Lets those that wait look again.
    pub fn unstall(&self) {
        self.stalled.take().iter().for_each(|link| link.unstall());
    }

    /// Ends connections that have been idle for too long; says when to look again.
    pub fn sweep(&self, now: Now) -> Deadline {
        let limits = &self.tools.limits;
        // Whatever begins after this sweep is not due sooner.
        let mut next = now.after(limits.first_frame.min(limits.idle.unwrap_or(limits.first_frame)));
        for link in self.links.borrow().values() {
            match link.due(limits) {
                Some(due) if now.reached(due) => link.end(Ending::Now("idle for too long")),
                Some(due) => next = next.min(due),
                None => {}
            }
        }
        next
    }

    /// Says when somebody will look at the deadline in any case.
    pub fn set_alarm(&self, alarm: Deadline) {
        self.timer.alarm.set(Some(alarm));
    }

    /// Whether the deadline has to be looked at since the last time this was asked.
    pub fn must_look(&self, waker: &Waker) -> bool {
        *self.timer.waker.borrow_mut() = Some(waker.clone());
        self.timer.must_look.take()
    }

    fn carry_out(&self, mut outputs: Vec<Output>) {
        for output in outputs.drain(..) {
            match output {
                Output::Write { session, chunks } => {
                    if let Some(link) = self.links.borrow().get(&session.0) {
                        link.write(chunks);
                    }
                }
                Output::Close { session, why } => {
                    if let Some(link) = self.links.borrow().get(&session.0) {
                        link.end(Ending::WhenWritten(why));
                    }
                }
                Output::ToCore(core, message) => self.tools.posts.to_core(core, message),
                Output::ToControl(input) => self.tools.posts.to_control(input),
                // When nobody runs flushes any more the core is ending, and closes its logs itself.
                Output::DiskWork(work) => drop(self.tools.disk_work.send(work)),
            }
        }
        self.outputs.set(outputs);
        if self
            .deadline()
            .is_some_and(|deadline| self.timer.alarm.get().is_some_and(|alarm| deadline < alarm))
        {
            self.timer.look();
        }
    }
}

impl Timer {
    fn look(&self) {
        if !self.must_look.replace(true)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }
}

impl Tools {
    /// Makes sure that the shared buffer has room for a read worth its system call.
    pub fn buffer_with_room(&self) -> std::cell::RefMut<'_, BytesMut> {
        let mut buffer = self.buffer.borrow_mut();
        // Where no frame holds on to it any more, the buffer begins again at its beginning, which is still in the
        // processor's cache.
        if !buffer.try_reclaim(READ_BUFFER) && buffer.capacity() < READ_ROOM_MIN {
            *buffer = BytesMut::with_capacity(READ_BUFFER);
        }
        buffer
    }
}

impl Begun {
    /// A connection held `before` bytes of a frame and now holds `after`.
    pub fn count(&self, session: SessionId, before: usize, after: usize) {
        self.bytes.set((self.bytes.get() + after).saturating_sub(before));
        if after == 0 && self.exception.get() == Some(session) {
            self.exception.set(None);
        }
    }

    /// Whether a connection may read on. When there is too much, one at a time may, of those whose frame has begun;
    /// its frame ends or becomes too slow, and then it is the turn of another.
    pub fn may_read(&self, session: SessionId, is_cut: bool, limit: usize) -> bool {
        if self.bytes.get() < limit {
            return true;
        }
        if self.exception.get().is_none() && is_cut {
            self.exception.set(Some(session));
        }
        self.exception.get() == Some(session)
    }
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
