//! kafka-topics: create, list, describe, widen and delete topics.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::admin::{self, ConfigSource, Limit, PartitionDescription, ResourceType, TopicDescription};
use ottla_client::net::Client;
use ottla_client::{ApiError, ClientError};
use ottla_metadata::config::{self, Scope};
use ottla_protocol::messages::create_partitions::{CreatePartitionsAssignment, CreatePartitionsTopic};
use ottla_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ottla_protocol::messages::describe_configs::DescribeConfigsResult;
use ottla_protocol::messages::list_partition_reassignments::OngoingPartitionReassignment;
use ottla_protocol::{Refusal, Uuid};

use super::connect;
use super::failure::Failure;
use super::filter::{TopicPattern, is_internal, with_bootstrap};
use super::java::{UNKNOWN_SIZE, hash_map_order};
use super::options::{Flag, Options, Usage};
use super::{Out, block_on, parse};

const SEE_CONFIGS: &str = " (To alter topic configurations, the kafka-configs tool can be used.)";

/// What the tool understands.
pub static USAGE: Usage = Usage {
    about: "This tool helps to create, delete, describe, or change a topic.",
    flags: &[
        Flag::value("bootstrap-server", "String: server to connect to", "REQUIRED: where the cluster is."),
        Flag::value(
            "command-config",
            "String: command config property file",
            "A file with client properties.",
        ),
        Flag::switch("list", "List the topics."),
        Flag::switch("create", "Create a topic."),
        Flag::switch("delete", "Delete topics."),
        Flag::switch("alter", "Make topics wider (--partitions)."),
        Flag::switch("describe", "Tell everything about topics."),
        Flag::value("topic", "String: topic", "The topic; a regular expression unless with --create."),
        Flag::value("topic-id", "String: topic-id", "The id of the topic to describe."),
        Flag::value(
            "config",
            "String: name=value",
            "A setting of the topic to be created; may be repeated. The names are those of Kafka's topic configs. \
             (To alter topic configurations, the kafka-configs tool can be used.)",
        ),
        Flag::value("delete-config", "String: name", "No longer supported since 4.0."),
        Flag::value(
            "partitions",
            "Integer: # of partitions",
            "How many partitions the topic has or shall have.",
        ),
        Flag::value(
            "replication-factor",
            "Integer: replication factor",
            "How many replicas each partition has.",
        ),
        Flag::value(
            "replica-assignment",
            "String: broker_id_for_part1_replica1 : broker_id_for_part1_replica2 , ...",
            "Which brokers hold which partition.",
        ),
        Flag::switch(
            "under-replicated-partitions",
            "With --describe: only partitions with too few replicas in sync.",
        ),
        Flag::switch("unavailable-partitions", "With --describe: only partitions without a live leader."),
        Flag::switch(
            "under-min-isr-partitions",
            "With --describe: only partitions below min.insync.replicas.",
        ),
        Flag::switch("at-min-isr-partitions", "With --describe: only partitions at min.insync.replicas."),
        Flag::switch("topics-with-overrides", "With --describe: only topics with settings of their own."),
        Flag::switch("if-exists", "Do nothing, and do not complain, where the topic does not exist."),
        Flag::switch("if-not-exists", "Do not complain where the topic to be created exists."),
        Flag::switch("exclude-internal", "Leave out Kafka's own topics when listing or describing."),
        Flag::value(
            "partition-size-limit-per-response",
            "Integer: maximum number of partitions per response",
            "How many partitions a broker may put into one response.",
        ),
    ],
};

const ACTIONS: [&str; 5] = ["alter", "create", "describe", "list", "delete"];

/// Runs the tool. What goes wrong once it has begun is printed to stdout in one frame.
pub fn run(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    let options = parse(&USAGE, words)?;
    check(&options)?;
    let topic_too = options.has("describe") && options.has("if-exists") && options.has("topic-id");
    if topic_too && options.has("topic") {
        writeln!(
            out,
            "Only topic id will be used when both --topic and --topic-id are specified and topicId is not Uuid.ZERO_UUID"
        )?;
    }
    let properties = connect::load_option(&options, "command-config")?;
    let servers = options.value("bootstrap-server")?.unwrap_or_default();
    block_on(async {
        let client = connect::admin(with_bootstrap(properties, &servers)).await?;
        act(&client, &options, out).await.map_err(|failure| match failure {
            Failure::Error(message) => {
                Failure::Printed(format!("Error while executing topic command : {message}"))
            }
            other => other,
        })
    })
}

