//! Bugs that tests plant, to prove that the simulator sees them. Without the feature `mutants` none can be switched on.

macro_rules! mutants {
    ($($(#[$doc:meta])+ $name:ident,)*) => {
        /// One rule, broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[$doc])+ $name,)*
        }

        impl Mutant {
            /// Every mutant.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

mutants! {
    /// The host lets replies go before the records are committed.
    RepliesBeforeCommitted,
    /// The host answers what writes nothing at once, though it may follow from what is not committed.
    ReadsDoNotWait,
    /// Whoever resigns forgets those whose replies it holds.
    HeldRepliesForgotten,
    /// The ends of transactions in the log are passed over.
    MarkersPassedOver,
    /// Of two commits the one counts that was ended last, not the one that was written last.
    OrderOfCommitsIgnored,
    /// Offsets count though their transaction was aborted.
    AbortedOffsetsCount,
    /// Offsets count before their transaction is committed.
    OpenOffsetsCount,
    /// Offsets that a transaction may still change are given out to who does not want them (KIP-447).
    UnstableOffsetsGiven,
    /// Offsets expire as soon as somebody looks.
    OffsetsExpireAtOnce,
    /// Offsets expire though a transaction is about to replace them.
    ExpiryIgnoresTransactions,
    /// Deleted offsets come back with the end of a transaction.
    TombstoneSparesTransactions,
    /// Anybody may commit in a group of the classic protocol.
    ClassicCommitsUnchecked,
    /// Anybody may commit in a group of KIP-848.
    ConsumerCommitsUnchecked,
    /// Members that are silent stay in their group.
    SilentMembersStay,
    /// A silent member whose removal could not be written is not looked at again.
    UnwrittenRemovalForgotten,
    /// A rebalance leaves the generation as it is.
    GenerationStays,
    /// Members that have not joined again in time stay members.
    MissingMembersStay,
    /// The leader's assignment is not written.
    AssignmentUnwritten,
    /// Every member is given what the leader is given.
    LeadersShareForAll,
    /// Whoever asks to sync twice is not answered the first time.
    FirstSyncForgotten,
    /// A partition is given to a member though another has it.
    GivenBeforeReleased,
    /// A partition that is to be given back counts as given back.
    RevocationUnawaited,
    /// A group that becomes a classic one writes what members shall have, not what they have, as Kafka 4.4 does: when it
    /// changes its protocol again before they have heard of it, a partition has two owners.
    ConversionWritesTarget,
    /// The epoch of a group stays when its members change.
    GroupEpochStays,
    /// A transaction that has ended can be ended otherwise, says the coordinator.
    AnyEndIsTheEnd,
    /// A producer that is fenced may end a transaction.
    FencedMayEnd,
    /// A transaction that is aborted from outside leaves its producer its epoch.
    FencingKeepsEpoch,
    /// A transaction is complete before its markers are written.
    MarkersUnawaited,
    /// A partition takes part in a transaction, but it is not written.
    JoinUnwritten,
    /// Every partition takes part in every transaction, if one asks.
    EverythingVerified,
    /// A coordinator that has loaded does not go on with what is half-finished.
    EndingsForgotten,
    /// Transactions never time out.
    NoTimeout,
    /// A producer is initialized while its predecessor's transaction is still being ended.
    InitDoesNotWait,
    /// A producer is given the epoch of its predecessor.
    InitKeepsEpoch,
}

/// The bug that is planted, if any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Planted(Option<Mutant>);

impl Planted {
    /// Plants a bug.
    #[must_use]
    pub fn new(mutant: Option<Mutant>) -> Self {
        Self(mutant)
    }

    /// Whether this bug is planted; always no without the feature `mutants`.
    pub(crate) fn has(self, mutant: Mutant) -> bool {
        cfg!(feature = "mutants") && self.0 == Some(mutant)
    }
}
