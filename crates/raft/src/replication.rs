//! Fetching: what the leader answers and learns from it, and what the follower does with the answer.
//!
//! KRaft is pulled: a fetch from an offset says "everything before it is on my disk", and that is how the high
//! watermark moves. Invariant: no fetch leaves a voter before what it acknowledges has been flushed.

use bytes::Bytes;
use ottla_protocol::time::{Deadline, Now};
use ottla_protocol::{NodeId, Offset, Refusal};

use crate::journal::Position;
use crate::links::About;
use crate::message::{Answer, Ask, Ballot, Fetch, Found, OffsetAndEpoch, Peer, Request, Response, Ticket};
use crate::mutant::Mutant;
use crate::output::{Fatal, Output};
use crate::quorum;
use crate::raft::Raft;
use crate::role::Role;
use crate::store::ElectionState;

/// More fetches than this are answered at once, though they find nothing.
const PARKED_MAX: usize = 10_000;

/// A fetch that waits for something to be there.
#[derive(Clone, Debug)]
pub(crate) struct Parked {
    ticket: Ticket,
    request: Request,
    pub(crate) until: Deadline,
}

/// What becomes of a link after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask on.
    Free,
    /// Wait a little before asking there again.
    Rest,
}

impl Raft {
    /// Takes in a request: answers it, or parks it.
    pub(crate) fn on_request(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: Request,
        out: &mut Vec<Output>,
    ) -> Result<(), Fatal> {
        let foreign = match (&request.cluster_id, &self.config.cluster_id) {
            (Some(theirs), Some(ours)) => theirs != ours,
            _ => false,
        };
        let answered = match &request.ask {
            ask if foreign => Ok(self.refuse(ask, Refusal::InconsistentClusterId)),
            Ask::Vote { .. } => self.on_vote(now, &request),
            Ask::BeginQuorumEpoch { .. } => self.on_begin_quorum_epoch(now, &request),
            Ask::EndQuorumEpoch { .. } => self.on_end_quorum_epoch(now, &request),
            Ask::FetchSnapshot { snapshot, position, max_bytes } => {
                self.on_fetch_snapshot(now, &request, *snapshot, (*position, *max_bytes))
            }
            Ask::Fetch(fetch) => self.on_fetch(now, &request, *fetch),
        };
        let response = self.or_refuse(now, &request.ask, answered)?;
        if let Ask::Fetch(fetch) = request.ask
            && !is_worth_sending(&response, &fetch)
            && self.parked.len() < PARKED_MAX
        {
            let until = now.after_ms(i64::from(fetch.max_wait_ms));
            self.parked.push(Parked { ticket, request, until });
            return Ok(());
        }
        out.push(Output::Reply { ticket, response });
        Ok(())
    }

    /// The answer, or that there is none for now: whoever asks rests a little and asks again.
    fn or_refuse(
        &mut self,
        now: Now,
        ask: &Ask,
        answered: Result<Response, Fatal>,
    ) -> Result<Response, Fatal> {
        let response = self.unless_short(now, answered)?;
        Ok(response.unwrap_or_else(|| self.refuse(ask, Refusal::BrokerNotAvailable)))
    }

    /// Answers a Fetch as things stand now, and takes note of how far its sender has come.
    fn on_fetch(&mut self, now: Now, request: &Request, fetch: Fetch) -> Result<Response, Fatal> {
        if fetch.max_wait_ms < 0
            || fetch.offset.0 < 0
            || fetch.last_epoch.0 < 0
            || fetch.last_epoch > request.epoch
        {
            return Ok(self.refuse(&request.ask, Refusal::InvalidRequest));
        }
        if let Some(refusal) = self.refusal_by_leader(request) {
            return Ok(self.refuse(&request.ask, refusal));
        }
        if self.position(fetch) == Position::Valid {
            self.note_fetch(now, request, fetch.offset);
        }
        self.look_up(fetch)
    }

    fn position(&self, fetch: Fetch) -> Position {
        match self.journal.position(fetch.offset, fetch.last_epoch) {
            Position::Diverging(_) if self.config.has(Mutant::DivergenceUnchecked) => Position::Valid,
            position => position,
        }
    }

