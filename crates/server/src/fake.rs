//! For tests: a machine whose clients say what it should do, and a node of such machines on the loopback.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_broker::control;
use ottla_broker::core::{Chunk, CoreId, Input, Output, SessionId};
use ottla_log::{Disk, DiskFile, OsDisk, Slice};
use ottla_protocol::Now;
use ottla_protocol::time::Deadline;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::admission::Admission;
use crate::clock::Clock;
use crate::control_thread::Event;
use crate::core_thread;
use crate::inbox::{Inbox, Sender, inbox};
use crate::limits::Limits;
use crate::listener::{Acceptor, Reception, SocketOptions, bind};
use crate::machine::{Machine, Serves};
use crate::posts::{Mail, Posts};

/// How long [`LATER`] lets its client wait.
const LATER_AFTER: Duration = Duration::from_millis(30);

/// First byte of a frame: answer with the same frame.
pub const ECHO: u8 = b'e';
/// Answer with a header, pieces of the file as in [`pieces`], and a trailer.
pub const FILE: u8 = b'f';
/// Answer with 4 MiB of zeros.
pub const MUCH: u8 = b'm';
/// Echo after [`LATER_AFTER`]; frames behind it wait.
pub const LATER: u8 = b'l';
/// Echo, then close.
pub const LAST: u8 = b'c';
/// Panic.
pub const PANIC: u8 = b'p';
/// Panic when [`LATER_AFTER`] has passed: not in the client's own request, but in the core itself.
pub const PANIC_LATER: u8 = b'P';
/// Answer nothing.
pub const SILENT: u8 = b's';
/// Answer with a piece of the file that is longer than the file.
pub const CUT: u8 = b't';

/// Bytes of an answer to [`MUCH`].
pub const MUCH_LENGTH: usize = 4 * 1024 * 1024;

/// The machine.
pub struct Fake {
    file: Arc<dyn DiskFile>,
    sessions: BTreeMap<SessionId, Waiting>,
}

#[derive(Default)]
struct Waiting {
    due: Option<(Deadline, Bytes)>,
    behind: VecDeque<Bytes>,
}

/// Position and length of the pieces that [`FILE`] answers with: small ones, one just at the limit, large ones.
pub const PIECES: [(u64, u32); 8] = [
    (0, 100),
    (7, 1),
    (5000, 3000),
    (100, 32 * 1024),
    (1000, 32 * 1024 + 1),
    (3, 600_000),
    (0, 1_000_000),
    (999_990, 10),
];

/// The byte of the file at a position.
pub fn byte_at(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9) >> 11) as u8
}

impl Fake {
    fn answer(&mut self, now: Now, session: SessionId, frame: Bytes, out: &mut Vec<Output>) {
        let chunks = match frame[0] {
            ECHO | LAST => vec![Chunk::Bytes(with_length(&frame))],
            FILE => self.pieces_of_file(&PIECES),
            CUT => self.pieces_of_file(&[(900_000, 200_000)]),
            MUCH => vec![Chunk::Bytes(with_length(&vec![0; MUCH_LENGTH]))],
            PANIC => panic!("as the client wanted"),
            LATER | PANIC_LATER => {
                let waiting = self.sessions.entry(session).or_default();
                waiting.due = Some((now.after(LATER_AFTER), frame));
                return;
            }
            _ => return,
        };
        out.push(Output::Write { session, chunks });
        if frame[0] == LAST {
            out.push(Output::Close { session, why: "the client wanted it" });
        }
    }

    fn pieces_of_file(&self, pieces: &[(u64, u32)]) -> Vec<Chunk> {
        let total: u32 = pieces.iter().map(|&(_, length)| length).sum();
        let mut head = BytesMut::new();
        head.put_u32(total + 3);
        let mut chunks = vec![Chunk::Bytes(head.freeze())];
        chunks.extend(pieces.iter().map(|&(position, length)| {
            Chunk::File(Slice { file: Arc::clone(&self.file), position, length })
        }));
        chunks.push(Chunk::Bytes(Bytes::from_static(b"end")));
        chunks
    }
}

fn with_length(frame: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u32(u32::try_from(frame.len()).unwrap());
    bytes.put_slice(frame);
    bytes.freeze()
}

impl Machine for Fake {
    type Input = Input;
    type Output = Output;

    fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Opened { session, .. } => {
                self.sessions.insert(session, Waiting::default());
            }
            Input::Frame { session, frame } => {
                let waiting = self.sessions.get_mut(&session).expect("a frame of an open session");
                if waiting.due.is_some() {
                    waiting.behind.push_back(frame);
                } else {
                    self.answer(now, session, frame, out);
                }
            }
            Input::Closed { session } => {
                self.sessions.remove(&session);
            }
            Input::Tick => {
                let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
                for session in sessions {
                    let waiting = self.sessions.get_mut(&session).unwrap();
                    let Some((_, frame)) = waiting.due.take_if(|(due, _)| now.reached(*due)) else {
                        continue;
                    };
                    assert_ne!(frame[0], PANIC_LATER, "as the client wanted");
                    out.push(Output::Write { session, chunks: vec![Chunk::Bytes(with_length(&frame))] });
                    while let Some(waiting) = self.sessions.get_mut(&session)
                        && waiting.due.is_none()
                        && let Some(frame) = waiting.behind.pop_front()
                    {
                        self.answer(now, session, frame, out);
                    }
                }
            }
            Input::Message(_) | Input::DiskDone(_) => {}
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        self.sessions.values().filter_map(|waiting| waiting.due.as_ref().map(|(due, _)| *due)).min()
    }
}

impl Serves for Fake {
    fn waiting(&self, session: SessionId) -> usize {
        self.sessions.get(&session).map_or(0, |waiting| waiting.behind.len())
    }
}

/// Some cores of [`Fake`] machines behind one listener.
pub struct FakeNode {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who is connected.
    pub admission: Admission,
    cores: Vec<Sender<Mail>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    acceptor: Option<Acceptor>,
    /// What its threads have to say.
    pub events: UnboundedReceiver<Event>,
    _control: Inbox<control::Input>,
    _directory: Directory,
}

/// A folder that goes when it is dropped.
pub struct Directory(pub std::path::PathBuf);

impl Directory {
    /// A new folder.
    pub fn new() -> Self {
        let mut name = [0; 8];
        getrandom::fill(&mut name).unwrap();
        let path = std::env::temp_dir().join(format!("ottla-server-{:016x}", u64::from_be_bytes(name)));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A file of a million bytes, as [`byte_at`] says.
    pub fn file(&self) -> Arc<dyn DiskFile> {
        let path = self.0.join("file");
        std::fs::write(&path, (0..1_000_000).map(byte_at).collect::<Vec<u8>>()).unwrap();
        OsDisk.open(&path).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl FakeNode {
    /// Starts a node.
    pub fn start(cores: u16, limits: Limits) -> Self {
        let directory = Directory::new();
        let file = directory.file();
        let clock = Clock::start();
        let (to_control, control) = inbox();
        let (say, events) = unbounded_channel();
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..cores).map(|_| inbox()).unzip();
        let threads = inboxes.into_iter().zip(0..).map(|(inbox, core)| {
            let posts = Posts::new(&senders, to_control.clone());
            let name = format!("core-{}", CoreId(core).0);
            let (limits, events) = (limits.clone(), say.clone());
            let wiring = core_thread::Wiring { name, inbox, posts, clock, limits, events };
            let file = Arc::clone(&file);
            core_thread::spawn(wiring, move || Fake { file, sessions: BTreeMap::new() }).unwrap()
        });
        let threads: Vec<_> = threads.collect();
        let admission = Admission::new(limits, usize::from(cores));
        let bound = bind(0, Some("127.0.0.1"), 0, SocketOptions::default()).unwrap();
        let address = bound.address;
        let reception =
            Reception { cores: senders.clone(), admission: admission.clone(), clock, first_kept: u64::MAX };
        let acceptor = Some(Acceptor::open(vec![bound], reception).unwrap());
        let (cores, _control, _directory) = (senders, control, directory);
        Self { address, admission, cores, threads, acceptor, events, _control, _directory }
    }

    /// A connection; reading from it fails after ten seconds.
    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(stream)
    }

    /// Ends the node as the process would.
    pub fn stop(&mut self) {
        drop(self.acceptor.take());
        self.cores.iter().for_each(|core| core.send(Mail::End));
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A client's end of a connection.
pub struct Client(pub TcpStream);

impl Client {
    /// Sends a frame.
    pub fn send(&mut self, frame: &[u8]) {
        self.0.write_all(&with_length(frame)).unwrap();
    }

    /// Receives a frame.
    pub fn receive(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame).unwrap();
        frame
    }

    /// Asserts that the node closes the connection and says nothing before.
    pub fn expect_end(&mut self) {
        match self.0.read(&mut [0; 16]) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("the connection should be closed, not {other:?}"),
        }
    }
}
