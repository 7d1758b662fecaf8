//! InitProducerId (22), versions 0–5: an id for an idempotent producer (KIP-98, KIP-360).
//!
//! Transactional ids belong to the transaction coordinator; without one they are told that there is none.

use ottla_protocol::Refusal;
use ottla_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::answer::{Answer, Question};
use crate::context::Context;
use crate::control::{Command, Reply};

/// No producer id, no epoch.
const NONE: i64 = -1;

/// Kafka gives the next producer id a minute.
const TIMEOUT_MS: i64 = 60_000;

/// Asks control, which holds this node's block of ids.
pub fn answer(request: InitProducerIdRequest, context: &mut Context<'_>) -> Answer<InitProducerIdResponse> {
    // Who has an id has an epoch.
    if (request.producer_id == NONE) != (request.producer_epoch == NONE as i16) {
        return refuse(Refusal::InvalidRequest);
    }
    match request.transactional_id.as_deref() {
        Some("") => return refuse(Refusal::InvalidRequest),
        Some(_) => return refuse(Refusal::CoordinatorNotAvailable),
        None => {}
    }
    let deadline = Some(context.now.after_ms(TIMEOUT_MS));
    Answer::ask_all(
        vec![Question::Control(Command::NextProducerId)],
        deadline,
        |_, mut replies| match replies.control(0) {
            Some(Reply::ProducerId(id)) => Answer::reply(InitProducerIdResponse {
                producer_id: id.0,
                producer_epoch: 0,
                ..Default::default()
            }),
            Some(Reply::Refused(refusal)) => refuse(refusal),
            _ => refuse(Refusal::CoordinatorLoadInProgress),
        },
    )
}

fn refuse(refusal: Refusal) -> Answer<InitProducerIdResponse> {
    Answer::reply(InitProducerIdResponse {
        error_code: refusal.code(),
        producer_id: NONE,
        producer_epoch: NONE as i16,
        ..Default::default()
    })
}
