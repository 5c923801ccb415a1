//! Sends what is due, and writes down what became of it. Runs in a process of its own, so that nothing else disturbs it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use breaker::Priority;
use chassis::{Context, SharedClock};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::dir::{Dir, Endpoint};
use crate::faults::{self, Faults, Followed};
use crate::files::{self, FileError};
use crate::load::{Arrivals, Profile, Record, Step, record};
use crate::topology::Role;
use crate::upstream::{self, HttpClient};

/// Requests in flight: 600/s of which none is answered for 5 s are 3,000. One more counts as failed, and is not sent.
const IN_FLIGHT_MAX: usize = 4_096;

/// A request without an answer for this long is given up.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What the load process is told.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct LoadArgs {
    /// The cluster's directory; the plan is its `load/plan.json`.
    #[arg(long)]
    pub data_dir: PathBuf,
    /// When the run starts, in milliseconds of Unix time.
    #[arg(long)]
    pub start_unix_ms: i64,
    /// The run ends when this process is gone.
    #[arg(long)]
    pub owner_pid: Option<u32>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
    /// Requests per second over time.
    pub profile: Profile,
    /// Seed of the arrivals.
    pub seed: u64,
    /// How long requests become due.
    pub duration: Duration,
    /// How much they matter, as they say themselves.
    #[serde(default)]
    pub priority: Urgency,
}

/// How much a request matters, in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// As any other.
    #[default]
    Normal,
    /// A user waits, or money hangs on it: shed last.
    Critical,
}

impl From<Urgency> for Priority {
    fn from(urgency: Urgency) -> Self {
        match urgency {
            Urgency::Normal => Priority::Normal,
            Urgency::Critical => Priority::Critical,
        }
    }
}

/// Why there was no load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No plan.
    #[error("there is no load plan")]
    NoPlan,
    /// Nobody to ask.
    #[error("the gateway has no endpoint")]
    NoGateway,
    /// The files could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The load process: waits for the start, sends the plan to the gateway, writes the records.
pub async fn run(args: LoadArgs, ctx: &Context) -> Result<(), LoadError> {
    let dir = Dir::new(&args.data_dir);
    let plan: LoadPlan = files::read_json(&dir.load_plan())?.ok_or(LoadError::NoPlan)?;
    let endpoints: Vec<Endpoint> = files::read_json(&dir.endpoints(Role::Gateway))?.unwrap_or_default();
    let gateway = endpoints.first().ok_or(LoadError::NoGateway)?.address;
    let (sender, faults) = watch::channel(Faults::default());
    let start_in = args.start_unix_ms.saturating_sub(ctx.clock.now().as_millisecond());
    tokio::time::sleep(Duration::from_millis(u64::try_from(start_in).unwrap_or(0))).await;
    let work = generate(&plan, gateway, faults, ctx.clock.clone());
    let records = tokio::select! {
        records = work => records,
        () = files::follow(dir.faults(), sender) => return Ok(()),
        () = ctx.stopper.stopped() => return Ok(()),
        () = crate::actuator::owner_gone(args.owner_pid) => return Ok(()),
    };
    Ok(files::write(&dir.load_records(), record::to_csv(&records).as_bytes())?)
}

/// Sends the plan to `gateway` from now on; the records come in the order in which they were due.
pub async fn generate(
    plan: &LoadPlan,
    gateway: SocketAddr,
    faults: watch::Receiver<Faults>,
    clock: SharedClock,
) -> Vec<Record> {
    let faults = Followed::new(faults, faults::LOAD, faults::LOAD);
    let start = clock.monotonic();
    let priority = plan.priority.into();
    let sender = Arc::new(Sender { client: upstream::http_client(), gateway, clock, start, priority });
    let room = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut arrivals = Arrivals::new(plan.profile.clone(), plan.seed, plan.duration);
    let mut running = JoinSet::new();
    let mut records = Vec::new();
    loop {
        match arrivals.step(faults.now().crowd) {
            Step::End => break,
            Step::Quiet(until) => sender.sleep_until(until).await,
            Step::Due(due) => {
                sender.sleep_until(due).await;
                match Arc::clone(&room).try_acquire_owned() {
                    Ok(place) => {
                        let sender = Arc::clone(&sender);
                        running.spawn(async move {
                            let _place = place;
                            sender.send(due).await
                        });
                    }
                    Err(_) => records.push(sender.record(due, 0, false)),
                }
            }
        }
        while let Some(Ok(record)) = running.try_join_next() {
            records.push(record);
        }
    }
    while let Some(ended) = running.join_next().await {
        records.push(ended.expect("sending does not panic and is not aborted"));
    }
    records.sort_by_key(|record| (record.intended_ms, record.latency_us));
    records
}

#[derive(Debug)]
struct Sender {
    client: HttpClient,
    gateway: SocketAddr,
    clock: SharedClock,
    start: Duration,
    priority: Priority,
}

impl Sender {
    /// A moment that has passed is now.
    async fn sleep_until(&self, at: Duration) {
        let left = at.saturating_sub(self.elapsed());
        if !left.is_zero() {
            tokio::time::sleep(left).await;
        }
    }

    fn elapsed(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.start)
    }

    async fn send(&self, due: Duration) -> Record {
        let asked = upstream::get(&self.client, self.gateway, "/", self.priority);
        match tokio::time::timeout(REQUEST_TIMEOUT, asked).await {
            Ok(Ok(answer)) => self.record(due, answer.status.as_u16(), answer.degraded),
            Ok(Err(_)) | Err(_) => self.record(due, 0, false),
        }
    }

    /// Latency counts from when the request was due, not from when it was sent.
    fn record(&self, due: Duration, status: u16, degraded: bool) -> Record {
        let latency = self.elapsed().saturating_sub(due);
        Record {
            intended_ms: u64::try_from(due.as_millis()).unwrap_or(u64::MAX),
            latency_us: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
            status,
            degraded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::testing::ManualClock;

    #[test]
    fn latency_counts_from_when_the_request_was_due() {
        let clock = Arc::new(ManualClock::at("2026-01-05T00:00:00Z".parse().unwrap()));
        clock.advance(Duration::from_secs(10));
        let gateway = SocketAddr::from(([127, 0, 0, 1], 1));
        let start = Duration::from_secs(10);
        let (clock_of_it, priority) = (clock.clone(), Priority::Normal);
        let sender = Sender { client: upstream::http_client(), gateway, clock: clock_of_it, start, priority };
        clock.advance(Duration::from_secs(3));
        let record = sender.record(Duration::from_millis(1_250), 200, false);
        assert_eq!((record.intended_ms, record.latency_us), (1_250, 1_750_000));
    }
}
