//! A line taken apart: headers, key, value. Bytes stay what they are, also where they are no text.

use bytes::Bytes;
use ottla_client::Properties;
use ottla_protocol::batch::Header;

use crate::tools::failure::Failure;

/// A record out of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The key.
    pub key: Option<Bytes>,
    /// The value; none where it is the null marker.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Vec<Header>,
}

/// How lines are taken apart.
#[derive(Clone, Debug)]
pub struct LineReader {
    parse_key: bool,
    parse_headers: bool,
    ignore_error: bool,
    key_separator: Vec<u8>,
    headers_delimiter: Vec<u8>,
    headers_separator: Vec<u8>,
    headers_key_separator: Vec<u8>,
    null_marker: Option<Vec<u8>>,
    line_number: u64,
}

impl LineReader {
    /// As the properties say.
    pub fn new(properties: &Properties) -> Result<Self, Failure> {
        let truth = |key| properties.get(key).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
        let text = |key, default: &str| properties.get(key).unwrap_or(default).as_bytes().to_vec();
        let reader = Self {
            parse_key: truth("parse.key"),
            parse_headers: truth("parse.headers"),
            ignore_error: truth("ignore.error"),
            key_separator: text("key.separator", "\t"),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: text("headers.separator", ","),
            headers_key_separator: text("headers.key.separator", ":"),
            null_marker: properties.get("null.marker").map(|marker| marker.as_bytes().to_vec()),
            line_number: 0,
        };
        reader.check()?;
        Ok(reader)
    }

    fn check(&self) -> Result<(), Failure> {
        let named = [
            ("headers.delimiter", &self.headers_delimiter),
            ("headers.separator", &self.headers_separator),
            ("headers.key.separator", &self.headers_key_separator),
        ];
        for (at, (one, value)) in named.iter().enumerate() {
            if let Some((other, _)) = named[at + 1..].iter().find(|(_, other)| other == value) {
                return Err(Failure::Error(format!("{one} and {other} may not be equal")));
            }
        }
        let mut separators = named.into_iter().chain([("key.separator", &self.key_separator)]);
        match separators.find(|(_, value)| Some(*value) == self.null_marker.as_ref()) {
            Some((name, _)) => Err(Failure::Error(format!("null.marker and {name} may not be equal"))),
            None => Ok(()),
        }
    }

    /// Takes the next line, which has no line end any more.
    pub fn read(&mut self, line: Bytes) -> Result<Line, Failure> {
        self.line_number += 1;
        let mut rest = line.clone();
        let headers = self.cut(self.parse_headers, &mut rest, &line, Part::Headers)?;
        let key = self.cut(self.parse_key, &mut rest, &line, Part::Key)?;
        Ok(Line {
            key: key.filter(|key| !self.is_null(key)),
            value: Some(rest).filter(|value| !self.is_null(value)),
            headers: match headers.filter(|headers| !self.is_null(headers)) {
                Some(headers) => self.headers(&headers)?,
                None => Vec::new(),
            },
        })
    }

    fn is_null(&self, part: &[u8]) -> bool {
        self.null_marker.as_deref() == Some(part)
    }

    /// What stands before the separator; nothing where it is not looked for, or not found and that is no error.
    fn cut(
        &self,
        wanted: bool,
        rest: &mut Bytes,
        line: &Bytes,
        part: Part,
    ) -> Result<Option<Bytes>, Failure> {
        let (separator, name) = match part {
            Part::Headers => (&self.headers_delimiter, "headers delimiter"),
            Part::Key => (&self.key_separator, "key separator"),
        };
        if !wanted {
            return Ok(None);
        }
        match find(rest, separator) {
            Some(at) => {
                let before = rest.split_to(at);
                let _ = rest.split_to(separator.len());
                Ok(Some(before))
            }
            None if self.ignore_error => Ok(None),
            None => Err(Failure::Error(format!(
                "No {name} found on line number {}: '{}'",
                self.line_number,
                String::from_utf8_lossy(line)
            ))),
        }
    }

    fn headers(&self, text: &Bytes) -> Result<Vec<Header>, Failure> {
        let mut pairs = Vec::new();
        let mut rest = text.clone();
        while let Some(at) = find(&rest, &self.headers_separator) {
            pairs.push(rest.split_to(at));
            let _ = rest.split_to(self.headers_separator.len());
        }
        pairs.push(rest);
        // Empty pairs at the end do not count, but one pair always does.
        while pairs.len() > 1 && pairs.last().is_some_and(Bytes::is_empty) {
            pairs.pop();
        }
        pairs.into_iter().map(|pair| self.header(pair)).collect()
    }

