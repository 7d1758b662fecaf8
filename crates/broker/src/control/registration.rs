//! This broker's life in the cluster: it registers, sends heartbeats, is unfenced, and at the end asks to leave
//! (KIP-631).
//!
//! A machine that says which request is due and takes the responses; who carries them does not matter here.

use ottla_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
};
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Offset, Uuid};

use crate::control::message::Stage;

/// Retry in the first stage, where every millisecond keeps clients waiting.
const EAGER_MS: i64 = 10;
/// Heartbeats while the controller moves leaderships away.
const LEAVING_MS: i64 = 50;
/// How long leaving may take before the node stops without leave.
const LEAVING_MAX_MS: i64 = 5 * 60_000;

/// See the module.
#[derive(Debug)]
pub struct Registration {
    request: BrokerRegistrationRequest,
    heartbeat_interval_ms: i64,
    stage: Stage,
    /// The epoch of this registration; −1 before it is known.
    broker_epoch: i64,
    /// Directories that have failed since the start.
    offline: Vec<Uuid>,
    /// Directories that are to get no new partitions; `None` before the cluster's configuration is known.
    cordoned: Option<Vec<Uuid>>,
    /// A request is out; at most one at a time.
    in_flight: bool,
    /// When the next request is due.
    due: Deadline,
    leaving_until: Option<Deadline>,
}

/// A request to the controller.
#[derive(Debug)]
pub enum Due {
    /// Make this broker known.
    Register(Box<BrokerRegistrationRequest>),
    /// Say that it lives, and what it wants.
    Heartbeat(BrokerHeartbeatRequest),
}

impl Registration {
    /// A broker that is not yet known to the controller.
    #[must_use]
    pub fn new(request: BrokerRegistrationRequest, heartbeat_interval_ms: i64, now: Now) -> Self {
        Self {
            request,
            heartbeat_interval_ms,
            stage: Stage::Starting,
            broker_epoch: -1,
            offline: Vec::new(),
            cordoned: None,
            in_flight: false,
            due: now.after_ms(0),
            leaving_until: None,
        }
    }

