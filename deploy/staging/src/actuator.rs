//! The process that drives one service's replicas: it takes directives from Execute (`link`), and keeps the wanted number
//! running in any case.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chassis::Context;
use tokio::sync::Mutex;

use crate::dir::Dir;
use crate::link::{self, LinkError};
use crate::replicas::{self, Launch, Observation, ReplicaError, ReplicaSet, ReplicaSpec, ScaleResult, State};
use crate::topology::Role;

/// How often dead replicas are looked for.
const HEAL_INTERVAL: Duration = Duration::from_millis(500);

/// What the actuator of one service is told.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ActuatorArgs {
    /// Whose replicas.
    #[arg(long)]
    pub service: Role,
    /// The cluster's directory.
    #[arg(long)]
    pub data_dir: PathBuf,
    /// The actuator and its replicas end when this process is gone.
    #[arg(long)]
    pub owner_pid: Option<u32>,
    /// Execute's address.
    #[arg(long)]
    pub execute_url: Option<String>,
    /// A further argument for every replica; may be given again.
    #[arg(long = "replica-arg", allow_hyphen_values = true)]
    pub replica_args: Vec<String>,
}

impl ActuatorArgs {
    /// How this actuator starts replicas.
    pub fn spec(&self) -> std::io::Result<ReplicaSpec> {
        let mut arguments = self.replica_args.clone();
        if let Some(url) = &self.execute_url {
            arguments.extend(["--execute-url".to_owned(), url.clone()]);
        }
        Ok(ReplicaSpec { launch: Launch::current()?, owner_pid: self.owner_pid, arguments })
    }

    /// The arguments that [`clap`] turns into this value, after the hidden subcommand.
    pub(crate) fn command_line(&self) -> Vec<String> {
        let mut line = identifying(&Dir::new(&self.data_dir), self.service);
        line.extend(self.owner_pid.iter().flat_map(|pid| ["--owner-pid".to_owned(), pid.to_string()]));
        line.extend(self.execute_url.iter().flat_map(|url| ["--execute-url".to_owned(), url.clone()]));
        line.extend(self.replica_args.iter().map(|arg| format!("--replica-arg={arg}")));
        line
    }
}

/// What names the actuator of a service among all processes of the machine.
pub(crate) fn identifying(dir: &Dir, role: Role) -> Vec<String> {
    ["actuator", "--service", role.name(), "--data-dir", &dir.path().to_string_lossy()]
        .map(str::to_owned)
        .into()
}

/// Why an actuator ended early.
#[derive(Debug, thiserror::Error)]
pub enum ActuatorError {
    /// It does not know its own program.
    #[error("cannot find the program of this process")]
    Program(#[source] std::io::Error),
    /// It could not drive its replicas.
    #[error("cannot drive the replicas of {0}")]
    Replicas(Role, #[source] ReplicaError),
    /// Execute does not take it in.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// The one driver of a service's replicas, shared by whoever takes directives and whoever heals.
#[derive(Debug, Clone)]
pub struct Driver {
    dir: Dir,
    role: Role,
    set: Arc<Mutex<ReplicaSet>>,
}

impl Driver {
    /// Takes the replicas over.
    pub async fn open(args: &ActuatorArgs, ctx: &Context) -> Result<Self, ActuatorError> {
        let spec = args.spec().map_err(ActuatorError::Program)?;
        let (dir, role) = (Dir::new(&args.data_dir), args.service);
        let set = ReplicaSet::open(&dir, role, spec, ctx.clock.clone()).await;
        let set = set.map_err(|error| ActuatorError::Replicas(role, error))?;
        Ok(Self { dir, role, set: Arc::new(Mutex::new(set)) })
    }

    /// The cluster's directory.
    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// See [`ReplicaSet::scale`]. Waits for a change under way.
    pub async fn scale(&self, desired: u32, generation: u64) -> Result<ScaleResult, ReplicaError> {
        self.set.lock().await.scale(desired, generation).await
    }

    /// What there is to see now, also in the middle of a change.
    pub fn observe(&self) -> Result<Observation, ReplicaError> {
        let state = replicas::read(&self.dir, self.role)?.unwrap_or_else(State::empty);
        Ok(replicas::observation(&state))
    }

    /// Replaces dead replicas, for ever; returns only if it cannot.
    pub async fn keep(&self) -> ActuatorError {
        loop {
            tokio::time::sleep(HEAL_INTERVAL).await;
            if let Err(error) = self.set.lock().await.heal().await {
                return ActuatorError::Replicas(self.role, error);
            }
        }
    }
}

/// Takes the replicas over and keeps them running until stopped; stopping leaves them running.
pub async fn run(args: ActuatorArgs, ctx: &Context) -> Result<(), ActuatorError> {
    let driver = Driver::open(&args, ctx).await?;
    let directives = async {
        match &args.execute_url {
            Some(url) => link::drive(driver.clone(), args.service, url, ctx).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        error = driver.keep() => Err(error),
        // At a stop it finishes what has begun and gives its lease back.
        ended = directives => Ok(ended?),
        () = ctx.stopper.stopped(), if args.execute_url.is_none() => Ok(()),
        () = owner_gone(args.owner_pid) => Ok(()),
    }
}

/// Never, if there is no owner.
pub(crate) async fn owner_gone(owner: Option<u32>) {
    match owner {
        Some(pid) => crate::process::gone(pid).await,
        None => std::future::pending().await,
    }
}
