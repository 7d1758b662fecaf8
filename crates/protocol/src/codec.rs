//! Kafka's primitive types on the wire, and how a message is read and written with them.
//!
//! `Reader` and `Writer` are plain types without generics: the generated messages call them field by field. Both keep
//! the first error and go on with harmless values, so the generated code has no branch per field; whoever starts a
//! message asks for the error once, at its end. Nothing a peer sends makes a `Reader` panic, loop without consuming
//! bytes, or reserve more memory than its budget.

mod error;
mod reader;
mod writer;

#[cfg(feature = "arbitrary")]
mod dice;

pub use error::{DecodeError, EncodeError, Malformed};
pub use reader::{Reader, Tags, memory_bound};
pub use writer::{Encoded, Gap, TagSection, Writer};

use bytes::Bytes;

/// The value of a field of type `records`: one or more record batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// The batches themselves: what a `Reader` gives, as a slice of the frame.
    Bytes(Bytes),
    /// `length` bytes that the socket puts in when the message is sent; `slot` tells the sender which ones.
    Gap {
        /// Bytes to be filled in.
        length: u32,
        /// The sender's own name for them.
        slot: u32,
    },
}

impl Records {
    /// The size of the batches in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Gap { length, .. } => *length as usize,
        }
    }

    /// Whether there is not a single byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, unless they are still a gap.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Gap { .. } => None,
        }
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}
