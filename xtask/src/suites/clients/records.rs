//! The records that are written and what must be read of them, in the text form of `tests/clients/README.md`.

use anyhow::{Context, ensure};

use super::program::Client;

/// A record as the programs know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What is printed as its length and checksum only.
const LONGEST_IN_FULL: usize = 1024;

/// Records of every kind, as far as the client can write them.
pub fn small(client: &Client) -> String {
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    let mut records = vec![
        Record { key: bytes("k"), value: bytes("v"), ..Record::default() },
        Record { key: None, value: bytes("1"), ..Record::default() },
        Record { key: bytes("tombstone"), value: None, ..Record::default() },
        Record { key: bytes("grüße"), value: bytes("übermorgen 日本"), ..Record::default() },
        Record {
            key: bytes(&"long key ".repeat(50)),
            value: bytes(&"long value ".repeat(5000)),
            ..Record::default()
        },
    ];
    let numbered = |n: usize| Record {
        key: bytes(&format!("k{}", n % 7)),
        value: bytes(&format!("value {n}")),
        ..Record::default()
    };
    if client.writes_everything() {
        records.extend((0..300).map(numbered));
        records.push(Record { key: bytes(""), value: bytes(""), ..Record::default() });
        records.push(Record {
            key: Some((0..=255).collect()),
            value: Some((0..=255).rev().collect()),
            ..Record::default()
        });
        if client.writes_nothing() {
            records.push(Record { key: None, value: None, ..Record::default() });
        }
        let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        let twice = vec![
            header("trace", "1"),
            header("b", "x"),
            header("trace", "2"),
            header("a", ""),
            header("trace", "1"),
        ];
        records.push(Record {
            key: bytes("headers"),
            value: bytes("twice"),
            headers: twice,
            ..Record::default()
        });
        let many = (0..200).map(|n| header(&format!("h{n}"), "w")).collect();
        records.push(Record { value: bytes("many headers"), headers: many, ..Record::default() });
        // Neither rising nor unique, the oldest near the beginning of time.
        for (at, record) in records.iter_mut().enumerate() {
            record.timestamp = 1_700_000_000_000 + i64::try_from(at * 7919 % 97).unwrap_or_default() * 1000;
        }
        records[1].timestamp = 1;
    } else {
        records.extend((0..20).map(numbered));
    }
    records.iter().map(|record| line(record, usize::MAX) + "\n").collect()
}

/// Ten megabytes, one byte, ten megabytes; the content does not compress to nothing.
pub fn big(client: &Client) -> String {
    let content = |seed: u32| {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + u8::try_from((state >> 24) % 26).unwrap_or_default()
        };
        Some((0..10_000_000).map(|_| next()).collect())
    };
    let timestamp = if client.writes_everything() { 1_700_000_000_000 } else { 0 };
    let record = |value| Record { timestamp, value, ..Record::default() };
    let records = [record(content(1)), record(Some(b"1".to_vec())), record(content(2))];
    records.iter().map(|record| line(record, usize::MAX) + "\n").collect()
}

/// Compares what a program read with what another wrote, record by record.
pub fn compare([writer, reader]: [&Client; 2], expected: &[String], got: &[String]) -> anyhow::Result<()> {
    ensure!(got.len() == expected.len(), "{} records read, {} written", got.len(), expected.len());
    let told = |line: &str| {
        // kcat gives its records the time of writing.
        let line = if writer.writes_everything() { line } else { without_time(line) };
        if reader.knows_empty() { line.to_owned() } else { without_empty(line) }
    };
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        ensure!(told(got) == told(expected), "record {at}\n  written {expected}\n  read    {got}");
    }
    Ok(())
}

/// What a program must print for the records of a file.
pub fn lines(text: &str) -> Vec<String> {
    parse(text).iter().map(|record| line(record, LONGEST_IN_FULL)).collect()
}

fn without_time(line: &str) -> &str {
    line.split_once('\t').map_or(line, |(_, rest)| rest)
}

