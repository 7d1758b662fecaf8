//! One client connection: a task that reads frames, gives them to the core and writes what the core answers.
//!
//! A turn writes what waits, then reads a few times, giving the core every whole frame, and writes again; then the
//! other connections have their turn. It reads no further while the client leaves too much unread, while requests
//! wait for those before them, or while the node is behind; then the client's own sends come to a halt.

pub mod cold;
pub mod frames;
pub mod outgoing;
pub mod socket;

use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::Now;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use crate::admission::Place;
use crate::desk::{Desk, panic_text};
use crate::limits::{
    LINGER, READS_PER_TURN, SLOWEST_RATE, UNWRITTEN_MAX, WAITING_REQUESTS_MAX, WRITTEN_PER_TURN,
};
use crate::link::{Ending, Link};
use crate::machine::Serves;
use cold::Warmed;
use frames::{FrameError, Frames};
use outgoing::{Progress, SendError};

/// See the module.
pub struct Connection<M: Serves> {
    desk: Rc<Desk<M>>,
    link: Rc<Link>,
    stream: TcpStream,
    frames: Frames,
    /// Bytes that were read but not yet cut into frames, because enough requests wait.
    uncut: BytesMut,
    /// Since when the frame that has begun lasts.
    frame_since: Option<Now>,
    has_had_frame: bool,
    /// The client sends no more.
    is_at_end: bool,
    cold: Option<JoinHandle<Warmed>>,
    linger: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the client has closed it")]
    ByClient,
    #[error("{0}")]
    ByNode(&'static str),
    #[error("{0}")]
    NoFrame(#[from] FrameError),
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("it cannot be written: {0}")]
    Unwritable(#[from] SendError),
    #[error("the disk could not be read: {0}")]
    ColdRead(#[from] tokio::task::JoinError),
    #[error("its handling panicked: {0}")]
    Panicked(String),
}

/// What came of trying to write.
enum Written {
    /// Everything is out.
    All,
    /// The socket or the disk will wake the task.
    Waits,
    /// The turn is over.
    TurnOver,
}

impl<M: Serves> Connection<M> {
    /// A connection that the core knows under `link`.
    #[must_use]
    pub fn new(desk: Rc<Desk<M>>, link: Rc<Link>, stream: TcpStream, place: Place) -> Self {
        Self {
            desk,
            link,
            stream,
            frames: Frames::default(),
            uncut: BytesMut::new(),
            frame_since: None,
            has_had_frame: false,
            is_at_end: false,
            cold: None,
            linger: None,
            _place: place,
        }
    }

    /// Serves the connection until it is over.
    pub async fn serve(mut self) {
        let end = poll_fn(|cx| {
            self.link.begin_turn(cx.waker());
            let turn = catch_unwind(AssertUnwindSafe(|| self.poll(cx)));
            self.link.end_turn();
            turn.unwrap_or_else(|panic| Poll::Ready(End::Panicked(panic_text(&*panic).to_owned())))
        })
        .await;
        self.report(&end);
        let tools = &self.desk.tools;
        tools.begun.count(self.link.session, self.frames.held(), 0);
        self.desk.close(self.link.session);
        self.desk.tools.posts.send();
    }

    fn report(&self, end: &End) {
        let session = self.link.session.0;
        let peer = || self.stream.peer_addr().map_or_else(|_| "a client".to_owned(), |peer| peer.to_string());
        match end {
            End::Panicked(_) => tracing::error!(session, "a connection was closed: {end}"),
            End::ByNode(_) | End::NoFrame(_) | End::ColdRead(_) | End::Unwritable(SendError::Disk(_)) => {
                let now = self.desk.tools.clock.now();
                if let Some(left_out) = self.desk.tools.complaints.may(now) {
                    tracing::info!(session, left_out, "the connection of {} was closed: {end}", peer());
                }
            }
            _ => tracing::debug!(session, "a connection is over: {end}"),
        }
    }

    /// One turn. Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let mut turn = WRITTEN_PER_TURN;
        for reads_left in (0..=READS_PER_TURN).rev() {
            if let Ending::Now(why) = self.link.ending() {
                return Poll::Ready(End::ByNode(why));
            }
            let written = match self.poll_write(cx, &mut turn) {
                Ok(Written::TurnOver) => break,
                Ok(written) => written,
                Err(end) => return Poll::Ready(end),
            };
            match (self.link.ending(), written) {
                (Ending::No, _) if !self.is_at_end => {}
                (_, Written::Waits) => return Poll::Pending,
                (Ending::WhenWritten(why), _) if !self.is_at_end => {
                    return self.poll_linger(cx).map(|()| End::ByNode(why));
                }
                _ => return Poll::Ready(End::ByClient),
            }
            if reads_left > 0 {
                match ready!(self.poll_read(cx)) {
                    Ok(_) => {}
                    Err(end) => return Poll::Ready(end),
                }
                self.desk.tools.posts.send();
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, turn: &mut usize) -> Result<Written, End> {
        let mut outgoing = self.link.outgoing.borrow_mut();
        loop {
            if let Some(cold) = &mut self.cold {
                match Pin::new(cold).poll(cx) {
                    Poll::Pending => return Ok(Written::Waits),
                    Poll::Ready(warmed) => outgoing.warmed(warmed?)?,
                }
                self.cold = None;
            }
            let before = outgoing.unwritten();
            let progress = outgoing.flush(&self.stream, turn)?;
            if outgoing.unwritten() < before {
                self.link.touch(self.desk.tools.clock.now());
            }
            match progress {
                Progress::Idle => return Ok(Written::All),
                Progress::Again => return Ok(Written::TurnOver),
                Progress::Cold(read) => self.cold = Some(tokio::task::spawn_blocking(move || read.run())),
                Progress::Blocked => match self.stream.poll_write_ready(cx) {
                    Poll::Pending => return Ok(Written::Waits),
                    Poll::Ready(ready) => ready.map_err(SendError::Socket)?,
                },
            }
        }
    }

    /// Reads once and gives the core the frames that are whole.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if !self.may_read() {
            return Poll::Pending;
        }
        let held = self.frames.held();
        let read = if !self.uncut.is_empty() {
            let mut uncut = std::mem::take(&mut self.uncut);
            let result = self.cut(&mut uncut);
            self.uncut = uncut;
            result
        } else if let Some(mut room) = self.frames.room() {
            let count = ready!(poll_read_buf(&mut self.stream, cx, &mut room)).map_err(End::Unreadable)?;
            if let Some(frame) = self.frames.take_whole() {
                self.give(frame);
            }
            self.note_end(count);
            Ok(())
        } else {
            let desk = Rc::clone(&self.desk);
            let mut buffer = desk.tools.buffer_with_room();
            let count = ready!(poll_read_buf(&mut self.stream, cx, &mut *buffer)).map_err(End::Unreadable)?;
            let result = self.cut(&mut buffer);
            self.uncut.extend_from_slice(&buffer);
            buffer.clear();
            self.note_end(count);
            result
        };
        self.count_begun(held);
        Poll::Ready(read)
    }

    /// Gives the core the whole frames in `bytes`, until too many wait or too much is to be written: a read of tiny
    /// requests may ask for gigabytes.
    fn cut(&mut self, bytes: &mut BytesMut) -> Result<(), End> {
        while !bytes.is_empty() && !self.has_enough() {
            match self.frames.next(bytes, self.desk.tools.limits.frame)? {
                Some(frame) => self.give(frame),
                None => break,
            }
            if self.link.ending() != Ending::No {
                bytes.clear();
            }
        }
        Ok(())
    }

    fn give(&mut self, frame: Bytes) {
        self.has_had_frame = true;
        self.frame_since = None;
        self.desk.step_frame(&self.link, frame);
    }

    /// Whether there is room for the responses to what would be read. If not, somebody wakes the task when it is time
    /// to look again: the socket when it takes bytes, the core when it answers, the desk otherwise.
    fn may_read(&self) -> bool {
        let tools = &self.desk.tools;
        let session = self.link.session;
        let is_free = !self.has_enough()
            && !tools.posts.is_full()
            && tools.begun.may_read(session, self.frames.is_cut(), tools.limits.begun_bytes);
        // What has to be written wakes the task by itself.
        if !is_free && self.link.outgoing.borrow().unwritten() <= UNWRITTEN_MAX {
            self.desk.stall(&self.link);
        }
        is_free
    }

    fn has_enough(&self) -> bool {
        self.link.outgoing.borrow().unwritten() > UNWRITTEN_MAX
            || self.desk.waiting(self.link.session) > WAITING_REQUESTS_MAX
    }

    /// Sets how long the frame that has begun may still take.
    fn count_begun(&mut self, held_before: usize) {
        let tools = &self.desk.tools;
        let now = tools.clock.now();
        let held = self.frames.held();
        self.link.touch(now);
        tools.begun.count(self.link.session, held_before, held);
        if !self.frames.is_cut() {
            self.frame_since = None;
            self.link.set_frame_due(None);
            return;
        }
        let since = *self.frame_since.get_or_insert(now);
        let limits = &tools.limits;
        let due = if self.has_had_frame {
            let earned = std::time::Duration::from_secs(held as u64 / SLOWEST_RATE);
            limits.idle.map(|idle| since.after(idle + earned))
        } else {
            Some(since.after(limits.first_frame))
        };
        self.link.set_frame_due(due);
    }

    /// Where nothing was read the client sends no more. What it has already been answered is still written.
    fn note_end(&mut self, read: usize) {
        if read == 0 {
            self.is_at_end = true;
            self.desk.close(self.link.session);
        }
    }

    /// Closes our half and waits a little for the client to close its own: a socket that is closed with unread bytes
    /// in it takes back what was just written.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| {
            // An error means that the connection is gone, which reading shows too.
            let _ = socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
            Box::pin(tokio::time::sleep(LINGER))
        });
        if linger.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let desk = Rc::clone(&self.desk);
        let mut buffer = desk.tools.buffer_with_room();
        loop {
            let count = ready!(poll_read_buf(&mut self.stream, cx, &mut *buffer));
            buffer.clear();
            if !matches!(count, Ok(1..)) {
                return Poll::Ready(());
            }
        }
    }
}

fn poll_read_buf(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    buffer: &mut impl BufMut,
) -> Poll<io::Result<usize>> {
    pin!(stream.read_buf(buffer)).poll(cx)
}

#[cfg(test)]
mod tests;
