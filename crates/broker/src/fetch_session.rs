//! An incremental fetch session (KIP-227): what the client fetches, so that it need not say it each time.
//!
//! The session lives and dies with its connection. A client that comes back on another one is told
//! FETCH_SESSION_ID_NOT_FOUND and begins with a full fetch, as after any eviction.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::messages::FetchRequest;
use ottla_protocol::messages::fetch::FetchPartition;
use ottla_protocol::{Refusal, Uuid};

use crate::topics::Key;

/// A session id of 0 in a request: no session, or a new one.
const NO_SESSION: i32 = 0;
/// An epoch of 0 asks for a new session.
const INITIAL_EPOCH: i32 = 0;
/// An epoch of −1 asks for a fetch outside any session, and ends the one named.
const FINAL_EPOCH: i32 = -1;
/// Partitions in one session; a fetch of more is served without a session.
const PARTITIONS_MAX: usize = 100_000;

/// One partition that is fetched.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The topic's name, before version 13.
    pub topic: Arc<str>,
    /// The topic's id, from version 13.
    pub topic_id: Uuid,
    /// The partition and from where.
    pub partition: FetchPartition,
    /// Its place in the order of the session; those that gave records go to the end.
    place: u64,
    /// What the client was last told: high watermark and log start. `None` before the first response.
    told: Option<(i64, i64)>,
}

/// Which partition it is: topic by name and id, and number.
type Name = (Arc<str>, Uuid, i32);

/// See the module.
#[derive(Debug, Default)]
pub struct FetchSession {
    /// What there is of a session, if there is one.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    id: i32,
    /// The epoch that the next request has to carry.
    next_epoch: i32,
    /// How its requests name topics; that cannot change on the way.
    by: Key,
    /// In the order in which they are served.
    wanted: BTreeMap<u64, Wanted>,
    places: BTreeMap<Name, u64>,
    next_place: u64,
}

/// What a request asks for, once its session has been looked up.
#[derive(Debug)]
pub struct Plan {
    /// The partitions, in the order in which they are served.
    pub wanted: Vec<Wanted>,
    /// What the response says of the session; 0 outside of one.
    pub session_id: i32,
    /// Whether partitions without news are left out of the response.
    pub incremental: bool,
}

impl FetchSession {
    /// Takes a request's changes in and says what is to be fetched. `fresh_id` names a session that is new.
    pub fn plan(&mut self, request: &mut FetchRequest, by: Key, fresh_id: i32) -> Result<Plan, Refusal> {
        if request.session_epoch == FINAL_EPOCH || request.session_epoch == INITIAL_EPOCH {
            return Ok(self.full(request, by, fresh_id));
        }
        let open = self.open.as_mut().filter(|open| open.id == request.session_id);
        let open = open.ok_or(Refusal::FetchSessionIdNotFound)?;
        if request.session_epoch != open.next_epoch {
            return Err(Refusal::InvalidFetchSessionEpoch);
        }
        if by != open.by {
            return Err(Refusal::FetchSessionTopicIdError);
        }
        open.next_epoch = if open.next_epoch == i32::MAX { 1 } else { open.next_epoch + 1 };
        for change in partitions(request) {
            open.take(change)?;
        }
        for topic in std::mem::take(&mut request.forgotten_topics_data) {
            let name: Arc<str> = topic.topic.into();
            for partition in topic.partitions {
                open.forget(&(Arc::clone(&name), topic.topic_id, partition));
            }
        }
        if open.wanted.is_empty() {
            // Nothing is left to remember.
            self.open = None;
            return Ok(Plan { wanted: Vec::new(), session_id: NO_SESSION, incremental: false });
        }
        Ok(Plan { wanted: open.wanted.values().cloned().collect(), session_id: open.id, incremental: true })
    }

