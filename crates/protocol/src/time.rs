//! Time as an argument: whoever needs to know the time is told it.

use std::time::Duration;

/// The present moment, as the shell (or the simulator) sees it.
///
/// Deadlines are reckoned on the monotonic clock, timestamps in records come from the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Microseconds since an arbitrary start; never goes back.
    pub monotonic_us: u64,
    /// Milliseconds since 1970-01-01 UTC; may jump.
    pub wall_ms: i64,
}

/// A point on the monotonic clock, in microseconds, at which something wants to be stepped again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(pub u64);

impl Now {
    /// The deadline that lies `delay` ahead of now.
    #[must_use]
    pub fn after(self, delay: Duration) -> Deadline {
        Deadline(self.monotonic_us.saturating_add(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX)))
    }

    /// The deadline that lies `delay_ms` milliseconds ahead; a negative delay means now.
    #[must_use]
    pub fn after_ms(self, delay_ms: i64) -> Deadline {
        Deadline(self.monotonic_us.saturating_add(u64::try_from(delay_ms).unwrap_or(0).saturating_mul(1000)))
    }

    /// Whether `deadline` has come.
    #[must_use]
    pub fn reached(self, deadline: Deadline) -> bool {
        self.monotonic_us >= deadline.0
    }

    /// How long until `deadline`; zero once it has come.
    #[must_use]
    pub fn until(self, deadline: Deadline) -> Duration {
        Duration::from_micros(deadline.0.saturating_sub(self.monotonic_us))
    }
}
