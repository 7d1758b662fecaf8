//! The queue in front of a thread: many senders, one receiver that takes everything at once.
//!
//! Sending never waits. Cores ask each other, so two that waited for room in each other's queue would wait for ever;
//! instead a core whose messages pile up ([`Sender::is_full`]) reads no more requests until the pile is gone. What can
//! still arrive beyond [`INBOX_FULL`] is what the requests already read ask for, and replies to questions in flight.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

/// Messages in one inbox at which the senders' cores stop reading requests.
pub const INBOX_FULL: usize = 16_384;

/// The receiving end. When it is dropped, what is sent goes nowhere.
#[derive(Debug)]
pub struct Inbox<T>(Arc<Shared<T>>);

/// A sending end.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    /// How many messages wait; may lag behind.
    length: AtomicUsize,
}

#[derive(Debug)]
struct State<T> {
    queue: Vec<T>,
    receiver: Option<Waker>,
    open: bool,
}

/// An empty inbox.
#[must_use]
pub fn inbox<T>() -> (Sender<T>, Inbox<T>) {
    let state = State { queue: Vec::new(), receiver: None, open: true };
    let shared = Arc::new(Shared { state: Mutex::new(state), length: AtomicUsize::new(0) });
    (Sender(Arc::clone(&shared)), Inbox(shared))
}

impl<T> Sender<T> {
    /// Puts one message at the end.
    pub fn send(&self, message: T) {
        self.put(|queue| queue.push(message));
    }

    /// Puts all of `messages` at the end and leaves it empty.
    pub fn send_all(&self, messages: &mut Vec<T>) {
        self.put(|queue| queue.append(messages));
        messages.clear();
    }

    /// Whether so much waits that nothing new should be begun.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.length.load(Ordering::Relaxed) >= INBOX_FULL
    }

    fn put(&self, put: impl FnOnce(&mut Vec<T>)) {
        let mut state = self.0.lock();
        if !state.open {
            return;
        }
        put(&mut state.queue);
        self.0.length.store(state.queue.len(), Ordering::Relaxed);
        let receiver = state.receiver.take();
        drop(state);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Inbox<T> {
    /// Moves everything that waits to `into`, which is empty, or asks to be woken.
    pub fn poll_take(&mut self, cx: &mut Context<'_>, into: &mut Vec<T>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.queue.is_empty() {
            state.receiver = Some(cx.waker().clone());
            return Poll::Pending;
        }
        std::mem::swap(&mut state.queue, into);
        self.0.length.store(0, Ordering::Relaxed);
        Poll::Ready(())
    }

    /// As [`poll_take`](Self::poll_take), but the thread itself waits, at most `timeout`.
    pub fn take(&mut self, timeout: Option<Duration>, into: &mut Vec<T>) {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut cx = Context::from_waker(&waker);
        if self.poll_take(&mut cx, into).is_ready() {
            return;
        }
        match timeout {
            Some(timeout) => std::thread::park_timeout(timeout),
            None => std::thread::park(),
        }
        // A thread may be unparked for nothing; then this takes nothing and the caller comes again.
        let _ = self.poll_take(&mut cx, into);
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.open = false;
        let left = std::mem::take(&mut state.queue);
        drop(state);
        drop(left);
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_in_order_and_in_few_turns() {
        let (sender, mut inbox) = inbox();
        let writers: Vec<_> = (0..4_u32)
            .map(|writer| {
                let sender = sender.clone();
                std::thread::spawn(move || (0..10_000_u32).for_each(|n| sender.send((writer, n))))
            })
            .collect();
        let mut seen = [0_u32; 4];
        let mut batch = Vec::new();
        while seen.iter().sum::<u32>() < 40_000 {
            inbox.take(None, &mut batch);
            for (writer, n) in batch.drain(..) {
                assert_eq!(n, seen[writer as usize], "in the order in which it was sent");
                seen[writer as usize] += 1;
            }
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    }

    #[test]
    fn waiting_ends_at_the_timeout() {
        let (_sender, mut inbox) = inbox::<u8>();
        let mut batch = Vec::new();
        inbox.take(Some(Duration::from_millis(5)), &mut batch);
        assert!(batch.is_empty());
    }

    #[test]
    fn a_full_inbox_says_so_until_it_is_taken() {
        let (sender, mut inbox) = inbox();
        sender.send_all(&mut vec![0_u8; INBOX_FULL]);
        assert!(sender.is_full());
        let mut batch = Vec::new();
        inbox.take(None, &mut batch);
        assert_eq!(batch.len(), INBOX_FULL);
        assert!(!sender.is_full());
    }

    #[test]
    fn what_is_sent_to_nobody_is_dropped() {
        let (sender, inbox) = inbox();
        let message = Arc::new(());
        sender.send(Arc::clone(&message));
        drop(inbox);
        sender.send(Arc::clone(&message));
        assert_eq!(Arc::strong_count(&message), 1);
    }
}
