//! The few bytes that stand before an internal record and say what it is.

use bytes::{Bytes, BytesMut};

use crate::codec::{DecodeError, EncodeError, Malformed, Reader, Writer};
use crate::message::Message;

/// The version of the frame around metadata records (KIP-631).
const METADATA_FRAME: u32 = 1;

/// Most keys and values need not grow beyond this.
const SMALL_RECORD: usize = 64;

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
    let mut writer = Writer::onto(BytesMut::with_capacity(SMALL_RECORD));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::coordinator::{self, OffsetCommitKey, OffsetCommitValue};
    use crate::records::metadata::{FeatureLevelRecord, MetadataRecord};

    #[test]
    fn a_metadata_record_has_frame_type_and_version_before_it() {
        let record: MetadataRecord = FeatureLevelRecord { name: "kraft".into(), feature_level: 1 }.into();
        let bytes = record.encode(0).unwrap();
        assert_eq!(&bytes[..], [1, 12, 0, 6, b'k', b'r', b'a', b'f', b't', 0, 1, 0]);
        assert_eq!(MetadataRecord::decode(&bytes), Ok(record));
        assert!(MetadataRecord::decode(&[0, 12, 0]).is_err(), "another frame");
        assert!(MetadataRecord::decode(&[1, 0xff, 0x01, 0]).is_err(), "no such type");
        assert!(MetadataRecord::decode(&[1, 12, 9]).is_err(), "no such version");
        assert!(MetadataRecord::decode(&[]).is_err(), "nothing");
    }

    #[test]
    fn a_key_has_its_type_and_a_value_its_version_before_it() {
        let key: coordinator::Key =
            OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 3 }.into();
        let bytes = key.encode().unwrap();
        assert_eq!(&bytes[..], [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 3]);
        assert_eq!(coordinator::Key::decode(&bytes), Ok(key));
        assert!(coordinator::Key::decode(&[0, 99, 0]).is_err(), "no such type");
        let value = OffsetCommitValue { offset: 5, ..Default::default() };
        let bytes = encode_versioned(&value, 3).unwrap();
        assert_eq!(bytes[..2], [0, 3]);
        assert_eq!(decode_versioned(&bytes), Ok((value, 3)));
    }
}
