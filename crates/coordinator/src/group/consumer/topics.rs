//! What a group remembers of the topics in the image: their hashes, and whether one of its own has changed since it
//! looked at them last. Soft: a coordinator that has just taken over knows nothing and looks.

use std::collections::BTreeMap;

use ottla_metadata::Image;
use ottla_metadata::image::topics::Topics;
use ottla_protocol::Offset;

use super::hash;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownTopics {
    end_offset: Offset,
    topics: Topics,
    /// The offset of the last image that brought new topics; `None` before the first look.
    new_topics: Option<i64>,
    hashes: BTreeMap<String, i64>,
}

impl KnownTopics {
    /// Takes in an image, and says whether topics that are wanted may have changed.
    pub(super) fn look(&mut self, image: &Image, is_wanted: impl Fn(&str) -> bool) -> bool {
        if self.new_topics.is_some() && self.end_offset == image.end_offset {
            return false;
        }
        let known = std::mem::replace(&mut self.topics, image.topics.clone());
        self.end_offset = image.end_offset;
        if self.new_topics.is_none() {
            self.new_topics = Some(version(image));
            return true;
        }
        let changes = image.topics.changes_since(&known);
        if !changes.created.is_empty() {
            self.new_topics = Some(version(image));
        }
        let changed = changes.changed.iter().filter_map(|id| image.topics.get(*id));
        let mut has_changed = false;
        for topic in changes.deleted.iter().chain(changed) {
            self.hashes.remove(&*topic.name);
            has_changed |= is_wanted(&topic.name);
        }
        has_changed
    }

    /// The offset of the last image that brought new topics.
    pub(super) fn new_topics(&self) -> i64 {
        self.new_topics.unwrap_or(-1)
    }

    /// The hash of those topics that exist; the names come in their order, and all that are to be remembered.
    pub(super) fn hash<'a>(&mut self, image: &Image, names: impl Iterator<Item = &'a str>) -> i64 {
        let mut hashes = BTreeMap::new();
        for name in names {
            let Some(topic) = image.topics.named(name) else { continue };
            let hash = self.hashes.remove(name).unwrap_or_else(|| hash::topic(image, topic));
            hashes.insert(name.to_owned(), hash);
        }
        self.hashes = hashes;
        hash::group(self.hashes.values().copied())
    }
}

/// The offset of the last record in an image: its version in the records of patterns.
pub(super) fn version(image: &Image) -> i64 {
    image.end_offset.0 - 1
}