    /// Where in its life the broker is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The epoch of the registration; −1 before it is known.
    #[must_use]
    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch
    }

    /// When [`Registration::due`] wants to be asked again.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        (!self.in_flight && self.stage != Stage::ShuttingDown).then_some(self.due)
    }

    /// Directories have failed: heartbeats say so from now on, and so does a registration.
    pub fn directories_failed(&mut self, offline: Vec<Uuid>) {
        self.request.log_dirs.retain(|id| !offline.contains(id));
        self.offline = offline;
    }

    /// These directories are to get no new partitions: heartbeats say so once the broker has caught up (KIP-1066).
    pub fn cordon(&mut self, now: Now, cordoned: Vec<Uuid>) {
        if self.cordoned.as_ref() != Some(&cordoned) && self.cordoned.replace(cordoned).is_some() {
            self.hurry(now);
        }
    }

    /// Brings the next request forward: something has happened that the controller should hear of at once.
    pub fn hurry(&mut self, now: Now) {
        self.due = now.after_ms(0);
    }

    /// The request that is due now. `applied` is the last metadata offset that this node has applied, `ready` whether
    /// its logs are open.
    pub fn due(&mut self, now: Now, applied: Offset, ready: bool) -> Option<Due> {
        if self.in_flight || self.stage == Stage::ShuttingDown || !now.reached(self.due) {
            return None;
        }
        self.in_flight = true;
        if self.broker_epoch < 0 {
            return Some(Due::Register(Box::new(self.request.clone())));
        }
        Some(Due::Heartbeat(BrokerHeartbeatRequest {
            broker_id: self.request.broker_id,
            broker_epoch: self.broker_epoch,
            current_metadata_offset: applied.0,
            want_fence: !(ready && self.stage >= Stage::Recovery),
            want_shut_down: self.stage == Stage::PendingControlledShutdown,
            offline_log_dirs: self.offline.clone(),
            cordoned_log_dirs: self.cordoned.clone().filter(|_| self.stage >= Stage::Recovery),
        }))
    }

    /// The request could not be delivered: try again.
    pub fn undelivered(&mut self, now: Now) {
        self.in_flight = false;
        self.due = now.after_ms(self.pause_ms());
    }

    /// Takes the controller's answer to a registration.
    pub fn registered(&mut self, now: Now, response: &BrokerRegistrationResponse) {
        self.in_flight = false;
        self.due = now.after_ms(EAGER_MS);
        if response.error_code == 0 {
            self.broker_epoch = response.broker_epoch;
            self.due = now.after_ms(0);
        } else {
            tracing::warn!(error = response.error_code, "the controller has not registered this broker");
            self.due = now.after_ms(self.heartbeat_interval_ms);
        }
    }

    /// Takes the controller's answer to a heartbeat; the new stage, if it is one.
    pub fn heard(&mut self, now: Now, response: &BrokerHeartbeatResponse) -> Option<Stage> {
        self.in_flight = false;
        if response.error_code != 0 {
            self.due = now.after_ms(self.pause_ms());
            return None;
        }
        let next = match self.stage {
            Stage::Starting if response.is_caught_up => Some(Stage::Recovery),
            Stage::Recovery if !response.is_fenced => Some(Stage::Running),
            Stage::PendingControlledShutdown if response.should_shut_down => Some(Stage::ShuttingDown),
            _ => None,
        };
        if let Some(stage) = next {
            self.stage = stage;
        }
        let pause = if next == Some(Stage::Recovery) { 0 } else { self.pause_ms() };
        self.due = now.after_ms(pause);
        next
    }

    /// Asks the controller for leave; before the broker serves anybody it may go at once.
    pub fn leave(&mut self, now: Now) {
        if self.stage < Stage::Running {
            self.stage = Stage::ShuttingDown;
            return;
        }
        if self.stage == Stage::Running {
            self.stage = Stage::PendingControlledShutdown;
            self.leaving_until = Some(now.after_ms(LEAVING_MAX_MS));
        }
        self.hurry(now);
    }

    /// Whether the controller has had its time and the broker goes without leave.
    pub fn out_of_patience(&mut self, now: Now) -> bool {
        let over = self.leaving_until.is_some_and(|until| now.reached(until));
        if over {
            self.stage = Stage::ShuttingDown;
        }
        over
    }

    fn pause_ms(&self) -> i64 {
        match self.stage {
            Stage::NotRunning | Stage::Starting | Stage::Recovery => EAGER_MS,
            Stage::PendingControlledShutdown => LEAVING_MS,
            Stage::Running | Stage::ShuttingDown => self.heartbeat_interval_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { monotonic_us: ms * 1000, wall_ms: 0 }
    }

    fn heartbeat(registration: &mut Registration, now: Now, ready: bool) -> BrokerHeartbeatRequest {
        match registration.due(now, Offset(9), ready) {
            Some(Due::Heartbeat(request)) => request,
            other => panic!("a heartbeat was due, not {other:?}"),
        }
    }

    #[test]
    fn a_life_from_registration_to_leave() {
        let mut life = Registration::new(BrokerRegistrationRequest::default(), 2_000, at(0));
        assert!(matches!(life.due(at(0), Offset(1), false), Some(Due::Register(_))));
        assert!(life.due(at(50), Offset(1), false).is_none(), "one request at a time");
        let response = BrokerRegistrationResponse { broker_epoch: 5, ..Default::default() };
        life.registered(at(1), &response);
        assert!(heartbeat(&mut life, at(1), false).want_fence);
        let caught_up = BrokerHeartbeatResponse { is_caught_up: true, is_fenced: true, ..Default::default() };
        assert_eq!(life.heard(at(2), &caught_up), Some(Stage::Recovery));
        assert!(heartbeat(&mut life, at(2), false).want_fence, "the logs are not open yet");
        assert_eq!(life.heard(at(3), &caught_up), None);
        assert!(!heartbeat(&mut life, at(13), true).want_fence);
        let unfenced = BrokerHeartbeatResponse { is_caught_up: true, is_fenced: false, ..Default::default() };
        assert_eq!(life.heard(at(14), &unfenced), Some(Stage::Running));
        assert!(life.due(at(1_000), Offset(9), true).is_none(), "the next one is two seconds off");
        life.leave(at(1_000));
        assert!(heartbeat(&mut life, at(1_000), true).want_shut_down);
        let go = BrokerHeartbeatResponse { should_shut_down: true, ..Default::default() };
        assert_eq!(life.heard(at(1_001), &go), Some(Stage::ShuttingDown));
        assert!(life.deadline().is_none());
    }

    #[test]
    fn refusals_and_losses_are_tried_again() {
        let mut life = Registration::new(BrokerRegistrationRequest::default(), 2_000, at(0));
        assert!(life.due(at(0), Offset(0), false).is_some());
        life.undelivered(at(0));
        assert!(life.due(at(9), Offset(0), false).is_none());
        assert!(life.due(at(10), Offset(0), false).is_some());
        life.registered(at(10), &BrokerRegistrationResponse { error_code: 101, ..Default::default() });
        assert!(life.due(at(2_009), Offset(0), false).is_none());
        assert!(matches!(life.due(at(2_010), Offset(0), false), Some(Due::Register(_))));
    }
}
