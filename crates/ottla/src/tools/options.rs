//! Options as Kafka's tools read them, and the usage they print.
//!
//! Kafka's tools stand on a parser with habits of its own: `--name value`, `--name=value`, the same with one dash, no
//! abbreviations, words that belong to no option are passed over, and a value's type is looked at only when it is
//! asked for. Scripts rely on all of it, so it is done here rather than with a parser that has other habits
//! (docs/decisions: options of Kafka's tools).

use std::fmt::Write as _;
use std::str::FromStr;

use super::failure::Failure;

/// One option of a tool.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The name without dashes.
    pub name: &'static str,
    /// What comes behind the name.
    pub argument: Argument,
    /// What usage says of it.
    pub text: &'static str,
}

/// What follows an option's name.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    /// Nothing.
    None,
    /// A value: its type as usage shows it (with a description or without), and what holds where it is not given.
    Required {
        /// For instance `String: topic`.
        shown: &'static str,
        /// The value where the option is absent.
        default: Option<&'static str>,
        /// Splits one value into several.
        separator: Option<char>,
    },
    /// A value that may be left out.
    Optional {
        /// For instance `compression-codec`.
        shown: &'static str,
    },
}

impl Flag {
    /// An option without a value.
    pub const fn switch(name: &'static str, text: &'static str) -> Self {
        Self { name, argument: Argument::None, text }
    }

    /// An option with a value.
    pub const fn value(name: &'static str, shown: &'static str, text: &'static str) -> Self {
        Self { name, argument: Argument::Required { shown, default: None, separator: None }, text }
    }

    /// An option whose value may be left out.
    pub const fn optional(name: &'static str, shown: &'static str, text: &'static str) -> Self {
        Self { name, argument: Argument::Optional { shown }, text }
    }

    /// The same with a default.
    pub const fn or(self, default: &'static str) -> Self {
        match self.argument {
            Argument::Required { shown, separator, .. } => {
                Self { argument: Argument::Required { shown, default: Some(default), separator }, ..self }
            }
            _ => self,
        }
    }

    /// The same, one value holding several.
    pub const fn separated_by(self, separator: char) -> Self {
        match self.argument {
            Argument::Required { shown, default, .. } => {
                Self { argument: Argument::Required { shown, default, separator: Some(separator) }, ..self }
            }
            _ => self,
        }
    }
}

/// What a tool understands.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// One sentence for `--help`.
    pub about: &'static str,
    /// The options beside `--help` and `--version`.
    pub flags: &'static [Flag],
}

const HELP: Flag = Flag::switch("help", "Print usage information.");
const VERSION: Flag = Flag::switch("version", "Display the version.");

