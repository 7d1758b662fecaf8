//! What can be wrong with bytes that came in, and with a message that shall go out.

/// Bytes that are not the message they should be; a peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at}")]
pub struct DecodeError {
    /// What was wrong.
    pub problem: Malformed,
    /// Where, counted from the start of the bytes given to the `Reader`.
    pub at: usize,
}

/// The ways in which bytes can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end inside a field.
    #[error("the bytes end early")]
    Truncated,
    /// The message has no such version.
    #[error("version {0} does not exist")]
    Version(i16),
    /// More than 5 bytes (10 for 64 bits), or more bits than the type has.
    #[error("a varint is too long")]
    Varint,
    /// An array claims more elements than the bytes left could hold.
    #[error("an array of {0} elements does not fit into the bytes left")]
    Count(u32),
    /// The decoded message would need more memory than a frame of this size may cost.
    #[error("the decoded message would take too much memory")]
    Budget,
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// A length below −1, or a string beyond 32,767 bytes.
    #[error("a length is impossible")]
    Length,
    /// Null where the version does not allow it.
    #[error("null in a field that cannot be null")]
    Null,
    /// Tags must ascend strictly.
    #[error("tagged fields are out of order")]
    TagOrder,
    /// A known tagged field is shorter or longer than it claims.
    #[error("a tagged field has another size than it claims")]
    TagSize,
    /// A frame, key or type number that does not exist.
    #[error("unknown type {0}")]
    Type(i32),
}

/// A message that cannot be written in the version asked for; our own fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The message has no such version.
    #[error("version {0} does not exist")]
    Version(i16),
    /// The field has a value, but this version has no such field and the value matters.
    #[error("field {field} is set but does not exist in version {version}")]
    Absent {
        /// Kafka's name of the field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// The field is null, which this version cannot say.
    #[error("field {field} is null, which version {version} does not allow")]
    Null {
        /// Kafka's name of the field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A string beyond 32,767 bytes, or anything else beyond 2 GiB.
    #[error("a field is too long for the wire")]
    TooLong,
}
