//! What can go wrong for a client: a broker's refusal, or no answer at all.

use ottla_protocol::Refusal;

/// A broker's refusal with the words it gave for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// Which of Kafka's errors.
    pub refusal: Refusal,
    /// The broker's own words, where it gave any.
    pub message: Option<String>,
}

/// A call that brought no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The broker said no.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The connection could not be made, or broke with the call under way.
    #[error("Disconnected from {0}")]
    Disconnected(String),
    /// Time ran out; the words say for what.
    #[error("{0}")]
    TimedOut(String),
    /// The broker has no version of this API in common with us.
    #[error("{0}")]
    UnsupportedVersion(String),
    /// The answer made no sense.
    #[error("The response of {api} could not be read: {why}")]
    Malformed {
        /// The API's name.
        api: &'static str,
        /// What the decoder said.
        why: String,
    },
    /// The request cannot be written in the version the broker speaks.
    #[error("{0}")]
    Unsendable(String),
    /// The settings make no client.
    #[error("{0}")]
    Settings(#[from] crate::settings::SettingsError),
    /// Nothing that was asked for: an argument that no broker need be asked about.
    #[error("{0}")]
    Invalid(String),
    /// The client was closed with the call under way.
    #[error("The client is closed")]
    Closed,
}

impl ClientError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Refused(error) => error.refusal.is_retriable(),
            Self::Disconnected(_) | Self::TimedOut(_) => true,
            _ => false,
        }
    }

    /// The broker's refusal, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(error) => Some(error.refusal),
            Self::UnsupportedVersion(_) => Some(Refusal::UnsupportedVersion),
            _ => None,
        }
    }
}

impl ApiError {
    /// The error behind a code and a message; `None` for code 0.
    #[must_use]
    pub fn from_code(code: i16, message: Option<String>) -> Option<Self> {
        let message = message.filter(|text| !text.is_empty());
        match (Refusal::from_code(code), code) {
            (_, 0) => None,
            (Some(refusal), _) => Some(Self { refusal, message }),
            (None, _) => Some(Self {
                refusal: Refusal::UnknownServerError,
                message: Some(
                    message.unwrap_or_else(|| format!("error code {code}, which no Kafka we know has")),
                ),
            }),
        }
    }

    /// `Ok` for code 0.
    ///
    /// # Errors
    /// Any other code.
    pub fn check(code: i16, message: Option<String>) -> Result<(), Self> {
        Self::from_code(code, message).map_or(Ok(()), Err)
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.message {
            Some(message) => f.write_str(message),
            None => f.write_str(in_words(self.refusal)),
        }
    }
}

impl std::error::Error for ApiError {}

/// What users see where the broker gave no words: Kafka's texts are searched for, so the frequent ones are the same.
fn in_words(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::UnknownTopicOrPartition => "This server does not host this topic-partition.",
        Refusal::TopicAlreadyExists => "Topic with this name already exists.",
        Refusal::NotController => "This is not the correct controller for this cluster.",
        Refusal::RequestTimedOut => "The request timed out.",
        Refusal::ClusterAuthorizationFailed => "Cluster authorization failed.",
        Refusal::TopicAuthorizationFailed => "Topic authorization failed.",
        Refusal::GroupAuthorizationFailed => "Group authorization failed.",
        Refusal::TopicDeletionDisabled => "Topic deletion is disabled.",
        Refusal::UnknownTopicId => "This server does not host this topic ID.",
        Refusal::CoordinatorLoadInProgress => "The coordinator is loading and hence can't process requests.",
        Refusal::CoordinatorNotAvailable => "The coordinator is not available.",
        Refusal::NotCoordinator => "This is not the correct coordinator.",
        Refusal::InvalidGroupId => "The group id is invalid.",
        Refusal::GroupIdNotFound => "The group id does not exist.",
        Refusal::NonEmptyGroup => "The group is not empty.",
        Refusal::GroupSubscribedToTopic => {
            "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it."
        }
        Refusal::UnknownMemberId => "The coordinator is not aware of this member.",
        Refusal::IllegalGeneration => "Specified group generation id is not valid.",
        Refusal::RebalanceInProgress => "The group is rebalancing, so a rejoin is needed.",
        Refusal::TransactionalIdNotFound => "The transactionalId could not be found.",
        Refusal::TransactionalIdAuthorizationFailed => "Transactional Id authorization failed.",
        Refusal::InvalidTxnState => "The producer attempted a transactional operation in an invalid state.",
        Refusal::InvalidProducerEpoch => "Producer attempted to produce with an old epoch.",
        Refusal::ProducerFenced => {
            "There is a newer producer with the same transactionalId which fences the current one."
        }
        Refusal::LeaderNotAvailable => {
            "There is no leader for this topic-partition as we are in the middle of a leadership election."
        }
        Refusal::OffsetOutOfRange => {
            "The requested offset is not within the range of offsets maintained by the server."
        }
        Refusal::UnsupportedVersion => "The version of API is not supported.",
        other => other.name(),
    }
}
