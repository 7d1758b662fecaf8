//! A network namespace: a loopback of its own, for those whose ports are fixed. It ends with the value.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::tools::{self, Missing};

/// A namespace, held open by a process that sleeps in it.
pub struct Namespace {
    anchor: Child,
}

impl Namespace {
    /// Makes one, as any user where the system lets users have namespaces.
    ///
    /// # Errors
    ///
    /// `Missing` where a program is not installed or the system does not let us.
    pub fn new() -> Result<Namespace, Missing> {
        tools::program("ip", "apt-get install iproute2").or_else(|missing| match "/usr/sbin/ip" {
            path if std::path::Path::new(path).is_file() => Ok(path.into()),
            _ => Err(missing),
        })?;
        tools::program("unshare", "apt-get install util-linux")?;
        let refused = |why: String| Missing {
            why: format!("no network namespace: {why}"),
            install: "sysctl -w kernel.unprivileged_userns_clone=1".to_owned(),
        };
        let script = "PATH=$PATH:/usr/sbin:/sbin ip link set lo up && echo up && exec sleep infinity";
        let spawned = Command::new("unshare")
            .args(["--map-root-user", "--net", "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut anchor = spawned.map_err(|error| refused(error.to_string()))?;
        let mut line = String::new();
        if let Some(output) = anchor.stdout.take() {
            let read = BufReader::new(output).read_line(&mut line);
            read.map_err(|error| refused(error.to_string()))?;
        }
        let namespace = Namespace { anchor };
        if line.trim() == "up" { Ok(namespace) } else { Err(refused("unshare failed".to_owned())) }
    }

    /// The same command, within.
    pub fn within(&self, command: &Command) -> Command {
        let mut entered = Command::new("nsenter");
        entered.args(["--target", &self.anchor.id().to_string()]);
        entered.args(["--user", "--net", "--preserve-credentials"]);
        entered.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => entered.env(name, value),
                None => entered.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            entered.current_dir(folder);
        }
        entered
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.anchor.kill();
        let _ = self.anchor.wait();
    }
}
