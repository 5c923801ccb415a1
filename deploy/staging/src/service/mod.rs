//! One replica of a service: workers that take their time, calls to the next service, metrics of it all.

mod breaking;
mod metrics;
mod pace;
mod pool;
mod server;
mod stock;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::breaker::Priority;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chassis::{Context, OnFailure};
use futures::FutureExt;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::dir::{Dir, Endpoint, Listening};
use crate::edges::{self, EdgeBreakers, FirstMode};
use crate::faults::{Effects, Faults, Followed};
use crate::files::{self, FileError};
use crate::link::{self, LinkError};
use crate::mode::{self, Mode};
use crate::topology::Role;
use crate::upstream::{self, Admitted, Answer, Balancer, CallError, DEGRADED, ORIGIN, PRIORITY, Upstream};
use metrics::{Metrics, UpstreamOutcome};
use pace::Pace;
use pool::Pool;
use stock::{Counting, Index};

/// A hung request is held this long, longer than any caller waits.
const HANG: Duration = Duration::from_secs(30);

/// What a replica is told. What is not told comes from its role's [`crate::topology::Capacity`].
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct ServiceArgs {
    /// Name of this replica, `catalog-3`.
    #[arg(long)]
    pub name: String,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The cluster's directory.
    #[arg(long)]
    pub data_dir: PathBuf,
    /// Requests served at a time.
    #[arg(long)]
    pub workers: Option<usize>,
    /// Requests that may wait.
    #[arg(long)]
    pub queue: Option<usize>,
    /// Mean time of a request in a worker, in milliseconds.
    #[arg(long)]
    pub service_time_ms: Option<u64>,
    /// How long a call to the next service may take, in milliseconds.
    #[arg(long)]
    pub upstream_timeout_ms: Option<u64>,
    /// How long starting up takes, in milliseconds, before the replica listens.
    #[arg(long, default_value_t = 0)]
    pub start_up_ms: u64,
    /// Seed of service times, choices and jitter; the name varies it.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The replica ends when this process is gone.
    #[arg(long)]
    pub owner_pid: Option<u32>,
    /// Execute's address, for the actuator of this process's breakers.
    #[arg(long)]
    pub execute_url: Option<String>,
    /// What the breakers do before anybody sets a policy.
    #[arg(long, value_enum, default_value_t)]
    pub breaker: FirstMode,
    /// Whether the breakers learn a concurrency limit.
    #[arg(long)]
    pub breaker_limit: bool,
}

