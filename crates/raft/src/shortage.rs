//! A want of descriptors or of room, which passes: what could not be done is not done, and done later.
//!
//! A request that meets it is refused, an answer of a peer is asked for again, a role is not entered, what is committed is
//! delivered later. Invariant: nothing is said that could not be stored. What cannot be taken back when it is done by half
//! ends the replica all the same: [`Fatal::Halfway`].

use ottla_protocol::time::{Deadline, Now};

use crate::output::Fatal;
use crate::raft::Raft;

/// How long everything rests that would touch the disk of its own accord.
const REST_MS: i64 = 100;

/// So long without another refusal, and it is over.
const QUIET_MS: i64 = 10_000;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shortage {
    rest: Option<Deadline>,
    /// It has been warned of, and is over then if nothing more comes.
    quiet_at: Option<Deadline>,
}

impl Shortage {
    /// When the disk is tried again, if it rests.
    pub(crate) fn rest(&self) -> Option<Deadline> {
        self.rest
    }

    /// Whether the disk may be tried now; if so the rest has ended.
    pub(crate) fn is_over(&mut self, now: Now) -> bool {
        let rests = self.rest.is_some_and(|until| !now.reached(until));
        if !rests {
            self.rest = None;
        }
        !rests
    }
}

impl Raft {
    /// What came of something that touches the disk; `None` if it has to wait.
    ///
    /// # Errors
    /// What does not pass.
    pub(crate) fn unless_short<T>(
        &mut self,
        now: Now,
        outcome: Result<T, Fatal>,
    ) -> Result<Option<T>, Fatal> {
        let shortage = &mut self.shortage;
        match outcome {
            Err(Fatal::Disk(error)) if error.is_passing() => {
                shortage.rest = Some(now.after_ms(REST_MS));
                if shortage.quiet_at.replace(now.after_ms(QUIET_MS)).is_none() {
                    tracing::warn!(node = %self.config.me.id, %error, "the quorum's files cannot be used just now");
                }
                Ok(None)
            }
            Ok(value) => {
                if shortage.quiet_at.is_some_and(|quiet_at| now.reached(quiet_at)) {
                    shortage.quiet_at = None;
                    tracing::info!(node = %self.config.me.id, "the quorum's files are used again");
                }
                Ok(Some(value))
            }
            Err(fatal) => Err(fatal),
        }
    }
}
