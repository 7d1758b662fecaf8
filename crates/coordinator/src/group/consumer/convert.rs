//! A consumer group out of a classic one, and a classic one out of a consumer group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
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
use crate::mutant::Mutant;

impl ConsumerGroup {
    /// The group that a classic one becomes: everybody has what he may have had, and the generation is the epoch.
    pub(in crate::group) fn from_classic(
        scene: &Scene<'_>,
        classic: &ClassicGroup,
    ) -> Result<Self, &'static str> {
        let mut group = Self::new(classic.id());
        let roster = &mut group.roster;
        roster.epoch = classic.generation();
        roster.target.epoch = classic.generation();
        let held = held(scene.image, classic)?;
        for (member, held) in classic.members().zip(held) {
            roster.put_member(converted(classic, member, &held)?);
            roster.target.members.insert(member.id.clone(), Arc::new(held));
        }
        let names = roster.subscriptions.topics.names();
        roster.metadata_hash = group.topics.hash(scene.image, names);
        if !group.reads_everything(scene.image) {
            // The classic group owed a rebalance: a target has to be reckoned, whether the newcomer asks for it or not.
            group.roster.epoch = group.roster.epoch.saturating_add(1);
        }
        Ok(group)
    }

    /// Whether every partition of the topics that are wanted is in somebody's hands.
    fn reads_everything(&self, image: &Image) -> bool {
        let owners = &self.roster.owners;
        let mut topics = self.roster.subscriptions.topics.names().filter_map(|name| image.topics.named(name));
        topics.all(|topic| (0..topic.partition_count).all(|number| owners.has(topic.id, number)))
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
        let members = self.roster.members.values();
        let stay: Vec<&Member> = members.filter(|member| !leaving.contains(&member.id)).collect();
        self.roster.end(|id| id, records);
        self.classic_record(scene, &stay, Some("members of the consumer protocol left"), records)
    }

    /// The same when a static member has come back as one of the classic protocol. Unless everybody has arrived in the
    /// group's epoch, there has to be a rebalance: a classic group knows of nobody who is on his way.
    pub(super) fn downgrade_with(
        &self,
        scene: &Scene<'_>,
        (joining, epoch): (&Member, i32),
        records: &mut Vec<Record>,
    ) -> Result<Downgrade, Denied> {
        let instance = joining.metadata.instance_id.as_deref().unwrap_or_default();
        let replaced = self.roster.static_members.get(instance).map_or("", String::as_str);
        let others = self.roster.members.values().filter(|member| member.id != replaced);
        let stay: Vec<&Member> = others.chain([joining]).collect();
        self.roster.end(|id| if id == replaced { &joining.id } else { id }, records);
        let have_arrived = stay.iter().all(|member| member.is_reconciled_to(epoch));
        let rebalance = (!have_arrived).then_some("not everybody had what he shall have");
        self.classic_record(scene, &stay, rebalance, records)
    }

    /// For a planted bug: a member that has its target.
    fn as_it_shall_be(&self, member: &Member) -> Member {
        let target = self.roster.target.of(&member.id);
        let topics = target.iter().map(|(topic, partitions)| {
            (*topic, partitions.iter().map(|partition| (*partition, member.epoch)).collect())
        });
        Member { assigned: Arc::new(topics.collect()), revoking: Arc::default(), ..member.clone() }
    }

    fn classic_record(
        &self,
        scene: &Scene<'_>,
        members: &[&Member],
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
            leader: members.first().filter(|_| rebalance.is_none()).map(|member| member.id.clone()),
            current_state_timestamp: scene.now.wall_ms,
            members: Vec::new(),
        };
        let mut protocols = BTreeMap::new();
        let writes_target = scene.settings.planted.has(Mutant::ConversionWritesTarget);
        for member in members {
            let as_it_shall_be = writes_target.then(|| self.as_it_shall_be(member));
            let member = as_it_shall_be.as_ref().unwrap_or(member);
            value.members.push(classic_record_of(scene.image, member, &protocol).ok_or_else(malformed)?);
            protocols.insert(member.id.clone(), spoken(member));
        }
        records.push((GroupMetadataKey { group: self.roster.id.clone() }, Some(value)).into());
        Ok(Downgrade { rebalance, protocols })
    }
}