    fn header(&self, pair: Bytes) -> Result<Header, Failure> {
        let Some(at) = find(&pair, &self.headers_key_separator) else {
            if self.ignore_error {
                return Ok(Header { key: pair, value: None });
            }
            return Err(Failure::Error(format!(
                "No header key separator found in pair '{}' on line number {}",
                String::from_utf8_lossy(&pair),
                self.line_number
            )));
        };
        let key = pair.slice(..at);
        if self.is_null(&key) {
            let marker = String::from_utf8_lossy(&key).into_owned();
            let why = format!(
                "Header keys should not be equal to the null marker '{marker}' as they can't be null"
            );
            return Err(Failure::Error(why));
        }
        let value = pair.slice(at + self.headers_key_separator.len()..);
        Ok(Header { key, value: Some(value).filter(|value| !self.is_null(value)) })
    }
}

#[derive(Clone, Copy)]
enum Part {
    Headers,
    Key,
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(pairs: &[&str]) -> Result<LineReader, Failure> {
        let words: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        LineReader::new(&crate::tools::connect::pairs(&words))
    }

    fn read(pairs: &[&str], line: &'static str) -> Result<Line, String> {
        let read = reader(pairs).unwrap().read(Bytes::from_static(line.as_bytes()));
        read.map_err(|failure| failure.message().to_owned())
    }

    fn line(
        key: Option<&'static str>,
        value: Option<&'static str>,
        headers: &[(&'static str, Option<&'static str>)],
    ) -> Line {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        let header = |(key, value): &(&'static str, Option<&'static str>)| Header {
            key: bytes(key),
            value: value.map(bytes),
        };
        Line { key: key.map(bytes), value: value.map(bytes), headers: headers.iter().map(header).collect() }
    }

    #[test]
    fn a_line_is_a_value_unless_it_is_taken_apart() {
        assert_eq!(read(&[], "a\tb"), Ok(line(None, Some("a\tb"), &[])));
        assert_eq!(read(&["parse.key=true"], "a\tb\tc"), Ok(line(Some("a"), Some("b\tc"), &[])));
        assert_eq!(read(&["parse.key=TRUE ", "key.separator=::"], "a::"), Ok(line(Some("a"), Some(""), &[])));
        let headers = [("h", Some("1")), ("h", Some("2:3"))];
        let all = ["parse.key=true", "parse.headers=true"];
        assert_eq!(read(&all, "h:1,h:2:3,\tk\tv"), Ok(line(Some("k"), Some("v"), &headers)));
    }

    #[test]
    fn the_null_marker_stands_for_nothing() {
        let all = ["parse.key=true", "parse.headers=true", "null.marker=NULL"];
        assert_eq!(read(&all, "h:NULL\tNULL\tNULL"), Ok(line(None, None, &[("h", None)])));
        assert_eq!(read(&all, "NULL\tk\tv"), Ok(line(Some("k"), Some("v"), &[])));
        assert!(read(&all, "NULL:1\tk\tv").unwrap_err().starts_with("Header keys should not be equal"));
    }

    #[test]
    fn what_is_missing_is_an_error_with_the_line_number_or_nothing() {
        assert_eq!(
            read(&["parse.key=true"], "ab"),
            Err("No key separator found on line number 1: 'ab'".to_owned())
        );
        assert_eq!(read(&["parse.key=true", "ignore.error=true"], "ab"), Ok(line(None, Some("ab"), &[])));
        let headers = ["parse.headers=true"];
        assert_eq!(
            read(&headers, "h\tv"),
            Err("No header key separator found in pair 'h' on line number 1".to_owned())
        );
        let lax = ["parse.headers=true", "ignore.error=true"];
        assert_eq!(read(&lax, "h\tv"), Ok(line(None, Some("v"), &[("h", None)])));
    }

    #[test]
    fn separators_must_differ() {
        let message = |pairs: &[&str]| reader(pairs).unwrap_err().message().to_owned();
        assert_eq!(
            message(&["headers.separator=:"]),
            "headers.separator and headers.key.separator may not be equal"
        );
        assert_eq!(message(&["null.marker=,"]), "null.marker and headers.separator may not be equal");
    }
}
