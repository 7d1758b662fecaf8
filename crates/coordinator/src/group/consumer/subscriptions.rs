//! What a group's members want: how many want each topic by its name, and which topics their patterns have matched.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::records::coordinator::{
    ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue,
};

use super::member::Member;
use crate::assign;
use crate::group::record::Record;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Subscriptions {
    pub topics: Wanted,
    /// How many members subscribe by each pattern.
    pub patterns: BTreeMap<String, usize>,
    /// What each pattern has matched.
    pub matches: BTreeMap<String, Matches>,
}

/// How often each topic is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted(BTreeMap<String, Count>);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Count {
    /// Members that name it.
    by_name: usize,
    /// Patterns that match it.
    by_pattern: usize,
}

/// What a pattern has matched, and when.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Matches {
    pub topics: BTreeSet<String>,
    /// The offset of the image.
    pub version: i64,
    pub timestamp_ms: i64,
}

/// What members would want after a change, before it is written.
#[derive(Debug)]
pub(super) struct Outlook {
    pub topics: Wanted,
    pub patterns: BTreeMap<String, usize>,
}

impl Wanted {
    /// The topics, by name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn contains(&self, topic: &str) -> bool {
        self.0.contains_key(topic)
    }

    pub(super) fn add_names(&mut self, member: &Member) {
        for topic in &member.metadata.subscribed_topic_names {
            self.count(topic).by_name += 1;
        }
    }

    pub(super) fn remove_names(&mut self, member: &Member) {
        for topic in &member.metadata.subscribed_topic_names {
            self.discount(topic, |count| count.by_name = count.by_name.saturating_sub(1));
        }
    }

    pub(super) fn add_matches(&mut self, matches: &Matches) {
        for topic in &matches.topics {
            self.count(topic).by_pattern += 1;
        }
    }

    pub(super) fn remove_matches(&mut self, matches: &Matches) {
        for topic in &matches.topics {
            self.discount(topic, |count| count.by_pattern = count.by_pattern.saturating_sub(1));
        }
    }

    fn count(&mut self, topic: &str) -> &mut Count {
        self.0.entry(topic.to_owned()).or_default()
    }

    fn discount(&mut self, topic: &str, less: impl Fn(&mut Count)) {
        let Some(count) = self.0.get_mut(topic) else { return };
        less(count);
        if *count == Count::default() {
            self.0.remove(topic);
        }
    }
}

impl Outlook {
    /// Whether all of so many members want the same topics.
    pub(super) fn kind(&self, members: usize) -> assign::Subscriptions {
        kind(&self.topics, &self.patterns, members)
    }
}

impl Subscriptions {
    /// Whether all of so many members want the same topics.
    pub(super) fn kind(&self, members: usize) -> assign::Subscriptions {
        kind(&self.topics, &self.patterns, members)
    }

    /// A member has become another.
    pub(super) fn replace(&mut self, old: Option<&Member>, new: Option<&Member>) {
        if let (Some(old), Some(new)) = (old, new)
            && (&old.metadata.subscribed_topic_names, old.pattern())
                == (&new.metadata.subscribed_topic_names, new.pattern())
        {
            return;
        }
        if let Some(old) = old {
            self.topics.remove_names(old);
        }
        if let Some(new) = new {
            self.topics.add_names(new);
        }
        replace_pattern(&mut self.patterns, old.and_then(Member::pattern), new.and_then(Member::pattern));
    }

    /// A pattern matches this from now on; `None` for a pattern that is gone.
    pub(super) fn set_matches(&mut self, pattern: &str, matches: Option<Matches>) {
        if let Some(old) = self.matches.remove(pattern) {
            self.topics.remove_matches(&old);
        }
        if let Some(matches) = matches {
            self.topics.add_matches(&matches);
            self.matches.insert(pattern.to_owned(), matches);
        }
    }

    /// How many members subscribe by a pattern.
    pub(super) fn subscribers(&self, pattern: &str) -> usize {
        self.patterns.get(pattern).copied().unwrap_or(0)
    }

