//! One TCP connection as two tasks: one connects and reads whole frames, one writes. Dropping the `Socket` ends both.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::cluster::Link;
use crate::error::ClientError;
use crate::settings::Address;

/// The largest response we are ready to hold.
const FRAME_MAX: usize = 1 << 30;

/// The room made for reading when a buffer runs out.
const READ_CHUNK: usize = 64 * 1024;

/// What a socket tells the driver.
#[derive(Debug)]
pub(super) enum Event {
    /// It is connected.
    Connected,
    /// A response, without its length.
    Frame(Bytes),
    /// It could not be connected, or is gone; nothing follows.
    Lost(String),
}

/// A connection, or the attempt at one.
#[derive(Debug)]
pub(super) struct Socket {
    outbox: mpsc::UnboundedSender<Bytes>,
    task: AbortHandle,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Socket {
    /// Begins to connect.
    pub(super) fn connect(link: Link, address: Address, events: mpsc::Sender<(Link, Event)>) -> Self {
        // What may be under way is bounded by the connection's in-flight limit, so the channel need not be.
        let (outbox, frames) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let why = match open(&address).await {
                Err(why) => why,
                Ok(stream) => {
                    let _ = events.send((link, Event::Connected)).await;
                    let (reader, writer) = stream.into_split();
                    tokio::select! {
                        why = read(link, reader, &events) => why,
                        why = write(writer, frames) => why,
                    }
                }
            };
            let _ = events.send((link, Event::Lost(why))).await;
        });
        Self { outbox, task: task.abort_handle() }
    }

    /// Writes a frame, after those before it.
    pub(super) fn send(&self, frame: Bytes) {
        // Where the task has ended, `Lost` is on its way and fails the call.
        let _ = self.outbox.send(frame);
    }
}

/// Tries every address of the host in turn. Why none is there goes on after the host's own name: an address is said only
/// where that is another.
async fn open(address: &Address) -> Result<TcpStream, String> {
    let found =
        lookup_host((address.host.as_str(), address.port)).await.map_err(|error| error.to_string())?;
    let is_plain = address.host.parse::<IpAddr>().is_ok();
    let mut why = "the name has no address".to_owned();
    for place in found {
        match TcpStream::connect(place).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) if is_plain => why = error.to_string(),
            Err(error) => why = format!("{place}: {error}"),
        }
    }
    Err(why)
}

async fn read(link: Link, mut reader: OwnedReadHalf, events: &mpsc::Sender<(Link, Event)>) -> String {
    let mut buffer = BytesMut::with_capacity(READ_CHUNK);
    loop {
        while let Some(head) = buffer.first_chunk::<4>() {
            let length = u32::from_be_bytes(*head) as usize;
            if length > FRAME_MAX {
                return format!("a response of {length} bytes is larger than the {FRAME_MAX} we hold");
            }
            if buffer.len() < 4 + length {
                break;
            }
            let frame = buffer.split_to(4 + length).freeze().slice(4..);
            if events.send((link, Event::Frame(frame))).await.is_err() {
                return "closed".to_owned();
            }
        }
        if buffer.capacity() == buffer.len() {
            buffer.reserve(READ_CHUNK.max(buffer.len().min(FRAME_MAX)));
        }
        match reader.read_buf(&mut buffer).await {
            Ok(0) => return "the broker closed the connection".to_owned(),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

async fn write(mut writer: OwnedWriteHalf, mut frames: mpsc::UnboundedReceiver<Bytes>) -> String {
    while let Some(frame) = frames.recv().await {
        if let Err(error) = writer.write_all(&frame).await {
            return error.to_string();
        }
    }
    "closed".to_owned()
}

/// Whether any bootstrap host is known; a mistyped name should be said at once, not after a minute of trying.
pub(super) async fn check_bootstrap(addresses: &[Address]) -> Result<(), ClientError> {
    for address in addresses {
        match lookup_host((address.host.as_str(), address.port)).await {
            Ok(_) => return Ok(()),
            Err(_) => tracing::warn!(
                "Couldn't resolve server {address} from bootstrap.servers as DNS resolution failed for {}",
                address.host
            ),
        }
    }
    Err(ClientError::Invalid("No resolvable bootstrap urls given in bootstrap.servers".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_cannot_be_reached_is_not_named_twice() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address =
            |host: &str| Address { host: host.to_owned(), port: listener.local_addr().unwrap().port() };
        let (by_number, by_name) = (address("127.0.0.1"), address("localhost"));
        drop(listener);
        let why = open(&by_number).await.unwrap_err();
        assert!(!why.contains("127.0.0.1"), "the log line begins with it: {why}");
        let why = open(&by_name).await.unwrap_err();
        assert!(why.contains(&by_name.port.to_string()), "a name may stand for several: {why}");
    }
}
