//! What goes wrong in a run: drawn from the seed, so that every seed is another kind of bad day.
//!
//! Not every fault is on in every run: a world in which everything fails at once hides what one fault alone would show.

use ottla_raft::random::Random;

/// The faults of one run and how often they come. Chances are out of 10,000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A message is lost.
    pub loss: u64,
    /// A message comes twice.
    pub duplication: u64,
    /// A message comes late, up to a second.
    pub lateness: u64,
    /// The sender of a lost message hears of it.
    pub loss_noticed: u64,
    /// Mean time between cuts in the network, in ms; 0 for none.
    pub cut_every_ms: u64,
    /// Mean time between crashes, in ms; 0 for none.
    pub crash_every_ms: u64,
    /// A crash is a loss of power, and takes what was not synced with it.
    pub power_loss: u64,
    /// A node crashes within a disk operation rather than between two events.
    pub crash_in_disk: u64,
    /// Something goes wrong at once with a node that has just done something delicate: granted a vote, begun to lead,
    /// committed.
    pub ambush: u64,
    /// Mean time between leaders that resign, in ms; 0 for none.
    pub resign_every_ms: u64,
    /// Mean time between snapshots on a node, in ms; 0 for none.
    pub snapshot_every_ms: u64,
    /// Clocks drift by up to so many microseconds per second.
    pub drift_us_per_s: u64,
    /// Mean time between appends, in ms.
    pub append_every_ms: u64,
    /// A message that is not late takes up to so long.
    pub latency_us: u64,
    /// All timeouts of the quorum are divided by this: the network is the slower for it.
    pub hurry: u32,
    /// Bytes in one fetch.
    pub fetch_max_bytes: i32,
}

/// What really happened. A run in which nothing went wrong proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events in all.
    pub events: u64,
    /// Messages that arrived.
    pub delivered: u64,
    /// Messages that were lost, by chance or at a cut.
    pub lost: u64,
    /// Messages that came twice.
    pub duplicated: u64,
    /// Cuts in the network.
    pub cuts: u64,
    /// Crashes.
    pub crashes: u64,
    /// Nodes that were ambushed.
    pub ambushes: u64,
    /// Crashes that lost what was not synced.
    pub power_losses: u64,
    /// Times that a node began to lead.
    pub elections: u64,
    /// Appends.
    pub appends: u64,
    /// Records that were committed on the node that appended them.
    pub acknowledged: u64,
    /// Snapshots written.
    pub snapshots: u64,
    /// Snapshots loaded from another node.
    pub snapshots_fetched: u64,
    /// Times that a log became shorter.
    pub truncations: u64,
}

impl Faults {
    /// The faults that belong to a seed.
    #[must_use]
    pub fn from_seed(random: &mut Random) -> Self {
        let mut some =
            |often: u64, most: u64| if random.below(100) < often { 1 + random.below(most) } else { 0 };
        Self {
            loss: some(80, 1_500),
            duplication: some(50, 1_000),
            lateness: some(60, 2_000),
            loss_noticed: some(50, 10_000),
            cut_every_ms: some(60, 6_000),
            crash_every_ms: some(70, 5_000),
            power_loss: some(80, 10_000),
            crash_in_disk: some(50, 10_000),
            resign_every_ms: some(30, 10_000),
            snapshot_every_ms: some(40, 4_000),
            drift_us_per_s: some(50, 100_000),
            append_every_ms: 5 + some(100, 200),
            ambush: some(60, 2_000),
            latency_us: [3_000, 30_000, 80_000][usize::try_from(random.below(3)).unwrap_or(0)],
            hurry: [1, 4, 10][usize::try_from(random.below(3)).unwrap_or(0)],
            fetch_max_bytes: [1, 400, 1 << 20][usize::try_from(random.below(3)).unwrap_or(0)],
        }
    }

    /// A world of elections: patience is short, the network slow, and whoever votes or wins is likely to fall.
    #[must_use]
    pub fn contested(random: &mut Random) -> Self {
        Self {
            loss: 300,
            loss_noticed: 9_000,
            crash_every_ms: 700,
            power_loss: 8_000,
            ambush: 3_000,
            append_every_ms: 40,
            latency_us: 40_000 + random.below(80_000),
            hurry: 10,
            fetch_max_bytes: 1,
            ..Self::none()
        }
    }

    /// A world without faults.
    #[must_use]
    pub fn none() -> Self {
        Self {
            loss: 0,
            duplication: 0,
            lateness: 0,
            loss_noticed: 0,
            cut_every_ms: 0,
            crash_every_ms: 0,
            power_loss: 0,
            crash_in_disk: 0,
            resign_every_ms: 0,
            snapshot_every_ms: 0,
            drift_us_per_s: 0,
            append_every_ms: 50,
            ambush: 0,
            latency_us: 3_000,
            hurry: 1,
            fetch_max_bytes: 1 << 20,
        }
    }
}

impl Figures {
    /// Adds another run's figures.
    pub fn add(&mut self, other: &Self) {
        let Self { events, delivered, lost, duplicated, cuts, crashes, power_losses, ambushes, .. } = other;
        self.events += events;
        self.delivered += delivered;
        self.lost += lost;
        self.duplicated += duplicated;
        self.cuts += cuts;
        self.crashes += crashes;
        self.ambushes += ambushes;
        self.power_losses += power_losses;
        let Self { elections, appends, acknowledged, snapshots, snapshots_fetched, truncations, .. } = other;
        self.elections += elections;
        self.appends += appends;
        self.acknowledged += acknowledged;
        self.snapshots += snapshots;
        self.snapshots_fetched += snapshots_fetched;
        self.truncations += truncations;
    }
}
