//! The headers before every request and every response.

use bytes::Bytes;

use crate::codec::{DecodeError, EncodeError, Reader, Writer};

/// What comes before a request: versions 1 and 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// The number of the API, which may be one we do not know.
    pub api_key: i16,
    /// The version of request and response.
    pub api_version: i16,
    /// The response carries the same number.
    pub correlation_id: i32,
    /// The client's name of itself.
    pub client_id: Option<String>,
}

/// What comes before a response: versions 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The number of the request that is answered.
    pub correlation_id: i32,
}

impl RequestHeader {
    /// The key and the version at the head of a frame, which say how the rest is to be read; `None` if it is too short.
    #[must_use]
    pub fn peek(frame: &Bytes) -> Option<(i16, i16)> {
        let head = frame.first_chunk::<4>()?;
        Some((i16::from_be_bytes([head[0], head[1]]), i16::from_be_bytes([head[2], head[3]])))
    }

    /// Reads a header of the given version (1, or 2 for flexible requests); the request follows in the reader.
    ///
    /// # Errors
    /// If the bytes are not such a header.
    pub fn decode(reader: &mut Reader, header_version: i16) -> Result<Self, DecodeError> {
        // The client id has the old form in both versions, so that a broker can read it before it knows the version.
        reader.set_flexible(false);
        let header = Self {
            api_key: reader.i16(),
            api_version: reader.i16(),
            correlation_id: reader.i32(),
            client_id: reader.string_nullable(),
        };
        reader.set_flexible(header_version >= 2);
        reader.skip_tags();
        reader.check()?;
        Ok(header)
    }

    /// Writes a header of the given version.
    ///
    /// # Errors
    /// If the client id is longer than 32,767 bytes.
    pub fn encode(&self, writer: &mut Writer, header_version: i16) -> Result<(), EncodeError> {
        writer.set_flexible(false);
        writer.i16(self.api_key);
        writer.i16(self.api_version);
        writer.i32(self.correlation_id);
        writer.string_nullable(self.client_id.as_deref());
        writer.set_flexible(header_version >= 2);
        writer.no_tags();
        writer.check()
    }
}

impl ResponseHeader {
    /// Reads a header of the given version (0, or 1 for flexible responses); the response follows in the reader.
    ///
    /// # Errors
    /// If the bytes are not such a header.
    pub fn decode(reader: &mut Reader, header_version: i16) -> Result<Self, DecodeError> {
        let header = Self { correlation_id: reader.i32() };
        reader.set_flexible(header_version >= 1);
        reader.skip_tags();
        reader.check()?;
        Ok(header)
    }

    /// Writes a header of the given version.
    ///
    /// # Errors
    /// None but those the writer had before.
    pub fn encode(self, writer: &mut Writer, header_version: i16) -> Result<(), EncodeError> {
        writer.i32(self.correlation_id);
        writer.set_flexible(header_version >= 1);
        writer.no_tags();
        writer.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_id_has_the_old_form_in_both_versions() {
        let header = RequestHeader {
            api_key: 18,
            api_version: 3,
            correlation_id: 7,
            client_id: Some("me".to_owned()),
        };
        for (version, end) in [(1, &[][..]), (2, &[0])] {
            let mut writer = Writer::new();
            header.encode(&mut writer, version).unwrap();
            let bytes = writer.into_bytes().freeze();
            assert_eq!(bytes, [&[0, 18, 0, 3, 0, 0, 0, 7, 0, 2, b'm', b'e'], end].concat());
            assert_eq!(RequestHeader::peek(&bytes), Some((18, 3)));
            assert_eq!(RequestHeader::decode(&mut Reader::new(bytes), version).as_ref(), Ok(&header));
        }
        assert!(RequestHeader::decode(&mut Reader::new(Bytes::from_static(&[0, 18, 0, 3, 0])), 1).is_err());
    }

    #[test]
    fn a_flexible_response_has_a_section_of_tags() {
        let header = ResponseHeader { correlation_id: 7 };
        for (version, expected) in [(0, &[0, 0, 0, 7][..]), (1, &[0, 0, 0, 7, 0])] {
            let mut writer = Writer::new();
            header.encode(&mut writer, version).unwrap();
            let bytes = writer.into_bytes().freeze();
            assert_eq!(bytes, expected);
            assert_eq!(ResponseHeader::decode(&mut Reader::new(bytes), version), Ok(header));
        }
    }
}
