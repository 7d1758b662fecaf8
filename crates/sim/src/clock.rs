//! A clock that is not quite right: every node has one of its own, which drifts, and whose wall time jumps.

use ottla_protocol::time::{Deadline, Now};

/// One node's clock. World time is in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Microseconds gained per second of world time; negative: lost.
    drift_us_per_s: i64,
    /// How far the wall clock is off, in ms.
    pub wall_skew_ms: i64,
}

/// When the world begins, on a right wall clock: 2026-01-01.
const BEGINNING_MS: i64 = 1_767_225_600_000;

impl Clock {
    /// A clock that gains `drift_us_per_s`, within ±200,000.
    #[must_use]
    pub fn new(drift_us_per_s: i64) -> Self {
        Self { drift_us_per_s: drift_us_per_s.clamp(-200_000, 200_000), wall_skew_ms: 0 }
    }

    /// What this clock shows at `world_us`.
    #[must_use]
    pub fn at(&self, world_us: u64) -> Now {
        let monotonic_us = world_us.saturating_add_signed(self.gain(world_us));
        let wall_ms =
            BEGINNING_MS + self.wall_skew_ms + i64::try_from(monotonic_us / 1_000).unwrap_or(i64::MAX);
        Now { monotonic_us, wall_ms }
    }

    /// The world time, rounded up, at which this clock reaches `deadline`.
    #[must_use]
    pub fn world_time_of(&self, deadline: Deadline) -> u64 {
        let per_second = 1_000_000i64.saturating_add(self.drift_us_per_s);
        let local = i128::from(deadline.0) * 1_000_000;
        let mut world = u64::try_from(local / i128::from(per_second)).unwrap_or(u64::MAX);
        while self.at(world).monotonic_us < deadline.0 && world < u64::MAX {
            world += 1;
        }
        world
    }

    fn gain(&self, world_us: u64) -> i64 {
        let world = i128::from(world_us);
        i64::try_from(world * i128::from(self.drift_us_per_s) / 1_000_000).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_at_its_world_time_and_not_before() {
        for drift in [-150_000, -1, 0, 7, 99_999] {
            let clock = Clock::new(drift);
            for deadline in [0, 1, 999, 1_000_000, 123_456_789] {
                let world = clock.world_time_of(Deadline(deadline));
                assert!(clock.at(world).reached(Deadline(deadline)));
                assert!(world < 2 || !clock.at(world - 2).reached(Deadline(deadline)));
            }
        }
    }
}
