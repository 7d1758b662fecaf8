//! Every message at every version: random ones survive the way out and in, broken ones are refused without harm.

use bytes::Bytes;
use ottla_protocol::catalogue::{ENTRIES, Entry};
use ottla_protocol::codec::{Reader, Writer};
use ottla_protocol::messages::{
    ApiVersionsRequest, FetchResponse, MetadataRequest, ProduceRequest, ProduceResponse,
};
use ottla_protocol::{ApiKey, Message, Request};

const SEEDS: u64 = 20;

/// Every message with every version.
fn every() -> impl Iterator<Item = (&'static Entry, i16)> {
    ENTRIES.iter().flat_map(|entry| (entry.min..=entry.max).map(move |version| (entry, version)))
}

/// A random message as bytes.
fn random(entry: &Entry, version: i16, seed: u64) -> Bytes {
    let mut writer = Writer::new();
    let mut dice = Reader::random(seed);
    (entry.copy)(&mut dice, version, &mut writer, version)
        .unwrap_or_else(|error| panic!("{} v{version} seed {seed}: {error}", entry.name));
    writer.into_bytes().freeze()
}

#[test]
fn random_messages_come_back_as_they_went() {
    for (entry, version) in every() {
        for seed in 0..SEEDS {
            let bytes = random(entry, version, seed);
            let mut reader = Reader::new(bytes.clone());
            let mut writer = Writer::new();
            (entry.copy)(&mut reader, version, &mut writer, version)
                .unwrap_or_else(|error| panic!("{} v{version} seed {seed}: {error}", entry.name));
            assert_eq!(reader.remaining(), 0, "{} v{version} seed {seed} leaves bytes", entry.name);
            assert_eq!(writer.into_bytes(), bytes, "{} v{version} seed {seed}", entry.name);
        }
    }
}

#[test]
fn a_message_cut_anywhere_is_refused() {
    for (entry, version) in every() {
        for seed in 0..3 {
            let bytes = random(entry, version, seed);
            for end in 0..bytes.len() {
                let mut reader = Reader::new(bytes.slice(..end));
                let decoded = (entry.decode)(&mut reader, version);
                assert!(
                    decoded.is_err(),
                    "{} v{version} seed {seed} cut at {end} of {}",
                    entry.name,
                    bytes.len()
                );
            }
        }
    }
}

#[test]
fn versions_outside_the_schema_are_refused_both_ways() {
    for entry in ENTRIES {
        for version in [entry.min - 1, entry.max + 1, i16::MIN, i16::MAX] {
            assert!(
                (entry.decode)(&mut Reader::new(Bytes::from_static(&[0; 64])), version).is_err(),
                "{}",
                entry.name
            );
        }
    }
    assert!(ApiVersionsRequest::default().to_bytes(ApiVersionsRequest::MAX + 1).is_err());
}

#[test]
fn unknown_tags_are_passed_over() {
    let mut request = ApiVersionsRequest { client_software_name: "a".into(), ..Default::default() };
    request.client_software_version = "1".into();
    let mut bytes = request.to_bytes(3).unwrap().to_vec();
    assert_eq!(bytes.pop(), Some(0));
    bytes.extend_from_slice(&[2, 100, 3, 1, 2, 3, 101, 0]);
    let mut reader = Reader::new(bytes.into());
    assert_eq!(ApiVersionsRequest::decode(&mut reader, 3), Ok(request));
    assert_eq!(reader.remaining(), 0);
}

#[test]
fn a_field_the_version_lacks_is_refused_unless_it_may_be_ignored() {
    let request = ProduceRequest { transactional_id: Some("t".into()), ..Default::default() };
    assert!(request.to_bytes(2).is_err());
    assert!(request.to_bytes(3).is_ok());
    let ignorable = ProduceResponse { throttle_time_ms: 5, ..Default::default() };
    assert!(ignorable.to_bytes(0).is_ok());
    // All topics is null from version 1 on and an empty list before.
    assert!(MetadataRequest { topics: None, ..Default::default() }.to_bytes(0).is_err());
    assert!(MetadataRequest { topics: None, ..Default::default() }.to_bytes(1).is_ok());
}

#[test]
fn tagged_fields_at_their_default_are_not_written() {
    // Error code, topics, throttle time, node endpoints: librdkafka before 2.2.0 stumbles over needless tags.
    let bytes = ProduceResponse::default().to_bytes(10).unwrap();
    assert_eq!(&bytes[..], [1, 0, 0, 0, 0, 0]);
    let bytes = FetchResponse::default().to_bytes(17).unwrap();
    assert_eq!(&bytes[..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
}

#[test]
fn keys_know_their_headers() {
    assert_eq!(ApiKey::ALL.len(), 91);
    for &key in ApiKey::ALL {
        assert_eq!(ApiKey::from_code(key.code()), Some(key));
        assert_eq!(
            key.response_header_version(key.max_version()) == 0,
            !key.is_flexible(key.max_version()) || key == ApiKey::ApiVersions
        );
    }
    assert_eq!(ApiKey::from_code(4), None);
    assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
    assert_eq!(ApiKey::ApiVersions.request_header_version(4), 2);
    assert_eq!(ApiKey::Produce.request_header_version(8), 1);
    assert_eq!(ApiKey::InitProducerId.max_stable_version(), 5);
    assert_eq!(<ProduceRequest as Request>::KEY, ApiKey::Produce);
    assert!(ProduceRequest::flexible(9) && !ProduceRequest::flexible(8));
}
