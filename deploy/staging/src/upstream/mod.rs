//! Calls along one edge: through its breaker, to a replica that the balancer picks, within a timeout.

mod balancer;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use breaker::{Breaker, Mode, Outcome, Permit, Priority, Rejection};
use bytes::Bytes;
use chassis::{IdGenerator, SharedClock};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub(crate) use balancer::Balancer;

/// A failed connection is tried once more, on another replica if there is one.
const CONNECT_ATTEMPTS: usize = 2;

/// Local connections are made in microseconds; a listener whose backlog is full must not hold a worker for long.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// The header that says that an answer is not the whole one.
pub(crate) const DEGRADED: &str = "x-degraded";

/// The header that says whose fault a failure is, when it is not the answering service's own: somebody it had to ask.
pub(crate) const ORIGIN: &str = "x-fault-origin";

/// The header that says how much a request matters: `low`, `normal`, `high` or `critical`.
pub(crate) const PRIORITY: &str = "x-priority";

/// A priority by its name; what is not said is normal.
pub(crate) fn priority(name: Option<&http::HeaderValue>) -> Priority {
    let named = |priority: &Priority| name.is_some_and(|name| name.as_bytes() == word(*priority).as_bytes());
    Priority::ALL.into_iter().find(named).unwrap_or_default()
}

fn word(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
        Priority::Critical => "critical",
    }
}

/// An HTTP client that keeps its connections.
pub(crate) type HttpClient = Client<HttpConnector, Empty<Bytes>>;

/// A client with pooled connections and no delay of small packets.
pub(crate) fn http_client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector)
}

/// What a call came back with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: http::StatusCode,
    pub(crate) degraded: bool,
    /// A failure that is not the answering service's own.
    pub(crate) elsewhere: bool,
    pub(crate) body: Bytes,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the breaker did not admit the call")]
    Rejected(#[source] Rejection),
    #[error("the callee has no replica")]
    NoReplica,
    #[error("the call took longer than {0:?}")]
    TimedOut(Duration),
    #[error("the callee did not answer")]
    Client(#[source] hyper_util::client::legacy::Error),
    #[error("the answer broke off")]
    Body(#[source] hyper::Error),
    #[error("the callee failed with {0}")]
    Status(http::StatusCode),
    #[error("the callee failed with {0}, and says that it was not its fault")]
    Elsewhere(http::StatusCode),
}

/// Leave to call.
#[derive(Debug)]
pub(crate) struct Admitted {
    permit: Permit<Arc<Breaker>>,
    priority: Priority,
    /// Whether the call is to find out if the callee is back.
    pub(crate) is_probe: bool,
}

/// One outgoing edge.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) balancer: Arc<Balancer>,
    pub(crate) client: HttpClient,
    pub(crate) timeout: Duration,
    pub(crate) clock: SharedClock,
    pub(crate) ids: Mutex<IdGenerator>,
}

impl Upstream {
    /// Asks the breaker whether a call that matters so much may be made now.
    pub(crate) fn admit(&self, priority: Priority) -> Result<Admitted, CallError> {
        let now = self.clock.monotonic();
        let permit = self.breaker.try_acquire_owned_as(now, priority).map_err(CallError::Rejected)?;
        let enforced = self.breaker.policy().0.mode == Mode::Enforce;
        Ok(Admitted { is_probe: enforced && permit.is_probe(), permit, priority })
    }

    /// Calls once, and tells the breaker how it went. A status of 500 and above is a failure.
    pub(crate) async fn call(
        &self,
        Admitted { permit, priority, .. }: Admitted,
    ) -> Result<Answer, CallError> {
        let started = self.clock.monotonic();
        let answer = match tokio::time::timeout(self.timeout, self.send(priority)).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::TimedOut(self.timeout)),
        };
        let answer = answer.and_then(|answer| match answer.status.is_server_error() {
            true if answer.elsewhere => Err(CallError::Elsewhere(answer.status)),
            true => Err(CallError::Status(answer.status)),
            false => Ok(answer),
        });
        let now = self.clock.monotonic();
        let outcome = outcome(&answer);
        permit.record(now, outcome, now.saturating_sub(started));
        answer
    }

    async fn send(&self, priority: Priority) -> Result<Answer, CallError> {
        let mut attempt = 1;
        loop {
            let now = self.clock.monotonic();
            let (first, second) = {
                let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
                (ids.next_u64(), ids.next_u64())
            };
            let lease = self.balancer.pick(now, first, second).ok_or(CallError::NoReplica)?;
            match get(&self.client, lease.address(), "/", priority).await {
                Err(CallError::Client(error)) if error.is_connect() => {
                    lease.eject(now);
                    if attempt == CONNECT_ATTEMPTS {
                        return Err(CallError::Client(error));
                    }
                    attempt += 1;
                }
                other => return other,
            }
        }
    }
}

/// What an answer says about the callee. A service without a free worker says 503: that is overload, not failure.
fn outcome(answer: &Result<Answer, CallError>) -> Outcome {
    match answer {
        Ok(_) => Outcome::Success,
        Err(CallError::Status(
            http::StatusCode::SERVICE_UNAVAILABLE | http::StatusCode::TOO_MANY_REQUESTS,
        )) => Outcome::Overload,
        // Who is to blame has a breaker before it already: another one here would only keep its caller from whatever still works.
        Err(CallError::Elsewhere(_)) => Outcome::CallerFault,
        Err(_) => Outcome::Failure,
    }
}

/// One GET, read to its end so that the connection can be used again.
pub(crate) async fn get(
    client: &HttpClient,
    address: std::net::SocketAddr,
    path: &str,
    priority: Priority,
) -> Result<Answer, CallError> {
    let request = http::Request::get(format!("http://{address}{path}"))
        .header(PRIORITY, word(priority))
        .body(Empty::new())
        .expect("an address and a fixed path make a URI");
    let response = client.request(request).await.map_err(CallError::Client)?;
    let status = response.status();
    let degraded = response.headers().contains_key(DEGRADED);
    let elsewhere = response.headers().contains_key(ORIGIN);
    let body = response.into_body().collect().await.map_err(CallError::Body)?.to_bytes();
    Ok(Answer { status, degraded, elsewhere, body })
}
