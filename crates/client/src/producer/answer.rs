//! What an answer means for each batch: delivered, to be sent again, to be divided, or lost.

use std::sync::Arc;

use ottla_protocol::batch::{BatchBuilder, RecordParts, RecordsIter};
use ottla_protocol::compression::{Codecs, Limit};
use ottla_protocol::messages::produce::PartitionProduceResponse;
use ottla_protocol::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, ProducerEpoch, ProducerId, Refusal};

use crate::call::{Reply, Ticket};
use crate::cluster::Cluster;
use crate::error::{ApiError, ClientError};
use crate::operation::Outcome;
use crate::producer::delivery::{BatchId, Lost, Placed};
use crate::producer::queue::{Identity, Waiting};
use crate::producer::sender::Request;
use crate::producer::{Acks, Place, Producer, Who, fields};

/// What becomes of one batch.
enum Verdict {
    Delivered(Placed),
    /// Try the same again.
    Again(ClientError),
    /// The broker has certainly not taken it, and its number does not fit any more.
    Renumber(ClientError),
    /// It is larger than the broker takes, but its parts may not be.
    Divide,
    Lost(Lost),
}

impl Producer {
    /// Takes the end of a call; false if the call is not one of this producer's.
    pub fn done(&mut self, now: Now, cluster: &mut Cluster, ticket: Ticket, outcome: Outcome) -> bool {
        if matches!(self.who, Who::Asked { ticket: asked, .. } if asked == ticket) {
            self.identified(now, cluster, outcome);
        } else if self.transaction_done(now, cluster, ticket, &outcome) {
            // What it means has been taken note of.
        } else if let Some(request) = self.requests.remove(&ticket) {
            self.answered(now, cluster, request, outcome);
        } else {
            return false;
        }
        self.step(now, cluster);
        true
    }

    fn identified(&mut self, now: Now, cluster: &mut Cluster, outcome: Outcome) {
        let Who::Asked { failures, .. } = self.who else { return };
        let answer = outcome.and_then(|reply| {
            let response = reply.decode::<InitProducerIdRequest>()?;
            ApiError::check(response.error_code, None)?;
            Ok(Identity {
                id: ProducerId(response.producer_id),
                epoch: ProducerEpoch(response.producer_epoch),
            })
        });
        match answer {
            Ok(identity) => self.who = Who::Known(identity),
            Err(error) if error.is_retriable() => {
                let failures = failures.saturating_add(1);
                let wait = self.settings.retry_backoff.wait(failures, self.random.next());
                self.who = Who::Wanted { not_before: Some(now.after(wait)), failures };
                cluster.refresh(now);
            }
            // Without an identity nothing can ever be sent.
            Err(error) => self.abort(&error),
        }
    }

    fn answered(&mut self, now: Now, cluster: &mut Cluster, request: Request, outcome: Outcome) {
        if let Some(node) = self.nodes.get_mut(&request.node) {
            node.answered();
        }
        let no_answer = self.settings.acks == Acks::None;
        let verdicts = match outcome {
            Ok(_) if no_answer => Err(Ok(Placed { base_offset: -1, log_append_time: None })),
            Ok(reply) => self.read(now, cluster, &request, &reply).map_err(Err),
            Err(error) => Err(Err(error)),
        };
        match verdicts {
            Ok(mut rows) => {
                for (at, batch) in request.batches {
                    let row = rows.iter().position(|(row, _)| *row == at).map(|i| rows.swap_remove(i).1);
                    let verdict =
                        row.map_or_else(|| Verdict::Again(not_mentioned()), |row| judge(&batch, row));
                    self.conclude(now, cluster, at, batch, verdict);
                }
            }
            Err(all) => {
                for (at, batch) in request.batches {
                    let verdict = match &all {
                        Ok(placed) => Verdict::Delivered(*placed),
                        Err(error) if error.is_retriable() => Verdict::Again(error.clone()),
                        Err(error) => Verdict::Lost(Lost { error: error.clone(), culprits: Vec::new() }),
                    };
                    self.conclude(now, cluster, at, batch, verdict);
                }
            }
        }
    }