/// Null turned into empty.
fn without_empty(line: &str) -> String {
    let fields: Vec<&str> = line.split('\t').map(|field| if field == "-" { "" } else { field }).collect();
    fields.join("\t").replace("=-", "=")
}

/// The records of a file.
pub fn parse(text: &str) -> Vec<Record> {
    let record = |line: &str| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap_or_default();
        let (timestamp, key, value) = (next().parse().unwrap_or_default(), unhex(next()), unhex(next()));
        let header = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or_default();
            (name.to_owned(), unhex(value).unwrap_or_default())
        };
        let headers = next().split(',').filter(|pair| !pair.is_empty()).map(header).collect();
        Record { timestamp, key, value, headers }
    };
    text.lines().map(record).collect()
}

/// What kcat printed: timestamp and lengths, the bytes, the headers; each on a line.
pub fn from_kcat(output: &[u8]) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut rest = output;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').context("a line of lengths")?;
        let numbers: Vec<i64> = std::str::from_utf8(&rest[..end])?
            .split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .context("lengths")?;
        let [timestamp, key, value] = numbers[..] else {
            anyhow::bail!("three numbers expected: {numbers:?}")
        };
        rest = &rest[end + 1..];
        let mut take = |length: i64| -> anyhow::Result<Option<Vec<u8>>> {
            let Ok(length) = usize::try_from(length) else { return Ok(None) };
            let (taken, left) = rest.split_at_checked(length).context("bytes cut off")?;
            rest = left;
            Ok(Some(taken.to_vec()))
        };
        let (key, value) = (take(key)?, take(value)?);
        take(1)?;
        let end = rest.iter().position(|byte| *byte == b'\n').context("a line of headers")?;
        let text = std::str::from_utf8(&rest[..end])?;
        let header = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or_default();
            (name.to_owned(), value.as_bytes().to_vec())
        };
        let headers = text.split(',').filter(|pair| !pair.is_empty()).map(header).collect();
        lines.push(line(&Record { timestamp, key, value, headers }, LONGEST_IN_FULL));
        rest = &rest[end + 1..];
    }
    Ok(lines)
}

fn line(record: &Record, longest: usize) -> String {
    let pair = |(name, value): &(String, Vec<u8>)| format!("{name}={}", field(Some(value), longest));
    let headers: Vec<String> = record.headers.iter().map(pair).collect();
    let (key, value) = (field(record.key.as_deref(), longest), field(record.value.as_deref(), longest));
    format!("{}\t{key}\t{value}\t{}", record.timestamp, headers.join(","))
}

fn field(bytes: Option<&[u8]>, longest: usize) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let Some(bytes) = bytes else { return "-".to_owned() };
    if bytes.len() > longest {
        return format!("#{}:{:08x}", bytes.len(), crc32(bytes));
    }
    let digit = |n: u8| char::from(DIGITS[usize::from(n)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(field: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default()
    };
    (field != "-")
        .then(|| field.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect())
}

/// The CRC-32 of zip files, which every client's language has.
fn crc32(bytes: &[u8]) -> u32 {
    let mut table = [0_u32; 256];
    for (at, entry) in (0_u32..).zip(table.iter_mut()) {
        *entry = (0..8).fold(at, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 });
    }
    !bytes.iter().fold(!0, |crc, byte| table[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ crc >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_zip() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let record = Record {
            timestamp: 7,
            key: None,
            value: Some(vec![0, 255]),
            headers: vec![("a".to_owned(), b"1".to_vec()), ("a".to_owned(), Vec::new())],
        };
        let text = line(&record, LONGEST_IN_FULL);
        assert_eq!(text, "7\t-\t00ff\ta=31,a=");
        assert_eq!(parse(&text), [record]);
    }

    #[test]
    fn what_kcat_prints_is_read() {
        let lines = from_kcat(b"5 -1 2\na\n\nx=1,x=2\n6 1 -1\nk\n\n").expect("well formed");
        assert_eq!(lines, ["5\t-\t610a\tx=31,x=32", "6\t6b\t-\t"]);
    }
}