    /// What a leader has for a fetch.
    fn look_up(&mut self, fetch: Fetch) -> Result<Response, Fatal> {
        let found = match self.position(fetch) {
            Position::Snapshot(snapshot) => Found::Snapshot(snapshot),
            Position::Diverging(end) => Found::Diverging(end),
            Position::Valid => {
                let max_bytes = usize::try_from(fetch.max_bytes).unwrap_or(0);
                Found::Records(self.journal.read(fetch.offset, max_bytes)?)
            }
        };
        let high_watermark = self.published_high_watermark();
        Ok(self.respond(Answer::Fetch { high_watermark, log_start: self.journal.start(), found }))
    }

    fn note_fetch(&mut self, now: Now, request: &Request, offset: Offset) {
        let leader_end = self.journal.end().offset;
        let begin_every_us = self.begin_every_us();
        let voters = self.journal.membership().voters();
        // A reader without an id is nobody's replica.
        if let Role::Leader(leader) = &mut self.role
            && request.from.id.0 >= 0
        {
            leader.fetched(now, request.from, (offset, leader_end), voters, begin_every_us);
        }
        self.advance_high_watermark();
    }

    /// Moves a leader's high watermark to where a majority has everything.
    pub(crate) fn advance_high_watermark(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let mut epoch_start = leader.epoch_start;
        if self.config.has(Mutant::HighWatermarkIgnoresEpochStart) {
            epoch_start = Offset(-1);
        }
        let own_end = match self.config.has(Mutant::LeaderDoesNotFlush) {
            true => self.journal.end().offset,
            false => self.journal.flushed(),
        };
        let ends = leader.ends(self.config.me.id, own_end, self.voters());
        if let Some(reached) = quorum::high_watermark(&ends, epoch_start) {
            self.raise_high_watermark(reached);
        }
    }

    /// The high watermark never goes back: where it seems to (a voter was added or has lost its disk), it waits.
    fn raise_high_watermark(&mut self, to: Offset) {
        let bounded = to.min(self.journal.end().offset);
        self.high_watermark = self.high_watermark.max(Some(bounded));
    }

    /// What a leader says of its high watermark: nothing, until a record of its own epoch is committed.
    fn published_high_watermark(&self) -> Option<Offset> {
        match &self.role {
            Role::Leader(leader) => self.high_watermark.filter(|end| *end > leader.epoch_start),
            _ => None,
        }
    }

    /// Answers the parked fetches for which there is something now, or whose time is up, or that nobody serves any more.
    pub(crate) fn answer_parked(&mut self, now: Now, out: &mut Vec<Output>) -> Result<(), Fatal> {
        let mut still = Vec::new();
        for parked in std::mem::take(&mut self.parked) {
            let Ask::Fetch(fetch) = parked.request.ask else { continue };
            let refusal = self.refusal_by_leader(&parked.request);
            let nothing_new = fetch.offset >= self.journal.end().offset
                && self.published_high_watermark().is_none_or(|end| end <= fetch.high_watermark);
            let response = match refusal {
                Some(refusal) => self.refuse(&parked.request.ask, refusal),
                None if nothing_new && !now.reached(parked.until) => {
                    still.push(parked);
                    continue;
                }
                None => {
                    let found = self.look_up(fetch);
                    self.or_refuse(now, &parked.request.ask, found)?
                }
            };
            out.push(Output::Reply { ticket: parked.ticket, response });
        }
        self.parked = still;
        Ok(())
    }

    /// Takes in the answer to a request of ours.
    pub(crate) fn on_response(
        &mut self,
        now: Now,
        from: Peer,
        correlation: u64,
        response: Response,
    ) -> Result<(), Fatal> {
        let Some(about) = self.links.answered(from, correlation) else { return Ok(()) };
        let taken = match self.judge(now, about, &response) {
            Ok(None) => self.on_answer(now, from, about, response.answer),
            Ok(Some(next)) => Ok(next),
            Err(fatal) => Err(fatal),
        };
        // What could not be taken in is asked for again.
        if self.unless_short(now, taken)?.unwrap_or(Next::Rest) == Next::Rest {
            self.rest(now, from);
        }
        Ok(())
    }

