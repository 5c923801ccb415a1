//! The accept loop: HTTP/1.1 over plain sockets, with the one thing a framework cannot do: hang up without an answer.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use chassis::Stopper;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::faults::Followed;

/// When stopping, requests in flight get this long: the longest answer of a healthy replica is far below.
const DRAIN: Duration = Duration::from_secs(2);

/// A failed accept (no descriptors left) is tried again after this, not at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The caller is dropped instead of answered.
#[derive(Debug, thiserror::Error)]
#[error("fault: hung up on the caller")]
struct HungUp;

/// Serves until stopped, then lets requests in flight finish.
pub(crate) async fn serve(listener: TcpListener, router: Router, faults: Followed, stopper: Stopper) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone(), faults.clone(), stopper.clone()));
                }
                Err(error) => {
                    tracing::warn!("cannot accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = stopper.stopped() => break,
        }
    }
    drop(listener);
    // Whoever is still there afterwards is dropped with the set.
    let _ = tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, router: Router, faults: Followed, stopper: Stopper) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (router, down) = (router.clone(), faults.now().down && request.uri().path() == "/");
        async move {
            match down {
                true => Err(HungUp),
                false => Ok(infallible(router.oneshot(request.map(axum::body::Body::new)).await)),
            }
        }
    });
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopper.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("connection ended: {error}");
    }
}

fn infallible(result: Result<Response, Infallible>) -> Response {
    match result {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