async fn act(client: &Client, options: &Options, out: Out<'_>) -> Result<(), Failure> {
    if options.has("create") {
        return create(client, options, out).await;
    }
    if options.has("alter") {
        return alter(client, options).await;
    }
    if options.has("list") {
        let names = names(client, options).await?;
        return Ok(writeln!(out, "{}", names.join("\n"))?);
    }
    if options.has("describe") {
        return describe(client, options, out).await;
    }
    let names = existing(client, options).await?;
    first_error(client.run(admin::delete_topics(names)).await?)
}

/// The rules about which options go together.
fn check(options: &Options) -> Result<(), Failure> {
    if options.count(&ACTIONS) != 1 {
        return Err(Failure::Usage(
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete"
                .to_owned(),
        ));
    }
    if options.has("delete-config") {
        eprintln!(
            "delete-config option is no longer supported and deprecated since version 4.0. The config will be fully \
             removed in future releases."
        );
    }
    if !options.has("bootstrap-server") {
        return Err(Failure::Error("--bootstrap-server must be specified".to_owned()));
    }
    let named = options.has("topic") || options.has("topic-id");
    if options.has("describe") && options.has("if-exists") && !named {
        return Err(Failure::Usage("--topic or --topic-id is required to describe a topic".to_owned()));
    }
    if !options.has("list") && !options.has("describe") {
        options.require(&["topic"])?;
    }
    if options.has("alter") {
        if options.has("config") {
            return Err(Failure::Usage(format!(
                "Option combination \"[[bootstrap-server], [config]]\" can't be used with option \"[alter]\"{SEE_CONFIGS}"
            )));
        }
        options.require(&["partitions"])?;
    }
    let but = |kept: &[&str]| ACTIONS.into_iter().filter(|a| !kept.contains(a)).collect::<Vec<_>>();
    let reports = [
        "under-replicated-partitions",
        "under-min-isr-partitions",
        "at-min-isr-partitions",
        "unavailable-partitions",
    ];
    options.forbid("config", &but(&["alter", "create"]))?;
    options.forbid("partitions", &but(&["alter", "create"]))?;
    options.forbid("replication-factor", &but(&["create"]))?;
    options.forbid("replica-assignment", &but(&["alter", "create"]))?;
    if options.has("create") {
        options.forbid("replica-assignment", &["partitions", "replication-factor"])?;
    }
    for report in reports {
        options.forbid(report, &but(&["describe"]))?;
        options.forbid(report, &["topics-with-overrides"])?;
    }
    options.forbid("topics-with-overrides", &but(&["describe"]))?;
    options.forbid("if-exists", &but(&["alter", "delete", "describe"]))?;
    options.forbid("if-not-exists", &but(&["create"]))?;
    options.forbid("exclude-internal", &but(&["list", "describe"]))
}

/// Names of the topics meant, sorted.
async fn names(client: &Client, options: &Options) -> Result<Vec<String>, Failure> {
    let pattern = options.value("topic")?.map(|text| TopicPattern::new(&text)).transpose()?;
    let hide = options.has("exclude-internal");
    let listed = client.run(admin::list_topics()).await?.into_iter();
    let shown = listed.filter(|t| !(hide && (t.internal || is_internal(&t.name)))).map(|t| t.name);
    Ok(shown.filter(|name| pattern.as_ref().is_none_or(|p| p.matches(name))).collect())
}

/// The same; none is an error where one was named, unless `--if-exists`.
async fn existing(client: &Client, options: &Options) -> Result<Vec<String>, Failure> {
    let names = names(client, options).await?;
    let asked = options.value("topic")?.filter(|topic| !topic.is_empty());
    match asked {
        Some(topic) if names.is_empty() && !options.has("if-exists") => {
            Err(Failure::Error(format!("Topic '{topic}' does not exist as expected")))
        }
        _ => Ok(names),
    }
}

