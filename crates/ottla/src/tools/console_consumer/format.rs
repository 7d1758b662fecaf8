//! How a record is shown.

use std::io::Write as _;

use ottla_client::Properties;
use ottla_protocol::batch::{Record, TimestampType};

use super::coordinator_records::Records;
use crate::tools::failure::Failure;
use crate::tools::java;

/// A record and what is known of it besides.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Its partition's number.
    pub partition: i32,
    /// Who gave it its timestamp.
    pub stamped_by: TimestampType,
    /// The record.
    pub record: &'a Record,
}

/// Makes text of records.
#[derive(Clone, Debug)]
pub enum Formatter {
    /// Columns, as Kafka's `DefaultMessageFormatter` makes them.
    Columns(Columns),
    /// The same, and a line in the log.
    Logged(Columns),
    /// What coordinators write, as JSON; nothing stands between two records.
    Coordinator(Records),
    /// Nothing at all.
    Silent,
}

/// What is shown of a record, and how.
#[derive(Clone, Debug)]
pub struct Columns {
    columns: Vec<Column>,
    key_separator: String,
    line_separator: String,
    headers_separator: String,
    null_literal: String,
    key: Text,
    value: Text,
    headers: Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Timestamp,
    Partition,
    Offset,
    Delivery,
    Epoch,
    Headers,
    Key,
    Value,
}

/// Where Kafka keeps, or kept, its formatters.
const PACKAGES: &[&str] = &["org.apache.kafka.tools.consumer.", "kafka.tools.", "kafka.coordinator."];

/// In the order in which they are shown.
const COLUMNS: &[(&str, Column)] = &[
    ("print.timestamp", Column::Timestamp),
    ("print.partition", Column::Partition),
    ("print.offset", Column::Offset),
    ("print.delivery", Column::Delivery),
    ("print.epoch", Column::Epoch),
    ("print.headers", Column::Headers),
    ("print.key", Column::Key),
    ("print.value", Column::Value),
];

/// What bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Bytes,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Boolean,
    Uuid,
}

impl Formatter {
    /// The formatter of this class, by its name of today or of long ago.
    pub fn new(class: &str, properties: &Properties) -> Result<Self, Failure> {
        let kafkas = PACKAGES.iter().any(|package| class.starts_with(package));
        let name = class.rsplit(['.', '$']).next().filter(|_| kafkas).unwrap_or_default();
        match name {
            "DefaultMessageFormatter" => Ok(Self::Columns(Columns::new(properties))),
            "LoggingMessageFormatter" => Ok(Self::Logged(Columns::new(properties))),
            "NoOpMessageFormatter" => Ok(Self::Silent),
            name => {
                Records::of_class(name).map(Self::Coordinator).ok_or_else(|| Failure::Error(class.to_owned()))
            }
        }
    }

    /// Appends the record to `line`, with all its separators.
    ///
    /// # Errors
    /// Bytes that are not what is expected.
    pub fn write(&self, shown: &Shown<'_>, line: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            Self::Silent => Ok(()),
            Self::Columns(columns) => columns.write(shown, line),
            Self::Logged(columns) => {
                columns.write(shown, line)?;
                let text = |part: &Option<bytes::Bytes>| match part {
                    Some(bytes) => java::text(bytes),
                    None => "null".to_owned(),
                };
                tracing::info!("key:{}, value:{}", text(&shown.record.key), text(&shown.record.value));
                Ok(())
            }
            Self::Coordinator(records) => {
                let Some(key) = shown.record.key.as_deref() else { return Ok(()) };
                let json = records.json(key, shown.record.value.as_deref()).map_err(|error| {
                    let offset = shown.record.offset;
                    Failure::Error(format!("Could not read record at offset {} due to: {error}", offset.0))
                })?;
                line.extend_from_slice(json.unwrap_or_default().as_bytes());
                Ok(())
            }
        }
    }
}

impl Columns {
    fn new(properties: &Properties) -> Self {
        let shown = |(key, column): &(&str, Column)| {
            let default = *column == Column::Value;
            properties.get(key).map_or(default, |value| value.trim().eq_ignore_ascii_case("true"))
        };
        let text = |key, default: &str| properties.get(key).unwrap_or(default).to_owned();
        Self {
            columns: COLUMNS.iter().filter(|column| shown(column)).map(|(_, column)| *column).collect(),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null_literal: text("null.literal", "null"),
            key: deserializer(properties, "key.deserializer"),
            value: deserializer(properties, "value.deserializer"),
            headers: deserializer(properties, "headers.deserializer"),
        }
    }

