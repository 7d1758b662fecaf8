//! Producer ids, given to brokers a thousand at a time.

use ottla_metadata::config::validate::Rejected;
use ottla_protocol::Refusal;
use ottla_protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use ottla_protocol::records::metadata::{MetadataRecord, ProducerIdsRecord};

use crate::refused::refused;
use crate::view::View;

/// How many ids a broker gets at once.
const BLOCK: i32 = 1000;

pub(crate) fn allocate(
    view: &View,
    request: &AllocateProducerIdsRequest,
    records: &mut Vec<MetadataRecord>,
) -> AllocateProducerIdsResponse {
    match next_block(view, request) {
        Ok(record) => {
            let producer_id_start = record.next_producer_id - i64::from(BLOCK);
            records.push(record.into());
            AllocateProducerIdsResponse { producer_id_start, producer_id_len: BLOCK, ..Default::default() }
        }
        Err(rejected) => {
            AllocateProducerIdsResponse { error_code: rejected.refusal.code(), ..Default::default() }
        }
    }
}

fn next_block(view: &View, request: &AllocateProducerIdsRequest) -> Result<ProducerIdsRecord, Rejected> {
    view.broker_of_epoch(request.broker_id, request.broker_epoch)?;
    let next = view.image.next_producer_id.0.checked_add(i64::from(BLOCK));
    let next_producer_id =
        next.ok_or_else(|| refused(Refusal::UnknownServerError, "Exhausted all producerIds"))?;
    Ok(ProducerIdsRecord {
        broker_id: request.broker_id,
        broker_epoch: request.broker_epoch,
        next_producer_id,
    })
}