    fn full(&mut self, request: &mut FetchRequest, by: Key, fresh_id: i32) -> Plan {
        self.open = None;
        let mut wanted = partitions(request);
        let keeps =
            request.session_epoch == INITIAL_EPOCH && !wanted.is_empty() && wanted.len() <= PARTITIONS_MAX;
        if !keeps {
            return Plan { wanted, session_id: NO_SESSION, incremental: false };
        }
        let mut open = Open {
            id: fresh_id,
            next_epoch: 1,
            by,
            wanted: BTreeMap::new(),
            places: BTreeMap::new(),
            next_place: 0,
        };
        for partition in wanted.drain(..) {
            // There is room for all of them.
            let _ = open.take(partition);
        }
        wanted.extend(open.wanted.values().cloned());
        self.open = Some(open);
        Plan { wanted, session_id: fresh_id, incremental: false }
    }

    /// Remembers what the client is told, and whether it is news: a partition without any is left out.
    /// A partition that gave records goes to the end, so that the others have their turn.
    pub fn tell(&mut self, wanted: &Wanted, high_watermark: i64, log_start: i64, has_records: bool) -> bool {
        let Some(open) = &mut self.open else { return true };
        let Some(known) = open.wanted.get_mut(&wanted.place) else { return true };
        let told = Some((high_watermark, log_start));
        let news = has_records || known.told != told;
        known.told = told;
        if has_records {
            open.move_to_the_end(wanted.place);
        }
        news
    }

    /// Forgets what the client was told of a partition that is in error, so that its recovery is news.
    pub fn tell_error(&mut self, wanted: &Wanted) {
        if let Some(known) = self.open.as_mut().and_then(|open| open.wanted.get_mut(&wanted.place)) {
            known.told = None;
        }
    }
}

impl Open {
    /// Adds a partition, or changes what is wanted of one.
    fn take(&mut self, mut wanted: Wanted) -> Result<(), Refusal> {
        let name = wanted.name();
        if let Some(known) = self.places.get(&name).and_then(|place| self.wanted.get_mut(place)) {
            known.partition = wanted.partition;
            return Ok(());
        }
        if self.wanted.len() >= PARTITIONS_MAX {
            return Err(Refusal::FetchSessionIdNotFound);
        }
        wanted.place = self.next_place;
        self.next_place += 1;
        self.places.insert(name, wanted.place);
        self.wanted.insert(wanted.place, wanted);
        Ok(())
    }

    fn forget(&mut self, name: &Name) {
        if let Some(place) = self.places.remove(name) {
            self.wanted.remove(&place);
        }
    }

    fn move_to_the_end(&mut self, place: u64) {
        let Some(mut wanted) = self.wanted.remove(&place) else { return };
        wanted.place = self.next_place;
        self.next_place += 1;
        self.places.insert(wanted.name(), wanted.place);
        self.wanted.insert(wanted.place, wanted);
    }
}

impl Wanted {
    fn name(&self) -> Name {
        (Arc::clone(&self.topic), self.topic_id, self.partition.partition)
    }
}

