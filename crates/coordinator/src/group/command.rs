//! What the group coordinator can be told and asked. Requests come in the newest shape; those for several groups are
//! taken apart before they get here, for each group has its own partition.

use ottla_protocol::messages::consumer_group_describe::DescribedGroup as ConsumerDescribedGroup;
use ottla_protocol::messages::describe_groups::DescribedGroup;
use ottla_protocol::messages::list_groups::ListedGroup;
use ottla_protocol::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchResponseGroup};
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest,
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, SyncGroupRequest,
    SyncGroupResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use ottla_protocol::{Refusal, TopicId};

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What the client calls itself.
    pub client_id: String,
    /// Its address, as Kafka writes it: `/127.0.0.1`.
    pub client_host: String,
    /// The version of the request.
    pub version: i16,
}

/// See the module.
#[derive(Clone, Debug)]
pub enum Command {
    /// JoinGroup (11).
    Join(Caller, JoinGroupRequest),
    /// SyncGroup (14).
    Sync(Caller, SyncGroupRequest),
    /// Heartbeat (12).
    Heartbeat(Caller, HeartbeatRequest),
    /// LeaveGroup (13); one member of old versions comes as a list of one.
    Leave(Caller, LeaveGroupRequest),
    /// ConsumerGroupHeartbeat (68, KIP-848).
    ConsumerHeartbeat(Caller, ConsumerGroupHeartbeatRequest),
    /// OffsetCommit (8). Topics have both name and id where they are known.
    CommitOffsets(Caller, OffsetCommitRequest),
    /// TxnOffsetCommit (28).
    CommitOffsetsInTransaction(Caller, TxnOffsetCommitRequest),
    /// OffsetFetch (9), one group of it. Topics have both name and id where they are known.
    FetchOffsets(Caller, FetchOffsets),
    /// OffsetDelete (47).
    DeleteOffsets(OffsetDeleteRequest),
    /// DescribeGroups (15), one group of it.
    Describe(Caller, String),
    /// ConsumerGroupDescribe (69), one group of it.
    ConsumerDescribe(String),
    /// ListGroups (16): what this partition has.
    List(ListGroupsRequest),
    /// DeleteGroups (42), one group of it.
    Delete(String),
    /// These topics are gone, and with them what was committed for them.
    TopicsDeleted(Vec<(TopicId, String)>),
}

impl Command {
    /// The group that it is about, if it is about one.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        match self {
            Self::Join(_, request) => Some(&request.group_id),
            Self::Sync(_, request) => Some(&request.group_id),
            Self::Heartbeat(_, request) => Some(&request.group_id),
            Self::Leave(_, request) => Some(&request.group_id),
            Self::ConsumerHeartbeat(_, request) => Some(&request.group_id),
            Self::CommitOffsets(_, request) => Some(&request.group_id),
            Self::CommitOffsetsInTransaction(_, request) => Some(&request.group_id),
            Self::FetchOffsets(_, request) => Some(&request.group.group_id),
            Self::DeleteOffsets(request) => Some(&request.group_id),
            Self::Describe(_, name) | Self::ConsumerDescribe(name) | Self::Delete(name) => Some(name),
            Self::List(_) | Self::TopicsDeleted(_) => None,
        }
    }
}

/// One group of an OffsetFetch.
#[derive(Clone, Debug)]
pub struct FetchOffsets {
    /// The group and its topics; `None` for topics means all.
    pub group: OffsetFetchRequestGroup,
    /// Offsets that an open transaction may still change are refused (KIP-447).
    pub require_stable: bool,
}

/// The answers, in the order of the commands.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To [`Command::Join`].
    Join(JoinGroupResponse),
    /// To [`Command::Sync`].
    Sync(SyncGroupResponse),
    /// To [`Command::Heartbeat`].
    Heartbeat(HeartbeatResponse),
    /// To [`Command::Leave`].
    Leave(LeaveGroupResponse),
    /// To [`Command::ConsumerHeartbeat`].
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
    /// To [`Command::CommitOffsets`].
    CommitOffsets(OffsetCommitResponse),
    /// To [`Command::CommitOffsetsInTransaction`].
    CommitOffsetsInTransaction(TxnOffsetCommitResponse),
    /// To [`Command::FetchOffsets`].
    FetchOffsets(OffsetFetchResponseGroup),
    /// To [`Command::DeleteOffsets`].
    DeleteOffsets(OffsetDeleteResponse),
    /// To [`Command::Describe`].
    Describe(DescribedGroup),
    /// To [`Command::ConsumerDescribe`].
    ConsumerDescribe(ConsumerDescribedGroup),
    /// To [`Command::List`].
    List(Vec<ListedGroup>),
    /// To [`Command::Delete`] and [`Command::TopicsDeleted`].
    Done,
    /// No, whatever was asked.
    Refused(Refusal),
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