async fn create(client: &Client, options: &Options, out: Out<'_>) -> Result<(), Failure> {
    let name = options.value("topic")?.unwrap_or_default();
    let partitions: Option<i32> = options.number("partitions")?;
    let replicas: Option<i32> = options.number("replication-factor")?;
    let assignment = assignment(options)?;
    let configs = configs(options)?;
    if name.contains(['.', '_']) {
        writeln!(
            out,
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. \
             To avoid issues it is best to use either, but not both."
        )?;
    }
    if replicas.is_some_and(|count| !(1..=i32::from(i16::MAX)).contains(&count)) {
        let most = i16::MAX;
        return Err(Failure::Error(format!("The replication factor must be between 1 and {most} inclusive")));
    }
    if partitions.is_some_and(|count| count < 1) {
        return Err(Failure::Error("The partitions must be greater than 0".to_owned()));
    }
    let by_hand = (0..).zip(&assignment).map(|(partition_index, replicas)| CreatableReplicaAssignment {
        partition_index,
        broker_ids: replicas.clone(),
    });
    let topic = CreatableTopic {
        name: name.clone(),
        num_partitions: partitions.unwrap_or(-1),
        replication_factor: replicas.and_then(|count| i16::try_from(count).ok()).unwrap_or(-1),
        assignments: by_hand.collect(),
        configs: configs
            .into_iter()
            .map(|(name, value)| CreatableTopicConfig { name, value: Some(value) })
            .collect(),
    };
    let results = client.run(admin::create_topics(vec![topic])).await?;
    match results.into_iter().find_map(|(_, result)| result.err()) {
        None => Ok(writeln!(out, "Created topic {name}.")?),
        Some(error) if error.refusal == Refusal::TopicAlreadyExists && options.has("if-not-exists") => Ok(()),
        Some(error) => Err(error.into()),
    }
}

/// `--config name=value`, checked against Kafka's topic configs before anybody is asked.
fn configs(options: &Options) -> Result<BTreeMap<String, String>, Failure> {
    let mut configs = BTreeMap::new();
    for word in options.values("config") {
        let pair = word.split_once('=').filter(|(_, value)| !value.is_empty() && !value.contains('='));
        let Some((name, value)) = pair else {
            return Err(Failure::Error(
                "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\"."
                    .to_owned(),
            ));
        };
        configs.insert(name.trim().to_owned(), value.trim().to_owned());
    }
    if let Some(name) = configs.keys().find(|name| config::find(Scope::Topic, name).is_none()) {
        return Err(Failure::Error(format!("Unknown topic config name: {name}")));
    }
    for (name, value) in &configs {
        let checked = config::alter::check_value(Scope::Topic, name, value);
        checked.map_err(|error| Failure::Error(error.to_string()))?;
    }
    Ok(configs)
}

/// `--replica-assignment 1:2,2:3`: the brokers of each partition.
fn assignment(options: &Options) -> Result<Vec<Vec<i32>>, Failure> {
    let text = options.value("replica-assignment")?.unwrap_or_default();
    let mut partitions: Vec<Vec<i32>> = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let ids = part.split(':').map(|id| {
            let id = id.trim();
            id.parse().map_err(|_| Failure::Error(format!("For input string: \"{id}\"")))
        });
        let ids: Vec<i32> = ids.collect::<Result<_, _>>()?;
        let twice: Vec<String> =
            (1..ids.len()).filter(|&i| ids[..i].contains(&ids[i])).map(|i| ids[i].to_string()).collect();
        if !twice.is_empty() {
            let twice = twice.join(",");
            return Err(Failure::Error(format!(
                "Partition replica lists may not contain duplicate entries: {twice}"
            )));
        }
        if partitions.first().is_some_and(|first| first.len() != ids.len()) {
            let at = partitions.len();
            return Err(Failure::Error(format!("Partition {at} has different replication factor: {ids:?}")));
        }
        partitions.push(ids);
    }
    Ok(partitions)
}

async fn alter(client: &Client, options: &Options) -> Result<(), Failure> {
    configs(options)?;
    let assignment = assignment(options)?;
    let count: i32 = options.number("partitions")?.unwrap_or(0);
    let names = existing(client, options).await?;
    if names.is_empty() {
        return Ok(());
    }
    let described = client.run(admin::describe_topics(names, Limit::default())).await?;
    let mut topics = Vec::new();
    for (name, result) in described {
        let known = result?.partitions.len();
        let added =
            assignment.iter().skip(known).map(|ids| CreatePartitionsAssignment { broker_ids: ids.clone() });
        let assignments = Some(added.collect()).filter(|_| !assignment.is_empty());
        topics.push(CreatePartitionsTopic { name, count, assignments });
    }
    first_error(client.run(admin::create_partitions(topics)).await?)
}

fn first_error<T>(results: Vec<(String, Result<T, ApiError>)>) -> Result<(), Failure> {
    results.into_iter().find_map(|(_, result)| result.err()).map_or(Ok(()), |error| Err(error.into()))
}

/// What `--describe` shows of one topic.
struct Shown<'a> {
    topic: &'a TopicDescription,
    config: &'a DescribeConfigsResult,
    moving: &'a BTreeMap<(String, i32), OngoingPartitionReassignment>,
}

