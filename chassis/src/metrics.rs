//! Our own telemetry over HTTP: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever restarts or routes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus::core::Collector;
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

/// Registers a metric and returns it. One of the same name and labels is replaced: it belonged to a part of this process
/// that has ended and is started again.
///
/// # Panics
/// If the name is taken by a metric of another shape, which is a mistake in the program.
pub fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> C {
    // An error says that there is none to replace.
    let _ = registry.unregister(Box::new(metric.clone()));
    registry.register(Box::new(metric.clone())).expect("each name has one set of labels and one meaning");
    metric
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    /// The status code and body of one page.
    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn serving(readiness: &Readiness) -> (Context, SocketAddr) {
        let ctx = Context::testing(1);
        let address = serve_http(&ctx, "127.0.0.1:0".parse().unwrap(), readiness.clone()).await.unwrap();
        (ctx, address)
    }

    #[tokio::test]
    async fn metrics_page_shows_what_is_registered() {
        let (ctx, address) = serving(&Readiness::default()).await;
        let counter = prometheus::IntCounter::new("homeostat_test_things_total", "Things.").unwrap();
        ctx.metrics.register(Box::new(counter.clone())).unwrap();
        counter.inc_by(3);
        let (code, body) = get(address, "/metrics").await;
        assert_eq!(code, 200);
        assert!(body.contains("\nhomeostat_test_things_total 3\n"), "{body}");
    }

    #[test]
    fn metric_of_a_restarted_part_replaces_the_old_one() {
        let registry = Registry::new();
        let counter = || prometheus::IntCounter::new("homeostat_test_things_total", "Things.").unwrap();
        register(&registry, counter()).inc_by(3);
        register(&registry, counter()).inc();
        assert!(text(&registry).contains("\nhomeostat_test_things_total 1\n"), "{}", text(&registry));
    }

    #[tokio::test]
    async fn process_is_ready_only_when_every_service_of_every_server_is() {
        let readiness = Readiness::default();
        let (_ctx, address) = serving(&readiness).await;
        assert_eq!(get(address, "/readyz").await, (503, "not ready: starting\n".to_owned()));
        let (first, second) = (Health::new(&["a", "b"]), Health::new(&["c"]));
        readiness.add(first.clone());
        readiness.add(second.clone());
        first.set_all_serving(true);
        assert_eq!(get(address, "/readyz").await, (503, "not ready: c\n".to_owned()));
        second.set_serving("c", true);
        assert_eq!(get(address, "/readyz").await, (200, "ok\n".to_owned()));
        assert_eq!(get(address, "/healthz").await, (200, "ok\n".to_owned()));
    }

    #[tokio::test]
    async fn pages_are_gone_after_a_stop() {
        let (ctx, address) = serving(&Readiness::default()).await;
        ctx.stopper.stop();
        assert!(ctx.tasks.join(std::time::Duration::from_secs(10)).await.is_empty());
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn stopping_process_is_neither_healthy_nor_ready() {
        let stopper = Stopper::new();
        stopper.stop();
        let readiness = Health::new(&[]).into();
        let pages = Pages { metrics: Registry::new(), stopper, readiness };
        assert_eq!(healthz(State(pages.clone())).await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(readyz(State(pages)).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn port_in_use_is_named() {
        let (ctx, address) = serving(&Readiness::default()).await;
        let error = serve_http(&ctx, address, Readiness::default()).await.unwrap_err();
        assert!(matches!(error, BindError::InUse { listen, .. } if listen == address));
    }
}
