//! Files people write, and what becomes of them.

use super::*;
use crate::config::parse_properties;

/// What the image and the archive of Apache Kafka ship with.
const SHIPPED: &str = "
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
log.dirs=/tmp/kraft-combined-logs
log.retention.hours=168
";

fn with(lines: &str) -> Overrides {
    let mut all = parse_properties(SHIPPED.as_bytes()).unwrap();
    for (key, value) in parse_properties(lines.as_bytes()).unwrap() {
        if value == "-" {
            all.remove(&key);
        } else {
            all.insert(key, value);
        }
    }
    all
}

fn error(lines: &str) -> String {
    let text = NodeConfig::new(with(lines)).unwrap_err().0;
    assert!(!text.contains('\n'), "{text}");
    text
}

fn places(endpoints: &[Endpoint]) -> String {
    endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_shipped_file() {
    let config = NodeConfig::new(with("")).unwrap();
    assert_eq!(config.roles, Roles::Combined);
    assert_eq!(config.node_id, NodeId(1));
    assert_eq!(places(&config.listeners), "PLAINTEXT://:9092 CONTROLLER://:9093");
    assert_eq!(places(&config.advertised), "PLAINTEXT://localhost:9092");
    assert_eq!(places(&config.advertised_controller), "CONTROLLER://localhost:9093");
    assert_eq!(config.quorum, Quorum::Dynamic(vec![Address { host: "localhost".to_owned(), port: 9093 }]));
    assert_eq!(config.log_dirs, ["/tmp/kraft-combined-logs"]);
    assert_eq!(config.metadata_log_dir, "/tmp/kraft-combined-logs");
    assert_eq!(config.early_start_listeners, ["CONTROLLER"]);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn without_a_file() {
    let config = NodeConfig::standalone(Overrides::new()).unwrap();
    assert_eq!(config.quorum, Quorum::Alone);
    assert_eq!(places(&config.listeners), "PLAINTEXT://127.0.0.1:9092 CONTROLLER://127.0.0.1:0");
    assert_eq!(places(&config.advertised), "PLAINTEXT://localhost:9092");
    assert_eq!(config.log_dirs, ["./data"]);
    assert_eq!(config.settings.node().int("offsets.topic.replication.factor"), 1);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn without_a_file_but_with_overrides() {
    let overrides = parse_properties(b"listeners=PLAINTEXT://:9999\nnode.id=7\nlog.dir=/d").unwrap();
    let config = NodeConfig::standalone(overrides).unwrap();
    assert_eq!(places(&config.listeners), "PLAINTEXT://:9999 CONTROLLER://127.0.0.1:0");
    assert_eq!(places(&config.advertised), "PLAINTEXT://:9999");
    assert_eq!(config.node_id, NodeId(7));
    assert_eq!(config.log_dirs, ["/d"]);
    let secured =
        "listeners=OUT://:1\nlistener.security.protocol.map=OUT:PLAINTEXT\ninter.broker.listener.name=OUT";
    assert!(NodeConfig::standalone(parse_properties(secured.as_bytes()).unwrap()).is_ok());
}

#[test]
fn what_every_node_must_say() {
    let missing = |key: &str| format!("Missing required configuration \"{key}\" which has no default value.");
    assert_eq!(error("process.roles=-"), missing("process.roles"));
    assert_eq!(error("node.id=-"), missing("node.id"));
    assert_eq!(error("controller.listener.names=-"), missing("controller.listener.names"));
    assert!(error("node.id=-1").contains("Value must be at least 0"));
    assert!(error("process.roles=observer").contains("String must be one of: broker, controller"));
    assert!(error("broker.id=2").contains("must be set to the same value"));
    assert!(error("controller.quorum.bootstrap.servers=-").starts_with("If using process.roles"));
}

#[test]
fn a_broker_alone() {
    let base = "process.roles=broker\nlisteners=PLAINTEXT://:9092\nadvertised.listeners=-\n";
    let config = NodeConfig::new(with(base)).unwrap();
    assert_eq!(config.roles, Roles::Broker);
    assert!(config.advertised_controller.is_empty());
    let voters = "controller.quorum.voters=1@a:9093\n";
    assert!(error(&format!("{base}{voters}")).contains("must not be included in the set of voters"));
    let both = format!("{base}listeners=PLAINTEXT://:9092,CONTROLLER://:9093");
    assert!(error(&both).starts_with("controller.listener.names must not contain a value"));
    let unmapped = format!("{base}listener.security.protocol.map=PLAINTEXT:PLAINTEXT");
    assert!(error(&unmapped).starts_with("Controller listener with name CONTROLLER"));
}

#[test]
fn a_controller_alone() {
    let base = "process.roles=controller\nlisteners=CONTROLLER://:9093\nadvertised.listeners=-\n\
                inter.broker.listener.name=-\n";
    let config =
        NodeConfig::new(with(&format!("{base}controller.quorum.voters=1@c1:9093,2@c2:9093"))).unwrap();
    assert_eq!(config.roles, Roles::Controller);
    assert!(config.advertised.is_empty() && config.inter_broker_listener.is_none());
    assert_eq!(places(&config.advertised_controller), "CONTROLLER://c1:9093");
    assert!(
        error(&format!("{base}controller.quorum.voters=2@a:1"))
            .contains("must be included in the set of voters")
    );
    let extra = format!("{base}listeners=CONTROLLER://:9093,PLAINTEXT://:9092");
    assert!(error(&extra).contains("must only contain KRaft controller listeners"));
}

#[test]
fn listeners_fit_together() {
    assert!(
        error("listeners=PLAINTEXT://:9092")
            .contains("must only contain values appearing in the 'listeners'")
    );
    assert!(
        error("advertised.listeners=CONTROLLER://a:1")
            .starts_with("There must be at least one broker advertised")
    );
    assert!(
        error("advertised.listeners=SSL://a:1").starts_with("inter.broker.listener.name must be a listener")
    );
    assert!(error("advertised.listeners=PLAINTEXT://a:1,SSL://a:2").contains("must be equal to or a subset"));
    assert!(error("advertised.listeners=PLAINTEXT://0.0.0.0:1").contains("nonroutable meta-address"));
    assert!(error("inter.broker.listener.name=NONE").contains("not found in listener.security.protocol.map"));
    assert!(error("security.inter.broker.protocol=SSL").starts_with("Only one of"));
    assert!(error("early.start.listeners=NONE").starts_with("early.start.listeners contains listener NONE"));
    let sasl = "listeners=SASL_PLAINTEXT://:9092,CONTROLLER://:9093\nadvertised.listeners=SASL_PLAINTEXT://a:9092\n\
                inter.broker.listener.name=SASL_PLAINTEXT\nsasl.enabled.mechanisms=PLAIN";
    assert!(error(sasl).contains("must be included in sasl.enabled.mechanisms"));
}

#[test]
fn controller_names_need_no_protocol_while_all_is_plaintext() {
    let lines = "listener.security.protocol.map=-\nadvertised.listeners=-\ncontroller.listener.names=C\n\
                 listeners=PLAINTEXT://:9092,C://:9093";
    assert_eq!(NodeConfig::new(with(lines)).unwrap().controller_protocol, SecurityProtocol::Plaintext);
    let secure = "listener.security.protocol.map=-\nadvertised.listeners=-\ncontroller.listener.names=C\n\
                  listeners=SSL://:9092,C://:9093\ninter.broker.listener.name=SSL";
    assert!(error(secure).contains("No security protocol defined for listener C"));
}

#[test]
fn numbers_fit_together() {
    assert!(error("log.retention.ms=0").contains("log.retention.ms must be unlimited"));
    assert!(error("replica.lag.time.max.ms=100").contains("to prevent frequent changes in ISR"));
    assert!(error("queued.max.request.bytes=5").contains("queued.max.request.bytes"));
    assert!(error("max.connections.per.ip=0").contains("can be set to zero only if"));
    assert!(error("max.connections.per.ip.overrides=a").contains("host:count"));
    assert!(error("cordoned.log.dirs=/other").contains("Missing entries : /other"));
    assert!(error("group.coordinator.rebalance.protocols=consumer").contains("'CLASSIC'"));
}

#[test]
fn unknown_keys_are_warned_of() {
    let config = NodeConfig::new(with("confluent.x=1\nbroker.heartbeat.interval.ms=8000")).unwrap();
    assert_eq!(config.warnings.len(), 2);
    assert!(config.warnings[0].contains("confluent.x"));
}
