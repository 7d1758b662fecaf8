//! What the configuration says of groups: the broker's keys, and what is set on a single group.
//!
//! Keys that need a restart are read once; those that can change are read when they are needed, out of the image.

use ottla_metadata::Image;
use ottla_metadata::config::Settings;
use ottla_metadata::image::configs::{Resource, ResourceKind};
use ottla_protocol::NodeId;

use crate::mutant::Planted;

/// How long a JoinGroup of a new classic member is kept waiting: its client may be gone, and cannot say so while it waits.
pub const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1000;

/// Bytes of members that no record of their group has, of all classic groups on one partition: members of a rebalance
/// that is under way, and ids that have been given out. Kafka knows no bound; whoever finds no room here is sent back and
/// comes again. Where groups may have larger records there is room for [`UNSETTLED_RECORDS`] of them.
const UNSETTLED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Who says no more than this finds room in all of it; others leave a quarter, so that few of them keep nobody out.
pub const LITTLE_BYTES: usize = 16 * 1024;

/// What members on one host say may take one in so many parts of all that (see [`UNSETTLED_BYTES_MAX`]), whatever groups they
/// are in: a client that floods the coordinator keeps nobody on other hosts out. One whole record finds room in it.
const HOSTS_SHARE: usize = 4;

/// Where the coordinator's log is.
const TOPIC: &str = "__consumer_offsets";

/// See [`UNSETTLED_BYTES_MAX`].
const UNSETTLED_RECORDS: usize = 4;

/// See the module.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    file: Settings,
    node: NodeId,
    /// What classic groups are bound to.
    pub classic: ClassicSettings,
    /// What consumer groups are bound to.
    pub consumer: ConsumerSettings,
    /// What committed offsets are bound to.
    pub offsets: OffsetSettings,
    pub(crate) planted: Planted,
}

/// Keys of classic groups.
#[derive(Clone, Debug)]
pub struct ClassicSettings {
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i64,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max_ms: i32,
    /// `group.max.size`.
    pub members_max: usize,
}

/// Keys of consumer groups that need a restart.
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    /// `group.consumer.max.size`.
    pub members_max: usize,
    /// `group.consumer.assignors`; the first is the default.
    pub assignors: Vec<String>,
    /// `group.consumer.migration.policy`, in small letters.
    pub migration_policy: String,
    /// `group.consumer.regex.refresh.interval.ms`.
    pub regex_refresh_interval_ms: i64,
    session_timeout_ms: [i32; 2],
    heartbeat_interval_ms: [i32; 2],
    assignment_interval_ms: [i32; 2],
}

/// What holds for one consumer group at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerTimes {
    /// How long a member may be silent.
    pub session_timeout_ms: i32,
    /// How often members are told to send heartbeats.
    pub heartbeat_interval_ms: i32,
    /// The least time between two assignments (KIP-1263).
    pub assignment_interval_ms: i32,
}

/// Keys of committed offsets.
#[derive(Clone, Debug)]
pub struct OffsetSettings {
    /// `offset.metadata.max.bytes`.
    pub metadata_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub check_interval_ms: i64,
}

impl GroupSettings {
    /// What a node's configuration says.
    #[must_use]
    pub fn new(file: Settings) -> Self {
        let node = file.node();
        let bounds = |what: &str| {
            let key = |end: &str| node.int(&format!("group.consumer.{end}.{what}.ms"));
            [key("min"), key("max")]
        };
        let small = |name: &str| node.text(name).unwrap_or_default().to_lowercase();
        let classic = ClassicSettings {
            initial_rebalance_delay_ms: node.long("group.initial.rebalance.delay.ms").max(0),
            session_timeout_min_ms: node.int("group.min.session.timeout.ms"),
            session_timeout_max_ms: node.int("group.max.session.timeout.ms"),
            members_max: node.size("group.max.size"),
        };
        let consumer = ConsumerSettings {
            members_max: node.size("group.consumer.max.size"),
            assignors: node.list("group.consumer.assignors"),
            migration_policy: small("group.consumer.migration.policy"),
            regex_refresh_interval_ms: node.long("group.consumer.regex.refresh.interval.ms"),
            session_timeout_ms: bounds("session.timeout"),
            heartbeat_interval_ms: bounds("heartbeat.interval"),
            assignment_interval_ms: bounds("assignment.interval"),
        };
        let offsets = OffsetSettings {
            metadata_max: node.size("offset.metadata.max.bytes"),
            retention_ms: node.long("offsets.retention.minutes").saturating_mul(60_000),
            check_interval_ms: node.long("offsets.retention.check.interval.ms"),
        };
        let id = file.file().get("node.id").and_then(|id| id.trim().parse().ok()).unwrap_or(-1);
        drop(node);
        Self { file, node: NodeId(id), classic, consumer, offsets, planted: Planted::default() }
    }

    /// The largest batch that the coordinator's log takes, in bytes: `max.message.bytes` of its topic. A member that says
    /// more than this in the words of one protocol can never become one.
    #[must_use]
    pub fn record_bytes_max(&self, image: &Image) -> usize {
        let settings = image.configs.settings(&self.file, self.node);
        let own = image.configs.topic(TOPIC);
        usize::try_from(settings.topic(own).int("max.message.bytes")).unwrap_or(0)
    }

    /// See [`UNSETTLED_BYTES_MAX`].
    #[must_use]
    pub fn unsettled_bytes_max(&self, image: &Image) -> usize {
        UNSETTLED_BYTES_MAX.max(UNSETTLED_RECORDS.saturating_mul(self.record_bytes_max(image)))
    }

    /// See [`LITTLE_BYTES`].
    #[must_use]
    pub fn loud_bytes_max(&self, image: &Image) -> usize {
        let all = self.unsettled_bytes_max(image);
        all - all / 4
    }

    /// See [`HOSTS_SHARE`].
    #[must_use]
    pub fn host_bytes_max(&self, image: &Image) -> usize {
        self.unsettled_bytes_max(image) / HOSTS_SHARE
    }

    /// What holds for a consumer group now: its own values, else the brokers', within the brokers' bounds (KIP-1240).
    #[must_use]
    pub fn consumer_times(&self, image: &Image, group: &str) -> ConsumerTimes {
        let settings = image.configs.settings(&self.file, self.node);
        let own = image.configs.get(&Resource::new(ResourceKind::Group, group));
        let resolved = settings.group(own);
        let within = |[min, max]: [i32; 2], name: &str| resolved.int(name).min(max).max(min);
        let bounds = &self.consumer;
        ConsumerTimes {
            session_timeout_ms: within(bounds.session_timeout_ms, "consumer.session.timeout.ms"),
            heartbeat_interval_ms: within(bounds.heartbeat_interval_ms, "consumer.heartbeat.interval.ms"),
            assignment_interval_ms: within(bounds.assignment_interval_ms, "consumer.assignment.interval.ms"),
        }
    }
}
