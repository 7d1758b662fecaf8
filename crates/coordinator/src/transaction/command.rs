//! What the transaction coordinator can be told and asked, and what it wants done. Requests come in the newest shape;
//! those that name several transactional ids are taken apart before they get here, for each has its own partition.

use ottla_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnResult, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::describe_transactions::TransactionState;
use ottla_protocol::messages::write_txn_markers::WritableTxnMarker;
use ottla_protocol::messages::{
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ListTransactionsRequest,
    ListTransactionsResponse,
};
use ottla_protocol::{NodeId, ProducerId, Refusal};

use super::state::TransactionVersion;

/// See the module.
#[derive(Clone, Debug)]
pub enum Command {
    /// InitProducerId (22) with a transactional id.
    InitProducerId(InitProducerIdRequest),
    /// AddPartitionsToTxn (24), one transaction of it, or AddOffsetsToTxn (25) with the group's partition. With
    /// `verify_only` nothing is added (KIP-890).
    AddPartitions(TransactionVersion, AddPartitionsToTxnTransaction),
    /// EndTxn (26).
    End(TransactionVersion, EndTxnRequest),
    /// DescribeTransactions (65), one transactional id of it.
    Describe(String),
    /// ListTransactions (66): what this partition has.
    List(ListTransactionsRequest),
    /// The answer to [`Effect::ProducerId`].
    ProducerIdGranted(Result<ProducerId, Refusal>),
    /// The answer to [`Effect::WriteMarkers`].
    MarkersWritten(MarkersWritten),
}

/// The answers, in the order of the commands.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To [`Command::InitProducerId`].
    InitProducerId(InitProducerIdResponse),
    /// To [`Command::AddPartitions`].
    AddPartitions(AddPartitionsToTxnResult),
    /// To [`Command::End`].
    End(EndTxnResponse),
    /// To [`Command::Describe`].
    Describe(TransactionState),
    /// To [`Command::List`].
    List(ListTransactionsResponse),
    /// No, whatever was asked.
    Refused(Refusal),
}

/// What the coordinator wants done. Each effect has its answer; one that is lost is asked for again.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Hand out a producer id that was never used: [`Command::ProducerIdGranted`].
    ProducerId,
    /// Write markers by a WriteTxnMarkers request to the leader: [`Command::MarkersWritten`].
    WriteMarkers(Markers),
}

/// The markers of one transaction for the partitions of one leader.
#[derive(Clone, Debug, PartialEq)]
pub struct Markers {
    /// Where to send them.
    pub leader: NodeId,
    /// Whose transaction it is; to be named in the answer.
    pub transactional_id: String,
    /// Which of its endings; to be named in the answer. A late answer must not be taken for one to the next transaction,
    /// which may have the same epoch.
    pub ending: u64,
    /// One entry of the request.
    pub marker: WritableTxnMarker,
}

/// What has become of [`Markers`]. Partitions that are not named here count as not answered yet.
#[derive(Clone, Debug, PartialEq)]
pub struct MarkersWritten {
    /// As in the markers.
    pub transactional_id: String,
    /// As in the markers.
    pub ending: u64,
    /// Each partition, with `None` where its marker stands.
    pub partitions: Vec<(String, i32, Option<Refusal>)>,
}

impl Markers {
    /// The answer for all partitions at once: the leader could not be asked.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> MarkersWritten {
        self.answered(|_, _| Some(refusal))
    }

    /// The answer, from what `outcome` says of each partition.
    #[must_use]
    pub fn answered(&self, outcome: impl Fn(&str, i32) -> Option<Refusal>) -> MarkersWritten {
        let topics = self.marker.topics.iter();
        let partitions =
            topics.flat_map(|topic| topic.partition_indexes.iter().map(|index| (&topic.name, *index)));
        MarkersWritten {
            transactional_id: self.transactional_id.clone(),
            ending: self.ending,
            partitions: partitions.map(|(name, index)| (name.clone(), index, outcome(name, index))).collect(),
        }
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
