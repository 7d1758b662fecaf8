//! How much one client, and all of them together, may take of the node: every bound of the server, with its name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Bytes read from a socket at once, and the size of the buffer that the connections of a core share.
pub const READ_BUFFER: usize = 256 * 1024;

/// Where less room than this is left in the shared buffer, it is made anew.
pub const READ_ROOM_MIN: usize = 64 * 1024;

/// Reads of one connection before the others have their turn.
pub const READS_PER_TURN: usize = 4;

/// Bytes that one connection writes before the others have their turn.
pub const WRITTEN_PER_TURN: usize = 512 * 1024;

/// A connection with more bytes of responses to be written than this is read no further.
pub const UNWRITTEN_MAX: u64 = 1024 * 1024;

/// A connection with more requests than this waiting for those before them is read no further.
pub const WAITING_REQUESTS_MAX: usize = 32;

/// A frame that lasts longer than the idle limit must at least come at this rate, in bytes per second.
pub const SLOWEST_RATE: u64 = 64 * 1024;

/// How long a connection that the node closes may take to read what has been written to it.
pub const LINGER: Duration = Duration::from_secs(1);

/// Threads of one core that read what is not in the page cache.
pub const COLD_READERS_MAX: usize = 4;

/// What the limits on connections are set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `max.connections`.
    pub connections: usize,
    /// `max.connections.per.ip`.
    pub connections_per_ip: usize,
    /// `max.connections.per.ip.overrides`.
    pub overrides: BTreeMap<IpAddr, usize>,
    /// `connections.max.idle.ms`; a frame that does not end is idleness too.
    pub idle: Option<Duration>,
    /// `socket.request.max.bytes`.
    pub frame: usize,
    /// The first frame of a connection has this long from its first byte to its last (reliability: slow clients).
    pub first_frame: Duration,
    /// Bytes of frames that have begun and not ended, of all connections of one core. A core over it reads on from
    /// one such connection at a time.
    pub begun_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: usize::MAX,
            connections_per_ip: usize::MAX,
            overrides: BTreeMap::new(),
            idle: Some(Duration::from_secs(600)),
            frame: 100 * 1024 * 1024,
            first_frame: Duration::from_secs(10),
            begun_bytes: 512 * 1024 * 1024,
        }
    }
}
