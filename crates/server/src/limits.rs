//! How much one client, and all of them together, may take of the node: every bound of the server, with its name.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;

use ottla_metadata::config::NodeConfig;

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

/// Threads of one core that wait for the disk: they read what is not in the page cache, and flush.
pub const DISK_THREADS_MAX: usize = 16;

/// Open files that connections leave to logs, checkpoints and the metadata log; of a low limit a quarter.
pub const DESCRIPTORS_FOR_FILES: u64 = 1024;

/// The first descriptor that no connection gets, where `open_files` is the most that the system grants.
#[must_use]
pub fn first_kept_descriptor(open_files: Option<u64>) -> u64 {
    open_files.map_or(u64::MAX, |all| all - DESCRIPTORS_FOR_FILES.min(all / 4))
}

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

impl Limits {
    /// What the configuration says.
    #[must_use]
    pub fn of(config: &NodeConfig) -> Self {
        let node = config.settings.node();
        let size = |name: &str| usize::try_from(node.int(name)).unwrap_or(0);
        let idle = u64::try_from(node.long("connections.max.idle.ms")).ok();
        let begun = usize::try_from(node.long("queued.max.request.bytes")).ok();
        let preset = Self::default();
        Self {
            connections: size("max.connections"),
            connections_per_ip: size("max.connections.per.ip"),
            overrides: overrides(&node.text("max.connections.per.ip.overrides").unwrap_or_default()),
            idle: idle.map(Duration::from_millis),
            frame: size("socket.request.max.bytes"),
            begun_bytes: begun.unwrap_or(preset.begun_bytes),
            ..preset
        }
    }
}

/// Reads `host:count` entries. The configuration was checked, so only names that nobody knows are left out.
fn overrides(text: &str) -> BTreeMap<IpAddr, usize> {
    let mut all = BTreeMap::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let Some((host, count)) = entry.rsplit_once(':') else { continue };
        let count = count.trim().parse().unwrap_or(0);
        match (host.trim(), 0).to_socket_addrs() {
            Ok(found) => all.extend(found.map(|address| (address.ip().to_canonical(), count))),
            Err(error) => {
                tracing::warn!(%error, "max.connections.per.ip.overrides names {host}, which has no address")
            }
        }
    }
    all
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_not_for_connections() {
        let first_kept = [None, Some(100_000), Some(1024), Some(0)].map(first_kept_descriptor);
        assert_eq!(first_kept, [u64::MAX, 98_976, 768, 0]);
    }

    #[test]
    fn limits_come_from_the_configuration() {
        let properties = [
            ("max.connections", "7"),
            ("max.connections.per.ip", "5"),
            ("max.connections.per.ip.overrides", "127.0.0.1:3,localhost:4"),
            ("connections.max.idle.ms", "-1"),
            ("socket.request.max.bytes", "1000"),
        ];
        let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let limits = Limits::of(&NodeConfig::standalone(properties.into()).unwrap());
        assert_eq!((limits.connections, limits.connections_per_ip), (7, 5));
        assert_eq!(limits.overrides.get(&IpAddr::from([127, 0, 0, 1])), Some(&4), "the last one counts");
        assert_eq!((limits.idle, limits.frame), (None, 1000));
        let preset = Limits::of(&NodeConfig::standalone([].into()).unwrap());
        let Limits { connections: i32_max, connections_per_ip, .. } = preset;
        assert_eq!((i32_max, connections_per_ip), (i32::MAX as usize, i32::MAX as usize));
        assert_eq!(
            Limits { connections: usize::MAX, connections_per_ip: usize::MAX, ..preset },
            Limits::default()
        );
    }
}
