//! What the tool asks the cluster, with errors as it tells them.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::admin::{
    self, CommittedOffset, Describe, GroupDescription, GroupFilter, ItemResult, Limit, MemberDescription,
    OffsetSpec, OffsetsOf, PartitionDescription, Stability,
};
use ottla_client::net::Client;
use ottla_client::{ApiError, ClientError};
use ottla_protocol::Refusal;
use ottla_protocol::messages::list_groups::ListedGroup;

use super::group::{Group, Member, State};
use super::plan::{Offsets, Place};
use super::{Trouble, connect, with_bootstrap};
use crate::tools::options::Options;
use crate::tools::thrown;

/// A client and the words for what it is told.
pub struct Asker {
    client: Client,
}

/// What was committed for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// The offset.
    pub offset: i64,
    /// The leader epoch beside it.
    pub leader_epoch: Option<i32>,
}

/// What a group has committed.
pub type Committed = BTreeMap<Place, Offset>;

impl Asker {
    /// As the options say; nobody is asked yet.
    pub async fn connect(options: &Options) -> Result<Self, Trouble> {
        let servers = options.value("bootstrap-server").map_err(|error| Trouble::said(error.to_string()))?;
        let timeout = options.number::<u32>("timeout").map_err(|error| Trouble::said(error.to_string()))?;
        let mut properties =
            with_bootstrap(connect::load_option(options, "command-config")?, &servers.unwrap_or_default());
        properties.set("default.api.timeout.ms", timeout.unwrap_or_default().to_string());
        let connected = connect::admin(properties).await;
        let client = connected.map_err(|error| match error {
            ClientError::Settings(_) => Trouble::said("Failed create new KafkaAdminClient"),
            error => Trouble::caused(&error),
        })?;
        Ok(Self { client })
    }

    /// Consumer groups of both protocols, and groups that have committed without ever being joined.
    pub async fn list(&self) -> Result<Vec<ListedGroup>, Trouble> {
        let listed = self.client.run(admin::list_groups(GroupFilter::default())).await;
        let mut listed = listed.map_err(|error| match error {
            ClientError::TimedOut(_) => Trouble::said(
                "java.util.concurrent.ExecutionException: org.apache.kafka.common.KafkaException: Failed to find brokers \
                 to send ListGroups",
            ),
            error => Trouble::executed(&error),
        })?;
        listed.retain(|group| matches!(group.protocol_type.as_str(), "" | "consumer"));
        Ok(listed)
    }

    /// Groups in full; where nobody answers at all, that is said of each.
    pub async fn describe(&self, ids: Vec<String>) -> Vec<(String, Result<Group, ClientError>)> {
        let asked = self.client.run(admin::describe_consumer_groups(ids.clone(), Describe::Plainly)).await;
        let group = |(id, result): (String, ItemResult<GroupDescription>)| {
            (id, result.map(Group::from).map_err(ClientError::from))
        };
        match asked {
            Ok(described) => described.into_iter().map(group).collect(),
            Err(error) => ids.into_iter().map(|id| (id, Err(error.clone()))).collect(),
        }
    }

    /// What a group has committed.
    pub async fn committed(&self, group: &str) -> Result<Committed, ClientError> {
        let groups = BTreeMap::from([(group.to_owned(), OffsetsOf::All)]);
        let mut found = self.client.run(admin::list_group_offsets(groups, Stability::Any)).await?;
        let offsets = found.remove(group).unwrap_or_else(|| Ok(BTreeMap::new()))?;
        let some = offsets.into_iter().filter_map(|(place, committed)| {
            let CommittedOffset { offset, leader_epoch, .. } = committed?;
            Some((place, Offset { offset, leader_epoch }))
        });
        Ok(some.collect())
    }

    /// Sets what a group has committed.
    pub async fn commit(&self, group: &str, offsets: &Offsets) -> Result<(), Trouble> {
        if offsets.is_empty() {
            return Ok(());
        }
        let committed = |(place, offset): (&Place, &i64)| {
            (place.clone(), CommittedOffset { offset: *offset, ..CommittedOffset::default() })
        };
        let offsets = offsets.iter().map(committed).collect();
        let set = self.client.run(admin::alter_group_offsets(group.to_owned(), offsets)).await;
        let set = set.map_err(|error| Trouble::said(error.to_string()))?;
        match set.into_values().find_map(Result::err) {
            Some(error) => Err(Trouble::said(error.to_string())),
            None => Ok(()),
        }
    }

    /// Deletes groups; each tells whether it is gone.
    pub async fn delete_groups(&self, ids: Vec<String>) -> Vec<(String, Result<(), ClientError>)> {
        match self.client.run(admin::delete_groups(ids.clone())).await {
            Ok(deleted) => {
                deleted.into_iter().map(|(id, result)| (id, result.map_err(ClientError::from))).collect()
            }
            Err(error) => ids.into_iter().map(|id| (id, Err(error.clone()))).collect(),
        }
    }

