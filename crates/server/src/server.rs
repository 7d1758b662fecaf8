//! A node in this process: started, followed through its life, stopped.
//!
//! The order of a start: addresses are bound, so that a taken port is said at once; the directories are locked and,
//! where nobody else could be harmed, formatted; the machines are made; their threads begin; the controller listens;
//! and when the broker has been let in, clients may come.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use ottla_broker::control::{self, Stage};
use ottla_broker::core::CoreId;
use ottla_broker::home::Random;
use ottla_broker::home::{self, Home, HomeError};
use ottla_broker::node::Birth;
use ottla_broker::{Control, Core, Node, Shard};
use ottla_log::{Disk, OsDisk};
use ottla_metadata::config::NodeConfig;
use ottla_metadata::config::listeners::SecurityProtocol;
use ottla_metadata::features::{self, MetadataVersion};
use ottla_protocol::Uuid;
use ottla_protocol::records::metadata::{FeatureLevelRecord, MetadataRecord};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::admission::Admission;
use crate::clock::Clock;
use crate::control_thread::{self, Event};
use crate::core_thread;
use crate::inbox::{Inbox, Sender, inbox};
use crate::limits::{Limits, first_kept_descriptor};
use crate::listener::{Acceptor, Bound, Reception, SocketOptions, bind};
use crate::posts::{Mail, Posts};
use crate::system;

/// How long the threads may take to end before the process ends without them.
const ENDING: Duration = Duration::from_secs(3);

/// A running node.
pub struct Server {
    facts: Facts,
    events: UnboundedReceiver<Event>,
    control: Sender<control::Input>,
    cores: Vec<Sender<Mail>>,
    threads: Vec<JoinHandle<()>>,
    admission: Admission,
    clock: Clock,
    /// Bound, and opened when clients may come.
    closed: Vec<Bound>,
    open: Vec<Acceptor>,
}

/// What can be said of a node once it has started.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The node.
    pub node: Arc<Node>,
    /// Where it listens, in the order of [`Node::listeners`].
    pub addresses: Vec<SocketAddr>,
    /// Its data directories.
    pub directories: Vec<PathBuf>,
    /// Those that were formatted just now.
    pub formatted: Vec<PathBuf>,
}

