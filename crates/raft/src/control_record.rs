//! The records that the quorum writes for itself: who leads, who votes, where a snapshot begins and ends.
//!
//! Key: version 0 and type, two bytes each. Value: a message whose first field is its own version. Types that are not
//! known are kept as a number and otherwise ignored, as Kafka does.

use bytes::Bytes;
use ottla_protocol::batch::{BatchError, ControlType, Record};
use ottla_protocol::codec::Reader;
use ottla_protocol::message::Message;
use ottla_protocol::records::control::{
    KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord, VotersRecord,
    leader_change_message, voters,
};
use ottla_protocol::{NodeId, Uuid};

use crate::voters::{Endpoint, Voter, Voters};

/// One control record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlRecord {
    /// The first record of an epoch (KIP-595).
    LeaderChange {
        /// Who leads.
        leader: NodeId,
        /// Who could vote.
        voters: Vec<NodeId>,
        /// Who voted for the leader.
        granting: Vec<NodeId>,
    },
    /// The first record of a snapshot (KIP-630).
    SnapshotHeader {
        /// When the last record that the snapshot stands for was appended, in ms.
        last_append_ms: i64,
    },
    /// The last record of a snapshot.
    SnapshotFooter,
    /// The level of kraft.version (KIP-853).
    KraftVersion(i16),
    /// The voter set from here on.
    KraftVoters(Voters),
    /// Something else, by the number of its type.
    Other(i16),
}

impl ControlRecord {
    /// Key and value as they stand in a batch; `None` for [`Other`](Self::Other), which we never write.
    #[must_use]
    pub fn encode(&self) -> Option<([u8; 4], Bytes)> {
        let (kind, value) = match self {
            Self::LeaderChange { leader, voters, granting } => {
                let message = LeaderChangeMessage {
                    version: 0,
                    leader_id: leader.0,
                    voters: voters.iter().map(leader_change_voter).collect(),
                    granting_voters: granting.iter().map(leader_change_voter).collect(),
                };
                (ControlType::LeaderChange, message.to_bytes(0))
            }
            Self::SnapshotHeader { last_append_ms } => {
                let message =
                    SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: *last_append_ms };
                (ControlType::SnapshotHeader, message.to_bytes(0))
            }
            Self::SnapshotFooter => {
                (ControlType::SnapshotFooter, SnapshotFooterRecord { version: 0 }.to_bytes(0))
            }
            Self::KraftVersion(level) => {
                let message = KRaftVersionRecord { version: 0, kraft_version: *level };
                (ControlType::KraftVersion, message.to_bytes(0))
            }
            Self::KraftVoters(voters) => (ControlType::KraftVoters, voters_record(voters).to_bytes(0)),
            Self::Other(_) => return None,
        };
        // Host names come from a configuration that was checked, so these messages are never too large to be written.
        value.ok().map(|value| (kind.key(), value))
    }

    /// Understands a record out of a control batch.
    ///
    /// # Errors
    /// [`BatchError`] when key or value are not what the type demands.
    pub fn decode(record: &Record) -> Result<Self, BatchError> {
        let Some(kind) = ControlType::from_key(record.key.as_deref())? else {
            let key = record.key.as_deref().unwrap_or_default();
            return Ok(Self::Other(i16::from_be_bytes([key[2], key[3]])));
        };
        Ok(match kind {
            ControlType::LeaderChange => {
                let message: LeaderChangeMessage = message(record)?;
                let ids = |voters: &[leader_change_message::Voter]| {
                    voters.iter().map(|voter| NodeId(voter.voter_id)).collect()
                };
                Self::LeaderChange {
                    leader: NodeId(message.leader_id),
                    voters: ids(&message.voters),
                    granting: ids(&message.granting_voters),
                }
            }
            ControlType::SnapshotHeader => {
                let message: SnapshotHeaderRecord = message(record)?;
                Self::SnapshotHeader { last_append_ms: message.last_contained_log_timestamp }
            }
            ControlType::SnapshotFooter => {
                let _: SnapshotFooterRecord = message(record)?;
                Self::SnapshotFooter
            }
            ControlType::KraftVersion => {
                let message: KRaftVersionRecord = message(record)?;
                Self::KraftVersion(message.kraft_version)
            }
            ControlType::KraftVoters => Self::KraftVoters(voters_of(message(record)?)),
            ControlType::Abort | ControlType::Commit => Self::Other(kind as i16),
        })
    }
}

/// Reads the value in the version that it says it has.
fn message<M: Message>(record: &Record) -> Result<M, BatchError> {
    let invalid = |what: String| BatchError::Invalid(format!("control record at {}: {what}", record.offset));
    let value = record.value.clone().unwrap_or_default();
    let Some([v0, v1]) = value.first_chunk() else { return Err(invalid("no version".to_owned())) };
    let version = i16::from_be_bytes([*v0, *v1]);
    M::decode(&mut Reader::new(value), version).map_err(|error| invalid(error.to_string()))
}

fn leader_change_voter(id: &NodeId) -> leader_change_message::Voter {
    leader_change_message::Voter { voter_id: id.0, voter_directory_id: Uuid::ZERO }
}

fn voters_record(set: &Voters) -> VotersRecord {
    let endpoint =
        |e: &Endpoint| voters::Endpoint { name: e.listener.clone(), host: e.host.clone(), port: e.port };
    let voters = set.iter().map(|(id, voter)| voters::Voter {
        voter_id: id.0,
        voter_directory_id: voter.directory,
        endpoints: voter.endpoints.iter().map(endpoint).collect(),
        kraft_version_feature: voters::KRaftVersionFeature {
            min_supported_version: voter.kraft_versions.0,
            max_supported_version: voter.kraft_versions.1,
        },
    });
    VotersRecord { version: 0, voters: voters.collect() }
}

fn voters_of(record: VotersRecord) -> Voters {
    Voters::new(record.voters.into_iter().map(|voter| {
        let endpoint = |e: voters::Endpoint| Endpoint { listener: e.name, host: e.host, port: e.port };
        let levels = voter.kraft_version_feature;
        let known = Voter {
            directory: voter.voter_directory_id,
            endpoints: voter.endpoints.into_iter().map(endpoint).collect(),
            kraft_versions: (levels.min_supported_version, levels.max_supported_version),
        };
        (NodeId(voter.voter_id), known)
    }))
}
