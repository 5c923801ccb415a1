//! What the tests share: the program of the processes, replica sets over it, load, and waiting for conditions.

use std::path::PathBuf;
use std::time::Duration;

use chassis::{SharedClock, SystemClock};
use staging::dir::{Dir, Endpoint};
use staging::faults::Faults;
use staging::load::{LoadPlan, Profile, Record, Urgency, generate};
use staging::replicas::{Launch, ReplicaSet, ReplicaSpec};
use staging::topology::Role;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::watch;

/// Far above what anything here takes; a test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(15);

pub fn launch() -> Launch {
    Launch::of(PathBuf::from(env!("CARGO_BIN_EXE_staging-node")))
}

pub fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

pub fn folder() -> (TempDir, Dir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = Dir::new(folder.path());
    (folder, dir)
}

/// Replicas that end with this test process at the latest.
pub fn spec() -> ReplicaSpec {
    ReplicaSpec { launch: launch(), owner_pid: Some(std::process::id()), arguments: Vec::new() }
}

pub async fn set(dir: &Dir, role: Role) -> ReplicaSet {
    ReplicaSet::open(dir, role, spec(), clock()).await.expect("nobody else drives it")
}

pub fn endpoints(dir: &Dir, role: Role) -> Vec<Endpoint> {
    let text = std::fs::read(dir.endpoints(role)).expect("endpoints are published");
    serde_json::from_slice(&text).expect("a list of endpoints")
}

/// Constant load on the gateway, from this process.
pub async fn load(dir: &Dir, rate: f64, seconds: u64) -> Vec<Record> {
    let profile = Profile::constant(rate).expect("a rate");
    let duration = Duration::from_secs(seconds);
    let plan = LoadPlan { profile, seed: 11, duration, priority: Urgency::Normal };
    let (_sender, faults) = watch::channel(Faults::default());
    generate(&plan, endpoints(dir, Role::Gateway)[0].address, faults, clock()).await
}

pub async fn scrape(address: std::net::SocketAddr) -> Option<String> {
    use http_body_util::{BodyExt, Empty};
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
    let client = client.build_http::<Empty<bytes::Bytes>>();
    let response = client.get(format!("http://{address}/metrics").parse().ok()?).await.ok()?;
    let found = response.status().is_success();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    found.then(|| String::from_utf8_lossy(&body).into_owned())
}

/// The sum of all series of a name whose labels contain each of `labels`.
pub fn value(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| line.rsplit_once(' '));
    let ours = series.filter(|(series, _)| series.split('{').next() == Some(name));
    ours.filter(|(series, _)| labels.iter().all(|label| series.contains(label)))
        .map(|(_, value)| value.parse::<f64>().expect("a number"))
        .sum()
}

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    chassis::testing::eventually(DEADLINE, what, || std::future::ready(holds().then_some(()))).await;
}

pub fn succeeded(records: &[Record]) -> usize {
    records.iter().filter(|record| !record.failed()).count()
}
