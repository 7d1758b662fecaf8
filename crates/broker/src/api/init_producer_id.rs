//! InitProducerId (22), versions 0–5: an id for an idempotent producer, or the taking over of a transactional id (KIP-98,
//! KIP-360).
//!
//! v4 PRODUCER_FENCED, v5 TRANSACTION_ABORTABLE. v6 is for two-phase commits (KIP-939): Apache Kafka 4.4 does not serve
//! it unless unstable versions are enabled.

use ottla_coordinator::transaction;
use ottla_protocol::Refusal;
use ottla_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::answer::{Answer, Question};
use crate::api::transact;
use crate::context::Context;
use crate::control::{Command, Reply};

/// No producer id, no epoch.
const NONE: i64 = -1;

/// The first version that knows PRODUCER_FENCED.
const FENCED_SINCE: i16 = 4;

/// Kafka gives the next producer id a minute.
const TIMEOUT_MS: i64 = 60_000;

/// Asks control, which holds this node's block of ids, or the coordinator of the transactional id.
pub fn answer(request: InitProducerIdRequest, context: &mut Context<'_>) -> Answer<InitProducerIdResponse> {
    // Who has an id has an epoch.
    if (request.producer_id == NONE) != (request.producer_epoch == NONE as i16) {
        return Answer::reply(refused(Refusal::InvalidRequest));
    }
    match request.transactional_id.clone() {
        None => idempotent(context),
        Some(id) if id.is_empty() => Answer::reply(refused(Refusal::InvalidRequest)),
        Some(id) => transactional(&id, request, context),
    }
}

fn idempotent(context: &Context<'_>) -> Answer<InitProducerIdResponse> {
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
            Some(Reply::Refused(refusal)) => Answer::reply(refused(refusal)),
            _ => Answer::reply(refused(Refusal::CoordinatorLoadInProgress)),
        },
    )
}

fn transactional(
    id: &str,
    request: InitProducerIdRequest,
    context: &Context<'_>,
) -> Answer<InitProducerIdResponse> {
    let version = context.version;
    let pick = |reply| match reply {
        transaction::Reply::InitProducerId(response) => Some(response),
        _ => None,
    };
    let command = transaction::Command::InitProducerId(request);
    transact::ask(context, id, command, pick, refused).map(move |mut response| {
        response.error_code = transact::as_told(response.error_code, version, FENCED_SINCE);
        response
    })
}

fn refused(refusal: Refusal) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: refusal.code(),
        producer_id: NONE,
        producer_epoch: NONE as i16,
        ..Default::default()
    }
}
