//! Files and folders of the made-up disk: as a process sees them, and as they would be without power.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Crash, lock};
use crate::disk::EntryKind;

const SECTOR: usize = 512;

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Arc<Mutex<Content>>),
    Dir(Folder),
}

/// A folder; a clone is the same folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Folder(Arc<Mutex<Names>>);

#[derive(Debug, Default)]
pub(super) struct Names {
    pub entries: BTreeMap<String, Node>,
    /// Names as they would be after a power loss.
    pub durable: BTreeMap<String, Node>,
    pub unsynced: Vec<Naming>,
}

/// One change of names, atomic.
#[derive(Clone, Debug)]
pub(super) struct Naming {
    gone: Option<String>,
    come: Option<(String, Node)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub now: Vec<u8>,
    pub durable: Vec<u8>,
    pub unsynced: Vec<Change>,
    pub modified_ms: i64,
    /// When it was last used, counted in dropped page caches.
    pub used: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Node {
    pub fn kind(&self) -> EntryKind {
        match self {
            Self::File(_) => EntryKind::File,
            Self::Dir(_) => EntryKind::Dir,
        }
    }
}

impl Node {
    /// Whether both are the same file or folder.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(two)) => Arc::ptr_eq(one, two),
            (Self::Dir(one), Self::Dir(two)) => Arc::ptr_eq(&one.0, &two.0),
            _ => false,
        }
    }
}

impl Naming {
    pub fn apply(self, names: &mut BTreeMap<String, Node>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((name, node)) = self.come {
            names.insert(name, node);
        }
    }
}