/// Why a replica did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not ours.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// It cannot say that it listens.
    #[error(transparent)]
    Ready(#[from] FileError),
    /// Its breakers cannot be linked to Execute.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// A running replica; it ends with its context's stopper.
#[derive(Debug)]
pub struct Handle {
    /// Where it listens.
    pub address: SocketAddr,
    /// The breakers of its outgoing edges.
    pub edges: EdgeBreakers,
}

/// Runs a gateway until stopped.
pub async fn run_gateway(args: ServiceArgs, ctx: &Context) -> Result<(), StartError> {
    run(Role::Gateway, args, ctx).await
}

/// Runs a catalog replica until stopped.
pub async fn run_catalog(args: ServiceArgs, ctx: &Context) -> Result<(), StartError> {
    run(Role::Catalog, args, ctx).await
}

/// Runs an inventory replica until stopped.
pub async fn run_inventory(args: ServiceArgs, ctx: &Context) -> Result<(), StartError> {
    run(Role::Inventory, args, ctx).await
}

async fn run(role: Role, args: ServiceArgs, ctx: &Context) -> Result<(), StartError> {
    let (name, execute_url) = (args.name.clone(), args.execute_url.clone());
    let handle = start(role, args, ctx).await?;
    if let Some(url) = execute_url.filter(|_| handle.edges.names().next().is_some()) {
        link::set_breakers(&handle.edges, &name, &url, ctx)?;
    }
    ctx.stopper.stopped().await;
    Ok(())
}

/// Starts a replica in this process. Its metrics go to `ctx.metrics`, so two replicas need two contexts.
pub async fn start(role: Role, args: ServiceArgs, ctx: &Context) -> Result<Handle, StartError> {
    tokio::time::sleep(Duration::from_millis(args.start_up_ms)).await;
    let listener =
        TcpListener::bind(args.listen).await.map_err(|error| StartError::Listen(args.listen, error))?;
    let address = listener.local_addr().map_err(|error| StartError::Listen(args.listen, error))?;
    let dir = Dir::new(&args.data_dir);
    let (faults_sender, faults) = watch::channel(Faults::default());
    spawn(ctx, "faults", files::follow(dir.faults(), faults_sender));
    if let Some(pid) = args.owner_pid {
        let stopper = ctx.stopper.clone();
        spawn(ctx, "owner", crate::process::gone(pid).map(move |()| stopper.stop()));
    }
    let faults = Followed::new(faults, role.name(), &args.name);
    let (mode_sender, mode) = watch::channel(mode::Standing::default());
    spawn(ctx, "mode", files::follow(dir.mode(role), mode_sender));
    let replica = Arc::new(Replica::new(role, &args, (faults.clone(), mode::Followed(mode)), ctx));
    if let Some(next) = &replica.next {
        spawn(ctx, "endpoints", follow_endpoints(&dir, next.callee, Arc::clone(&next.upstream.balancer)));
    }
    let edges = replica.edges.clone();
    edges::import_baselines(&edges, &dir, ctx.clock.monotonic());
    spawn(ctx, "baselines", edges::export_baselines(edges.clone(), dir.clone(), ctx.clock.clone()));
    let server = server::serve(listener, router(replica), faults, ctx.stopper.clone());
    ctx.tasks.spawn("server", OnFailure::StopProcess, server.map(Ok));
    files::write_json(&dir.ready(&args.name), &Listening { pid: std::process::id(), address })?;
    tracing::info!(instance = args.name, %address, "replica listens");
    Ok(Handle { address, edges })
}

/// Background work that ends with the replica.
fn spawn(ctx: &Context, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let stopper = ctx.stopper.clone();
    ctx.tasks.spawn(name, OnFailure::StopProcess, async move {
        tokio::select! {
            () = work => {}
            () = stopper.stopped() => {}
        }
        Ok(())
    });
}

fn follow_endpoints(dir: &Dir, callee: Role, balancer: Arc<Balancer>) -> impl Future<Output = ()> + use<> {
    let (sender, mut endpoints) = watch::channel(Vec::<Endpoint>::new());
    let follow = files::follow(dir.endpoints(callee), sender);
    let apply = async move {
        while endpoints.changed().await.is_ok() {
            let addresses: Vec<_> = endpoints.borrow_and_update().iter().map(|e| e.address).collect();
            balancer.update(&addresses);
        }
    };
    futures::future::join(follow, apply).map(|((), ())| ())
}

/// The outgoing edge.
#[derive(Debug)]
struct Next {
    callee: Role,
    upstream: Upstream,
}

#[derive(Debug)]
struct Replica {
    role: Role,
    name: String,
    pool: Pool,
    pace: Pace,
    next: Option<Next>,
    edges: EdgeBreakers,
    faults: Followed,
    mode: mode::Followed,
    metrics: Metrics,
    /// Inventory's.
    counting: Option<Counting>,
    /// Catalog's.
    index: Option<Index>,
    ctx: Context,
    in_flight: AtomicUsize,
}

impl Replica {
    fn new(
        role: Role,
        args: &ServiceArgs,
        (faults, mode): (Followed, mode::Followed),
        ctx: &Context,
    ) -> Self {
        let capacity = role.capacity();
        let ms = |given: Option<u64>, default| given.map_or(default, Duration::from_millis);
        let workers = args.workers.unwrap_or(capacity.workers);
        let queue = args.queue.unwrap_or(capacity.queue);
        let mut ids = chassis::IdGenerator::from_seed(args.seed ^ name_seed(&args.name));
        let zero_s = ctx.clock.now().as_second() as f64 - ctx.clock.monotonic().as_secs_f64();
        let setup = breaker::Setup { seed: ids.next_u64(), unix_at_zero: zero_s };
        let edges = EdgeBreakers::new(role.edge(), &args.breaker.policy(args.breaker_limit), setup)
            .expect("the default policy is valid with and without a limit");
        let next = role.callee().zip(role.edge().and_then(|edge| edges.get(&edge).cloned()));
        let next = next.map(|(callee, breaker)| Next {
            callee,
            upstream: Upstream {
                breaker,
                balancer: Arc::default(),
                client: upstream::http_client(),
                timeout: ms(args.upstream_timeout_ms, capacity.upstream_timeout),
                clock: ctx.clock.clone(),
                ids: Mutex::new(ids.fork()),
            },
        });
        let started_s = ctx.clock.now().as_microsecond() as f64 / 1e6;
        Self {
            role,
            name: args.name.clone(),
            pool: Pool::new(workers, queue, ctx.clock.clone()),
            pace: Pace::new(ms(args.service_time_ms, capacity.service_time), ids.fork()),
            next,
            edges,
            faults,
            mode,
            metrics: Metrics::new(&ctx.metrics, role, workers, started_s),
            counting: (role == Role::Inventory).then(|| Counting::new(&ctx.metrics)),
            index: (role == Role::Catalog).then(|| Index::new(&ctx.metrics)),
            ctx: ctx.clone(),
            in_flight: Default::default(),
        }
    }

    /// One request: wait for a worker, work, ask the next service.
    async fn serve(self: &Arc<Self>, priority: Priority) -> Ended {
        let Ok(_worker) = self.pool.acquire().await else {
            return Ended::with(StatusCode::SERVICE_UNAVAILABLE);
        };
        let effects = self.faults.now();
        if effects.hang {
            tokio::time::sleep(HANG).await;
        }
        tokio::time::sleep(self.pace.next() + effects.added).await;
        if self.pace.among(effects.error_ratio) {
            return Ended::with(StatusCode::INTERNAL_SERVER_ERROR);
        }
        match &self.next {
            Some(next) => self.ask(next, priority).await,
            None => Ended::with(StatusCode::OK),
        }
    }

    /// A rejected call costs part of the answer at catalog, and all of it at the gateway, which has nothing of its own.
    async fn ask(self: &Arc<Self>, next: &Next, priority: Priority) -> Ended {
        match next.upstream.admit(priority) {
            // A user does not wait for the answer to "are you back?": the probe goes on by itself.
            Ok(admitted) if admitted.is_probe && self.role == Role::Catalog => {
                let replica = Arc::clone(self);
                spawn(&self.ctx, "probe", async move {
                    if let Some(next) = &replica.next {
                        replica.called(next, Ok(admitted)).await;
                    }
                });
                Ended::without_the_callee()
            }
            admitted => self.called(next, admitted).await,
        }
    }

    async fn called(&self, next: &Next, admitted: Result<Admitted, CallError>) -> Ended {
        let started = self.ctx.clock.monotonic();
        let result = match admitted {
            Ok(admitted) => next.upstream.call(admitted).await,
            Err(rejected) => Err(rejected),
        };
        let outcome = match &result {
            Ok(_) => UpstreamOutcome::Success,
            Err(CallError::Rejected(_)) => UpstreamOutcome::Rejected,
            Err(_) => UpstreamOutcome::Failure,
        };
        let seconds = self.ctx.clock.monotonic().saturating_sub(started).as_secs_f64();
        self.metrics.called(next.callee, outcome, seconds);
        match result {
            Ok(Answer { status, degraded, body, .. }) => {
                if let Some(index) = &self.index {
                    index.take(&body, self.ctx.clock.now());
                }
                Ended { degraded, ..Ended::with(status) }
            }
            Err(CallError::Rejected(_)) if self.role == Role::Catalog => Ended::without_the_callee(),
            Err(CallError::Rejected(_)) => Ended::with(StatusCode::SERVICE_UNAVAILABLE),
            Err(error) => {
                tracing::debug!(callee = %next.callee, "{}", chassis::chain(&error));
                Ended { elsewhere: true, ..Ended::with(StatusCode::BAD_GATEWAY) }
            }
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy)]
struct Ended {
    status: StatusCode,
    /// The answer is not the whole one.
    degraded: bool,
    /// A failure of somebody that had to be asked.
    elsewhere: bool,
}

impl Ended {
    fn with(status: StatusCode) -> Self {
        Self { status, degraded: false, elsewhere: false }
    }

    fn without_the_callee() -> Self {
        Self { degraded: true, ..Self::with(StatusCode::OK) }
    }
}

/// Each replica has its own sequence: FNV-1a of its name.
fn name_seed(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn router(replica: Arc<Replica>) -> Router {
    Router::new()
        .route("/", get(answer).post(write).put(write).patch(write).delete(write))
        .route(mode::PATH, get(mode_in_force))
        .route("/healthz", get(|| async { "ok" }))
        .route("/inflight", get(inflight))
        .route("/metrics", get(metrics_text))
        .route("/breakers", get(breakers))
        .route("/faults", get(faults_in_force))
        .with_state(replica)
}

async fn answer(State(replica): State<Arc<Replica>>, asked: HeaderMap) -> Response {
    let served = Served::new(&replica);
    let Ended { status, degraded, elsewhere } = replica.serve(upstream::priority(asked.get(PRIORITY))).await;
    served.finish(status, degraded);
    let mut headers = HeaderMap::new();
    if degraded {
        headers.insert(DEGRADED, HeaderValue::from_static("true"));
    }
    if let Some(next) = replica.next.as_ref().filter(|_| elsewhere) {
        headers.insert(ORIGIN, HeaderValue::from_static(next.callee.name()));
    }
    let counting = replica.counting.as_ref().filter(|_| status.is_success());
    let stock = counting.map(|counting| counting.figure(replica.ctx.clock.now()));
    (status, headers, Json(json!({ "served_by": replica.name, "degraded": degraded, "stock": stock })))
        .into_response()
}

/// As any request, unless writes are not taken: then it says so at once, and counts as no failure of the service.
async fn write(state: State<Arc<Replica>>, asked: HeaderMap) -> Response {
    match state.mode.now() {
        Mode::Normal => answer(state, asked).await,
        refusing @ Mode::ReadOnly => {
            state.metrics.refuse_write();
            (StatusCode::SERVICE_UNAVAILABLE, [(mode::HEADER, refusing.name())]).into_response()
        }
    }
}

/// How this process works now: whoever sets the mode can see that it is in force.
async fn mode_in_force(State(replica): State<Arc<Replica>>) -> Json<Mode> {
    Json(replica.mode.now())
}

async fn inflight(State(replica): State<Arc<Replica>>) -> String {
    replica.in_flight.load(Ordering::Relaxed).to_string()
}

/// What this process's breakers look like and how that came about.
async fn breakers(State(replica): State<Arc<Replica>>) -> Json<serde_json::Value> {
    Json(edges::to_json(&replica.edges, replica.ctx.clock.monotonic()))
}

/// What this process does wrong on command, now: whoever injects a fault can see that it is in force.
async fn faults_in_force(State(replica): State<Arc<Replica>>) -> Json<Effects> {
    Json(replica.faults.now())
}

async fn metrics_text(State(replica): State<Arc<Replica>>) -> Response {
    if replica.faults.now().metrics_gone {
        return StatusCode::NOT_FOUND.into_response();
    }
    replica.metrics.refresh(&replica.pool, &replica.edges, replica.ctx.clock.monotonic());
    ([("content-type", "text/plain; version=0.0.4")], chassis::metrics::text(&replica.ctx.metrics))
        .into_response()
}

/// A request being served. One whose caller goes away is counted too, with the customary status of its own.
struct Served<'a> {
    replica: &'a Replica,
    started: Duration,
    ended: (StatusCode, bool),
}

impl<'a> Served<'a> {
    fn new(replica: &'a Replica) -> Self {
        replica.in_flight.fetch_add(1, Ordering::Relaxed);
        let gone = StatusCode::from_u16(499).expect("three digits");
        Self { replica, started: replica.ctx.clock.monotonic(), ended: (gone, false) }
    }

    fn finish(mut self, status: StatusCode, degraded: bool) {
        self.ended = (status, degraded);
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let Self { replica, started, ended: (status, degraded) } = self;
        replica.in_flight.fetch_sub(1, Ordering::Relaxed);
        let took = replica.ctx.clock.monotonic().saturating_sub(*started);
        replica.metrics.answered(*status, *degraded, took.as_secs_f64());
    }
}
