//! Options of those of Kafka's tools that have subcommands.
//!
//! They stand on another parser than the rest (argparse4j), with other habits: short and long names, required options,
//! errors after the usage, `--help` on stdout with exit code 0.

use std::fmt::Write as _;
use std::slice::Iter;

use super::failure::Failure;

/// A tool with subcommands.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Options that come before the subcommand.
    pub globals: &'static [Opt],
    /// The subcommands, in the order of `--help`.
    pub commands: &'static [Command],
}

/// One subcommand.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Its options, `--help` aside.
    pub options: &'static [Opt],
}

/// One option of a subcommand.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// The long name, without dashes.
    pub long: &'static str,
    /// The short one, if there is one.
    pub short: Option<char>,
    /// How it is used.
    pub kind: Kind,
    /// What it is for.
    pub text: &'static str,
}

/// How an option is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With a value, and must be there.
    Required,
    /// With a value.
    Value,
    /// With a value, as often as one likes, and must be there.
    RequiredMany,
    /// With a value, as often as one likes.
    Many,
    /// With one or more values, up to the next option.
    Words,
    /// Without a value.
    Switch,
    /// Without a value; only one of the options of such kinds may be there.
    ExclusiveSwitch,
    /// With a value; likewise.
    ExclusiveValue,
}

impl Kind {
    fn takes_value(self) -> bool {
        !matches!(self, Self::Switch | Self::ExclusiveSwitch)
    }

    fn is_required(self) -> bool {
        matches!(self, Self::Required | Self::RequiredMany)
    }

    fn is_exclusive(self) -> bool {
        matches!(self, Self::ExclusiveSwitch | Self::ExclusiveValue)
    }
}

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The subcommand.
    pub command: &'static str,
    given: Vec<(&'static str, String)>,
}

impl Chosen {
    /// Whether the option is there.
    pub fn has(&self, long: &str) -> bool {
        self.given.iter().any(|(name, _)| *name == long)
    }

    /// Its last value.
    pub fn value(&self, long: &str) -> Option<&str> {
        self.given.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// All its values.
    pub fn values(&self, long: &str) -> Vec<&str> {
        self.given.iter().filter(|(name, _)| *name == long).map(|(_, value)| value.as_str()).collect()
    }
}

impl Program {
    /// Reads the words behind the tool's name.
    pub fn parse(&self, words: &[String]) -> Result<Chosen, Failure> {
        let names = || self.commands.iter().map(|c| c.name).collect::<Vec<_>>();
        let usage = || {
            let globals: String =
                self.globals.iter().map(|option| format!(" {}", option.in_usage())).collect();
            format!("usage: {} [-h]{globals} {{{}}} ...", self.name, names().join(","))
        };
        let error = |message: &str| Failure::Error(format!("{}\n{}: error: {message}", usage(), self.name));
        let globals = Command { name: "", about: self.about, options: self.globals };
        let mut chosen = Chosen { command: "", given: Vec::new() };
        let mut rest = words.iter();
        let command = loop {
            let Some(word) = rest.next() else { return Err(error("too few arguments")) };
            if is_help(word) {
                return Err(Failure::Help(self.help(&usage())));
            }
            if !self.globals.is_empty() && matches!(word.as_str(), "--version" | "-v") {
                return Err(Failure::Version);
            }
            if !word.starts_with('-') {
                break word;
            }
            globals.take(word, &mut rest, &mut chosen).map_err(|why| error(&why))?;
        };
        match self.commands.iter().find(|known| known.name == command) {
            Some(command) => {
                let mut chosen = Chosen { command: command.name, ..chosen };
                command.parse(self.name, rest, &mut chosen)?;
                globals.check(&chosen).map_err(|why| error(&why))?;
                Ok(chosen)
            }
            None => {
                let choices =
                    names().into_iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
                Err(error(&format!("invalid choice: '{command}' (choose from {choices})")))
            }
        }
    }

    fn help(&self, usage: &str) -> String {
        let mut text = format!("{usage}\n\n{}\n\npositional arguments:\n", self.about);
        for command in self.commands {
            let _ = writeln!(text, "    {:<20} {}", command.name, command.about);
        }
        text.push_str("\noptional arguments:\n  -h, --help             show this help message and exit");
        text
    }
}

fn is_help(word: &str) -> bool {
    matches!(word, "-h" | "--help")
}

impl Command {
    /// Reads the words behind a tool that is one command itself.
    pub fn parse_alone(&self, words: &[String]) -> Result<Chosen, Failure> {
        let mut chosen = Chosen { command: self.name, given: Vec::new() };
        self.parse(self.name, words.iter(), &mut chosen)?;
        Ok(chosen)
    }

