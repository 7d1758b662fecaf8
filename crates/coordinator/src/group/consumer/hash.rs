//! The metadata hash: what a group's topics were like when it was last looked at, in eight bytes of its record (KIP-1101).
//!
//! XXH3 over the same bytes as in Kafka, for a group may be taken over from it or by it: another hash would set off a
//! rebalance. Numbers are little-endian; a string is its UTF-16 units, then their count.

use ottla_metadata::Image;
use ottla_metadata::image::topics::Topic;
use twox_hash::XxHash3_64;

/// The first version of what is hashed.
const VERSION: u8 = 0;

/// The hash of a topic: its id, name, partitions and the racks of their replicas.
pub(super) fn topic(image: &Image, topic: &Topic) -> i64 {
    let mut bytes = vec![VERSION];
    let (most, least) = topic.id.0.split_at(8);
    for half in [most, least] {
        bytes.extend(half.iter().rev());
    }
    put_string(&mut bytes, &topic.name);
    put_int(&mut bytes, topic.partition_count);
    for (id, partition) in image.topics.partitions(topic.id) {
        put_int(&mut bytes, id.index);
        let brokers = partition.replicas.iter().filter_map(|replica| image.brokers.get(replica));
        let mut racks: Vec<&str> = brokers.filter_map(|broker| broker.rack.as_deref()).collect();
        racks.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
        for rack in racks {
            put_int(&mut bytes, length(rack));
            put_string(&mut bytes, rack);
        }
    }
    xxh3(&bytes)
}

/// The hash of a group: that of its topics' hashes in the order of their names; 0 without topics.
pub(super) fn group(topics: impl Iterator<Item = i64>) -> i64 {
    let bytes: Vec<u8> = topics.flat_map(i64::to_le_bytes).collect();
    if bytes.is_empty() { 0 } else { xxh3(&bytes) }
}

fn xxh3(bytes: &[u8]) -> i64 {
    XxHash3_64::oneshot(bytes).cast_signed()
}

fn put_int(bytes: &mut Vec<u8>, number: i32) {
    bytes.extend(number.to_le_bytes());
}

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    put_int(bytes, length(text));
}

fn length(text: &str) -> i32 {
    i32::try_from(text.encode_utf16().count()).unwrap_or(i32::MAX)
}
