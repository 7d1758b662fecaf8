//! One row of the configuration table: what Kafka knows of a key, and what we do with it.
//!
//! Rows are written with [`keys!`], one statement each:
//! `"name": Kind = preset, valid values, Importance Dynamic Effect [internal], [synonyms […],] "documentation";`

/// What a key is set on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A node: its file, the cluster's dynamic default, and the dynamic value for one broker.
    Broker,
    /// A topic.
    Topic,
    /// A consumer, share or streams group.
    Group,
    /// A subscription of client metrics (KIP-714).
    ClientMetrics,
}

/// The type of a value, as Kafka names and numbers it in DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Kafka's own")]
pub enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

/// The value of a key that nobody set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// This text, in Kafka's own spelling of the value.
    Text(&'static str),
    /// No value.
    Null,
    /// There must be a value.
    Required,
}

/// Whether a list may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// It may.
    Allowed,
    /// It must have at least one element.
    Refused,
}

/// Whether a value may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It may.
    Allowed,
    /// It must be there.
    Refused,
}

/// Which values are accepted, beyond their type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Valid {
    /// Whatever the type allows.
    Any,
    /// A number not below this.
    AtLeast(i64),
    /// A number between these, both included.
    Between(i64, i64),
    /// A fraction between these, both included.
    Fraction(f64, f64),
    /// 1 to 9, or -1 for the library's own choice.
    GzipLevel,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, in capitals or not.
    OneOfAnyCase(&'static [&'static str]),
    /// A list of these words.
    ListOf(&'static [&'static str], Empty),
    /// A list of any words.
    ListOfAny(Empty, Absent),
    /// Text that, if there, is not empty.
    NonEmpty,
    /// Text that is there.
    NonNull,
    /// `id@host:port` entries.
    Voters,
    /// `host:port` entries.
    Servers,
    /// `partition:broker` entries, or `*`.
    ThrottledReplicas,
    /// `latest`, `earliest` or `by_duration:` and a duration.
    OffsetReset,
}

pub(super) const ANY_LIST: Valid = Valid::ListOfAny(Empty::Allowed, Absent::Refused);
pub(super) const ANY_LIST_OR_NULL: Valid = Valid::ListOfAny(Empty::Allowed, Absent::Allowed);
pub(super) const NON_EMPTY_LIST: Valid = Valid::ListOfAny(Empty::Refused, Absent::Refused);
pub(super) const NON_EMPTY_LIST_OR_NULL: Valid = Valid::ListOfAny(Empty::Refused, Absent::Allowed);

/// How much a user should care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// Whether a broker's key can change while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dynamic {
    /// Only in the file, with a restart.
    ReadOnly,
    /// For one broker at a time.
    PerBroker,
    /// For one broker or for all.
    ClusterWide,
}

/// What Ottla does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does what it says.
    InEffect,
    /// It is accepted, checked, stored and shown, and does nothing yet.
    NotYet,
    /// It is about the insides of the JVM, which are not there.
    Inert,
}

/// Whether a key is for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// It is documented and shown.
    Public,
    /// It is shown only where somebody set it.
    Internal,
}

/// The unit of a synonym, where it is not the key's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The same as the key's.
    Same,
    /// Minutes, where the key has milliseconds.
    Minutes,
    /// Hours, where the key has milliseconds.
    Hours,
}

/// A broker key that stands in for a key without a value of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The broker key.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
}

impl Synonym {
    pub(super) const fn same(name: &'static str) -> Self {
        Self { name, unit: Unit::Same }
    }

    pub(super) const fn minutes(name: &'static str) -> Self {
        Self { name, unit: Unit::Minutes }
    }

    pub(super) const fn hours(name: &'static str) -> Self {
        Self { name, unit: Unit::Hours }
    }
}

/// One key of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// What it is set on.
    pub scope: Scope,
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its value where nobody set it.
    pub preset: Preset,
    /// The values it takes.
    pub valid: Valid,
    /// How much a user should care.
    pub importance: Importance,
    /// Whether it can change at run time.
    pub dynamic: Dynamic,
    /// What Ottla does with it.
    pub effect: Effect,
    /// Whether it is for users.
    pub audience: Audience,
    /// The broker keys that stand in for it, first one first; a broker key with synonyms is among them itself.
    pub synonyms: &'static [Synonym],
    /// What it means, in a sentence.
    pub documentation: &'static str,
}

impl Key {
    /// Whether its value must not be shown.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// Whether it is shown only where somebody set it.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.audience == Audience::Internal
    }
}

macro_rules! keys {
    ($(#[$doc:meta])* $scope:ident: $(
        $name:literal: $kind:ident = $preset:expr, $valid:expr,
        $importance:ident $dynamic:ident $effect:ident $($internal:ident)?,
        $(synonyms [$($synonym:expr),*],)?
        $documentation:literal;
    )*) => {
        $(#[$doc])*
        pub(super) const KEYS: &[Key] = &[$(Key {
            scope: Scope::$scope,
            name: $name,
            kind: Kind::$kind,
            preset: $preset,
            valid: $valid,
            importance: Importance::$importance,
            dynamic: Dynamic::$dynamic,
            effect: Effect::$effect,
            audience: keys!(@audience $($internal)?),
            synonyms: &[$($($synonym),*)?],
            documentation: $documentation,
        },)*];
    };
    (@audience) => { Audience::Public };
    (@audience internal) => { Audience::Internal };
}

pub(super) use keys;
