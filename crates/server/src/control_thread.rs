//! Control's thread: it waits for its inbox or its deadline, and sometimes for its disk.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use ottla_broker::control::{Input, Output, Stage};
use tokio::sync::mpsc::UnboundedSender;

use crate::clock::Clock;
use crate::desk::panic_text;
use crate::inbox::{Inbox, Sender};
use crate::machine::Machine;
use crate::posts::Mail;

/// What the node as a whole has come to. There are few of these in a node's life, so their queue needs no bound.
#[derive(Debug)]
pub enum Event {
    /// The broker's life has gone on.
    Stage(Stage, Stage),
    /// Client listeners may be opened.
    OpenListeners,
    /// Everything is closed.
    Finished,
    /// The node cannot go on, for this reason.
    Fatal(String),
}

/// What control's thread is given.
pub struct Wiring {
    /// What others say to control.
    pub inbox: Inbox<Input>,
    /// The cores, by their index.
    pub cores: Vec<Sender<Mail>>,
    /// Where the node's life is followed.
    pub events: UnboundedSender<Event>,
    /// The clocks.
    pub clock: Clock,
}

/// Starts the thread. It ends when control is finished or cannot go on.
///
/// # Errors
/// If the system gives no thread.
pub fn spawn<M>(wiring: Wiring, make: impl FnOnce() -> M + Send + 'static) -> io::Result<JoinHandle<()>>
where
    M: Machine<Input = Input, Output = Output>,
{
    std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        let events = wiring.events.clone();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(move || run(make(), wiring))) {
            let _ = events.send(Event::Fatal(format!("control panicked: {}", panic_text(&*panic))));
        }
    })
}

fn run<M: Machine<Input = Input, Output = Output>>(mut control: M, wiring: Wiring) {
    let Wiring { mut inbox, cores, events, clock } = wiring;
    let mut batch = Vec::new();
    let mut outputs = Vec::new();
    loop {
        let now = clock.now();
        let deadline = control.deadline();
        if deadline.is_some_and(|deadline| now.reached(deadline)) {
            control.step(now, Input::Tick, &mut outputs);
        } else {
            inbox.take(deadline.map(|deadline| now.until(deadline)), &mut batch);
            for input in batch.drain(..) {
                control.step(clock.now(), input, &mut outputs);
            }
        }
        for output in outputs.drain(..) {
            let event = match output {
                Output::ToCore(core, message) => {
                    cores[usize::from(core.0)].send(Mail::Message(message));
                    continue;
                }
                Output::Stage { from, to } => Event::Stage(from, to),
                Output::OpenListeners => Event::OpenListeners,
                Output::Finished => Event::Finished,
                Output::Fatal(why) => Event::Fatal(why),
            };
            let is_last = matches!(event, Event::Finished | Event::Fatal(_));
            // When nobody follows any more the process is ending.
            if events.send(event).is_err() || is_last {
                return;
            }
        }
    }
}
