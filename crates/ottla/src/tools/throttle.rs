//! Keeps a sender near so many records a second, by short pauses.

use std::time::{Duration, Instant};

/// Pauses shorter than this cost more than they bring.
const PAUSE_MIN: Duration = Duration::from_millis(2);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    started: Instant,
    /// Records a second; negative for as many as there can be, zero for none after the first ones.
    target: f64,
    owed: Duration,
}

/// What a sender does before its next record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Nothing.
    None,
    /// It waits.
    For(Duration),
    /// It waits until somebody ends it.
    ForEver,
}

impl Throttle {
    /// Begins to count now.
    pub fn start(target: f64) -> Self {
        Self { started: Instant::now(), target, owed: Duration::ZERO }
    }

    /// The pause that is due after `sent` records.
    pub fn due(&mut self, sent: u64, now: Instant) -> Pause {
        if self.target < 0.0 {
            return Pause::None;
        }
        let seconds = now.saturating_duration_since(self.started).as_secs_f64();
        if seconds <= 0.0 || sent as f64 / seconds <= self.target {
            return Pause::None;
        }
        if self.target == 0.0 {
            return Pause::ForEver;
        }
        self.owed += Duration::from_secs_f64(1.0 / self.target);
        if self.owed < PAUSE_MIN {
            return Pause::None;
        }
        Pause::For(std::mem::take(&mut self.owed))
    }

    /// Waits as long as is due.
    pub async fn wait(&mut self, sent: u64) {
        match self.due(sent, Instant::now()) {
            Pause::None => {}
            Pause::For(pause) => tokio::time::sleep(pause).await,
            Pause::ForEver => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_ahead_pauses_as_soon_as_it_is_worth_it() {
        let mut throttle = Throttle::start(1000.0);
        let second = throttle.started + Duration::from_secs(1);
        assert_eq!(throttle.due(1000, second), Pause::None);
        assert_eq!(throttle.due(1001, second), Pause::None);
        assert_eq!(throttle.due(1002, second), Pause::For(Duration::from_millis(2)));
        assert_eq!(throttle.due(1003, second), Pause::None);
        assert_eq!(Throttle::start(-1.0).due(1_000_000, second), Pause::None);
        assert_eq!(Throttle::start(0.0).due(1, second), Pause::ForEver);
    }
}
