//! How keys and values are shown.

use ottla_protocol::batch::Record;
use ottla_protocol::records::shape::{Role, Shape};

use crate::tools::failure::Failure;
use crate::tools::java;
use crate::tools::json::Json;
use crate::tools::options::Options;
use crate::tools::record_json;

/// A way to read records.
pub enum Parser {
    /// What users write.
    Plain {
        /// For keys.
        key: Decoder,
        /// For values.
        value: Decoder,
    },
    /// Records of a coordinator, by the folder of their schema.
    Coordinator(&'static str),
    /// Records of the metadata log.
    Metadata,
    /// Records of `__remote_log_metadata`.
    Remote,
}

/// Kafka's decoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoder {
    /// UTF-8.
    Text,
    /// Big-endian, four bytes.
    Integer,
    /// Big-endian, eight bytes.
    Long,
    /// The bytes, which Kafka's tool does not show but as an address; here they are in base64.
    Bytes,
}

/// A record's key and value as they are shown.
pub struct Parsed {
    pub key: Option<String>,
    pub value: Option<String>,
}

impl Parser {
    /// The one that the options ask for.
    pub fn of(options: &Options) -> Result<Self, Failure> {
        if options.has("offsets-decoder") {
            return Ok(Self::Coordinator("coordinator"));
        }
        if options.has("transaction-log-decoder") {
            return Ok(Self::Coordinator("transaction"));
        }
        if options.has("cluster-metadata-decoder") {
            return Ok(Self::Metadata);
        }
        if options.has("remote-log-metadata-decoder") {
            return Ok(Self::Remote);
        }
        if options.has("share-group-state-decoder") {
            return Ok(Self::Coordinator("share"));
        }
        let decoder = |name| options.value(name).map_err(Failure::from).and_then(Decoder::of);
        Ok(Self::Plain { value: decoder("value-decoder-class")?, key: decoder("key-decoder-class")? })
    }

    /// A record's key and value.
    pub fn parse(&self, record: &Record) -> Result<Parsed, Failure> {
        match self {
            Self::Plain { key, value } => Ok(Parsed {
                key: record.key.as_deref().map(|bytes| key.decode(bytes)).transpose()?,
                value: record.value.as_deref().map(|bytes| value.decode(bytes)).transpose()?,
            }),
            Self::Coordinator(folder) => coordinator(folder, record),
            Self::Metadata => {
                let value = metadata(record.value.as_deref().unwrap_or_default());
                let value =
                    value.unwrap_or_else(|why| format!("Error at {}, skipping. {why}", record.offset));
                Ok(Parsed { key: None, value: Some(value) })
            }
            Self::Remote => {
                let value = remote(record.value.as_deref().unwrap_or_default());
                let value =
                    value.unwrap_or_else(|why| format!("Error at offset {}, skipping. {why}", record.offset));
                Ok(Parsed { key: None, value: Some(value) })
            }
        }
    }
}

impl Decoder {
    fn of(class: Option<String>) -> Result<Self, Failure> {
        let Some(class) = class else { return Ok(Self::Text) };
        let known = ["org.apache.kafka.tools.api.", "kafka.serializer."];
        let name = known.iter().find_map(|package| class.strip_prefix(package));
        match name {
            Some("StringDecoder") => Ok(Self::Text),
            Some("IntegerDecoder") => Ok(Self::Integer),
            Some("LongDecoder") => Ok(Self::Long),
            Some("DefaultDecoder") => Ok(Self::Bytes),
            _ => Err(Failure::Error(format!("Failed to load decoder class: {class}"))),
        }
    }

    fn decode(self, bytes: &[u8]) -> Result<String, Failure> {
        let underflow = || Failure::Error("java.nio.BufferUnderflowException".to_owned());
        Ok(match self {
            Self::Text => java::text(bytes),
            Self::Integer => i32::from_be_bytes(*bytes.first_chunk().ok_or_else(underflow)?).to_string(),
            Self::Long => i64::from_be_bytes(*bytes.first_chunk().ok_or_else(underflow)?).to_string(),
            Self::Bytes => match Json::bytes(bytes) {
                Json::Text(text) => text,
                other => other.to_string(),
            },
        })
    }
}