impl Folder {
    pub fn names(&self) -> MutexGuard<'_, Names> {
        lock(&self.0)
    }

    pub fn dir(&self, path: &Path) -> Result<Self, io::Error> {
        let mut dir = self.clone();
        for part in parts(path) {
            let next = match dir.names().entries.get(part) {
                Some(Node::Dir(next)) => next.clone(),
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => return Err(io::ErrorKind::NotFound.into()),
            };
            dir = next;
        }
        Ok(dir)
    }

    pub fn parent<'a>(&self, path: &'a Path) -> Result<(Self, &'a str), io::Error> {
        let name = parts(path).last().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.dir(path.parent().unwrap_or(Path::new("")))?, name))
    }

    pub fn node(&self, path: &Path) -> Result<Node, io::Error> {
        let (dir, name) = self.parent(path)?;
        let node = dir.names().entries.get(name).cloned();
        node.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub fn file(&self, path: &Path) -> Result<Arc<Mutex<Content>>, io::Error> {
        match self.node(path)? {
            Node::File(content) => Ok(content),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub fn name(&self, path: &Path, node: Node) -> Result<(), io::Error> {
        let (dir, name) = self.parent(path)?;
        dir.names().record(Naming { gone: None, come: Some((name.to_owned(), node)) });
        Ok(())
    }

    pub fn forget(&self, path: &Path) -> Result<Node, io::Error> {
        let node = self.node(path)?;
        let (dir, name) = self.parent(path)?;
        dir.names().record(Naming { gone: Some(name.to_owned()), come: None });
        Ok(node)
    }

    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), io::Error> {
        if from.parent() != to.parent() {
            let node = self.forget(from)?;
            return self.name(to, node);
        }
        let node = self.node(from)?;
        let (dir, name) = self.parent(from)?;
        let come = parts(to).last().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        dir.names().record(Naming { gone: Some(name.to_owned()), come: Some((come, node)) });
        Ok(())
    }

    pub fn bytes(&self) -> u64 {
        let of = |node: &Node| match node {
            Node::File(content) => lock(content).now.len() as u64,
            Node::Dir(dir) => dir.bytes(),
        };
        self.names().entries.values().map(of).sum()
    }

    /// The same content, independent, and all of it on the disk.
    pub fn copy(&self) -> Self {
        let of = |node: &Node| match node {
            Node::File(content) => {
                let Content { now, modified_ms, .. } = lock(content).clone();
                let content = Content { durable: now.clone(), now, modified_ms, ..Content::default() };
                Node::File(Arc::new(Mutex::new(content)))
            }
            Node::Dir(dir) => Node::Dir(dir.copy()),
        };
        let entries: BTreeMap<String, Node> =
            self.names().entries.iter().map(|(name, node)| (name.clone(), of(node))).collect();
        Self(Arc::new(Mutex::new(Names { durable: entries.clone(), entries, unsynced: Vec::new() })))
    }

    /// The same state, independent. A node that has several names keeps them all.
    pub fn fork(&self) -> Self {
        let mut forked = Vec::new();
        self.fork_into(&mut forked)
    }

    pub fn fork_into(&self, forked: &mut Vec<(Node, Node)>) -> Self {
        let names = self.names();
        let mut of = |node: &Node| {
            if let Some((_, there)) = forked.iter().find(|(here, _)| here.is(node)) {
                return there.clone();
            }
            let there = match node {
                Node::File(content) => Node::File(Arc::new(Mutex::new(lock(content).clone()))),
                Node::Dir(dir) => Node::Dir(dir.fork_into(forked)),
            };
            forked.push((node.clone(), there.clone()));
            there
        };
        let entries = names.entries.iter().map(|(name, node)| (name.clone(), of(node))).collect();
        let durable = names.durable.iter().map(|(name, node)| (name.clone(), of(node))).collect();
        let mut naming = |naming: &Naming| {
            let come = naming.come.as_ref().map(|(name, node)| (name.clone(), of(node)));
            Naming { gone: naming.gone.clone(), come }
        };
        let unsynced = names.unsynced.iter().map(&mut naming).collect();
        Self(Arc::new(Mutex::new(Names { entries, durable, unsynced })))
    }

    pub fn lose(&self, loss: &mut Loss) {
        let mut names = self.names();
        let unsynced = std::mem::take(&mut names.unsynced);
        let kept = match loss.crash {
            Crash::Process => unsynced.len(),
            Crash::Power => 0,
            Crash::Torn { .. } | Crash::Scattered { .. } => loss.random.below(unsynced.len() + 1),
        };
        loss.lost += (unsynced.len() - kept) as u64;
        for naming in unsynced.into_iter().take(kept) {
            naming.apply(&mut names.durable);
        }
        names.entries = names.durable.clone();
        for node in names.entries.values() {
            match node {
                Node::File(content) => lock(content).lose(loss),
                Node::Dir(dir) => dir.lose(loss),
            }
        }
    }
}

impl Names {
    pub fn record(&mut self, naming: Naming) {
        naming.clone().apply(&mut self.entries);
        self.unsynced.push(naming);
    }
}

impl Content {
    pub fn write(&mut self, at: usize, bytes: Vec<u8>, now_ms: i64) {
        self.modified_ms = now_ms;
        self.record(Change::Write { at, bytes });
    }

    pub fn set_length(&mut self, length: usize, now_ms: i64) {
        self.modified_ms = now_ms;
        self.record(Change::Length(length));
    }

    pub fn record(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.unsynced.push(change);
    }

    pub fn lose(&mut self, loss: &mut Loss) {
        let unsynced = std::mem::take(&mut self.unsynced);
        match loss.crash {
            Crash::Process => self.durable.clone_from(&self.now),
            Crash::Power => loss.lost += unsynced.len() as u64,
            Crash::Torn { .. } => self.keep_some(unsynced, loss),
            Crash::Scattered { .. } => {
                for change in unsynced {
                    loss.scatter(change, &mut self.durable);
                }
            }
        }
        self.now.clone_from(&self.durable);
    }

    pub fn keep_some(&mut self, unsynced: Vec<Change>, loss: &mut Loss) {
        let kept = loss.random.below(unsynced.len() + 1);
        loss.lost += (unsynced.len() - kept) as u64;
        for (i, mut change) in unsynced.into_iter().take(kept).enumerate() {
            if let (Change::Write { bytes, .. }, true) = (&mut change, i + 1 == kept) {
                bytes.truncate(loss.random.below(bytes.len() + 1));
                loss.torn += 1;
            }
            change.apply(&mut self.durable);
        }
    }
}

impl Change {
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write { at, bytes: new } => {
                if bytes.len() < at + new.len() {
                    bytes.resize(at + new.len(), 0);
                }
                bytes[*at..at + new.len()].copy_from_slice(new);
            }
        }
    }
}

/// A power loss under way.
pub(super) struct Loss {
    crash: Crash,
    random: Random,
    pub lost: u64,
    pub torn: u64,
}

impl Loss {
    pub fn new(crash: Crash, seed: u64) -> Self {
        Self { crash, random: Random(seed), lost: 0, torn: 0 }
    }

    /// Applies the sectors of a write that made it; the length is kept, as a journal keeps it.
    pub fn scatter(&mut self, change: Change, durable: &mut Vec<u8>) {
        let Change::Write { at, bytes } = change else { return change.apply(durable) };
        let whole = durable.len().max(at + bytes.len());
        durable.resize(whole, 0);
        let mut missing = false;
        for (i, sector) in bytes.chunks(SECTOR).enumerate() {
            if self.random.below(4) == 0 {
                missing = true;
            } else {
                let at = at + i * SECTOR;
                durable[at..at + sector.len()].copy_from_slice(sector);
            }
        }
        self.lost += u64::from(missing);
    }
}

/// Splitmix64: small, and the same everywhere.
pub(super) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or(0)
    }
}

pub(super) fn parts(path: &Path) -> impl Iterator<Item = &str> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    })
}
