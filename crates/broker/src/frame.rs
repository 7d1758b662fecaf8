//! From a frame to a request header and a body, and from a response to the chunks that go out.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_log::Slice;
use ottla_protocol::ApiKey;
use ottla_protocol::codec::{EncodeError, Reader, Writer};
use ottla_protocol::header::{RequestHeader, ResponseHeader};

use crate::answer::Encodable;
use crate::core::Chunk;

/// What a request says before its body.
#[derive(Clone, Debug)]
pub struct Head {
    /// The API.
    pub key: ApiKey,
    /// The version of request and response.
    pub version: i16,
    /// Comes back in the response, so that the client knows which request it answers.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<String>,
}

/// The API key of a frame, without looking any further.
pub fn peek_key(frame: &[u8]) -> Option<i16> {
    Some(i16::from_be_bytes(*frame.first_chunk::<2>()?))
}

/// Most responses need not grow beyond this.
const SMALL_RESPONSE: usize = 128;

/// Splits a frame into head and body. An error is the reason for which the connection is closed, as Kafka does.
pub fn split(frame: Bytes) -> Result<(Head, Reader), &'static str> {
    let key = peek_key(&frame).and_then(ApiKey::from_code).ok_or("unknown API key")?;
    let version = frame.get(2..4).ok_or("frame without a version")?;
    let version = i16::from_be_bytes([version[0], version[1]]);
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(&mut reader, key.request_header_version(version))
        .map_err(|_| "request header cannot be read")?;
    let head = Head { key, version, correlation_id: header.correlation_id, client_id: header.client_id };
    Ok((head, reader))
}

/// Writes a response with its length and header; files take the place of the gaps.
pub fn respond(
    head: &Head,
    body: &dyn Encodable,
    slices: Vec<Vec<Slice>>,
) -> Result<Vec<Chunk>, EncodeError> {
    let mut writer = Writer::onto(BytesMut::with_capacity(SMALL_RESPONSE));
    writer.i32(0);
    ResponseHeader { correlation_id: head.correlation_id }
        .encode(&mut writer, head.key.response_header_version(head.version))?;
    body.encode(&mut writer, head.version)?;
    let encoded = writer.finish();
    let in_files: usize = encoded.gaps.iter().map(|gap| gap.length as usize).sum();
    let size = i32::try_from(encoded.bytes.len() + in_files - 4).map_err(|_| EncodeError::TooLong)?;
    let mut bytes = with_size(encoded.bytes, size);
    let mut slices: Vec<Option<Vec<Slice>>> = slices.into_iter().map(Some).collect();
    let mut chunks = Vec::with_capacity(1 + 2 * encoded.gaps.len());
    let mut taken = 0;
    for gap in encoded.gaps {
        let before = bytes.split_to(gap.at - taken);
        taken = gap.at;
        chunks.push(Chunk::Bytes(before));
        let filling = slices.get_mut(gap.slot as usize).and_then(Option::take).unwrap_or_default();
        let filled: u64 = filling.iter().map(|slice| u64::from(slice.length)).sum();
        assert_eq!(filled, u64::from(gap.length), "slices fill their gap");
        chunks.extend(filling.into_iter().map(Chunk::File));
    }
    if !bytes.is_empty() {
        chunks.push(Chunk::Bytes(bytes));
    }
    Ok(chunks)
}

fn with_size(bytes: Bytes, size: i32) -> Bytes {
    let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    (&mut bytes[..4]).put_i32(size);
    bytes.freeze()
}
