//! Committed offsets never go back by themselves, and a commit that was acknowledged is never lost: what is fetched is
//! what the log has said at some moment between question and answer.
//!
//! The checker has a model of its own: all that was ever said of a partition, and from where in the log on it was so.

use std::collections::BTreeMap;

use ottla_coordinator::Outcome;
use ottla_coordinator::group::offsets::Offsets;
use ottla_coordinator::group::{Command, Record, Reply};
use ottla_protocol::Offset;
use ottla_protocol::messages::offset_fetch::OffsetFetchResponsePartitions;

use super::{Asked, Entry, Freshness, Violation, violation};

/// Group, topic and partition.
type Key = (String, String, i32);

/// Remembers all commits.
#[derive(Debug, Default)]
pub struct CommittedOffsets {
    /// By key, in order: behind which offset of the log what is committed.
    history: BTreeMap<Key, Vec<(Offset, Option<Commit>)>>,
    pending: BTreeMap<i64, BTreeMap<Key, Commit>>,
    /// By key, in order: behind which offset of the log a transaction holds something back, or none does.
    held_back: BTreeMap<Key, Vec<(Offset, bool)>>,
    /// Where each commit stands.
    tokens: BTreeMap<String, Offset>,
}

/// A commit; the token is another one each time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Commit {
    at: Offset,
    offset: i64,
    token: String,
    /// When it may go by itself.
    ends_ms: i64,
}

/// As in the settings.
const RETENTION_MS: i64 = 60_000;

impl CommittedOffsets {
    /// Takes in what stands at an offset of the log.
    ///
    /// # Errors
    /// If a member has committed less than was committed.
    pub fn read(&mut self, at: Offset, entry: Entry, fresh: Freshness) -> Result<(), Violation> {
        match entry {
            Entry::Record(written, record) => {
                let Record::OffsetCommit(key, value) = *record else { return Ok(()) };
                let key = (key.group, key.topic, key.partition);
                let commit = value.map(|value| Commit {
                    at,
                    offset: value.offset,
                    token: value.metadata,
                    ends_ms: match value.expire_timestamp {
                        -1 => value.commit_timestamp + RETENTION_MS,
                        ends_ms => ends_ms,
                    },
                });
                if let Some(commit) = &commit {
                    // A request that comes twice is written twice; the first is good enough.
                    self.tokens.entry(commit.token.clone()).or_insert(at);
                }
                match (commit, written.transaction) {
                    (Some(commit), Some(producer)) => {
                        self.pending.entry(producer.id.0).or_default().insert(key.clone(), commit);
                        self.note_held_back(key, at);
                    }
                    (None, _) => {
                        if fresh == Freshness::Due {
                            self.may_expire(&key, written.timestamp_ms)?;
                        }
                        self.pending.values_mut().for_each(|pending| {
                            pending.remove(&key);
                        });
                        self.note_held_back(key.clone(), at);
                        self.set(key, at, None);
                    }
                    (commit, None) => {
                        if fresh != Freshness::Again {
                            self.not_back(&key, commit.as_ref())?;
                        }
                        self.set(key, at, commit);
                    }
                }
            }
            Entry::Marker(producer, outcome) => {
                for (key, commit) in self.pending.remove(&producer.id.0).unwrap_or_default() {
                    self.note_held_back(key.clone(), at);
                    // What was written later counts, whenever the transaction ends.
                    let newer = self.last_change(&key).is_none_or(|last| last < commit.at);
                    if outcome == Outcome::Committed && newer {
                        self.set(key, at, Some(commit));
                    }
                }
            }
        }
        Ok(())
    }

    /// The log has been cut.
    pub fn forget_log(&mut self) {
        self.history.clear();
        self.pending.clear();
        self.tokens.clear();
        self.held_back.clear();
    }

