//! Reads a pattern as RE2/J does, which is what Kafka has, and says the same in the words of the crate `regex`.
//!
//! The two are of one family, but not one: `regex` knows set operations, classes in classes, `\<`, `(?x)`, `\u`, long
//! names of properties, stacked repetitions; RE2/J takes all of these for plain letters or for mistakes. So nothing is
//! passed on as it stands. What is written here means the same to both for names of ASCII, as topics have (but for
//! `(?i)\p{Ll}`, which in RE2/J finds K and S and no other capital); groups do not capture.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// No repetition says more.
const REPEAT_MAX: u32 = 1000;

/// How often what is repeated may be repeated again: only flags between two repetitions allow that at all.
const STACKED_MAX: usize = 100;

/// The general categories that RE2/J knows.
const CATEGORIES: &str = "C Cc Cf Co Cs L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So \
                          Z Zl Zp Zs";

/// The scripts that RE2/J knows; `Unknown` is empty there.
const SCRIPTS: &str = "Arabic Armenian Avestan Balinese Bamum Batak Bengali Bopomofo Brahmi Braille Buginese Buhid \
                       Canadian_Aboriginal Carian Cham Cherokee Common Coptic Cuneiform Cypriot Cyrillic Deseret \
                       Devanagari Egyptian_Hieroglyphs Ethiopic Georgian Glagolitic Gothic Greek Gujarati Gurmukhi \
                       Han Hangul Hanunoo Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi \
                       Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kayah_Li Kharoshthi Khmer Lao Latin \
                       Lepcha Limbu Linear_B Lisu Lycian Lydian Malayalam Mandaic Meetei_Mayek Mongolian Myanmar \
                       New_Tai_Lue Nko Ogham Ol_Chiki Old_Italic Old_Persian Old_South_Arabian Old_Turkic Oriya \
                       Osmanya Phags_Pa Phoenician Rejang Runic Samaritan Saurashtra Shavian Sinhala Sundanese \
                       Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Tamil Telugu Thaana Thai \
                       Tibetan Tifinagh Ugaritic Vai Yi";

/// The classes that POSIX names.
const POSIX: &str = "alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit";

/// All letters there are, and none.
const ALL: &str = r"[\x{0}-\x{10FFFF}]";
const NONE: &str = r"[^\x{0}-\x{10FFFF}]";

/// The pattern is none, and why, in RE2/J's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mistake(pub &'static str);

type Read<T> = Result<T, Mistake>;

const BAD_ESCAPE: Mistake = Mistake("invalid escape sequence");
const BAD_RANGE: Mistake = Mistake("invalid character class range");
const BAD_FLAGS: Mistake = Mistake("invalid or unsupported Perl syntax");
const BAD_NAME: Mistake = Mistake("invalid named capture");
const SECOND_NAME: Mistake = Mistake("duplicate capture group name");
const BAD_COUNT: Mistake = Mistake("invalid repeat count");
const NOTHING_TO_REPEAT: Mistake = Mistake("missing argument to repetition operator");
const REPEATED_TWICE: Mistake = Mistake("invalid nested repetition operator");
const TOO_DEEP: Mistake = Mistake("expression nests too deeply");
const CLASS_OPEN: Mistake = Mistake("missing closing ]");
const GROUP_OPEN: Mistake = Mistake("missing closing )");
const GROUP_NOT_OPEN: Mistake = Mistake("unexpected )");
const BACKSLASH_LAST: Mistake = Mistake("trailing backslash at end of expression");

/// The pattern for the crate `regex`.
///
/// # Errors
/// [`Mistake`] where RE2/J refuses it.
pub(super) fn translated(pattern: &str) -> Read<String> {
    let mut reader = Reader {
        rest: pattern,
        out: String::new(),
        last: None,
        open: Vec::new(),
        names: BTreeSet::new(),
        no_posix: false,
    };
    while !reader.rest.is_empty() {
        reader.step()?;
    }
    if reader.open.is_empty() { Ok(reader.out) } else { Err(GROUP_OPEN) }
}

struct Reader<'a> {
    rest: &'a str,
    out: String,
    /// What a repetition repeats.
    last: Option<Piece>,
    /// Where the open groups begin in what is written.
    open: Vec<usize>,
    names: BTreeSet<&'a str>,
    /// There is no end of a POSIX class in what remains.
    no_posix: bool,
}

/// A piece of what is written.
#[derive(Clone, Copy)]
struct Piece {
    start: usize,
    end: usize,
    /// How many repetitions it ends with.
    repeated: usize,
    /// And nothing has been read since.
    just_repeated: bool,
}

