//! A log that random things are done to, beside a naive model of what it must be: a vector of batches.
//!
//! The model knows what was appended, what was promised to be on the disk, and what each list of batches says about
//! producers, transactions and epochs.

use std::path::Path;
use std::sync::Arc;

use ottla_protocol::batch::{ControlType, StampedBatch};
use ottla_protocol::{LeaderEpoch, Offset, ProducerId};

use super::support::*;
use crate::disk::MemoryDisk;
use crate::producers::{MarkerKind, ProducerEntry};
use crate::{
    AbortedTransaction, DiskError, Epochs, FirstBatch, Log, LogConfig, OpenHint, Producers, ReadLimit,
    RedoFile, RedoTarget, RedoWrite, Stop, partition_metadata, redo,
};

/// Something that is done to a log.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Append(u64),
    Transact(u64),
    NewEpoch,
    Flush,
    /// The same, and more is appended while it is under way.
    FlushBeside(u64),
    /// As Flush, but into a redo file where that will do.
    Redo,
    /// The same, and more is appended while it is under way.
    RedoBeside(u64),
    /// What is in the redo file comes into the log, and the file is begun anew.
    Settle,
    Roll,
    Truncate(u64),
    TruncateFully(u64),
    DeleteRecords(u64),
    Retain,
    Reopen,
}

/// A log and its model.
#[derive(Debug)]
pub(super) struct Session {
    pub disk: MemoryDisk,
    pub config: LogConfig,
    pub log: Option<Log>,
    pub batches: Vec<StampedBatch>,
    pub start: Offset,
    pub end: Offset,
    /// What the recovery-point checkpoint would say.
    pub recovery_point: Offset,
    pub redo: Option<RedoFile>,
    /// How many flushes went into the redo file.
    pub redone: usize,
    redo_sequence: u64,
    epoch: i32,
    producers: [Client; 3],
    dice: Dice,
}

#[derive(Clone, Copy, Debug, Default)]
struct Client {
    epoch: i16,
    sequence: i32,
    in_transaction: bool,
}

/// What the model may look like after an operation that was interrupted.
#[derive(Clone, Debug)]
pub(super) struct Possible {
    pub batches: Vec<StampedBatch>,
    /// The log must hold everything up to here.
    pub least_end: Offset,
    /// The log may start anywhere in between.
    pub starts: (Offset, Offset),
}

impl Session {
    pub fn new(disk: MemoryDisk, config: LogConfig, seed: u64) -> Result<Self, (Box<Self>, DiskError)> {
        let log = try_open(&disk, config, OpenHint::NOTHING).and_then(|log| {
            partition_metadata::write_unsynced(&disk, DIR.as_ref(), partition().topic)?;
            Ok(log)
        });
        let mut session = Self {
            disk,
            config,
            log: None,
            batches: Vec::new(),
            start: Offset(0),
            end: Offset(0),
            recovery_point: Offset(0),
            redo: None,
            redone: 0,
            redo_sequence: 1,
            epoch: 0,
            producers: [Client::default(); 3],
            dice: Dice(seed),
        };
        match log {
            Ok(log) => {
                session.log = Some(log);
                Ok(session)
            }
            Err(error) => Err((Box::new(session), error)),
        }
    }

    /// Does `op` to both. When the disk fails, what may be left is the answer.
    pub fn step(&mut self, op: Op) -> Result<(), (DiskError, Vec<Possible>)> {
        let before = self.as_it_is();
        match op {
            Op::Append(n) => {
                let batches = self.some_batches(n);
                self.append(batches)
            }
            Op::Transact(n) => {
                let batches = self.transaction_step(n);
                self.append(batches)
            }
            Op::NewEpoch => {
                self.epoch += 1;
                let epoch = LeaderEpoch(self.epoch);
                self.log().begin_epoch(epoch);
                Ok(())
            }
            Op::Flush => self.done(|log| log.flush(), vec![before]),
            Op::FlushBeside(n) => self.flush_beside(n),
            Op::Redo => self.redo(None),
            Op::RedoBeside(n) => self.redo(Some(n)),
            Op::Settle => {
                self.done(|log| log.flush(), vec![before])?;
                self.redo_sequence += 1;
                if let Some(redo) = &mut self.redo {
                    redo.renew(self.redo_sequence);
                }
                Ok(())
            }
            Op::Roll => self.done(|log| log.roll(now()), vec![before]),
            Op::Truncate(n) => self.truncate(n),
            Op::TruncateFully(n) => self.truncate_fully(n),
            Op::DeleteRecords(n) => {
                let span = (self.end.0 - self.start.0) as u64;
                let offset = self.start.plus((n % (span + 1)) as i64);
                self.log().delete_records_before(offset);
                self.start = offset;
                Ok(())
            }
            Op::Retain => self.retain(),
            Op::Reopen => self.reopen(),
        }
    }