    fn write(&self, shown: &Shown<'_>, line: &mut Vec<u8>) -> Result<(), Failure> {
        for (at, column) in self.columns.iter().enumerate() {
            self.column(*column, shown, line)?;
            let last = at + 1 == self.columns.len();
            line.extend_from_slice(if last { &self.line_separator } else { &self.key_separator }.as_bytes());
        }
        Ok(())
    }

    fn column(&self, column: Column, shown: &Shown<'_>, line: &mut Vec<u8>) -> Result<(), Failure> {
        let record = shown.record;
        match column {
            Column::Timestamp if record.timestamp < 0 => line.extend_from_slice(b"NO_TIMESTAMP"),
            Column::Timestamp => {
                let name = match shown.stamped_by {
                    TimestampType::CreateTime => "CreateTime",
                    TimestampType::LogAppendTime => "LogAppendTime",
                };
                write!(line, "{name}:{}", record.timestamp)?;
            }
            Column::Partition => write!(line, "Partition:{}", shown.partition)?,
            Column::Offset => write!(line, "Offset:{}", record.offset)?,
            Column::Delivery => line.extend_from_slice(b"Delivery:NOT_PRESENT"),
            // Kafka's tool does not pass the epoch on to its formatter either.
            Column::Epoch => line.extend_from_slice(b"Epoch:NOT_PRESENT"),
            Column::Headers if record.headers.is_empty() => line.extend_from_slice(b"NO_HEADERS"),
            Column::Headers => {
                for (at, header) in record.headers.iter().enumerate() {
                    if at > 0 {
                        line.extend_from_slice(self.headers_separator.as_bytes());
                    }
                    line.extend_from_slice(&header.key);
                    line.push(b':');
                    self.text(self.headers, header.value.as_deref(), line)?;
                }
            }
            Column::Key => self.text(self.key, record.key.as_deref(), line)?,
            Column::Value => self.text(self.value, record.value.as_deref(), line)?,
        }
        Ok(())
    }

    fn text(&self, text: Text, bytes: Option<&[u8]>, line: &mut Vec<u8>) -> Result<(), Failure> {
        match bytes {
            Some(bytes) => text.write(bytes, line),
            None => {
                line.extend_from_slice(self.null_literal.as_bytes());
                Ok(())
            }
        }
    }
}

/// The deserializer that a property names; an unknown one is reported, and the bytes are shown as they are.
fn deserializer(properties: &Properties, key: &str) -> Text {
    let Some(class) = properties.get(key) else { return Text::Bytes };
    let name = class.strip_prefix("org.apache.kafka.common.serialization.").unwrap_or(class);
    match name {
        "StringDeserializer" | "ByteArrayDeserializer" => Text::Bytes,
        "ShortDeserializer" => Text::Short,
        "IntegerDeserializer" => Text::Integer,
        "LongDeserializer" => Text::Long,
        "FloatDeserializer" => Text::Float,
        "DoubleDeserializer" => Text::Double,
        "BooleanDeserializer" => Text::Boolean,
        "UUIDDeserializer" => Text::Uuid,
        _ => {
            tracing::error!("Unable to instantiate a deserializer from {class}");
            Text::Bytes
        }
    }
}