impl<'a> Reader<'a> {
    fn step(&mut self) -> Read<()> {
        if let Some(repetition) = self.repetition()? {
            return self.repeat(&repetition);
        }
        if let Some(last) = &mut self.last {
            last.just_repeated = false;
        }
        let Some(letter) = self.rest.chars().next() else { return Ok(()) };
        match letter {
            '(' if self.rest.starts_with("(?") => return self.group_with_flags(),
            '(' => {
                self.skip(1);
                self.begin_group("(?:");
            }
            ')' => {
                self.skip(1);
                let start = self.open.pop().ok_or(GROUP_NOT_OPEN)?;
                self.out.push(')');
                self.last = Some(Piece { start, end: self.out.len(), repeated: 0, just_repeated: false });
            }
            '|' => {
                self.skip(1);
                self.out.push('|');
                self.last = None;
            }
            '^' | '$' | '.' => {
                self.skip(1);
                self.write(&format!("(?:{letter})"));
            }
            '[' => {
                let class = self.class()?;
                self.write(&class);
            }
            '\\' => return self.escape(),
            letter => {
                self.skip(letter.len_utf8());
                self.write(&one(letter.into()));
                if let Some(last) = &mut self.last {
                    // A brace that repeats nothing counts as a repetition for what follows.
                    last.just_repeated = letter == '{';
                }
            }
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn take(&mut self, what: &str) -> bool {
        let rest = self.rest.strip_prefix(what);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.skip(letter.len_utf8());
        Some(letter)
    }

    /// Writes what can be repeated.
    fn write(&mut self, what: &str) {
        let start = self.out.len();
        self.out.push_str(what);
        self.last = Some(Piece { start, end: self.out.len(), repeated: 0, just_repeated: false });
    }

    fn begin_group(&mut self, how: &str) {
        self.open.push(self.out.len());
        self.out.push_str(how);
        self.last = None;
    }

    /// How the last piece is to be repeated, if a repetition comes; braces that are none are letters.
    fn repetition(&mut self) -> Read<Option<String>> {
        let mut repetition = match self.rest.bytes().next() {
            Some(sign @ (b'*' | b'+' | b'?')) => {
                self.skip(1);
                char::from(sign).to_string()
            }
            Some(b'{') => {
                let Some((least, most, length)) = bounds(self.rest) else { return Ok(None) };
                self.skip(length);
                if least > REPEAT_MAX || most.is_some_and(|most| most > REPEAT_MAX || most < least) {
                    return Err(BAD_COUNT);
                }
                match most {
                    Some(most) => format!("{{{least},{most}}}"),
                    None => format!("{{{least},}}"),
                }
            }
            _ => return Ok(None),
        };
        if self.take("?") {
            repetition.push('?');
        }
        Ok(Some(repetition))
    }

    /// Repeats the last piece. Flags may stand behind it already.
    fn repeat(&mut self, how: &str) -> Read<()> {
        let Some(mut last) = self.last else { return Err(NOTHING_TO_REPEAT) };
        if last.just_repeated {
            return Err(REPEATED_TWICE);
        }
        if last.repeated >= STACKED_MAX {
            return Err(TOO_DEEP);
        }
        if last.repeated > 0 {
            self.out.insert(last.end, ')');
            self.out.insert_str(last.start, "(?:");
            last.end += 4;
        }
        self.out.insert_str(last.end, how);
        last.end += how.len();
        self.last = Some(Piece { repeated: last.repeated + 1, just_repeated: true, ..last });
        Ok(())
    }

    /// `(?P<name>`, `(?<name>`, `(?flags)`, `(?flags:`.
    fn group_with_flags(&mut self) -> Read<()> {
        if self.take("(?P<") || self.take("(?<") {
            let (name, rest) = self.rest.split_once('>').ok_or(BAD_NAME)?;
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty() || !name.bytes().all(is_word) {
                return Err(BAD_NAME);
            }
            if !self.names.insert(name) {
                return Err(SECOND_NAME);
            }
            self.rest = rest;
            self.begin_group("(?:");
            return Ok(());
        }
        self.skip("(?".len());
        let (mut on, mut off) = (BTreeSet::new(), BTreeSet::new());
        // Whether a minus has come, and a flag behind it.
        let (mut minus, mut flag) = (false, false);
        loop {
            match self.next() {
                Some(letter @ ('i' | 'm' | 's' | 'U')) => {
                    flag = true;
                    let (in_it, out_of_it) = if minus { (&mut off, &mut on) } else { (&mut on, &mut off) };
                    in_it.insert(letter);
                    out_of_it.remove(&letter);
                }
                Some('-') if !minus => (minus, flag) = (true, false),
                Some(end @ (':' | ')')) if !minus || flag => {
                    self.set_flags(&on, &off, end);
                    return Ok(());
                }
                _ => return Err(BAD_FLAGS),
            }
        }
    }

    fn set_flags(&mut self, on: &BTreeSet<char>, off: &BTreeSet<char>, end: char) {
        let mut flags: String = on.iter().collect();
        if !off.is_empty() {
            flags.push('-');
            flags.extend(off);
        }
        match end {
            ':' => self.begin_group(&format!("(?{flags}:")),
            _ if flags.is_empty() => {}
            _ => self.out.push_str(&format!("(?{flags})")),
        }
    }

    /// What a backslash begins outside of a class.
    fn escape(&mut self) -> Read<()> {
        if self.take(r"\Q") {
            let (quoted, rest) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
            self.rest = rest;
            quoted.chars().for_each(|letter| self.write(&one(letter.into())));
        } else if self.take(r"\A") {
            self.write(r"(?:\A)");
        } else if self.take(r"\z") {
            self.write(r"(?:\z)");
        } else if self.take(r"\b") {
            self.write(r"(?-u:\b)");
        } else if self.take(r"\B") {
            self.write(r"(?-u:\B)");
        } else if let Some(class) = self.named_class()? {
            self.write(&class);
        } else {
            let letter = self.escaped_letter()?;
            self.write(&one(letter));
        }
        Ok(())
    }

    /// `\d` and its like, `\p` and `\P`, in and out of brackets.
    fn named_class(&mut self) -> Read<Option<String>> {
        let class = match self.rest.as_bytes().get(..2) {
            Some(br"\d") => "[0-9]",
            Some(br"\D") => "[^0-9]",
            Some(br"\s") => r"[\t\n\f\r\x20]",
            Some(br"\S") => r"[^\t\n\f\r\x20]",
            Some(br"\w") => "[0-9A-Za-z_]",
            Some(br"\W") => "[^0-9A-Za-z_]",
            Some(br"\p") => return self.unicode_class(true).map(Some),
            Some(br"\P") => return self.unicode_class(false).map(Some),
            _ => return Ok(None),
        };
        self.skip(2);
        Ok(Some(class.to_owned()))
    }

    fn unicode_class(&mut self, mut within: bool) -> Read<String> {
        self.skip(2);
        let mut name = match self.rest.strip_prefix('{') {
            Some(rest) => {
                let (name, rest) = rest.split_once('}').ok_or(BAD_RANGE)?;
                self.rest = rest;
                name
            }
            None => {
                let before = self.rest;
                let letter = self.next().ok_or(BAD_RANGE)?;
                &before[..letter.len_utf8()]
            }
        };
        if let Some(opposite) = name.strip_prefix('^') {
            (name, within) = (opposite, !within);
        }
        let knows = |names: &str| names.split_ascii_whitespace().any(|known| known == name);
        let letter = if within { 'p' } else { 'P' };
        Ok(match name {
            // Surrogates, of which there are none outside of UTF-16.
            "Cs" | "Unknown" => (if within { NONE } else { ALL }).to_owned(),
            "Any" => (if within { ALL } else { NONE }).to_owned(),
            _ if knows(CATEGORIES) => format!(r"\{letter}{{gc={name}}}"),
            _ if knows(SCRIPTS) => format!(r"\{letter}{{sc={name}}}"),
            _ => return Err(BAD_RANGE),
        })
    }

    /// A letter that is written with a backslash.
    fn escaped_letter(&mut self) -> Read<u32> {
        self.skip(1);
        let letter = self.next().ok_or(BACKSLASH_LAST)?;
        let is_octal = |byte: &u8| (b'0'..=b'7').contains(byte);
        Ok(match letter {
            // One digit but 0 would be a reference to a group.
            '1'..='7' if !self.rest.as_bytes().first().is_some_and(is_octal) => return Err(BAD_ESCAPE),
            '0'..='7' => {
                let more = self.rest.bytes().take(2).take_while(|byte| is_octal(byte)).count();
                let digits = self.rest[..more].chars();
                self.skip(more);
                [letter]
                    .into_iter()
                    .chain(digits)
                    .filter_map(|digit| digit.to_digit(8))
                    .fold(0, |sum, digit| sum * 8 + digit)
            }
            'x' => return self.hexadecimal(),
            'a' => 0x07,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'v' => 0x0b,
            letter if letter.is_ascii_alphanumeric() => return Err(BAD_ESCAPE),
            letter => letter.into(),
        })
    }

    fn hexadecimal(&mut self) -> Read<u32> {
        let (digits, rest) = match self.rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}').ok_or(BAD_ESCAPE)?,
            None => (self.rest.get(..2).ok_or(BAD_ESCAPE)?, self.rest.get(2..).unwrap_or_default()),
        };
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let letter = u32::from_str_radix(digits, 16).ok().filter(|_| is_number);
        self.rest = rest;
        letter.filter(|letter| *letter <= u32::from(char::MAX)).ok_or(BAD_ESCAPE)
    }

