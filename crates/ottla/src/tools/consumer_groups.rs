//! kafka-consumer-groups: lists, shows and deletes consumer groups, and moves what they have committed.
//!
//! What goes wrong on the way is told on standard output, and the exit code is 0 nevertheless, as with Kafka's own; only
//! options that mean nothing end it with 1.

mod ask;
mod delete;
mod describe;
mod group;
mod plan;
mod reset;
mod table;

use ottla_client::ClientError;

use super::failure::Failure;
use super::filter::with_bootstrap;
use super::options::{Flag, Options, Usage};
use super::thrown;
use super::{Out, block_on, connect};
use ask::Asker;

/// What the tool understands.
pub static USAGE: Usage = Usage {
    about: "This tool helps to list, describe, delete and manage the offsets of consumer groups.",
    flags: &[
        Flag::value(
            "bootstrap-server",
            "String: server to connect to",
            "Where the cluster is. REQUIRED, but for --validate-regex.",
        ),
        Flag::value("group", "String: group id", "The group; as often as there are groups."),
        Flag::value(
            "topic",
            "String: topic",
            "The topic whose offsets are meant; as often as there are topics. To reset or delete offsets of some \
             partitions only, their numbers follow: topic:0,1,2.",
        ),
        Flag::switch("all-topics", "Every topic the group has offsets of."),
        Flag::switch("list", "List the groups."),
        Flag::switch("describe", "Show groups: what they have read, what is left, who reads."),
        Flag::switch("all-groups", "Every group."),
        Flag::switch("delete", "Delete groups with all their offsets."),
        Flag::value("timeout", "Long: timeout (ms)", "How long to wait for the brokers.").or("30000"),
        Flag::value(
            "command-config",
            "String: command config property file",
            "A file with client properties.",
        ),
        Flag::switch(
            "reset-offsets",
            "Move what groups without members have committed. Scope: --all-topics, --topic or a file. Where to: \
             --to-earliest, --to-latest, --to-offset, --to-datetime, --by-duration, --shift-by, --to-current or \
             --from-file. Nothing is changed without --execute; --export prints what --from-file reads.",
        ),
        Flag::switch("delete-offsets", "Delete a group's offsets of topics."),
        Flag::switch("dry-run", "Show what would be reset, and change nothing."),
        Flag::switch("execute", "Reset the offsets."),
        Flag::switch("export", "Print the new offsets as CSV."),
        Flag::value("to-offset", "Long: offset", "Reset to this offset."),
        Flag::value("from-file", "String: path to CSV file", "Reset to the offsets in this file."),
        Flag::value(
            "to-datetime",
            "String: datetime",
            "Reset to the first record not before YYYY-MM-DDThh:mm:ss.sss.",
        ),
        Flag::value(
            "by-duration",
            "String: duration",
            "Reset to the first record not older than PnDTnHnMnS.",
        ),
        Flag::switch("to-earliest", "Reset to the first offset."),
        Flag::switch("to-latest", "Reset to the end."),
        Flag::switch("to-current", "Reset to what is committed; to the end where nothing is."),
        Flag::value(
            "shift-by",
            "Long: number-of-offsets",
            "Reset by so many offsets, forth or (negative) back.",
        ),
        Flag::switch("members", "With --describe: who is in the group."),
        Flag::switch("verbose", "With --describe: more of it."),
        Flag::switch(
            "offsets",
            "With --describe: what has been read, and what is left; this is the default.",
        ),
        Flag::optional(
            "state",
            "String",
            "With --describe: how the group is. With --list: how each is, or only those in these states (separated by \
             commas).",
        ),
        Flag::optional(
            "type",
            "String",
            "With --list: the types of the groups, or only those of these types.",
        ),
        Flag::value(
            "validate-regex",
            "String: regex",
            "Say whether this is a regular expression for subscriptions.",
        ),
    ],
};

const ACTIONS: &[&str] = &["list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex"];

/// Why the tool does not do what it was asked to.
#[derive(Debug)]
pub enum Trouble {
    /// The options are at fault: usage on stderr, exit code 1.
    Usage(String),
    /// Something else is: one line on stdout, exit code 0.
    Said(String),
    /// Nothing can be said any more.
    Failed(Failure),
}

impl Trouble {
    fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    fn said(text: impl Into<String>) -> Self {
        Self::Said(text.into())
    }

    /// What a client's error is called where it comes as the cause of another.
    fn caused(error: &ClientError) -> Self {
        Self::Said(thrown::thrown(error))
    }

