//! Internal records as JSON, by the tables of what they are made of.
//!
//! As Kafka's tools show them: fields of the record's version in the order of the schema, tagged ones only where they
//! are not at their default, bytes as base64.

use ottla_protocol::Uuid;
use ottla_protocol::records::shape::{Field, Kind, Shape};

use super::java;
use super::json::Json;

/// Why bytes are not such a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not one of the versions that are known.
    #[error("Can't read version {version} of {name}")]
    Version {
        /// The record's type.
        name: &'static str,
        /// The version.
        version: i16,
    },
    /// The bytes end too early, or a length is impossible.
    #[error("the bytes are no {0}")]
    Malformed(&'static str),
}

/// Reads a record. Bytes behind it are given back.
pub fn read<'a>(shape: &Shape, version: i16, bytes: &'a [u8]) -> Result<(Json, &'a [u8]), RecordError> {
    if !(shape.min..=shape.max).contains(&version) {
        return Err(RecordError::Version { name: shape.name, version });
    }
    let mut cursor = Cursor { rest: bytes, version, flexible: version >= shape.flexible_from };
    let value = cursor.structure(shape.fields).ok_or(RecordError::Malformed(shape.name))?;
    Ok((value, cursor.rest))
}

/// Puts the name of a transaction's state in place of its number, as Kafka's tools do.
pub fn name_state(transaction: &mut Json) {
    const NAMES: [&str; 8] = [
        "Empty",
        "Ongoing",
        "PrepareCommit",
        "PrepareAbort",
        "CompleteCommit",
        "CompleteAbort",
        "Dead",
        "PrepareEpochFence",
    ];
    if let Some(state) = transaction.field_mut("transactionStatus")
        && let Json::Int(number) = *state
    {
        let name = usize::try_from(number).ok().and_then(|number| NAMES.get(number));
        *state = Json::Text(name.map_or_else(|| number.to_string(), |name| (*name).to_owned()));
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
}

impl<'a> Cursor<'a> {
    fn structure(&mut self, fields: &[Field]) -> Option<Json> {
        let version = self.version;
        let present = || fields.iter().filter(|field| (field.low..=field.high).contains(&version));
        let mut values: Vec<Option<Json>> = Vec::with_capacity(fields.len());
        for field in present() {
            let is_tagged = field.tag.is_some() && self.flexible;
            values.push(if is_tagged { None } else { Some(self.value(field)?) });
        }
        if self.flexible {
            for _ in 0..self.uvarint()? {
                let tag = self.uvarint()?;
                let size = usize::try_from(self.uvarint()?).ok()?;
                let bytes = self.take(size)?;
                let Some(place) = present().position(|field| field.tag == Some(tag)) else { continue };
                let field = present().nth(place)?;
                let mut inner = Cursor { rest: bytes, version, flexible: true };
                let value = inner.value(field)?;
                values[place] = Some(value).filter(|value| *value != default(field));
            }
        }
        let named = present().zip(values).filter_map(|(field, value)| Some((field.name.to_owned(), value?)));
        Some(Json::Object(named.collect()))
    }

    fn value(&mut self, field: &Field) -> Option<Json> {
        let nullable = field.nullable.is_some_and(|(low, high)| (low..=high).contains(&self.version));
        match field.kind {
            Kind::Struct(_) if nullable && self.take(1)? != [1] => Some(Json::Null),
            kind => self.any(&kind, nullable),
        }
    }

    fn any(&mut self, kind: &Kind, nullable: bool) -> Option<Json> {
        Some(match kind {
            Kind::Bool => Json::Bool(self.take(1)? != [0]),
            Kind::Int8 => Json::Int(i8::from_be_bytes(self.array()?).into()),
            Kind::Int16 => Json::Int(i16::from_be_bytes(self.array()?).into()),
            Kind::Uint16 => Json::Int(u16::from_be_bytes(self.array()?).into()),
            Kind::Int32 => Json::Int(i32::from_be_bytes(self.array()?).into()),
            Kind::Uint32 => Json::Int(u32::from_be_bytes(self.array()?).into()),
            Kind::Int64 => Json::Int(i64::from_be_bytes(self.array()?)),
            Kind::Float64 => Json::Double(f64::from_be_bytes(self.array()?)),
            Kind::Uuid => Json::Text(Uuid(self.array()?).to_string()),
            Kind::String => match self.length(Wide::No)? {
                None => Json::Null,
                Some(length) => Json::Text(java::text(self.take(length)?)),
            },
            Kind::Bytes => match self.length(Wide::Yes)? {
                None => Json::Null,
                Some(length) => Json::bytes(self.take(length)?),
            },
            Kind::Struct(fields) => self.structure(fields)?,
            Kind::Array(element) => match self.length(Wide::Yes)? {
                None if nullable => Json::Null,
                None => return None,
                // Each element takes a byte at least.
                Some(count) if count > self.rest.len() => return None,
                Some(count) => {
                    let mut values = Vec::with_capacity(count);
                    for _ in 0..count {
                        values.push(self.any(element, false)?);
                    }
                    Json::List(values)
                }
            },
        })
    }

    /// A length or a count; `None` in it means null.
    fn length(&mut self, wide: Wide) -> Option<Option<usize>> {
        let length = if self.flexible {
            i64::from(self.uvarint()?) - 1
        } else if wide == Wide::Yes {
            i64::from(i32::from_be_bytes(self.array()?))
        } else {
            i64::from(i16::from_be_bytes(self.array()?))
        };
        if length < 0 { Some(None) } else { usize::try_from(length).ok().map(Some) }
    }

    fn uvarint(&mut self) -> Option<u32> {
        let mut number = 0u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(number).ok();
            }
        }
        None
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }
}