impl Text {
    fn write(self, bytes: &[u8], line: &mut Vec<u8>) -> Result<(), Failure> {
        let wrong = |size: usize| {
            Failure::Error(format!(
                "Size of data received by {self:?}Deserializer is not {size}, but {}",
                bytes.len()
            ))
        };
        match self {
            Self::Bytes | Self::Uuid => line.extend_from_slice(bytes),
            Self::Short => write!(line, "{}", i16::from_be_bytes(bytes.try_into().map_err(|_| wrong(2))?))?,
            Self::Integer => write!(line, "{}", i32::from_be_bytes(bytes.try_into().map_err(|_| wrong(4))?))?,
            Self::Long => write!(line, "{}", i64::from_be_bytes(bytes.try_into().map_err(|_| wrong(8))?))?,
            Self::Float => {
                let value = f32::from_be_bytes(bytes.try_into().map_err(|_| wrong(4))?);
                line.extend_from_slice(java::float(value).as_bytes());
            }
            Self::Double => {
                let value = f64::from_be_bytes(bytes.try_into().map_err(|_| wrong(8))?);
                line.extend_from_slice(java::double(value).as_bytes());
            }
            Self::Boolean => match bytes {
                [0] => line.extend_from_slice(b"false"),
                [1] => line.extend_from_slice(b"true"),
                _ => return Err(wrong(1)),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_protocol::Offset;
    use ottla_protocol::batch::Header;

    use super::*;

    const CLASS: &str = "org.apache.kafka.tools.consumer.DefaultMessageFormatter";

    fn record() -> Record {
        let header = |key: &'static str, value: Option<&'static str>| Header {
            key: Bytes::from_static(key.as_bytes()),
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
        };
        Record {
            offset: Offset(4),
            timestamp: 17,
            key: None,
            value: Some(Bytes::from_static(b"v")),
            headers: vec![header("a", Some("1")), header("a", None)],
        }
    }

    fn text(class: &str, pairs: &[&str], record: &Record) -> Result<String, String> {
        let words: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        let formatter = Formatter::new(class, &crate::tools::connect::pairs(&words));
        let mut line = Vec::new();
        let shown = Shown { partition: 3, stamped_by: TimestampType::CreateTime, record };
        let written = formatter.and_then(|formatter| formatter.write(&shown, &mut line));
        written.map_err(|failure| failure.message().to_owned())?;
        Ok(String::from_utf8(line).unwrap())
    }

    #[test]
    fn columns_come_in_kafkas_order_whatever_was_asked_for_first() {
        let all = [
            "print.value=true",
            "print.key=true",
            "print.headers=true",
            "print.epoch=true",
            "print.delivery=true",
            "print.offset=true",
            "print.partition=true",
            "print.timestamp=true",
        ];
        assert_eq!(
            text(CLASS, &all, &record()).unwrap(),
            "CreateTime:17\tPartition:3\tOffset:4\tDelivery:NOT_PRESENT\tEpoch:NOT_PRESENT\ta:1,a:null\tnull\tv\n"
        );
        assert_eq!(text(CLASS, &[], &record()).unwrap(), "v\n");
        let own = ["print.key=true", "key.separator=|", "line.separator=;", "null.literal=-"];
        assert_eq!(text(CLASS, &own, &record()).unwrap(), "-|v;");
        assert_eq!(text(CLASS, &["print.key=true", "print.value=false"], &record()).unwrap(), "null\n");
        let bare = Record { timestamp: -1, headers: Vec::new(), ..record() };
        let some = ["print.timestamp=true", "print.headers=true"];
        assert_eq!(text(CLASS, &some, &bare).unwrap(), "NO_TIMESTAMP\tNO_HEADERS\tv\n");
    }

    #[test]
    fn the_formatters_of_today_and_of_long_ago_are_known_and_no_others() {
        assert_eq!(text("kafka.tools.DefaultMessageFormatter", &[], &record()).unwrap(), "v\n");
        assert_eq!(text("org.apache.kafka.tools.consumer.NoOpMessageFormatter", &[], &record()).unwrap(), "");
        assert_eq!(text("kafka.tools.LoggingMessageFormatter", &[], &record()).unwrap(), "v\n");
        // A record without a key is none of a coordinator's.
        assert_eq!(
            text("org.apache.kafka.tools.consumer.OffsetsMessageFormatter", &[], &record()).unwrap(),
            ""
        );
        let inner = "kafka.coordinator.transaction.TransactionLog$TransactionLogMessageFormatter";
        assert_eq!(text(inner, &[], &record()).unwrap(), "");
        assert_eq!(text("my.Formatter", &[], &record()), Err("my.Formatter".to_owned()));
    }

    #[test]
    fn numbers_are_read_by_their_deserializer() {
        let class = |name: &str| {
            format!("value.deserializer=org.apache.kafka.common.serialization.{name}Deserializer")
        };
        let read = |name: &str, bytes: &'static [u8]| {
            let record = Record { value: Some(Bytes::from_static(bytes)), ..record() };
            text(CLASS, &[class(name).as_str()], &record)
        };
        assert_eq!(read("Long", &[0, 0, 0, 0, 0, 0, 1, 0]).unwrap(), "256\n");
        assert_eq!(read("Integer", &[255; 4]).unwrap(), "-1\n");
        assert_eq!(read("Double", b"\x42\x0b\xf0\x8e\xb0\0\0\0").unwrap(), "1.5E10\n");
        assert_eq!(
            read("Long", &[0]).unwrap_err(),
            "Size of data received by LongDeserializer is not 8, but 1"
        );
        assert_eq!(read("Unheard", b"x").unwrap(), "x\n");
    }
}
