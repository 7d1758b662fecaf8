//! Questions that only a coordinator answers: who it is for each key, then the question, again where it moved.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::Refusal;
use ottla_protocol::messages::MetadataRequest;

use super::ItemResult;
use crate::call::{Call, Reply};
use crate::cluster::Target;
use crate::coordinator::{Coordinator, CoordinatorKind};
use crate::error::{ApiError, ClientError};
use crate::operation::{Mapped, Operation, Outcome, Turn};

/// What is asked of coordinators, each time about those keys that they coordinate.
pub(super) trait Question: Send {
    /// What is wanted for each key.
    type Answer: Send;

    /// What it is called in messages.
    const NAME: &'static str;

    /// What the keys are.
    const KIND: CoordinatorKind;

    /// The calls to one coordinator about these keys, each with those it is about.
    fn calls(&self, keys: &[String]) -> Vec<(Vec<String>, Call)>;

    /// What the answer to one of these calls says of its keys.
    fn read(
        &mut self,
        coordinator: &Coordinator,
        keys: &[String],
        reply: &Reply,
    ) -> Result<Rows<Self::Answer>, ClientError>;

    /// The broker has no such API. True where the question goes on in another form.
    fn is_unsupported(&mut self, _keys: &[String]) -> bool {
        false
    }
}

/// What was said of keys; `None` asks for another round in another form.
pub(super) type Rows<A> = Vec<(String, Option<ItemResult<A>>)>;

/// A question to coordinators, under way.
pub(super) struct Coordinated<Q: Question> {
    question: Q,
    left: BTreeSet<String>,
    found: BTreeMap<String, ItemResult<Q::Answer>>,
    coordinators: BTreeMap<String, Coordinator>,
    /// The brokers know only the form for one key.
    one_by_one: bool,
    round: Round,
}

enum Round {
    /// Nothing is asked about, but an answer there must be.
    Idle,
    Lookup(Vec<Vec<String>>),
    Question(Vec<(Coordinator, Vec<String>)>),
}

impl<Q: Question> Coordinated<Q> {
    pub(super) fn new(question: Q, keys: impl IntoIterator<Item = String>) -> Self {
        Self {
            question,
            left: keys.into_iter().collect(),
            found: BTreeMap::new(),
            coordinators: BTreeMap::new(),
            one_by_one: false,
            round: Round::Idle,
        }
    }

    fn lookup(&mut self, unknown: Vec<String>) -> Vec<(Target, Call)> {
        let parts: Vec<Vec<String>> = match self.one_by_one {
            true => unknown.into_iter().map(|key| vec![key]).collect(),
            false => vec![unknown],
        };
        let call = |keys: &Vec<String>| match (self.one_by_one, keys.first()) {
            (true, Some(key)) => (Target::Any, Q::KIND.find(key)),
            _ => (Target::Any, Q::KIND.find_all(keys)),
        };
        let calls = parts.iter().map(call).collect();
        self.round = Round::Lookup(parts);
        calls
    }

    fn ask(&mut self) -> Vec<(Target, Call)> {
        let mut by_node: BTreeMap<&Coordinator, Vec<String>> = BTreeMap::new();
        for key in &self.left {
            if let Some(coordinator) = self.coordinators.get(key) {
                by_node.entry(coordinator).or_default().push(key.clone());
            }
        }
        let mut asked = Vec::new();
        let mut calls = Vec::new();
        for (coordinator, keys) in by_node {
            for (keys, call) in self.question.calls(&keys) {
                calls.push((Target::Node(coordinator.node), call));
                asked.push((coordinator.clone(), keys));
            }
        }
        self.round = Round::Question(asked);
        calls
    }

    fn settle(&mut self, key: String, result: ItemResult<Q::Answer>) {
        if self.left.remove(&key) {
            self.found.insert(key, result);
        }
    }