/// Whether a length takes four bytes or two, in versions that are not flexible.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wide {
    Yes,
    No,
}

/// The value of a field that is not written.
fn default(field: &Field) -> Json {
    match (&field.kind, field.default) {
        (_, "null") => Json::Null,
        (Kind::Bool, text) => Json::Bool(text == "true"),
        (Kind::Float64, text) => Json::Double(text.parse().unwrap_or(0.0)),
        (Kind::String, text) => Json::Text(text.trim_matches('"').to_owned()),
        (Kind::Bytes, _) => Json::Text(String::new()),
        (Kind::Uuid, _) => Json::Text(Uuid::ZERO.to_string()),
        (Kind::Array(_), _) => Json::List(Vec::new()),
        (Kind::Struct(_), _) => Json::Object(Vec::new()),
        (_, text) => Json::Int(text.parse().unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::records::coordinator::{OffsetCommitKey, OffsetCommitValue};
    use ottla_protocol::records::metadata::{MetadataRecord, PartitionChangeRecord, PartitionRecord};
    use ottla_protocol::records::shape::Role;
    use ottla_protocol::records::{coordinator, encode_versioned};

    use super::*;

    fn metadata(record: impl Into<MetadataRecord>, version: i16) -> String {
        let record = record.into();
        let bytes = record.encode(version).unwrap();
        let shape = Shape::find("metadata", Role::Metadata(record.number())).unwrap();
        let (json, rest) = read(shape, version, &bytes[3..]).unwrap();
        assert_eq!(rest, b"");
        json.to_string()
    }

    #[test]
    fn tagged_fields_are_shown_where_they_are_not_at_their_default() {
        let id = Uuid::from_random([7; 16]);
        let record = PartitionRecord { topic_id: id, replicas: vec![1], leader: 1, ..Default::default() };
        assert_eq!(
            metadata(record.clone(), 0),
            format!(
                r#"{{"partitionId":-1,"topicId":"{id}","replicas":[1],"isr":[],"removingReplicas":[],"addingReplicas":[],"leader":1,"leaderEpoch":-1,"partitionEpoch":-1}}"#
            )
        );
        let record = PartitionRecord { leader_recovery_state: 1, ..record };
        assert!(metadata(record, 0).contains(r#""leader":1,"leaderRecoveryState":1,"leaderEpoch""#));
        let change = PartitionChangeRecord { isr: Some(vec![]), leader: 3, ..Default::default() };
        let text = metadata(change, 1);
        assert!(text.ends_with(r#""isr":[],"leader":3}"#), "{text}");
    }

    #[test]
    fn every_version_is_read_as_it_is_written() {
        let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 3 };
        let bytes = coordinator::Key::from(key).encode().unwrap();
        let shape = Shape::find("coordinator", Role::Key(1)).unwrap();
        let (json, _) = read(shape, 0, &bytes[2..]).unwrap();
        assert_eq!(json.to_string(), r#"{"group":"g","topic":"t","partition":3}"#);
        let value = OffsetCommitValue { offset: 5, metadata: "m".into(), ..Default::default() };
        let shape = Shape::find("coordinator", Role::Value(1)).unwrap();
        for version in shape.min..=shape.max {
            let bytes = encode_versioned(&value, version).unwrap();
            let (json, rest) = read(shape, version, &bytes[2..]).unwrap();
            let text = json.to_string();
            assert_eq!(rest, b"");
            assert!(text.starts_with(r#"{"offset":5,"#) && text.contains(r#""metadata":"m""#), "{text}");
        }
        assert!(matches!(read(shape, 99, b""), Err(RecordError::Version { .. })));
        for cut in 0..12 {
            let bytes = encode_versioned(&value, 3).unwrap();
            assert!(matches!(read(shape, 3, &bytes[2..2 + cut]), Err(RecordError::Malformed(_))));
        }
    }

    #[test]
    fn no_bytes_are_too_strange() {
        let mut seed = 7u64;
        let mut byte = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        };
        let mut read_through = 0;
        for shape in ottla_protocol::records::shapes::SHAPES {
            for version in shape.min..=shape.max {
                for length in 0..200 {
                    // Small numbers are lengths that may hold.
                    let bytes: Vec<u8> =
                        (0..length).map(|_| if byte() < 200 { byte() % 4 } else { byte() }).collect();
                    if let Ok((json, rest)) = read(shape, version, &bytes) {
                        assert!(rest.len() <= bytes.len() && !json.to_string().is_empty());
                        read_through += 1;
                    }
                }
            }
        }
        assert!(read_through > 1000, "only {read_through} were anything");
    }
}
