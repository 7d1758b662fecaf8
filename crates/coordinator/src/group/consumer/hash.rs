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

#[cfg(test)]
mod tests {
    use ottla_metadata::Image;
    use ottla_protocol::records::metadata::{
        MetadataRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord,
    };
    use ottla_protocol::{Offset, Uuid};

    use super::*;

    /// A topic of so many partitions, each on one broker in each rack.
    fn image(id: Uuid, partitions: i32, racks: &[&str]) -> Image {
        let topic = TopicRecord { name: "foo".into(), topic_id: id };
        let mut records = vec![MetadataRecord::from(topic)];
        let mut replicas = Vec::new();
        for (broker_id, rack) in (1..).zip(racks) {
            let rack = Some((*rack).to_owned());
            let incarnation_id = Uuid([9; 16]);
            records
                .push(RegisterBrokerRecord { broker_id, incarnation_id, rack, ..Default::default() }.into());
            replicas.push(broker_id);
        }
        if racks.is_empty() {
            replicas.push(7);
        }
        for partition_id in 0..partitions {
            let (replicas, isr) = (replicas.clone(), replicas.clone());
            let record = PartitionRecord {
                partition_id,
                topic_id: id,
                replicas,
                isr,
                leader: 1,
                ..Default::default()
            };
            records.push(record.into());
        }
        Image::default().apply(Offset(0), &records).unwrap().0
    }

    /// What Kafka's library of hashes says of the same topics.
    #[test]
    fn the_hash_is_kafkas() {
        let ones = Uuid([1; 16]);
        let counted = Uuid([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        for (id, partitions, racks, of_topic, of_group) in [
            (ones, 4, &["b", "a"][..], 0x0bec_8526_30c9_1d83, 0x6991_2207_1b2b_bdc3),
            (ones, 4, &[], 0x6fe1_bbe8_acf4_5e11, 0x3331_589b_0877_4a80),
            (ones, 4, &["rack-é", "b😀"], 0x5b0f_12c3_504e_4d2e, 0xf6fe_4e3b_db64_627d),
            (counted, 300, &["r1"], 0xa1f1_b5b6_6044_108a, 0x0000_0000_0000_0000),
        ] {
            let image = image(id, partitions, racks);
            let hash = topic(&image, image.topics.get(id).unwrap());
            assert_eq!(hash.cast_unsigned(), of_topic, "{racks:?}");
            if of_group != 0 {
                assert_eq!(group([hash].into_iter()).cast_unsigned(), of_group);
            }
        }
        assert_eq!(group([].into_iter()), 0);
    }
}