    /// What every response says, whatever it answers: epoch, leader, error. `None` means: go on to the answer itself.
    fn judge(&mut self, now: Now, about: About, response: &Response) -> Result<Option<Next>, Fatal> {
        let Response { refusal, leader, epoch, endpoints, .. } = response;
        match refusal {
            Some(Refusal::UnsupportedVersion) if about == About::PreVote => {
                // A voter before 4.0 knows no pre-vote: the election itself has to show it.
                let everybody: Vec<NodeId> = self.voters().ids().collect();
                if let Role::Prospective(role) = &mut self.role {
                    everybody.into_iter().for_each(|voter| role.votes.grant(voter));
                }
                return Ok(Some(Next::Free));
            }
            Some(
                Refusal::UnsupportedVersion
                | Refusal::InconsistentClusterId
                | Refusal::ClusterAuthorizationFailed
                | Refusal::BrokerNotAvailable,
            ) => {
                tracing::warn!(node = %self.config.me.id, ?refusal, ?about, "a peer refuses");
                return Ok(Some(Next::Rest));
            }
            _ => {}
        }
        if *epoch < self.election.epoch || *refusal == Some(Refusal::UnknownLeaderEpoch) {
            return Ok(Some(Next::Free));
        }
        let stale = matches!(refusal, Some(Refusal::FencedLeaderEpoch | Refusal::NotLeaderOrFollower));
        if *epoch > self.election.epoch || stale {
            let before = (self.election.epoch, self.election.leader);
            self.adopt(now, *epoch, *leader, endpoints)?;
            // Who has nothing new to say is not asked again at once.
            let learnt = before != (self.election.epoch, self.election.leader);
            return Ok(Some(if learnt { Next::Free } else { Next::Rest }));
        }
        if leader.is_some() && self.election.leader.is_none() {
            self.adopt(now, *epoch, *leader, endpoints)?;
        }
        match refusal {
            None => Ok(None),
            Some(Refusal::InvalidVoterKey) => Ok(Some(Next::Free)),
            Some(refusal) => {
                tracing::warn!(node = %self.config.me.id, %refusal, ?about, "a peer refuses");
                self.abandon_download();
                Ok(Some(Next::Rest))
            }
        }
    }

    fn on_answer(&mut self, now: Now, from: Peer, about: About, answer: Answer) -> Result<Next, Fatal> {
        match (about, answer) {
            (About::PreVote, Answer::Vote { granted }) => {
                self.on_vote_response(from, Ballot::PreVote, granted)
            }
            (About::Vote, Answer::Vote { granted }) => self.on_vote_response(from, Ballot::Vote, granted),
            (About::Begin, Answer::BeginQuorumEpoch) => {}
            (About::End, Answer::EndQuorumEpoch) => {
                if let (Role::Resigned(resigned), Peer::Node(voter)) = (&mut self.role, from) {
                    resigned.unacknowledged.remove(&voter);
                }
            }
            (About::Fetch, Answer::Fetch { high_watermark, found, .. }) => {
                return self.on_fetched(now, high_watermark, found);
            }
            (About::Snapshot, Answer::FetchSnapshot { snapshot, size, position, bytes }) => {
                return self.on_snapshot_piece(now, snapshot, (size, position), bytes);
            }
            (about, answer) => {
                tracing::warn!(node = %self.config.me.id, ?about, ?answer, "an answer to something else");
                return Ok(Next::Rest);
            }
        }
        Ok(Next::Free)
    }

    fn on_fetched(&mut self, now: Now, high_watermark: Option<Offset>, found: Found) -> Result<Next, Fatal> {
        if !matches!(self.role, Role::Follower(_)) {
            return Ok(Next::Free);
        }
        match found {
            Found::Diverging(end) => self.truncate(now, end)?,
            Found::Snapshot(snapshot) if snapshot.offset.0 < 0 || snapshot.epoch.0 < 0 => {
                return Ok(Next::Rest);
            }
            Found::Snapshot(snapshot) => self.begin_download(snapshot)?,
            Found::Records(bytes) => {
                let next = self.append_fetched(now, &bytes)?;
                if let Some(end) = high_watermark {
                    self.raise_high_watermark(end);
                }
                if next == Next::Rest {
                    return Ok(next);
                }
            }
        }
        let deadline = self.fetch_deadline(now);
        if let Role::Follower(follower) = &mut self.role {
            follower.has_fetched = true;
            follower.fetch = follower.fetch.map(|_| deadline);
        }
        Ok(Next::Free)
    }