    /// Deletes what a group has committed; where the group itself is refused, so is each partition.
    pub async fn delete_offsets(
        &self,
        group: &str,
        places: BTreeSet<Place>,
    ) -> BTreeMap<Place, Result<(), ClientError>> {
        let asked: Vec<Place> = places.iter().cloned().collect();
        match self.client.run(admin::delete_group_offsets(group.to_owned(), asked)).await {
            Ok(deleted) => deleted
                .into_iter()
                .map(|(place, result)| (place, result.map_err(ClientError::from)))
                .collect(),
            Err(error) => places.into_iter().map(|place| (place, Err(error.clone()))).collect(),
        }
    }

    /// Topics with their partitions.
    pub async fn describe_topics(
        &self,
        mut topics: Vec<String>,
    ) -> Result<Vec<(String, ItemResult<Vec<PartitionDescription>>)>, Trouble> {
        topics.sort();
        topics.dedup();
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let described = self.client.run(admin::describe_topics(topics, Limit::default())).await;
        let described = described.map_err(|error| Trouble::said(error.to_string()))?;
        Ok(described.into_iter().map(|(name, result)| (name, result.map(|topic| topic.partitions))).collect())
    }

    /// Every partition of the topics named, with its leader.
    pub async fn partitions(
        &self,
        places: &BTreeSet<Place>,
    ) -> Result<BTreeMap<Place, Option<i32>>, Trouble> {
        let topics = places.iter().map(|(topic, _)| topic.clone()).collect();
        let mut found = BTreeMap::new();
        for (topic, described) in self.describe_topics(topics).await? {
            for partition in described.map_err(|error| Trouble::executed(&error.into()))? {
                found.insert((topic.clone(), partition.index), partition.leader);
            }
        }
        Ok(found)
    }

    /// Those of the partitions that nobody leads.
    pub async fn without_leader(&self, places: &BTreeSet<Place>) -> Result<BTreeSet<Place>, Trouble> {
        let found = self.partitions(places).await?;
        let leaderless = found.into_iter().filter(|(_, leader)| leader.is_none()).map(|(place, _)| place);
        Ok(leaderless.filter(|place| places.contains(place)).collect())
    }

    /// The ends of partitions.
    pub async fn ends(&self, places: BTreeSet<Place>) -> Result<Offsets, Trouble> {
        self.offsets(places, OffsetSpec::Latest).await
    }

    /// Offsets of partitions by time; −1 where there is none.
    pub async fn offsets(&self, places: BTreeSet<Place>, spec: OffsetSpec) -> Result<Offsets, Trouble> {
        if places.is_empty() {
            return Ok(Offsets::new());
        }
        let asked = places.into_iter().map(|place| (place, spec)).collect();
        let found = self.client.run(admin::list_offsets(asked)).await;
        let found = found.map_err(|error| Trouble::executed(&error))?;
        let offset = |(place, result): (Place, ItemResult<admin::Offsets>)| {
            let offsets = result.map_err(|error| Trouble::executed(&error.into()))?;
            Ok((place, offsets.offset))
        };
        found.into_iter().map(offset).collect()
    }
}

/// What is said of a group that could not be described.
pub fn undescribed(error: &ClientError) -> Trouble {
    match error {
        // The client itself found out, and Java's throws something else then.
        ClientError::Refused(ApiError { refusal: Refusal::InvalidGroupId, message: Some(text) })
            if text.contains("is not a consumer group") =>
        {
            Trouble::said(format!("java.lang.IllegalArgumentException: {text}"))
        }
        error => Trouble::said(thrown::thrown(error)),
    }
}

impl From<GroupDescription> for Group {
    fn from(group: GroupDescription) -> Self {
        let at = group.coordinator;
        Self {
            id: group.id,
            state: State::parse(&group.state),
            coordinator: (at.address.host, i32::from(at.address.port), at.node),
            assignor: group.assignor,
            epoch: group.group_epoch,
            assignment_epoch: group.assignment_epoch,
            members: group.members.into_iter().map(Member::from).collect(),
        }
    }
}

impl From<MemberDescription> for Member {
    fn from(member: MemberDescription) -> Self {
        let places = |topics: BTreeMap<String, Vec<i32>>| -> BTreeSet<Place> {
            let place = |(topic, partitions): (String, Vec<i32>)| {
                partitions.into_iter().map(move |partition| (topic.clone(), partition))
            };
            topics.into_iter().flat_map(place).collect()
        };
        Self {
            id: member.member_id,
            instance: member.instance_id.filter(|instance| !instance.is_empty()),
            client: member.client_id,
            host: member.host,
            assigned: places(member.assignment),
            target: member.target.map(places),
            epoch: member.epoch,
            upgraded: member.upgraded,
        }
    }
}
