//! What was typed, turned into what is meant.

use std::path::{Path, PathBuf};

use crate::tools::{self, TOOLS, Tool};

/// What the program is asked to be.
#[derive(Clone, Debug)]
pub enum Invocation {
    /// One of Kafka's tools, with the words behind its name.
    Tool(&'static Tool, Vec<String>),
    /// Put links for all tools into this folder.
    InstallTools(PathBuf),
    /// A node.
    Server(ServerArguments),
    /// Say which version this is.
    Version,
    /// Say how it is called.
    Help,
}

/// `kafka-server-start`'s arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerArguments {
    /// `server.properties`; a node without one takes the defaults.
    pub properties: Option<PathBuf>,
    /// `--override key=value`, as often as you like; the last one counts.
    pub overrides: Vec<(String, String)>,
}

/// How the program is called, without the tools.
const HELP: &str = "\
Usage: ottla [server.properties] [--override key=value]...   run a node
       ottla kafka-topics ...                                run one of Kafka's tools
       ottla install-tools FOLDER                            make links named after the tools
Without server.properties a node keeps its data in ./data and listens on localhost:9092.";

/// How the program is called, and what tools there are; each says with `--help` what it takes.
pub fn help() -> String {
    let names: String = TOOLS.iter().map(|tool| format!("\n  {}", tool.name)).collect();
    format!("{HELP}\nThe tools, each with its own --help:{names}")
}

impl Invocation {
    /// Reads the program's name and the words behind it.
    ///
    /// # Errors
    /// What was typed means nothing; the text says why.
    pub fn read(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut words = words.into_iter();
        let called = words.next().unwrap_or_default();
        let name = Path::new(&called).file_name().and_then(|name| name.to_str()).unwrap_or("");
        let rest: Vec<String> = words.collect();
        if let Some(tool) = tools::find(name) {
            return Ok(Self::Tool(tool, rest));
        }
        let Some(first) = rest.first() else { return Ok(Self::Server(ServerArguments::default())) };
        if let Some(tool) = tools::find(first) {
            return Ok(Self::Tool(tool, rest[1..].to_vec()));
        }
        match (first.as_str(), &rest[1..]) {
            ("install-tools", [folder]) => Ok(Self::InstallTools(folder.into())),
            ("install-tools", _) => Err("install-tools takes the folder that the links go into".to_owned()),
            ("--version", _) => Ok(Self::Version),
            ("--help" | "-h", _) => Ok(Self::Help),
            ("kafka-server-start" | "kafka-server-start.sh", rest) => server(rest).map(Self::Server),
            (name, _) if name.starts_with("kafka-") => Err(format!("There is no tool named {name}")),
            _ => server(&rest).map(Self::Server),
        }
    }
}

fn server(words: &[String]) -> Result<ServerArguments, String> {
    let mut arguments = ServerArguments::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let overriding = word.strip_prefix("--override").map(|rest| rest.strip_prefix('='));
        let pair = match overriding {
            Some(Some(pair)) => Some(pair.to_owned()),
            Some(None) if word == "--override" => {
                Some(words.next().ok_or("--override takes key=value")?.clone())
            }
            _ => None,
        };
        match pair {
            Some(pair) => {
                let (key, value) =
                    pair.split_once('=').ok_or(format!("--override takes key=value, not {pair}"))?;
                arguments.overrides.push((key.trim().to_owned(), value.trim().to_owned()));
            }
            None if word.starts_with('-') => return Err(format!("Unknown option {word}")),
            None if arguments.properties.is_some() => {
                return Err(format!("One server.properties is enough; {word} is another"));
            }
            None => arguments.properties = Some(word.into()),
        }
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Invocation, String> {
        Invocation::read(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn a_tool_is_called_by_link_or_by_name() {
        for line in ["kafka-topics --list", "/usr/bin/kafka-topics.sh --list", "ottla kafka-topics.sh --list"]
        {
            match read(line) {
                Ok(Invocation::Tool(tool, words)) => {
                    assert_eq!((tool.name, words), ("kafka-topics", vec!["--list".to_owned()]), "{line}");
                }
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_node_takes_the_arguments_of_kafka_server_start() {
        for line in [
            "ottla conf/server.properties --override a=1 --override=b=x=y",
            "ottla kafka-server-start --override a=1 conf/server.properties --override b=x=y",
        ] {
            let Ok(Invocation::Server(arguments)) = read(line) else { panic!("{line}") };
            assert_eq!(arguments.properties, Some("conf/server.properties".into()));
            let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            assert_eq!(arguments.overrides, [pair("a", "1"), pair("b", "x=y")]);
        }
        assert!(
            matches!(read("ottla"), Ok(Invocation::Server(arguments)) if arguments == ServerArguments::default())
        );
    }

    #[test]
    fn help_names_every_tool_that_is_found() {
        let help = help();
        let names: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  kafka-")).collect();
        assert_eq!(names.len(), TOOLS.len());
        for name in names {
            let line = format!("ottla kafka-{name}");
            assert!(matches!(read(&line), Ok(Invocation::Tool(..))), "{line}");
        }
    }

    #[test]
    fn what_means_nothing_is_said_so() {
        for line in [
            "ottla --overide a=1",
            "ottla a b",
            "ottla --override a",
            "ottla kafka-nothing",
            "ottla install-tools",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
