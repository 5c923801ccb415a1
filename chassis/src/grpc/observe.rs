//! What every server tells about its calls: a count and a duration per method, and a span under the caller's trace.

use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use tonic::codegen::http::{HeaderMap, HeaderName, Request, Response};
use tonic::metadata::{MetadataKey, MetadataMap};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::clock::SharedClock;
use crate::context::Context;
use crate::metrics::register;

/// From half a millisecond, what a call within one machine takes, to 10 s, when every caller has given up; each about double.
const DURATION_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// Puts the current span into a request, so that the server's work joins the caller's trace. An interceptor:
/// `KnowledgeClient::with_interceptor(channel, chassis::grpc::propagate_trace)`.
///
/// # Errors
/// Never; the type is that of an interceptor.
pub fn propagate_trace(mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
    let span = tracing::Span::current().context();
    TraceContextPropagator::new().inject_context(&span, &mut Outgoing(request.metadata_mut()));
    Ok(request)
}

struct Outgoing<'a>(&'a mut MetadataMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), value.parse()) {
            self.0.insert(key, value);
        }
    }
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// A layer that observes every call of one server.
#[derive(Debug, Clone)]
pub(super) struct Observe {
    requests: IntCounterVec,
    durations: HistogramVec,
    clock: SharedClock,
}

impl Observe {
    pub(super) fn new(ctx: &Context, server: &'static str) -> Self {
        let (requests, durations) = metrics(&ctx.metrics, server);
        Self { requests, durations, clock: ctx.clock.clone() }
    }
}

fn metrics(registry: &Registry, server: &str) -> (IntCounterVec, HistogramVec) {
    let requests = Opts::new(
        "homeostat_chassis_requests_total",
        "gRPC calls by the status they were answered with; a stream counts when it opens.",
    );
    let durations = HistogramOpts::new(
        "homeostat_chassis_request_duration_seconds",
        "Time from a gRPC call to its answer, or to the opening of its stream.",
    );
    let requests = IntCounterVec::new(requests.const_label("server", server), &["method", "code"]);
    let durations = durations.const_label("server", server).buckets(DURATION_BUCKETS.to_vec());
    let durations = HistogramVec::new(durations, &["method"]);
    (
        register(registry, requests.expect("name and labels are valid")),
        register(registry, durations.expect("name, labels and buckets are valid")),
    )
}

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, observe: self.clone() }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Observed<S> {
    inner: S,
    observe: Observe,
}

impl<S, B, R> Service<Request<B>> for Observed<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = request.uri().path().trim_start_matches('/').to_owned();
        let span = tracing::info_span!("call", method, otel.kind = "server");
        if request.headers().contains_key("traceparent") {
            let parent = TraceContextPropagator::new().extract(&Incoming(request.headers()));
            // Without an exporter there is no trace to join.
            let _ = span.set_parent(parent);
        }
        let Observe { requests, durations, clock } = self.observe.clone();
        let began = clock.monotonic();
        let answer = self.inner.call(request);
        let observed = async move {
            let response = answer.await?;
            let code = code_of(&response);
            // Paths that no service has are the caller's invention, and must not become labels.
            let method = if code == Code::Unimplemented { "unknown" } else { &method };
            requests.with_label_values(&[method, &format!("{code:?}")]).inc();
            durations.with_label_values(&[method]).observe((clock.monotonic() - began).as_secs_f64());
            Ok(response)
        };
        Box::pin(observed.instrument(span))
    }
}

/// An error is known from the head of the response; a success says so only after its messages.
fn code_of<R>(response: &Response<R>) -> Code {
    match response.headers().get("grpc-status") {
        Some(status) => Code::from_bytes(status.as_bytes()),
        None if response.status().is_success() => Code::Ok,
        None => Code::Unimplemented,
    }
}