    fn append_fetched(&mut self, now: Now, bytes: &Bytes) -> Result<Next, Fatal> {
        if bytes.is_empty() {
            return Ok(Next::Free);
        }
        // A batch that is damaged, or of an epoch we do not know yet, ends what is taken; the rest is fetched again.
        let problem = self.journal.append_fetched(now, bytes, self.election.epoch)?;
        if let Some(problem) = &problem {
            tracing::warn!(node = %self.config.me.id, "fetched records were not all appended: {problem}");
        }
        if self.config.may_vote && !self.config.has(Mutant::FollowerDoesNotFlush) {
            self.put_on_disk(now)?;
        }
        Ok(if problem.is_some() { Next::Rest } else { Next::Free })
    }

    fn truncate(&mut self, now: Now, leaders_end: OffsetAndEpoch) -> Result<(), Fatal> {
        if self.config.has(Mutant::TruncationIgnored) {
            return Ok(());
        }
        let to = self.journal.agreement_with(leaders_end);
        if self.high_watermark.is_some_and(|committed| to < committed) {
            return Err(Fatal::Impossible(format!(
                "the leader of epoch {} wants the log cut at {to}, below the high watermark",
                self.election.epoch
            )));
        }
        tracing::info!(node = %self.config.me.id, epoch = %self.election.epoch, "log truncated to {to}");
        self.journal.truncate_to(now, to)?;
        Ok(())
    }

    /// Sends whatever the present role has to ask.
    pub(crate) fn send(&mut self, now: Now, out: &mut Vec<Output>) {
        self.send_to_voters(now, out);
        if let Some((peer, due)) = self.fetch_from(now)
            && now.reached(due)
        {
            let (about, ask) = self.fetch_ask(peer);
            self.ask(now, peer, about, ask, out);
        }
    }

    /// When there may be something to send.
    pub(crate) fn sending_deadline(&self) -> Option<Deadline> {
        let voters = self.voters_to_ask().into_iter().map(|(_, due)| due).min();
        let leader = match &self.role {
            Role::Follower(follower) => {
                let leader = Peer::Node(follower.leader);
                let retry = self
                    .askable_at()
                    .map_or(self.links.free_at(leader), |at| at.min(self.links.free_at(leader)));
                Some(self.links.all_free_at().max(retry))
            }
            Role::Unattached(_) => self.askable_at().map(|at| at.max(self.links.all_free_at())),
            _ => None,
        };
        // Nothing is fetched before what a fetch acknowledges is on the disk.
        let leader = leader.map(|due| self.late_flush.map_or(due, |late| due.max(late)));
        [voters, leader].into_iter().flatten().min()
    }

    /// Whom to fetch from and when: the leader, or anybody who may know it. One fetch at a time.
    fn fetch_from(&mut self, now: Now) -> Option<(Peer, Deadline)> {
        if self.late_flush.is_some() || !now.reached(self.links.all_free_at()) {
            return None;
        }
        match &self.role {
            Role::Follower(follower) => {
                let leader = Peer::Node(follower.leader);
                if !self.links.is_doubtful(leader, now) {
                    return Some((leader, self.links.free_at(leader)));
                }
                if now.reached(self.links.free_at(leader)) {
                    self.links.forget(leader);
                }
                self.anybody(now).or(Some((leader, self.links.free_at(leader))))
            }
            Role::Unattached(_) => self.anybody(now),
            _ => None,
        }
    }

    /// A random one of those who may know the leader and can be asked now.
    fn anybody(&mut self, now: Now) -> Option<(Peer, Deadline)> {
        let free: Vec<Peer> =
            self.askable().into_iter().filter(|peer| now.reached(self.links.free_at(*peer))).collect();
        let chosen = usize::try_from(self.random.below(free.len() as u64)).ok()?;
        free.get(chosen).map(|peer| (*peer, self.links.free_at(*peer)))
    }

    fn askable(&self) -> Vec<Peer> {
        if self.config.bootstrap_servers > 0 {
            (0..self.config.bootstrap_servers).map(Peer::Bootstrap).collect()
        } else {
            self.other_voters().map(Peer::Node).collect()
        }
    }

    fn askable_at(&self) -> Option<Deadline> {
        self.askable().into_iter().map(|peer| self.links.free_at(peer)).min()
    }

