//! From images to cores: first every core lets go of what is to leave this node, then all of them get the image.
//!
//! A topic that is deleted and made again under its name has the same folder, perhaps on another core, and the same
//! rows in the checkpoint files. So nobody hears of the new one before the old one's folder and rows are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_metadata::{Delta, Image};
use ottla_protocol::{NodeId, Now, PartitionId};

use crate::control::message::Output;
use crate::control::run::Control;
use crate::core::{CoreId, Message, Publication};

/// An image on its way to the cores.
#[derive(Debug, Default)]
pub struct Publishing {
    next: Option<(Image, Delta)>,
    /// Cores that have not let go yet.
    waiting: BTreeSet<CoreId>,
}

impl Control {
    /// Tells every core of a new image, once they have let go of what is not in it any more.
    pub(super) fn publish(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.publishing.next.is_none() {
            let Some((image, delta)) = self.log.publish() else { return };
            let leaving = leaving(&image, &delta, self.node.id);
            self.publishing.next = Some((image, delta));
            if !leaving.is_empty() {
                for &id in &leaving {
                    self.places.forget(id);
                }
                let leaving = Arc::new(leaving);
                for core in (0..self.node.cores).map(CoreId) {
                    self.publishing.waiting.insert(core);
                    out.push(Output::ToCore(core, Message::LetGo(Arc::clone(&leaving))));
                }
            }
        }
        if self.publishing.waiting.is_empty()
            && let Some((image, delta)) = self.publishing.next.take()
        {
            self.send(now, image, delta, out);
        }
    }

    /// A core has let go.
    pub(super) fn let_go(&mut self, core: CoreId) {
        self.publishing.waiting.remove(&core);
    }

    fn send(&mut self, now: Now, image: Image, delta: Delta, out: &mut Vec<Output>) {
        if image.version().has_cordoned_directories() {
            let settings = image.configs.settings(&self.node.settings, self.node.id);
            let cordoned = self.places.cordon(&settings.node().list("cordoned.log.dirs"));
            self.registration.cordon(now, cordoned);
        }
        let mut places = BTreeMap::new();
        for &id in &delta.partitions {
            let Some(partition) = image.topics.partition(id) else { continue };
            let Some(topic) = image.topics.get(id.topic) else { continue };
            if partition.replicas.contains(&self.node.id) {
                self.checkpoints.make_way(&topic.name, id);
                let place = self.places.place(&topic.name, id, partition.directory(self.node.id));
                places.insert(id, place);
            }
        }
        let failures = self.checkpoints.write_outdated();
        self.directories_failed(now, failures, out);
        let publication = Arc::new(Publication { image: Arc::new(image), delta, places });
        for core in (0..self.node.cores).map(CoreId) {
            out.push(Output::ToCore(core, Message::Image(Arc::clone(&publication))));
        }
    }
}

/// The partitions that this node had and has no more.
fn leaving(image: &Image, delta: &Delta, me: NodeId) -> BTreeSet<PartitionId> {
    let before = &delta.before.topics;
    let deleted = delta.topics_deleted.keys().flat_map(|&topic| before.partitions(topic));
    let deleted = deleted.filter(|(_, partition)| partition.replicas.contains(&me)).map(|(id, _)| id);
    let has = |image: &Image, id: PartitionId| {
        image.topics.partition(id).is_some_and(|partition| partition.replicas.contains(&me))
    };
    let moved = delta.partitions.iter().copied().filter(|&id| has(&delta.before, id) && !has(image, id));
    deleted.chain(moved).collect()
}
