//! Every metric of one replica, under the names that dashboards and policies use.

use prometheus::{
    Counter, Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use crate::edges::EdgeBreakers;
use crate::service::breaking::BreakerMetrics;
use crate::service::pool::Pool;
use crate::topology::Role;

/// Fine around the objective of 0.25 s, which is a bound itself, so that its share is exact.
const LATENCY_BUCKETS: [f64; 24] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25, 0.275, 0.3, 0.35, 0.4, 0.5,
    0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0,
];

/// How a call along an edge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpstreamOutcome {
    Success,
    Failure,
    Rejected,
}

impl UpstreamOutcome {
    fn name(self) -> &'static str {
        match self {
            UpstreamOutcome::Success => "success",
            UpstreamOutcome::Failure => "failure",
            UpstreamOutcome::Rejected => "rejected",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Metrics {
    role: Role,
    requests: IntCounterVec,
    good: IntCounter,
    degraded: IntCounter,
    refused_writes: IntCounter,
    duration: HistogramVec,
    busy_seconds: Counter,
    busy: Gauge,
    waiting: Gauge,
    upstream: IntCounterVec,
    upstream_duration: HistogramVec,
    breakers: BreakerMetrics,
    cpu_seconds: Counter,
    memory_bytes: Gauge,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry, role: Role, workers: usize, started_s: f64) -> Self {
        let service = |name: &str, help: &str| Opts::new(name, help).const_label("service", role.name());
        let edge = ["caller", "callee"];
        let histogram =
            |name: &str, help: &str| HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
        let metrics = Self {
            role,
            requests: register(
                registry,
                IntCounterVec::new(
                    Opts::new("http_requests_total", "Requests answered."),
                    &["service", "code"],
                ),
            ),
            good: register(
                registry,
                IntCounter::with_opts(service(
                    "http_requests_good_total",
                    "Requests answered without failure within 250 ms.",
                )),
            ),
            degraded: register(
                registry,
                IntCounter::with_opts(service(
                    "responses_degraded_total",
                    "Requests answered with less than the whole answer.",
                )),
            ),
            refused_writes: register(
                registry,
                IntCounter::with_opts(service(
                    "writes_refused_total",
                    "Writes that were not taken because the service is read-only; they are no requests.",
                )),
            ),
            duration: register(
                registry,
                HistogramVec::new(
                    histogram("http_request_duration_seconds", "From arrival to answer, waiting included."),
                    &["service"],
                ),
            ),
            busy_seconds: register(
                registry,
                Counter::with_opts(service(
                    "worker_busy_seconds_total",
                    "Seconds of all workers at work; its rate over workers_total is the utilisation.",
                )),
            ),
            busy: register(registry, Gauge::with_opts(service("workers_busy", "Workers at work."))),
            waiting: register(
                registry,
                Gauge::with_opts(service("queue_length", "Requests that wait for a worker.")),
            ),
            upstream: register(
                registry,
                IntCounterVec::new(
                    Opts::new("upstream_requests_total", "Calls along an edge."),
                    &["caller", "callee", "outcome"],
                ),
            ),
            upstream_duration: register(
                registry,
                HistogramVec::new(
                    histogram(
                        "upstream_request_duration_seconds",
                        "Calls along an edge, except rejected ones.",
                    ),
                    &edge,
                ),
            ),
            breakers: BreakerMetrics::new(registry),
            cpu_seconds: register(
                registry,
                Counter::with_opts(service("process_cpu_seconds_total", "CPU time of this process.")),
            ),
            memory_bytes: register(
                registry,
                Gauge::with_opts(service("process_resident_memory_bytes", "Memory that this process holds.")),
            ),
        };
        let total = register(registry, IntGauge::with_opts(service("workers_total", "Workers there are.")));
        total.set(i64::try_from(workers).expect("a number of workers"));
        let ready =
            register(registry, IntGauge::with_opts(service("replica_ready", "1 while the replica serves.")));
        ready.set(1);
        let start = register(
            registry,
            Gauge::new("process_start_time_seconds", "When this process began, in Unix seconds."),
        );
        start.set(started_s);
        metrics.begin_at_zero();
        metrics
    }

    /// Series that a rate is taken of must exist before they first count.
    fn begin_at_zero(&self) {
        for code in ["200", "500", "502", "503"] {
            self.requests.with_label_values(&[self.role.name(), code]);
        }
        self.duration.with_label_values(&[self.role.name()]);
        if let Some(callee) = self.role.callee() {
            self.upstream_duration.with_label_values(&[self.role.name(), callee.name()]);
            for outcome in [UpstreamOutcome::Success, UpstreamOutcome::Failure, UpstreamOutcome::Rejected] {
                self.upstream.with_label_values(&[self.role.name(), callee.name(), outcome.name()]);
            }
        }
    }

    pub(crate) fn answered(&self, code: http::StatusCode, degraded: bool, seconds: f64) {
        self.requests.with_label_values(&[self.role.name(), code.as_str()]).inc();
        self.duration.with_label_values(&[self.role.name()]).observe(seconds);
        if code.is_success() && seconds <= crate::topology::OBJECTIVE.as_secs_f64() {
            self.good.inc();
        }
        if degraded {
            self.degraded.inc();
        }
    }

    pub(crate) fn refuse_write(&self) {
        self.refused_writes.inc();
    }

    pub(crate) fn called(&self, callee: Role, outcome: UpstreamOutcome, seconds: f64) {
        let edge = [self.role.name(), callee.name()];
        self.upstream.with_label_values(&[edge[0], edge[1], outcome.name()]).inc();
        if outcome != UpstreamOutcome::Rejected {
            self.upstream_duration.with_label_values(&edge).observe(seconds);
        }
    }

    /// Brings what is counted elsewhere up to date, just before it is read.
    pub(crate) fn refresh(&self, pool: &Pool, edges: &EdgeBreakers, now: std::time::Duration) {
        let (busy, total) = pool.busy();
        self.busy.set(busy as f64);
        raise(&self.busy_seconds, total.as_secs_f64());
        self.waiting.set(pool.waiting() as f64);
        self.breakers.refresh(edges, now);
        if let Some((cpu_s, bytes)) = crate::process::usage() {
            raise(&self.cpu_seconds, cpu_s);
            self.memory_bytes.set(bytes);
        }
    }
}

/// Two readers may race: the counter never goes back, and is exact again with the next reading.
pub(super) fn raise(counter: &Counter, to: f64) {
    counter.inc_by((to - counter.get()).max(0.0));
}

pub(super) fn register<C>(registry: &Registry, made: prometheus::Result<C>) -> C
where
    C: prometheus::core::Collector + Clone + 'static,
{
    let collector = made.expect("names and labels are fixed and valid");
    registry.register(Box::new(collector.clone())).expect("a replica registers each name once");
    collector
}
