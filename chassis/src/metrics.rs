//! Our own telemetry over HTTP: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever restarts or routes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus::{Encoder, Registry, TextEncoder};

use crate::context::Context;
use crate::grpc::{BindError, Health};
use crate::stopper::Stopper;
use crate::tasks::OnFailure;

/// The health of all servers of a process. Clones share it; servers may be added while it is served.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    servers: Arc<Mutex<Vec<Health>>>,
}

impl Readiness {
    /// Makes this server count.
    pub fn add(&self, health: Health) {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).push(health);
    }

    /// The services that do not take calls now; `starting` while there is no server at all.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if servers.is_empty() {
            return vec!["starting".to_owned()];
        }
        servers.iter().flat_map(Health::not_serving).collect()
    }
}

impl From<Health> for Readiness {
    fn from(health: Health) -> Self {
        Self::from_iter([health])
    }
}

impl FromIterator<Health> for Readiness {
    fn from_iter<I: IntoIterator<Item = Health>>(servers: I) -> Self {
        Self { servers: Arc::new(Mutex::new(servers.into_iter().collect())) }
    }
}

/// Serves the three pages until `ctx` stops. Plain text: check `listen` with [`crate::config::require_loopback`] before.
///
/// # Errors
/// If the port cannot be had.
pub async fn serve_http(
    ctx: &Context,
    listen: SocketAddr,
    health: impl Into<Readiness>,
) -> Result<SocketAddr, BindError> {
    let (listener, address) = crate::grpc::listen_on(listen).await?;
    let pages =
        Pages { metrics: ctx.metrics.clone(), stopper: ctx.stopper.clone(), readiness: health.into() };
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(pages);
    let stopper = ctx.stopper.clone();
    ctx.tasks.spawn("metrics", OnFailure::StopProcess, async move {
        let stopped = stopper.clone();
        let serving =
            axum::serve(listener, app).with_graceful_shutdown(async move { stopped.stopped().await });
        let deadline = async {
            stopper.stopped().await;
            tokio::time::sleep(crate::grpc::DRAIN_DEADLINE).await;
        };
        tokio::select! {
            served = serving.into_future() => served?,
            () = deadline => {}
        }
        Ok(())
    });
    Ok(address)
}

/// All metrics in Prometheus' text form.
#[must_use]
pub fn text(registry: &Registry) -> String {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail; a family without samples is skipped, as the format has no way to say it.
    for family in registry.gather() {
        let _ = TextEncoder::new().encode(&[family], &mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[derive(Clone)]
struct Pages {
    metrics: Registry,
    stopper: Stopper,
    readiness: Readiness,
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text(&pages.metrics))
}

async fn healthz(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    if pages.stopper.is_stopped() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

async fn readyz(State(pages): State<Pages>) -> (StatusCode, String) {
    let missing = pages.readiness.missing();
    if pages.stopper.is_stopped() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned())
    } else if missing.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", ")))
    }
}
