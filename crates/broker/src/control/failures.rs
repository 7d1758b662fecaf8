//! What a node does when a log directory fails: its partitions are refused, the others go on, and the controller hears
//! of it (KIP-112, KIP-858).
//!
//! Without the directory of the metadata log, or without any, there is nothing left to go on with.

use ottla_controller::Command as Decide;
use ottla_log::DiskError;
use ottla_protocol::Now;

use crate::control::message::Output;
use crate::control::pending::Asker;
use crate::control::run::Control;
use crate::core::{CoreId, Message};

impl Control {
    /// A directory has failed, under a core or here.
    pub(super) fn directory_failed(
        &mut self,
        now: Now,
        directory: usize,
        error: &str,
        out: &mut Vec<Output>,
    ) {
        self.checkpoints.directory_failed(directory);
        if !self.places.directory_failed(directory) {
            return;
        }
        let path = self.directories.path(directory);
        tracing::error!(directory = %path.display(), error, "a log directory has failed");
        if path == self.metadata_directory {
            self.fatal(format!("the directory of the metadata log has failed: {error}"), out);
        } else if self.places.working() == 0 {
            self.fatal(format!("all log directories have failed: {error}"), out);
        } else {
            for core in (0..self.node.cores).map(CoreId) {
                out.push(Output::ToCore(core, Message::DirectoryFailed(directory)));
            }
            self.registration.directories_failed(self.places.failed().collect());
            self.registration.hurry(now);
        }
    }

    /// As [`Control::directory_failed`], for several.
    pub(super) fn directories_failed(
        &mut self,
        now: Now,
        failures: Vec<(usize, DiskError)>,
        out: &mut Vec<Output>,
    ) {
        for (directory, error) in failures {
            self.directory_failed(now, directory, &error.to_string(), out);
        }
    }

    /// Tells the controller where partitions lie, if it does not know; whether there was anything to tell.
    pub(super) fn tell_places(&mut self, now: Now, out: &mut Vec<Output>) -> bool {
        let epoch = self.registration.broker_epoch();
        if epoch < 0 || self.leading.is_none() {
            return false;
        }
        let Some(request) = self.places.tell(self.node.id.0, epoch) else { return false };
        self.decide(now, Asker::Places, Decide::AssignReplicasToDirs(request), out);
        true
    }
}
