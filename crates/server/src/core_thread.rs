//! A core's thread: one runtime, one machine, its connections, and two tasks of its own for the inbox and for time.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::BytesMut;
use ottla_broker::core::Input;
use ottla_log::PendingFlush;
use ottla_protocol::PartitionId;
use ottla_protocol::time::Deadline;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, Sleep};

use crate::clock::Clock;
use crate::connection::Connection;
use crate::control_thread::Event;
use crate::desk::{Begun, Desk, Tools, panic_text};
use crate::inbox::Inbox;
use crate::limits::{COLD_READERS_MAX, Limits};
use crate::listener::Accepted;
use crate::machine::Serves;
use crate::posts::{Mail, Posts};
use crate::seldom::Seldom;

/// At least this long between two looks at the machine's deadline, which is not free to ask for.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// How long connections that wait for others wait before they look again.
const STALL_INTERVAL: Duration = Duration::from_millis(2);

/// How long connections may take to write what they have when the thread ends.
const ENDING: Duration = Duration::from_secs(1);

/// The largest part of a second that the thread may still sleep when there is nothing to wait for.
const NEVER: Duration = Duration::from_secs(3600);

/// What a core's thread is given.
pub struct Wiring {
    /// The thread's name.
    pub name: String,
    /// What others say to the core.
    pub inbox: Inbox<Mail>,
    /// What the core says to others.
    pub posts: Posts,
    /// The clocks.
    pub clock: Clock,
    /// The bounds.
    pub limits: Limits,
    /// Where it is said that the thread has panicked.
    pub events: UnboundedSender<Event>,
}

/// Starts the thread. The machine is made on it, since it may not leave it.
///
/// # Errors
/// If the system gives no thread.
pub fn spawn<M: Serves + 'static>(
    wiring: Wiring,
    make: impl FnOnce() -> M + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(COLD_READERS_MAX)
        .thread_name(format!("{}-disk", wiring.name))
        .build()?;
    std::thread::Builder::new().name(wiring.name.clone()).spawn(move || {
        let Wiring { name, inbox, posts, clock, limits, events } = wiring;
        let (flushes, flush_queue) = tokio::sync::mpsc::unbounded_channel();
        let tools = Tools {
            flushes,
            clock,
            limits,
            posts,
            buffer: RefCell::new(BytesMut::new()),
            begun: Begun::default(),
            complaints: Seldom::default(),
        };
        let run = move || {
            let desk = Rc::new(Desk::new(make(), tools));
            tokio::task::LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    () = keep_time(Rc::clone(&desk)) => {}
                    () = run_flushes(Rc::clone(&desk), flush_queue) => {}
                    () = serve_inbox(Rc::clone(&desk), inbox) => {}
                }
            });
        };
        // What panics outside of a connection's request is the core itself: the node cannot go on without it.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            let _ = events.send(Event::Fatal(format!("{name} panicked: {}", panic_text(&*panic))));
        }
    })
}

/// Runs each flush on a thread that may wait for the disk, as many at a time as there are such threads.
async fn run_flushes<M: Serves + 'static>(
    desk: Rc<Desk<M>>,
    mut queue: UnboundedReceiver<(PartitionId, PendingFlush)>,
) {
    while let Some((partition, pending)) = queue.recv().await {
        let desk = Rc::clone(&desk);
        tokio::task::spawn_local(async move {
            // A join error means that the runtime is ending; the log is then closed without this flush.
            if let Ok(flushed) = tokio::task::spawn_blocking(|| pending.run()).await {
                desk.step(Input::Flushed(partition, flushed));
                desk.tools.posts.send();
            }
        });
    }
}

/// Takes in what others say until the thread is to end.
async fn serve_inbox<M: Serves + 'static>(desk: Rc<Desk<M>>, mut inbox: Inbox<Mail>) {
    let mut batch = Vec::new();
    let mut is_over = false;
    while !is_over {
        poll_fn(|cx| inbox.poll_take(cx, &mut batch)).await;
        for mail in batch.drain(..) {
            match mail {
                Mail::Message(message) => desk.step(Input::Message(message)),
                Mail::Connected(accepted) => open(&desk, accepted),
                Mail::End => is_over = true,
            }
        }
        desk.tools.posts.send();
        // Connections have their turn between two batches.
        tokio::task::yield_now().await;
    }
    desk.end_all("the node stops");
    let deadline = Instant::now() + ENDING;
    while desk.connections() > 0 && Instant::now() < deadline {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn open<M: Serves + 'static>(desk: &Rc<Desk<M>>, accepted: Accepted) {
    let Accepted { stream, listener, host, place } = accepted;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, "a connection from {host} could not be taken over");
            return;
        }
    };
    let link = desk.open(listener, host);
    tokio::task::spawn_local(Connection::new(Rc::clone(desk), link, stream, place).serve());
}

/// Tells the machine when its deadline has come, ends idle connections and wakes those that wait for others.
async fn keep_time<M: Serves>(desk: Rc<Desk<M>>) {
    let clock = desk.tools.clock;
    let mut sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
    let mut sweep = desk.sweep(clock.now());
    let mut unstall: Option<Deadline> = None;
    loop {
        let now = clock.now();
        if now.reached(sweep) {
            sweep = desk.sweep(now);
        }
        if desk.deadline().is_some_and(|deadline| now.reached(deadline)) {
            desk.step(Input::Tick);
            desk.tools.posts.send();
        }
        if unstall.take_if(|unstall| now.reached(*unstall)).is_some() {
            desk.unstall();
        } else if unstall.is_none() && desk.has_stalled() {
            unstall = Some(now.after(STALL_INTERVAL));
        }
        let looked = Instant::now();
        let next = [desk.deadline(), Some(sweep), unstall].into_iter().flatten().min();
        let next = next.map_or(looked + NEVER, |next| Instant::from_std(clock.instant(next)));
        sleep.as_mut().reset(next);
        poll_fn(|cx| poll_time(&desk, sleep.as_mut(), looked, cx)).await;
    }
}

/// Ready when it is time, or when the machine has been stepped and the last look is long enough ago.
fn poll_time<M: Serves>(
    desk: &Desk<M>,
    mut sleep: Pin<&mut Sleep>,
    looked: Instant,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if desk.must_look(cx.waker()) {
        let again = looked + LOOK_INTERVAL;
        if again < sleep.deadline() {
            sleep.as_mut().reset(again);
        }
    }
    sleep.poll(cx)
}
