//! What still has to be written to one connection: a chain of bytes in memory and bytes in files.
//!
//! Small pieces of files are read and leave with the bytes around them in one system call; large ones go from the page
//! cache to the socket by `sendfile`. Nothing here waits for a disk: a piece that is not in the page cache comes back
//! as a [`ColdRead`], which a thread for that purpose carries out, and the connection goes on when it is done.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use ottla_broker::core::Chunk;
use ottla_log::{DiskError, Slice};

use super::cold::{ColdRead, Warmed, is_warm};
use super::socket::{Flow, Socket};

/// A piece of a file up to this size is read rather than sent by `sendfile`.
const SMALL_FILE: usize = 32 * 1024;

/// Bytes of one run of small pieces that leave together.
const RUN_MAX: usize = 64 * 1024;

/// Pieces of one run, or of one vectored write.
const PIECES_MAX: usize = 64;

/// Where a file has no descriptor, it is read in pieces of this size.
const COPY_PIECE: u32 = 256 * 1024;

/// The chain.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// In order, behind `file`.
    queue: VecDeque<Chunk>,
    /// The first bytes to be sent.
    ready: VecDeque<Bytes>,
    /// Sent when `ready` is empty.
    file: Option<Sending>,
    unwritten: u64,
}

/// A piece of a file on its way; what has been sent is cut off.
#[derive(Debug)]
struct Sending {
    slice: Slice,
    /// Bytes from its beginning that were in the page cache when last looked.
    warm: u32,
}

/// How far writing has come.
#[derive(Debug)]
pub enum Progress {
    /// Everything is written.
    Idle,
    /// The socket takes no more.
    Blocked,
    /// The turn is over; there is more to write and the socket may take it.
    Again,
    /// This has to be done first. Until then nothing is written.
    Cold(ColdRead),
}

/// Why nothing more can be written.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The client is gone, or the network.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// The file cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file has become shorter since the response was made, as when a follower truncates its log.
    #[error("the file was truncated while it was being sent")]
    Truncated,
}

impl Outgoing {
    /// Puts a response at the end.
    pub fn push(&mut self, chunks: Vec<Chunk>) {
        for chunk in chunks {
            let length = length(&chunk);
            if length > 0 {
                self.unwritten += length;
                self.queue.push_back(chunk);
            }
        }
    }

