//! A core's thread: one runtime, one machine, its connections, and three tasks of its own: for the inbox, the
//! disk and time.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::BytesMut;
use ottla_broker::core::Input;
use ottla_broker::disk_work::DiskWork;
use ottla_protocol::time::Deadline;
use tokio::net::TcpStream;
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::{JoinError, JoinSet, spawn_local};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::connection::Connection;
use crate::control_thread::Event;
use crate::desk::{Begun, Desk, Tools, panic_text};
use crate::inbox::Inbox;
use crate::limits::{DISK_THREADS_MAX, Limits};
use crate::listener::Accepted;
use crate::machine::Serves;
use crate::posts::{Mail, Posts};
use crate::seldom::Seldom;

/// How long connections that wait for others wait before they look again.
const STALL_INTERVAL: Duration = Duration::from_millis(2);

/// How long connections may take to write what they have when the thread ends.
const ENDING: Duration = Duration::from_secs(1);

/// How often it is looked whether they have.
const ENDING_INTERVAL: Duration = Duration::from_millis(1);

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
    std::thread::Builder::new().name(wiring.name.clone()).spawn(move || {
        let (name, events) = (wiring.name.clone(), wiring.events.clone());
        // What panics outside of a connection's request is the core itself: the node cannot go on without it.
        let failure = match catch_unwind(AssertUnwindSafe(move || run(wiring, make))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("{name} could not begin: {error}"),
            Err(panic) => format!("{name} panicked: {}", panic_text(&*panic)),
        };
        let _ = events.send(Event::Fatal(failure));
    })
}

fn run<M: Serves + 'static>(wiring: Wiring, make: impl FnOnce() -> M) -> io::Result<()> {
    let Wiring { name, inbox, posts, clock, limits, .. } = wiring;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(DISK_THREADS_MAX)
        .thread_name(format!("{name}-disk"))
        .build_local(LocalOptions::default())?;
    let (disk_work, disk_queue) = tokio::sync::mpsc::unbounded_channel();
    let tools = Tools {
        disk_work,
        clock,
        limits,
        posts,
        buffer: RefCell::new(BytesMut::new()),
        begun: Begun::default(),
        complaints: Seldom::default(),
    };
    let desk = Rc::new(Desk::new(make(), tools));
    runtime.block_on(async {
        let time = spawn_local(keep_time(Rc::clone(&desk)));
        let disk = spawn_local(run_disk_work(Rc::clone(&desk), disk_queue));
        let inbox = spawn_local(serve_inbox(desk, inbox));
        let ended = tokio::select! { ended = time => ended, ended = disk => ended, ended = inbox => ended };
        pass_on_panic(ended);
    });
    Ok(())
}

/// Does each piece of work on a thread that may wait for the disk, as many at a time as there are such threads. What panics
/// there is the core's own panic: somebody waits for it.
async fn run_disk_work<M: Serves + 'static>(desk: Rc<Desk<M>>, mut queue: UnboundedReceiver<DiskWork>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            work = queue.recv() => match work {
                Some(work) => drop(running.spawn_local(run_beside(Rc::clone(&desk), work))),
                None => return,
            },
            Some(ended) = running.join_next() => pass_on_panic(ended),
        }
    }
}

async fn run_beside<M: Serves + 'static>(desk: Rc<Desk<M>>, work: DiskWork) {
    match tokio::task::spawn_blocking(|| work.run()).await {
        Ok(done) => {
            desk.step(Input::DiskDone(done));
            desk.tools.posts.send();
        }
        // The runtime is ending, and the log is closed without this flush; or it is a panic.
        Err(error) => pass_on_panic(Err(error)),
    }
}

fn pass_on_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        resume_unwind(panic);
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
        tokio::time::sleep(ENDING_INTERVAL).await;
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
    spawn_local(Connection::new(Rc::clone(desk), link, stream, place).serve());
}

/// Tells the machine when its deadline has come, ends idle connections and wakes those that wait for others.
async fn keep_time<M: Serves + 'static>(desk: Rc<Desk<M>>) {
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
        let next = [desk.deadline(), unstall].into_iter().flatten().fold(sweep, Deadline::min);
        sleep.as_mut().reset(Instant::from_std(clock.instant(next)));
        desk.set_alarm(next);
        poll_fn(|cx| if desk.must_look(cx.waker()) { Poll::Ready(()) } else { sleep.as_mut().poll(cx) })
            .await;
    }
}
