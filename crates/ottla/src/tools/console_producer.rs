//! kafka-console-producer: each line of standard input becomes a record.

mod line;
mod sending;

use std::io::IsTerminal;

use ottla_client::Properties;

use super::connect::{self, load_option, pairs};
use super::failure::Failure;
use super::options::{Flag, Options, Usage};
use super::{Out, block_on};
use line::LineReader;

/// What the tool understands.
pub static USAGE: Usage = Usage {
    about: "This tool helps to read data from standard input and publish it to Kafka.",
    flags: &[
        Flag::value("topic", "String: topic", "REQUIRED: the topic that records go to."),
        Flag::value("bootstrap-server", "String: server to connect to", "REQUIRED: where the cluster is."),
        Flag::switch("sync", "Wait for each record to be written before the next one is read."),
        Flag::optional(
            "compression-codec",
            "String: compression-codec",
            "none, gzip, snappy, lz4 or zstd; gzip where the name is left out.",
        ),
        Flag::value("batch-size", "Integer: size", "Bytes of a batch (batch.size).").or("16384"),
        Flag::value("message-send-max-retries", "Integer", "How often a record is tried again (retries).")
            .or("3"),
        Flag::value("retry-backoff-ms", "Long", "The pause before that (retry.backoff.ms).").or("100"),
        Flag::value("timeout", "Long: timeout_ms", "How long a batch waits for more records (linger.ms).")
            .or("1000"),
        Flag::value("request-required-acks", "String: request required acks", "0, 1, or all (acks).")
            .or("-1"),
        Flag::value("request-timeout-ms", "Integer: request timeout ms", "request.timeout.ms.").or("1500"),
        Flag::value("metadata-expiry-ms", "Long: metadata expiration interval", "metadata.max.age.ms.")
            .or("300000"),
        Flag::value(
            "max-block-ms",
            "Long: max block on send",
            "How long a record waits for room or metadata.",
        )
        .or("60000"),
        Flag::value("max-memory-bytes", "Long: total memory in bytes", "buffer.memory.").or("33554432"),
        Flag::value(
            "max-partition-memory-bytes",
            "Integer: memory in bytes per partition",
            "Old name of --batch-size.",
        )
        .or("16384"),
        Flag::value("line-reader", "String: reader_class", "How lines are read; there is one way only.")
            .or("org.apache.kafka.tools.LineMessageReader"),
        Flag::value("socket-buffer-size", "Integer: size", "send.buffer.bytes.").or("102400"),
        Flag::value("property", "String: prop", "Old name of --reader-property."),
        Flag::value(
            "reader-property",
            "String: prop",
            "How a line is taken apart, as key=value: parse.key (false), key.separator (tab), parse.headers (false), \
             headers.delimiter (tab), headers.separator (,), headers.key.separator (:), null.marker, ignore.error \
             (false). With all of it a line is h1:v1,h2:v2, tab, key, tab, value.",
        ),
        Flag::value("reader-config", "String: config file", "A file with such properties."),
        Flag::value("producer-property", "String: producer_prop", "Old name of --command-property."),
        Flag::value("command-property", "String: producer_prop", "A producer's property, as key=value."),
        Flag::value("producer.config", "String: config file", "Old name of --command-config."),
        Flag::value("command-config", "String: config file", "A file with a producer's properties."),
    ],
};

/// Old names, new names, and how the old one is spoken of.
const RENAMED: &[(&str, &str)] = &[
    ("producer-property", "command-property"),
    ("producer.config", "command-config"),
    ("property", "reader-property"),
];