fn coordinator(folder: &str, record: &Record) -> Result<Parsed, Failure> {
    let Some(key) = record.key.as_deref() else {
        return Err(Failure::Error(format!(
            "java.lang.RuntimeException: Failed to decode message at offset {} using the specified decoder (message \
             had a missing key)",
            record.offset
        )));
    };
    let only_key = |text: String| Parsed { key: Some(text), value: None };
    Ok(match coordinator_record(folder, key, record.value.as_deref()) {
        Ok((key, value)) => {
            Parsed { key: Some(key.to_string()), value: Some(value.unwrap_or_else(|| "<DELETE>".to_owned())) }
        }
        Err(Unreadable::Type(number)) => {
            only_key(format!("Unknown record type {number} at offset {}, skipping.", record.offset))
        }
        Err(Unreadable::Other(why)) => {
            only_key(format!("Error at offset {}, skipping. {why}", record.offset))
        }
    })
}

enum Unreadable {
    Type(i16),
    Other(String),
}

fn coordinator_record(
    folder: &str,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<(Json, Option<String>), Unreadable> {
    let (number, rest) = version(key, "key")?;
    let shape = Shape::find(folder, Role::Key(number)).ok_or(Unreadable::Type(number))?;
    let (data, _) =
        record_json::read(shape, shape.min, rest).map_err(|why| unreadable(number, "key", &why))?;
    let key = Json::object([("type", Json::Text(number.to_string())), ("data", data)]);
    let Some(value) = value else { return Ok((key, None)) };
    let (version, rest) = version(value, "value")?;
    let shape = Shape::find(folder, Role::Value(number)).ok_or(Unreadable::Type(number))?;
    if !(shape.min..=shape.max).contains(&version) {
        return Err(Unreadable::Other(format!(
            "Found an unknown record version {version} for {number} type"
        )));
    }
    let (mut data, _) =
        record_json::read(shape, version, rest).map_err(|why| unreadable(version, "value", &why))?;
    match shape.name {
        "GroupMetadataValue" => show_members(&mut data),
        "TransactionLogValue" => record_json::name_state(&mut data),
        _ => {}
    }
    let value = Json::object([("version", Json::Text(version.to_string())), ("data", data)]);
    Ok((key, Some(value.to_string())))
}

fn version<'a>(bytes: &'a [u8], what: &str) -> Result<(i16, &'a [u8]), Unreadable> {
    let split = bytes.split_first_chunk();
    let (version, rest) =
        split.ok_or_else(|| Unreadable::Other(format!("Could not read version from {what}'s buffer.")))?;
    Ok((i16::from_be_bytes(*version), rest))
}

fn unreadable(version: i16, what: &str, why: &record_json::RecordError) -> Unreadable {
    Unreadable::Other(format!(
        "Could not read record with version {version} from {what}'s buffer due to: {why}."
    ))
}

/// The members of a consumer group say what they subscribe to and are assigned, in bytes of a protocol of their own.
fn show_members(group: &mut Json) {
    if group.field_mut("protocolType") != Some(&mut Json::Text("consumer".to_owned())) {
        return;
    }
    let Some(Json::List(members)) = group.field_mut("members") else { return };
    for member in members {
        for (field, name) in
            [("subscription", "ConsumerProtocolSubscription"), ("assignment", "ConsumerProtocolAssignment")]
        {
            let Some(value) = member.field_mut(field) else { continue };
            let Some(bytes) = value.as_bytes() else { continue };
            let Some((version, rest)) = bytes.split_first_chunk() else { continue };
            let Some(shape) = Shape::named(name) else { continue };
            if let Ok((shown, _)) = record_json::read(shape, i16::from_be_bytes(*version), rest) {
                *value = shown;
            }
        }
    }
}

/// A record of the metadata log.
fn metadata(bytes: &[u8]) -> Result<String, String> {
    let (number, version, rest) = framed(bytes)?;
    let shape = Shape::find("metadata", Role::Metadata(number)).ok_or_else(|| {
        format!("org.apache.kafka.common.errors.UnsupportedVersionException: Unknown metadata id {number}")
    })?;
    let (data, rest) = record_json::read(shape, version, rest)
        .map_err(|_| format!("Failed to deserialize record with type {number}"))?;
    if !rest.is_empty() {
        return Err(format!("Found {} byte(s) of garbage after {number}", rest.len()));
    }
    let name = Json::Text(screaming(shape.name));
    let version = Json::Int(version.into());
    Ok(Json::object([("type", name), ("version", version), ("data", data)]).to_string())
}

