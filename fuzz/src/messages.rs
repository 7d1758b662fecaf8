//! Requests with their headers, responses, and internal records, in every version.

use bytes::Bytes;
use ottla_protocol::catalogue::{ENTRIES, Entry};
use ottla_protocol::codec::{Reader, Writer};
use ottla_protocol::header::{RequestHeader, ResponseHeader};
use ottla_protocol::records::{coordinator, share, transaction};
use ottla_protocol::{ApiKey, codec::DecodeError};

use crate::{Heap, Target};

/// What a decoded message may take is bounded; here it is decoded and encoded twice.
const HEAP: Heap = Heap { per_byte: 24, besides: 256 << 10 };

/// A frame as a client sends it, without its length.
pub const REQUEST: Target =
    Target { name: "request", run: request, seeds: requests, mutations: 3000, heap: HEAP };

/// Key and version of an API, two bytes each, then a frame as a broker answers, without its length.
pub const RESPONSE: Target =
    Target { name: "response", run: response, seeds: responses, mutations: 3000, heap: HEAP };

/// Two bytes that tell the type of an internal record, two for the version, then the record; all of it is also read as
/// the key of a record in an internal topic.
pub const RECORD: Target =
    Target { name: "record", run: record, seeds: records, mutations: 3000, heap: HEAP };

fn request(data: &[u8]) {
    let frame = Bytes::copy_from_slice(data);
    let Some((code, version)) = RequestHeader::peek(&frame) else { return };
    let Some(key) = ApiKey::from_code(code) else { return };
    let mut reader = Reader::new(frame);
    let header_version = key.request_header_version(version);
    let Ok(header) = RequestHeader::decode(&mut reader, header_version) else { return };
    let mut writer = Writer::new();
    header.encode(&mut writer, header_version).expect("a header that was read can be written");
    let again = RequestHeader::decode(&mut Reader::new(writer.into_bytes().freeze()), header_version);
    assert_eq!(again.as_ref(), Ok(&header));
    if let Some(entry) = find(&format!("{}Request", key.name())) {
        there_and_back(entry, version, reader.rest());
    }
}

fn response(data: &[u8]) {
    let frame = Bytes::copy_from_slice(data);
    let Some((code, version)) = RequestHeader::peek(&frame) else { return };
    let Some(key) = ApiKey::from_code(code) else { return };
    let mut reader = Reader::new(frame.slice(4..));
    if ResponseHeader::decode(&mut reader, key.response_header_version(version)).is_ok()
        && let Some(entry) = find(&format!("{}Response", key.name()))
    {
        there_and_back(entry, version, reader.rest());
    }
}

fn record(data: &[u8]) {
    key_there_and_back(data, coordinator::Key::decode, |key| key.encode().ok());
    key_there_and_back(data, transaction::Key::decode, |key| key.encode().ok());
    key_there_and_back(data, share::Key::decode, |key| key.encode().ok());
    let frame = Bytes::copy_from_slice(data);
    let Some((kind, version)) = RequestHeader::peek(&frame) else { return };
    if let Some(entry) = internal().find(|entry| name_code(entry.name) == kind) {
        there_and_back(entry, version, frame.slice(4..));
    }
}

/// What decodes can be encoded, and stays the same from then on.
fn there_and_back(entry: &Entry, version: i16, bytes: Bytes) {
    let _ = (entry.decode)(&mut Reader::new(bytes.clone()), version);
    let mut writer = Writer::new();
    let mut reader = Reader::new(bytes);
    match (entry.copy)(&mut reader, version, &mut writer, version) {
        Ok(()) => {}
        // Refused bytes are fine; a message that cannot be written again is not.
        Err(why) => {
            assert!(reader.failed(), "{} v{version} was read but cannot be written: {why}", entry.name);
            return;
        }
    }
    let first = writer.into_bytes().freeze();
    // Needless bytes may have paid for the memory of the first reading.
    let mut reader = Reader::with_budget(first.clone(), usize::MAX);
    let mut writer = Writer::new();
    (entry.copy)(&mut reader, version, &mut writer, version)
        .unwrap_or_else(|why| panic!("{} v{version}, written by ourselves: {why}", entry.name));
    assert_eq!(reader.remaining(), 0, "{} v{version} leaves bytes", entry.name);
    assert_eq!(writer.into_bytes(), first, "{} v{version} changes", entry.name);
}

fn key_there_and_back<K: PartialEq + std::fmt::Debug>(
    data: &[u8],
    decode: fn(&[u8]) -> Result<K, DecodeError>,
    encode: fn(&K) -> Option<Bytes>,
) {
    if let Ok(key) = decode(data) {
        let bytes = encode(&key).expect("a key that was read can be written");
        assert_eq!(decode(&bytes), Ok(key));
    }
}

fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

fn internal() -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter().filter(|entry| entry.folder != "messages")
}

/// Two bytes for a name that stay the same when other names are added.
fn name_code(name: &str) -> i16 {
    let hash =
        name.bytes().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash.wrapping_mul(0x9e37_79b9) >> 16) as u16 as i16
}

fn random(entry: &Entry, version: i16, head: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    head(&mut writer);
    let seed = name_code(entry.name) as u64 ^ (version as u64) << 32;
    (entry.copy)(&mut Reader::random(seed), version, &mut writer, version)
        .unwrap_or_else(|why| panic!("{} v{version}: {why}", entry.name));
    writer.into_bytes().to_vec()
}

fn requests() -> Vec<Vec<u8>> {
    of_every_api("Request", |key, version, writer| {
        let header = RequestHeader {
            api_key: key.code(),
            api_version: version,
            correlation_id: 7,
            client_id: Some("fuzz".to_owned()),
        };
        header.encode(writer, key.request_header_version(version)).expect("a short client id");
    })
}

fn responses() -> Vec<Vec<u8>> {
    of_every_api("Response", |key, version, writer| {
        writer.i16(key.code());
        writer.i16(version);
        let header = ResponseHeader { correlation_id: 7 };
        header.encode(writer, key.response_header_version(version)).expect("four bytes");
    })
}

fn of_every_api(suffix: &str, head: fn(ApiKey, i16, &mut Writer)) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for &key in ApiKey::ALL {
        let entry =
            find(&format!("{}{suffix}", key.name())).unwrap_or_else(|| panic!("{key} has no message"));
        let versions = entry.min..=entry.max;
        seeds.extend(versions.map(|version| random(entry, version, |writer| head(key, version, writer))));
    }
    seeds
}

fn records() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = (0..24u8).map(|number| [&[0, number][..], &[0; 24]].concat()).collect();
    for entry in internal() {
        let same = internal().filter(|other| name_code(other.name) == name_code(entry.name));
        assert_eq!(same.count(), 1, "two records share the code of {}", entry.name);
        seeds.extend((entry.min..=entry.max).map(|version| {
            random(entry, version, |writer| {
                writer.i16(name_code(entry.name));
                writer.i16(version);
            })
        }));
    }
    seeds
}
