//! An incremental fetch session (KIP-227): what the client fetches, so that it need not say it each time.
//!
//! The session lives and dies with its connection. A client that comes back on another one is told
//! FETCH_SESSION_ID_NOT_FOUND and begins with a full fetch, as after any eviction.

use ottla_protocol::messages::FetchRequest;
use ottla_protocol::messages::fetch::FetchPartition;
use ottla_protocol::{Refusal, Uuid};

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
    pub topic: String,
    /// The topic's id, from version 13.
    pub topic_id: Uuid,
    /// The partition and from where.
    pub partition: FetchPartition,
    /// What the client was last told: high watermark and log start. `None` before the first response.
    told: Option<(i64, i64)>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct FetchSession {
    /// 0 while there is none.
    id: i32,
    /// The epoch that the next request has to carry.
    next_epoch: i32,
    wanted: Vec<Wanted>,
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
    pub fn plan(&mut self, request: &mut FetchRequest, fresh_id: i32) -> Result<Plan, Refusal> {
        if request.session_epoch == FINAL_EPOCH || request.session_epoch == INITIAL_EPOCH {
            return Ok(self.full(request, fresh_id));
        }
        if request.session_id == NO_SESSION || request.session_id != self.id {
            return Err(Refusal::FetchSessionIdNotFound);
        }
        if request.session_epoch != self.next_epoch {
            return Err(Refusal::InvalidFetchSessionEpoch);
        }
        self.next_epoch = if self.next_epoch == i32::MAX { 1 } else { self.next_epoch + 1 };
        let forgotten = |wanted: &Wanted| {
            request.forgotten_topics_data.iter().any(|topic| {
                topic.topic == wanted.topic
                    && topic.topic_id == wanted.topic_id
                    && topic.partitions.contains(&wanted.partition.partition)
            })
        };
        self.wanted.retain(|wanted| !forgotten(wanted));
        for change in partitions(request) {
            match self.wanted.iter().position(|wanted| wanted.same_partition(&change)) {
                Some(place) => self.wanted[place].partition = change.partition,
                None if self.wanted.len() < PARTITIONS_MAX => self.wanted.push(change),
                None => return Err(Refusal::FetchSessionIdNotFound),
            }
        }
        Ok(Plan { wanted: self.wanted.clone(), session_id: self.id, incremental: true })
    }

    fn full(&mut self, request: &mut FetchRequest, fresh_id: i32) -> Plan {
        *self = Self::default();
        let wanted = partitions(request);
        let keeps =
            request.session_epoch == INITIAL_EPOCH && !wanted.is_empty() && wanted.len() <= PARTITIONS_MAX;
        if keeps {
            self.id = fresh_id;
            self.next_epoch = 1;
            self.wanted.clone_from(&wanted);
        }
        Plan { wanted, session_id: self.id, incremental: false }
    }

    /// Remembers what the client is told, and whether it is news: a partition without any is left out.
    /// A partition that gave records goes to the end, so that the others have their turn.
    pub fn tell(&mut self, wanted: &Wanted, high_watermark: i64, log_start: i64, has_records: bool) -> bool {
        let Some(place) = self.wanted.iter().position(|known| known.same_partition(wanted)) else {
            return true;
        };
        let told = Some((high_watermark, log_start));
        let news = has_records || self.wanted[place].told != told;
        self.wanted[place].told = told;
        if has_records {
            let served = self.wanted.remove(place);
            self.wanted.push(served);
        }
        news
    }

    /// Forgets what the client was told of a partition that is in error, so that its recovery is news.
    pub fn tell_error(&mut self, wanted: &Wanted) {
        if let Some(known) = self.wanted.iter_mut().find(|known| known.same_partition(wanted)) {
            known.told = None;
        }
    }
}

impl Wanted {
    fn same_partition(&self, other: &Self) -> bool {
        self.partition.partition == other.partition.partition
            && self.topic_id == other.topic_id
            && self.topic == other.topic
    }
}

fn partitions(request: &mut FetchRequest) -> Vec<Wanted> {
    let topics = std::mem::take(&mut request.topics);
    let mut wanted = Vec::with_capacity(topics.iter().map(|topic| topic.partitions.len()).sum());
    for topic in topics {
        for partition in topic.partitions {
            let topic_name = topic.topic.clone();
            wanted.push(Wanted { topic: topic_name, topic_id: topic.topic_id, partition, told: None });
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
        let plan = session.plan(&mut request(0, 0, &[0, 1]), 7).unwrap();
        assert_eq!((plan.session_id, plan.incremental, order(&plan)), (7, false, vec![0, 1]));
        let mut next = request(7, 1, &[2]);
        next.forgotten_topics_data =
            vec![ForgottenTopic { topic: "t".into(), partitions: vec![0], ..Default::default() }];
        let plan = session.plan(&mut next, 8).unwrap();
        assert_eq!((plan.session_id, plan.incremental, order(&plan)), (7, true, vec![1, 2]));
    }

    #[test]
    fn wrong_ids_and_epochs_are_refused() {
        let mut session = FetchSession::default();
        assert_eq!(session.plan(&mut request(7, 1, &[]), 8).unwrap_err(), Refusal::FetchSessionIdNotFound);
        session.plan(&mut request(0, 0, &[0]), 7).unwrap();
        assert_eq!(session.plan(&mut request(7, 2, &[]), 8).unwrap_err(), Refusal::InvalidFetchSessionEpoch);
        assert_eq!(session.plan(&mut request(9, 1, &[]), 8).unwrap_err(), Refusal::FetchSessionIdNotFound);
    }

    #[test]
    fn a_final_epoch_ends_the_session_and_serves_without_one() {
        let mut session = FetchSession::default();
        session.plan(&mut request(0, 0, &[0]), 7).unwrap();
        let plan = session.plan(&mut request(7, -1, &[0]), 8).unwrap();
        assert_eq!((plan.session_id, order(&plan)), (0, vec![0]));
        assert!(session.plan(&mut request(7, 1, &[]), 8).is_err());
    }

    #[test]
    fn only_news_is_told_and_the_served_go_to_the_end() {
        let mut session = FetchSession::default();
        let plan = session.plan(&mut request(0, 0, &[0, 1]), 7).unwrap();
        let (first, second) = (&plan.wanted[0], &plan.wanted[1]);
        assert!(session.tell(first, 5, 0, true));
        assert!(session.tell(second, 0, 0, false));
        assert!(!session.tell(second, 0, 0, false));
        session.tell_error(second);
        assert!(session.tell(second, 0, 0, false));
        let plan = session.plan(&mut request(7, 1, &[]), 8).unwrap();
        assert_eq!(order(&plan), vec![1, 0]);
    }
}