/// A member as the classic group's record has it. What it has counts, not what it shall have: when the group becomes a
/// consumer group again before everybody has been told, nobody else may be given that. (Kafka 4.4 writes the target.)
fn classic_record_of(image: &Image, member: &Member, protocol: &str) -> Option<MemberMetadata> {
    let classic = member.classic()?;
    let spoken = classic.supported_protocols.iter().find(|spoken| spoken.name == protocol)?;
    let mut has: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for (topic, partitions) in member.assigned.iter().chain(&*member.revoking) {
        has.entry(*topic).or_default().extend(partitions.keys());
    }
    let metadata = &member.metadata;
    Some(MemberMetadata {
        member_id: member.id.clone(),
        group_instance_id: metadata.instance_id.clone(),
        client_id: metadata.client_id.clone(),
        client_host: metadata.client_host.clone(),
        rebalance_timeout: metadata.rebalance_timeout_ms,
        session_timeout: classic.session_timeout_ms,
        subscription: spoken.metadata.clone(),
        assignment: embedded::assignment(image, embedded::version(&spoken.metadata)?, has.into_iter()),
    })
}

/// What each member of a classic group may have, of what still exists: what it was given, and what it said it had when
/// it joined, for it may not have heard of the rest yet. What is claimed twice is the first one's, and his who was given
/// it before all.
fn held(image: &Image, classic: &ClassicGroup) -> Result<Vec<Partitions>, &'static str> {
    let mut taken = BTreeSet::new();
    let mut held = Vec::new();
    for member in classic.members() {
        let given =
            embedded::given(&member.assignment).ok_or("the embedded consumer protocol is malformed")?;
        if given.user_data.is_some_and(|data| !data.is_empty()) {
            return Err(
                "an unsupported custom assignor is in use. Please refer to the documentation or switch \
                        to a default assignor before re-attempting the upgrade",
            );
        }
        let given = given.assigned_partitions.iter().map(|topic| (&*topic.topic, &*topic.partitions));
        let mut partitions = Partitions::new();
        take(image, given, &mut taken, &mut partitions);
        held.push(partitions);
    }
    for (member, partitions) in classic.members().zip(&mut held) {
        let said = metadata_of(classic, member).and_then(embedded::subscription);
        let owned = said.map(|subscription| subscription.owned_partitions).unwrap_or_default();
        let owned = owned.iter().map(|topic| (&*topic.topic, &*topic.partitions));
        take(image, owned, &mut taken, partitions);
    }
    Ok(held)
}

fn take<'a>(
    image: &Image,
    claims: impl Iterator<Item = (&'a str, &'a [i32])>,
    taken: &mut BTreeSet<(TopicId, i32)>,
    partitions: &mut Partitions,
) {
    for (name, numbers) in claims {
        let Some(topic) = image.topics.named(name) else { continue };
        for number in numbers {
            if taken.insert((topic.id, *number)) {
                partitions.entry(topic.id).or_default().insert(*number);
            }
        }
    }
}

/// What a member says in the group's protocol. A group that has not agreed upon one yet has given nobody anything: the
/// member's dearest is as good as another.
fn metadata_of<'a>(classic: &ClassicGroup, member: &'a classic::Member) -> Option<&'a Bytes> {
    match classic.protocol() {
        Some(protocol) => member.metadata(protocol),
        None => member.protocols.first().map(|protocol| &protocol.metadata),
    }
}

fn converted(
    classic: &ClassicGroup,
    member: &classic::Member,
    had: &Partitions,
) -> Result<Member, &'static str> {
    let generation = classic.generation();
    let subscription = metadata_of(classic, member)
        .and_then(embedded::subscription)
        .ok_or("the embedded consumer protocol is malformed")?;
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
fn elected(members: &[&Member]) -> Option<String> {
    let names = |member: &Member| -> Vec<String> { spoken(member).into_iter().map(|p| p.name).collect() };
    let all: Vec<Vec<String>> = members.iter().map(|member| names(member)).collect();
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for names in &all {
        let vote = names.iter().find(|name| all.iter().all(|others| others.contains(name)))?;
        *votes.entry(vote).or_default() += 1;
    }
    let most = votes.values().max().copied()?;
    all.first()?.iter().find(|name| votes.get(&***name) == Some(&most)).cloned()
}
