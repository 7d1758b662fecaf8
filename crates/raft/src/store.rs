//! `quorum-state`: epoch, leader and vote, on the disk before anything is said about them.
//!
//! One JSON object in Kafka's two forms: data_version 0 with the configured voters, data_version 1 with the
//! directory id of the vote. A form that is not known is an error: guessing could vote twice (KAFKA-15412).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::{Disk, DiskError};
use ottla_protocol::{LeaderEpoch, NodeId, Uuid};
use serde_json::Value;

use crate::voters::{ReplicaKey, Voters};

/// The name of the file.
pub const FILE_NAME: &str = "quorum-state";

/// What a replica must not forget about an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ElectionState {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its leader, once known.
    pub leader: Option<NodeId>,
    /// Whom this node voted for.
    pub voted: Option<ReplicaKey>,
}

/// The file.
#[derive(Debug)]
pub struct ElectionStore {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    written: Option<(ElectionState, i16)>,
}

impl ElectionStore {
    /// Opens the file in `dir` and says what it holds; nothing, where there is none.
    ///
    /// # Errors
    /// [`DiskError`], also for a file in an unknown form.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<(Self, Option<ElectionState>), DiskError> {
        let path = dir.join(FILE_NAME);
        let state = match disk.read(&path)? {
            Some(bytes) => Some(parse(&bytes).map_err(|what| DiskError::corrupt(&path, what))?),
            None => None,
        };
        Ok((Self { disk, path, written: None }, state))
    }

    /// Writes the state whole and for good, in the form that belongs to `kraft_version`, unless it stands there already.
    ///
    /// # Errors
    /// [`DiskError`]; nothing may be said about the new state then.
    pub fn save(
        &mut self,
        state: ElectionState,
        kraft_version: i16,
        voters: &Voters,
    ) -> Result<(), DiskError> {
        if self.written == Some((state, kraft_version)) {
            return Ok(());
        }
        // A draft that has got its name may be there even where the rest fails.
        self.written = None;
        let text = if kraft_version == 0 { version_0(&state, voters) } else { version_1(&state) };
        self.disk.replace(&self.path, text.as_bytes())?;
        self.written = Some((state, kraft_version));
        Ok(())
    }
}

fn version_0(state: &ElectionState, voters: &Voters) -> String {
    let voters: Vec<String> = voters.ids().map(|id| format!("{{\"voterId\":{id}}}")).collect();
    format!(
        "{{\"clusterId\":\"\",\"leaderId\":{},\"leaderEpoch\":{},\"votedId\":{},\"appliedOffset\":0,\
         \"currentVoters\":[{}],\"data_version\":0}}",
        number(state.leader),
        state.epoch,
        number(state.voted.map(|key| key.id)),
        voters.join(",")
    )
}

fn version_1(state: &ElectionState) -> String {
    format!(
        "{{\"leaderId\":{},\"leaderEpoch\":{},\"votedId\":{},\"votedDirectoryId\":\"{}\",\"data_version\":1}}",
        number(state.leader),
        state.epoch,
        number(state.voted.map(|key| key.id)),
        state.voted.map_or(Uuid::ZERO, |key| key.directory)
    )
}

fn number(id: Option<NodeId>) -> i32 {
    id.map_or(-1, |id| id.0)
}

fn parse(bytes: &[u8]) -> Result<ElectionState, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("no JSON: {error}"))?;
    let version = integer(&value, "data_version")?;
    if !(0..=1).contains(&version) {
        return Err(format!("data_version {version} is not known"));
    }
    let directory = match value.get("votedDirectoryId").and_then(Value::as_str) {
        Some(text) if version == 1 => text.parse().map_err(|error| format!("votedDirectoryId: {error}"))?,
        _ => Uuid::ZERO,
    };
    let epoch = integer(&value, "leaderEpoch")?;
    if epoch < 0 {
        return Err(format!("leaderEpoch {epoch}"));
    }
    Ok(ElectionState {
        epoch: LeaderEpoch(epoch),
        leader: id(integer(&value, "leaderId")?),
        voted: match value.get("votedId") {
            Some(_) => id(integer(&value, "votedId")?).map(|id| ReplicaKey { id, directory }),
            None => None,
        },
    })
}

fn id(number: i32) -> Option<NodeId> {
    (number >= 0).then_some(NodeId(number))
}

fn integer(value: &Value, field: &str) -> Result<i32, String> {
    let number = value.get(field).and_then(Value::as_i64).ok_or_else(|| format!("{field} is missing"))?;
    i32::try_from(number).map_err(|_| format!("{field} is {number}"))
}