    /// The rows of an answer by the queues they are about; leaders it names are noted (KIP-951).
    fn read(
        &mut self,
        now: Now,
        cluster: &mut Cluster,
        request: &Request,
        reply: &Reply,
    ) -> Result<Vec<(Place, PartitionProduceResponse)>, ClientError> {
        let ProduceResponse { responses, throttle_time_ms, .. } = reply.decode::<ProduceRequest>()?;
        if throttle_time_ms > 0 {
            let node = self.nodes.entry(request.node).or_default();
            node.not_before = Some(now.after_ms(throttle_time_ms.into()));
        }
        let mut rows = Vec::with_capacity(request.batches.len());
        for topic in responses {
            let place = match topic.topic_id.is_zero() {
                true => self.topics.by_name.get(topic.name.as_str()).copied(),
                false => {
                    request.topic_ids.iter().find(|(id, _)| *id == topic.topic_id).map(|(_, place)| *place)
                }
            };
            let Some(place) = place else { continue };
            let name: Arc<str> = self.topics.list[place].name.clone();
            for row in topic.partition_responses {
                let Ok(partition) = usize::try_from(row.index) else { continue };
                let leader = &row.current_leader;
                let (leader, epoch) = (leader.leader_id, leader.leader_epoch);
                cluster.metadata_mut().learn_leader(&name, row.index, leader, epoch);
                rows.push(((place, partition), row));
            }
        }
        Ok(rows)
    }

    fn conclude(&mut self, now: Now, cluster: &mut Cluster, at: Place, mut batch: Waiting, verdict: Verdict) {
        let queue = &mut self.topics.list[at.0].queues[at.1];
        queue.in_flight.retain(|key| *key != batch.key);
        match verdict {
            Verdict::Delivered(placed) => {
                if let Some(sequence) = batch.sequence {
                    queue.sequences.acknowledge(sequence, batch.count);
                }
                self.end(at, &batch, Ok(placed));
            }
            Verdict::Divide => self.divide(at, batch),
            // In a transaction numbers change with the epoch alone, and that with the transaction's end.
            Verdict::Renumber(error)
                if self.transaction.is_some()
                    && (error.refusal() != Some(Refusal::OutOfOrderSequenceNumber)
                        || !queue.has_open_before(batch.key)) =>
            {
                self.lose(at, &batch, Lost { error, culprits: Vec::new() });
            }
            Verdict::Renumber(error) => {
                // Out of order is what a batch is when one before it has to be sent again; then its number still holds.
                if !queue.has_open_before(batch.key) {
                    batch.sequence = None;
                    queue.sequences.lose();
                }
                self.again(now, at, batch, error);
            }
            Verdict::Again(error) => {
                cluster.refresh(now);
                self.again(now, at, batch, error);
            }
            Verdict::Lost(lost) => self.lose(at, &batch, lost),
        }
        self.tidy(at);
    }

    fn again(&mut self, now: Now, at: Place, mut batch: Waiting, error: ClientError) {
        let timeout = u64::try_from(self.settings.delivery_timeout.as_micros()).unwrap_or(u64::MAX);
        let late = now.reached(Deadline(batch.created.0.saturating_add(timeout)));
        if batch.attempts >= self.settings.retries || late {
            return self.lose(at, &batch, Lost { error, culprits: Vec::new() });
        }
        let name = &self.topics.list[at.0].name;
        tracing::debug!("batch of {} for {name}-{} is sent again: {error}", batch.count, at.1);
        batch.attempts += 1;
        let wait = self.settings.retry_backoff.wait(batch.attempts, self.random.next());
        batch.not_before = Some(now.after(wait));
        self.counters.retries += 1;
        self.topics.list[at.0].queues[at.1].put_back(batch);
    }

    fn lose(&mut self, at: Place, batch: &Waiting, lost: Lost) {
        if batch.sequence.is_some() {
            self.topics.list[at.0].queues[at.1].sequences.lose();
        }
        self.end(at, batch, Err(lost));
    }

