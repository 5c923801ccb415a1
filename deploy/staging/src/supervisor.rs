//! Brings the whole cluster up, plays a scenario on it under load, writes down what happened, and takes it down again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::{Backoff, Context};
use serde::{Deserialize, Serialize};

use crate::actuator::{self, ActuatorArgs};
use crate::dir::Dir;
use crate::faults;
use crate::files::{self, FileError};
use crate::load::{self, BadLine, LoadPlan, Record};
use crate::process;
use crate::replicas::{self, Launch, ReplicaError, ReplicaSet, ReplicaSpec};
use crate::report::{self, ReplicaSample, Report};
use crate::scenario::{self, Action, Scenario, Step, UnknownScenario};
use crate::topology::{NAMESPACE, Role};

/// Until the load process has started, read its plan and waits for the start.
const LEAD_TIME: Duration = Duration::from_secs(1);

/// The last request gets 5 s, and its record must be written: after this the load process is stuck.
const LOAD_OVERTIME: Duration = Duration::from_secs(15);

/// One sample of the replica counts stands for this long.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

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
}

impl ClusterArgs {
    /// Two catalog and two inventory replicas, no actuators.
    pub fn new(dir: impl Into<PathBuf>, launch: Launch) -> Self {
        let replicas = Role::MANAGED.map(|role| (role, 2)).into();
        Self { dir: dir.into(), launch, replicas, actuators: false, execute_url: None, seed: 0 }
    }
}

/// What `homeostat staging` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagingArgs {
    /// The cluster.
    pub cluster: ClusterArgs,
    /// One of [`scenario::NAMES`].
    pub scenario: String,
    /// Seed of the scenario and of the arrivals.
    pub seed: u64,
    /// How long it is played.
    pub duration: Duration,
    /// Where the records go, and under which name: `observe` becomes `observe.csv` and `observe.replicas.csv`.
    pub records: Option<(PathBuf, String)>,
}

/// Something that happened, as the demo shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// Seconds after the start.
    pub at_s: f64,
    /// `fault`, `load` or `replicas`.
    pub kind: String,
    /// To whom.
    pub resource: String,
    /// In words.
    pub text: String,
}

/// What a play came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Played {
    /// When it started, in milliseconds of Unix time.
    pub start_unix_ms: i64,
    /// The figures.
    pub report: Report,
    /// Every request.
    pub records: Vec<Record>,
    /// Replica counts, each second.
    pub samples: Vec<ReplicaSample>,
    /// What was done to the cluster, and what became of its replicas.
    pub timeline: Vec<TimelineEntry>,
}

