//! FetchSnapshot: how a replica that is too far behind for the log gets a snapshot, piece by piece.
//!
//! Pieces go into the `.part` file in order; when the last has come the file is checked, named, and the log begins
//! again behind it. Whatever goes wrong on the way, the piece is dropped and the replica goes back to fetching.

use std::io::IoSlice;

use bytes::Bytes;
use ottla_protocol::Refusal;
use ottla_protocol::time::Now;

use crate::message::{Answer, Ask, Request, Response, SnapshotId};
use crate::output::Fatal;
use crate::raft::Raft;
use crate::replication::Next;
use crate::role::{Download, Role};
use crate::snapshot::{self, Snapshot};

/// A piece is never larger, whatever is asked for.
const PIECE_MAX: usize = 8 << 20;

impl Raft {
    /// Answers a FetchSnapshot. `range` is where the piece begins and how long it may be.
    pub(crate) fn on_fetch_snapshot(
        &mut self,
        now: Now,
        request: &Request,
        id: SnapshotId,
        range: (i64, i32),
    ) -> Result<Response, Fatal> {
        if let Some(refusal) = self.refusal_by_leader(request) {
            return Ok(self.refuse(&request.ask, refusal));
        }
        let voters = self.journal.membership().voters();
        if let Role::Leader(leader) = &mut self.role {
            leader.heard(now, request.from, voters);
        }
        let file = match self.disk.open(&self.config.dir.join(snapshot::file_name(id))) {
            Ok(file) if id != SnapshotId::BOOTSTRAP => file,
            Err(error) if !error.is_missing() => return Err(error.into()),
            _ => return Ok(self.refuse(&request.ask, Refusal::SnapshotNotFound)),
        };
        let size = file.length()?;
        let Some(position) = u64::try_from(range.0).ok().filter(|position| *position < size) else {
            return Ok(self.refuse(&request.ask, Refusal::PositionOutOfRange));
        };
        let left = usize::try_from(size - position).unwrap_or(usize::MAX);
        let wanted = usize::try_from(range.1).unwrap_or(0).clamp(1, PIECE_MAX);
        let mut bytes = vec![0; left.min(wanted)];
        let read = file.read_at(&mut bytes, position)?;
        bytes.truncate(read);
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        Ok(self.respond(Answer::FetchSnapshot { snapshot: id, size, position: range.0, bytes: bytes.into() }))
    }

    /// Begins to fetch a snapshot, unless it is here already.
    pub(crate) fn begin_download(&mut self, id: SnapshotId) -> Result<(), Fatal> {
        if self.journal.latest_snapshot().is_some_and(|latest| latest.offset >= id.offset) {
            return Ok(());
        }
        let file = self.disk.create(&snapshot::part_path(&self.config.dir, id))?;
        if let Role::Follower(follower) = &mut self.role {
            follower.download = Some(Download { snapshot: id, file, position: 0 });
        }
        Ok(())
    }

    pub(crate) fn snapshot_ask(&self, download: &Download) -> Ask {
        Ask::FetchSnapshot {
            snapshot: download.snapshot,
            position: i64::try_from(download.position).unwrap_or(i64::MAX),
            max_bytes: self.config.timing.fetch_snapshot_max_bytes,
        }
    }

    /// Takes in a piece. `range` is the size of the whole and where the piece begins.
    pub(crate) fn on_snapshot_piece(
        &mut self,
        now: Now,
        id: SnapshotId,
        range: (i64, i64),
        bytes: Bytes,
    ) -> Result<Next, Fatal> {
        let deadline = self.fetch_deadline(now);
        let Role::Follower(follower) = &mut self.role else { return Ok(Next::Free) };
        let Some(download) = &mut follower.download else { return Ok(Next::Free) };
        let next = download.position.checked_add(bytes.len() as u64);
        let (Ok(size), Ok(position), Some(next)) = (u64::try_from(range.0), u64::try_from(range.1), next)
        else {
            follower.download = None;
            return Ok(Next::Rest);
        };
        if id != download.snapshot || position != download.position || bytes.is_empty() || next > size {
            follower.download = None;
            return Ok(Next::Rest);
        }
        download.file.write_at(&[IoSlice::new(&bytes)], position)?;
        download.position = next;
        follower.has_fetched = true;
        follower.fetch = follower.fetch.map(|_| deadline);
        if next == size {
            let download = follower.download.take();
            return self.finish_download(now, download);
        }
        Ok(Next::Free)
    }

    fn finish_download(&mut self, now: Now, download: Option<Download>) -> Result<Next, Fatal> {
        let Some(Download { snapshot: id, file, .. }) = download else { return Ok(Next::Free) };
        let part = snapshot::part_path(&self.config.dir, id);
        let bytes = self.disk.read(&part)?.unwrap_or_default();
        let snapshot = match Snapshot::parse(id, bytes) {
            Ok(snapshot) => snapshot,
            Err(what) => {
                tracing::warn!(node = %self.config.me.id, ?id, "the fetched snapshot is of no use: {what}");
                self.disk.remove(&part)?;
                return Ok(Next::Rest);
            }
        };
        snapshot::publish(&*self.disk, &self.config.dir, id, &*file)?;
        self.journal.add_snapshot(id)?;
        self.journal.restart_behind(now, &snapshot).map_err(Fatal::Halfway)?;
        self.high_watermark = self.high_watermark.max(Some(id.offset));
        tracing::info!(node = %self.config.me.id, ?id, "log begins again behind a fetched snapshot");
        Ok(Next::Free)
    }

    /// Gives up a download that the leader does not serve any more.
    pub(crate) fn abandon_download(&mut self) {
        if let Role::Follower(follower) = &mut self.role {
            follower.download = None;
        }
    }
}
