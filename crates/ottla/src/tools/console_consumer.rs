//! kafka-console-consumer: records of a topic, one after the other, on standard output.

mod coordinator_records;
mod format;
mod reading;

use std::collections::BTreeSet;

use ottla_client::Properties;
use ottla_client::consumer::Start;

use super::connect::{self, load_option, pairs};
use super::failure::Failure;
use super::options::{Flag, Options, Usage};
use super::{Out, block_on};
use format::Formatter;
use reading::{Reading, Source};

/// What the tool understands.
pub static USAGE: Usage = Usage {
    about: "This tool helps to read data from Kafka topics and outputs it to standard output.",
    flags: &[
        Flag::value("topic", "String: topic", "The topic to read."),
        Flag::value("include", "String: Java regex (String)", "A regular expression for topics to read."),
        Flag::value(
            "partition",
            "Integer: partition",
            "The partition to read, from its end unless --offset says otherwise.",
        ),
        Flag::value("offset", "String: consume offset", "Where to begin: a number, earliest or latest.")
            .or("latest"),
        Flag::value("consumer-property", "String: consumer_prop", "Old name of --command-property."),
        Flag::value("command-property", "String: consumer_prop", "A consumer's property, as key=value."),
        Flag::value("consumer.config", "String: config file", "Old name of --command-config."),
        Flag::value("command-config", "String: config file", "A file with a consumer's properties."),
        Flag::value(
            "formatter",
            "String: class",
            "How records are shown: DefaultMessageFormatter, LoggingMessageFormatter, NoOpMessageFormatter; records of \
             coordinators: OffsetsMessageFormatter, GroupMetadataMessageFormatter, TransactionLogMessageFormatter, \
             ShareGroupMessageFormatter.",
        )
        .or("org.apache.kafka.tools.consumer.DefaultMessageFormatter"),
        Flag::value("property", "String: prop", "Old name of --formatter-property."),
        Flag::value(
            "formatter-property",
            "String: prop",
            "What is shown, as key=value: print.timestamp, print.partition, print.offset, print.epoch, print.delivery, \
             print.headers, print.key, print.value (true), key.separator (tab), line.separator (newline), \
             headers.separator (,), null.literal (null), key.deserializer, value.deserializer, headers.deserializer.",
        ),
        Flag::value("formatter-config", "String: config file", "A file with such properties."),
        Flag::switch("from-beginning", "Begin with the first record there is, not behind the last."),
        Flag::value("max-messages", "Integer: num_messages", "How many records to show before the end."),
        Flag::value("timeout-ms", "Long: timeout_ms", "End when no record has come for so long."),
        Flag::switch("skip-message-on-error", "Pass over records that cannot be shown."),
        Flag::value("bootstrap-server", "String: server to connect to", "REQUIRED: where the cluster is."),
        Flag::value(
            "key-deserializer",
            "String: deserializer for keys",
            "The class that makes text of keys.",
        ),
        Flag::value(
            "value-deserializer",
            "String: deserializer for values",
            "The class that makes text of values.",
        ),
        Flag::switch("enable-systest-events", "Print shutdown_complete at the end, for system tests."),
        Flag::value("isolation-level", "String", "read_committed or read_uncommitted.")
            .or("read_uncommitted"),
        Flag::value("group", "String: consumer group id", "The group to read as a member of."),
    ],
};

/// Old names, and new ones.
const RENAMED: &[(&str, &str)] = &[
    ("consumer-property", "command-property"),
    ("consumer.config", "command-config"),
    ("property", "formatter-property"),
];

/// Runs the tool.
pub fn run(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    // Whatever is wrong with the options, Kafka shows how they should be.
    let usage = |failure| match failure {
        Failure::Error(message) => Failure::Usage(message),
        other => other,
    };
    let options = Options::parse(&USAGE, words).map_err(|error| Failure::Usage(error.to_string()))?;
    let options = super::help_or_version(options)?;
    check(&options)?;
    for (old, new) in RENAMED.iter().filter(|(old, _)| options.has(old)) {
        writeln!(
            out,
            "Option --{old} is deprecated and will be removed in a future version. Use --{new} instead."
        )?;
    }
    let mut properties = given_properties(&options)?;
    complete(&mut properties, &options)?;
    let start = start(&options).map_err(usage)?;
    let formatter =
        Formatter::new(&options.value("formatter")?.unwrap_or_default(), &formatter_properties(&options)?);
    let reading = Reading {
        source: source(&options)?,
        start,
        formatter: formatter.map_err(usage)?,
        max_messages: options
            .number::<u64>("max-messages")
            .map_err(Failure::from)
            .or_else(negative_is_endless)?,
        skip: options.has("skip-message-on-error"),
        timeout_ms: options.number::<i64>("timeout-ms")?.filter(|ms| *ms >= 0),
    };
    let ended = block_on(reading.run(&properties, out));
    if options.has("enable-systest-events") {
        writeln!(out, "shutdown_complete")?;
    }
    ended
}

