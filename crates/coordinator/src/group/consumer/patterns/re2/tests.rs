//! What RE2/J 1.8 has said to these patterns.

use regex::Regex;

use super::*;

fn regex(pattern: &str) -> Regex {
    let translated = translated(pattern).unwrap_or_else(|mistake| panic!("{pattern}: {mistake:?}"));
    Regex::new(&format!(r"\A(?:{translated})\z")).unwrap_or_else(|error| panic!("{pattern}: {error}"))
}

/// Every pattern, what it matches, what it does not match.
const MEANINGS: &[(&str, &[&str], &[&str])] = &[
    // No set operations, and no classes within classes.
    (r"[a&&b]", &["a", "b", "&"], &["c"]),
    (r"[a~~b]", &["a", "b", "~"], &["c"]),
    (r"[a[b]]", &["a]", "[]", "b]"], &["a", "b"]),
    (r"[[a-z]", &["[", "k"], &["-"]),
    (r"[[.a.]]", &["[]", ".]", "a]"], &["a"]),
    (r"[[:x]", &["[", ":", "x"], &["y"]),
    (r"[[:alpha:]b:]", &["b", "c", ":"], &["b:]"]),
    (r"[[:^digit:]-]", &["a", "-"], &["1"]),
    (r"[]a]", &["]", "a"], &["[]a]"]),
    (r"[^]a]", &["b"], &["]", "a"]),
    (r"[a-b-c]", &["a", "b", "-", "c"], &["d"]),
    (r"[\d-z]", &["5", "-", "z"], &["y"]),
    (r"[\w-a]", &["_", "-", "a"], &["."]),
    (r"[--a]", &["-", "A", "a"], &["b"]),
    (r"[\x41-\x{43}\x{D800}\0]", &["B", "\0"], &["D"]),
    (r"[\x{D800}]", &[], &["a"]),
    (r"[^\x{D800}]", &["a"], &[]),
    // Escapes.
    (r"\<\>\_\-\é\&", &["<>_-é&"], &[""]),
    (r"\b{start}", &[], &["", "a", "start"]),
    (r"\x41\x{0000000042}\103\0", &["ABC\0"], &[]),
    (r"\08\777", &["\u{0}8\u{1ff}"], &[]),
    (r"\a\f\n\r\t\v", &["\u{7}\u{c}\n\r\t\u{b}"], &[]),
    (r"\s", &["\t", " "], &["\u{b}", "\u{a0}"]),
    (r"\w\d", &["_7"], &["é7", "a٣"]),
    (r"a\b-\Bb?", &["a-"], &["a-b"]),
    (r"\Aa\z", &["a"], &[]),
    (r"\Qa.b\E.*", &["a.bc"], &["axbc"]),
    (r"\Qa.b\", &[r"a.b\"], &["a.b"]),
    (r"\Qab\E*", &["a", "abb"], &["abab"]),
    (r"a\Q\E*", &["", "aa"], &["b"]),
    // Properties.
    (r"\pN\pLu", &["1au"], &["1A"]),
    (r"\p{Lu}\P{Lu}\p{^Lu}\P{^Lu}", &["Aa1B"], &["aaaa"]),
    (r"\p{Latin}\p{Common}", &["a1"], &["11"]),
    (r"\p{Any}\P{Cs}\P{Unknown}", &["abc"], &[]),
    (r"a|\P{Any}|\p{Cs}", &["a"], &["b"]),
    (r"[\p{Cs}\pN]", &["1"], &["a"]),
    (r"(?i)\p{Lu}[[:upper:]][^\P{Lu}]", &["abc", "ABC"], &["1bc"]),
    // Repetitions.
    (r"x{,2}", &["x{,2}"], &["x", "xx"]),
    (r"x{ 2}|x{01}|x{|x{2|x{1,|{", &["x{ 2}", "x{01}", "x{", "x{2", "x{1,", "{"], &["x", "xx"]),
    (r"x{1,02}", &["x{1,02}"], &["x"]),
    (r"x*{", &["{", "xx{"], &["x"]),
    (r"x{2}{", &["xx{"], &["xxxx"]),
    (r"x{1}}", &["x}"], &["x"]),
    (r"x{2,3}?y{2,}", &["xxyy", "xxxyyy"], &["xyy", "xxxxyy"]),
    (r"a*(?i)*", &["", "aa"], &["A"]),
    (r"a{2}(?i){3}B", &["aaaaaab", "aaaaaaB"], &["aab"]),
    (r"^*a$+\b?", &["a"], &[]),
    (r"(a*)*(?:)*()*", &["", "aaa"], &["b"]),
    (r"|", &[""], &["|"]),
    // Flags and groups.
    (r"(?P<n>a)(?<m>b)(?<1>c)", &["abc"], &["a"]),
    (r"a(?i)b|c", &["aB", "C"], &["AB"]),
    (r"(a(?i)b)c", &["aBc"], &["aBC"]),
    (r"(?i-i)A(?ii)b(?-i)c(?)d(?mis-U)e", &["ABcdE"], &["aBcde", "ABCde"]),
    (r"(?i:a)b", &["Ab"], &["AB"]),
    (r"a.b|(?s)c.d", &["a-b", "c\nd"], &["a\nb"]),
    (r"[^a]", &["\n"], &["a"]),
    (r"(?m)a$\n^b", &["a\nb"], &[]),
    (r"(?U)a+#b c", &["aa#b c"], &["aa"]),
    (r"]}", &["]}"], &[]),
];

/// Every pattern that is none, and why.
const MISTAKES: &[(&str, Mistake)] = &[
    ("[a--b]", BAD_RANGE),
    ("[z-a]", BAD_RANGE),
    (r"[a-\d]", BAD_ESCAPE),
    (r"[a-\pN]", BAD_ESCAPE),
    ("[[:foo:]]", BAD_RANGE),
    ("[[:ALPHA:]]", BAD_RANGE),
    ("[[:a]b:]", BAD_RANGE),
    ("[[:]", BAD_RANGE),
    ("[]", CLASS_OPEN),
    ("[^]", CLASS_OPEN),
    ("[a-", CLASS_OPEN),
    ("[[:alpha:]", CLASS_OPEN),
    (r"[\b]", BAD_ESCAPE),
    (r"[\Qa\E]", BAD_ESCAPE),
    (r"[\C]", BAD_ESCAPE),
    (r"\C", BAD_ESCAPE),
    (r"\E", BAD_ESCAPE),
    (r"\Qa\Eb\E", BAD_ESCAPE),
    (r"\Z", BAD_ESCAPE),
    (r"\1", BAD_ESCAPE),
    (r"\18", BAD_ESCAPE),
    (r"\8", BAD_ESCAPE),
    (r"\e", BAD_ESCAPE),
    (r"\h", BAD_ESCAPE),
    (r"\R", BAD_ESCAPE),
    (r"\u0041", BAD_ESCAPE),
    (r"\u{41}", BAD_ESCAPE),
    (r"\U00000041", BAD_ESCAPE),
    (r"\x4", BAD_ESCAPE),
    (r"\xé", BAD_ESCAPE),
    (r"\x{}", BAD_ESCAPE),
    (r"\x{+41}", BAD_ESCAPE),
    (r"\x{110000}", BAD_ESCAPE),
    (r"\x{99999999999}", BAD_ESCAPE),
    (r"\", BACKSLASH_LAST),
    (r"\p", BAD_RANGE),
    (r"\p{N", BAD_RANGE),
    (r"\p{}", BAD_RANGE),
    (r"\p^N", BAD_RANGE),
    (r"\pé", BAD_RANGE),
    (r"\p{greek}", BAD_RANGE),
    (r"\p{Letter}", BAD_RANGE),
    (r"\p{Alphabetic}", BAD_RANGE),
    (r"\p{gc=L}", BAD_RANGE),
    (r"\p{L&}", BAD_RANGE),
    ("(?x)a # b", BAD_FLAGS),
    ("(?R)a", BAD_FLAGS),
    ("(?u)a", BAD_FLAGS),
    ("(?-u)a", BAD_FLAGS),
    ("(?-)a", BAD_FLAGS),
    ("(?i-)a", BAD_FLAGS),
    ("(?-s-i)a", BAD_FLAGS),
    ("(?=a)", BAD_FLAGS),
    ("(?!a)", BAD_FLAGS),
    ("(?>a)", BAD_FLAGS),
    ("(?#a)", BAD_FLAGS),
    ("(?P=n)", BAD_FLAGS),
    ("(?i", BAD_FLAGS),
    ("(?<=a)", BAD_NAME),
    ("(?<!a)", BAD_NAME),
    ("(?P<a-b>c)", BAD_NAME),
    ("(?P<é>c)", BAD_NAME),
    ("(?P<>c)", BAD_NAME),
    ("(?P<n", BAD_NAME),
    ("(?P<n>a)|(?<n>b)", SECOND_NAME),
    ("a**", REPEATED_TWICE),
    ("a*+", REPEATED_TWICE),
    ("a???", REPEATED_TWICE),
    ("a{2}{3}", REPEATED_TWICE),
    ("{+", REPEATED_TWICE),
    ("*", NOTHING_TO_REPEAT),
    ("a|*", NOTHING_TO_REPEAT),
    ("(+a)", NOTHING_TO_REPEAT),
    ("(?i)?", NOTHING_TO_REPEAT),
    ("{1}", NOTHING_TO_REPEAT),
    ("a{1001}", BAD_COUNT),
    ("a{0,1001}", BAD_COUNT),
    ("a{2,1}", BAD_COUNT),
    ("a{99999999999}", BAD_COUNT),
    ("a{99999999999,}", BAD_COUNT),
    ("(", GROUP_OPEN),
    ("(?P<n>", GROUP_OPEN),
    (r"(\Q)", GROUP_OPEN),
    (")", GROUP_NOT_OPEN),
    ("a)(b", GROUP_NOT_OPEN),
];

#[test]
fn what_re2j_accepts_means_the_same() {
    for (pattern, alike, other) in MEANINGS {
        let regex = regex(pattern);
        for name in *alike {
            assert!(regex.is_match(name), "{pattern} matches {name:?}, as {regex}");
        }
        for name in *other {
            assert!(!regex.is_match(name), "{pattern} does not match {name:?}, as {regex}");
        }
    }
}

#[test]
fn what_re2j_refuses_is_refused_in_its_words() {
    for (pattern, mistake) in MISTAKES {
        assert_eq!(translated(pattern), Err(*mistake), "{pattern}");
    }
}

#[test]
fn all_names_of_properties_are_known_here() {
    for name in CATEGORIES.split_ascii_whitespace().chain(SCRIPTS.split_ascii_whitespace()) {
        assert!(!regex(&format!(r"[\p{{{name}}}]\P{{{name}}}")).is_match(""), "{name}");
    }
}

#[test]
fn a_hostile_pattern_is_read_in_no_time() {
    let long = |part: &str| part.repeat(32_767 / part.len());
    for part in ["{", "{1,", "[[:", "[:", "(", "(?i:", "a{2}", r"\x{", r"\p{", "(?<", r"\Q", r"\Q\E"] {
        let _ = translated(&long(part));
    }
    assert_eq!(translated(&format!("{}*{}", long("a"), long("(?i)*"))), Err(TOO_DEEP));
}

proptest::proptest! {
    /// Whatever is accepted is one pattern to the crate `regex`, and can stand within others.
    #[test]
    fn what_is_accepted_can_be_compiled(pattern in r#"([a-cA-C1\[\](){}|*+?.^$\\:&~<>,-]|\(\?i\)|\[:alpha:\]|\\[bBdpPQExAz]|\{2\}|é){0,14}"#) {
        if let Ok(translated) = translated(&pattern) {
            let built = Regex::new(&format!(r"\A(?:{translated})\z"));
            proptest::prop_assert!(built.is_ok(), "{} as {}: {:?}", pattern, translated, built);
        }
    }
}
