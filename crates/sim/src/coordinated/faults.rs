//! What goes wrong with a coordinator and those who ask it, drawn from its seed.

use ottla_raft::random::Random;

/// The faults of one run. Chances are out of 10,000; times are means between two, in ms, and 0 is never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A request or an answer is lost, and with it the connection.
    pub loss: u64,
    /// A client hears of it at once.
    pub loss_noticed: u64,
    /// A request arrives twice: it was sent again.
    pub repetition: u64,
    /// A message comes late, up to two seconds.
    pub lateness: u64,
    /// The host crashes.
    pub crash_every_ms: u64,
    /// A crash takes what was not committed with it; else some of it stays.
    pub tail_lost: u64,
    /// The host resigns.
    pub resign_every_ms: u64,
    /// The partition refuses appends for a while.
    pub refusal_every_ms: u64,
    /// A client's process dies, and another starts.
    pub death_every_ms: u64,
    /// A client stops for longer than its session lasts, and goes on.
    pub pause_every_ms: u64,
    /// A client leaves and comes back.
    pub leave_every_ms: u64,
    /// A client reads other topics.
    pub subscribe_every_ms: u64,
    /// A topic gets a partition more.
    pub growth_every_ms: u64,
    /// A record is committed after so many µs, at most.
    pub commit_us: u64,
}

/// What really happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events in all.
    pub events: u64,
    /// Requests that reached the coordinator.
    pub asked: u64,
    /// Answers that left it.
    pub answered: u64,
    /// Answers without an error.
    pub granted: u64,
    /// Messages lost.
    pub lost: u64,
    /// Requests that came twice.
    pub repeated: u64,
    /// Crashes of the host.
    pub crashes: u64,
    /// Those that lost records.
    pub losses: u64,
    /// Hosts that resigned.
    pub resigned: u64,
    /// Times that appends failed for a while.
    pub refusals: u64,
    /// Deaths and pauses of clients.
    pub deaths: u64,
    /// Commits that were acknowledged.
    pub commits: u64,
    /// Times that a client came to own something else.
    pub moves: u64,
    /// Records in the log at the end.
    pub records: u64,
}

impl Faults {
    /// The faults that belong to a seed.
    #[must_use]
    pub fn from_seed(random: &mut Random) -> Self {
        let mut some =
            |often: u64, most: u64| if random.below(100) < often { 1 + random.below(most) } else { 0 };
        Self {
            loss: some(70, 600),
            loss_noticed: some(50, 10_000),
            repetition: some(50, 2_500),
            lateness: some(50, 1_000),
            crash_every_ms: some(70, 12_000),
            tail_lost: some(80, 10_000),
            resign_every_ms: some(40, 12_000),
            refusal_every_ms: some(40, 15_000),
            death_every_ms: some(50, 10_000),
            pause_every_ms: some(50, 12_000),
            leave_every_ms: some(50, 10_000),
            subscribe_every_ms: some(40, 10_000),
            growth_every_ms: some(30, 15_000),
            commit_us: [2_000, 50_000, 600_000][usize::try_from(random.below(3)).unwrap_or(0)],
        }
    }

    /// A world of deaths in which the log often takes nothing.
    #[must_use]
    pub fn refusing() -> Self {
        Self { death_every_ms: 3_000, refusal_every_ms: 2_000, commit_us: 20_000, ..Self::none() }
    }

    /// A world in which members come and go so often that groups change their protocol before all have heard of it.
    #[must_use]
    pub fn coming_and_going() -> Self {
        Self {
            loss: 100,
            loss_noticed: 7_000,
            lateness: 1_500,
            death_every_ms: 4_000,
            pause_every_ms: 5_000,
            leave_every_ms: 130,
            ..Self::none()
        }
    }

    /// A world in which members and topics come and go all the time, the host too, and nothing is heard at once.
    #[must_use]
    pub fn restless(random: &mut Random) -> Self {
        Self {
            loss: 300,
            lateness: 500,
            repetition: 500,
            crash_every_ms: 3_000 + random.below(5_000),
            tail_lost: 7_000,
            resign_every_ms: 5_000,
            refusal_every_ms: 8_000,
            death_every_ms: 2_000,
            pause_every_ms: 4_000,
            leave_every_ms: 1_000,
            subscribe_every_ms: 2_000,
            growth_every_ms: 6_000,
            commit_us: [2_000, 50_000, 600_000][usize::try_from(random.below(3)).unwrap_or(0)],
            ..Self::none()
        }
    }

    /// Nothing goes wrong, and nothing changes.
    #[must_use]
    pub fn none() -> Self {
        Self {
            loss: 0,
            loss_noticed: 0,
            repetition: 0,
            lateness: 0,
            crash_every_ms: 0,
            tail_lost: 0,
            resign_every_ms: 0,
            refusal_every_ms: 0,
            death_every_ms: 0,
            pause_every_ms: 0,
            leave_every_ms: 0,
            subscribe_every_ms: 0,
            growth_every_ms: 0,
            commit_us: 2_000,
        }
    }
}

impl Figures {
    /// Adds another run's figures.
    pub fn add(&mut self, other: &Self) {
        let Self { events, asked, answered, granted, lost, repeated, crashes, .. } = other;
        self.events += events;
        self.asked += asked;
        self.answered += answered;
        self.granted += granted;
        self.lost += lost;
        self.repeated += repeated;
        self.crashes += crashes;
        let Self { losses, resigned, refusals, deaths, commits, moves, records, .. } = other;
        self.losses += losses;
        self.resigned += resigned;
        self.refusals += refusals;
        self.deaths += deaths;
        self.commits += commits;
        self.moves += moves;
        self.records += records;
    }
}