    /// Makes of one batch several of at most `batch.size` (KIP-126). Their numbers add up to those of the whole.
    fn divide(&mut self, at: Place, mut batch: Waiting) {
        self.open.remove(&batch.key);
        self.topics.list[at.0].distrust_ratio();
        let parts = match parts_of(&mut batch, self.settings.batch_size, &mut self.codecs) {
            Ok(parts) => parts,
            // Our own batch cannot be read: nothing but a loss can come of it.
            Err(why) => {
                let lost = Lost { error: ClientError::Invalid(why), culprits: Vec::new() };
                return self.lose(at, &batch, lost);
            }
        };
        let (id, mut first_index): (BatchId, i32) = batch.key;
        let mut charged = batch.charged;
        let pieces = parts.len();
        for (n, builder) in parts.into_iter().enumerate() {
            let count = builder.len() as i32;
            let share = if n + 1 == pieces { charged } else { charged.min(builder.plain_size()) };
            charged -= share;
            let offset = first_index - batch.key.1;
            let renumber = |(who, first)| (who, ottla_protocol::batch::sequence_after(first, offset));
            self.open.insert((id, first_index));
            self.topics.list[at.0].queues[at.1].put_back(Waiting {
                key: (id, first_index),
                count,
                batch: builder.pack(&fields(&self.settings), &mut self.codecs),
                sequence: batch.sequence.map(renumber),
                created: batch.created,
                charged: share,
                attempts: batch.attempts,
                not_before: None,
                last_leader: batch.last_leader,
            });
            first_index += count;
        }
    }
}

fn parts_of(batch: &mut Waiting, size: usize, codecs: &mut Codecs) -> Result<Vec<BatchBuilder>, String> {
    let limit = Limit::bytes(usize::MAX);
    let records = RecordsIter::new(&batch.batch.seal(), limit, codecs).map_err(|error| error.to_string())?;
    let mut parts = Vec::new();
    let mut part = BatchBuilder::new();
    let half = (batch.count as usize).div_ceil(2);
    for record in records {
        let record = record.map_err(|error| error.to_string())?;
        let parts_of_record = RecordParts::from(&record);
        // Half of it at most, so that the division makes progress whatever the sizes are.
        let full = part.plain_size() + part.cost_of(&parts_of_record) > size || part.len() >= half;
        if !part.is_empty() && full {
            parts.push(std::mem::take(&mut part));
        }
        part.append(&parts_of_record).map_err(|error| error.to_string())?;
    }
    parts.push(part);
    Ok(parts)
}

fn judge(batch: &Waiting, row: PartitionProduceResponse) -> Verdict {
    let log_append_time = Some(row.log_append_time_ms).filter(|&ms| ms >= 0);
    let Some(error) = ApiError::from_code(row.error_code, row.error_message) else {
        return Verdict::Delivered(Placed { base_offset: row.base_offset, log_append_time });
    };
    let refusal = error.refusal;
    let error = ClientError::Refused(error);
    match refusal {
        // It is there, and so are later ones, so many that the broker has forgotten where.
        Refusal::DuplicateSequenceNumber => {
            Verdict::Delivered(Placed { base_offset: -1, log_append_time: None })
        }
        Refusal::MessageTooLarge if batch.count > 1 => Verdict::Divide,
        Refusal::OutOfOrderSequenceNumber | Refusal::UnknownProducerId | Refusal::InvalidProducerEpoch
            if batch.sequence.is_some() =>
        {
            Verdict::Renumber(error)
        }
        _ if refusal.is_retriable() => Verdict::Again(error),
        _ => {
            let culprits = row.record_errors.into_iter().map(|culprit| {
                let words = culprit.batch_index_error_message.unwrap_or_else(|| error.to_string());
                (batch.key.1.saturating_add(culprit.batch_index), words)
            });
            let culprits = culprits.collect();
            Verdict::Lost(Lost { error, culprits })
        }
    }
}

fn not_mentioned() -> ClientError {
    ClientError::Refused(ApiError {
        refusal: Refusal::NetworkException,
        message: Some("The broker's answer does not mention the partition".to_owned()),
    })
}