/// −1 messages are all there ever will be.
fn negative_is_endless(failure: Failure) -> Result<Option<u64>, Failure> {
    match failure.message() {
        "Cannot parse argument '-1' of option max-messages" => Ok(None),
        _ => Err(failure),
    }
}

fn check(options: &Options) -> Result<(), Failure> {
    let usage = |message: &str| Err(Failure::Usage(message.to_owned()));
    if options.count(&["topic", "include"]) != 1 {
        return usage("Exactly one of the following arguments is required: [topic], [include]");
    }
    if options.has("partition") {
        if !options.has("topic") {
            return usage("The topic is required when partition is specified.");
        }
        if options.has("from-beginning") && options.has("offset") {
            return usage("Options from-beginning and offset cannot be specified together.");
        }
    } else if options.has("offset") {
        return usage("The partition is required when offset is specified.");
    }
    options.require(&["bootstrap-server"])?;
    if options.has("consumer-property") && options.has("command-property") {
        return usage("Options --consumer-property and --command-property cannot be specified together.");
    }
    if options.has("consumer.config") && options.has("command-config") {
        return usage("Options --consumer.config and --command-config cannot be specified together.");
    }
    if options.has("property") && options.has("formatter-property") {
        return usage("Options --property and --formatter-property cannot be specified together.");
    }
    Ok(())
}

/// The properties of the file, then those of the command line, then the group.
fn given_properties(options: &Options) -> Result<Properties, Failure> {
    let mut properties = Properties::default();
    let mut typed = Properties::default();
    for name in ["consumer.config", "command-config"] {
        properties.0.extend(load_option(options, name)?.0);
    }
    for name in ["consumer-property", "command-property"] {
        typed.0.extend(pairs(&options.values(name)).0);
    }
    let places = [options.value("group")?, id_in(&properties), id_in(&typed)];
    properties.0.extend(typed.0);
    choose_group(&mut properties, places.into_iter().flatten().collect(), options)?;
    Ok(properties)
}

fn id_in(properties: &Properties) -> Option<String> {
    properties.get("group.id").map(str::to_owned)
}

/// One group, wherever it is named; where it is not, one that nobody will use again, and that commits nothing.
fn choose_group(
    properties: &mut Properties,
    named: BTreeSet<String>,
    options: &Options,
) -> Result<(), Failure> {
    if named.len() > 1 {
        let ids: Vec<String> = named.iter().map(|id| format!("'{id}'")).collect();
        return Err(Failure::Usage(format!(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via \
             '--consumer.config') do not match. Detected group ids: {}",
            ids.join(", ")
        )));
    }
    match (named.into_iter().next(), options.has("partition")) {
        (Some(_), true) => {
            Err(Failure::Usage("Options group and partition cannot be specified together.".to_owned()))
        }
        (Some(id), false) => {
            properties.set("group.id", id);
            Ok(())
        }
        // A partition that is chosen by hand needs no group.
        (None, true) => {
            properties.set("enable.auto.commit", "false");
            Ok(())
        }
        (None, false) => {
            properties.set("group.id", format!("console-consumer-{}", random() % 100_000));
            properties.set_default("enable.auto.commit", "false");
            Ok(())
        }
    }
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness two tools at once would only share a group.
    let _ = getrandom::fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

fn complete(properties: &mut Properties, options: &Options) -> Result<(), Failure> {
    let reset = properties.get("auto.offset.reset").map(str::to_owned);
    match reset {
        Some(reset) if options.has("from-beginning") && reset != "earliest" => {
            return Err(Failure::Error(format!(
                "Can't simultaneously specify --from-beginning and 'auto.offset.reset={reset}', please remove one option"
            )));
        }
        Some(_) => {}
        None => {
            let reset = if options.has("from-beginning") { "earliest" } else { "latest" };
            properties.set("auto.offset.reset", reset);
        }
    }
    properties.set("bootstrap.servers", options.value("bootstrap-server")?.unwrap_or_default());
    properties.set_default("client.id", "console-consumer");
    let isolation = options.value("isolation-level")?.unwrap_or_default();
    if options.has("isolation-level") {
        properties.set("isolation.level", isolation);
    } else {
        properties.set_default("isolation.level", isolation);
    }
    Ok(())
}

fn source(options: &Options) -> Result<Source, Failure> {
    let Some(topic) = options.value("topic")? else {
        let pattern = options.value("include")?.unwrap_or_default();
        let whole = regex::Regex::new(&format!("^(?:{pattern})$"));
        return whole
            .map(Source::Pattern)
            .map_err(|_| Failure::Error(format!("{pattern} is an invalid regex.")));
    };
    Ok(match options.number("partition")? {
        Some(partition) => Source::Partition(topic, partition),
        None => Source::Topic(topic),
    })
}

