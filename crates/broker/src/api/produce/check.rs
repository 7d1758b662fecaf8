//! What is checked of a producer's batch before its partition sees it.

use bytes::Bytes;
use ottla_partition::TopicSettings;
use ottla_protocol::Refusal;
use ottla_protocol::batch::{
    BatchError, BatchHeader, Keys, Limits, RecordError, TimestampType, Timestamps, Validated, validate,
};
use ottla_protocol::compression::{Codecs, Compression};
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
    check(bytes, settings, (context.version, context.now.wall_ms), context.codecs)
}

fn check(
    bytes: &Bytes,
    settings: &TopicSettings,
    (version, now_ms): (i16, i64),
    codecs: &mut Codecs,
) -> Result<Validated, Refused> {
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
    // What is sent counts, not what the topic makes of it.
    let sent = BatchHeader::parse(bytes).map(|header| header.compression());
    if sent == Ok(Compression::Zstd) && version < FIRST_WITH_ZSTD {
        return Err(Refusal::UnsupportedCompressionType.into());
    }
    let validated = validate(bytes, &limits, codecs).map_err(refused)?;
    if validated.batch.size() > settings.log.segment_bytes as usize {
        // Followers refuse it as well, and would stop there.
        return Err(Refusal::RecordListTooLarge.into());
    }
    let header = &validated.header;
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

#[cfg(test)]
mod tests {
    use ottla_metadata::config::{Overrides, Settings};
    use ottla_protocol::batch::{BatchBuilder, BatchFields, RecordParts};

    use super::*;
    use crate::topic_settings;

    fn batch(codec: Compression, value: usize) -> Bytes {
        let mut builder = BatchBuilder::new();
        let noise: Vec<u8> = (0..value).map(|i| (i * i / 3 + i % 251) as u8).collect();
        builder.append(&RecordParts { value: Some(&noise), ..RecordParts::default() }).unwrap();
        let fields = BatchFields { effort: codec.into(), ..BatchFields::default() };
        builder.finish(&fields, &mut Codecs::new()).to_bytes()
    }

    fn outcome(batch: &Bytes, topic: &[(&str, &str)], version: i16) -> Result<Compression, Refusal> {
        let own: Overrides =
            topic.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let settings = topic_settings::resolve(&Settings::default(), &own);
        check(batch, &settings, (version, 0), &mut Codecs::new())
            .map(|validated| validated.header.compression())
            .map_err(|refused| refused.refusal)
    }

    #[test]
    fn zstd_is_refused_from_old_clients_and_not_written_for_them() {
        let refused = Err(Refusal::UnsupportedCompressionType);
        let (gzip, zstd) = (batch(Compression::Gzip, 50), batch(Compression::Zstd, 50));
        assert_eq!(outcome(&zstd, &[], 7), Ok(Compression::Zstd));
        assert_eq!(outcome(&zstd, &[], 6), refused);
        assert_eq!(
            outcome(&zstd, &[("compression.type", "gzip")], 6),
            refused,
            "it is what is sent that counts"
        );
        assert_eq!(outcome(&gzip, &[("compression.type", "zstd")], 3), Ok(Compression::Zstd));
    }

    #[test]
    fn a_batch_must_fit_into_a_segment() {
        let small = [("segment.bytes", "1048576"), ("max.message.bytes", "3000000")];
        assert_eq!(outcome(&batch(Compression::None, 1_048_000), &small, 9), Ok(Compression::None));
        assert_eq!(
            outcome(&batch(Compression::None, 1_048_600), &small, 9),
            Err(Refusal::RecordListTooLarge)
        );
        assert_eq!(outcome(&batch(Compression::None, 3_000_000), &small, 9), Err(Refusal::MessageTooLarge));
    }
}
