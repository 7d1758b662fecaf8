//! Opening the metadata log as a log: its folder, its settings, the mark that says whose it is.

use std::path::Path;
use std::sync::Arc;

use ottla_log::{Cleanup, Disk, DiskError, Log, LogConfig, OpenHint, partition_metadata};
use ottla_protocol::{Now, Uuid};

/// The settings of the metadata log: nothing is removed but what a snapshot holds.
///
/// `segment_bytes` is `metadata.log.segment.bytes`, `segment_ms` is `metadata.log.segment.ms`.
#[must_use]
pub fn log_config(segment_bytes: u32, segment_ms: i64) -> LogConfig {
    LogConfig {
        segment_bytes,
        segment_ms,
        retention_ms: None,
        retention_bytes: None,
        cleanup: Cleanup::Keep,
        ..LogConfig::default()
    }
}

/// Opens the log in `dir`, which is made if there is none; [`OpenHint::CLEAN`] after a clean stop spares reading it.
///
/// # Errors
/// [`DiskError`].
pub fn open_log(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    config: LogConfig,
    hint: OpenHint,
    now: Now,
) -> Result<Log, DiskError> {
    disk.create_dir(dir)?;
    if let Some(above) = dir.parent() {
        disk.sync_dir(above)?;
    }
    if partition_metadata::read(&**disk, dir)?.is_none() {
        partition_metadata::write(&**disk, dir, Uuid::METADATA_TOPIC)?;
    }
    Log::open(Arc::clone(disk), dir.to_owned(), config, hint, now)
}