/// What a node's life comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// It has gone on from one stage to the next.
    Stage(Stage, Stage),
    /// Clients are served.
    Serving,
    /// It has stopped in good order.
    Finished,
    /// It cannot go on, for this reason.
    Failed(String),
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// With this configuration it cannot; the message says what to change.
    #[error("{0:#}")]
    Configuration(anyhow::Error),
    /// The machine or the disk did not let it.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl Server {
    /// Starts a node with `cores` cores; then follow it with [`next`](Self::next).
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: &NodeConfig, cores: u16) -> Result<Self, StartError> {
        check(config).map_err(StartError::Configuration)?;
        system::raise_open_files();
        let clock = Clock::start();
        let mut random = Random::new(getrandom::u64().map_err(anyhow::Error::from)?);
        let bound = bind_all(config)?;
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let home =
            home::move_in(config, &disk, &bootstrap_records(), &mut random, clock.now()).map_err(homeless)?;
        let birth = Birth {
            cluster_id: home.cluster_id.clone(),
            incarnation: Uuid(random.bytes16()),
            cores,
            ports: bound.iter().map(|bound| bound.address.port()).collect(),
            host: system::host_name(),
        };
        let node = Arc::new(Node::new(config, birth));
        let facts = Facts {
            node: Arc::clone(&node),
            addresses: bound.iter().map(|bound| bound.address).collect(),
            directories: config.log_dirs.iter().map(PathBuf::from).collect(),
            formatted: home.formatted.iter().map(|directory| directory.path.clone()).collect(),
        };
        let control = Control::open(config, node, &home, random.next_u64(), clock.now()).map_err(homeless)?;
        let limits = Limits::of(config);
        let mut server = Self::spawn(facts, control, home, limits, clock)?;
        let is_early = |bound: &Bound| {
            let name = &config.listeners[bound.listener].listener;
            !config.roles.has_broker() || config.early_start_listeners.contains(name)
        };
        let (early, closed) = bound.into_iter().partition(is_early);
        server.closed = closed;
        server.open(early)?;
        Ok(server)
    }

    fn spawn(
        facts: Facts,
        control: Control,
        home: Home,
        limits: Limits,
        clock: Clock,
    ) -> Result<Self, anyhow::Error> {
        let (events_in, events) = unbounded_channel();
        let (to_control, control_inbox) = inbox();
        let cores = facts.node.cores;
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..cores).map(|_| inbox()).unzip();
        let mut threads = Vec::new();
        for (id, inbox) in (0..cores).map(CoreId).zip(inboxes) {
            let posts = Posts::new(&senders, to_control.clone());
            let wiring = core_wiring(id, inbox, posts, clock, &limits, &events_in);
            let (node, directories) = (Arc::clone(&facts.node), Arc::clone(&home.directories));
            let make = move || {
                let shard = Shard::new(id, Arc::clone(&node), directories, clock.now());
                Core::new(id, node, shard)
            };
            threads.push(core_thread::spawn(wiring, make)?);
        }
        let wiring =
            control_thread::Wiring { inbox: control_inbox, cores: senders.clone(), events: events_in, clock };
        threads.push(control_thread::spawn(wiring, move || {
            // The locks on the directories live as long as control does.
            let _home = home;
            control
        })?);
        let admission = Admission::new(limits, usize::from(cores));
        let (closed, open) = (Vec::new(), Vec::new());
        Ok(Self {
            facts,
            events,
            control: to_control,
            cores: senders,
            threads,
            admission,
            clock,
            closed,
            open,
        })
    }

    /// What can be said of the node.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The next turn of the node's life. After [`Life::Finished`] or [`Life::Failed`] there is none.
    pub async fn next(&mut self) -> Life {
        let event = self.events.recv().await;
        match event {
            Some(Event::Stage(from, to)) => {
                if to == Stage::ShuttingDown {
                    self.open.clear();
                }
                Life::Stage(from, to)
            }
            Some(Event::OpenListeners) => {
                let closed = std::mem::take(&mut self.closed);
                match self.open(closed) {
                    Ok(()) => {
                        self.control.send(control::Input::Listening);
                        Life::Serving
                    }
                    Err(error) => Life::Failed(format!("{error:#}")),
                }
            }
            Some(Event::Finished) => Life::Finished,
            Some(Event::Fatal(why)) => Life::Failed(why),
            None => Life::Failed("all threads have ended".to_owned()),
        }
    }

    /// Begins to stop in good order; [`Life::Finished`] will follow.
    pub fn stop(&self) {
        self.control.send(control::Input::Stop);
    }

    /// Ends the threads, and with them the connections that are left.
    pub fn end(mut self) {
        self.open.clear();
        self.cores.iter().for_each(|core| core.send(Mail::End));
        let clock = self.clock;
        let late = clock.now().after(ENDING);
        for thread in self.threads.drain(..) {
            while !thread.is_finished() {
                if clock.now().reached(late) {
                    tracing::warn!("thread {:?} does not end", thread.thread().name().unwrap_or_default());
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn open(&mut self, bound: Vec<Bound>) -> anyhow::Result<()> {
        if bound.is_empty() {
            return Ok(());
        }
        for bound in &bound {
            let name = &self.facts.node.listeners[bound.listener].name;
            tracing::info!(target: "kafka.network", "{name} listens on {}", bound.address);
        }
        let reception = Reception {
            cores: self.cores.clone(),
            admission: self.admission.clone(),
            clock: self.clock,
            first_kept: first_kept_descriptor(system::raise_open_files()),
        };
        self.open.push(Acceptor::open(bound, reception)?);
        Ok(())
    }
}

fn core_wiring(
    id: CoreId,
    inbox: Inbox<Mail>,
    posts: Posts,
    clock: Clock,
    limits: &Limits,
    events: &UnboundedSender<Event>,
) -> core_thread::Wiring {
    let name = format!("core-{}", id.0);
    core_thread::Wiring { name, inbox, posts, clock, limits: limits.clone(), events: events.clone() }
}

/// What this build cannot do is said before anything is touched.
fn check(config: &NodeConfig) -> anyhow::Result<()> {
    for endpoint in &config.listeners {
        anyhow::ensure!(
            endpoint.protocol == SecurityProtocol::Plaintext,
            "listener {} is to speak {}, which this version cannot yet; map it to PLAINTEXT in \
             listener.security.protocol.map",
            endpoint.listener,
            endpoint.protocol.name()
        );
    }
    Ok(())
}

fn bind_all(config: &NodeConfig) -> anyhow::Result<Vec<Bound>> {
    let options = SocketOptions::of(config);
    let bound = config.listeners.iter().enumerate().map(|(listener, endpoint)| {
        bind(listener, endpoint.host.as_deref(), endpoint.port, options)
            .with_context(|| format!("listener {}", endpoint.listener))
    });
    bound.collect()
}

/// The features of a cluster that this node founds.
fn bootstrap_records() -> Vec<Bytes> {
    let version = MetadataVersion::LATEST;
    let metadata = (features::METADATA_VERSION, version.level());
    let levels = std::iter::once(metadata).chain(features::defaults_at(version));
    let record = |(name, feature_level): (&str, i16)| {
        MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.to_owned(), feature_level })
    };
    // These have two fields and a version 0, so they can be written.
    levels.filter_map(|level| record(level).encode(0).ok()).collect()
}

fn homeless(error: HomeError) -> StartError {
    match error {
        HomeError::NotFormatted(_) | HomeError::Disagreement { .. } | HomeError::Format(_) => {
            StartError::Configuration(error.into())
        }
        HomeError::Taken(_) | HomeError::Disk(_) => StartError::Failed(error.into()),
    }
}

#[cfg(test)]
mod tests;
