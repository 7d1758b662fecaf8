//! A consumer group out of a classic one, and a classic one out of a consumer group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_metadata::Image;
use ottla_protocol::Refusal;
use ottla_protocol::TopicId;
use ottla_protocol::messages::join_group::JoinGroupRequestProtocol;
use ottla_protocol::records::coordinator::consumer_group_member_metadata::{
    ClassicMemberMetadata, ClassicProtocol,
};
use ottla_protocol::records::coordinator::group_metadata::MemberMetadata;
use ottla_protocol::records::coordinator::{
    ConsumerGroupMemberMetadataValue, GroupMetadataKey, GroupMetadataValue,
};

use super::member::{Member, MemberState, sort_names};
use super::{ConsumerGroup, Denied};
use crate::assign::Partitions;
use crate::group::classic::{self, ClassicGroup};
use crate::group::migration::{self, Downgrade, embedded};
use crate::group::record::Record;
use crate::group::scene::Scene;

impl ConsumerGroup {
    /// The group that a classic one becomes: everybody has what he had, and the generation is the epoch.
    pub(in crate::group) fn from_classic(
        scene: &Scene<'_>,
        classic: &ClassicGroup,
    ) -> Result<Self, &'static str> {
        let mut group = Self::new(classic.id());
        let roster = &mut group.roster;
        roster.epoch = classic.generation();
        roster.target.epoch = classic.generation();
        let mut given = BTreeSet::new();
        for member in classic.members() {
            let mut had = had(scene.image, member)?;
            // A leader may have given something twice: it counts once.
            for (topic, partitions) in &mut had {
                partitions.retain(|partition| given.insert((*topic, *partition)));
            }
            had.retain(|_, partitions| !partitions.is_empty());
            roster.put_member(converted(classic, member, &had)?);
            roster.target.members.insert(member.id.clone(), Arc::new(had));
        }
        let names = roster.subscriptions.topics.names();
        roster.metadata_hash = group.topics.hash(scene.image, names);
        Ok(group)
    }

    /// The records that make the group.
    pub(in crate::group) fn begin(&self, records: &mut Vec<Record>) {
        self.roster.begin(records);
    }

    /// Whether all that stay are of the classic protocol, and the group may become a classic one.
    pub(super) fn may_downgrade_without(&self, scene: &Scene<'_>, leaving: &[String]) -> bool {
        let roster = &self.roster;
        let classic =
            leaving.iter().filter_map(|id| roster.members.get(id)).filter(|m| m.classic().is_some()).count();
        let stay = roster.members.len() - leaving.len();
        roster.classic.count - classic == stay && migration::allows_downgrade(scene, &roster.id, stay)
    }

    /// The same if a static member comes back as one of the classic protocol.
    pub(super) fn may_downgrade_with(&self, scene: &Scene<'_>, replaced: &Member) -> bool {
        let members = self.roster.members.len();
        replaced.classic().is_none()
            && self.roster.classic.count == members - 1
            && migration::allows_downgrade(scene, &self.roster.id, members)
    }

    /// The records of the classic group that stays when members leave.
    pub(super) fn downgrade_without(
        &self,
        scene: &Scene<'_>,
        leaving: &[String],
        records: &mut Vec<Record>,
    ) -> Result<Downgrade, Denied> {
        let stay: Vec<(&Member, &str)> = self
            .roster
            .members
            .values()
            .filter(|member| !leaving.contains(&member.id))
            .map(|member| (member, &*member.id))
            .collect();
        self.roster.end(|id| id, records);
        self.classic_record(scene, &stay, Some("members of the consumer protocol left"), records)
    }

    /// The same when a static member has come back as one of the classic protocol.
    pub(super) fn downgrade_with(
        &self,
        scene: &Scene<'_>,
        joining: &Member,
        rebalance: Option<&'static str>,
        records: &mut Vec<Record>,
    ) -> Result<Downgrade, Denied> {
        let instance = joining.metadata.instance_id.as_deref().unwrap_or_default();
        let replaced = self.roster.static_members.get(instance).map_or("", String::as_str);
        let others = self.roster.members.values().filter(|member| member.id != replaced);
        let mut stay: Vec<(&Member, &str)> = others.map(|member| (member, &*member.id)).collect();
        stay.push((joining, replaced));
        self.roster.end(|id| if id == replaced { &joining.id } else { id }, records);
        self.classic_record(scene, &stay, rebalance, records)
    }

    /// Members come with the ids under which their targets stand.
    fn classic_record(
        &self,
        scene: &Scene<'_>,
        members: &[(&Member, &str)],
        rebalance: Option<&'static str>,
        records: &mut Vec<Record>,
    ) -> Result<Downgrade, Denied> {
        let malformed = || {
            let message =
                format!("Cannot downgrade the consumer group {}: malformed protocol.", self.roster.id);
            Denied::new(Refusal::GroupIdNotFound, message)
        };
        let protocol = elected(members).ok_or_else(malformed)?;
        let mut value = GroupMetadataValue {
            protocol_type: migration::CONSUMER.to_owned(),
            generation: self.roster.epoch,
            protocol: Some(protocol.clone()),
            leader: members.first().map(|(member, _)| member.id.clone()),
            current_state_timestamp: scene.now.wall_ms,
            members: Vec::new(),
        };
        let mut protocols = BTreeMap::new();
        for (member, id) in members {
            let written =
                self.classic_member_record(scene.image, member, id, &protocol).ok_or_else(malformed)?;
            value.members.push(written);
            protocols.insert(member.id.clone(), spoken(member));
        }
        records.push((GroupMetadataKey { group: self.roster.id.clone() }, Some(value)).into());
        tracing::info!(group = %self.roster.id, "a consumer group becomes a classic group");
        Ok(Downgrade { rebalance, protocols })
    }

    fn classic_member_record(
        &self,
        image: &Image,
        member: &Member,
        target_of: &str,
        protocol: &str,
    ) -> Option<MemberMetadata> {
        let classic = member.classic()?;
        let spoken = classic.supported_protocols.iter().find(|spoken| spoken.name == protocol)?;
        let target = self.roster.target.of(target_of);
        let topics = target.iter().map(|(topic, partitions)| (*topic, partitions.iter().copied().collect()));
        let metadata = &member.metadata;
        Some(MemberMetadata {
            member_id: member.id.clone(),
            group_instance_id: metadata.instance_id.clone(),
            client_id: metadata.client_id.clone(),
            client_host: metadata.client_host.clone(),
            rebalance_timeout: metadata.rebalance_timeout_ms,
            session_timeout: classic.session_timeout_ms,
            subscription: spoken.metadata.clone(),
            assignment: embedded::assignment(image, embedded::version(&spoken.metadata)?, topics),
        })
    }
}

