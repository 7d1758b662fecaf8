//! What can be asked of the controller, and what it answers: Kafka's own requests and responses.

use std::collections::BTreeSet;

use ottla_protocol::Offset;
use ottla_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterConfigsRequest, AlterConfigsResponse,
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, AlterPartitionRequest,
    AlterPartitionResponse, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
    ControllerRegistrationRequest, ControllerRegistrationResponse, CreatePartitionsRequest,
    CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, ElectLeadersRequest, ElectLeadersResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    UnregisterBrokerRequest, UnregisterBrokerResponse, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use ottla_protocol::records::metadata::MetadataRecord;

/// Topics whose configuration the asker may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Describable {
    /// All of them.
    All,
    /// These.
    Only(BTreeSet<String>),
}

impl Describable {
    /// Whether the asker may see this topic's configuration.
    #[must_use]
    pub fn has(&self, topic: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(topics) => topics.contains(topic),
        }
    }
}

/// The way a request took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A broker looked at it first and passed it on.
    Forwarded,
    /// It came straight to the controller.
    Direct,
}

/// Who registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registrant {
    /// A broker somewhere. Its id may still be in use by an earlier start of it, until that one's session is over.
    Elsewhere,
    /// The broker in the controller's own process: an earlier start of it has died with its process.
    SameProcess,
}

/// What can be asked. Who may ask is settled before.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "one variant for each request of Kafka's")]
pub enum Command {
    RegisterBroker {
        request: BrokerRegistrationRequest,
        version: i16,
        registrant: Registrant,
    },
    Heartbeat(BrokerHeartbeatRequest),
    UnregisterBroker(UnregisterBrokerRequest),
    RegisterController(ControllerRegistrationRequest),
    CreateTopics {
        request: CreateTopicsRequest,
        describable: Describable,
    },
    DeleteTopics {
        request: DeleteTopicsRequest,
        version: i16,
    },
    CreatePartitions(CreatePartitionsRequest),
    AlterConfigs {
        request: AlterConfigsRequest,
        origin: Origin,
    },
    IncrementalAlterConfigs {
        request: IncrementalAlterConfigsRequest,
        origin: Origin,
    },
    AllocateProducerIds(AllocateProducerIdsRequest),
    UpdateFeatures {
        request: UpdateFeaturesRequest,
        version: i16,
    },
    AlterPartition {
        request: AlterPartitionRequest,
        version: i16,
    },
    ElectLeaders(ElectLeadersRequest),
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest),
    ListPartitionReassignments(ListPartitionReassignmentsRequest),
    AssignReplicasToDirs(AssignReplicasToDirsRequest),
    /// Time has passed: fence a silent broker, give leadership back, show a sign of life. One thing at a time; look
    /// at [`crate::Controller::deadline`] afterwards.
    Tick,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "one variant for each response of Kafka's")]
pub enum Reply {
    /// To activation and to [`Command::Tick`].
    None,
    /// This controller stands by: the request is answered with NOT_CONTROLLER throughout.
    NotController,
    RegisterBroker(BrokerRegistrationResponse),
    Heartbeat(BrokerHeartbeatResponse),
    UnregisterBroker(UnregisterBrokerResponse),
    RegisterController(ControllerRegistrationResponse),
    CreateTopics(CreateTopicsResponse),
    DeleteTopics(DeleteTopicsResponse),
    CreatePartitions(CreatePartitionsResponse),
    AlterConfigs(AlterConfigsResponse),
    IncrementalAlterConfigs(IncrementalAlterConfigsResponse),
    AllocateProducerIds(AllocateProducerIdsResponse),
    UpdateFeatures(UpdateFeaturesResponse),
    AlterPartition(AlterPartitionResponse),
    ElectLeaders(ElectLeadersResponse),
    AlterPartitionReassignments(AlterPartitionReassignmentsResponse),
    ListPartitionReassignments(ListPartitionReassignmentsResponse),
    AssignReplicasToDirs(AssignReplicasToDirsResponse),
}

/// Whether records may be appended in several batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Atomicity {
    /// All or nothing: one batch.
    Atomic,
    /// Each record stands for itself; long lists may be split.
    Divisible,
}

/// What is to be written, and what is to be answered then.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The offset the first record must get. If the log gives another one, the controller has to resign.
    pub first_offset: Offset,
    /// The records, in order; often none.
    pub records: Vec<MetadataRecord>,
    /// Whether they may be split.
    pub atomicity: Atomicity,
    /// The answer.
    pub reply: Reply,
    /// The answer may leave once everything below this offset is committed: it may speak of what is not yet.
    pub wait_for: Offset,
}