async fn describe(client: &Client, options: &Options, out: Out<'_>) -> Result<(), Failure> {
    let names = match topic_id(options)? {
        Some(id) => names_of(client, id, options).await?,
        None => existing(client, options).await?,
    };
    if names.is_empty() {
        return Ok(());
    }
    let limit = options.number("partition-size-limit-per-response")?.map_or(Limit::default(), Limit);
    let topics = client.run(admin::describe_topics(names, limit)).await?;
    let topics = topics.into_iter().map(|(_, result)| result).collect::<Result<Vec<_>, _>>()?;
    let resources = topics.iter().map(|topic| (ResourceType::Topic, topic.name.clone())).collect();
    let configs = client.run(admin::describe_configs(resources)).await?;
    let mut configs: BTreeMap<String, _> =
        configs.into_iter().map(|((_, name), result)| (name, result)).collect();
    let live: BTreeSet<i32> = match client.run(admin::describe_cluster()).await {
        Ok(cluster) => cluster.brokers.into_iter().map(|broker| broker.broker_id).collect(),
        Err(error) => return Err(error.into()),
    };
    let moving = match client.run(admin::list_reassignments()).await {
        Err(ClientError::UnsupportedVersion(_)) => BTreeMap::new(),
        Err(error) if error.refusal() == Some(Refusal::ClusterAuthorizationFailed) => BTreeMap::new(),
        moving => moving?,
    };
    let selection = Selection::new(options, live);
    for topic in &topics {
        let Some(config) = configs.remove(&topic.name) else { continue };
        let shown = Shown { topic, config: &config?, moving: &moving };
        out.write_all(selection.text(&shown)?.as_bytes())?;
    }
    Ok(())
}

fn topic_id(options: &Options) -> Result<Option<Uuid>, Failure> {
    let Some(text) = options.value("topic-id")? else { return Ok(None) };
    let id: Uuid =
        text.parse().map_err(|error: ottla_protocol::uuid::NotAUuid| Failure::Error(error.to_string()))?;
    Ok(Some(id).filter(|id| !id.is_zero()))
}

async fn names_of(client: &Client, id: Uuid, options: &Options) -> Result<Vec<String>, Failure> {
    let hide = options.has("exclude-internal");
    let topics = client.run(admin::list_topics()).await?.into_iter().filter(|t| !(hide && t.internal));
    let names: Vec<String> = topics.filter(|topic| topic.id == id).map(|topic| topic.name).collect();
    if names.is_empty() && !options.has("if-exists") {
        return Err(Failure::Error(format!("TopicId '{id}' does not exist as expected")));
    }
    Ok(names)
}

/// Which topics and partitions `--describe` shows.
struct Selection {
    live: BTreeSet<i32>,
    under_replicated: bool,
    unavailable: bool,
    under_min_isr: bool,
    at_min_isr: bool,
    overridden: bool,
}

impl Selection {
    fn new(options: &Options, live: BTreeSet<i32>) -> Self {
        Self {
            live,
            under_replicated: options.has("under-replicated-partitions"),
            unavailable: options.has("unavailable-partitions"),
            under_min_isr: options.has("under-min-isr-partitions"),
            at_min_isr: options.has("at-min-isr-partitions"),
            overridden: options.has("topics-with-overrides"),
        }
    }

    /// One line of the topic, one of each partition; or less.
    fn text(&self, shown: &Shown<'_>) -> Result<String, Failure> {
        let mut lines = String::new();
        let report = self.under_replicated || self.unavailable || self.under_min_isr || self.at_min_isr;
        if !report {
            let own = overrides(shown.config);
            if !self.overridden || !own.is_empty() {
                lines.push_str(&topic_line(shown, &own));
            }
        }
        if self.overridden {
            return Ok(lines);
        }
        for partition in &shown.topic.partitions {
            if !report || self.selects(shown, partition)? {
                lines.push_str(&partition_line(shown, partition));
            }
        }
        Ok(lines)
    }

    fn selects(&self, shown: &Shown<'_>, partition: &PartitionDescription) -> Result<bool, Failure> {
        let in_sync = partition.isr.len();
        let unavailable = partition.leader.is_none_or(|leader| !self.live.contains(&leader));
        let mut selected = self.under_replicated && replication_factor(shown, partition) > in_sync;
        selected |= self.unavailable && unavailable;
        if self.under_min_isr || self.at_min_isr {
            let least = min_isr(shown.config)?;
            selected |= self.under_min_isr && (partition.leader.is_none() || in_sync < least);
            selected |= self.at_min_isr && in_sync == least;
        }
        Ok(selected)
    }
}

