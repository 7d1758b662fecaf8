//! What a member wants to read, and which topics that means at present.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::metadata::Metadata;

/// What a member wants to read.
#[derive(Clone, Debug, Default)]
pub enum Subscription {
    /// Nothing: it is no member.
    #[default]
    None,
    /// These topics.
    Topics(BTreeSet<Arc<str>>),
    /// Every topic that the matcher takes, also those to come.
    Matching(Matcher),
    /// Every topic whose whole name matches this expression (RE2), as the broker sees it (KIP-848).
    Regex(String),
}

/// Says of a topic's name whether it is wanted.
#[derive(Clone)]
pub struct Matcher(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl Matcher {
    /// As the function says.
    pub fn new(matches: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(matches))
    }
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Matcher")
    }
}

impl Subscription {
    /// Whether there is one.
    #[must_use]
    pub fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether every topic must be known to see what it means.
    #[must_use]
    pub fn wants_all_topics(&self) -> bool {
        matches!(self, Self::Matching(_) | Self::Regex(_))
    }

    /// The topics that it means now, as far as that is the client's business.
    pub(super) fn topics(&self, metadata: &Metadata, exclude_internal: bool) -> BTreeSet<Arc<str>> {
        match self {
            Self::None | Self::Regex(_) => BTreeSet::new(),
            Self::Topics(topics) => topics.clone(),
            Self::Matching(matcher) => {
                let known = metadata.topics.iter().filter(|(_, topic)| topic.error.is_none());
                let open = known.filter(|(_, topic)| !(exclude_internal && topic.internal));
                open.filter(|(name, _)| matcher.0(name)).map(|(name, _)| name.as_str().into()).collect()
            }
        }
    }
}
