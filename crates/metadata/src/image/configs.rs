//! What was set at run time on topics, brokers, groups and client-metrics subscriptions.

use std::sync::Arc;

use imbl::OrdMap;
use ottla_protocol::NodeId;

use crate::config::{Overrides, Settings};

/// What a configuration is set on, by Kafka's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// A topic.
    Topic = 2,
    /// A broker, or all of them under the empty name.
    Broker = 4,
    /// The log levels of a broker; never stored.
    BrokerLogger = 8,
    /// A subscription of client metrics.
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

impl ResourceKind {
    /// The number.
    #[must_use]
    pub fn code(self) -> i8 {
        self as i8
    }

    /// The kind of this number.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        [Self::Topic, Self::Broker, Self::BrokerLogger, Self::ClientMetrics, Self::Group]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// What a configuration is set on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// The kind.
    pub kind: ResourceKind,
    /// The name; a broker's id in digits, or empty for all brokers.
    pub name: String,
}

impl Resource {
    /// A resource of a kind and name.
    #[must_use]
    pub fn new(kind: ResourceKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }

    /// A topic.
    #[must_use]
    pub fn topic(name: &str) -> Self {
        Self::new(ResourceKind::Topic, name)
    }

    /// All brokers.
    #[must_use]
    pub fn all_brokers() -> Self {
        Self::new(ResourceKind::Broker, "")
    }

    /// One broker.
    #[must_use]
    pub fn broker(id: NodeId) -> Self {
        Self::new(ResourceKind::Broker, id.to_string())
    }
}

/// Everything that was set at run time. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configs {
    by_resource: OrdMap<Resource, Arc<Overrides>>,
}

static NOTHING: Overrides = Overrides::new();

impl Configs {
    /// What is set on a resource; empty where nothing is.
    #[must_use]
    pub fn get(&self, resource: &Resource) -> &Overrides {
        self.by_resource.get(resource).map_or(&NOTHING, |overrides| overrides)
    }

    /// What is set on a topic.
    #[must_use]
    pub fn topic(&self, name: &str) -> &Overrides {
        self.get(&Resource::topic(name))
    }

    /// Every resource on which something is set.
    pub fn iter(&self) -> impl Iterator<Item = (&Resource, &Overrides)> {
        self.by_resource.iter().map(|(resource, overrides)| (resource, &**overrides))
    }

    /// The settings of a node, with what is set at run time for it and for all.
    #[must_use]
    pub fn settings(&self, file: &Settings, node: NodeId) -> Settings {
        let all = self.get(&Resource::all_brokers()).clone();
        file.with_dynamic(all, self.get(&Resource::broker(node)).clone())
    }

    pub(super) fn set(&mut self, resource: Resource, name: &str, value: Option<&str>) {
        let mut overrides =
            self.by_resource.get(&resource).map_or_else(Overrides::new, |o| Overrides::clone(o));
        match value {
            Some(value) => overrides.insert(name.to_owned(), value.to_owned()),
            None => overrides.remove(name),
        };
        if overrides.is_empty() {
            self.by_resource.remove(&resource);
        } else {
            self.by_resource.insert(resource, Arc::new(overrides));
        }
    }

    pub(super) fn forget(&mut self, resource: &Resource) -> bool {
        self.by_resource.remove(resource).is_some()
    }
}