/// Why a cluster did not start or a play did not end.
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
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
    /// No such scenario.
    #[error(transparent)]
    Scenario(#[from] UnknownScenario),
    /// The directory.
    #[error("cannot prepare {dir}", dir = .0.display())]
    Directory(PathBuf, #[source] std::io::Error),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The load process.
    #[error("cannot start the load process")]
    Load(#[source] std::io::Error),
    /// It failed.
    #[error("the load process failed; its output is in {log}", log = .0.display())]
    LoadFailed(PathBuf),
    /// Its records cannot be read.
    #[error("the load process wrote broken records")]
    Records(#[source] BadLine),
    /// Stopped before its end.
    #[error("stopped before the end")]
    Stopped,
}

/// Starts a cluster, plays the scenario, takes the cluster down; also when it fails or is stopped.
pub async fn run(args: StagingArgs, ctx: &Context) -> Result<Played, StagingError> {
    let scenario = scenario::scenario(&args.scenario, args.seed, args.duration)?;
    let cluster = Cluster::start(args.cluster, ctx).await?;
    let played = cluster.play(&scenario, args.seed).await;
    cluster.end().await;
    let played = played?;
    if let Some((folder, name)) = &args.records {
        write_records(folder, name, &played)?;
    }
    Ok(played)
}

/// A running cluster. If its process dies, the cluster's processes end by themselves.
#[derive(Debug)]
pub struct Cluster {
    args: ClusterArgs,
    dir: Dir,
    ctx: Context,
}

impl Cluster {
    /// Starts callees before callers, and returns when every replica serves.
    pub async fn start(args: ClusterArgs, ctx: &Context) -> Result<Self, StagingError> {
        let cluster = Self { dir: Dir::new(&args.dir), args, ctx: ctx.sub() };
        cluster.end_processes().await;
        cluster.clean().map_err(|error| StagingError::Directory(cluster.args.dir.clone(), error))?;
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

    async fn start_replicas(&self, role: Role) -> Result<(), StagingError> {
        let wanted = self.args.replicas.get(&role).copied().unwrap_or(1);
        let spec = ReplicaSpec {
            launch: self.args.launch.clone(),
            owner_pid: Some(std::process::id()),
            arguments: self.replica_arguments(),
        };
        let failed = |error| StagingError::Replicas(role, error);
        let mut set =
            ReplicaSet::open(&self.dir, role, spec, self.ctx.clock.clone()).await.map_err(failed)?;
        // Generation 0 is nobody's intent; the first that an actuator gets is newer.
        let ready = set.begin(wanted).await.map_err(failed)?;
        if ready < wanted {
            return Err(StagingError::NotReady { role, ready, wanted, log: self.dir.path().join("log") });
        }
        Ok(())
    }

    fn replica_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--seed".to_owned(), self.args.seed.to_string()];
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
            replica_args: vec![format!("--seed={}", self.args.seed)],
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

    /// Plays a scenario from its start to its end.
    pub async fn play(&self, scenario: &Scenario, seed: u64) -> Result<Played, StagingError> {
        let plan = LoadPlan { profile: scenario.profile.clone(), seed, duration: scenario.duration };
        files::write_json(&self.dir.load_plan(), &plan)?;
        let lead = i64::try_from(LEAD_TIME.as_millis()).expect("a second");
        let start_unix_ms = self.ctx.clock.now().as_millisecond() + lead;
        let start = self.ctx.clock.monotonic() + LEAD_TIME;
        let mut log = Log { cluster: self, start, timeline: Vec::new(), samples: Vec::new() };
        tokio::select! {
            loaded = self.load(start_unix_ms, scenario.duration) => loaded?,
            error = log.follow(scenario) => return Err(error),
            () = self.ctx.stopper.stopped() => return Err(StagingError::Stopped),
        }
        let records = files::read(&self.dir.load_records())?.unwrap_or_default();
        let records = load::from_csv(&String::from_utf8_lossy(&records)).map_err(StagingError::Records)?;
        let Log { samples, timeline, .. } = log;
        let report = report::report(&records, &samples, scenario.duration.as_secs());
        Ok(Played { start_unix_ms, report, records, samples, timeline })
    }

    async fn load(&self, start_unix_ms: i64, duration: Duration) -> Result<(), StagingError> {
        let dir = self.dir.path().to_string_lossy().into_owned();
        let arguments = [
            "load".to_owned(),
            "--data-dir".to_owned(),
            dir,
            format!("--start-unix-ms={start_unix_ms}"),
            format!("--owner-pid={}", std::process::id()),
        ];
        let mut child = self.args.launch.start(&self.dir, "load", &arguments).map_err(StagingError::Load)?;
        let limit = LEAD_TIME + duration + LOAD_OVERTIME;
        match tokio::time::timeout(limit, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            _ => Err(StagingError::LoadFailed(self.dir.log("load"))),
        }
    }

    /// Ends every process of the cluster.
    pub async fn end(self) {
        // First whoever would start others again.
        self.ctx.stopper.stop();
        self.ctx.tasks.join(JOIN_LIMIT).await;
        self.end_processes().await;
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

/// What happens while the load runs.
#[derive(Debug)]
struct Log<'a> {
    cluster: &'a Cluster,
    start: Duration,
    timeline: Vec<TimelineEntry>,
    samples: Vec<ReplicaSample>,
}

impl Log<'_> {
    /// Does the steps when they are due and counts replicas each second, for ever; returns only if it cannot.
    async fn follow(&mut self, scenario: &Scenario) -> StagingError {
        let mut steps = scenario.steps.iter().peekable();
        let seconds = scenario.duration.as_secs();
        for second in 0..seconds {
            let sample_at = SAMPLE_INTERVAL * u32::try_from(second).unwrap_or(u32::MAX);
            while let Some(step) = steps.next_if(|step| step.at <= sample_at) {
                if let Err(error) = self.due(step).await {
                    return error;
                }
            }
            self.sleep_until(sample_at).await;
            if let Err(error) = self.sample(second) {
                return error;
            }
        }
        for step in steps {
            if let Err(error) = self.due(step).await {
                return error;
            }
        }
        std::future::pending().await
    }

    async fn sleep_until(&self, at: Duration) {
        let now = self.cluster.ctx.clock.monotonic();
        tokio::time::sleep((self.start + at).saturating_sub(now)).await;
    }

    async fn due(&mut self, step: &Step) -> Result<(), StagingError> {
        self.sleep_until(step.at).await;
        let kind = if step.action == Action::Note { "load" } else { "fault" };
        self.enter(step.at.as_secs_f64(), kind, step.resource.clone(), step.text.clone());
        Ok(self.cluster.act(&step.action)?)
    }

    fn sample(&mut self, second: u64) -> Result<(), StagingError> {
        for role in Role::MANAGED {
            let state = replicas::read(&self.cluster.dir, role)?;
            let running =
                state.map_or(0, |state| state.replicas.iter().filter(|r| r.is_alive()).count() as u32);
            let service = role.to_string();
            let last = self.samples.iter().rfind(|sample| sample.service == service);
            if last.is_some_and(|last| last.replicas != running) {
                let text = format!("{running} replicas of {role}");
                self.enter(second as f64, "replicas", format!("service:{NAMESPACE}/{role}"), text);
            }
            self.samples.push(ReplicaSample { at_s: second, service, replicas: running });
        }
        Ok(())
    }

    fn enter(&mut self, at_s: f64, kind: &str, resource: String, text: String) {
        tracing::info!(at_s, kind, resource, "{text}");
        self.timeline.push(TimelineEntry { at_s, kind: kind.to_owned(), resource, text });
    }
}

impl Cluster {
    fn act(&self, action: &Action) -> Result<(), FileError> {
        match action {
            Action::Note => {}
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
}

/// Writes `<name>.csv` and `<name>.replicas.csv`, from which the report can be computed again.
pub fn write_records(folder: &Path, name: &str, played: &Played) -> Result<(), FileError> {
    files::write(&folder.join(format!("{name}.csv")), load::to_csv(&played.records).as_bytes())?;
    let samples = report::samples_to_csv(&played.samples);
    files::write(&folder.join(format!("{name}.replicas.csv")), samples.as_bytes())
}
