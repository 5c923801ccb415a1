//! How Knowledge starts, what runs in it, and in which order it ends: calls, then the lanes, then Postgres.

mod pruning;
mod tail;

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chassis::grpc::{DRAIN_DEADLINE, MESSAGE_LIMIT_BYTES};
use chassis::{Context, GrpcServer, Health, Invalid, OnFailure, Stopper, Validate};
use proto::wire::knowledge_server::KnowledgeServer;
use proto::wire::objectives_server::ObjectivesServer;
use proto::wire::seasonalities_server::SeasonalitiesServer;
use proto::wire::standings_server::StandingsServer;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::config::Config;
use crate::embedded::{Embedded, EmbeddedConfig, EmbeddedError};
use crate::grpc::{ObjectivesRpc, SeasonalitiesRpc, Service, StandingsRpc};
use crate::hub::Hub;
use crate::hub::watch::Feed;
use crate::metrics::Metrics;
use crate::store::Error;
use crate::store::SchemaError;
use crate::store::migrations;
use crate::store::{self, Session, Store};
use crate::writer::lane::{Execute, Lane, Worker};
use crate::writer::{Bodies, Bulk, Ledger};
use tail::Tail;

/// The service's full name on the wire.
const NAME: &str = "homeostat.v1.Knowledge";
/// The service of objectives beside it.
const OBJECTIVES: &str = "homeostat.v1.Objectives";
/// The service of seasons beside it.
const SEASONALITIES: &str = "homeostat.v1.Seasonalities";
const STANDINGS: &str = "homeostat.v1.Standings";
/// How long a caller waits for a connection before it is told that the database is away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections of the lanes: one each.
const LANE_CONNECTIONS: u32 = 2;
/// After the calls had [`DRAIN_DEADLINE`] to finish, no more commands are taken.
const CUT_AFTER: Duration = DRAIN_DEADLINE.saturating_add(Duration::from_millis(500));

