//! Bugs that tests plant, to prove that the simulator sees them. Without the feature `mutants` none can be switched on.

/// One rule of the protocol, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The high watermark moves before a record of the leader's own epoch is on a majority (KAFKA-12619).
    HighWatermarkIgnoresEpochStart,
    /// A vote is answered before it is on the disk.
    VoteNotPersisted,
    /// A vote is granted to whoever asks, also a second time in an epoch.
    VotesTwice,
    /// A vote is granted to a candidate whose log ends earlier.
    IgnoresCandidatesLog,
    /// A follower that is told that its log differs keeps it.
    TruncationIgnored,
    /// The leader believes that the follower's log is its own as far as it goes.
    DivergenceUnchecked,
    /// A follower fetches on before what it fetched is on the disk (KAFKA-13884).
    FollowerDoesNotFlush,
    /// A leader counts itself before what it appended is on the disk (KAFKA-10533).
    LeaderDoesNotFlush,
}

impl Mutant {
    /// Every mutant.
    pub const ALL: &[Self] = &[
        Self::HighWatermarkIgnoresEpochStart,
        Self::VoteNotPersisted,
        Self::VotesTwice,
        Self::IgnoresCandidatesLog,
        Self::TruncationIgnored,
        Self::DivergenceUnchecked,
        Self::FollowerDoesNotFlush,
        Self::LeaderDoesNotFlush,
    ];
}
