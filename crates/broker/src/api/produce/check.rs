//! What is checked of a producer's batch before its partition sees it.

use bytes::Bytes;
use ottla_partition::TopicSettings;
use ottla_protocol::Refusal;
use ottla_protocol::batch::{
    BatchError, Keys, Limits, RecordError, TimestampType, Timestamps, Validated, validate,
};
use ottla_protocol::messages::produce::BatchIndexAndErrorMessage;

use super::Refused;
use crate::context::Context;

/// The first version whose clients know zstd (KIP-110).
const FIRST_WITH_ZSTD: i16 = 7;

/// Validates the one batch that a partition is sent.
pub fn checked(
    bytes: &Bytes,
    settings: &TopicSettings,
    context: &mut Context<'_>,
) -> Result<Validated, Refused> {
    let now_ms = context.now.wall_ms;
    let limits = Limits {
        max_bytes: settings.max_message_bytes as usize,
        keys: if settings.compacted { Keys::Required } else { Keys::Optional },
        timestamps: match settings.timestamp_type {
            TimestampType::LogAppendTime => Timestamps::LogAppendTime { now_ms },
            TimestampType::CreateTime => Timestamps::CreateTime {
                now_ms,
                before_max_ms: settings.timestamp_before_max_ms,
                after_max_ms: settings.timestamp_after_max_ms,
            },
        },
        compression: settings.compression,
    };
    let validated = validate(bytes, &limits, context.codecs).map_err(refused)?;
    let header = &validated.header;
    if header.compression() == ottla_protocol::compression::Compression::Zstd
        && context.version < FIRST_WITH_ZSTD
    {
        return Err(Refusal::UnsupportedCompressionType.into());
    }
    if header.is_transactional() {
        // Only the transaction coordinator could say that this partition belongs to the transaction.
        return Err(Refusal::InvalidTxnState.into());
    }
    if header.is_control() {
        return Err(Refusal::InvalidRecord.into());
    }
    Ok(validated)
}

fn refused(error: BatchError) -> Refused {
    let refusal = error.refusal();
    let message = Some(error.to_string());
    let records = match error {
        BatchError::Records { errors, .. } => errors.into_iter().map(row).collect(),
        _ => Vec::new(),
    };
    Refused { refusal, message, records }
}

fn row(error: RecordError) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage { batch_index: error.index, batch_index_error_message: Some(error.message) }
}
