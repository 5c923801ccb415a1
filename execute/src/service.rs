//! Starts Execute: what it follows, its one writer to the ledger, its clock, and the API that actuators call.

pub(crate) mod baselines;
mod errands;
mod follow;
pub(crate) mod leases;
mod recorder;
pub(crate) mod shared;
pub(crate) mod switch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chassis::grpc::{BindError, ChannelError, Health, ServeError, channel};
use chassis::{Backoff, Context, GrpcServer, Invalid, OnFailure, Validate};
use proto::client::{Analyze, Knowledge, MESSAGE_LIMIT_BYTES};
use proto::wire::execute_server::ExecuteServer;
use tokio::sync::mpsc;
use tonic::service::Routes;

use crate::config::Config;
use crate::grpc::ExecuteRpc;
use crate::metrics::Metrics;
use crate::moment::between;
use crate::pause::{PauseError, PauseFile};

use leases::Leases;
use recorder::Recorder;
use shared::Shared;
use switch::Switch;

/// The service's name in health checks.
const NAME: &str = "homeostat.v1.Execute";

/// Retries to the other services: soon after a restart of theirs, and never more than 2 s late.
const RECONNECT: Backoff =
    Backoff { initial: Duration::from_millis(100), factor: 1.6, max: Duration::from_secs(2), jitter: 0.2 };

/// The longest time between two looks at deadlines and leases; five a second cost nothing that can be measured.
const TICK_INTERVAL: Duration = Duration::from_millis(200);

/// The shortest: deadlines are stated in milliseconds.
const TICK_MIN: Duration = Duration::from_millis(1);

/// A running Execute; it ends with the context's stopper.
#[derive(Debug, Clone)]
pub struct Handle {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Whether it takes calls.
    pub health: Health,
}

/// Why Execute did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting breaks a rule.
    #[error("Execute's settings are not valid")]
    Config(#[source] Invalid),
    /// Its port cannot be had.
    #[error("Execute cannot listen")]
    Bind(#[source] BindError),
    /// It cannot serve.
    #[error("Execute cannot serve")]
    Serve(#[source] ServeError),
    /// Another service's address is of no use.
    #[error("Execute cannot use the address of {service}")]
    Channel {
        /// Whose.
        service: &'static str,
        /// What is wrong with it.
        #[source]
        source: ChannelError,
    },
    /// The pause cannot be remembered.
    #[error("Execute cannot use its data directory")]
    DataDir(#[source] PauseError),
    /// The registry has an Execute already.
    #[error("Execute's metrics cannot be registered")]
    Metrics(#[source] prometheus::Error),
}

/// Checks the settings, opens the port, and starts the work as tasks of `ctx`. Does not wait for other services: the kill
/// switch works without them.
///
/// # Errors
/// If the settings are not valid, or the port or the data directory cannot be had.
pub async fn start(config: Config, ctx: Context) -> Result<Handle, StartError> {
    config.validate().map_err(StartError::Config)?;
    let server = GrpcServer::bind(&config.server).await.map_err(StartError::Bind)?;
    let addr = server.local_addr();
    let connect = |client, service| channel(client).map_err(|source| StartError::Channel { service, source });
    let knowledge = Knowledge::new(connect(&config.knowledge, "Knowledge")?);
    let analyze = Analyze::new(connect(&config.analyze, "Analyze")?);
    let file = PauseFile::open(&config.data_dir).map_err(StartError::DataDir)?;
    let metrics = Metrics::register(&ctx.metrics).map_err(StartError::Metrics)?;

    let pause = file.load(ctx.clock.now());
    let shared = Arc::new(Shared::new(pause, ctx.clock.clone(), metrics, knowledge.clone()));
    let leases = Leases::new(shared.clone(), config.lease_ttl);
    let switch = Arc::new(Switch::new(shared.clone(), file));
    shared.gauge();

    let rpc =
        ExecuteRpc::new(shared.clone(), leases.clone(), switch.clone(), ctx.clone(), config.report_wait);
    let service = ExecuteServer::new(rpc)
        .max_decoding_message_size(MESSAGE_LIMIT_BYTES)
        .max_encoding_message_size(MESSAGE_LIMIT_BYTES);
    let health = server
        .serve(&ctx, "execute", Routes::new(service), proto::DESCRIPTORS, &[NAME])
        .map_err(StartError::Serve)?;

    spawn_writers(&ctx, &shared);
    spawn_followers(&ctx, &shared, knowledge, analyze);
    spawn_leases(&ctx, leases);
    let keeping = baselines::keep(shared.clone(), ctx.stopper.clone());
    ctx.tasks.spawn("execute-baselines", OnFailure::StopProcess, async move {
        keeping.await;
        Ok(())
    });
    ctx.tasks.spawn_loop("execute-switch", RECONNECT, move || {
        let switch = switch.clone();
        async move { Ok(switch.follow().await?) }
    });
    spawn_ticks(&ctx, shared);
    health.set_all_serving(true);
    Ok(Handle { addr, health })
}

fn spawn_writers(ctx: &Context, shared: &Arc<Shared>) {
    // Bounded by the directives that are under way: each has one undo at most.
    let (sender, receiver) = mpsc::unbounded_channel();
    let recorder = Recorder::new(shared.clone(), ctx.clone(), sender);
    ctx.tasks.spawn("execute-recorder", OnFailure::StopProcess, async move {
        recorder.run().await;
        Ok(())
    });
    let errands = errands::run(shared.clone(), ctx.clone(), receiver);
    ctx.tasks.spawn("execute-errands", OnFailure::StopProcess, async move {
        errands.await;
        Ok(())
    });
}

fn spawn_followers(ctx: &Context, shared: &Arc<Shared>, knowledge: Knowledge, analyze: Analyze) {
    let following = shared.clone();
    ctx.tasks.spawn_loop("execute-directives", RECONNECT, move || {
        let (shared, knowledge) = (following.clone(), knowledge.clone());
        async move { Ok(follow::directives(&shared, &knowledge).await?) }
    });
    let following = shared.clone();
    ctx.tasks.spawn_loop("execute-assessments", RECONNECT, move || {
        let (shared, analyze) = (following.clone(), analyze.clone());
        async move { Ok(follow::assessments(&shared, &analyze).await?) }
    });
}

/// Learns once who holds leases, as soon as Knowledge can say; from then on they come here.
fn spawn_leases(ctx: &Context, leases: Leases) {
    ctx.tasks.spawn_loop("execute-leases", RECONNECT, move || {
        let leases = leases.clone();
        async move {
            leases.refresh().await?;
            std::future::pending().await
        }
    });
}

fn spawn_ticks(ctx: &Context, shared: Arc<Shared>) {
    let stopper = ctx.stopper.clone();
    ctx.tasks.spawn("execute-ticks", OnFailure::StopProcess, async move {
        let mut gauged = Duration::ZERO;
        while !stopper.is_stopped() {
            let now = shared.clock.now();
            let wake = shared.with(|engine, _| engine.next_wake());
            let wait = wake.map_or(TICK_INTERVAL, |wake| between(now, wake).clamp(TICK_MIN, TICK_INTERVAL));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stopper.stopped() => break,
            }
            shared.with(|engine, now| engine.tick(now));
            // Counting costs more than looking; deadlines may come by the millisecond.
            if shared.clock.monotonic().saturating_sub(gauged) >= TICK_INTERVAL {
                shared.gauge();
                gauged = shared.clock.monotonic();
            }
        }
        Ok(())
    });
}