    fn fetch_ask(&self, peer: Peer) -> (About, Ask) {
        if let Role::Follower(follower) = &self.role
            && let Some(download) = &follower.download
            && peer == Peer::Node(follower.leader)
        {
            return (About::Snapshot, self.snapshot_ask(download));
        }
        let end = self.journal.end();
        let fetch = Fetch {
            offset: end.offset,
            last_epoch: end.epoch,
            high_watermark: self.high_watermark.unwrap_or(Offset(-1)),
            max_wait_ms: self.config.timing.fetch_max_wait_ms,
            max_bytes: self.config.timing.fetch_max_bytes,
        };
        (About::Fetch, Ask::Fetch(fetch))
    }

    /// The voters that the present role has something to ask, and from when on they may be asked.
    pub(crate) fn voters_to_ask(&self) -> Vec<(NodeId, Deadline)> {
        let free_at = |id: NodeId| self.links.free_at(Peer::Node(id));
        match &self.role {
            Role::Prospective(role) => role.votes.unheard().map(|id| (id, free_at(id))).collect(),
            Role::Candidate(role) if role.votes.tally() != quorum::Tally::Lost => {
                role.votes.unheard().map(|id| (id, free_at(id))).collect()
            }
            Role::Leader(role) => role
                .to_be_told(self.config.me.id, self.voters())
                .into_iter()
                .map(|(id, due)| (id, due.max(free_at(id))))
                .collect(),
            Role::Resigned(role) => role.unacknowledged.iter().map(|id| (*id, free_at(*id))).collect(),
            _ => Vec::new(),
        }
    }

    /// What the present role asks a voter.
    pub(crate) fn ask_of_voter(&self, voter: NodeId) -> (About, Ask) {
        let voter = self.voters().key(voter);
        let log_end = self.journal.end();
        let endpoints = self.config.listeners.clone();
        match &self.role {
            Role::Leader(_) => (About::Begin, Ask::BeginQuorumEpoch { voter, endpoints }),
            Role::Resigned(role) => {
                (About::End, Ask::EndQuorumEpoch { successors: role.successors.clone(), endpoints })
            }
            Role::Candidate(_) => (About::Vote, Ask::Vote { voter, log_end, ballot: Ballot::Vote }),
            _ => (About::PreVote, Ask::Vote { voter, log_end, ballot: Ballot::PreVote }),
        }
    }

    pub(crate) fn ask(&mut self, now: Now, to: Peer, about: About, ask: Ask, out: &mut Vec<Output>) {
        let correlation = self.links.ask(to, about, now);
        let request = Request {
            cluster_id: self.config.cluster_id.clone(),
            from: self.config.me,
            epoch: self.election.epoch,
            ask,
        };
        out.push(Output::Send { to, correlation, request });
    }

    pub(crate) fn rest(&mut self, now: Now, peer: Peer) {
        self.links.rest(peer, now.after_ms(i64::from(self.config.timing.retry_backoff_ms)));
    }

    pub(crate) fn begin_every_us(&self) -> u64 {
        u64::from(self.config.timing.fetch_timeout_ms) * 500
    }

    /// A normal answer, with what this node knows of the epoch.
    pub(crate) fn respond(&self, answer: Answer) -> Response {
        let ElectionState { leader, epoch, .. } = self.election;
        let endpoints = leader.map_or_else(Vec::new, |leader| self.endpoints(leader).to_vec());
        Response { refusal: None, leader, epoch, endpoints, answer }
    }

    pub(crate) fn refuse(&self, ask: &Ask, refusal: Refusal) -> Response {
        Response { refusal: Some(refusal), ..self.respond(Answer::empty_for(ask)) }
    }

    pub(crate) fn refusal_by_leader(&self, request: &Request) -> Option<Refusal> {
        if request.epoch < self.election.epoch {
            Some(Refusal::FencedLeaderEpoch)
        } else if request.epoch > self.election.epoch {
            Some(Refusal::UnknownLeaderEpoch)
        } else if matches!(self.role, Role::Leader(_)) {
            None
        } else {
            Some(Refusal::NotLeaderOrFollower)
        }
    }
}

/// Whether a fetch need not wait any longer.
fn is_worth_sending(response: &Response, fetch: &Fetch) -> bool {
    response.refusal.is_some()
        || fetch.max_wait_ms == 0
        || match &response.answer {
            Answer::Fetch { high_watermark, found: Found::Records(bytes), .. } => {
                !bytes.is_empty() || high_watermark.is_some_and(|end| end > fetch.high_watermark)
            }
            _ => true,
        }
}
