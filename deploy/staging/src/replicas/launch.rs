//! How a replica's process is started, and how it is recognised later.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;

use crate::dir::Dir;
use crate::process::{self, Identity};
use crate::replicas::ReplicaError;
use crate::topology::Role;

/// The program whose subcommand the cluster's processes are: normally this very one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// What comes before the role: `staging-service`.
    pub subcommand: String,
}

impl Launch {
    /// This program, with the hidden subcommand `staging-service`.
    pub fn current() -> std::io::Result<Self> {
        Ok(Self::of(std::env::current_exe()?))
    }

    /// Another program with the same subcommand.
    pub fn of(program: PathBuf) -> Self {
        Self { program, subcommand: "staging-service".to_owned() }
    }

    /// Starts a process of the cluster that outlives its parent; its output goes to a file of its own.
    pub(crate) fn start(
        &self,
        dir: &Dir,
        process: &str,
        arguments: &[String],
    ) -> std::io::Result<tokio::process::Child> {
        let log = dir.log(process);
        std::fs::create_dir_all(log.parent().unwrap_or(dir.path()))?;
        let log = File::options().create(true).append(true).open(log)?;
        tokio::process::Command::new(&self.program)
            .arg(&self.subcommand)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: a Ctrl-C meant for the parent is not meant for it.
            .process_group(0)
            .kill_on_drop(false)
            .spawn()
    }
}

/// How the replicas of a service are started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaSpec {
    /// The program.
    pub launch: Launch,
    /// Whose end ends the replicas too.
    pub owner_pid: Option<u32>,
    /// Further arguments of every replica (see [`crate::service::ServiceArgs`]).
    pub arguments: Vec<String>,
}

impl ReplicaSpec {
    pub(crate) fn start(
        &self,
        dir: &Dir,
        role: Role,
        instance: &str,
    ) -> Result<Option<Identity>, ReplicaError> {
        let mut arguments = identifying(dir, role, instance);
        arguments.extend(self.owner_pid.iter().flat_map(|pid| ["--owner-pid".to_owned(), pid.to_string()]));
        arguments.extend(self.arguments.iter().cloned());
        let failed = |error| ReplicaError::Spawn(instance.to_owned(), error);
        let child = self.launch.start(dir, instance, &arguments).map_err(failed)?;
        // Dropping the child leaves it running; the runtime buries it when it ends.
        Ok(child.id().and_then(Identity::of))
    }

    /// The replica's process, if it runs.
    pub(crate) fn find(&self, dir: &Dir, role: Role, instance: &str) -> Option<Identity> {
        process::find(&identifying(dir, role, instance)).into_iter().next()
    }
}

/// Role, name and directory name a replica among all processes of the machine.
fn identifying(dir: &Dir, role: Role, instance: &str) -> Vec<String> {
    [role.name(), "--name", instance, "--data-dir", &dir.path().to_string_lossy()].map(str::to_owned).into()
}