fn min_isr(config: &DescribeConfigsResult) -> Result<usize, Failure> {
    let entry = config.configs.iter().find(|entry| entry.name == "min.insync.replicas");
    let value = entry.and_then(|entry| entry.value.as_deref()).and_then(|value| value.parse().ok());
    value.ok_or_else(|| Failure::Error("the broker did not tell min.insync.replicas".to_owned()))
}

/// `name=value` of everything that is not Kafka's default, in the order of Kafka's tool.
fn overrides(config: &DescribeConfigsResult) -> Vec<String> {
    let entries = hash_map_order(config.configs.iter().collect(), UNKNOWN_SIZE, |entry| &entry.name);
    let own = entries
        .into_iter()
        .filter(|entry| ConfigSource::from_code(entry.config_source) != ConfigSource::Default);
    own.map(|entry| format!("{}={}", entry.name, entry.value.as_deref().unwrap_or("null"))).collect()
}

/// While replicas are being replaced, those on their way in do not count.
fn replication_factor(shown: &Shown<'_>, partition: &PartitionDescription) -> usize {
    let moving = shown.moving.get(&(shown.topic.name.clone(), partition.index));
    let still = |moving: &&OngoingPartitionReassignment| {
        let mut changing = moving.adding_replicas.iter().chain(&moving.removing_replicas);
        changing.any(|id| partition.replicas.contains(id))
    };
    moving.filter(still).map_or(partition.replicas.len(), |moving| {
        moving.replicas.len().saturating_sub(moving.adding_replicas.len())
    })
}

fn topic_line(shown: &Shown<'_>, own: &[String]) -> String {
    let topic = shown.topic;
    let id = if topic.id.is_zero() { String::new() } else { format!("\tTopicId: {}", topic.id) };
    let replicas = topic.partitions.first().map_or(0, |first| replication_factor(shown, first));
    format!(
        "Topic: {}{id}\tPartitionCount: {}\tReplicationFactor: {replicas}\tConfigs: {}\n",
        topic.name,
        topic.partitions.len(),
        own.join(",")
    )
}

