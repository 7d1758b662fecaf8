//! The format of `server.properties`, as `java.util.Properties` reads it.
//!
//! Bytes are Latin-1, as in Java; `\uXXXX` says everything else. No file is opened here.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use super::parse::ConfigError;

/// Reads a properties file; of a key given twice the later value counts.
///
/// # Errors
/// If a `\u` is not followed by four hexadecimal digits.
pub fn parse_properties(bytes: &[u8]) -> Result<BTreeMap<String, String>, ConfigError> {
    let text: String = bytes.iter().map(|&b| char::from(b)).collect();
    let mut result = BTreeMap::new();
    for line in logical_lines(&text) {
        let (key, value) = split(&line);
        result.insert(unescape(key)?, unescape(value)?);
    }
    Ok(result)
}

/// Lines with their continuations, without comments and blank lines, without the space they begin with.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current: Option<String> = None;
    for natural in text.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
        let line = natural.trim_start_matches([' ', '\t', '\u{c}']);
        if current.is_none() && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        let whole = current.get_or_insert_default();
        if backslashes % 2 == 1 {
            whole.push_str(&line[..line.len() - 1]);
        } else {
            whole.push_str(line);
            lines.extend(current.take());
        }
    }
    lines.extend(current.filter(|line| !line.is_empty()));
    lines
}

/// Key and value, both still escaped. The key ends at the first `=`, `:` or space that is not escaped.
fn split(line: &str) -> (&str, &str) {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\u{c}');
    let mut escaped = false;
    let mut end = line.len();
    for (at, c) in line.char_indices() {
        if !escaped && (is_space(c) || c == '=' || c == ':') {
            end = at;
            break;
        }
        escaped = c == '\\' && !escaped;
    }
    let rest = line[end..].trim_start_matches(is_space);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], rest.trim_start_matches(is_space))
}

fn unescape(text: &str) -> Result<String, ConfigError> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let plain = match (c, chars.peek()) {
            ('\\', Some('u')) => {
                chars.next();
                units.push(hex_unit(&mut chars)?);
                continue;
            }
            ('\\', Some(_)) => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
                None => c,
            },
            // A lone backslash at the very end stands for nothing.
            ('\\', None) => break,
            _ => c,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    Ok(String::from_utf16_lossy(&units))
}

fn hex_unit(chars: &mut Peekable<Chars<'_>>) -> Result<u16, ConfigError> {
    let digits: String = chars.take(4).collect();
    let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4 && !digits.contains('+'));
    unit.ok_or_else(|| ConfigError("Malformed \\uxxxx encoding.".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        parse_properties(text.as_bytes()).unwrap().into_iter().collect()
    }

    fn pair(key: &str, value: &str) -> Vec<(String, String)> {
        vec![(key.to_owned(), value.to_owned())]
    }

    #[test]
    fn separators_and_space() {
        for text in ["a=b", "a:b", "a b", " a = b", "a\t:\tb", "\u{c}a=b", "a=b\r\n", "a=x\na=b"] {
            assert_eq!(read(text), pair("a", "b"), "{text:?}");
        }
        assert_eq!(read("a"), pair("a", ""));
        assert_eq!(read("a==b"), pair("a", "=b"));
        assert_eq!(read("a=b "), pair("a", "b "));
        assert_eq!(read("listeners=PLAINTEXT://:9092"), pair("listeners", "PLAINTEXT://:9092"));
    }

    #[test]
    fn comments_and_continuations() {
        assert_eq!(read("# x=1\n!y=2\n\n   # z\na=b#c"), pair("a", "b#c"));
        assert_eq!(read("a=b,\\\n   c,\\\n\td"), pair("a", "b,c,d"));
        assert_eq!(read("a=b\\\\\n"), pair("a", "b\\"));
        assert_eq!(read("a=b\\\n# not a comment"), pair("a", "b# not a comment"));
        assert_eq!(read("a=b\\"), pair("a", "b"));
    }

    #[test]
    fn escapes() {
        assert_eq!(read("a\\=b=c\\tq\\z"), pair("a=b", "c\tqz"));
        assert_eq!(read("a=\\u00e9\\ud83d\\ude00"), pair("a", "é😀"));
        assert_eq!(
            parse_properties(&[b'a', b'=', 0xe9]).unwrap().into_iter().collect::<Vec<_>>(),
            pair("a", "é")
        );
        assert!(parse_properties(b"a=\\u12").is_err());
        assert!(parse_properties(b"a=\\u+123").is_err());
    }
}
