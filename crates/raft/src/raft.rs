//! One replica of the metadata log, as a value: what happens goes in, what is to be done comes out.
//!
//! There is no thread, clock, socket or randomness in here; the disk alone is called directly, and every output is
//! true on the disk before it is put out. The rules are those of KRaft (KIP-595, 853, 996), and with one voter they
//! are the same: it asks itself for a pre-vote, votes, and commits alone.
//!
//! Here stand the shape and the order of things; elections are in `election`, fetching in `replication`.

use std::sync::Arc;

use bytes::Bytes;
use ottla_log::{Disk, DiskError, Log};
use ottla_protocol::time::{Deadline, Now};
use ottla_protocol::{LeaderEpoch, NodeId, Offset};

use crate::batch;
use crate::config::RaftConfig;
use crate::delivery::Delivery;
use crate::journal::{Journal, MAX_BATCH_BYTES};
use crate::links::Links;
use crate::message::{OffsetAndEpoch, SnapshotId};
use crate::mutant::Mutant;
use crate::output::{AppendError, CommittedBatch, Fatal, Input, LeaderAndEpoch, Output};
use crate::random::Random;
use crate::replication::Parked;
use crate::role::{Candidate, Follower, Progress, Resigned, Role, Unattached};
use crate::shortage::Shortage;
use crate::snapshot::{Snapshot, SnapshotError, SnapshotWriter};
use crate::store::{ElectionState, ElectionStore};
use crate::voters::{Endpoint, ReplicaKey, Voters};

/// How far a replica has come, as the leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaProgress {
    /// Which replica.
    pub key: ReplicaKey,
    /// Voter or observer.
    pub votes: bool,
    /// What it has said of itself; `None` for the leader, which is always where its log is.
    pub progress: Option<Progress>,
}

/// How long a flush rests that found no room or no descriptor.
const FLUSH_REST_MS: i64 = 100;

/// Roles may follow on each other within one step: prospective, candidate, leader. This many never do.
const TRANSITIONS_MAX: usize = 8;

/// A replica of the metadata log: voter or observer.
#[derive(Debug)]
pub struct Raft {
    pub(crate) config: RaftConfig,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) journal: Journal,
    pub(crate) store: ElectionStore,
    pub(crate) election: ElectionState,
    pub(crate) role: Role,
    pub(crate) links: Links,
    pub(crate) parked: Vec<Parked>,
    pub(crate) delivery: Delivery,
    /// Never goes back while this value lives.
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) random: Random,
    pub(crate) shutting_down: bool,
    /// A flush found no room or no descriptor, and is tried again then. Until it has succeeded nothing leaves this node
    /// that acknowledges what is in the log.
    pub(crate) late_flush: Option<Deadline>,
    /// What else found none.
    pub(crate) shortage: Shortage,
    /// What killed this replica, until the next step has said so.
    last_words: Option<Fatal>,
    dead: bool,
}

impl Raft {
    /// Opens a replica on its log. The first [`step`](Self::step) is due at once, and may already elect it.
    ///
    /// # Errors
    /// [`DiskError`] when the disk fails, or when what is there contradicts itself: an unknown `quorum-state`, a log
    /// that begins behind its snapshots.
    pub fn open(
        config: RaftConfig,
        log: Log,
        disk: Arc<dyn Disk>,
        seed: u64,
        now: Now,
    ) -> Result<Self, DiskError> {
        let journal = Journal::open(&config, log, Arc::clone(&disk), now)?;
        let (store, stored) = ElectionStore::open(Arc::clone(&disk), &config.dir)?;
        let links = Links::new(u64::from(config.timing.request_timeout_ms) * 1_000);
        let delivery = Delivery::from(&journal);
        let mut raft = Self {
            high_watermark: journal.latest_snapshot().map(|snapshot| snapshot.offset),
            election: stored.unwrap_or_default(),
            role: Role::Unattached(Unattached { election: None }),
            random: Random::new(seed),
            parked: Vec::new(),
            shutting_down: false,
            late_flush: None,
            shortage: Shortage::default(),
            last_words: None,
            dead: false,
            config,
            disk,
            journal,
            store,
            links,
            delivery,
        };
        raft.take_up_the_past(now);
        Ok(raft)
    }

