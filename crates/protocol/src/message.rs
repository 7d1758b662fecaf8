//! What every generated message can do.

use bytes::Bytes;

use crate::api_key::ApiKey;
use crate::codec::{DecodeError, EncodeError, Malformed, Reader, Writer};

/// A message of Kafka's: a request, a response or an internal record.
pub trait Message: Default + Clone + std::fmt::Debug + PartialEq + Sized {
    /// The lowest version in the schema.
    const MIN: i16;
    /// The highest version in the schema.
    const MAX: i16;
    /// The first flexible version (KIP-482); `i16::MAX` if there is none.
    const FLEXIBLE_FROM: i16;

    /// Reads the fields of a version; errors stay in the reader. Use [`Message::decode`].
    fn read(reader: &mut Reader, version: i16) -> Self;

    /// Writes the fields of a version; errors stay in the writer. Use [`Message::encode`].
    fn write(&self, writer: &mut Writer, version: i16);

    /// Reads the message, leaving what follows it in the reader.
    ///
    /// # Errors
    /// If the version does not exist or the bytes are not such a message.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !(Self::MIN..=Self::MAX).contains(&version) {
            reader.fail(Malformed::Version(version));
        }
        reader.check()?;
        reader.set_flexible(version >= Self::FLEXIBLE_FROM);
        let message = Self::read(reader, version);
        reader.check()?;
        Ok(message)
    }

    /// Writes the message.
    ///
    /// # Errors
    /// If the version does not exist, a field is set that the version lacks and that is not ignorable, a field is null
    /// where the version does not allow it, or something is too long.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if !(Self::MIN..=Self::MAX).contains(&version) {
            return Err(EncodeError::Version(version));
        }
        writer.set_flexible(version >= Self::FLEXIBLE_FROM);
        self.write(writer, version);
        writer.check()
    }

    /// The message alone as bytes.
    ///
    /// # Errors
    /// As [`Message::encode`].
    ///
    /// # Panics
    /// If a field of type `records` is a gap.
    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut writer = Writer::new();
        self.encode(&mut writer, version)?;
        Ok(writer.into_bytes().freeze())
    }
}

/// A request, with what belongs to it.
pub trait Request: Message {
    /// Its API key.
    const KEY: ApiKey;
    /// What answers it.
    type Response: Message;

    /// Whether a version is flexible (KIP-482), and so which headers go with it.
    #[must_use]
    fn flexible(version: i16) -> bool {
        version >= Self::FLEXIBLE_FROM
    }
}