fn partitions(request: &mut FetchRequest) -> Vec<Wanted> {
    let topics = std::mem::take(&mut request.topics);
    let mut wanted = Vec::with_capacity(topics.iter().map(|topic| topic.partitions.len()).sum());
    for topic in topics {
        let (name, topic_id): (Arc<str>, Uuid) = (topic.topic.into(), topic.topic_id);
        for partition in topic.partitions {
            wanted.push(Wanted { topic: Arc::clone(&name), topic_id, partition, place: 0, told: None });
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::fetch::{FetchTopic, ForgottenTopic};

    use super::*;

    fn request(session_id: i32, session_epoch: i32, partitions: &[i32]) -> FetchRequest {
        let partitions =
            partitions.iter().map(|&partition| FetchPartition { partition, ..Default::default() }).collect();
        FetchRequest {
            session_id,
            session_epoch,
            topics: vec![FetchTopic { topic: "t".into(), partitions, ..Default::default() }],
            ..Default::default()
        }
    }

    fn order(plan: &Plan) -> Vec<i32> {
        plan.wanted.iter().map(|wanted| wanted.partition.partition).collect()
    }

    #[test]
    fn a_session_remembers_adds_and_forgets() {
        let mut session = FetchSession::default();
        let plan = session.plan(&mut request(0, 0, &[0, 1]), Key::Name, 7).unwrap();
        assert_eq!((plan.session_id, plan.incremental, order(&plan)), (7, false, vec![0, 1]));
        let mut next = request(7, 1, &[2]);
        next.forgotten_topics_data =
            vec![ForgottenTopic { topic: "t".into(), partitions: vec![0], ..Default::default() }];
        let plan = session.plan(&mut next, Key::Name, 8).unwrap();
        assert_eq!((plan.session_id, plan.incremental, order(&plan)), (7, true, vec![1, 2]));
    }

    #[test]
    fn wrong_ids_and_epochs_are_refused() {
        let mut session = FetchSession::default();
        assert_eq!(
            session.plan(&mut request(7, 1, &[]), Key::Name, 8).unwrap_err(),
            Refusal::FetchSessionIdNotFound
        );
        session.plan(&mut request(0, 0, &[0]), Key::Name, 7).unwrap();
        assert_eq!(
            session.plan(&mut request(7, 2, &[]), Key::Name, 8).unwrap_err(),
            Refusal::InvalidFetchSessionEpoch
        );
        assert_eq!(
            session.plan(&mut request(9, 1, &[]), Key::Name, 8).unwrap_err(),
            Refusal::FetchSessionIdNotFound
        );
    }

    #[test]
    fn a_final_epoch_ends_the_session_and_serves_without_one() {
        let mut session = FetchSession::default();
        session.plan(&mut request(0, 0, &[0]), Key::Name, 7).unwrap();
        let plan = session.plan(&mut request(7, -1, &[0]), Key::Name, 8).unwrap();
        assert_eq!((plan.session_id, order(&plan)), (0, vec![0]));
        assert!(session.plan(&mut request(7, 1, &[]), Key::Name, 8).is_err());
    }

    #[test]
    fn topics_are_named_in_one_way_in_a_session() {
        let mut session = FetchSession::default();
        session.plan(&mut request(0, 0, &[0]), Key::Name, 7).unwrap();
        let refused = session.plan(&mut request(7, 1, &[]), Key::Id, 8).unwrap_err();
        assert_eq!(refused, Refusal::FetchSessionTopicIdError);
    }

    #[test]
    fn a_session_that_fetches_nothing_more_is_over() {
        let mut session = FetchSession::default();
        session.plan(&mut request(0, 0, &[0]), Key::Name, 7).unwrap();
        let mut last = request(7, 1, &[]);
        last.forgotten_topics_data =
            vec![ForgottenTopic { topic: "t".into(), partitions: vec![0], ..Default::default() }];
        let plan = session.plan(&mut last, Key::Name, 8).unwrap();
        assert_eq!((plan.session_id, plan.incremental), (0, false));
        assert!(session.plan(&mut request(7, 2, &[0]), Key::Name, 8).is_err());
    }

    #[test]
    fn the_largest_session_is_served_without_counting_to_a_million_each_time() {
        let all: Vec<i32> = (0..PARTITIONS_MAX as i32).collect();
        let mut session = FetchSession::default();
        let plan = session.plan(&mut request(0, 0, &all), Key::Name, 7).unwrap();
        for wanted in &plan.wanted {
            assert!(session.tell(wanted, 1, 0, true));
        }
        let plan = session.plan(&mut request(7, 1, &all), Key::Name, 7).unwrap();
        assert_eq!(order(&plan), all);
    }

    #[test]
    fn only_news_is_told_and_the_served_go_to_the_end() {
        let mut session = FetchSession::default();
        let plan = session.plan(&mut request(0, 0, &[0, 1]), Key::Name, 7).unwrap();
        let (first, second) = (&plan.wanted[0], &plan.wanted[1]);
        assert!(session.tell(first, 5, 0, true));
        assert!(session.tell(second, 0, 0, false));
        assert!(!session.tell(second, 0, 0, false));
        session.tell_error(second);
        assert!(session.tell(second, 0, 0, false));
        let plan = session.plan(&mut request(7, 1, &[]), Key::Name, 8).unwrap();
        assert_eq!(order(&plan), vec![1, 0]);
    }
}