    /// A reply leaves the coordinator.
    ///
    /// # Errors
    /// If it says what is not so, or what may be lost.
    pub fn told(&self, asked: &Asked, reply: &Reply, high_watermark: Offset) -> Result<(), Violation> {
        match (&asked.command, reply) {
            (Command::CommitOffsets(_, request), Reply::CommitOffsets(response)) => {
                for (topic, answers) in request.topics.iter().zip(&response.topics) {
                    for (partition, answer) in topic.partitions.iter().zip(&answers.partitions) {
                        let token = partition.committed_metadata.as_deref().unwrap_or_default();
                        self.acknowledged(answer.error_code, token, high_watermark)?;
                    }
                }
                Ok(())
            }
            (
                Command::CommitOffsetsInTransaction(_, request),
                Reply::CommitOffsetsInTransaction(response),
            ) => {
                for (topic, answers) in request.topics.iter().zip(&response.topics) {
                    for (partition, answer) in topic.partitions.iter().zip(&answers.partitions) {
                        let token = partition.committed_metadata.as_deref().unwrap_or_default();
                        self.acknowledged(answer.error_code, token, high_watermark)?;
                    }
                }
                Ok(())
            }
            (Command::FetchOffsets(_, request), Reply::FetchOffsets(response))
                if response.error_code == 0 =>
            {
                for topic in &response.topics {
                    for partition in &topic.partitions {
                        let key =
                            (request.group.group_id.clone(), topic.name.clone(), partition.partition_index);
                        let window = (asked.high_watermark, high_watermark);
                        self.fetched(&key, partition, window)?;
                        if request.require_stable && partition.error_code == 0 {
                            self.was_stable(&key, window)?;
                        }
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The coordinator's own state is what its log says.
    ///
    /// # Errors
    /// If it is not.
    pub fn same_as(&self, offsets: &Offsets) -> Result<(), Violation> {
        for (key, versions) in &self.history {
            let expected = versions.last().and_then(|(_, commit)| commit.as_ref());
            let found = offsets.get(&key.0, &key.1, key.2);
            if expected.map(|commit| commit.offset) != found.map(|committed| committed.offset.0) {
                let what = format!("{key:?}: the log says {expected:?}, the coordinator {found:?}");
                return violation("committed offsets are what the log says", what);
            }
            let held_back = self.pending.values().any(|pending| pending.contains_key(key));
            if held_back != offsets.is_unstable(&key.0, &key.1, key.2) {
                let what = format!("{key:?}: held back by a transaction, says the log: {held_back}");
                return violation("transactions hold back what the log says", what);
            }
        }
        Ok(())
    }

    /// What goes by itself has been there for its time, and no transaction is about to replace it.
    fn may_expire(&self, key: &Key, now_ms: i64) -> Result<(), Violation> {
        let commit = self.history.get(key).and_then(|versions| versions.last()?.1.as_ref());
        let held_back = self.pending.values().any(|pending| pending.contains_key(key));
        match commit {
            Some(commit) if now_ms >= commit.ends_ms && !held_back => Ok(()),
            _ => violation(
                "nothing expires before its time",
                format!("{key:?} at {now_ms}: {commit:?}, held back by a transaction: {held_back}"),
            ),
        }
    }

    /// What is committed now.
    #[must_use]
    pub fn now(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let versions = self.history.get(&(group.to_owned(), topic.to_owned(), partition))?;
        versions.last()?.1.as_ref().map(|commit| commit.offset)
    }

    fn fetched(
        &self,
        key: &Key,
        answer: &OffsetFetchResponsePartitions,
        (asked_at, high_watermark): (Offset, Offset),
    ) -> Result<(), Violation> {
        if answer.error_code != 0 {
            return Ok(());
        }
        let versions = self.history.get(key).map(Vec::as_slice).unwrap_or_default();
        let answered = (answer.committed_offset != -1)
            .then(|| (answer.committed_offset, answer.metadata.clone().unwrap_or_default()));
        // What held when the question came, and all that was committed until the answer left.
        let first = versions.iter().rposition(|(from, _)| *from < asked_at);
        let held = first.map_or(&None, |first| &versions[first].1);
        let since = versions.iter().skip(first.map_or(0, |first| first + 1));
        let since = since.filter(|(from, _)| *from < high_watermark).map(|(_, commit)| commit);
        let mut possible = std::iter::once(held).chain(since);
        let said =
            |commit: &Option<Commit>| commit.as_ref().map(|commit| (commit.offset, commit.token.clone()));
        if possible.any(|commit| said(commit) == answered) {
            return Ok(());
        }
        violation(
            "what is fetched is what is committed",
            format!("{key:?}: {answered:?} between {asked_at} and {high_watermark} of {versions:?}"),
        )
    }

    /// Whoever wants stable offsets is given none that an open transaction may still change (KIP-447).
    fn was_stable(&self, key: &Key, (asked_at, high_watermark): (Offset, Offset)) -> Result<(), Violation> {
        let changes = self.held_back.get(key).map(Vec::as_slice).unwrap_or_default();
        let before = changes.iter().rev().find(|(from, _)| *from < asked_at);
        let since = changes.iter().filter(|(from, _)| (asked_at..high_watermark).contains(from));
        let always = before.is_some_and(|(_, held_back)| *held_back) && since.clone().all(|(_, held)| *held);
        if always {
            let what = format!("{key:?} between {asked_at} and {high_watermark}: {changes:?}");
            return violation("whoever wants stable offsets is given no others", what);
        }
        Ok(())
    }

    fn note_held_back(&mut self, key: Key, at: Offset) {
        let held_back = self.pending.values().any(|pending| pending.contains_key(&key));
        self.held_back.entry(key).or_default().push((at, held_back));
    }

    fn acknowledged(&self, code: i16, token: &str, high_watermark: Offset) -> Result<(), Violation> {
        if code != 0 || self.tokens.get(token).is_some_and(|at| *at < high_watermark) {
            return Ok(());
        }
        let at = self.tokens.get(token);
        violation(
            "an acknowledged commit is not lost",
            format!("{token} stands at {at:?}, the high watermark is {high_watermark}"),
        )
    }

    fn not_back(&self, key: &Key, commit: Option<&Commit>) -> Result<(), Violation> {
        let before = self.history.get(key).and_then(|versions| versions.last()?.1.as_ref());
        match (before, commit) {
            (Some(before), Some(commit)) if before.offset > commit.offset => {
                violation("committed offsets do not go back", format!("{key:?}: {commit:?} after {before:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Where the record stands that counts now.
    fn last_change(&self, key: &Key) -> Option<Offset> {
        let (from, commit) = self.history.get(key)?.last()?;
        Some(commit.as_ref().map_or(*from, |commit| commit.at))
    }

    fn set(&mut self, key: Key, from: Offset, commit: Option<Commit>) {
        self.history.entry(key).or_default().push((from, commit));
    }
}