    /// What stands in brackets.
    fn class(&mut self) -> Read<String> {
        self.skip(1);
        let is_inverse = self.take("^");
        let mut items = String::new();
        let mut is_first = true;
        while is_first || !self.rest.starts_with(']') {
            is_first = false;
            if self.rest.is_empty() {
                return Err(CLASS_OPEN);
            }
            if let Some(named) = self.posix_class()? {
                items.push_str(&named);
            } else if let Some(named) = self.named_class()? {
                items.push_str(&named);
            } else {
                let range = self.range()?;
                items.push_str(&ranges(range));
            }
        }
        self.skip(1);
        Ok(match (items.is_empty(), is_inverse) {
            (true, true) => ALL.to_owned(),
            (true, false) => NONE.to_owned(),
            (false, true) => format!("[^{items}]"),
            (false, false) => format!("[{items}]"),
        })
    }

    fn posix_class(&mut self) -> Read<Option<String>> {
        if self.no_posix || !self.rest.starts_with("[:") {
            return Ok(None);
        }
        // The colon that opens it may be the one that closes it, and then it is a mistake.
        let Some((name, rest)) = self.rest[1..].split_once(":]") else {
            self.no_posix = true;
            return Ok(None);
        };
        let name = name.strip_prefix(':').ok_or(BAD_RANGE)?;
        let plain = name.strip_prefix('^').unwrap_or(name);
        if !POSIX.split_ascii_whitespace().any(|known| known == plain) {
            return Err(BAD_RANGE);
        }
        self.rest = rest;
        Ok(Some(format!("[:{name}:]")))
    }