    /// The same one step further away.
    fn executed(error: &ClientError) -> Self {
        Self::Said(thrown::executed(error))
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Error(text) => Self::Said(text),
            Failure::Usage(text) => Self::Usage(text),
            other => Self::Failed(other),
        }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs the tool.
pub fn run(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    let options = Options::parse(&USAGE, words)?;
    available(&options)?;
    let options = super::help_or_version(options)?;
    check(&options)?;
    if options.count(ACTIONS) != 1 {
        let names: Vec<String> = ACTIONS.iter().map(|action| format!("--{action}")).collect();
        return Err(Failure::Usage(format!("Command must include exactly one action: {}", names.join(", "))));
    }
    if options.has("validate-regex") {
        let pattern = options.value("validate-regex").map_err(|error| Failure::Usage(error.to_string()))?;
        return Ok(writeln!(out, "{}", validated(&pattern.unwrap_or_default()))?);
    }
    match block_on(async { Ok(act(&options, out).await) })? {
        Ok(()) => Ok(()),
        Err(Trouble::Usage(text)) => Err(Failure::Usage(text)),
        Err(Trouble::Said(text)) => {
            Ok(writeln!(out, "\nError: Executing consumer group command failed due to {text}")?)
        }
        Err(Trouble::Failed(failure)) => Err(failure),
    }
}

async fn act(options: &Options, out: Out<'_>) -> Result<(), Trouble> {
    let asker = Asker::connect(options).await?;
    if options.has("list") {
        describe::list(&asker, options, out).await
    } else if options.has("describe") {
        describe::describe(&asker, options, out).await
    } else if options.has("delete") {
        delete::groups(&asker, options, out).await
    } else if options.has("reset-offsets") {
        reset::reset(&asker, options, out).await
    } else {
        delete::offsets(&asker, options, out).await
    }
}

/// The groups that the options name.
async fn groups(asker: &Asker, options: &Options) -> Result<Vec<String>, Trouble> {
    if options.has("all-groups") {
        return Ok(asker.list().await?.into_iter().map(|group| group.group_id).collect());
    }
    Ok(options.values("group"))
}

/// Some options stand beside some others only; the parser itself says so.
fn available(options: &Options) -> Result<(), Failure> {
    let with_describe = ["members", "verbose", "offsets"].map(|name| (name, &["describe"][..]));
    let rules = with_describe.into_iter().chain([("state", &["describe", "list"][..]), ("type", &["list"])]);
    for (name, needed) in rules {
        if options.has(name) && options.count(needed) == 0 && !options.has("help") {
            return Err(Failure::Error(format!(
                "Option(s) [{name}] are unavailable given other options on the command line"
            )));
        }
    }
    Ok(())
}

fn check(options: &Options) -> Result<(), Failure> {
    let usage = |text: String| Err(Failure::Usage(text));
    if !options.has("validate-regex") {
        options.require(&["bootstrap-server"])?;
    }
    let chosen = options.has("group") || options.has("all-groups");
    if options.has("describe") {
        if !chosen {
            return usage("Option [describe] takes one of these options: [group], [all-groups]".to_owned());
        }
        if options.count(&["members", "offsets", "state"]) > 1 {
            return usage(
                "Option [describe] takes at most one of these options: [members], [offsets], [state]"
                    .to_owned(),
            );
        }
        if options.has("state") && options.value("state")?.is_some() {
            return usage("Option [describe] does not take a value for [state]".to_owned());
        }
    }
    if options.has("delete") {
        if !chosen {
            return usage("Option [delete] takes one of these options: [group], [all-groups]".to_owned());
        }
        if options.has("topic") {
            let why = "The consumer does not support topic-specific offset deletion from a consumer group.";
            return usage(why.to_owned());
        }
    }
    if options.has("delete-offsets") && !(options.has("group") && options.has("topic")) {
        return usage("Option [delete-offsets] takes the following options: [group], [topic]".to_owned());
    }
    if options.has("reset-offsets") {
        check_reset(options, chosen)?;
    }
    options.forbid("group", &["all-groups", "list"])?;
    options.forbid("topic", &["list", "describe"])
}

fn check_reset(options: &Options, chosen: bool) -> Result<(), Failure> {
    if options.has("dry-run") && options.has("execute") {
        let why = "Option [reset-offsets] only accepts one of [execute] and [dry-run]";
        return Err(Failure::Usage(why.to_owned()));
    }
    if !options.has("dry-run") && !options.has("execute") {
        eprintln!(
            "WARN: No action will be performed as the --execute option is missing. In version 5.0, this command will \
             require either --dry-run or --execute to be specified. You should add the --dry-run option explicitly if \
             you are scripting this command and want to keep the current default behavior without prompting."
        );
    }
    if !chosen {
        let why = "Option [reset-offsets] takes one of these options: [group], [all-groups]";
        return Err(Failure::Usage(why.to_owned()));
    }
    for scenario in plan::SCENARIOS {
        let others: Vec<&str> = plan::SCENARIOS.iter().filter(|other| *other != scenario).copied().collect();
        options.forbid(scenario, &others)?;
    }
    Ok(())
}

/// What is said of a regular expression.
fn validated(pattern: &str) -> String {
    match regex::Regex::new(pattern) {
        Ok(_) => format!("The regular expression `{pattern}` is valid."),
        Err(error) => {
            format!("The regular expression `{pattern}` is invalid: {}.", in_words_of_re2(&error.to_string()))
        }
    }
}

/// Our words for what is wrong with a pattern, and those of the library that Kafka uses.
const RE2_WORDS: &[(&str, &str)] = &[
    ("unclosed group", "missing closing )"),
    ("unopened group", "unexpected )"),
    ("repetition operator missing expression", "missing argument to repetition operator"),
    ("unclosed character class", "missing closing ]"),
    ("invalid character class range", "invalid character class range"),
    ("incomplete escape sequence", "trailing backslash at end of expression"),
    ("unrecognized escape sequence", "invalid escape sequence"),
    ("backreferences are not supported", "invalid escape sequence"),
    ("look-around", "invalid or unsupported Perl syntax"),
    ("flag", "invalid or unsupported Perl syntax"),
    ("repetition", "invalid repeat count"),
    ("capture group name", "invalid named capture"),
    ("size limit", "expression too large"),
];

fn in_words_of_re2(error: &str) -> &str {
    let last = error.lines().last().unwrap_or(error);
    RE2_WORDS.iter().find(|(ours, _)| last.contains(ours)).map_or(last, |(_, theirs)| theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let options = Options::parse(&USAGE, &words).unwrap();
        let checked = available(&options).and_then(|()| check(&options));
        checked.unwrap_err().message().to_owned()
    }

    #[test]
    fn options_that_do_not_go_together_are_refused_in_kafkas_words() {
        let server = "--bootstrap-server=h:1";
        assert_eq!(refusal(&["--list"]), "Missing required argument \"[bootstrap-server]\"");
        assert_eq!(
            refusal(&["--describe", server]),
            "Option [describe] takes one of these options: [group], [all-groups]"
        );
        assert_eq!(
            refusal(&["--describe", server, "--group", "g", "--members", "--state"]),
            "Option [describe] takes at most one of these options: [members], [offsets], [state]"
        );
        assert_eq!(
            refusal(&["--describe", server, "--group", "g", "--state", "stable"]),
            "Option [describe] does not take a value for [state]"
        );
        assert_eq!(
            refusal(&["--list", server, "--members"]),
            "Option(s) [members] are unavailable given other options on the command line"
        );
        assert_eq!(
            refusal(&["--delete", server, "--all-groups", "--group", "g"]),
            "Option \"[group]\" can't be used with option \"[all-groups]\""
        );
        assert_eq!(
            refusal(&["--reset-offsets", server, "--group", "g", "--to-earliest", "--to-latest"]),
            "Option \"[to-earliest]\" can't be used with option \"[to-latest]\""
        );
        assert_eq!(
            refusal(&["--delete-offsets", server, "--group", "g"]),
            "Option [delete-offsets] takes the following options: [group], [topic]"
        );
    }

    #[test]
    fn patterns_are_judged_as_the_brokers_judge_them() {
        assert_eq!(validated("a.*"), "The regular expression `a.*` is valid.");
        for (pattern, why) in [
            ("(", "missing closing )"),
            ("a)", "unexpected )"),
            ("*a", "missing argument to repetition operator"),
            ("[a", "missing closing ]"),
            ("a\\", "trailing backslash at end of expression"),
            ("(?=a)", "invalid or unsupported Perl syntax"),
        ] {
            assert_eq!(validated(pattern), format!("The regular expression `{pattern}` is invalid: {why}."));
        }
    }
}
