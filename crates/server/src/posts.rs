//! What a core says to the others and to control: collected while it works, sent when it pauses.

use std::cell::RefCell;

use ottla_broker::control;
use ottla_broker::core::{CoreId, Message};

use crate::inbox::Sender;
use crate::listener::Accepted;

/// Messages for one receiver that are sent even if the core has not paused, so that the receiver can begin.
const SENT_AT_ONCE: usize = 32;

/// What comes into a core's inbox.
#[derive(Debug)]
pub enum Mail {
    /// Another core or control says something.
    Message(Message),
    /// A client has connected.
    Connected(Accepted),
    /// Close the connections and end the thread.
    End,
}

/// The ways out of a core.
#[derive(Debug)]
pub struct Posts {
    cores: Vec<Post<Mail>>,
    control: Post<control::Input>,
}

#[derive(Debug)]
struct Post<T> {
    sender: Sender<T>,
    /// Collected and not yet sent.
    batch: RefCell<Vec<T>>,
}

impl Posts {
    /// Ways to each core, by its index, and to control.
    #[must_use]
    pub fn new(cores: &[Sender<Mail>], control: Sender<control::Input>) -> Self {
        Self { cores: cores.iter().cloned().map(Post::new).collect(), control: Post::new(control) }
    }

    /// Says something to a core.
    ///
    /// # Panics
    /// If there is no such core.
    pub fn to_core(&self, core: CoreId, message: Message) {
        self.cores[usize::from(core.0)].put(Mail::Message(message));
    }

    /// Says something to control.
    pub fn to_control(&self, input: control::Input) {
        self.control.put(input);
    }

    /// Sends what was collected.
    pub fn send(&self) {
        self.cores.iter().for_each(Post::send);
        self.control.send();
    }

    /// Whether somebody has so much to do that no new request should be begun.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.control.sender.is_full() || self.cores.iter().any(|post| post.sender.is_full())
    }
}

impl<T> Post<T> {
    fn new(sender: Sender<T>) -> Self {
        Self { sender, batch: RefCell::default() }
    }

    fn put(&self, message: T) {
        let mut batch = self.batch.borrow_mut();
        batch.push(message);
        if batch.len() >= SENT_AT_ONCE {
            self.sender.send_all(&mut batch);
        }
    }

    fn send(&self) {
        let mut batch = self.batch.borrow_mut();
        if !batch.is_empty() {
            self.sender.send_all(&mut batch);
        }
    }
}