    /// Reads the words behind the command's name.
    fn parse(&self, program: &str, mut words: Iter<'_, String>, chosen: &mut Chosen) -> Result<(), Failure> {
        let usage = self.usage(program);
        let error = |message: String| Failure::Error(format!("{usage}\n{program}: error: {message}"));
        while let Some(word) = words.next() {
            if is_help(word) {
                return Err(Failure::Help(self.help(&usage)));
            }
            self.take(word, &mut words, chosen).map_err(error)?;
        }
        self.check(chosen).map_err(error)
    }

    /// Takes an option and its value.
    fn take(&self, word: &str, words: &mut Iter<'_, String>, chosen: &mut Chosen) -> Result<(), String> {
        let (option, inline) = self.find(word)?;
        let value = match (option.kind.takes_value(), inline) {
            (true, Some(value)) => value,
            (true, None) => {
                let next = words.next().cloned();
                next.ok_or_else(|| format!("argument {}: expected one argument", option.shown()))?
            }
            (false, None) => String::new(),
            (false, Some(value)) => {
                return Err(format!("argument {}: ignored explicit argument '{value}'", option.shown()));
            }
        };
        chosen.given.push((option.long, value));
        if option.kind == Kind::Words {
            // Up to the next option.
            while let Some(word) = words.as_slice().first().filter(|word| !word.starts_with('-')) {
                chosen.given.push((option.long, word.clone()));
                words.next();
            }
        }
        Ok(())
    }

    /// The option that a word begins, and the value in the word. Long names may be cut where that is not ambiguous.
    fn find(&self, word: &str) -> Result<(&'static Opt, Option<String>), String> {
        let unknown = || format!("unrecognized arguments: '{word}'");
        let Some(body) = word.strip_prefix("--") else {
            let mut letters = word.strip_prefix('-').unwrap_or("").chars();
            let letter = letters.next().ok_or_else(unknown)?;
            let option =
                self.options.iter().find(|option| option.short == Some(letter)).ok_or_else(unknown)?;
            let rest = letters.as_str();
            let rest = rest.strip_prefix('=').unwrap_or(rest);
            return Ok((option, Some(rest.to_owned()).filter(|rest| !rest.is_empty())));
        };
        let (name, value) =
            body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value.to_owned())));
        if let Some(option) = self.options.iter().find(|option| option.long == name) {
            return Ok((option, value));
        }
        let begun: Vec<&'static Opt> =
            self.options.iter().filter(|option| option.long.starts_with(name)).collect();
        match begun[..] {
            [option] if !name.is_empty() => Ok((option, value)),
            [] => Err(unknown()),
            _ => {
                let could: Vec<String> = begun.iter().map(|option| format!("--{}", option.long)).collect();
                Err(format!("ambiguous option: --{name} could match {}", could.join(", ")))
            }
        }
    }

    /// What is missing, or too much.
    fn check(&self, chosen: &Chosen) -> Result<(), String> {
        let mut exclusive =
            self.options.iter().filter(|option| option.kind.is_exclusive() && chosen.has(option.long));
        if let (Some(one), Some(other)) = (exclusive.next(), exclusive.next()) {
            return Err(format!("argument {}: not allowed with argument {}", other.shown(), one.shown()));
        }
        let missing = |option: &&Opt| option.kind.is_required() && !chosen.has(option.long);
        match self.options.iter().rev().find(missing) {
            Some(option) => Err(format!("argument {} is required", option.shown())),
            None => Ok(()),
        }
    }

    fn usage(&self, program: &str) -> String {
        let mut usage = format!("usage: {program}");
        if self.name != program {
            let _ = write!(usage, " {}", self.name);
        }
        usage.push_str(" [-h]");
        for option in self.options {
            let _ = write!(usage, " {}", option.in_usage());
        }
        usage
    }

    fn help(&self, usage: &str) -> String {
        let mut text = format!(
            "{usage}\n\n{}\n\noptional arguments:\n  -h, --help             show this help message and exit\n",
            self.about
        );
        for option in self.options {
            let value =
                if option.kind.takes_value() { format!(" {}", option.metavar()) } else { String::new() };
            let short = option.short.map_or(String::new(), |short| format!(", -{short}{value}"));
            let _ = writeln!(text, "  --{}{value}{short}", option.long);
            let _ = writeln!(text, "                         {}", option.text);
        }
        text.trim_end().to_owned()
    }
}

impl Opt {
    /// An option without a short name.
    pub const fn long(long: &'static str, kind: Kind, text: &'static str) -> Self {
        Self { long, short: None, kind, text }
    }

    fn metavar(&self) -> String {
        self.long.to_ascii_uppercase().replace(['-', '.'], "_")
    }

    fn shown(&self) -> String {
        match self.short {
            Some(short) => format!("--{}/-{short}", self.long),
            None => format!("--{}", self.long),
        }
    }

