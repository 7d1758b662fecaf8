//! Questions that every broker is asked: which brokers there are, then the question, again to those that failed.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::messages::MetadataRequest;

use crate::call::{Call, Reply};
use crate::cluster::Target;
use crate::error::ClientError;
use crate::operation::{Operation, Outcome, Turn};

/// A question to every broker.
pub(super) struct EveryBroker<A, C, R> {
    name: &'static str,
    call: C,
    read: R,
    /// Brokers that have not answered yet; `None` while nobody has said which there are.
    left: Option<BTreeSet<i32>>,
    found: BTreeMap<i32, A>,
}

impl<A, C, R> EveryBroker<A, C, R>
where
    A: Send,
    C: FnMut() -> Call + Send,
    R: FnMut(&Reply) -> Result<A, ClientError> + Send,
{
    /// Sends `call` to every broker and makes of each reply what `read` says.
    pub(super) fn new(name: &'static str, call: C, read: R) -> Self {
        Self { name, call, read, left: None, found: BTreeMap::new() }
    }

    fn brokers(&mut self, outcome: Outcome) -> Turn<BTreeMap<i32, A>> {
        match outcome.and_then(|reply| reply.decode::<MetadataRequest>()) {
            Ok(response) if response.brokers.is_empty() => {
                Turn::Retry(ClientError::TimedOut("no broker is known".to_owned()))
            }
            Ok(response) => {
                let ids = response.brokers.into_iter().map(|broker| broker.node_id);
                self.left = Some(ids.filter(|id| !self.found.contains_key(id)).collect());
                match self.left.as_ref().is_some_and(BTreeSet::is_empty) {
                    true => Turn::Done(Ok(std::mem::take(&mut self.found))),
                    false => Turn::Next,
                }
            }
            Err(error) => Turn::from_result(Err(error)),
        }
    }
}

impl<A, C, R> Operation for EveryBroker<A, C, R>
where
    A: Send,
    C: FnMut() -> Call + Send,
    R: FnMut(&Reply) -> Result<A, ClientError> + Send,
{
    type Answer = BTreeMap<i32, A>;

    fn name(&self) -> &'static str {
        self.name
    }

    fn calls(&mut self) -> Vec<(Target, Call)> {
        match &self.left {
            Some(brokers) => brokers.iter().map(|id| (Target::Node(*id), (self.call)())).collect(),
            None => {
                let request = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
                vec![(Target::Any, Call::new(request))]
            }
        }
    }

    fn round(&mut self, mut outcomes: Vec<Outcome>) -> Turn<Self::Answer> {
        let Some(asked) = self.left.take() else {
            return self.brokers(outcomes.pop().unwrap_or(Err(ClientError::Closed)));
        };
        let mut passing = None;
        for (id, outcome) in asked.into_iter().zip(outcomes) {
            match outcome.and_then(|reply| (self.read)(&reply)) {
                Ok(answer) => drop(self.found.insert(id, answer)),
                Err(error) if error.is_retriable() => passing = Some(error),
                Err(error) => return Turn::Done(Err(error)),
            }
        }
        // A broker that is gone by now is not asked again.
        passing.map_or_else(|| Turn::Done(Ok(std::mem::take(&mut self.found))), Turn::Retry)
    }
}