/// Runs the tool.
pub fn run(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    let options = Options::parse(&USAGE, words).map_err(|error| Failure::Usage(error.to_string()))?;
    let options = super::help_or_version(options)?;
    check(&options)?;
    for line in warnings(&options) {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    connect::check_bootstrap(&options.value("bootstrap-server")?.unwrap_or_default())?;
    let topic = options.value("topic")?.unwrap_or_default();
    let reader = LineReader::new(&reader_properties(&options)?)?;
    let properties = producer_properties(&options)?;
    let prompt = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let pace = if options.has("sync") { sending::Pace::OneByOne } else { sending::Pace::Freely };
    block_on(sending::run(topic, properties, reader, pace, prompt.then_some(out)))
}

fn check(options: &Options) -> Result<(), Failure> {
    options.require(&["topic"])?;
    let both = |new: &str, old: &str| -> Result<(), Failure> {
        if options.has(new) && options.has(old) {
            return Err(Failure::Usage(format!("Options --{new} and --{old} cannot be specified together.")));
        }
        Ok(())
    };
    both("command-config", "producer.config")?;
    both("command-property", "producer-property")?;
    both("reader-property", "property")?;
    let reader = options.value("line-reader")?.unwrap_or_default();
    if reader.rsplit(['.', '$']).next() != Some("LineMessageReader") {
        return Err(Failure::Error(format!("java.lang.ClassNotFoundException: {reader}")));
    }
    Ok(())
}

/// What is said of old names, on stdout as in Kafka.
fn warnings(options: &Options) -> Vec<String> {
    let old = RENAMED.iter().filter(|(old, _)| options.has(old)).map(|(old, new)| {
        format!(
            "Warning: --{old} is deprecated and will be removed in a future version. Use --{new} instead."
        )
    });
    let size = options.has("max-partition-memory-bytes").then(|| {
        "Warning: --max-partition-memory-bytes is deprecated and will be removed in Apache Kafka 5.0. Use --batch-size \
         instead."
            .to_owned()
    });
    old.chain(size).collect()
}

fn reader_properties(options: &Options) -> Result<Properties, Failure> {
    let mut properties = load_option(options, "reader-config")?;
    for name in ["property", "reader-property"] {
        properties.0.extend(pairs(&options.values(name)).0);
    }
    Ok(properties)
}

/// The options that are a producer's property under another name.
const MERGED: &[(&str, &str)] = &[
    ("linger.ms", "timeout"),
    ("acks", "request-required-acks"),
    ("request.timeout.ms", "request-timeout-ms"),
    ("retries", "message-send-max-retries"),
    ("retry.backoff.ms", "retry-backoff-ms"),
    ("send.buffer.bytes", "socket-buffer-size"),
    ("buffer.memory", "max-memory-bytes"),
    ("batch.size", "batch-size"),
    ("batch.size", "max-partition-memory-bytes"),
    ("metadata.max.age.ms", "metadata-expiry-ms"),
    ("max.block.ms", "max-block-ms"),
];

/// An option that was typed wins over a property, a property over an option's default.
fn producer_properties(options: &Options) -> Result<Properties, Failure> {
    let mut properties = Properties::default();
    for name in ["producer.config", "command-config"] {
        properties.0.extend(load_option(options, name)?.0);
    }
    for name in ["producer-property", "command-property"] {
        properties.0.extend(pairs(&options.values(name)).0);
    }
    properties.set("bootstrap.servers", options.value("bootstrap-server")?.unwrap_or_default());
    let codec = match (options.has("compression-codec"), options.value("compression-codec")?) {
        (false, _) => "none".to_owned(),
        (true, codec) => codec.filter(|codec| !codec.is_empty()).unwrap_or_else(|| "gzip".to_owned()),
    };
    properties.set("compression.type", codec);
    properties.set_default("client.id", "console-producer");
    for (key, name) in MERGED {
        let Some(value) = options.value(name)? else { continue };
        if options.has(name) || properties.get(key).is_none() {
            properties.set(key, value);
        }
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Options {
        Options::parse(&USAGE, &words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn an_option_wins_over_a_property_and_a_property_over_a_default() {
        let made = |words: &[&str]| producer_properties(&options(words)).unwrap();
        let properties = made(&["--bootstrap-server", "h:1", "--producer-property", "acks=1"]);
        assert_eq!(properties.get("acks"), Some("1"));
        assert_eq!(properties.get("linger.ms"), Some("1000"));
        assert_eq!(properties.get("compression.type"), Some("none"));
        let properties = made(&[
            "--bootstrap-server",
            "h:1",
            "--producer-property",
            "acks=1",
            "--request-required-acks",
            "all",
            "--compression-codec",
            "--sync",
        ]);
        assert_eq!(properties.get("acks"), Some("all"));
        assert_eq!(properties.get("compression.type"), Some("gzip"));
        assert_eq!(properties.get("client.id"), Some("console-producer"));
    }

    #[test]
    fn old_names_work_with_a_warning_but_not_beside_the_new_ones() {
        let old = options(&["--topic", "t", "-property", "parse.key=true"]);
        check(&old).unwrap();
        assert_eq!(
            warnings(&old),
            [
                "Warning: --property is deprecated and will be removed in a future version. Use --reader-property instead."
            ]
        );
        assert_eq!(reader_properties(&old).unwrap().get("parse.key"), Some("true"));
        let both = options(&["--topic", "t", "--property", "a=b", "--reader-property", "a=b"]);
        assert_eq!(
            check(&both).unwrap_err().message(),
            "Options --reader-property and --property cannot be specified together."
        );
        assert!(check(&options(&["--topic", "t", "--line-reader", "my.Reader"])).is_err());
        check(&options(&["--topic", "t", "--line-reader", "kafka.tools.ConsoleProducer$LineMessageReader"]))
            .unwrap();
    }
}