/// Where a partition is begun.
fn start(options: &Options) -> Result<Start, Failure> {
    if !options.has("partition") {
        return Ok(Start::Default);
    }
    if !options.has("offset") {
        return Ok(if options.has("from-beginning") { Start::Beginning } else { Start::End });
    }
    let text = options.value("offset")?.unwrap_or_default();
    match (text.to_ascii_lowercase().as_str(), text.parse::<i64>()) {
        ("earliest", _) => Ok(Start::Beginning),
        ("latest", _) => Ok(Start::End),
        (_, Ok(offset)) if offset >= 0 => Ok(Start::Offset(offset)),
        _ => Err(Failure::Error(format!(
            "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative \
             long."
        ))),
    }
}

fn formatter_properties(options: &Options) -> Result<Properties, Failure> {
    let mut properties = load_option(options, "formatter-config")?;
    for (option, key) in
        [("key-deserializer", "key.deserializer"), ("value-deserializer", "value.deserializer")]
    {
        if let Some(class) = options.value(option)?.filter(|class| !class.is_empty()) {
            properties.set(key, class);
        }
    }
    for name in ["property", "formatter-property"] {
        properties.0.extend(connect::pairs(&options.values(name)).0);
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Options {
        let words =
            words.iter().chain(&["--bootstrap-server=h:1"]).map(|w| (*w).to_owned()).collect::<Vec<_>>();
        Options::parse(&USAGE, &words).unwrap()
    }

    #[test]
    fn where_to_begin() {
        let begin = |words: &[&str]| start(&options(words)).unwrap();
        assert_eq!(begin(&["--topic", "t"]), Start::Default);
        assert_eq!(begin(&["--topic", "t", "--partition", "0"]), Start::End);
        assert_eq!(begin(&["--topic", "t", "--partition", "0", "--from-beginning"]), Start::Beginning);
        assert_eq!(begin(&["--topic", "t", "--partition", "0", "--offset", "Earliest"]), Start::Beginning);
        assert_eq!(begin(&["--topic", "t", "--partition", "0", "--offset", "7"]), Start::Offset(7));
        let bad = start(&options(&["--topic", "t", "--partition", "0", "--offset", "-7"])).unwrap_err();
        assert!(bad.message().starts_with("The provided offset value '-7' is incorrect."));
    }

    #[test]
    fn options_that_contradict_one_another() {
        let message = |words: &[&str]| check(&options(words)).unwrap_err().message().to_owned();
        assert_eq!(message(&[]), "Exactly one of the following arguments is required: [topic], [include]");
        assert_eq!(
            message(&["--topic", "t", "--offset", "1"]),
            "The partition is required when offset is specified."
        );
        assert_eq!(
            message(&["--include", "t", "--partition", "1"]),
            "The topic is required when partition is specified."
        );
        assert_eq!(
            message(&["--topic", "t", "--property", "a=b", "--formatter-property", "a=b"]),
            "Options --property and --formatter-property cannot be specified together."
        );
    }

    #[test]
    fn a_group_is_named_once_or_made_up() {
        let group = |words: &[&str]| {
            let options = options(&[&["--topic", "t"], words].concat());
            given_properties(&options).map(|properties| {
                let value = |key| properties.get(key).map(str::to_owned);
                (value("group.id"), value("enable.auto.commit"))
            })
        };
        let owned = |text: &str| Some(text.to_owned());
        assert_eq!(group(&["--group", "g"]).unwrap(), (owned("g"), None));
        let twice = ["--group", "g", "--consumer-property", "group.id=g"];
        assert_eq!(group(&twice).unwrap(), (owned("g"), None));
        let (id, commit) = group(&[]).unwrap();
        assert!(id.unwrap().starts_with("console-consumer-"));
        assert_eq!(commit, owned("false"));
        assert_eq!(group(&["--partition", "0"]).unwrap(), (None, owned("false")));
        let message = |words: &[&str]| group(words).unwrap_err().message().to_owned();
        assert_eq!(
            message(&["--group", "g", "--partition", "0"]),
            "Options group and partition cannot be specified together."
        );
        assert!(
            message(&["--group", "g", "--consumer-property", "group.id=h"])
                .ends_with("do not match. Detected group ids: 'g', 'h'")
        );
    }

    #[test]
    fn from_beginning_and_the_reset_policy_must_agree() {
        let complete = |words: &[&str]| {
            let options = options(words);
            let mut properties = given_properties(&options).unwrap();
            complete(&mut properties, &options).map(|()| properties)
        };
        let reset = |words: &[&str]| complete(words).unwrap().get("auto.offset.reset").map(str::to_owned);
        assert_eq!(reset(&["--topic", "t"]).as_deref(), Some("latest"));
        assert_eq!(reset(&["--topic", "t", "--from-beginning"]).as_deref(), Some("earliest"));
        let with = ["--topic", "t", "--consumer-property", "auto.offset.reset=none"];
        assert_eq!(reset(&with).as_deref(), Some("none"));
        assert!(complete(&[&with[..], &["--from-beginning"]].concat()).is_err());
    }
}
