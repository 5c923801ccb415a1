//! The whole cluster: its replicas and actuators as processes, started in order, hit by faults, ended without leftovers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chassis::{Backoff, Context};

use crate::actuator::{self, ActuatorArgs};
use crate::dir::Dir;
use crate::faults;
use crate::files::FileError;
use crate::process;
use crate::replicas::{self, Launch, ReplicaError, ReplicaSet, ReplicaSpec};
use crate::scenario::Action;
use crate::topology::Role;

/// How long the cluster's own tasks get to end.
const JOIN_LIMIT: Duration = Duration::from_secs(2);

/// What a cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterArgs {
    /// Its directory; what an earlier cluster left there is removed.
    pub dir: PathBuf,
    /// The program whose hidden subcommand the processes are.
    pub launch: Launch,
    /// Replicas to start with, of the managed services.
    pub replicas: BTreeMap<Role, u32>,
    /// Whether each managed service gets an actuator process, which is started again if it dies.
    pub actuators: bool,
    /// Execute's address, for the actuators.
    pub execute_url: Option<String>,
    /// Seed of the services' times and choices.
    pub seed: u64,
    /// Further arguments of every replica of a service (see [`crate::service::ServiceArgs`]).
    pub service_arguments: BTreeMap<Role, Vec<String>>,
}

impl ClusterArgs {
    /// Two catalog and two inventory replicas, no actuators.
    pub fn new(dir: impl Into<PathBuf>, launch: Launch) -> Self {
        let replicas = Role::MANAGED.map(|role| (role, 2)).into();
        Self {
            dir: dir.into(),
            launch,
            replicas,
            actuators: false,
            execute_url: None,
            seed: 0,
            service_arguments: BTreeMap::new(),
        }
    }
}

/// Why a cluster did not start.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A service's replicas.
    #[error("cannot run the replicas of {0}")]
    Replicas(Role, #[source] ReplicaError),
    /// Not all replicas came up.
    #[error("only {ready} of {wanted} replicas of {role} became ready; their output is in {log}", log = .log.display())]
    NotReady {
        /// The service.
        role: Role,
        /// How many serve.
        ready: u32,
        /// How many should.
        wanted: u32,
        /// Where to look.
        log: PathBuf,
    },
    /// The directory.
    #[error("cannot prepare {dir}", dir = .0.display())]
    Directory(PathBuf, #[source] std::io::Error),
}

/// A running cluster. If its process dies, the cluster's processes end by themselves.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) args: ClusterArgs,
    pub(crate) dir: Dir,
    pub(crate) ctx: Context,
}

impl Cluster {
    /// Starts callees before callers, and returns when every replica serves.
    pub async fn start(args: ClusterArgs, ctx: &Context) -> Result<Self, ClusterError> {
        let cluster = Self { dir: Dir::new(&args.dir), args, ctx: ctx.sub() };
        cluster.end_processes().await;
        cluster.clean().map_err(|error| ClusterError::Directory(cluster.args.dir.clone(), error))?;
        for role in Role::ALL.into_iter().rev() {
            if let Err(error) = cluster.start_replicas(role).await {
                cluster.end().await;
                return Err(error);
            }
        }
        if cluster.args.actuators {
            Role::MANAGED.into_iter().for_each(|role| cluster.keep_actuator(role));
        }
        Ok(cluster)
    }

    /// Its files; `targets.json` tells the Monitor what to scrape.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// What an earlier cluster left behind would be taken for ours.
    fn clean(&self) -> std::io::Result<()> {
        let path = self.dir.path();
        for folder in ["endpoints", "replicas", "ready", "targets", "load", "log"] {
            if path.join(folder).exists() {
                std::fs::remove_dir_all(path.join(folder))?;
            }
        }
        for file in [self.dir.targets(), self.dir.faults()].iter().filter(|file| file.exists()) {
            std::fs::remove_file(file)?;
        }
        std::fs::create_dir_all(path)
    }