/// What a member of a classic group has, of what still exists.
fn had(image: &Image, member: &classic::Member) -> Result<Partitions, &'static str> {
    let given = embedded::given(&member.assignment).ok_or("the embedded consumer protocol is malformed")?;
    if given.user_data.is_some_and(|data| !data.is_empty()) {
        return Err(
            "an unsupported custom assignor is in use. Please refer to the documentation or switch to a \
                    default assignor before re-attempting the upgrade",
        );
    }
    let mut had = Partitions::new();
    for topic in given.assigned_partitions {
        if let Some(known) = image.topics.named(&topic.topic) {
            had.insert(known.id, topic.partitions.into_iter().collect::<BTreeSet<i32>>());
        }
    }
    Ok(had)
}

fn converted(
    classic: &ClassicGroup,
    member: &classic::Member,
    had: &Partitions,
) -> Result<Member, &'static str> {
    let generation = classic.generation();
    // A group that has not agreed upon a protocol yet has given nobody anything: the dearest is as good as another.
    let metadata = match classic.protocol() {
        Some(protocol) => member.metadata(protocol),
        None => member.protocols.first().map(|protocol| &protocol.metadata),
    };
    let subscription =
        metadata.and_then(embedded::subscription).ok_or("the embedded consumer protocol is malformed")?;
    let supported_protocols = member
        .protocols
        .iter()
        .map(|protocol| ClassicProtocol { name: protocol.name.clone(), metadata: protocol.metadata.clone() });
    let mut value = ConsumerGroupMemberMetadataValue {
        instance_id: member.instance_id.clone(),
        rack_id: subscription.rack_id.filter(|rack| !rack.is_empty()),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        subscribed_topic_names: subscription.topics,
        subscribed_topic_regex: Some(String::new()),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        server_assignor: None,
        classic_member_metadata: Some(ClassicMemberMetadata {
            session_timeout_ms: member.session_timeout_ms,
            supported_protocols: supported_protocols.collect(),
        }),
    };
    sort_names(&mut value.subscribed_topic_names);
    let with_epochs = |(topic, partitions): (&TopicId, &BTreeSet<i32>)| {
        (*topic, partitions.iter().map(|partition| (*partition, generation)).collect())
    };
    Ok(Member {
        metadata: Arc::new(value),
        epoch: generation,
        previous_epoch: generation,
        state: MemberState::Stable,
        assigned: Arc::new(had.iter().map(with_epochs).collect()),
        ..Member::new(&member.id)
    })
}

fn spoken(member: &Member) -> Vec<JoinGroupRequestProtocol> {
    let protocols = member.classic().map(|classic| &*classic.supported_protocols).unwrap_or_default();
    let protocol = |protocol: &ClassicProtocol| JoinGroupRequestProtocol {
        name: protocol.name.clone(),
        metadata: protocol.metadata.clone(),
    };
    protocols.iter().map(protocol).collect()
}

/// Of the protocols that all members speak the one that most like best; of equals the first member's dearest.
fn elected(members: &[(&Member, &str)]) -> Option<String> {
    let names = |member: &Member| -> Vec<String> { spoken(member).into_iter().map(|p| p.name).collect() };
    let all: Vec<Vec<String>> = members.iter().map(|(member, _)| names(member)).collect();
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for names in &all {
        let vote = names.iter().find(|name| all.iter().all(|others| others.contains(name)))?;
        *votes.entry(vote).or_default() += 1;
    }
    let most = votes.values().max().copied()?;
    all.first()?.iter().find(|name| votes.get(&***name) == Some(&most)).cloned()
}
