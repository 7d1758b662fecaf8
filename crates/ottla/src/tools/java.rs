//! Forms that Java gives things without being asked, and that scripts have come to know.

/// The buckets of a `HashMap` whose maker did not say how many entries it would have.
pub const UNKNOWN_SIZE: usize = 16;

/// The entries in the order in which a Java `HashMap<String, …>` filled with them would list them.
pub fn hash_map_order<T>(mut entries: Vec<T>, made_for: usize, key: impl Fn(&T) -> &str) -> Vec<T> {
    let mut buckets = made_for.next_power_of_two();
    while entries.len() > buckets * 3 / 4 {
        buckets *= 2;
    }
    entries.sort_by_key(|entry| spread(hash(key(entry))) as usize & (buckets - 1));
    entries
}

fn hash(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash: u32, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)))
}

fn spread(hash: u32) -> u32 {
    hash ^ (hash >> 16)
}

/// Bytes as `new String(bytes, UTF_8)` reads them. What is not UTF-8 becomes U+FFFD where Rust puts it, but for halves of
/// surrogate pairs: one for the two or three bytes of a half, not one for each.
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(chunk) = rest.utf8_chunks().next() {
        text.push_str(chunk.valid());
        rest = &rest[chunk.valid().len()..];
        if rest.is_empty() {
            break;
        }
        text.push(char::REPLACEMENT_CHARACTER);
        let skipped = match rest {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => 3,
            [0xed, 0xa0..=0xbf, ..] => 2,
            _ => chunk.invalid().len(),
        };
        rest = &rest[skipped..];
    }
    text
}

/// A number as `Double.toString` writes it: always with a fraction, scientific below 10⁻³ and from 10⁷.
pub fn double(value: f64) -> String {
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) || !value.is_finite() {
        return match value {
            value if value.is_nan() => "NaN".to_owned(),
            value if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
            value => format!("{value:?}"),
        };
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let fraction = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{fraction}E{exponent}")
}

/// The same for `Float.toString`.
pub fn float(value: f32) -> String {
    // The shortest digits of a float are fewer than those of the same number as a double.
    let digits: f64 = format!("{value:e}").parse().unwrap_or(f64::from(value));
    double(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_utf_8_is_replaced_as_in_java() {
        // Said by Java 17.
        for (bytes, read) in [
            (&b"\xed\xa0\x80"[..], "\u{fffd}"),
            (b"A\xed\xbf\xbfA", "A\u{fffd}A"),
            (b"\xed\xa0A", "\u{fffd}A"),
            (b"\xc3\xa9\xed\xa0", "\u{e9}\u{fffd}"),
            (b"\xed\xa0\xed\x80\x80", "\u{fffd}\u{d000}"),
            (b"\xed\xb0\xf0\x9f\x98\x80", "\u{fffd}\u{1f600}"),
            (b"\xedA", "\u{fffd}A"),
            (b"\xed", "\u{fffd}"),
            (b"\xe0\x80\x80", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xe0\xa0A", "\u{fffd}A"),
            (b"\xf0\x90\x80A", "\u{fffd}A"),
            (b"\xf4\x90\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xc0\x80", "\u{fffd}\u{fffd}"),
            (b"\xc2A", "\u{fffd}A"),
            (b"", ""),
        ] {
            assert_eq!(text(bytes), read, "{bytes:x?}");
        }
    }

    #[test]
    fn the_order_is_the_one_seen_from_kafka_topics() {
        let keys = vec!["cleanup.policy", "max.message.bytes", "min.insync.replicas", "retention.ms"];
        // Among the 37 settings of a topic, which make 64 buckets, Kafka's tool lists these four so.
        let mut all: Vec<String> = (0..33).map(|n| format!("other{n}")).collect();
        all.extend(keys.into_iter().map(str::to_owned));
        let ordered = hash_map_order(all, UNKNOWN_SIZE, |key| key);
        let seen: Vec<&str> =
            ordered.iter().map(String::as_str).filter(|k| !k.starts_with("other")).collect();
        assert_eq!(seen, ["min.insync.replicas", "cleanup.policy", "retention.ms", "max.message.bytes"]);
    }

    #[test]
    fn a_map_made_for_its_entries_has_another_order() {
        let order =
            |made_for| hash_map_order(vec!["producer_byte_rate", "consumer_byte_rate"], made_for, |key| key);
        assert_eq!(order(2), ["consumer_byte_rate", "producer_byte_rate"]);
    }

    #[test]
    fn doubles_are_written_as_java_writes_them() {
        let written = [0.0, 1024.0, 0.5, 1e7, 1.25e9, 1e-4, -3.0, 9_999_999.0].map(double);
        assert_eq!(written, ["0.0", "1024.0", "0.5", "1.0E7", "1.25E9", "1.0E-4", "-3.0", "9999999.0"]);
    }
}
