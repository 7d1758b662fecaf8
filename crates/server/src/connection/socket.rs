//! The socket as the writer sees it: two ways to send, neither of which waits.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Whether the kernel should send what it has at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Send it.
    Push,
    /// Bytes of a file follow at once; they may share a packet.
    MoreFollows,
}

/// Where responses are written to.
pub trait Socket {
    /// Sends bytes in memory; says how many were taken.
    ///
    /// # Errors
    /// `WouldBlock` when none can be taken now.
    fn send(&self, parts: &[IoSlice<'_>], flow: Flow) -> io::Result<usize>;

    /// Sends bytes of a file; says how many were taken. None means that the file ends there.
    ///
    /// # Errors
    /// `WouldBlock` when none can be taken now.
    fn send_file(&self, file: BorrowedFd<'_>, position: u64, length: usize) -> io::Result<usize>;
}

impl Socket for TcpStream {
    fn send(&self, parts: &[IoSlice<'_>], flow: Flow) -> io::Result<usize> {
        let flags = match flow {
            Flow::Push => SendFlags::NOSIGNAL,
            Flow::MoreFollows => SendFlags::NOSIGNAL | SendFlags::MORE,
        };
        self.try_io(Interest::WRITABLE, || {
            uninterrupted(|| rustix::net::sendmsg(self, parts, &mut SendAncillaryBuffer::default(), flags))
        })
    }

    fn send_file(&self, file: BorrowedFd<'_>, position: u64, length: usize) -> io::Result<usize> {
        self.try_io(Interest::WRITABLE, || {
            uninterrupted(|| {
                let mut position = position;
                rustix::fs::sendfile(self, file, Some(&mut position), length)
            })
        })
    }
}

fn uninterrupted(mut call: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}
