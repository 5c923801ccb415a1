//! All five services in one process. They speak gRPC over sockets here too, exactly as in five processes.

use crate::{cli::Global, endpoints::Endpoints};
use anyhow::Context as _;
use chassis::{ClientConfig, Context, Invalid, Readiness, Stopper, Tasks, Validate};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Settings of the whole control plane.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The ledger and the database.
    pub knowledge: knowledge::Config,
    /// Scraping.
    pub monitor: monitor::Config,
    /// Learning and judging.
    pub analyze: analyze::Config,
    /// Deciding.
    pub plan: plan::Config,
    /// Delivering and verifying.
    pub execute: execute::Config,
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self {
            knowledge: knowledge::Config::default(),
            monitor: monitor::Config::default(),
            analyze: analyze::Config::default(),
            plan: plan::Config::default(),
            execute: execute::Config::default(),
        };
        // All in one process means one machine and few targets: looking each second costs little and heals sooner.
        config.monitor.scrape_interval = Duration::from_secs(1);
        config
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Invalid> {
        self.knowledge.validate().map_err(|invalid| invalid.under("knowledge"))?;
        self.monitor.validate().map_err(|invalid| invalid.under("monitor"))?;
        self.analyze.validate().map_err(|invalid| invalid.under("analyze"))?;
        self.plan.validate().map_err(|invalid| invalid.under("plan"))?;
        self.execute.validate().map_err(|invalid| invalid.under("execute"))
    }
}

impl Config {
    /// On free ports of the loopback interface, with everything under one directory: for tests and the demo.
    #[must_use]
    pub fn on_free_ports(mut self) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        self.knowledge.server.listen = free;
        self.monitor.server.listen = free;
        self.analyze.server.listen = free;
        self.plan.server.listen = free;
        self.execute.server.listen = free;
        self
    }
}

/// The data directory: the flag, or where this user may keep data.
pub fn data_dir(global: &Global) -> PathBuf {
    let default = || knowledge::embedded::default_data_dir(&chassis::config::environment());
    global.data_dir.clone().unwrap_or_else(default)
}

/// A running control plane.
#[derive(Debug)]
pub struct System {
    /// Where its services listen.
    pub endpoints: Endpoints,
    /// In the order in which they are stopped: those that write before those that keep.
    parts: Vec<Context>,
}

/// How long one service may take to stop: its streams drain and its state is saved; five of them stay within the
/// chassis' ten seconds when none hangs.
const PART_STOP_DEADLINE: Duration = Duration::from_secs(4);

impl System {
    /// Stops in order: Monitor, Plan and Execute, then Analyze (which saves what it learned), then Knowledge.
    pub async fn stop(self) {
        for part in &self.parts {
            part.stopper.stop();
            let late = part.tasks.join(PART_STOP_DEADLINE).await;
            if !late.is_empty() {
                tracing::warn!(tasks = ?late, "did not stop in time");
            }
        }
    }
}

/// A part with its own stopper, so that parts can be stopped in order; its failure fails the whole.
fn part(whole: &Context) -> Context {
    let stopper = Stopper::new();
    let part = Context { tasks: Tasks::new(stopper.clone()), stopper, ..whole.clone() };
    let (inner, outer) = (part.stopper.clone(), whole.stopper.clone());
    whole.tasks.spawn("part-failure", chassis::OnFailure::Log, async move {
        tokio::select! {
            () = inner.stopped() => {
                if let Some(reason) = inner.failure() {
                    outer.fail(reason);
                }
            }
            () = outer.stopped() => {}
        }
        Ok(())
    });
    part
}

fn client(addr: SocketAddr, like: &ClientConfig, tls: bool) -> ClientConfig {
    let scheme = if tls { "https" } else { "http" };
    ClientConfig { url: format!("{scheme}://{addr}"), ..like.clone() }
}

/// Starts all five and, at `metrics_listen`, their metrics.
///
/// # Errors
/// Names the service that did not start, and why.
pub async fn start(
    mut config: Config,
    metrics_listen: SocketAddr,
    whole: &Context,
) -> anyhow::Result<System> {
    let readiness = Readiness::default();
    let metrics = chassis::metrics::serve_http(whole, metrics_listen, readiness.clone())
        .await
        .context("cannot serve metrics at the address of --metrics-listen")?;
    let [for_knowledge, for_analyze, for_monitor, for_plan, for_execute] =
        std::array::from_fn(|_| part(whole));

    let knowledge_tls = config.knowledge.server.tls.is_some();
    let knowledge =
        knowledge::start(config.knowledge, for_knowledge.clone()).await.context("cannot start knowledge")?;
    for url in [
        &mut config.analyze.knowledge,
        &mut config.monitor.knowledge,
        &mut config.plan.knowledge,
        &mut config.execute.knowledge,
    ] {
        *url = client(knowledge.addr, url, knowledge_tls);
    }

    let analyze_tls = config.analyze.server.tls.is_some();
    let analyze =
        analyze::start(config.analyze, for_analyze.clone()).await.context("cannot start analyze")?;
    for url in [&mut config.monitor.analyze, &mut config.plan.analyze, &mut config.execute.analyze] {
        *url = client(analyze.addr, url, analyze_tls);
    }

    let [monitor_tls, plan_tls, execute_tls] =
        [&config.monitor.server, &config.plan.server, &config.execute.server]
            .map(|server| server.tls.is_some());
    let execute =
        execute::start(config.execute, for_execute.clone()).await.context("cannot start execute")?;
    let plan = plan::start(config.plan, for_plan.clone()).await.context("cannot start plan")?;
    let monitor =
        monitor::start(config.monitor, for_monitor.clone()).await.context("cannot start monitor")?;
    for health in [knowledge.health, analyze.health, execute.health, plan.health, monitor.health] {
        readiness.add(health);
    }

    let url = |addr: SocketAddr, tls: bool| format!("{}://{addr}", if tls { "https" } else { "http" });
    let endpoints = Endpoints {
        knowledge: url(knowledge.addr, knowledge_tls),
        monitor: url(monitor.addr, monitor_tls),
        analyze: url(analyze.addr, analyze_tls),
        plan: url(plan.addr, plan_tls),
        execute: url(execute.addr, execute_tls),
        metrics: url(metrics, false),
    };
    Ok(System { endpoints, parts: vec![for_monitor, for_plan, for_execute, for_analyze, for_knowledge] })
}
