//! kafka-console-consumer: records of a topic, one after the other, on standard output.

mod format;
mod reading;

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
            "How records are shown: DefaultMessageFormatter, NoOpMessageFormatter.",
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
    refuse_groups(&options, &properties)?;
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

fn given_properties(options: &Options) -> Result<Properties, Failure> {
    let mut properties = Properties::default();
    for name in ["consumer.config", "command-config"] {
        properties.0.extend(load_option(options, name)?.0);
    }
    for name in ["consumer-property", "command-property"] {
        properties.0.extend(pairs(&options.values(name)).0);
    }
    Ok(properties)
}

/// Groups are not there yet; reading without one is no substitute, for nothing would be committed.
fn refuse_groups(options: &Options, properties: &Properties) -> Result<(), Failure> {
    let group = options.value("group")?.or(properties.get("group.id").map(str::to_owned));
    let Some(group) = group else { return Ok(()) };
    if options.has("partition") {
        return Err(Failure::Usage("Options group and partition cannot be specified together.".to_owned()));
    }
    Err(Failure::Error(format!(
        "This version of the tool cannot read as a member of group '{group}'; leave the group out to read every partition."
    )))
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
    fn a_group_is_refused_in_one_line() {
        let group = options(&["--topic", "t", "--group", "g"]);
        let failure = refuse_groups(&group, &Properties::default()).unwrap_err();
        assert!(matches!(&failure, Failure::Error(text) if text.contains("'g'") && !text.contains('\n')));
        refuse_groups(&options(&["--topic", "t"]), &Properties::default()).unwrap();
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