    fn in_usage(&self) -> String {
        let value = if self.kind.takes_value() { format!(" {}", self.metavar()) } else { String::new() };
        if self.kind.is_required() {
            format!("--{}{value}", self.long)
        } else {
            format!("[--{}{value}]", self.long)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static PROGRAM: Program = Program {
        name: "kafka-storage",
        about: "About.",
        globals: &[],
        commands: &[
            Command {
                name: "format",
                about: "Format.",
                options: &[
                    Opt { long: "config", short: Some('c'), kind: Kind::Required, text: "The file." },
                    Opt { long: "cluster-id", short: Some('t'), kind: Kind::Required, text: "The id." },
                    Opt { long: "feature", short: Some('f'), kind: Kind::Many, text: "A feature." },
                    Opt { long: "ignore-formatted", short: Some('g'), kind: Kind::Switch, text: "Skip." },
                    Opt { long: "standalone", short: Some('s'), kind: Kind::ExclusiveSwitch, text: "Alone." },
                    Opt {
                        long: "initial-controllers",
                        short: Some('I'),
                        kind: Kind::ExclusiveValue,
                        text: "These.",
                    },
                ],
            },
            Command { name: "random-uuid", about: "An id.", options: &[] },
        ],
    };

    fn parse(line: &str) -> Result<Chosen, Failure> {
        let words: Vec<String> = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        PROGRAM.parse(&words)
    }

    #[test]
    fn options_are_short_long_cut_and_repeated() {
        let chosen = parse("format -c f --cluster-id=x --feat a=1 -fb=2 -g").unwrap();
        assert_eq!((chosen.value("config"), chosen.value("cluster-id")), (Some("f"), Some("x")));
        assert_eq!(chosen.values("feature"), ["a=1", "b=2"]);
        assert!(chosen.has("ignore-formatted") && !chosen.has("standalone"));
        assert_eq!(parse("random-uuid").unwrap().command, "random-uuid");
    }

    #[test]
    fn errors_come_after_the_usage() {
        let last = |line: &str| match parse(line) {
            Err(Failure::Error(text)) => {
                assert!(text.starts_with("usage: kafka-storage "), "{text}");
                text.lines().last().unwrap_or("").to_owned()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(last(""), "kafka-storage: error: too few arguments");
        assert_eq!(last("format -c f"), "kafka-storage: error: argument --cluster-id/-t is required");
        assert_eq!(last("format -t x"), "kafka-storage: error: argument --config/-c is required");
        assert_eq!(
            last("format -t x -c f -s -I y"),
            "kafka-storage: error: argument --initial-controllers/-I: not allowed with argument --standalone/-s"
        );
        assert!(last("format --i").contains("ambiguous option: --i could match"));
        assert_eq!(last("format -x"), "kafka-storage: error: unrecognized arguments: '-x'");
        assert!(
            last("nothing")
                .starts_with("kafka-storage: error: invalid choice: 'nothing' (choose from 'format'")
        );
    }

    #[test]
    fn some_programs_have_options_before_the_command_and_some_have_no_command() {
        static GLOBAL: Program = Program {
            name: "kafka-transactions",
            about: "About.",
            globals: &[Opt::long("bootstrap-server", Kind::Required, "Where.")],
            commands: &[Command { name: "list", about: "List.", options: &[] }],
        };
        let parse = |line: &str| GLOBAL.parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let chosen = parse("--bootstrap-server h:1 list").unwrap();
        assert_eq!((chosen.command, chosen.value("bootstrap-server")), ("list", Some("h:1")));
        let last = |line: &str| match parse(line) {
            Err(Failure::Error(text)) => text.lines().last().unwrap_or("").to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(last("list"), "kafka-transactions: error: argument --bootstrap-server is required");
        assert_eq!(
            last("list --bootstrap-server h:1"),
            "kafka-transactions: error: unrecognized arguments: '--bootstrap-server'"
        );
        assert!(matches!(parse("-v"), Err(Failure::Version)));
        static ALONE: Command = Command {
            name: "producer-performance",
            about: "About.",
            options: &[
                Opt::long("topic", Kind::Required, "The topic."),
                Opt::long("producer-props", Kind::Words, "Properties."),
            ],
        };
        let words = ["--producer-props", "a=b", "c=d", "--topic", "t"].map(str::to_owned);
        let chosen = ALONE.parse_alone(&words).unwrap();
        assert_eq!((chosen.values("producer-props"), chosen.value("topic")), (vec!["a=b", "c=d"], Some("t")));
        assert!(
            matches!(ALONE.parse_alone(&[]), Err(Failure::Error(text)) if text.starts_with("usage: producer-performance [-h] --topic TOPIC"))
        );
    }

    #[test]
    fn help_is_no_error() {
        assert!(matches!(parse("--help"), Err(Failure::Help(text)) if text.contains("random-uuid")));
        assert!(matches!(parse("format -h"), Err(Failure::Help(text)) if text.contains("--standalone, -s")));
    }
}
