//! The writer against a socket that takes what it likes and files that are not in memory.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ottla_log::{DiskError, DiskFile, Slice};

use super::*;
use crate::fake::{Directory, byte_at};

/// Takes at most so many bytes at once, and blocks every other time.
struct Picky {
    at_once: usize,
    is_blocked: Cell<bool>,
    got: RefCell<Vec<u8>>,
    calls: Cell<usize>,
}

impl Picky {
    fn new(at_once: usize) -> Self {
        Self { at_once, is_blocked: Cell::new(false), got: RefCell::default(), calls: Cell::new(0) }
    }

    fn may(&self) -> io::Result<()> {
        self.calls.set(self.calls.get() + 1);
        self.is_blocked.set(!self.is_blocked.get());
        if self.is_blocked.get() && self.at_once < usize::MAX {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    }
}

impl Socket for Picky {
    fn send(&self, parts: &[IoSlice<'_>], _: Flow) -> io::Result<usize> {
        self.may()?;
        let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let count = all.len().min(self.at_once);
        self.got.borrow_mut().extend_from_slice(&all[..count]);
        Ok(count)
    }

    fn send_file(&self, file: BorrowedFd<'_>, position: u64, length: usize) -> io::Result<usize> {
        self.may()?;
        let mut bytes = vec![0; length.min(self.at_once)];
        let count = rustix::io::pread(file, &mut bytes, position)?;
        self.got.borrow_mut().extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}

/// A file whose pages are read from the disk only by those who wait.
#[derive(Debug)]
struct Cold {
    file: Arc<dyn DiskFile>,
    is_warm: AtomicBool,
    has_fd: bool,
}

impl DiskFile for Cold {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, DiskError> {
        self.is_warm.store(true, Ordering::Relaxed);
        self.file.read_at(buffer, position)
    }

    fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> Result<Option<usize>, DiskError> {
        if self.is_warm.load(Ordering::Relaxed) {
            self.file.read_at(buffer, position).map(Some)
        } else {
            Ok(None)
        }
    }

    fn write_at(&self, _: &[IoSlice<'_>], _: u64) -> Result<(), DiskError> {
        unreachable!("nobody writes")
    }

    fn truncate(&self, _: u64) -> Result<(), DiskError> {
        unreachable!("nobody truncates")
    }

    fn allocate(&self, _: u64) -> Result<(), DiskError> {
        unreachable!("nobody allocates")
    }

    fn sync(&self) -> Result<(), DiskError> {
        unreachable!("nobody syncs")
    }

    fn length(&self) -> Result<u64, DiskError> {
        self.file.length()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_fd().filter(|_| self.has_fd)
    }
}

fn bytes(length: usize) -> Chunk {
    Chunk::Bytes(Bytes::from((0..length).map(|n| byte_at(n as u64)).collect::<Vec<u8>>()))
}

fn expected(chunks: &[Chunk]) -> Vec<u8> {
    let of = |chunk: &Chunk| match chunk {
        Chunk::Bytes(bytes) => bytes.to_vec(),
        Chunk::File(slice) => {
            (slice.position..slice.position + u64::from(slice.length)).map(byte_at).collect()
        }
    };
    chunks.iter().flat_map(of).collect()
}

/// Writes everything, and says how often something had to be warmed.
fn write_all(outgoing: &mut Outgoing, socket: &Picky) -> usize {
    let mut cold = 0;
    loop {
        match outgoing.flush(socket, &mut 100_000).unwrap() {
            Progress::Idle => return cold,
            Progress::Blocked | Progress::Again => {}
            Progress::Cold(read) => {
                cold += 1;
                outgoing.warmed(read.run()).unwrap();
            }
        }
    }
}

fn chain(file: &Arc<dyn DiskFile>) -> Vec<Chunk> {
    let slice = |position, length| Chunk::File(Slice { file: Arc::clone(file), position, length });
    vec![
        bytes(10),
        slice(5, 20),
        bytes(0),
        slice(500, 0),
        bytes(40_000),
        slice(0, 32 * 1024),
        slice(1, 32 * 1024),
        slice(7, 100_000),
        slice(3, 5),
        bytes(200_000),
        slice(0, 300_000),
        bytes(1),
    ]
}

#[test]
fn a_chain_arrives_whole_however_the_socket_takes_it() {
    let directory = Directory::new();
    let file = directory.file();
    for at_once in [1000, 4096, 33_333, usize::MAX] {
        for (is_warm, has_fd) in [(true, true), (true, false), (false, true), (false, false)] {
            let is_warm = AtomicBool::new(is_warm);
            let file: Arc<dyn DiskFile> = Arc::new(Cold { file: Arc::clone(&file), is_warm, has_fd });
            let mut outgoing = Outgoing::default();
            let expected = [expected(&chain(&file)), expected(&chain(&file))].concat();
            outgoing.push(chain(&file));
            outgoing.push(chain(&file));
            assert_eq!(outgoing.unwritten(), expected.len() as u64);
            let socket = Picky::new(at_once);
            write_all(&mut outgoing, &socket);
            assert!(*socket.got.borrow() == expected, "{at_once} bytes at once");
            assert_eq!(outgoing.unwritten(), 0);
        }
    }
}

#[test]
fn what_is_not_in_memory_is_left_to_others() {
    let directory = Directory::new();
    for length in [100, 500_000] {
        let file: Arc<dyn DiskFile> =
            Arc::new(Cold { file: directory.file(), is_warm: AtomicBool::new(false), has_fd: true });
        let mut outgoing = Outgoing::default();
        outgoing.push(vec![bytes(3), Chunk::File(Slice { file, position: 0, length })]);
        let socket = Picky::new(usize::MAX);
        let progress = outgoing.flush(&socket, &mut usize::MAX.clone()).unwrap();
        let Progress::Cold(read) = progress else { panic!("{progress:?}") };
        assert_eq!(socket.got.borrow().len(), 3, "what stands before it has left");
        outgoing.warmed(read.run()).unwrap();
        assert_eq!(write_all(&mut outgoing, &socket), 0, "it is not asked for twice");
        assert_eq!(socket.got.borrow().len(), 3 + length as usize);
    }
}

#[test]
fn small_pieces_leave_together() {
    let directory = Directory::new();
    let file = directory.file();
    let mut outgoing = Outgoing::default();
    for n in 0..20 {
        let slice = Slice { file: Arc::clone(&file), position: n * 10, length: 500 };
        outgoing.push(vec![bytes(40), Chunk::File(slice), bytes(2)]);
    }
    let socket = Picky::new(usize::MAX);
    write_all(&mut outgoing, &socket);
    assert_eq!(socket.calls.get(), 1, "one system call for all of them");
}

#[test]
fn a_turn_ends() {
    let mut outgoing = Outgoing::default();
    outgoing.push((0..200).map(|_| bytes(1000)).collect());
    let mut turn = 60_000;
    let socket = Picky::new(usize::MAX);
    assert!(matches!(outgoing.flush(&socket, &mut turn).unwrap(), Progress::Again));
    assert!((60_000..130_000).contains(&socket.got.borrow().len()));
}

#[test]
fn a_file_that_lost_its_bytes_is_an_error() {
    let directory = Directory::new();
    for length in [100, 100_000] {
        let file = directory.file();
        let mut outgoing = Outgoing::default();
        outgoing.push(vec![Chunk::File(Slice { file, position: 999_950, length })]);
        let socket = Picky::new(usize::MAX);
        let mut turn = usize::MAX;
        let error = loop {
            match outgoing.flush(&socket, &mut turn) {
                Ok(Progress::Idle) => panic!("there is nothing left to send"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, SendError::Truncated), "{error}");
    }
}
