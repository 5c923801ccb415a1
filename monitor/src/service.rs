//! Starts Monitor: what it follows (Knowledge, the targets file), its loop (the ticker), its way out (the uplink).

mod follow;
mod ticker;
mod uplink;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chassis::grpc::{BindError, ChannelError, ServeError, channel};
use chassis::{Backoff, Context, GrpcServer, Health, Invalid, OnFailure, Validate};
use proto::client::{Analyze, Knowledge};
use proto::wire::monitor_server::MonitorServer;
use tokio::sync::{Notify, watch};
use tonic::service::Routes;

use crate::board::Board;
use crate::cadence::Cadences;
use crate::config::Config;
use crate::grpc::MonitorRpc;
use crate::metrics::Metrics;
use crate::sensors::scrape::Scraper;
use crate::target::Target;

use follow::{follow_declarations, follow_targets_file};
use ticker::{Inputs, Ticker};
use uplink::Uplink;

/// The service's name in health checks.
const NAME: &str = "homeostat.v1.Monitor";

/// Retries to the other services: soon after a restart of theirs, and never more than 2 s late.
const RECONNECT: Backoff =
    Backoff { initial: Duration::from_millis(100), factor: 1.6, max: Duration::from_secs(2), jitter: 0.2 };

/// A running Monitor; it ends with the context's stopper.
#[derive(Debug, Clone)]
pub struct Handle {
    /// Where it listens.
    pub addr: SocketAddr,
    /// How it is.
    pub health: Health,
}

/// Why Monitor did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting breaks a rule.
    #[error("Monitor's settings are not valid")]
    Config(#[source] Invalid),
    /// Its port cannot be had.
    #[error("Monitor cannot listen")]
    Bind(#[source] BindError),
    /// It cannot serve.
    #[error("Monitor cannot serve")]
    Serve(#[source] ServeError),
    /// Another service's address is of no use.
    #[error("Monitor cannot use the address of {service}")]
    Channel {
        /// Whose.
        service: &'static str,
        /// What is wrong with it.
        #[source]
        source: ChannelError,
    },
    /// The HTTP client cannot be made.
    #[error("Monitor cannot prepare to scrape")]
    Scraper(#[source] reqwest::Error),
    /// The registry has a Monitor already.
    #[error("Monitor's metrics cannot be registered")]
    Metrics(#[source] prometheus::Error),
}

/// Checks the settings, opens the port, and starts the work as tasks of `ctx`. Does not wait for other services.
///
/// # Errors
/// If the settings are not valid or the port cannot be had.
pub async fn start(config: Config, ctx: Context) -> Result<Handle, StartError> {
    config.validate().map_err(StartError::Config)?;
    let always = config.static_targets().map_err(StartError::Config)?;
    let server = GrpcServer::bind(&config.server).await.map_err(StartError::Bind)?;
    let addr = server.local_addr();
    let connect = |client, service| channel(client).map_err(|source| StartError::Channel { service, source });
    let analyze = Analyze::new(connect(&config.analyze, "Analyze")?);
    let knowledge = Knowledge::new(connect(&config.knowledge, "Knowledge")?);
    let scraper = Scraper::new(ctx.clock.clone(), config.limits.body_bytes).map_err(StartError::Scraper)?;
    let metrics = Metrics::register(&ctx.metrics).map_err(StartError::Metrics)?;
    let board = Arc::new(Board::default());
    let cadences = Arc::new(Cadences::new(config.scrape_interval));
    let asked = Arc::new(Notify::new());

    let rpc = MonitorRpc::new(board.clone(), cadences.clone(), asked.clone(), ctx.clock.clone());
    let routes = Routes::new(MonitorServer::new(rpc));
    let health =
        server.serve(&ctx, "monitor", routes, proto::DESCRIPTORS, &[NAME]).map_err(StartError::Serve)?;

    let uplink = Arc::new(Uplink::new(&config, metrics.clone()));
    let declarations = spawn_declarations(&ctx, knowledge);
    let targets = spawn_targets(&ctx, config.targets_file.clone(), always, metrics.clone());
    spawn_uplink(&ctx, analyze, uplink.clone());
    let inputs = Inputs { targets, declarations, cadences, asked };
    let ticker = Ticker::new(&config, ctx.clock.clone(), scraper, inputs, uplink, board, metrics);
    let stopper = ctx.stopper.clone();
    ctx.tasks.spawn("monitor-ticks", OnFailure::StopProcess, async move {
        tokio::select! {
            () = stopper.stopped() => {}
            () = ticker.run() => {}
        }
        Ok(())
    });
    health.set_all_serving(true);
    Ok(Handle { addr, health })
}

fn spawn_declarations(ctx: &Context, knowledge: Knowledge) -> follow::DeclarationsReceiver {
    let (sender, receiver) = watch::channel(None);
    let sender = Arc::new(sender);
    ctx.tasks.spawn_loop("monitor-declarations", RECONNECT, move || {
        let (knowledge, sender) = (knowledge.clone(), sender.clone());
        async move { Ok(follow_declarations(&knowledge, &sender).await?) }
    });
    receiver
}

fn spawn_targets(
    ctx: &Context,
    path: Option<PathBuf>,
    always: Vec<Target>,
    metrics: Metrics,
) -> watch::Receiver<Arc<Vec<Target>>> {
    let (sender, receiver) = watch::channel(Arc::new(always.clone()));
    if let Some(path) = path {
        let stopper = ctx.stopper.clone();
        ctx.tasks.spawn("monitor-targets", OnFailure::StopProcess, async move {
            tokio::select! {
                () = stopper.stopped() => {}
                () = follow_targets_file(path, always, sender, metrics) => {}
            }
            Ok(())
        });
    }
    receiver
}

fn spawn_uplink(ctx: &Context, analyze: Analyze, uplink: Arc<Uplink>) {
    ctx.tasks.spawn_loop("monitor-uplink", RECONNECT, move || {
        let (analyze, uplink) = (analyze.clone(), uplink.clone());
        async move { Ok(uplink.session(&analyze).await?) }
    });
}