    pub fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("the log is open")
    }

    pub fn as_it_is(&self) -> Possible {
        let flushed = self.log.as_ref().map_or(self.recovery_point, Log::durable_end);
        Possible { batches: self.batches.clone(), least_end: flushed, starts: (self.start, self.start) }
    }

    fn done<T>(
        &mut self,
        act: impl FnOnce(&mut Log) -> Result<T, DiskError>,
        possible: Vec<Possible>,
    ) -> Result<(), (DiskError, Vec<Possible>)> {
        act(self.log()).map_err(|error| (error, possible))?;
        self.recovery_point = self.log().recovery_point();
        Ok(())
    }

    fn flush_beside(&mut self, n: u64) -> Result<(), (DiskError, Vec<Possible>)> {
        let before = self.as_it_is();
        let pending = self.log().prepare_flush().map_err(|error| (error, vec![before]))?;
        let batches = self.some_batches(n);
        self.append(batches)?;
        let before = self.as_it_is();
        match pending {
            Some(pending) => self.done(|log| log.finish_flush(pending.run()), vec![before]),
            None => Ok(()),
        }
    }

    fn redo(&mut self, beside: Option<u64>) -> Result<(), (DiskError, Vec<Possible>)> {
        let before = self.as_it_is();
        let pending = self.log().prepare_flush().map_err(|error| (error, vec![before.clone()]))?;
        let Some(pending) = pending else { return Ok(()) };
        if pending.redo_bytes().is_none() {
            return self.done(|log| log.finish_flush(pending.run()), vec![before]);
        }
        let target = match self.redo.take() {
            Some(file) => RedoTarget::Open(file),
            None => {
                let path = Path::new(DIR).with_file_name(redo::file_name(0, 0));
                RedoTarget::New { disk: Arc::new(self.disk.clone()), path, sequence: self.redo_sequence }
            }
        };
        let up_to = pending.up_to();
        if let Some(n) = beside {
            let batches = self.some_batches(n);
            self.append(batches)?;
        }
        let before = self.as_it_is();
        let done = RedoWrite::new(target, vec![(partition(), pending)]).run();
        self.redo = done.file;
        self.redone += 1;
        let (_, flushed) = done.flushed.into_iter().next().expect("it was one");
        self.done(|log| log.finish_flush(flushed), vec![before])?;
        let has_rolled = self.log().segment_bases().last().unwrap() >= up_to;
        let counts = self.log().durable_end() == up_to;
        assert!(counts || has_rolled, "what is in the redo file counts");
        Ok(())
    }

    fn append(&mut self, batches: Vec<StampedBatch>) -> Result<(), (DiskError, Vec<Possible>)> {
        let mut possible = self.as_it_is();
        possible.batches.extend(batches.iter().cloned());
        let appended = self.log().append(now(), &batches).map_err(|error| (error, vec![possible]))?;
        if let (Some(first), Some(last)) = (batches.first(), batches.last()) {
            assert_eq!(appended.first_offset, first.header().base_offset);
            assert_eq!(appended.last_offset, last.header().last_offset());
            self.end = last.header().next_offset();
        }
        self.batches.extend(batches);
        Ok(())
    }

    fn truncate(&mut self, n: u64) -> Result<(), (DiskError, Vec<Possible>)> {
        let first = self.batches.first().map_or(self.end, |batch| batch.header().base_offset);
        let target = first.plus((n % ((self.end.0 - first.0) as u64 + 1)) as i64);
        let kept: Vec<_> =
            self.batches.iter().take_while(|batch| batch.header().next_offset() <= target).cloned().collect();
        let first_segment = self.log().segment_bases().next().unwrap();
        if target < first_segment {
            return Ok(());
        }
        let mut possible = self.as_it_is();
        let cut = kept.last().map_or(first, |batch| batch.header().next_offset());
        possible.least_end = possible.least_end.min(cut);
        possible.starts = (self.start.min(cut), self.start);
        self.done(|log| log.truncate_to(now(), target), vec![possible])?;
        self.end = self.log().end_offset();
        assert!(self.end <= target && self.end >= cut.max(first_segment), "{} for {target}", self.end);
        self.start = self.start.min(self.end);
        self.batches = kept;
        self.forget_clients();
        Ok(())
    }

    fn truncate_fully(&mut self, n: u64) -> Result<(), (DiskError, Vec<Possible>)> {
        let offset = Offset((n % 1000) as i64);
        let mut gone = self.as_it_is();
        gone.least_end = Offset(0);
        gone.starts = (Offset(0), Offset(i64::MAX));
        self.done(|log| log.truncate_fully(now(), offset), vec![gone])?;
        self.batches.clear();
        (self.start, self.end) = (offset, offset);
        self.forget_clients();
        Ok(())
    }

    fn retain(&mut self) -> Result<(), (DiskError, Vec<Possible>)> {
        let mut possible = self.as_it_is();
        possible.starts.1 = self.end;
        let end = self.end;
        let mut removed = None;
        self.done(|log| log.retain(now(), end).map(|r| removed = Some(r)), vec![possible.clone()])?;
        self.start = self.log().start_offset();
        removed.unwrap().erase().map_err(|error| (error, vec![possible]))
    }

    fn reopen(&mut self) -> Result<(), (DiskError, Vec<Possible>)> {
        let before = self.as_it_is();
        let log = self.log.take().expect("the log is open");
        let recovery_point = log.close().map_err(|error| (error, vec![before]))?;
        assert_eq!(recovery_point, self.end);
        self.recovery_point = recovery_point;
        let hint = OpenHint { stop: Stop::Clean, recovery_point, log_start: self.start };
        let after = self.as_it_is();
        let log = try_open(&self.disk, self.config, hint).map_err(|error| (error, vec![after]))?;
        assert_eq!(log.recovered().checked, 0, "nothing is read after a clean stop");
        self.log = Some(log);
        Ok(())
    }

    fn some_batches(&mut self, n: u64) -> Vec<StampedBatch> {
        let mut base = self.end.0;
        let mut batches = Vec::new();
        for _ in 0..=n % 4 {
            let mut recipe = Recipe::at(base);
            recipe.records = 1 + self.dice.roll(4) as i32;
            recipe.body = self.dice.roll(90) as usize;
            recipe.epoch = self.epoch;
            recipe.timestamp = 1000 + base + self.dice.roll(40) as i64 - 20;
            let who = self.dice.roll(6) as usize;
            if let Some(client) = self.producers.get_mut(who).filter(|client| !client.in_transaction) {
                recipe.producer = Some((who as i64, client.epoch, client.sequence));
                client.sequence += recipe.records;
            }
            base += i64::from(recipe.records);
            batches.push(recipe.batch());
        }
        batches
    }

    /// A batch of a transaction, or its end.
    fn transaction_step(&mut self, n: u64) -> Vec<StampedBatch> {
        let who = (n % 3) as usize;
        let client = &mut self.producers[who];
        let (base, epoch) = (self.end.0, self.epoch);
        if client.in_transaction && self.dice.roll(2) == 0 {
            client.in_transaction = false;
            let end = if self.dice.roll(2) == 0 { ControlType::Abort } else { ControlType::Commit };
            return vec![marker((base, epoch), (who as i64, client.epoch), end, 5)];
        }
        client.in_transaction = true;
        let producer = Some((who as i64, client.epoch, client.sequence));
        client.sequence += 1;
        vec![Recipe { epoch, producer, transactional: true, ..Recipe::at(base) }.batch()]
    }

    /// After a truncation the clients go on in a new epoch, as real ones would have to.
    fn forget_clients(&mut self) {
        for client in &mut self.producers {
            *client = Client { epoch: client.epoch + 1, ..Client::default() };
        }
        self.epoch += 1;
    }
}