/// Why Knowledge cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings break a rule.
    #[error("knowledge's settings are not usable")]
    Config(#[source] Invalid),
    /// The port cannot be had.
    #[error("knowledge cannot listen")]
    Bind(#[from] chassis::grpc::BindError),
    /// The private cluster does not start.
    #[error("the private Postgres does not start")]
    Embedded(#[source] Box<EmbeddedError>),
    /// The database cannot be reached.
    #[error("cannot connect to the database")]
    Connect(#[source] sqlx::Error),
    /// The schema cannot be used.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The first reading failed.
    #[error("cannot read the ledger")]
    Read(#[source] Error),
    /// Two instances share one registry of metrics.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
    /// The descriptors are damaged.
    #[error("cannot serve")]
    Serve(#[from] chassis::grpc::ServeError),
}

/// A running Knowledge. It runs in the context's tasks; stop it through the context's stopper.
#[derive(Debug, Clone)]
pub struct Handle {
    /// Where the gRPC API is served.
    pub addr: SocketAddr,
    /// Whether it takes calls.
    pub health: Health,
    /// Where the private Postgres answers; none with a database of the user's.
    pub private_database_url: Option<String>,
}

/// Starts Knowledge: opens the port, starts or connects to Postgres, brings the schema up to date, and serves.
///
/// # Errors
/// When any of these cannot be done; nothing is left running then.
pub async fn start(config: Config, ctx: Context) -> Result<Handle, StartError> {
    config.validate().map_err(StartError::Config)?;
    let server = GrpcServer::bind(&config.server).await?;
    let addr = server.local_addr();
    let (options, private) = database(&config).await?;
    let private_database_url = private.as_ref().map(Embedded::url);
    match Parts::prepare(&config, &ctx, options).await {
        Ok(parts) => {
            let objectives = ObjectivesRpc { pool: parts.store.pool.clone(), clock: ctx.clock.clone() };
            let seasonalities = SeasonalitiesRpc { pool: parts.store.pool.clone() };
            let standings = StandingsRpc { pool: parts.store.pool.clone() };
            let (service, tail) = parts.spawn(&config, &ctx, private);
            let service = KnowledgeServer::new(service)
                .max_decoding_message_size(MESSAGE_LIMIT_BYTES)
                .max_encoding_message_size(MESSAGE_LIMIT_BYTES);
            let objectives = ObjectivesServer::new(objectives)
                .max_decoding_message_size(MESSAGE_LIMIT_BYTES)
                .max_encoding_message_size(MESSAGE_LIMIT_BYTES);
            let seasonalities = SeasonalitiesServer::new(seasonalities)
                .max_decoding_message_size(MESSAGE_LIMIT_BYTES)
                .max_encoding_message_size(MESSAGE_LIMIT_BYTES);
            let standings = StandingsServer::new(standings)
                .max_decoding_message_size(MESSAGE_LIMIT_BYTES)
                .max_encoding_message_size(MESSAGE_LIMIT_BYTES);
            let routes = tonic::service::Routes::new(service)
                .add_service(objectives)
                .add_service(seasonalities)
                .add_service(standings);
            let served = [NAME, OBJECTIVES, SEASONALITIES, STANDINGS];
            let health = server
                .serve(&ctx, "knowledge", routes, proto::DESCRIPTORS, &served)
                .inspect_err(|_| ctx.stopper.stop())?;
            health.set_all_serving(true);
            tail.spawn(&ctx, health.clone());
            Ok(Handle { addr, health, private_database_url })
        }
        Err(error) => {
            if let Some(private) = private {
                private.stop().await;
            }
            Err(error)
        }
    }
}

async fn database(config: &Config) -> Result<(PgConnectOptions, Option<Embedded>), StartError> {
    if let Some(url) = &config.database_url {
        let options = PgConnectOptions::from_str(url).map_err(StartError::Connect)?;
        return Ok((options.application_name("homeostat"), None));
    }
    let environment = chassis::config::environment();
    let embedded = EmbeddedConfig {
        data_dir: config.data_dir.clone(),
        binaries: config.postgres_dir.clone(),
        ..EmbeddedConfig::from_environment(&environment)
    };
    let private = Embedded::start(embedded).await.map_err(|error| StartError::Embedded(Box::new(error)))?;
    Ok((private.connect_options().application_name("homeostat"), Some(private)))
}

/// What is made before anything runs.
struct Parts {
    store: Store,
    lanes: PgConnectOptions,
    hub: Arc<Hub>,
    metrics: Metrics,
    sender: Uuid,
}

impl Parts {
    async fn prepare(config: &Config, ctx: &Context, options: PgConnectOptions) -> Result<Self, StartError> {
        let pool =
            |connections| PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
        let readers = pool(config.max_connections - LANE_CONNECTIONS)
            .connect_with(options.clone())
            .await
            .map_err(StartError::Connect)?;
        migrations::run(&readers).await?;
        // The lanes find rows by index only. A plan made while a table was small would otherwise scan it for ever.
        let by_index = [
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("jit", "off"),
        ];
        let lanes = options.options(by_index);
        let mut connection = readers.acquire().await.map_err(StartError::Connect)?;
        let revision = store::change::revision(&mut connection).await.map_err(StartError::Read)?;
        drop(connection);
        let metrics = Metrics::register(&ctx.metrics)?;
        metrics.revision.set(store::signed(revision));
        metrics.reachable.set(1);
        let hub = Arc::new(Hub::new(revision));
        Ok(Self { store: Store { pool: readers }, lanes, hub, metrics, sender: ctx.uuid() })
    }

    /// Runs the lanes, retention, and the private Postgres, which outlives the lanes.
    fn spawn(self, config: &Config, ctx: &Context, private: Option<Embedded>) -> (Service, Tail) {
        let Self { store, lanes, hub, metrics, sender } = self;
        let ledger = Ledger {
            session: Session::new(lanes.clone()),
            clock: ctx.clock.clone(),
            hub: hub.clone(),
            sender,
            metrics: metrics.clone(),
            bodies: Bodies::default(),
        };
        let (ledger, ledger_worker) = Lane::new(ledger, metrics.lane("ledger"));
        let (bulk, bulk_worker) =
            Lane::new(Bulk { session: Session::new(lanes), metrics: metrics.clone() }, metrics.lane("bulk"));
        let (working, drained) = mpsc::channel(1);
        spawn_lane(ctx, "knowledge-ledger", ledger_worker, working.clone());
        spawn_lane(ctx, "knowledge-bulk", bulk_worker, working);
        let keep = pruning::keep(store.clone(), config.retention.clone(), metrics.clone(), ctx.clone());
        ctx.tasks.spawn("knowledge-retention", OnFailure::Log, async move {
            keep.await;
            Ok(())
        });
        let end = End { drained, readers: store.pool.clone() };
        let stopper = ctx.stopper.clone();
        ctx.tasks.spawn("knowledge-database", OnFailure::StopProcess, async move {
            match private {
                Some(private) => private.supervise(end.reached(stopper)).await,
                None => end.reached(stopper).await,
            }
            Ok(())
        });
        let tail = Tail { store: store.clone(), hub: hub.clone(), metrics: metrics.clone(), sender };
        let feed = Feed { store, hub, metrics };
        (Service { feed, ledger, bulk, ctx: ctx.clone() }, tail)
    }
}

fn spawn_lane<E: Execute>(ctx: &Context, name: &'static str, worker: Worker<E>, working: mpsc::Sender<()>) {
    let stopper = ctx.stopper.clone();
    ctx.tasks.spawn(name, OnFailure::StopProcess, async move {
        let cut = async move {
            stopper.stopped().await;
            tokio::time::sleep(CUT_AFTER).await;
        };
        worker.run(cut).await;
        drop(working);
        Ok(())
    });
}

/// When the database is no longer needed: stopped, and both lanes have written what they had.
struct End {
    drained: mpsc::Receiver<()>,
    readers: PgPool,
}

impl End {
    async fn reached(mut self, stopper: Stopper) {
        stopper.stopped().await;
        while self.drained.recv().await.is_some() {}
        self.readers.close().await;
    }
}
