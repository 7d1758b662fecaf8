//! Members that subscribe by a pattern (KIP-848's SubscribedTopicRegex): each pattern is matched with all names of
//! topics once for the whole group, and what it has matched is written down.
//!
//! Kafka's patterns are RE2/J's, and are read as such: see [`re2`]. A pattern has to match the whole name. Matching is due
//! at once, but not more often than every ten seconds; it is not done within the heartbeat that asks for it.

mod re2;

use std::collections::{BTreeMap, BTreeSet};

use ottla_metadata::Image;
use ottla_protocol::Refusal;
use ottla_protocol::records::coordinator::ConsumerGroupMemberMetadataValue;
use regex::{Regex, RegexBuilder};

use super::heartbeat::Change;
use super::subscriptions::{Matches, pattern_tombstone};
use super::timers::Timer;
use super::topics::version;
use super::{ConsumerGroup, Denied, Refresh, Step};
use crate::group::scene::Scene;

/// The least time between two looks at a group's patterns.
const LEAST_INTERVAL_MS: i64 = 10_000;

/// How much memory a compiled pattern may take, in bytes.
const PATTERN_SIZE_MAX: usize = 1 << 20;

/// What a member's pattern has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatternChange {
    None,
    /// It is another, of which it is not known yet what it matches.
    Asked,
    /// It is another, or none, and it is known what it matches.
    Matched,
}

impl ConsumerGroup {
    /// Takes notice of a member's pattern.
    pub(super) fn note_pattern(
        &mut self,
        scene: &Scene<'_>,
        change: &mut Change,
    ) -> Result<PatternChange, Denied> {
        let subscriptions = &self.roster.subscriptions;
        let (old, new) = (change.before.pattern(), change.after.pattern());
        let mut result = PatternChange::None;
        let mut is_unknown = false;
        if regex_of(&change.before.metadata) != regex_of(&change.after.metadata) {
            result = PatternChange::Asked;
            if let Some(old) = old.filter(|old| subscriptions.subscribers(old) == 1) {
                change.records.push(pattern_tombstone(&self.roster.id, old));
            }
            match new {
                Some(new) if subscriptions.subscribers(new) == 0 => {
                    compile(new).map_err(|error| invalid(new, &error))?;
                    is_unknown = true;
                }
                Some(new) if subscriptions.matches.contains_key(new) => result = PatternChange::Matched,
                Some(_) => {}
                None if old.is_some() => result = PatternChange::Matched,
                None => {}
            }
        }
        if is_unknown || !subscriptions.patterns.is_empty() {
            self.ask_for_matching(scene, change, is_unknown);
        }
        Ok(result)
    }

    fn ask_for_matching(&mut self, scene: &Scene<'_>, change: &Change, is_unknown: bool) {
        let timer = Timer::patterns();
        let subscriptions = &self.roster.subscriptions;
        let now_ms = scene.now.wall_ms;
        let last = subscriptions.last_look();
        let age_ms = last.map(|(timestamp_ms, _)| now_ms.saturating_sub(timestamp_ms));
        if self.timers.is_set(&timer) || age_ms.is_some_and(|age| (0..=LEAST_INTERVAL_MS).contains(&age)) {
            return;
        }
        let patterns = subscriptions.outlook(&change.before, &change.after).patterns;
        let interval_ms = scene.settings.consumer.regex_refresh_interval_ms;
        let is_wanted = is_unknown
            || patterns.len() != subscriptions.matches.len()
            || last.is_none_or(|(_, version)| version < self.topics.new_topics())
            || age_ms.is_none_or(|age| !(0..=interval_ms).contains(&age));
        if is_wanted && !patterns.is_empty() {
            self.timers.set(timer, scene.now.after_ms(0));
        }
    }

    /// Matches the patterns with the topics; `None` if that changes nothing that is written.
    pub(super) fn match_patterns(&mut self, scene: &Scene<'_>) -> Option<Step<()>> {
        let roster = &self.roster;
        let found = find_matches(scene, roster.subscriptions.patterns.keys());
        let mut records = Vec::new();
        let mut topics = roster.subscriptions.topics.clone();
        let mut differs = false;
        let nothing = Matches::default();
        for (pattern, matches) in found {
            let known = roster.subscriptions.matches.get(pattern).unwrap_or(&nothing);
            if known.topics != matches.topics {
                differs = true;
                topics.remove_matches(known);
                topics.add_matches(&matches);
            }
            records.push(matches.record(&roster.id, pattern));
        }
        let metadata_hash = self.topics.hash(scene.image, topics.names());
        if differs || metadata_hash != roster.metadata_hash {
            let epoch = roster.epoch + 1;
            records.push(roster.epoch_record(epoch, metadata_hash));
            let deadline = scene.now.after_ms(i32::MAX.into());
            self.refresh = Refresh { deadline, epoch };
        }
        (!records.is_empty()).then(|| Step::write(records, ()))
    }
}

fn find_matches<'a>(
    scene: &Scene<'_>,
    patterns: impl Iterator<Item = &'a String>,
) -> BTreeMap<&'a str, Matches> {
    let matches = |pattern: &'a String| {
        let topics = match compile(pattern) {
            Ok(regex) => matching(scene.image, &regex),
            Err(error) => {
                // A record of a coordinator whose patterns are a little different.
                tracing::error!(pattern, %error, "a pattern cannot be read");
                BTreeSet::new()
            }
        };
        let timestamp_ms = scene.now.wall_ms;
        (&**pattern, Matches { topics, version: version(scene.image), timestamp_ms })
    };
    patterns.map(matches).collect()
}

fn matching(image: &Image, regex: &Regex) -> BTreeSet<String> {
    let names = image.topics.names().map(|(name, _)| name);
    names.filter(|name| regex.is_match(name)).map(str::to_owned).collect()
}

/// A pattern for whole names.
fn compile(pattern: &str) -> Result<Regex, String> {
    let pattern = re2::translated(pattern).map_err(|mistake| mistake.0.to_owned())?;
    let whole = format!(r"\A(?:{pattern})\z");
    // Too much, then: everything else has been seen to.
    RegexBuilder::new(&whole).size_limit(PATTERN_SIZE_MAX).build().map_err(|error| {
        // The last line says what is wrong; those before it point at the place.
        let error = error.to_string();
        error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

fn invalid(pattern: &str, why: &str) -> Denied {
    let message = format!("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {why}.");
    Denied::new(Refusal::InvalidRegularExpression, message)
}

fn regex_of(metadata: &ConsumerGroupMemberMetadataValue) -> Option<&str> {
    metadata.subscribed_topic_regex.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        compile(pattern).unwrap().is_match(name)
    }

    #[test]
    fn a_pattern_matches_whole_names() {
        assert!(matches("foo|foobar", "foobar"), "not the first alternative alone");
        assert!(!matches("foo", "foobar") && !matches("bar", "foobar"));
        assert!(matches("foo.*", "foobar") && matches("(?i)FOO", "foo"));
        assert!(!matches("(?m)foo$", "foo\nbar"));
    }

    #[test]
    fn quoted_text_means_itself() {
        assert!(matches(r"\Qa.b\E.*", "a.bc") && !matches(r"\Qa.b\E.*", "axbc"));
        assert!(matches(r"\Qa.b", "a.b"), "to the end");
        assert!(matches(r"a\.\Q\E\d", "a.7"));
    }

    #[test]
    fn what_re2_does_not_have_is_refused() {
        for pattern in ["[", "(", "a)(b", r"(a)\1", "(?=a)", "(?x)a # b", "*", r"\"] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }
}