    /// Takes who coordinates. `Ok(None)` where every key has been answered for.
    fn located(
        &mut self,
        parts: Vec<Vec<String>>,
        outcomes: Vec<Outcome>,
    ) -> Result<Option<ClientError>, ClientError> {
        let mut passing = None;
        for (keys, outcome) in parts.into_iter().zip(outcomes) {
            let rows = match outcome.and_then(|reply| Coordinator::read_all(&reply)) {
                Ok(rows) => rows,
                Err(ClientError::UnsupportedVersion(_)) if !self.one_by_one => {
                    self.one_by_one = true;
                    return Ok(None);
                }
                Err(error) if error.is_retriable() => {
                    passing = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if rows.len() != keys.len() {
                passing = Some(unanswered());
            }
            for (key, row) in keys.into_iter().zip(rows) {
                match row {
                    Ok(coordinator) => drop(self.coordinators.insert(key, coordinator)),
                    Err(error) if error.refusal.is_retriable() => passing = Some(error.into()),
                    Err(error) => self.settle(key, Err(error)),
                }
            }
        }
        Ok(passing)
    }

    /// Takes what coordinators said.
    fn answered(
        &mut self,
        asked: Vec<(Coordinator, Vec<String>)>,
        outcomes: Vec<Outcome>,
    ) -> Result<Option<ClientError>, ClientError> {
        let mut passing = None;
        for ((coordinator, keys), outcome) in asked.into_iter().zip(outcomes) {
            let rows = match outcome.and_then(|reply| self.question.read(&coordinator, &keys, &reply)) {
                Ok(rows) => rows,
                Err(ClientError::UnsupportedVersion(why)) => {
                    if !self.question.is_unsupported(&keys) {
                        for key in keys {
                            let (refusal, message) = (Refusal::UnsupportedVersion, Some(why.clone()));
                            self.settle(key, Err(ApiError { refusal, message }));
                        }
                    }
                    continue;
                }
                Err(error) if error.is_retriable() => {
                    self.coordinators.retain(|key, _| !keys.contains(key));
                    passing = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut silent: BTreeSet<String> = keys.into_iter().collect();
            for (key, row) in rows {
                silent.remove(&key);
                match row {
                    Some(Err(error)) if error.refusal.is_retriable() => {
                        self.coordinators.remove(&key);
                        passing = Some(error.into());
                    }
                    Some(result) => self.settle(key, result),
                    None => {}
                }
            }
            if !silent.is_empty() {
                passing = Some(unanswered());
            }
        }
        Ok(passing)
    }
}

impl<Q: Question> Operation for Coordinated<Q> {
    type Answer = BTreeMap<String, ItemResult<Q::Answer>>;

    fn name(&self) -> &'static str {
        Q::NAME
    }

    fn calls(&mut self) -> Vec<(Target, Call)> {
        let unknown = self.left.iter().filter(|key| !self.coordinators.contains_key(*key));
        let unknown: Vec<String> = unknown.cloned().collect();
        if self.left.is_empty() {
            self.round = Round::Idle;
            let request = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
            return vec![(Target::Any, Call::new(request))];
        }
        if unknown.is_empty() { self.ask() } else { self.lookup(unknown) }
    }

    fn round(&mut self, outcomes: Vec<Outcome>) -> Turn<Self::Answer> {
        let passing = match std::mem::replace(&mut self.round, Round::Idle) {
            Round::Idle => outcomes
                .into_iter()
                .find_map(Result::err)
                .map_or(Ok(None), |error| if error.is_retriable() { Ok(Some(error)) } else { Err(error) }),
            Round::Lookup(parts) => self.located(parts, outcomes),
            Round::Question(asked) => self.answered(asked, outcomes),
        };
        match passing {
            Err(error) => Turn::Done(Err(error)),
            Ok(Some(error)) => Turn::Retry(error),
            Ok(None) if self.left.is_empty() => Turn::Done(Ok(std::mem::take(&mut self.found))),
            Ok(None) => Turn::Next,
        }
    }
}

/// The same for one key alone: its refusal is the operation's.
pub(super) fn alone<Q: Question>(question: Q, key: String) -> impl Operation<Answer = Q::Answer> {
    Mapped::new(Coordinated::new(question, [key]), |found| {
        let first = found.into_values().next();
        first.map_or(Err(unanswered()), |result| Ok(result?))
    })
}

fn unanswered() -> ClientError {
    ClientError::TimedOut("a coordinator did not answer for every key".to_owned())
}
