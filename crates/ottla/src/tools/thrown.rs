//! Errors as Java's tools tell them: an exception's class, then its message. Scripts look for both.

use ottla_client::{ApiError, ClientError};
use ottla_protocol::Refusal;

/// Where Kafka keeps its exceptions.
const PACKAGE: &str = "org.apache.kafka.common.errors";

/// What an exception's `toString` gives.
pub fn thrown(error: &ClientError) -> String {
    match error {
        ClientError::Refused(error) => refused(error),
        ClientError::TimedOut(text) => format!("{PACKAGE}.TimeoutException: {text}"),
        ClientError::UnsupportedVersion(text) => format!("{PACKAGE}.UnsupportedVersionException: {text}"),
        ClientError::Disconnected(_) => format!("{PACKAGE}.DisconnectException: {error}"),
        other => format!("org.apache.kafka.common.KafkaException: {other}"),
    }
}

/// The same of a broker's refusal.
pub fn refused(error: &ApiError) -> String {
    format!("{PACKAGE}.{}: {error}", class(error.refusal))
}

/// The same of an exception that was caught on another thread.
pub fn executed(error: &ClientError) -> String {
    format!("java.util.concurrent.ExecutionException: {}", thrown(error))
}

/// The class of a refusal: its name, with exceptions of its own.
fn class(refusal: Refusal) -> String {
    let name = match refusal {
        Refusal::RequestTimedOut => "Timeout",
        Refusal::MessageTooLarge => "RecordTooLarge",
        Refusal::NonEmptyGroup => "GroupNotEmpty",
        Refusal::UnknownServerError => "UnknownServer",
        Refusal::TopicAuthorizationFailed => "TopicAuthorization",
        Refusal::GroupAuthorizationFailed => "GroupAuthorization",
        Refusal::ClusterAuthorizationFailed => "ClusterAuthorization",
        Refusal::TransactionalIdAuthorizationFailed => "TransactionalIdAuthorization",
        Refusal::SaslAuthenticationFailed => "SaslAuthentication",
        Refusal::CorruptMessage => "CorruptRecord",
        Refusal::RecordListTooLarge => "RecordBatchTooLarge",
        Refusal::OutOfOrderSequenceNumber => "OutOfOrderSequence",
        Refusal::DuplicateSequenceNumber => "DuplicateSequence",
        Refusal::InvalidProducerIdMapping => "InvalidPidMapping",
        Refusal::InvalidTransactionTimeout => "InvalidTxnTimeout",
        Refusal::InvalidConfig => "InvalidConfiguration",
        Refusal::TopicAlreadyExists => "TopicExists",
        Refusal::StaleControllerEpoch => "ControllerMoved",
        Refusal::KafkaStorageError => "KafkaStorage",
        Refusal::NetworkException | Refusal::InvalidTopicException => {
            return format!("{refusal:?}");
        }
        _ => return format!("{refusal:?}Exception"),
    };
    format!("{name}Exception")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_javas() {
        let say = |refusal| refused(&ApiError { refusal, message: Some("why".to_owned()) });
        assert_eq!(
            say(Refusal::GroupIdNotFound),
            "org.apache.kafka.common.errors.GroupIdNotFoundException: why"
        );
        assert_eq!(say(Refusal::NonEmptyGroup), "org.apache.kafka.common.errors.GroupNotEmptyException: why");
        let late = ClientError::TimedOut("late".to_owned());
        assert_eq!(
            executed(&late),
            "java.util.concurrent.ExecutionException: org.apache.kafka.common.errors.TimeoutException: late"
        );
    }
}
