//! Ids of directories that stand for something else (KIP-858).

use ottla_protocol::Uuid;

const fn marker(number: u8) -> Uuid {
    Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number])
}

/// The replica is older than directories' ids.
pub const MIGRATING: Uuid = marker(0);
/// The broker has not said yet where it put the replica.
pub const UNASSIGNED: Uuid = marker(1);
/// The replica's directory is gone.
pub const LOST: Uuid = marker(2);