    /// Bytes that are still to be written.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        self.unwritten
    }

    /// Writes as much as the socket takes, at most about `turn` bytes, which are counted down.
    ///
    /// # Errors
    /// [`SendError`]: the connection has to be closed, for part of a response may have been written.
    pub fn flush(&mut self, socket: &impl Socket, turn: &mut usize) -> Result<Progress, SendError> {
        loop {
            if self.ready.is_empty()
                && self.file.is_none()
                && let Some(cold) = self.prepare()?
            {
                return Ok(Progress::Cold(cold));
            }
            if self.ready.is_empty() && self.file.is_none() {
                return Ok(Progress::Idle);
            }
            if *turn == 0 {
                return Ok(Progress::Again);
            }
            let sent = if self.ready.is_empty() {
                match self.warm_part(*turn)? {
                    Ok(part) => self.send_file(socket, part)?,
                    Err(cold) => return Ok(Progress::Cold(cold)),
                }
            } else {
                self.send_ready(socket)?
            };
            let Some(sent) = sent else { return Ok(Progress::Blocked) };
            self.unwritten = self.unwritten.saturating_sub(sent as u64);
            *turn = turn.saturating_sub(sent);
        }
    }

    /// Takes the result of a [`ColdRead`].
    ///
    /// # Errors
    /// As for [`flush`](Self::flush).
    pub fn warmed(&mut self, warmed: Warmed) -> Result<(), SendError> {
        match warmed {
            Warmed::Loaded(bytes) => {
                if let Some(front) = self.queue.front_mut() {
                    *front = Chunk::Bytes(bytes?);
                }
            }
            Warmed::InCache(length) => {
                if let Some(file) = &mut self.file {
                    file.warm = length;
                }
            }
        }
        Ok(())
    }

    /// Moves the next chunks of the queue to where they are sent from.
    fn prepare(&mut self) -> Result<Option<ColdRead>, SendError> {
        match self.queue.front() {
            None => {}
            Some(Chunk::File(slice)) if slice.length as usize > SMALL_FILE => {
                if let Some(Chunk::File(slice)) = self.queue.pop_front() {
                    self.file = Some(Sending { slice, warm: 0 });
                }
            }
            Some(_) => {
                let run = self.run();
                if run.files == 0 {
                    self.ready.extend(self.queue.drain(..run.pieces).filter_map(into_bytes));
                } else {
                    return self.read_run(run);
                }
            }
        }
        Ok(None)
    }

    /// The pieces at the front that may leave together: all small, or all in memory.
    fn run(&self) -> Run {
        let mut run = Run { pieces: 0, bytes: 0, files: 0 };
        for chunk in self.queue.iter().take(PIECES_MAX) {
            let length = usize::try_from(length(chunk)).unwrap_or(usize::MAX);
            let is_file = matches!(chunk, Chunk::File(_));
            // Large pieces in memory are never copied, so no file's bytes are put beside them.
            let is_large = length > SMALL_FILE || run.bytes.saturating_add(length) > RUN_MAX;
            if is_large && (is_file || run.files > 0) {
                break;
            }
            if is_file && run.bytes > RUN_MAX {
                break;
            }
            run.pieces += 1;
            run.bytes = run.bytes.saturating_add(length);
            run.files += usize::from(is_file);
        }
        run
    }

    /// Reads the files of a run into one buffer, with the bytes around them.
    fn read_run(&mut self, run: Run) -> Result<Option<ColdRead>, SendError> {
        let mut together = BytesMut::with_capacity(run.bytes);
        for _ in 0..run.pieces {
            match self.queue.front() {
                Some(Chunk::Bytes(bytes)) => together.extend_from_slice(bytes),
                Some(Chunk::File(slice)) => {
                    let start = together.len();
                    let length = slice.length as usize;
                    together.resize(start + length, 0);
                    match slice.file.read_cached_at(&mut together[start..], slice.position)? {
                        Some(read) if read == length => {}
                        Some(_) => return Err(SendError::Truncated),
                        None if start == 0 => return Ok(Some(ColdRead::Load(slice.clone()))),
                        // What stands before the cold piece leaves first.
                        None => {
                            together.truncate(start);
                            break;
                        }
                    }
                }
                None => break,
            }
            self.queue.pop_front();
        }
        self.ready.push_back(together.freeze());
        Ok(None)
    }

    fn send_ready(&mut self, socket: &impl Socket) -> Result<Option<usize>, SendError> {
        let follows = |chunk: &Chunk| matches!(chunk, Chunk::File(slice) if slice.file.as_fd().is_some());
        let flow = if self.queue.front().is_some_and(follows) { Flow::MoreFollows } else { Flow::Push };
        let mut parts = [IoSlice::new(&[]); PIECES_MAX];
        let count = self.ready.len().min(PIECES_MAX);
        for (part, bytes) in parts.iter_mut().zip(&self.ready) {
            *part = IoSlice::new(bytes);
        }
        let Some(sent) = unless_blocked(socket.send(&parts[..count], flow))? else { return Ok(None) };
        let mut left = sent;
        while let Some(first) = self.ready.front_mut() {
            if left < first.len() {
                first.advance(left);
                break;
            }
            left -= first.len();
            self.ready.pop_front();
        }
        Ok(Some(sent))
    }

    /// How much of the file may be sent now without waiting for the disk, or what has to be done before.
    fn warm_part(&mut self, turn: usize) -> Result<Result<u32, ColdRead>, SendError> {
        let Some(Sending { slice, warm }) = &mut self.file else { return Ok(Ok(0)) };
        let turn = u32::try_from(turn).unwrap_or(u32::MAX);
        if slice.file.as_fd().is_none() {
            return Ok(Ok(slice.length.min(COPY_PIECE)));
        }
        if *warm > 0 {
            return Ok(Ok((*warm).min(turn)));
        }
        let part = Slice { length: slice.length.min(turn), ..slice.clone() };
        if is_warm(&part)? {
            *warm = part.length;
            return Ok(Ok(part.length));
        }
        Ok(Err(ColdRead::Warm(part, slice.length)))
    }

    fn send_file(&mut self, socket: &impl Socket, part: u32) -> Result<Option<usize>, SendError> {
        let Some(Sending { slice, warm }) = &mut self.file else { return Ok(Some(0)) };
        let sent = if let Some(fd) = slice.file.as_fd() {
            let Some(sent) = unless_blocked(socket.send_file(fd, slice.position, part as usize))? else {
                return Ok(None);
            };
            if sent == 0 {
                return Err(SendError::Truncated);
            }
            sent
        } else {
            let mut piece = BytesMut::zeroed(part as usize);
            if slice.file.read_at(&mut piece, slice.position)? < piece.len() {
                return Err(SendError::Truncated);
            }
            self.ready.push_back(piece.freeze());
            part as usize
        };
        let is_copied = slice.file.as_fd().is_none();
        // Never more than `part`, which is a `u32`.
        let cut = u32::try_from(sent).unwrap_or(part);
        slice.position += u64::from(cut);
        slice.length -= cut;
        *warm = warm.saturating_sub(cut);
        if slice.length == 0 {
            self.file = None;
        }
        // Bytes that were only copied are counted when they leave.
        Ok(Some(if is_copied { 0 } else { sent }))
    }
}

#[derive(Clone, Copy, Debug)]
struct Run {
    pieces: usize,
    bytes: usize,
    files: usize,
}

fn length(chunk: &Chunk) -> u64 {
    match chunk {
        Chunk::Bytes(bytes) => bytes.len() as u64,
        Chunk::File(slice) => u64::from(slice.length),
    }
}

fn into_bytes(chunk: Chunk) -> Option<Bytes> {
    match chunk {
        Chunk::Bytes(bytes) => Some(bytes),
        Chunk::File(_) => None,
    }
}

fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(sent) => Ok(Some(sent)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