/// A record of `__remote_log_metadata`, as JSON: Kafka's tool shows what its class says of itself.
fn remote(bytes: &[u8]) -> Result<String, String> {
    let (number, version, rest) = framed(bytes)?;
    let shape = Shape::find("storage", Role::Remote(number))
        .ok_or_else(|| format!("Unknown storage metadata type {number}"))?;
    let (data, _) = record_json::read(shape, version, rest).map_err(|why| why.to_string())?;
    let name = Json::Text(shape.name.to_owned());
    let version = Json::Int(version.into());
    Ok(Json::object([("type", name), ("version", version), ("data", data)]).to_string())
}

/// Type and version of a record in a frame, and what follows.
fn framed(bytes: &[u8]) -> Result<(i16, i16, &[u8]), String> {
    let (frame, rest) = small(bytes, "frame version")?;
    match frame {
        1 => {}
        0 => {
            return Err(
                "Could not deserialize metadata record with frame version 0. Note that upgrades from the \
                        preview release of KRaft in 2.8 to newer versions are not supported."
                    .to_owned(),
            );
        }
        _ => {
            return Err(format!(
                "Could not deserialize metadata record due to unknown frame version {frame}(only frame version 1 is \
                 supported)"
            ));
        }
    }
    let (number, rest) = small(rest, "type")?;
    let (version, rest) = small(rest, "version")?;
    Ok((number, version, rest))
}

fn small<'a>(bytes: &'a [u8], what: &str) -> Result<(i16, &'a [u8]), String> {
    let mut number = 0u64;
    for (i, byte) in bytes.iter().enumerate().take(5) {
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let number = i16::try_from(number).map_err(|_| format!("Value for {what} was too large."))?;
            return Ok((number, &bytes[i + 1..]));
        }
    }
    Err(format!("Error while reading {what}"))
}

/// `PartitionChangeRecord` → `PARTITION_CHANGE_RECORD`.
fn screaming(name: &str) -> String {
    let mut screaming = String::with_capacity(name.len() + 8);
    for (i, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && i > 0 {
            screaming.push('_');
        }
        screaming.extend(letter.to_uppercase());
    }
    screaming
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types_are_those_of_kafka() {
        assert_eq!(screaming("PartitionChangeRecord"), "PARTITION_CHANGE_RECORD");
        assert_eq!(screaming("NoOpRecord"), "NO_OP_RECORD");
    }

    #[test]
    fn decoders_are_kafkas() {
        let decode = |class: &str, bytes: &[u8]| Decoder::of(Some(class.to_owned()))?.decode(bytes);
        assert_eq!(decode("org.apache.kafka.tools.api.StringDecoder", b"a\xff").unwrap(), "a\u{fffd}");
        assert_eq!(decode("org.apache.kafka.tools.api.IntegerDecoder", &[0, 0, 1, 0]).unwrap(), "256");
        assert_eq!(decode("kafka.serializer.LongDecoder", &[0xff; 8]).unwrap(), "-1");
        assert!(decode("org.apache.kafka.tools.api.LongDecoder", &[0; 4]).is_err());
        assert!(decode("com.example.Own", b"").is_err());
    }

    #[test]
    fn metadata_that_is_none_is_told_and_passed_over() {
        assert_eq!(metadata(&[1, 20, 0, 0]).unwrap(), r#"{"type":"NO_OP_RECORD","version":0,"data":{}}"#);
        assert_eq!(metadata(&[1, 20, 0, 0, 9]).unwrap_err(), "Found 1 byte(s) of garbage after 20");
        assert!(metadata(&[0]).unwrap_err().starts_with("Could not deserialize"));
        assert!(metadata(&[1, 120, 0]).unwrap_err().ends_with("Unknown metadata id 120"));
        assert!(metadata(&[]).is_err());
    }
}
