//! Plays a scenario on a cluster under load, and writes down what happened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::Context;
use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, ClusterArgs, ClusterError};
use crate::files::{self, FileError};
use crate::load::{self, BadLine, LoadPlan, Record, Urgency};
use crate::replicas;
use crate::report::{self, ReplicaSample, Report};
use crate::scenario::{self, Action, Scenario, Step, Trouble, UnknownScenario};
use crate::topology::{NAMESPACE, Role};

/// Until the load process has started, read its plan and waits for the start.
const LEAD_TIME: Duration = Duration::from_secs(1);

/// The last request gets 5 s, and its record must be written: after this the load process is stuck.
const LOAD_OVERTIME: Duration = Duration::from_secs(15);

/// One sample of the replica counts stands for this long.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

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
    /// The trouble that begins here.
    #[serde(skip)]
    pub trouble: Option<Trouble>,
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

/// Why a play did not start or end.
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// No such scenario.
    #[error(transparent)]
    Scenario(#[from] UnknownScenario),
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
    let played = play(&cluster, &scenario, args.seed).await;
    cluster.end().await;
    let played = played?;
    if let Some((folder, name)) = &args.records {
        write_records(folder, name, &played)?;
    }
    Ok(played)
}

/// Plays a scenario from its start to its end.
pub async fn play(cluster: &Cluster, scenario: &Scenario, seed: u64) -> Result<Played, StagingError> {
    let (profile, duration) = (scenario.profile.clone(), scenario.duration);
    let plan = LoadPlan { profile, seed, duration, priority: Urgency::default() };
    files::write_json(&cluster.dir.load_plan(), &plan)?;
    let lead = i64::try_from(LEAD_TIME.as_millis()).expect("a second");
    let start_unix_ms = cluster.ctx.clock.now().as_millisecond() + lead;
    let start = cluster.ctx.clock.monotonic() + LEAD_TIME;
    let mut log = Log { cluster, start, timeline: Vec::new(), samples: Vec::new() };
    tokio::select! {
        loaded = run_load(cluster, start_unix_ms, scenario.duration) => loaded?,
        error = log.follow(scenario) => return Err(error),
        () = cluster.ctx.stopper.stopped() => return Err(StagingError::Stopped),
    }
    let records = files::read(&cluster.dir.load_records())?.unwrap_or_default();
    let records = load::from_csv(&String::from_utf8_lossy(&records)).map_err(StagingError::Records)?;
    let Log { samples, timeline, .. } = log;
    let report = report::report(&records, &samples, scenario.duration.as_secs());
    Ok(Played { start_unix_ms, report, records, samples, timeline })
}

async fn run_load(cluster: &Cluster, start_unix_ms: i64, duration: Duration) -> Result<(), StagingError> {
    let dir = cluster.dir.path().to_string_lossy().into_owned();
    let arguments = [
        "load".to_owned(),
        "--data-dir".to_owned(),
        dir,
        format!("--start-unix-ms={start_unix_ms}"),
        format!("--owner-pid={}", std::process::id()),
    ];
    let mut child =
        cluster.args.launch.start(&cluster.dir, "load", &arguments).map_err(StagingError::Load)?;
    let limit = LEAD_TIME + duration + LOAD_OVERTIME;
    match tokio::time::timeout(limit, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        _ => Err(StagingError::LoadFailed(cluster.dir.log("load"))),
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
        let kind = if matches!(step.action, Action::Crowd { .. }) { "load" } else { "fault" };
        self.enter(step.at.as_secs_f64(), kind, step.resource.clone(), step.text.clone());
        if let Some(entry) = self.timeline.last_mut() {
            entry.trouble = step.action.trouble();
        }
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
        self.timeline.push(TimelineEntry { at_s, kind: kind.to_owned(), resource, text, trouble: None });
    }
}

/// Writes `<name>.csv` and `<name>.replicas.csv`, from which the report can be computed again.
pub fn write_records(folder: &Path, name: &str, played: &Played) -> Result<(), FileError> {
    files::write(&folder.join(format!("{name}.csv")), load::to_csv(&played.records).as_bytes())?;
    let samples = report::samples_to_csv(&played.samples);
    files::write(&folder.join(format!("{name}.replicas.csv")), samples.as_bytes())
}