/// What the batches up to `end` say about producers.
pub(super) fn naive_producers(batches: &[StampedBatch], end: Offset) -> Producers {
    let mut producers = Producers::default();
    for batch in batches.iter().filter(|batch| batch.header().next_offset() <= end) {
        producers.take(&batch.header(), &batch.body);
    }
    producers
}

/// The transactions whose abort markers lie in `from..end`.
pub(super) fn naive_aborted(batches: &[StampedBatch], from: Offset, end: Offset) -> Vec<AbortedTransaction> {
    let mut producers = Producers::default();
    let mut aborted = Vec::new();
    for batch in batches.iter().filter(|batch| batch.header().next_offset() <= end) {
        if let Some(ended) = producers.take(&batch.header(), &batch.body)
            && ended.kind == MarkerKind::Abort
            && ended.last_offset >= from
        {
            aborted.push(AbortedTransaction {
                producer_id: ended.producer_id,
                first_offset: ended.first_offset,
                last_offset: ended.last_offset,
                last_stable_offset: producers.stable_after(&ended),
            });
        }
    }
    aborted
}

fn naive_epochs(batches: &[StampedBatch], start: Offset, end: Offset) -> Epochs {
    let mut epochs = Epochs::default();
    for batch in batches.iter().filter(|batch| batch.header().next_offset() <= end) {
        epochs.assign(batch.header().leader_epoch, batch.header().base_offset);
    }
    epochs.truncate_from_start(start);
    epochs
}