    /// Takes in one thing that happened and puts out what is to be done about it.
    ///
    /// After [`Output::Fatal`] nothing is taken in or put out any more.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        if let Some(fatal) = self.last_words.take() {
            out.push(Output::Fatal(fatal));
        }
        if self.dead {
            return;
        }
        let outcome = self.take(now, input, out).and_then(|()| self.act(now, out));
        if let Err(fatal) = outcome {
            tracing::error!(node = %self.config.me.id, epoch = %self.election.epoch, "raft stops: {fatal}");
            self.dead = true;
            out.push(Output::Fatal(fatal));
        }
    }

    /// Appends data records as one batch, if this node leads `epoch`, and says which offset the first one has.
    ///
    /// Nothing is committed or sent yet: it goes to the disk with the next [`step`](Self::step), which is due at
    /// once, together with whatever else was appended until then.
    ///
    /// # Errors
    /// [`AppendError`]; then nothing was appended. A disk that fails is reported by the next step.
    pub fn append(&mut self, now: Now, epoch: LeaderEpoch, values: &[Bytes]) -> Result<Offset, AppendError> {
        if self.dead {
            return Err(AppendError::Dead);
        }
        if !matches!(self.role, Role::Leader(_)) || epoch != self.election.epoch {
            return Err(AppendError::NotLeader { current: self.election.epoch });
        }
        if values.is_empty() {
            return Err(AppendError::Empty);
        }
        let size = values.iter().map(Bytes::len).fold(0, usize::saturating_add);
        let too_large = |size| AppendError::TooLarge { size, max: MAX_BATCH_BYTES };
        if size > MAX_BATCH_BYTES {
            return Err(too_large(size));
        }
        let batch = batch::of_data(values, now.wall_ms).map_err(|_| too_large(size))?;
        if batch.size() > MAX_BATCH_BYTES {
            return Err(too_large(batch.size()));
        }
        self.journal.append(now, epoch, batch).map_err(|error| {
            if error.is_passing() {
                return AppendError::Passing(error.to_string());
            }
            self.last_words = Some(error.into());
            self.dead = true;
            AppendError::Dead
        })
    }

    /// When [`step`](Self::step) wants to be called with [`Input::Tick`], if nothing else happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        if self.dead {
            return self.last_words.as_ref().map(|_| Deadline(0));
        }
        let rest = self.shortage.rest();
        if (self.late_flush.is_none() && self.must_flush()) || (rest.is_none() && self.has_undelivered()) {
            return Some(Deadline(0));
        }
        let parked = self.parked.iter().map(|parked| parked.until).min();
        let role = self.role_deadline().map(|deadline| rest.map_or(deadline, |rest| deadline.max(rest)));
        [role, self.sending_deadline(), parked, self.late_flush, rest].into_iter().flatten().min()
    }

    /// Who leads in which epoch, as far as this node knows.
    #[must_use]
    pub fn leader_and_epoch(&self) -> LeaderAndEpoch {
        LeaderAndEpoch { leader: self.election.leader, epoch: self.election.epoch }
    }

    /// How far every voter and observer is, as this leader knows it: what DescribeQuorum shows. Empty elsewhere.
    #[must_use]
    pub fn replicas(&self) -> Vec<ReplicaProgress> {
        let Role::Leader(leader) = &self.role else { return Vec::new() };
        let voters = self.voters().ids().filter_map(|id| self.voters().key(id)).map(|key| ReplicaProgress {
            key,
            votes: true,
            progress: (key.id != self.config.me.id).then(|| leader.follower(key.id)),
        });
        let observers = leader.observers().map(|(key, progress)| ReplicaProgress {
            key,
            votes: false,
            progress: Some(*progress),
        });
        voters.chain(observers).collect()
    }

    /// What this replica is.
    #[must_use]
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Epoch, leader and vote as they stand on the disk.
    #[must_use]
    pub fn election(&self) -> ElectionState {
        self.election
    }

    /// The end of what is committed (exclusive), once known.
    #[must_use]
    pub fn high_watermark(&self) -> Option<Offset> {
        self.high_watermark
    }

    /// The end of the log, committed or not, with the epoch of its last record.
    #[must_use]
    pub fn log_end(&self) -> OffsetAndEpoch {
        self.journal.end()
    }

    /// The first offset in the log; what lies before is in a snapshot.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.journal.start()
    }

    /// The voter set in force.
    #[must_use]
    pub fn voters(&self) -> &Voters {
        self.journal.membership().voters()
    }

    /// The kraft.version level in force.
    #[must_use]
    pub fn kraft_version(&self) -> i16 {
        self.journal.membership().kraft_version()
    }

    /// Where a node of the quorum listens, as far as it is known.
    #[must_use]
    pub fn endpoints(&self, node: NodeId) -> &[Endpoint] {
        match &self.role {
            Role::Follower(follower) if follower.leader == node && !follower.endpoints.is_empty() => {
                &follower.endpoints
            }
            _ if node == self.config.me.id => &self.config.listeners,
            _ => self.voters().get(node).map_or(&[], |voter| &voter.endpoints),
        }
    }

    /// Committed batches from `from` on, about `max_bytes` of them but at least one if there is one.
    ///
    /// # Errors
    /// [`DiskError`], also where the log begins behind `from`: load the latest snapshot then.
    pub fn read_committed(
        &mut self,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<CommittedBatch>, DiskError> {
        match self.high_watermark {
            Some(end) if from < end => self.journal.read_batches(from, end, max_bytes),
            _ => Ok(Vec::new()),
        }
    }

    /// Batches of the log from `from` on, committed or not, about `max_bytes` of them.
    ///
    /// # Errors
    /// [`DiskError`], also where the log begins behind `from`.
    pub fn read_log(&mut self, from: Offset, max_bytes: usize) -> Result<Vec<CommittedBatch>, DiskError> {
        let end = self.journal.end().offset;
        self.journal.read_batches(from, end, max_bytes)
    }

    /// The newest snapshot, but not the bootstrap one.
    #[must_use]
    pub fn latest_snapshot(&self) -> Option<SnapshotId> {
        self.journal.latest_snapshot()
    }

    /// Reads a snapshot whole.
    ///
    /// # Errors
    /// [`DiskError`] when it is not there or not whole.
    pub fn read_snapshot(&self, id: SnapshotId) -> Result<Snapshot, DiskError> {
        Snapshot::read(&*self.disk, &self.config.dir, id)
    }

    /// Begins a snapshot of the committed state up to `end` (exclusive). The writer may be used elsewhere; when it has
    /// finished, tell [`snapshot_written`](Self::snapshot_written).
    ///
    /// # Errors
    /// [`SnapshotError`] when `end` is no place for a snapshot, or the disk fails.
    pub fn begin_snapshot(
        &mut self,
        end: Offset,
        last_append_ms: i64,
    ) -> Result<SnapshotWriter, SnapshotError> {
        let id = self.journal.snapshot_at(end, self.high_watermark)?;
        let (version, voters) = self.journal.membership().at(end);
        let about = (last_append_ms, version, voters);
        Ok(SnapshotWriter::begin(Arc::clone(&self.disk), &self.config.dir, id, about)?)
    }

    /// Takes up a snapshot that [`SnapshotWriter::finish`] has put into the folder.
    ///
    /// # Errors
    /// [`DiskError`] when it is not there.
    pub fn snapshot_written(&mut self, id: SnapshotId) -> Result<(), DiskError> {
        self.journal.add_snapshot(id)
    }

    /// Removes the oldest snapshots that are too old or too much, and the log before the oldest that stays.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn clean(&mut self, now: Now) -> Result<(), DiskError> {
        self.journal.clean(now, &self.config.retention)
    }

    /// Whether the leadership, if there was one, has been let go of and all voters have been told: the node may stop.
    #[must_use]
    pub fn has_let_go(&self) -> bool {
        match &self.role {
            Role::Leader(_) => false,
            Role::Resigned(resigned) => resigned.unacknowledged.is_empty(),
            _ => true,
        }
    }

    /// Ends this replica and closes its log. The answer is the log's end, for the recovery point checkpoint.
    ///
    /// # Errors
    /// [`DiskError`]; then the log counts as not closed.
    pub fn close(self) -> Result<Offset, DiskError> {
        self.journal.close()
    }

    fn take(&mut self, now: Now, input: Input, out: &mut Vec<Output>) -> Result<(), Fatal> {
        // What the leader appended goes to the disk before anything else is said.
        self.flush(now)?;
        match input {
            Input::Tick => Ok(()),
            Input::Request { ticket, request } => self.on_request(now, ticket, request, out),
            Input::Response { from, correlation, response } => {
                self.on_response(now, from, correlation, response)
            }
            Input::Failed { to, correlation } => {
                if self.links.answered(to, correlation).is_some() {
                    self.rest(now, to);
                }
                Ok(())
            }
            Input::Resign { epoch } => {
                if epoch == self.election.epoch && matches!(self.role, Role::Leader(_)) {
                    self.become_resigned(now);
                }
                Ok(())
            }
            Input::ShutDown => {
                self.shutting_down = true;
                Ok(())
            }
        }
    }

    /// Everything that follows from the present state and time, until nothing more does.
    fn act(&mut self, now: Now, out: &mut Vec<Output>) -> Result<(), Fatal> {
        let may_touch_disk = self.shortage.is_over(now);
        if may_touch_disk {
            let changed = self.change_roles(now);
            self.unless_short(now, changed)?;
        }
        self.flush(now)?;
        self.advance_high_watermark();
        self.send(now, out);
        self.answer_parked(now, out)?;
        if may_touch_disk {
            let delivered = self.deliver(out);
            self.unless_short(now, delivered)?;
        }
        Ok(())
    }

    fn change_roles(&mut self, now: Now) -> Result<(), Fatal> {
        let mut transitions = 0;
        while self.change_role(now)? {
            transitions += 1;
            assert!(
                transitions < TRANSITIONS_MAX,
                "roles go round in circles in epoch {}",
                self.election.epoch
            );
        }
        Ok(())
    }

    /// A leader flushes before anything it appended can count; followers do so where they append.
    fn flush(&mut self, now: Now) -> Result<(), Fatal> {
        if self.late_flush.is_some() || self.must_flush() {
            self.put_on_disk(now)?;
        }
        Ok(())
    }

    /// Flushes the journal. What could not even be begun for want of a descriptor or of room is begun again before long,
    /// and till then nothing counts as flushed; a sync that fails is the end.
    pub(crate) fn put_on_disk(&mut self, now: Now) -> Result<(), Fatal> {
        if self.late_flush.is_some_and(|due| !now.reached(due)) {
            return Ok(());
        }
        match self.journal.flush_if_dirty() {
            Err(error) if error.is_passing() => {
                if self.late_flush.is_none() {
                    tracing::warn!(node = %self.config.me.id, %error, "the metadata log cannot be flushed just now");
                }
                self.late_flush = Some(now.after_ms(FLUSH_REST_MS));
            }
            outcome => {
                outcome?;
                if self.late_flush.take().is_some() {
                    tracing::info!(node = %self.config.me.id, "the metadata log is flushed again");
                }
            }
        }
        Ok(())
    }

    fn must_flush(&self) -> bool {
        matches!(self.role, Role::Leader(_))
            && self.journal.is_dirty()
            && !self.config.has(Mutant::LeaderDoesNotFlush)
    }

    /// The role that the files of a former life call for.
    fn take_up_the_past(&mut self, now: Now) {
        let me = self.config.me;
        let stored = self.election;
        let log_epoch = self.journal.end().epoch;
        let timeout = self.random_election_deadline(now);
        let election = self.is_voter().then_some(timeout);
        let unattached = Role::Unattached(Unattached { election });
        self.role = if stored.epoch < log_epoch {
            self.election = ElectionState { epoch: log_epoch, leader: None, voted: None };
            unattached
        } else if stored.leader == Some(me.id) {
            let unacknowledged = self.other_voters().collect();
            Role::Resigned(Resigned { election: Some(timeout), unacknowledged, successors: Vec::new() })
        } else if stored.voted.is_some_and(|voted| voted.means(me))
            && stored.leader.is_none()
            && self.is_voter()
        {
            Role::Candidate(Candidate { election: timeout, votes: self.own_votes() })
        } else if let Some(leader) = stored.leader.filter(|leader| self.voters().get(*leader).is_some()) {
            let fetch = self.is_voter().then(|| self.fetch_deadline(now));
            Role::Follower(Follower::new(leader, Vec::new(), fetch))
        } else {
            unattached
        };
    }
}
