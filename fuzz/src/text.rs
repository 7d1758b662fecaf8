//! Configuration: the properties file, keys and values, listeners, addresses.

use ottla_client::settings::{Address, Properties, Settings as ClientSettings};
use ottla_log::meta_properties::MetaProperties;
use ottla_metadata::config::listeners::{
    Ports, parse_address, parse_listeners, parse_protocol_map, parse_servers, parse_voters,
};
use ottla_metadata::config::parse::split_list;
use ottla_metadata::config::{
    NodeConfig, Overrides, Scope, Settings, alter, from_environment, keys, parse_properties, validate,
};

use crate::{Heap, Target};

/// A byte that says what the text is, then the text.
pub const CONFIGURATION: Target = Target {
    name: "configuration",
    run,
    seeds,
    mutations: 3000,
    // Lists of broker and topic keys are resolved several times over.
    heap: Heap { per_byte: 64 << 10, besides: 64 << 20 },
};

fn run(data: &[u8]) {
    let [kind, rest @ ..] = data else { return };
    let text = String::from_utf8_lossy(rest);
    match kind % 7 {
        0 => server_properties(rest),
        1 => topic(rest),
        2 => endpoints(&text),
        3 => one_value(&text),
        4 => meta_properties(&text),
        5 => client(rest),
        _ => environment(rest),
    }
}

fn server_properties(bytes: &[u8]) {
    let Ok(properties) = parse_properties(bytes) else { return };
    let written = properties_text(&properties);
    assert_eq!(parse_properties(written.as_bytes()).as_ref(), Ok(&properties), "{written:?}");
    let _ = NodeConfig::new(properties.clone());
    if let Ok(config) = NodeConfig::standalone(properties) {
        assert!(!config.log_dirs.is_empty() && !config.listeners.is_empty());
    }
}

/// Properties as a careful person would write them.
fn properties_text(properties: &Overrides) -> String {
    let escape =
        |text: &str| -> String { text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect() };
    properties.iter().map(|(key, value)| format!("{}={}\n", escape(key), escape(value))).collect()
}

fn topic(bytes: &[u8]) {
    let Ok(own) = parse_properties(bytes) else { return };
    let settings = Settings::default();
    if validate::topic(&settings, &Overrides::new(), &own).is_ok() {
        let values = settings.topic(&own);
        for key in keys(Scope::Topic) {
            // What was accepted has a value, or is a key without one.
            let _ = (values.value(key.name), values.source(key.name));
        }
    }
    let _ = validate::group(&settings, &own);
    let _ = validate::client_metrics("metrics", &own);
    let _ = validate::broker(&own, validate::Target::AllBrokers);
    let changed = settings.with_dynamic(own.clone(), own);
    for key in keys(Scope::Broker) {
        let _ = changed.node().value(key.name);
    }
}

fn endpoints(text: &str) {
    let entries = split_list(text);
    let map = parse_protocol_map(text)
        .or_else(|_| parse_protocol_map("PLAINTEXT:PLAINTEXT,SSL:SSL,CONTROLLER:SASL_SSL"))
        .expect("three listeners");
    if let Ok(listeners) = parse_listeners(&entries, &map, Ports::Shared) {
        let written: Vec<String> = listeners.iter().map(ToString::to_string).collect();
        assert_eq!(parse_listeners(&written, &map, Ports::Shared).as_ref(), Ok(&listeners), "{text:?}");
    }
    let _ =
        (parse_listeners(&entries, &map, Ports::Distinct), parse_voters(&entries), parse_servers(&entries));
    let _ = parse_address(text);
    if let Some(address) = Address::parse(text) {
        assert_eq!(Address::parse(&address.to_string()), Some(address), "{text:?}");
    }
}

fn one_value(text: &str) {
    let Some((name, value)) = text.split_once('=') else { return };
    for scope in [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics] {
        let _ = alter::check_value(scope, name, value);
        for operation in (0..4).filter_map(alter::Operation::from_code) {
            let _ = alter::altered(scope, name, operation, Some(value), Some(value));
        }
    }
}

fn meta_properties(text: &str) {
    if let Ok(read) = MetaProperties::parse(text) {
        assert_eq!(MetaProperties::parse(&read.to_text()), Ok(read), "{text:?}");
    }
}

fn client(bytes: &[u8]) {
    let Ok(pairs) = parse_properties(bytes) else { return };
    let properties = Properties(pairs);
    let _ = properties.unknown_keys();
    if let Ok(settings) = ClientSettings::from_properties(&properties) {
        assert!(!settings.bootstrap.is_empty());
        for failures in [0, 1, 31, 32, u32::MAX] {
            let _ = settings.retry_backoff.wait(failures, u64::MAX);
            let _ = settings.reconnect_backoff.wait(failures, 7);
        }
    }
}

fn environment(bytes: &[u8]) {
    let Ok(pairs) = parse_properties(bytes) else { return };
    let _ = from_environment(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
}

fn seeds() -> Vec<Vec<u8>> {
    let server = "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
                  controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@localhost:9093\nlog.dirs=/a,/b\n\
                  advertised.listeners=PLAINTEXT://h:9092\nlistener.security.protocol.map=\\\n PLAINTEXT:PLAINTEXT, CONTROLLER:PLAINTEXT\n";
    let texts = [
        (0, server),
        (
            0,
            "log.retention.hours=168\nlistener.name.internal.ssl.keystore.location : \\u00e9\n#x\n!y\na\\=b c",
        ),
        (
            1,
            "cleanup.policy=compact,delete\nmin.compaction.lag.ms=5\nmax.compaction.lag.ms=3\nretention.ms=-1",
        ),
        (1, "compression.type=zstd\nsegment.bytes=1048576\nremote.storage.enable=true\nlocal.retention.ms=9"),
        (2, "PLAINTEXT://:9092,SSL://[::1]:9093,CONTROLLER://a-b.c:0"),
        (2, "1@a:9093, 2@[::1]:9094"),
        (2, "INTERNAL:SASL_PLAINTEXT,EXTERNAL:SSL"),
        (3, "cleanup.policy=delete,compact"),
        (3, "retention.ms=9223372036854775807"),
        (3, "log.cleaner.io.max.bytes.per.second=1.7976931348623157E308d"),
        (
            4,
            "#\n#Sat Nov 21 10:11:12 UTC 2026\ncluster.id=4L6g3nShT-eMCtK--X86sw\n\
             directory.id=JIHN6XWmTU-yMIsiabtGRQ\nnode.id=1\nversion=1\n",
        ),
        (4, "version=0\nbroker.id : 7\ncluster.id a\\=b"),
        (5, "bootstrap.servers=a:1,[::1]:2\nretry.backoff.ms=9223372036854775807\nacks=all\nlinger.ms=5"),
        (
            6,
            "KAFKA_LOG_DIRS=/x\nKAFKA_LISTENERS=PLAINTEXT\\://:9092\nKAFKA_NODE___ID=3\nKAFKA_HEAP_OPTS=-Xmx1G",
        ),
    ];
    texts.iter().map(|(kind, text)| [&[*kind][..], text.as_bytes()].concat()).collect()
}
