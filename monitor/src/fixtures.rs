//! Declared services and targets that several unit tests share.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proto::model::{Declared, DeclaredSpec, EdgeSpec, Objective, Selector, ServiceSpec};

use crate::exposition::{self, Format, parse};
use crate::normalize::normalize;
use crate::series::{Rules, Scrape, SeriesStore};
use crate::tally::Account;
use crate::target::Target;

pub(crate) fn selector(text: &str) -> Selector {
    text.parse().expect("a selector of a test")
}

pub(crate) fn objective(target_ratio: f64, latency_bound: Option<Duration>) -> Objective {
    Objective { target_ratio, latency_bound, window: Duration::from_secs(3_600) }
}

/// A service in `staging` with every role, whose targets have its name as their job.
pub(crate) fn service(name: &str, change: impl FnOnce(&mut ServiceSpec)) -> Declared {
    let edge = EdgeSpec {
        callee: "inventory".to_owned(),
        total: selector("calls_total"),
        good: selector("calls_total{code=\"200\"}"),
        latency: Some(selector("call_seconds")),
    };
    let mut spec = ServiceSpec {
        instances: BTreeMap::from([("job".to_owned(), name.to_owned())]),
        total: selector("requests_total"),
        good: Some(selector("requests_total{code!~\"5..\"}")),
        latency: Some(selector("latency_seconds")),
        busy_seconds: Some(selector("busy_seconds_total")),
        workers: Some(selector("workers")),
        ready: Some(selector("ready")),
        edges: vec![edge],
        objective: None,
    };
    change(&mut spec);
    let spec = DeclaredSpec::Service(Box::new(spec));
    Declared { namespace: "staging".to_owned(), name: name.to_owned(), spec, version: 1, applied_at: None }
}

pub(crate) fn target(job: &str, address: &str) -> Target {
    Target::new(address, &BTreeMap::from([("job".to_owned(), job.to_owned())])).expect("a target of a test")
}

/// Two points per counter, gaps of up to 30 s.
pub(crate) const RULES: Rules = Rules {
    rate_span: SignedDuration::ZERO,
    interval: SignedDuration::from_secs(10),
    points: 2,
    gap_max: SignedDuration::from_secs(30),
};

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time of a test")
}

/// A target's store, fed with bodies.
#[derive(Debug, Default)]
pub(crate) struct Scraped {
    pub(crate) store: SeriesStore,
    pub(crate) account: Account,
}

impl Scraped {
    pub(crate) fn scrape(&mut self, second: i64, body: &str) {
        let exposition = parse(body.as_bytes(), Format::Text, &exposition::Limits::default());
        let scrape = Scrape {
            at: at(second),
            steady: at(second),
            complete: exposition.complete,
            whole: exposition.complete,
        };
        let readings = normalize(exposition, &mut self.account.dropped);
        self.store.absorb(scrape, readings, &RULES, &mut self.account);
    }
}
