//! `.kafka_cleanshutdown`: its being there says that every log of the directory was closed; its content, which broker
//! epoch ended so (KIP-966). Older releases left it empty.

use std::path::Path;

use crate::disk::{Disk, DiskError};
use crate::redo;

/// The file's name.
pub const FILE_NAME: &str = ".kafka_cleanshutdown";

/// What the marker said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// There was none: logs may end anywhere.
    Absent,
    /// There was one. The broker epoch stands in it since Kafka 3.7.
    Clean {
        /// The epoch of the broker that stopped.
        broker_epoch: Option<i64>,
    },
}

impl Marker {
    /// Whether logs may be opened without looking for damage.
    #[must_use]
    pub fn is_clean(self) -> bool {
        self != Self::Absent
    }

    /// The epoch to tell the controller at the next registration; −1 when it is not known.
    #[must_use]
    pub fn broker_epoch(self) -> i64 {
        match self {
            Self::Clean { broker_epoch: Some(epoch) } => epoch,
            _ => -1,
        }
    }
}

/// Reads the marker and removes it for good, before anything else happens in the directory (KAFKA-10471).
///
/// # Errors
/// [`DiskError`].
pub fn take(disk: &dyn Disk, directory: &Path) -> Result<Marker, DiskError> {
    let path = directory.join(FILE_NAME);
    let Some(bytes) = disk.read(&path)? else { return Ok(Marker::Absent) };
    // Whoever left the marker has left nothing to be restored; redo files from before would outlive it.
    redo::remove(disk, directory)?;
    disk.remove(&path)?;
    disk.sync_dir(directory)?;
    Ok(Marker::Clean { broker_epoch: std::str::from_utf8(&bytes).ok().and_then(parse_epoch) })
}

/// Writes the marker for good. Every log must have been closed, and the checkpoints written; redo files go, since there
/// is nothing in them that is not in the logs.
///
/// # Errors
/// [`DiskError`].
pub fn leave(disk: &dyn Disk, directory: &Path, broker_epoch: i64) -> Result<(), DiskError> {
    redo::remove(disk, directory)?;
    let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
    disk.replace(&directory.join(FILE_NAME), text.as_bytes())
}

/// The number after `"brokerEpoch":`. The object is flat and has no strings in it, so no more of JSON is needed.
fn parse_epoch(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once("\"brokerEpoch\"")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn the_marker_is_there_once() {
        let disk = MemoryDisk::new();
        let dir = Path::new("/data");
        disk.create_dir(dir).unwrap();
        assert_eq!(take(&disk, dir).unwrap(), Marker::Absent);
        leave(&disk, dir, 77).unwrap();
        assert_eq!(disk.read(&dir.join(FILE_NAME)).unwrap().unwrap(), b"{\"version\":0,\"brokerEpoch\":77}");
        let marker = take(&disk, dir).unwrap();
        assert_eq!((marker.is_clean(), marker.broker_epoch()), (true, 77));
        disk.reboot(crate::disk::Crash::Power);
        assert_eq!(take(&disk, dir).unwrap(), Marker::Absent);
    }

    #[test]
    fn an_old_or_odd_marker_is_still_one() {
        let disk = MemoryDisk::new();
        let dir = Path::new("/data");
        disk.create_dir(dir).unwrap();
        for (text, epoch) in
            [("", -1), ("{}", -1), ("{ \"brokerEpoch\" : -5, \"version\":0}", -5), ("\u{0}", -1)]
        {
            disk.replace(&dir.join(FILE_NAME), text.as_bytes()).unwrap();
            let marker = take(&disk, dir).unwrap();
            assert_eq!((marker.is_clean(), marker.broker_epoch()), (true, epoch), "{text:?}");
        }
    }
}
