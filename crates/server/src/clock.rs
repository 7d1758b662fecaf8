//! The one place where the time is read. Everything below the server is told it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ottla_protocol::Now;
use ottla_protocol::time::Deadline;

/// The clocks of a node. All its threads have copies of one, so that their moments can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The present moment.
    #[must_use]
    pub fn now(self) -> Now {
        Now { monotonic_us: micros(self.start.elapsed().as_micros()), wall_ms: wall_ms() }
    }

    /// The moment of a deadline, in the words of the runtime.
    #[must_use]
    pub fn instant(self, deadline: Deadline) -> Instant {
        let after = std::time::Duration::from_micros(deadline.0);
        // A deadline centuries away is never reached; so is one in thirty years.
        self.start.checked_add(after).unwrap_or(self.start + std::time::Duration::from_secs(1 << 30))
    }
}

fn micros(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

fn wall_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}
