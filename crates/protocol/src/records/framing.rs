//! The few bytes that stand before an internal record and say what it is.

use bytes::Bytes;

use crate::codec::{DecodeError, EncodeError, Malformed, Reader, Writer};
use crate::message::Message;

/// The version of the frame around metadata records (KIP-631).
const METADATA_FRAME: u32 = 1;

/// Reads a message that stands behind its version as two bytes: the values of coordinator records, the consumer
/// protocol.
///
/// # Errors
/// If the version is unknown or the bytes are not such a message.
pub fn decode_versioned<M: Message>(bytes: &[u8]) -> Result<(M, i16), DecodeError> {
    let (mut reader, version) = numbered_reader(bytes)?;
    Ok((M::decode(&mut reader, version)?, version))
}

/// The same as bytes, in the given version.
///
/// # Errors
/// If the version is unknown or cannot say what the message says.
pub fn encode_versioned<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = numbered_writer(version);
    message.encode(&mut writer, version)?;
    Ok(writer.into_bytes().freeze())
}

pub(super) fn numbered_reader(bytes: &[u8]) -> Result<(Reader, i16), DecodeError> {
    let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
    let number = reader.i16();
    reader.check()?;
    Ok((reader, number))
}

pub(super) fn numbered_writer(number: i16) -> Writer {
    let mut writer = Writer::new();
    writer.i16(number);
    writer
}

pub(super) fn metadata_reader(bytes: &[u8]) -> Result<(Reader, i16, i16), DecodeError> {
    let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
    let frame = reader.uvarint();
    if frame != METADATA_FRAME {
        reader.fail(Malformed::Type(i32::try_from(frame).unwrap_or(i32::MAX)));
    }
    let number = small(&mut reader);
    let version = small(&mut reader);
    reader.check()?;
    Ok((reader, number, version))
}

fn small(reader: &mut Reader) -> i16 {
    let value = reader.uvarint();
    i16::try_from(value).unwrap_or_else(|_| {
        reader.fail(Malformed::Type(i32::try_from(value).unwrap_or(i32::MAX)));
        0
    })
}

pub(super) fn metadata_writer(number: i16, version: i16) -> Result<Writer, EncodeError> {
    let mut writer = Writer::new();
    writer.uvarint(METADATA_FRAME);
    writer.uvarint(u32::try_from(number).map_err(|_| EncodeError::Version(number))?);
    writer.uvarint(u32::try_from(version).map_err(|_| EncodeError::Version(version))?);
    Ok(writer)
}