/// Why words could not be read as options; the texts are those that Kafka's users know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No such option.
    #[error("{0} is not a recognized option")]
    Unknown(String),
    /// The value is missing.
    #[error("Option {0} requires an argument")]
    NoArgument(&'static str),
    /// Given more than once.
    #[error("Found multiple arguments for option {0}, but you asked for only one")]
    Repeated(&'static str),
    /// Not of the option's type.
    #[error("Cannot parse argument '{1}' of option {0}")]
    Unparsable(&'static str, String),
}

/// The options of one call.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the tool understands.
    pub usage: &'static Usage,
    /// In the order in which they were typed.
    given: Vec<(&'static str, Option<String>)>,
    /// Whether nothing at all was typed.
    pub empty: bool,
}

impl Options {
    /// Reads the words behind the tool's name.
    pub fn parse(usage: &'static Usage, words: &[String]) -> Result<Self, OptionError> {
        let mut options = Self { usage, given: Vec::new(), empty: words.is_empty() };
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let Some(body) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) else { continue };
            let (long, body) = body.strip_prefix('-').map_or((false, body), |rest| (true, rest));
            if long && body.is_empty() {
                break;
            }
            let (name, inline) = body.split_once('=').map_or((body, None), |(n, v)| (n, Some(v.to_owned())));
            let Some(flag) = find(usage, name) else {
                // With one dash the letters would be options of their own, so the first unknown one is named.
                let named = if long { name } else { name.get(..1).unwrap_or(name) };
                return Err(OptionError::Unknown(named.to_owned()));
            };
            let value = match flag.argument {
                Argument::None => None,
                Argument::Required { .. } => {
                    let value = inline.or_else(|| words.next().cloned());
                    Some(value.ok_or(OptionError::NoArgument(flag.name))?)
                }
                Argument::Optional { .. } => {
                    inline.or_else(|| words.next_if(|w| !w.starts_with('-')).cloned())
                }
            };
            options.given.push((flag.name, value));
        }
        Ok(options)
    }

    /// Whether the option was typed.
    pub fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(n, _)| *n == name)
    }

    /// How often one of these options, each counted once, was typed.
    pub fn count(&self, names: &[&str]) -> usize {
        names.iter().filter(|name| self.has(name)).count()
    }

    /// The names as they were typed, one after the other.
    pub fn in_order(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        self.given.iter().map(|(name, value)| (*name, value.as_deref()))
    }

    /// The option's only value, or its default.
    pub fn value(&self, name: &str) -> Result<Option<String>, OptionError> {
        let flag = find(self.usage, name);
        let mut values = self.values(name);
        if values.len() > 1 {
            return Err(OptionError::Repeated(flag.map_or("", |flag| flag.name)));
        }
        let default = flag.and_then(|flag| match flag.argument {
            Argument::Required { default, .. } => default.map(str::to_owned),
            _ => None,
        });
        Ok(values.pop().or(default))
    }

    /// The option's only value as a number, or its default.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, OptionError> {
        let Some(text) = self.value(name)? else { return Ok(None) };
        let flag = find(self.usage, name).map_or("", |flag| flag.name);
        text.parse().map(Some).map_err(|_| OptionError::Unparsable(flag, text))
    }

    /// These options must be there.
    pub fn require(&self, names: &[&str]) -> Result<(), Failure> {
        match names.iter().find(|name| !self.has(name)) {
            Some(name) => Err(Failure::Usage(format!("Missing required argument \"[{name}]\""))),
            None => Ok(()),
        }
    }

    /// Where `used` is there, none of the others may be.
    pub fn forbid(&self, used: &str, others: &[&str]) -> Result<(), Failure> {
        match others.iter().find(|other| self.has(used) && self.has(other)) {
            Some(other) => {
                Err(Failure::Usage(format!("Option \"[{used}]\" can't be used with option \"[{other}]\"")))
            }
            None => Ok(()),
        }
    }

    /// Every value of the option.
    pub fn values(&self, name: &str) -> Vec<String> {
        let separator = find(self.usage, name).and_then(|flag| match flag.argument {
            Argument::Required { separator, .. } => separator,
            _ => None,
        });
        let given = self.given.iter().filter(|(n, _)| *n == name).filter_map(|(_, value)| value.clone());
        match separator {
            Some(separator) => {
                given.flat_map(|v| v.split(separator).map(str::to_owned).collect::<Vec<_>>()).collect()
            }
            None => given.collect(),
        }
    }
}

fn find(usage: &'static Usage, name: &str) -> Option<&'static Flag> {
    usage.flags.iter().chain([&HELP, &VERSION]).find(|flag| flag.name == name)
}

impl Usage {
    /// The table of options, in two columns of 80 characters together.
    pub fn table(&self) -> String {
        let mut rows: Vec<(String, String)> = self.flags.iter().chain([&HELP, &VERSION]).map(row).collect();
        rows.sort();
        let widest = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0).max("Option".len());
        let left_width = widest.min(39);
        let right_width = 80 - left_width - 2;
        let mut table = String::new();
        let mut line = |left: &str, right: &str| {
            let _ = writeln!(table, "{left:<left_width$}  {right:<right_width$}");
        };
        line("Option", "Description");
        line("------", "-----------");
        for (left, right) in rows {
            let (left, right) = (wrap(&left, left_width), wrap(&right, right_width));
            for i in 0..left.len().max(right.len()) {
                line(left.get(i).map_or("", String::as_str), right.get(i).map_or("", String::as_str));
            }
        }
        table
    }
}

