//! Puts a Monitor between a Knowledge, an Analyze and targets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use chassis::testing::eventually;
use chassis::{ClientConfig, Context, ServerConfig};
use monitor::Config;
use monitor::config::TargetConfig;
use proto::model::{Declared, DeclaredSpec, Quality, ServiceSpec};
use proto::wire;

use crate::analyze::{FakeAnalyze, Manner, Seen};
use crate::knowledge::FakeKnowledge;
use crate::target::FakeTarget;

/// Far above what anything here takes, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Short, so that tests are; long enough for a busy machine to answer in time.
pub const INTERVAL: Duration = Duration::from_millis(500);

/// As long as the interval allows: a busy machine must not look like a dead target.
pub const TIMEOUT: Duration = Duration::from_millis(450);

pub struct Setup {
    pub ctx: Context,
    pub analyze: FakeAnalyze,
    pub knowledge: FakeKnowledge,
    pub addr: SocketAddr,
}

impl Setup {
    /// A Monitor with these documents and targets; `change` has the last word on its settings.
    pub async fn start(
        ctx: Context,
        documents: Vec<Declared>,
        targets: &[(&str, &FakeTarget)],
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let documents = documents.into_iter().map(wire::Declared::from).collect();
        let (knowledge, knowledge_addr) = FakeKnowledge::start(&ctx, documents).await;
        let (analyze, analyze_addr) = FakeAnalyze::start(&ctx, Manner::Acknowledge).await;
        let mut config = Config {
            server: ServerConfig::default(),
            analyze: ClientConfig::plain(analyze_addr),
            knowledge: ClientConfig::plain(knowledge_addr),
            scrape_interval: INTERVAL,
            scrape_timeout: Some(TIMEOUT),
            targets: targets.iter().map(|(job, target)| target_config(job, target)).collect(),
            ..Config::default()
        };
        change(&mut config);
        let handle = monitor::start(config, ctx.clone()).await.unwrap();
        Self { ctx, analyze, knowledge, addr: handle.addr }
    }

    /// Waits for a row of a signal that passes.
    pub async fn row(&self, signal: &str, what: &str, passes: impl Fn(&Seen) -> bool) -> Seen {
        let look = || async { self.analyze.newest(signal).filter(|row| passes(row)) };
        eventually(DEADLINE, &format!("{signal}: {what}"), look).await
    }

    /// Waits for a good row of a signal.
    pub async fn good(&self, signal: &str) -> Seen {
        self.row(signal, "good", |row| row.quality == Quality::Good).await
    }

    /// Waits for a target's state to pass.
    pub async fn target(
        &self,
        job: &str,
        what: &str,
        passes: impl Fn(&wire::TargetStatus) -> bool,
    ) -> wire::TargetStatus {
        let channel = chassis::grpc::channel(&ClientConfig::plain(self.addr)).unwrap();
        let client = proto::client::MonitorClient::new(channel);
        let look = || async {
            let request = wire::ListTargetsRequest {};
            let list = client.clone().list_targets(request).await.ok()?.into_inner().targets;
            list.into_iter().find(|target| target.job == job && passes(target))
        };
        eventually(DEADLINE, &format!("target {job}: {what}"), look).await
    }

    /// One of Monitor's own metrics, named with its labels; zero if it was never counted.
    pub fn metric(&self, name: &str) -> f64 {
        let text = chassis::metrics::text(&self.ctx.metrics);
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0.0)
    }

    pub async fn stop(self) {
        self.ctx.stopper.stop();
        let left = self.ctx.tasks.join(DEADLINE).await;
        assert!(left.is_empty(), "tasks did not end: {left:?}");
        assert_eq!(self.ctx.stopper.failure(), None);
    }
}

pub fn target_config(job: &str, target: &FakeTarget) -> TargetConfig {
    let labels = BTreeMap::from([
        ("job".to_owned(), job.to_owned()),
        ("instance".to_owned(), target.addr.to_string()),
    ]);
    TargetConfig { address: target.addr.to_string(), labels }
}

/// A declared service in `staging` whose targets have its name as their job.
pub fn service(name: &str) -> Declared {
    let selector = |text: &str| text.parse().unwrap();
    let spec = ServiceSpec {
        instances: BTreeMap::from([("job".to_owned(), name.to_owned())]),
        total: selector("requests_total"),
        good: Some(selector("requests_total{code!~\"5..\"}")),
        latency: Some(selector("latency_seconds")),
        busy_seconds: None,
        workers: None,
        ready: Some(selector("ready")),
        edges: Vec::new(),
        objective: None,
    };
    let spec = DeclaredSpec::Service(Box::new(spec));
    Declared { namespace: "staging".to_owned(), name: name.to_owned(), spec, version: 1, applied_at: None }
}

/// What a healthy replica says: each answer counts 9 good requests and a bad one more.
pub const REPLICA: &str = "requests_total{code=\"200\"} {9n}\nrequests_total{code=\"503\"} {n}\nready 1\n\
    # TYPE latency_seconds histogram\nlatency_seconds_bucket{le=\"0.1\"} {9n}\nlatency_seconds_bucket{le=\"+Inf\"} {10n}\n\
    latency_seconds_sum {n}\nlatency_seconds_count {10n}\n";
