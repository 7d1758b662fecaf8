//! A consumer group as the tool speaks of it.

use std::collections::BTreeSet;

/// How a group is (KIP-848 has two more states than the older protocol).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// None that we know.
    #[default]
    Unknown,
    /// Members are being gathered.
    PreparingRebalance,
    /// The leader is sharing out.
    CompletingRebalance,
    /// Everybody has what is theirs.
    Stable,
    /// There is none.
    Dead,
    /// Nobody is in it.
    Empty,
    /// A new assignment is being made.
    Assigning,
    /// Members are on their way to it.
    Reconciling,
}

/// The states of a consumer group, of either protocol.
const STATES: &[State] = &[
    State::PreparingRebalance,
    State::CompletingRebalance,
    State::Stable,
    State::Dead,
    State::Empty,
    State::Assigning,
    State::Reconciling,
];

impl State {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
        }
    }

    /// The state of this name, in whatever case it is written.
    pub fn parse(name: &str) -> Self {
        let same = |state: &&Self| state.name().eq_ignore_ascii_case(name.trim());
        STATES.iter().find(same).copied().unwrap_or_default()
    }
}

/// The states in a list as `--state` takes it, or what is wrong with it.
pub fn states(text: &str) -> Result<BTreeSet<State>, String> {
    let states: BTreeSet<State> = text.split(',').map(State::parse).collect();
    if states.contains(&State::Unknown) {
        let names: Vec<&str> = STATES.iter().map(|state| state.name()).collect();
        return Err(format!("Invalid state list '{text}'. Valid states are: {}", names.join(", ")));
    }
    Ok(states)
}

/// The types in a list as `--type` takes it, or what is wrong with it.
pub fn types(text: &str) -> Result<BTreeSet<&'static str>, String> {
    let parse =
        |name: &str| ["Classic", "Consumer"].into_iter().find(|t| t.eq_ignore_ascii_case(name.trim()));
    text.split(',')
        .map(parse)
        .collect::<Option<_>>()
        .ok_or_else(|| format!("Invalid types list '{text}'. Valid types are: Classic, Consumer"))
}

/// A group in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// How it is.
    pub state: State,
    /// Host, port and id of the node that keeps it.
    pub coordinator: (String, i32, i32),
    /// How it shares out.
    pub assignor: String,
    /// Counts its changes; of the newer protocol only.
    pub epoch: Option<i32>,
    /// The change that the target assignment was made for.
    pub assignment_epoch: Option<i32>,
    /// Who is in it.
    pub members: Vec<Member>,
}

/// A member in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// `group.instance.id`.
    pub instance: Option<String>,
    /// What the client calls itself.
    pub client: String,
    /// Where it is, as Kafka writes it: `/127.0.0.1`.
    pub host: String,
    /// What it reads.
    pub assigned: BTreeSet<(String, i32)>,
    /// What it shall read; of the newer protocol only.
    pub target: Option<BTreeSet<(String, i32)>>,
    /// Counts its changes.
    pub epoch: Option<i32>,
    /// Whether it speaks the newer protocol, where members of both are in one group.
    pub upgraded: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_lists_of_names_in_any_case() {
        assert_eq!(states("stable, EMPTY").unwrap(), BTreeSet::from([State::Stable, State::Empty]));
        assert!(
            states("stable,wrong")
                .unwrap_err()
                .starts_with("Invalid state list 'stable,wrong'. Valid states are: ")
        );
        assert_eq!(types("CLASSIC").unwrap(), BTreeSet::from(["Classic"]));
        assert!(types("share").unwrap_err().starts_with("Invalid types list 'share'."));
    }
}
