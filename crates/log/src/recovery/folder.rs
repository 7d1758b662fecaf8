//! What lies in a partition's folder, once unfinished business has been finished or undone.
//!
//! A `.deleted` file was on its way out. `.cleaned` files are compaction's unfinished work; `.swap` files its finished
//! work, waiting to take the place of what they replace, unless unfinished work at a lower offset shows that they
//! belong to a split that was not completed.

use std::collections::BTreeSet;

use ottla_protocol::Offset;

use crate::disk::{DiskError, EntryKind};
use crate::frame::Walk;
use crate::place::{
    CLEANED, DELETED, LOG, OFFSET_INDEX, Place, SNAPSHOT, SWAP, TIME_INDEX, TRANSACTION_INDEX, parse_name,
};

/// The files of a log, by what they are.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// Bases of the segments, rising.
    pub segments: Vec<Offset>,
    /// Offsets of the producer snapshots.
    pub snapshots: Vec<Offset>,
    offset_indexes: BTreeSet<Offset>,
    time_indexes: BTreeSet<Offset>,
}

impl Folder {
    /// Makes the folder if need be, puts it in order and says what is in it.
    pub fn tidy(place: &Place) -> Result<Self, DiskError> {
        let names = match names(place) {
            Err(error) if error.is_missing() => {
                place.disk.create_dir(&place.dir)?;
                Vec::new()
            }
            result => result?,
        };
        let is_unfinished =
            |name: &String| name.ends_with(DELETED) || name.ends_with(CLEANED) || name.ends_with(SWAP);
        let names = if names.iter().any(is_unfinished) { finish(place, names)? } else { names };
        Self::sort(place, &names)
    }

    pub fn has_indexes(&self, base: Offset) -> bool {
        self.offset_indexes.contains(&base) && self.time_indexes.contains(&base)
    }

    fn sort(place: &Place, names: &[String]) -> Result<Self, DiskError> {
        let mut folder = Self::default();
        let mut indexes = Vec::new();
        for name in names {
            match parse_name(name) {
                Some((base, LOG)) => folder.segments.push(base),
                Some((offset, SNAPSHOT)) => folder.snapshots.push(offset),
                Some((base, suffix @ (OFFSET_INDEX | TIME_INDEX | TRANSACTION_INDEX))) => {
                    indexes.push((base, suffix));
                }
                _ => {}
            }
        }
        folder.segments.sort_unstable();
        for (base, suffix) in indexes {
            if folder.segments.binary_search(&base).is_err() {
                tracing::warn!(%base, suffix, dir = %place.dir.display(), "an index without its log is removed");
                place.disk.remove(&place.path(base, suffix))?;
            } else if suffix == OFFSET_INDEX {
                folder.offset_indexes.insert(base);
            } else if suffix == TIME_INDEX {
                folder.time_indexes.insert(base);
            }
        }
        Ok(folder)
    }
}

/// Completes swaps and throws away what was not completed; the names that are left are the answer.
fn finish(place: &Place, names: Vec<String>) -> Result<Vec<String>, DiskError> {
    let offset = |name: &String| parse_name(name).map(|(offset, _)| offset);
    let cleaned = names.iter().filter(|name| name.ends_with(CLEANED)).filter_map(offset).min();
    let remove = |name: &String| place.disk.remove(&place.dir.join(name)).map(drop);
    let mut swaps = Vec::new();
    for name in &names {
        // The metadata log removes its snapshots itself.
        let is_deleted = name.ends_with(DELETED) && !name.ends_with(".checkpoint.deleted");
        if is_deleted || name.ends_with(CLEANED) {
            remove(name)?;
        } else if name.ends_with(SWAP) {
            match offset(name) {
                Some(base) if cleaned.is_none_or(|cleaned| base < cleaned) => swaps.push(name.clone()),
                _ => remove(name)?,
            }
        }
    }
    let mut replaced: Option<(Offset, Offset)> = None;
    for name in &swaps {
        if let Some((base, ".log.swap")) = parse_name(name) {
            let next = next_offset(place, name, base)?;
            let (from, to) = replaced.unwrap_or((base, next));
            replaced = Some((from.min(base), to.max(next)));
        }
    }
    if let Some((from, to)) = replaced {
        for name in names.iter().filter(|name| !name.ends_with(SWAP)) {
            let is_segments = parse_name(name).is_some_and(|(base, suffix)| {
                base >= from
                    && base < to
                    && [LOG, OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX, SNAPSHOT].contains(&suffix)
            });
            if is_segments {
                remove(name)?;
            }
        }
    }
    for name in &swaps {
        let final_name = name.strip_suffix(SWAP).unwrap_or(name);
        place.disk.rename(&place.dir.join(name), &place.dir.join(final_name))?;
    }
    place.disk.sync_dir(&place.dir)?;
    self::names(place)
}

/// The offset after the last batch of a finished file.
fn next_offset(place: &Place, name: &str, base: Offset) -> Result<Offset, DiskError> {
    let file = place.disk.open(&place.dir.join(name))?;
    let length = u32::try_from(file.length()?).unwrap_or(u32::MAX);
    let mut walk = Walk::new(place, base, &*file, (0, length));
    let mut next = base;
    loop {
        match walk.next() {
            Ok(Some((_, frame))) => next = frame.next_offset(),
            Ok(None) => return Ok(next),
            // Recovery looks at it again; here it only matters how far it surely reaches.
            Err(error) if error.is_corrupt() => return Ok(next),
            Err(error) => return Err(error),
        }
    }
}

fn names(place: &Place) -> Result<Vec<String>, DiskError> {
    let entries = place.disk.list(&place.dir)?;
    Ok(entries.into_iter().filter(|entry| entry.kind == EntryKind::File).map(|entry| entry.name).collect())
}
