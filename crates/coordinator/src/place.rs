//! On which partition of its internal topic the coordinator of a key stands.

/// The partition for a group or a transactional id, of as many as the topic has; the same that Java finds with
/// `Utils.abs(key.hashCode()) % partitions`. 0 where there are none.
#[must_use]
pub fn partition_for(key: &str, partitions: i32) -> i32 {
    // Java's absolute value of the smallest number is made 0.
    java_hash(key).checked_abs().unwrap_or(0).checked_rem(partitions).unwrap_or(0)
}

/// Java's `String.hashCode`: over UTF-16 code units.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        // As Java reckons them.
        for (text, hash) in [
            ("", 0),
            ("a", 97),
            ("abc", 96_354),
            ("hello", 99_162_322),
            ("The quick brown fox jumps over the lazy dog", -609_428_141),
            ("polygenelubricants", i32::MIN),
            ("ä", 228),
            ("😀", 1_772_899),
        ] {
            assert_eq!(java_hash(text), hash, "{text}");
        }
    }

    #[test]
    fn every_hash_has_its_partition() {
        assert_eq!(partition_for("polygenelubricants", 50), 0, "the smallest number has no absolute value");
        assert_eq!(partition_for("The quick brown fox jumps over the lazy dog", 50), 41);
        assert_eq!(partition_for("abc", 50), 4);
        assert_eq!(partition_for("abc", 0), 0);
    }
}
