//! Starts Analyze: the port, what it follows in Knowledge, and the tasks that record, save and let silence speak.

pub mod board;
mod budgets;
pub mod core;
mod follow;
mod imported;
pub mod objectives;
pub mod prometheus;
mod queries;
mod recorder;
mod saver;
mod seasons;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chassis::grpc::{BindError, ChannelError, ServeError, channel};
use chassis::{Backoff, Context, GrpcServer, Health, Invalid, OnFailure, Validate};
use proto::client::{Knowledge, MESSAGE_LIMIT_BYTES, Seasonalities};
use proto::wire::analyze_server::AnalyzeServer;
use proto::wire::objectives_client::ObjectivesClient;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tonic::service::Routes;
use tonic::transport::Channel;

use crate::config::Config;
use crate::grpc::AnalyzeRpc;
use crate::metrics::Metrics;
use core::Core;

/// The service's name in health checks.
const NAME: &str = "homeostat.v1.Analyze";

/// Retries to Knowledge: soon after a restart of it, and never more than 2 s late.
const RECONNECT: Backoff =
    Backoff { initial: Duration::from_millis(100), factor: 1.6, max: Duration::from_secs(2), jitter: 0.2 };

/// How often silence is looked for: a quarter of the shortest usual interval, so that it is told in time.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(250);

/// A running Analyze; it ends with the context's stopper.
#[derive(Debug, Clone)]
pub struct Handle {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Whether it takes calls.
    pub health: Health,
}

/// Why Analyze did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting breaks a rule.
    #[error("Analyze's settings are not valid")]
    Config(#[source] Invalid),
    /// Its port cannot be had.
    #[error("Analyze cannot listen")]
    Bind(#[source] BindError),
    /// It cannot serve.
    #[error("Analyze cannot serve")]
    Serve(#[source] ServeError),
    /// Knowledge's address is of no use.
    #[error("Analyze cannot use the address of Knowledge")]
    Channel(#[source] ChannelError),
    /// A metric's name is not valid.
    #[error("Analyze's metrics cannot be registered")]
    Metrics(#[source] ::prometheus::Error),
    /// There is no TLS as configured to ask Prometheus servers with.
    #[error("Analyze cannot ask Prometheus servers")]
    Queries(#[source] prometheus::AskerError),
}

/// Checks the settings, opens the port, and starts the work as tasks of `ctx`. Does not wait for Knowledge: until it answers,
/// samples are judged by what is learned here.
///
/// # Errors
/// If the settings are not valid or the port cannot be had.
pub async fn start(config: Config, ctx: Context) -> Result<Handle, StartError> {
    config.validate().map_err(StartError::Config)?;
    let server = GrpcServer::bind(&config.server).await.map_err(StartError::Bind)?;
    let addr = server.local_addr();
    let to_knowledge = channel(&config.knowledge).map_err(StartError::Channel)?;
    let knowledge = Knowledge::new(to_knowledge.clone());
    let metrics = Metrics::register(&ctx.metrics).map_err(StartError::Metrics)?;
    let core = Arc::new(Core::new(config.settings(), metrics, &ctx));

    let rpc = AnalyzeServer::new(AnalyzeRpc::new(core.clone(), ctx.stopper.clone()))
        .max_decoding_message_size(MESSAGE_LIMIT_BYTES)
        .max_encoding_message_size(MESSAGE_LIMIT_BYTES);
    let routes = Routes::new(rpc);
    let health =
        server.serve(&ctx, "analyze", routes, proto::DESCRIPTORS, &[NAME]).map_err(StartError::Serve)?;

    let restored = watch::Sender::new(false);
    spawn_recorder(&ctx, &core, &knowledge, restored.subscribe());
    let objectives = ObjectivesClient::new(to_knowledge.clone());
    spawn_budgets(&ctx, &core, objectives.clone());
    spawn_seasons(&ctx, &core, Seasonalities::new(to_knowledge), restored.subscribe());
    imported::spawn(&ctx, core.clone(), knowledge.clone(), objectives);
    queries::spawn(&ctx, core.clone(), config.prometheus.clone()).map_err(StartError::Queries)?;
    saver::spawn(&ctx, core.clone(), knowledge.clone(), config.snapshot_interval, restored.subscribe());
    spawn_follow(&ctx, &core, knowledge, restored);
    spawn_expiry(&ctx, core);
    health.set_all_serving(true);
    Ok(Handle { addr, health })
}

fn spawn_follow(ctx: &Context, core: &Arc<Core>, knowledge: Knowledge, restored: watch::Sender<bool>) {
    let (core, restored) = (core.clone(), Arc::new(restored));
    ctx.tasks.spawn_loop("analyze-follow", RECONNECT, move || {
        let (core, knowledge, restored) = (core.clone(), knowledge.clone(), restored.clone());
        async move { Ok(follow::follow(&core, &knowledge, &restored).await?) }
    });
}

/// Nothing is recorded before Knowledge's own versions are known: they go before what was learned meanwhile.
fn spawn_recorder(ctx: &Context, core: &Arc<Core>, knowledge: &Knowledge, restored: watch::Receiver<bool>) {
    let (core, knowledge) = (core.clone(), knowledge.clone());
    ctx.tasks.spawn_loop("analyze-recorder", RECONNECT, move || {
        let (core, knowledge, mut restored) = (core.clone(), knowledge.clone(), restored.clone());
        async move {
            restored.wait_for(|restored| *restored).await?;
            Ok(core.recorder.run(&knowledge, |sent, stored| core.recorded(sent, stored)).await?)
        }
    });
}

/// Budgets are history: they wait for nobody, and nobody waits for them.
fn spawn_budgets(ctx: &Context, core: &Arc<Core>, client: ObjectivesClient<Channel>) {
    let core = core.clone();
    ctx.tasks.spawn_loop("analyze-budgets", RECONNECT, move || {
        let (core, client) = (core.clone(), client.clone());
        async move { Ok(core.budgets.run(client).await?) }
    });
}

/// What Knowledge holds goes before what was found here.
fn spawn_seasons(ctx: &Context, core: &Arc<Core>, client: Seasonalities, restored: watch::Receiver<bool>) {
    let core = core.clone();
    ctx.tasks.spawn_loop("analyze-seasons", RECONNECT, move || {
        let (core, client, mut restored) = (core.clone(), client.clone(), restored.clone());
        async move {
            restored.wait_for(|restored| *restored).await?;
            seasons::read(&core, &client).await?;
            Ok(core.seasons.run(&client, |stored| core.season(stored, true)).await?)
        }
    });
}

fn spawn_expiry(ctx: &Context, core: Arc<Core>) {
    let stopper = ctx.stopper.clone();
    ctx.tasks.spawn("analyze-expiry", OnFailure::StopProcess, async move {
        let mut interval = tokio::time::interval(EXPIRY_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopper.stopped() => return Ok(()),
                _ = interval.tick() => {
                    core.expire();
                    core.seek();
                }
            }
        }
    });
}