/// What else than the batches themselves is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Also what the start of the log says about producers and epochs.
    Whole,
    /// Retention has removed batches that only the model still knows.
    AfterRetention,
}

/// Compares a log with the batches it must be made of.
pub(super) fn compare(log: &mut Log, batches: &[StampedBatch], depth: Depth) {
    let (start, end) = (log.start_offset(), log.end_offset());
    let is_in =
        |batch: &&StampedBatch| batch.header().last_offset() >= start && batch.header().next_offset() <= end;
    assert_eq!(bases(&contents(log)), bases(&joined(batches.iter().filter(is_in))));
    assert_eq!(contents(log), joined(batches.iter().filter(is_in)));
    if depth == Depth::AfterRetention {
        return;
    }
    assert_eq!(
        log.epochs().entries().iter().filter(|entry| entry.start < end).collect::<Vec<_>>(),
        naive_epochs(batches, start, end).entries().iter().collect::<Vec<_>>()
    );
    let model = naive_producers(batches, end);
    let essence = |(id, entry): (ProducerId, &ProducerEntry)| {
        let last = (entry.last_sequence(), entry.last_offset(), entry.last_timestamp);
        (id, entry.epoch, entry.coordinator_epoch, entry.transaction_start, last)
    };
    let ours: Vec<_> = log.producers().iter().map(essence).collect();
    assert_eq!(ours, model.iter().map(essence).collect::<Vec<_>>());
    assert_eq!(log.producers().first_open_offset(), model.first_open_offset());
    for (id, entry) in log.producers().iter() {
        // A snapshot keeps of the timestamps only the last.
        let remembered = |entry: &ProducerEntry| -> Vec<_> {
            entry.batches().iter().map(|b| (b.first_sequence(), b.last_sequence, b.last_offset)).collect()
        };
        let known = remembered(model.get(id).unwrap());
        assert!(known.ends_with(&remembered(entry)), "{entry:?} is no end of {known:?}");
    }
    let first = log.segment_bases().next().unwrap();
    let aborted = log.aborted_transactions(first, end).unwrap();
    assert_eq!(aborted, naive_aborted(batches, first, end));
}

/// What a read must find, worked out batch by batch.
pub(super) fn naive_read(batches: &[StampedBatch], from: Offset, limit: ReadLimit) -> Vec<u8> {
    let mut left = limit.max_bytes as usize;
    let mut found = Vec::new();
    for batch in batches.iter().filter(|batch| batch.header().last_offset() >= from) {
        let is_first = found.is_empty() && limit.first_batch == FirstBatch::AnySize;
        if batch.header().last_offset() >= limit.up_to || (batch.size() > left && !is_first) {
            break;
        }
        left = left.saturating_sub(batch.size());
        found.extend_from_slice(&batch.to_bytes());
    }
    found
}