    async fn start_replicas(&self, role: Role) -> Result<(), ClusterError> {
        let wanted = self.args.replicas.get(&role).copied().unwrap_or(1);
        let spec = ReplicaSpec {
            launch: self.args.launch.clone(),
            owner_pid: Some(std::process::id()),
            arguments: self.replica_arguments(role),
        };
        let failed = |error| ClusterError::Replicas(role, error);
        let mut set =
            ReplicaSet::open(&self.dir, role, spec, self.ctx.clock.clone()).await.map_err(failed)?;
        // Generation 0 is nobody's intent; the first that an actuator gets is newer.
        let ready = set.begin(wanted).await.map_err(failed)?;
        if ready < wanted {
            return Err(ClusterError::NotReady { role, ready, wanted, log: self.dir.path().join("log") });
        }
        Ok(())
    }

    fn further_arguments(&self, role: Role) -> Vec<String> {
        let given = self.args.service_arguments.get(&role).into_iter().flatten().cloned();
        [format!("--seed={}", self.args.seed)].into_iter().chain(given).collect()
    }

    fn replica_arguments(&self, role: Role) -> Vec<String> {
        let mut arguments = self.further_arguments(role);
        arguments
            .extend(self.args.execute_url.iter().flat_map(|url| ["--execute-url".to_owned(), url.clone()]));
        arguments
    }

    /// Starts the actuator again whenever it ends.
    fn keep_actuator(&self, role: Role) {
        let args = ActuatorArgs {
            service: role,
            data_dir: self.args.dir.clone(),
            owner_pid: Some(std::process::id()),
            execute_url: self.args.execute_url.clone(),
            replica_args: self.further_arguments(role),
        };
        let (launch, dir) = (self.args.launch.clone(), self.dir.clone());
        self.ctx.tasks.spawn_loop("staging-actuator", Backoff::default(), move || {
            let started = launch.start(&dir, &format!("actuator-{role}"), &args.command_line());
            async move {
                let status = started?.wait().await?;
                anyhow::ensure!(status.success(), "the actuator of {role} ended with {status}");
                Ok(())
            }
        });
    }

    /// Does to the cluster what a step says.
    pub(crate) fn act(&self, action: &Action) -> Result<(), FileError> {
        match action {
            Action::Crowd { .. } => {}
            Action::Inject { label, fault } => faults::inject(&self.dir, label, fault.clone())?,
            Action::Clear { label } => faults::clear(&self.dir, Some(label))?,
            Action::KillReplica { role } => {
                let state = replicas::read(&self.dir, *role)?;
                let replicas = state.map(|state| state.replicas).unwrap_or_default();
                let victim = replicas.iter().rfind(|replica| replica.is_serving());
                victim.and_then(|replica| replica.process).into_iter().for_each(process::Identity::kill);
            }
            Action::KillActuator { role } => {
                let running = process::find(&actuator::identifying(&self.dir, *role));
                running.into_iter().for_each(process::Identity::kill);
            }
        }
        Ok(())
    }

    /// Ends every process of the cluster.
    pub async fn end(self) {
        // First whoever would start others again.
        self.ctx.stopper.stop();
        self.ctx.tasks.join(JOIN_LIMIT).await;
        self.end_processes().await;
        if let Err(error) = replicas::retract_targets(&self.dir) {
            tracing::warn!(%error, "the targets of the cluster that was ended are left behind");
        }
    }

    /// Actuators first: one that still runs would start what we end.
    async fn end_processes(&self) {
        let actuators: Vec<_> = Role::MANAGED
            .iter()
            .flat_map(|role| process::find(&actuator::identifying(&self.dir, *role)))
            .collect();
        process::end(&actuators, &self.ctx.clock).await;
        let dir = self.dir.path().to_string_lossy().into_owned();
        let subcommand = &self.args.launch.subcommand;
        let ours = process::find(&["--data-dir".to_owned(), dir]).into_iter();
        let ours: Vec<_> = ours.filter(|process| process.was_started_with(subcommand)).collect();
        process::end(&ours, &self.ctx.clock).await;
    }
}