    /// What would be wanted if a member became another.
    pub(super) fn outlook(&self, old: &Member, new: &Member) -> Outlook {
        let mut topics = self.topics.clone();
        topics.remove_names(old);
        topics.add_names(new);
        let mut patterns = self.patterns.clone();
        if old.pattern() != new.pattern() {
            if let Some(pattern) = old.pattern()
                && self.subscribers(pattern) == 1
                && let Some(matches) = self.matches.get(pattern)
            {
                topics.remove_matches(matches);
            }
            replace_pattern(&mut patterns, old.pattern(), new.pattern());
        }
        Outlook { topics, patterns }
    }

    /// The patterns that nobody subscribes by once these members are gone.
    pub(super) fn orphans<'a>(&self, leaving: &[&'a Member]) -> Vec<&'a str> {
        let mut counts: BTreeMap<&'a str, usize> = BTreeMap::new();
        for pattern in leaving.iter().filter_map(|member| member.pattern()) {
            *counts.entry(pattern).or_default() += 1;
        }
        counts
            .into_iter()
            .filter(|(pattern, count)| self.subscribers(pattern) == *count)
            .map(|(pattern, _)| pattern)
            .collect()
    }

    /// What would be wanted without these members and patterns.
    pub(super) fn without(&self, leaving: &[&Member], patterns: &[&str]) -> Wanted {
        let mut topics = self.topics.clone();
        for member in leaving {
            topics.remove_names(member);
        }
        for matches in patterns.iter().filter_map(|pattern| self.matches.get(*pattern)) {
            topics.remove_matches(matches);
        }
        topics
    }

    /// The names of the topics that a member wants, by name or by pattern; some may come twice.
    pub(super) fn of<'a>(&'a self, member: &'a Member) -> impl Iterator<Item = &'a str> {
        let matches = member.pattern().and_then(|pattern| self.matches.get(pattern));
        let matched = matches.into_iter().flat_map(|matches| &matches.topics);
        member.metadata.subscribed_topic_names.iter().chain(matched).map(String::as_str)
    }

    /// When the patterns were looked at, and with which image; `None` if they never were.
    pub(super) fn last_look(&self) -> Option<(i64, i64)> {
        self.matches.values().next().map(|matches| (matches.timestamp_ms, matches.version))
    }
}

impl Matches {
    /// What a record says.
    pub(super) fn read(value: ConsumerGroupRegularExpressionValue) -> Self {
        Self {
            topics: value.topics.into_iter().collect(),
            version: value.version,
            timestamp_ms: value.timestamp,
        }
    }

    /// The record of it.
    pub(super) fn record(&self, group: &str, pattern: &str) -> Record {
        let value = ConsumerGroupRegularExpressionValue {
            topics: self.topics.iter().cloned().collect(),
            version: self.version,
            timestamp: self.timestamp_ms,
        };
        (pattern_key(group, pattern), Some(value)).into()
    }
}

pub(super) fn pattern_key(group: &str, pattern: &str) -> ConsumerGroupRegularExpressionKey {
    ConsumerGroupRegularExpressionKey { group_id: group.to_owned(), regular_expression: pattern.to_owned() }
}

pub(super) fn pattern_tombstone(group: &str, pattern: &str) -> Record {
    (pattern_key(group, pattern), None).into()
}

/// By counting alone: members with different patterns that match the same count as different.
fn kind(topics: &Wanted, patterns: &BTreeMap<String, usize>, members: usize) -> assign::Subscriptions {
    let mut counts = topics.0.values();
    let alike = match patterns.values().next() {
        None => counts.all(|count| count.by_name == members),
        Some(subscribers) => {
            *subscribers == members && counts.all(|count| count.by_pattern == 1 && count.by_name == 0)
        }
    };
    if alike { assign::Subscriptions::Alike } else { assign::Subscriptions::Mixed }
}

fn replace_pattern(patterns: &mut BTreeMap<String, usize>, old: Option<&str>, new: Option<&str>) {
    if let Some(old) = old
        && let Some(count) = patterns.get_mut(old)
    {
        *count = count.saturating_sub(1);
        if *count == 0 {
            patterns.remove(old);
        }
    }
    if let Some(new) = new {
        *patterns.entry(new.to_owned()).or_default() += 1;
    }
}