fn partition_line(shown: &Shown<'_>, partition: &PartitionDescription) -> String {
    let ids = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let or_none = |list: &Option<Vec<i32>>| list.as_ref().map_or("N/A".to_owned(), |list| ids(list));
    let moving =
        shown.moving.get(&(shown.topic.name.clone(), partition.index)).map_or(String::new(), |moving| {
            format!(
                "\tAdding Replicas: {}\tRemoving Replicas: {}",
                ids(&moving.adding_replicas),
                ids(&moving.removing_replicas)
            )
        });
    format!(
        "\tTopic: {}\tPartition: {}\tLeader: {}\tReplicas: {}\tIsr: {}{moving}\tElr: {}\tLastKnownElr: {}\n",
        shown.topic.name,
        partition.index,
        partition.leader.map_or("none".to_owned(), |leader| leader.to_string()),
        ids(&partition.replicas),
        ids(&partition.isr),
        or_none(&partition.elr),
        or_none(&partition.last_known_elr),
    )
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::describe_configs::DescribeConfigsResourceResult;

    use super::*;

    fn entry(name: &str, value: &str, config_source: i8) -> DescribeConfigsResourceResult {
        DescribeConfigsResourceResult {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            config_source,
            ..Default::default()
        }
    }

    fn topic() -> TopicDescription {
        let partition = |index, leader: Option<i32>, isr: &[i32]| PartitionDescription {
            index,
            leader,
            replicas: vec![1, 2, 3],
            isr: isr.to_vec(),
            elr: Some(Vec::new()),
            last_known_elr: Some(vec![2]),
            ..Default::default()
        };
        TopicDescription {
            name: "t".to_owned(),
            id: Uuid::METADATA_TOPIC,
            internal: false,
            partitions: vec![
                partition(0, Some(1), &[1, 2]),
                partition(1, None, &[]),
                partition(2, Some(3), &[3, 1, 2]),
            ],
        }
    }

    fn shown(flags: &[&str]) -> String {
        let words: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let selection = Selection::new(&Options::parse(&USAGE, &words).unwrap(), BTreeSet::from([1, 2]));
        let config = DescribeConfigsResult {
            configs: vec![
                entry("min.insync.replicas", "2", 1),
                entry("retention.ms", "5", 1),
                entry("a", "b", 5),
            ],
            ..Default::default()
        };
        selection.text(&Shown { topic: &topic(), config: &config, moving: &BTreeMap::new() }).unwrap()
    }

    #[test]
    fn describe_prints_the_lines_scripts_know() {
        assert_eq!(
            shown(&[]),
            "Topic: t\tTopicId: AAAAAAAAAAAAAAAAAAAAAQ\tPartitionCount: 3\tReplicationFactor: 3\tConfigs: min.insync.replicas=2,retention.ms=5\n\
             \tTopic: t\tPartition: 0\tLeader: 1\tReplicas: 1,2,3\tIsr: 1,2\tElr: \tLastKnownElr: 2\n\
             \tTopic: t\tPartition: 1\tLeader: none\tReplicas: 1,2,3\tIsr: \tElr: \tLastKnownElr: 2\n\
             \tTopic: t\tPartition: 2\tLeader: 3\tReplicas: 1,2,3\tIsr: 3,1,2\tElr: \tLastKnownElr: 2\n"
        );
        assert_eq!(shown(&["--topics-with-overrides"]).lines().count(), 1);
    }

    #[test]
    fn reports_show_the_partitions_they_are_about() {
        let partitions = |flag| -> Vec<String> {
            shown(&[flag]).lines().map(|line| line.split('\t').nth(2).unwrap_or("").to_owned()).collect()
        };
        assert_eq!(partitions("--under-replicated-partitions"), ["Partition: 0", "Partition: 1"]);
        assert_eq!(partitions("--unavailable-partitions"), ["Partition: 1", "Partition: 2"]);
        assert_eq!(partitions("--under-min-isr-partitions"), ["Partition: 1"]);
        assert_eq!(partitions("--at-min-isr-partitions"), ["Partition: 0"]);
    }

    #[test]
    fn replicas_on_their_way_in_do_not_count() {
        let moving = OngoingPartitionReassignment {
            partition_index: 0,
            replicas: vec![1, 2, 3],
            adding_replicas: vec![3],
            removing_replicas: vec![1],
        };
        let moving = BTreeMap::from([(("t".to_owned(), 0), moving)]);
        let (topic, config) = (topic(), DescribeConfigsResult::default());
        let shown = Shown { topic: &topic, config: &config, moving: &moving };
        assert_eq!(replication_factor(&shown, &topic.partitions[0]), 2);
        assert!(
            partition_line(&shown, &topic.partitions[0])
                .contains("\tAdding Replicas: 3\tRemoving Replicas: 1\t")
        );
    }

    #[test]
    fn assignments_and_configs_are_checked_before_anybody_is_asked() {
        let options = |words: &[&str]| {
            Options::parse(&USAGE, &words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).unwrap()
        };
        assert_eq!(assignment(&options(&["--replica-assignment", "1:2, 2:3"])).unwrap(), [[1, 2], [2, 3]]);
        let message = |words: &[&str]| assignment(&options(words)).unwrap_err().message().to_owned();
        assert_eq!(
            message(&["--replica-assignment", "1:1"]),
            "Partition replica lists may not contain duplicate entries: 1"
        );
        assert_eq!(
            message(&["--replica-assignment", "1,1:2"]),
            "Partition 1 has different replication factor: [1, 2]"
        );
        let message = |word| configs(&options(&["--config", word])).unwrap_err().message().to_owned();
        assert_eq!(message("foo=bar"), "Unknown topic config name: foo");
        assert_eq!(
            message("retention.ms=abc"),
            "Invalid value abc for configuration retention.ms: Not a number of type LONG"
        );
        assert!(message("foo").contains("format \"key=val\""));
    }

    #[test]
    fn options_that_do_not_go_together_are_refused_in_kafkas_words() {
        let message = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            check(&Options::parse(&USAGE, &words).unwrap()).unwrap_err().message().to_owned()
        };
        let server = "--bootstrap-server=x:1";
        assert_eq!(message(&["--list"]), "--bootstrap-server must be specified");
        assert_eq!(message(&["--create", server]), "Missing required argument \"[topic]\"");
        assert_eq!(
            message(&["--list", server, "--config", "a=b"]),
            "Option \"[config]\" can't be used with option \"[list]\""
        );
        assert!(
            message(&["--list", "--create", server]).starts_with("Command must include exactly one action")
        );
        assert!(message(&["--alter", server, "--topic", "t", "--config", "a=b"]).ends_with(SEE_CONFIGS));
    }
}