fn row(flag: &Flag) -> (String, String) {
    match flag.argument {
        Argument::None => (format!("--{}", flag.name), flag.text.to_owned()),
        Argument::Required { shown, default, .. } => {
            let default = default.map_or(String::new(), |default| format!(" (default: {default})"));
            (format!("--{} <{shown}>", flag.name), format!("{}{default}", flag.text))
        }
        Argument::Optional { shown } => (format!("--{} [{shown}]", flag.name), flag.text.to_owned()),
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let indent = if lines.is_empty() { "" } else { "  " };
            if line.trim().is_empty() {
                line = format!("{indent}{word}");
            } else if line.len() + 1 + word.len() <= width {
                line = format!("{line} {word}");
            } else {
                lines.push(std::mem::replace(&mut line, format!("  {word}")));
            }
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    static USAGE: Usage = Usage {
        about: "Test.",
        flags: &[
            Flag::switch("list", "List."),
            Flag::value("topic", "String: topic", "The topic."),
            Flag::value("partitions", "Integer: # of partitions", "How many partitions."),
            Flag::value("timeout", "Long: ms", "How long.").or("1000"),
            Flag::value("delete-config", "String", "Names.").separated_by(','),
            Flag::optional("codec", "String: codec", "The codec."),
        ],
    };

    fn parse(words: &[&str]) -> Result<Options, OptionError> {
        Options::parse(&USAGE, &words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_take_one_dash_or_two_and_values_a_space_or_an_equals_sign() {
        for words in [&["--topic", "t"][..], &["--topic=t"], &["-topic", "t"], &["-topic=t"]] {
            assert_eq!(parse(words).unwrap().value("topic").unwrap().as_deref(), Some("t"), "{words:?}");
        }
        assert_eq!(parse(&["--topic", "--list"]).unwrap().value("topic").unwrap().as_deref(), Some("--list"));
        assert!(parse(&["stray", "--list=true", "-"]).unwrap().has("list"));
        assert!(!parse(&["--", "--list"]).unwrap().has("list"));
    }

    #[test]
    fn errors_read_as_in_kafka() {
        let error = |words: &[&str]| parse(words).unwrap_err().to_string();
        assert_eq!(error(&["--foo"]), "foo is not a recognized option");
        assert_eq!(error(&["-foo"]), "f is not a recognized option");
        assert_eq!(error(&["--top", "t"]), "top is not a recognized option");
        assert_eq!(error(&["--topic"]), "Option topic requires an argument");
        let options = parse(&["--topic", "a", "--topic", "b", "--partitions", "x"]).unwrap();
        assert_eq!(
            options.value("topic").unwrap_err().to_string(),
            "Found multiple arguments for option topic, but you asked for only one"
        );
        assert_eq!(
            options.number::<i32>("partitions").unwrap_err().to_string(),
            "Cannot parse argument 'x' of option partitions"
        );
    }

    #[test]
    fn defaults_lists_and_values_that_may_be_absent() {
        let options = parse(&["--delete-config", "a,b", "--delete-config=c", "--codec", "--list"]).unwrap();
        assert_eq!(options.values("delete-config"), ["a", "b", "c"]);
        assert_eq!(options.number::<i64>("timeout"), Ok(Some(1000)));
        assert!(options.has("codec") && !options.has("timeout"));
        assert_eq!(options.value("codec"), Ok(None));
        assert_eq!(parse(&["--codec", "lz4"]).unwrap().value("codec").unwrap().as_deref(), Some("lz4"));
    }

    #[test]
    fn usage_is_a_table_of_80_columns_in_alphabetical_order() {
        let table = USAGE.table();
        assert!(table.lines().all(|line| line.len() == 80), "{table}");
        let names: Vec<&str> = table.lines().skip(2).filter_map(|l| l.split(' ').next()).collect();
        assert!(names.is_sorted(), "{names:?}");
    }
}
