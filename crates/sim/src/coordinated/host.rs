//! Whoever hosts a coordinator at the moment: it loads the log, serves, crashes, and another takes its place.

use ottla_coordinator::mutant::Planted;
use ottla_coordinator::{Around, Decider, Hosted, Released};
use ottla_metadata::Image;
use ottla_metadata::config::Settings;
use ottla_protocol::compression::Effort;
use ottla_protocol::time::{Deadline, Now};
use ottla_protocol::{Offset, Ticket};

use super::journal::Journal;

/// When the world begins, on every wall clock: 2026-01-01.
const BEGINNING_MS: i64 = 1_767_225_600_000;

/// See the module.
pub struct Host<D: Decider> {
    /// The coordinator; `None` while nobody hosts it.
    pub hosted: Option<Hosted<D>>,
    /// Its log.
    pub journal: Journal,
    /// Counts the hosts.
    pub life: u64,
    /// What this host's monotonic clock showed when the world began.
    clock_us: u64,
}

impl<D: Decider> std::fmt::Debug for Host<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("life", &self.life)
            .field("end", &self.journal.end())
            .finish_non_exhaustive()
    }
}

impl<D: Decider> Host<D> {
    /// Nobody yet, and nothing in the log.
    #[must_use]
    pub fn new() -> Self {
        Self { hosted: None, journal: Journal::default(), life: 0, clock_us: 0 }
    }

    /// What the host's clocks show.
    #[must_use]
    pub fn now(&self, world_us: u64) -> Now {
        let ms = i64::try_from(world_us / 1_000).unwrap_or(i64::MAX);
        Now { monotonic_us: world_us + self.clock_us, wall_ms: BEGINNING_MS + ms }
    }

    /// When the coordinator wants to be asked, in the world's time.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let Deadline(deadline) = self.hosted.as_ref()?.deadline()?;
        Some(deadline.saturating_sub(self.clock_us))
    }

    /// Somebody begins to load.
    pub fn begin(&mut self, seed: u64, decider: D, planted: Planted) {
        self.clock_us = seed % 1_000_000_000_000;
        let mut hosted = Hosted::new(decider, Offset::ZERO, Effort::default());
        hosted.plant(planted);
        self.hosted = Some(hosted);
    }

    /// Reads up to an offset of the log.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn load(&mut self, end: Offset) -> Result<(), String> {
        let Some(hosted) = &mut self.hosted else { return Ok(()) };
        let bytes = self.journal.bytes(hosted.next(), end);
        hosted.replay(&bytes, end).map_err(|error| error.to_string())
    }

    /// Everything has been read: serves.
    pub fn serve(&mut self, world_us: u64, image: &Image) {
        let around = Around { now: self.now(world_us), image };
        if let Some(hosted) = &mut self.hosted {
            hosted.loaded(around);
            hosted.advance(self.journal.high_watermark);
        }
    }

    /// Asks the coordinator.
    pub fn ask(&mut self, world_us: u64, image: &Image, ticket: Ticket, command: D::Command) {
        let around = Around { now: self.now(world_us), image };
        if let Some(hosted) = &mut self.hosted {
            hosted.ask(around, &mut self.journal, ticket, command);
        }
    }

    /// Lets it do what time has brought.
    pub fn tick(&mut self, world_us: u64, image: &Image) {
        let around = Around { now: self.now(world_us), image };
        if let Some(hosted) = &mut self.hosted {
            hosted.tick(around, &mut self.journal);
        }
    }

    /// Everything below an offset is committed.
    pub fn advance(&mut self, high_watermark: Offset) {
        self.journal.high_watermark = self.journal.high_watermark.max(high_watermark);
        if let Some(hosted) = self.hosted.as_mut().filter(|hosted| !hosted.is_loading()) {
            hosted.advance(self.journal.high_watermark);
        }
    }

    /// What may leave the coordinator now.
    pub fn released(&mut self) -> Vec<Released<D::Reply, D::Effect>> {
        let Some(hosted) = &mut self.hosted else { return Vec::new() };
        std::iter::from_fn(|| hosted.next_released()).collect()
    }

    /// It hosts no longer; the tickets are those that it says it has not answered.
    pub fn resign(&mut self) -> Vec<Ticket> {
        self.life += 1;
        self.hosted.take().map(Hosted::unload).unwrap_or_default()
    }

    /// It is gone, and of its log what was not committed may be gone too.
    pub fn crash(&mut self, end: Offset) {
        self.life += 1;
        self.hosted = None;
        self.journal.truncate(end);
    }
}

impl<D: Decider> Default for Host<D> {
    fn default() -> Self {
        Self::new()
    }
}

/// The settings of all hosts: times are short, for the world is slow to simulate.
#[must_use]
pub fn settings() -> Settings {
    let file = [
        ("node.id", "1"),
        ("group.min.session.timeout.ms", "1000"),
        ("offsets.retention.minutes", "1"),
        ("offsets.retention.check.interval.ms", "1500"),
        ("group.initial.rebalance.delay.ms", "300"),
        ("group.consumer.min.session.timeout.ms", "1000"),
        ("group.consumer.session.timeout.ms", "6000"),
        ("group.consumer.min.heartbeat.interval.ms", "100"),
        ("group.consumer.heartbeat.interval.ms", "1000"),
    ];
    let file = file.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Settings::new(file).expect("these are good settings")
}