    fn range(&mut self) -> Read<RangeInclusive<u32>> {
        let first = self.class_letter()?;
        if !self.rest.starts_with('-') || self.rest.starts_with("-]") {
            return Ok(first..=first);
        }
        self.skip(1);
        let last = self.class_letter()?;
        if last < first { Err(BAD_RANGE) } else { Ok(first..=last) }
    }

    fn class_letter(&mut self) -> Read<u32> {
        if self.rest.starts_with('\\') {
            return self.escaped_letter();
        }
        self.next().map(u32::from).ok_or(CLASS_OPEN)
    }
}

/// The bounds `{least}`, `{least,}` or `{least,most}` that a text begins with, and their length. What is too large for a
/// number is as large as can be.
fn bounds(text: &str) -> Option<(u32, Option<u32>, usize)> {
    let (least, rest) = count(text.strip_prefix('{')?)?;
    let (most, rest) = match rest.strip_prefix(',') {
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => count(rest).map(|(most, rest)| (Some(most), rest))?,
        None => (Some(least), rest),
    };
    let rest = rest.strip_prefix('}')?;
    Some((least, most, text.len() - rest.len()))
}

/// A number without zeros before it, and what follows.
fn count(text: &str) -> Option<(u32, &str)> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(end);
    let is_number = !digits.is_empty() && (digits == "0" || !digits.starts_with('0'));
    is_number.then(|| (digits.parse().unwrap_or(u32::MAX), rest))
}

/// A letter, outside of brackets. A surrogate matches nothing.
fn one(letter: u32) -> String {
    match char::from_u32(letter) {
        Some(letter) if letter.is_ascii_alphanumeric() => letter.to_string(),
        Some(_) => format!(r"\x{{{letter:X}}}"),
        None => NONE.to_owned(),
    }
}

/// A range within brackets, without the surrogates.
fn ranges(range: RangeInclusive<u32>) -> String {
    const BEFORE: u32 = 0xd7ff;
    const BEHIND: u32 = 0xe000;
    let (first, last) = range.into_inner();
    let first = if char::from_u32(first).is_some() { first } else { BEHIND };
    let last = if char::from_u32(last).is_some() { last } else { BEFORE };
    if first <= last { format!(r"\x{{{first:X}}}-\x{{{last:X}}}") } else { String::new() }
}

#[cfg(test)]
mod tests;
