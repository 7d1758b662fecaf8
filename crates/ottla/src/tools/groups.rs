//! kafka-groups: the groups of every type that there are.

use ottla_client::admin::{self, GroupFilter};
use ottla_protocol::messages::list_groups::ListedGroup;

use super::failure::Failure;
use super::filter::with_bootstrap;
use super::options::{Flag, Options, Usage};
use super::{Out, block_on, connect};

/// What the tool understands.
pub static USAGE: Usage = Usage {
    about: "This tool helps to list groups of all types.",
    flags: &[
        Flag::value("bootstrap-server", "String: server to connect to", "REQUIRED: where the cluster is."),
        Flag::value(
            "command-config",
            "String: command config property file",
            "A file with client properties.",
        ),
        Flag::switch("list", "List the groups."),
        Flag::value(
            "group-type",
            "String: type",
            "Only groups of this type: classic, consumer, share or streams.",
        ),
        Flag::value("protocol", "String: protocol", "Only groups of this protocol."),
        Flag::switch("consumer", "Only groups of consumers, of either protocol, and those that only commit."),
        Flag::switch("share", "Only share groups."),
        Flag::switch("streams", "Only groups of Kafka Streams."),
    ],
};

/// The types there are.
const TYPES: &[&str] = &["Classic", "Consumer", "Share", "Streams"];

/// How long the brokers may take.
const TIMEOUT_MS: &str = "30000";

/// No column is narrower.
const COLUMN_WIDTH_MIN: usize = 20;

/// Runs the tool.
pub fn run(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    let options = Options::parse(&USAGE, words).map_err(|error| Failure::Usage(error.to_string()))?;
    if !options.has("bootstrap-server") && !options.has("help") && !options.has("version") {
        return Err(Failure::Usage("Missing required option(s) [bootstrap-server]".to_owned()));
    }
    let options = super::help_or_version(options)?;
    let filter = Filter::new(&options)?;
    let listed = block_on(async {
        let servers = options.value("bootstrap-server")?.unwrap_or_default();
        let mut properties = connect::load_option(&options, "command-config")?;
        properties.set_default("default.api.timeout.ms", TIMEOUT_MS);
        let client = connect::admin(with_bootstrap(properties, &servers)).await?;
        Ok(client.run(admin::list_groups(GroupFilter::default())).await?)
    });
    match listed {
        Ok(groups) => Ok(out.write_all(filter.table(&groups).as_bytes())?),
        Err(Failure::Error(why)) => {
            Err(Failure::Printed(format!("Error while executing groups command : {why}")))
        }
        Err(other) => Err(other),
    }
}

/// Which groups are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Filter {
    /// All of them.
    All,
    /// Those of this type, and of this protocol if there is one.
    Type(&'static str, Option<String>),
    /// Those of this protocol.
    Protocol(String),
    /// Those of consumers.
    Consumers,
}

impl Filter {
    fn new(options: &Options) -> Result<Self, Failure> {
        if !options.has("list") {
            return Err(Failure::Usage("Command must include exactly one action: --list.".to_owned()));
        }
        let kind = match options.value("group-type")? {
            Some(text) => Some(
                canonical(&text)
                    .ok_or_else(|| Failure::Error("--group-type must be a valid group type.".to_owned()))?,
            ),
            None => None,
        };
        options.forbid("consumer", &["group-type", "protocol", "share", "streams"])?;
        options.forbid("share", &["consumer", "group-type", "protocol", "streams"])?;
        options.forbid("streams", &["consumer", "group-type", "protocol", "share"])?;
        Ok(match (kind, options.value("protocol")?) {
            (Some(kind), protocol) => Self::Type(kind, protocol),
            (None, Some(protocol)) => Self::Protocol(protocol),
            (None, None) if options.has("consumer") => Self::Consumers,
            (None, None) if options.has("share") => Self::Type("Share", None),
            (None, None) if options.has("streams") => Self::Type("Streams", None),
            (None, None) => Self::All,
        })
    }

    fn passes(&self, group: &ListedGroup) -> bool {
        let is = |kind: &str| group.group_type.eq_ignore_ascii_case(kind);
        match self {
            Self::All => true,
            Self::Type(kind, protocol) => {
                is(kind) && protocol.as_ref().is_none_or(|protocol| *protocol == group.protocol_type)
            }
            Self::Protocol(protocol) => *protocol == group.protocol_type,
            Self::Consumers => matches!(group.protocol_type.as_str(), "" | "consumer") || is("Consumer"),
        }
    }

    fn table(&self, groups: &[ListedGroup]) -> String {
        let rows: Vec<[&str; 3]> = groups
            .iter()
            .filter(|group| self.passes(group))
            .map(|group| {
                [
                    group.group_id.as_str(),
                    canonical(&group.group_type).unwrap_or_default(),
                    &group.protocol_type,
                ]
            })
            .collect();
        let width = rows.iter().flatten().map(|cell| cell.chars().count()).fold(COLUMN_WIDTH_MIN, usize::max);
        let mut table = format!("{:<width$} {:<width$} {:<width$}\n", "GROUP", "TYPE", "PROTOCOL");
        for [group, kind, protocol] in rows {
            table.push_str(&format!("{group:<width$} {kind:<width$} {protocol:<width$} \n"));
        }
        table
    }
}

/// A type as Kafka writes it.
fn canonical(name: &str) -> Option<&'static str> {
    TYPES.iter().copied().find(|kind| kind.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(words: &[&str]) -> Result<Filter, Failure> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Filter::new(&Options::parse(&USAGE, &words).unwrap())
    }

    fn groups() -> Vec<ListedGroup> {
        let group = |id: &str, kind: &str, protocol: &str| ListedGroup {
            group_id: id.to_owned(),
            group_type: kind.to_owned(),
            protocol_type: protocol.to_owned(),
            ..ListedGroup::default()
        };
        vec![
            group("a", "classic", "consumer"),
            group("b", "classic", ""),
            group("c", "consumer", "consumer"),
            group("d", "share", "share"),
            group("e", "classic", "connect"),
        ]
    }

    #[test]
    fn filters_choose_groups() {
        let groups = groups();
        let shown = |words: &[&str]| -> String {
            let filter = filter(words).unwrap();
            groups.iter().filter(|group| filter.passes(group)).map(|group| group.group_id.as_str()).collect()
        };
        assert_eq!(shown(&["--list"]), "abcde");
        assert_eq!(shown(&["--list", "--consumer"]), "abc");
        assert_eq!(shown(&["--list", "--share"]), "d");
        assert_eq!(shown(&["--list", "--group-type", "Classic"]), "abe");
        assert_eq!(shown(&["--list", "--group-type", "classic", "--protocol", "connect"]), "e");
        assert_eq!(shown(&["--list", "--protocol", "consumer"]), "ac");
        let message = |words: &[&str]| filter(words).unwrap_err().message().to_owned();
        assert_eq!(message(&["--share"]), "Command must include exactly one action: --list.");
        assert_eq!(message(&["--list", "--group-type", "x"]), "--group-type must be a valid group type.");
        assert_eq!(
            message(&["--list", "--share", "--streams"]),
            "Option \"[share]\" can't be used with option \"[streams]\""
        );
    }

    #[test]
    fn the_table_has_three_columns_of_the_widest_cell() {
        let table = filter(&["--list", "--share"]).unwrap().table(&groups());
        let head = format!("{:<20} {:<20} {:<20}", "GROUP", "TYPE", "PROTOCOL");
        assert_eq!(table, format!("{head}\n{:<20} {:<20} {:<20} \n", "d", "Share", "share"));
    }
}
