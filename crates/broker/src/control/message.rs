//! What control is told and asked, and what it does to the world.

use std::sync::Arc;

use ottla_partition::Ticket;
use ottla_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use ottla_protocol::{Offset, ProducerId, Refusal};

use crate::control::directories::CheckpointRow;
use crate::core::{CoreId, Message};

/// What can happen to control.
#[derive(Debug)]
pub enum Input {
    /// A session asks something that only control or the controller can do.
    Command {
        /// The session's core.
        core: CoreId,
        /// Where the reply goes.
        ticket: Ticket,
        /// What is asked.
        command: Command,
    },
    /// A core has taken in the image up to this offset of the metadata log.
    Applied {
        /// Which core.
        core: CoreId,
        /// The last offset applied.
        offset: Offset,
    },
    /// What a core wants to be remembered in the checkpoint files.
    Checkpoint {
        /// Which core.
        core: CoreId,
        /// One row for each of its partitions.
        rows: Vec<CheckpointRow>,
    },
    /// A core has closed all its partitions.
    Stopped {
        /// Which core.
        core: CoreId,
        /// The last rows of its partitions.
        rows: Vec<CheckpointRow>,
    },
    /// A partition has been deleted: the checkpoint files forget it.
    Forget {
        /// Index of the directory.
        directory: usize,
        /// The topic's name.
        topic: Arc<str>,
        /// The partition's number.
        partition: i32,
    },
    /// A core has let go of the partitions that it was told to, and has reported all that there was to say of them.
    LetGo {
        /// Which core.
        core: CoreId,
    },
    /// A log directory has failed under a core.
    DirectoryFailed {
        /// Its index.
        directory: usize,
        /// What the disk said.
        error: String,
    },
    /// The node's listeners are open and connections are served.
    Listening,
    /// Somebody wants the node to stop: leave the cluster in good order first.
    Stop,
    /// The deadline has come.
    Tick,
}

/// What a session may ask of control.
#[derive(Debug)]
pub enum Command {
    /// Let the active controller decide this.
    Controller(Box<ottla_controller::Command>),
    /// Hand out a producer id that was never used.
    NextProducerId,
    /// Describe the quorum of the metadata log.
    DescribeQuorum(DescribeQuorumRequest),
}

/// Control's reply.
#[derive(Debug)]
pub enum Reply {
    /// The controller's.
    Controller(Box<ottla_controller::Reply>),
    /// A producer id of the caller's own.
    ProducerId(ProducerId),
    /// The quorum of the metadata log.
    Quorum(Box<DescribeQuorumResponse>),
    /// No.
    Refused(Refusal),
}

/// The states of a broker's life, as Kafka names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The process has begun.
    NotRunning,
    /// The metadata log is being caught up with.
    Starting,
    /// The partitions' logs are being opened.
    Recovery,
    /// Clients are served.
    Running,
    /// Leaderships are being handed over.
    PendingControlledShutdown,
    /// Files are being closed.
    ShuttingDown,
}

/// What control does to the world.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are the large one")]
pub enum Output {
    /// Tell one core.
    ToCore(CoreId, Message),
    /// The broker's life has gone on; to be logged as Kafka logs it.
    Stage {
        /// From here …
        from: Stage,
        /// … to there.
        to: Stage,
    },
    /// Client listeners may be opened now.
    OpenListeners,
    /// Everything is closed: the process may end.
    Finished,
    /// The node cannot go on: end the process with this message.
    Fatal(String),
}

impl Stage {
    /// Kafka's name of the state.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotRunning => "NOT_RUNNING",
            Self::Starting => "STARTING",
            Self::Recovery => "RECOVERY",
            Self::Running => "RUNNING",
            Self::PendingControlledShutdown => "PENDING_CONTROLLED_SHUTDOWN",
            Self::ShuttingDown => "SHUTTING_DOWN",
        }
    }
}
