//! Series of all replicas → the signals of a declared service and of its edges, each with its quality.
//!
//! A replica without a fresh answer is missing, not zero: the value then describes the others and is *partial*, and with
//! no replica left it is *unknown*.

use proto::model::{DataGap, EdgeSpec, Quality, ResourceId, Selector, ServiceSpec, SignalKind};

use crate::declarations::{Service, histogram_name};
use crate::histogram::Observed;
use crate::series::{Entry, Measured, SeriesStore};
use crate::target::Target;

/// Requests (or calls) per second.
pub const LOAD: &str = "load";
/// Share of requests (or calls) that were not answered, or answered with an error.
pub const ERROR_RATIO: &str = "error_ratio";
/// Median latency over all replicas.
pub const LATENCY_P50: &str = "latency_p50_seconds";
/// 99th percentile of latency over all replicas.
pub const LATENCY_P99: &str = "latency_p99_seconds";
/// Share of requests answered later than the objective's latency bound.
pub const LATE_RATIO: &str = "late_ratio";
/// Share of requests that are bad by the objective: errors and late answers, at most 1.
pub const BAD_RATIO: &str = "bad_ratio";
/// Busy worker-seconds per second and worker.
pub const UTILISATION: &str = "utilisation";
/// Replicas that answered and said that they are ready.
pub const READY_REPLICAS: &str = "ready_replicas";

/// A target at a tick.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Which target, with its labels.
    pub target: &'a Target,
    /// Its series, if it answered at this tick; else why not.
    pub answer: Result<&'a SeriesStore, &'a str>,
}

/// One signal's value at a tick.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The signal's name within its resource.
    pub name: String,
    /// What the number means.
    pub kind: SignalKind,
    /// Its unit.
    pub unit: &'static str,
    /// The value; `None` exactly when the quality is unknown.
    pub value: Option<f64>,
    /// How far it can be trusted.
    pub quality: Quality,
}

/// All signals of one resource at a tick.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceRows {
    /// Whose.
    pub resource: ResourceId,
    /// The signals.
    pub rows: Vec<Row>,
    /// Why the data is not whole, if it is not.
    pub gap: Option<DataGap>,
}

/// The signals of a service, and of each of its edges, from the targets that belong to it.
#[must_use]
pub fn service_rows(service: &Service<'_>, targets: &[View<'_>]) -> Vec<ResourceRows> {
    let Service { id, spec, objective } = service;
    let ServiceSpec { total, good, latency, busy_seconds, workers, ready, edges, instances: _, objective: _ } =
        spec;
    let mut out = Builder::new(targets);
    out.traffic(total, good.as_ref());
    if let Some(latency) = latency {
        out.latency(
            latency,
            objective.and_then(|objective| objective.latency_bound).map(|bound| bound.as_secs_f64()),
        );
    }
    out.bad_ratio();
    if let (Some(busy), Some(workers)) = (busy_seconds, workers) {
        out.utilisation(busy, workers);
    }
    out.ready_replicas(ready.as_ref());
    let mut all = vec![out.finish((*id).clone())];
    for EdgeSpec { callee, total, good, latency } in edges {
        // Declared documents are checked for this; a name that is not valid has no resource to report on.
        let Ok(edge) = ResourceId::edge(id.namespace(), id.name(), callee) else { continue };
        let mut out = Builder::new(targets);
        out.traffic(total, Some(good));
        if let Some(latency) = latency {
            out.latency(latency, None);
        }
        all.push(out.finish(edge));
    }
    all
}

/// Collects rows, and the first reason why any of them is not whole.
struct Builder<'a> {
    targets: &'a [View<'a>],
    rows: Vec<Row>,
    reason: Option<String>,
}

/// What the targets contributed to one role.
struct Contributions<T> {
    known: Vec<T>,
    quality: Quality,
}

impl<'a> Builder<'a> {
    fn new(targets: &'a [View<'a>]) -> Self {
        Self { targets, rows: Vec::new(), reason: None }
    }

    fn traffic(&mut self, total: &Selector, good: Option<&Selector>) {
        let totals = self.gather(LOAD, |view, series| grown(view, series, total));
        let load = totals.sum(|growth| growth.per_second);
        self.push(LOAD, SignalKind::Rate, "requests_per_second", load, totals.quality);
        let Some(good) = good else { return };
        let both = self.gather(ERROR_RATIO, |view, series| {
            Ok((grown(view, series, good)?, grown(view, series, total)?))
        });
        let events = both.sum(|(_, total)| total.amount).filter(|events| *events > 0.0);
        // Replicas update the two counters one after the other, so that good may be a step ahead.
        let share = events
            .zip(both.sum(|(good, _)| good.amount))
            .map(|(events, good)| 1.0 - (good / events).min(1.0));
        self.push(ERROR_RATIO, SignalKind::Ratio, "ratio", share, both.quality);
    }

    fn latency(&mut self, selector: &Selector, bound_seconds: Option<f64>) {
        let each = self.gather(LATENCY_P99, |view, series| observed(view, series, selector));
        let all = Observed::sum(each.known.iter().flatten());
        for (name, q) in [(LATENCY_P50, 0.5), (LATENCY_P99, 0.99)] {
            let value = all.as_ref().and_then(|all| all.quantile(q));
            self.push(name, SignalKind::Quantile, "seconds", value, each.quality);
        }
        if let Some(bound) = bound_seconds {
            let share = all.as_ref().and_then(|all| all.share_at_most(bound)).map(|share| 1.0 - share);
            self.push(LATE_RATIO, SignalKind::Ratio, "ratio", share, each.quality);
        }
    }

    /// What the objective counts as bad, from the parts that are there. One unknown part makes the whole unknown: the
    /// other alone would look better than it is.
    fn bad_ratio(&mut self) {
        let parts: Vec<&Row> =
            self.rows.iter().filter(|row| row.name == ERROR_RATIO || row.name == LATE_RATIO).collect();
        if parts.is_empty() {
            return;
        }
        let share =
            parts.iter().try_fold(0.0, |sum, row| Some(sum + row.value?)).map(|sum: f64| sum.min(1.0));
        let quality = parts.iter().map(|row| row.quality).max().unwrap_or(Quality::Unknown);
        self.push(BAD_RATIO, SignalKind::Ratio, "ratio", share, quality);
    }

    fn utilisation(&mut self, busy: &Selector, workers: &Selector) {
        let each = self.gather(UTILISATION, |view, series| {
            Ok((grown(view, series, busy)?.per_second, level(view, series, workers)?))
        });
        let capacity = each.sum(|(_, workers)| *workers).filter(|workers| *workers > 0.0);
        let share = capacity.zip(each.sum(|(busy, _)| *busy)).map(|(workers, busy)| busy / workers);
        self.push(UTILISATION, SignalKind::Ratio, "ratio", share, each.quality);
    }

    fn ready_replicas(&mut self, ready: Option<&Selector>) {
        let each = self.gather(READY_REPLICAS, |view, series| match ready {
            Some(ready) => level(view, series, ready).map(|level| if level >= 1.0 { 1.0 } else { 0.0 }),
            None => Ok(1.0),
        });
        self.push(READY_REPLICAS, SignalKind::Gauge, "replicas", each.sum(|ready| *ready), each.quality);
    }

    /// Asks every target for its contribution and judges how whole the sum is.
    fn gather<T>(
        &mut self,
        role: &str,
        contribution: impl Fn(&View<'a>, &'a SeriesStore) -> Result<T, &'static str>,
    ) -> Contributions<T> {
        let mut known = Vec::with_capacity(self.targets.len());
        let mut whole = true;
        for view in self.targets {
            let given = view.answer.map_err(str::to_owned).and_then(|series| {
                if !series.complete() {
                    whole = false;
                    self.reason
                        .get_or_insert_with(|| format!("{}: the answer was cut short", view.target.id));
                }
                contribution(view, series).map_err(|reason| format!("no {role}: {reason}"))
            });
            match given {
                Ok(given) => known.push(given),
                Err(reason) => {
                    self.reason.get_or_insert_with(|| format!("{}: {reason}", view.target.id));
                }
            }
        }
        let quality = match known.len() {
            0 => Quality::Unknown,
            n if n == self.targets.len() && whole => Quality::Good,
            _ => Quality::Partial,
        };
        Contributions { known, quality }
    }

    /// A value that is missing although the sources answered (no request came, so there is no latency) is unknown as well.
    fn push(
        &mut self,
        name: &str,
        kind: SignalKind,
        unit: &'static str,
        value: Option<f64>,
        quality: Quality,
    ) {
        let value = value.filter(|value| value.is_finite() && quality != Quality::Unknown);
        let quality = if value.is_some() { quality } else { Quality::Unknown };
        self.rows.push(Row { name: name.to_owned(), kind, unit, value, quality });
    }

    fn finish(self, resource: ResourceId) -> ResourceRows {
        let Self { targets, rows, reason } = self;
        let seen = targets.iter().filter(|view| view.answer.is_ok_and(SeriesStore::complete)).count();
        let reason =
            if targets.is_empty() { Some("no scrape target belongs to it".to_owned()) } else { reason };
        let gap = reason.map(|reason| DataGap {
            resource: resource.clone(),
            sources_expected: targets.len().try_into().unwrap_or(u32::MAX),
            sources_seen: seen.try_into().unwrap_or(u32::MAX),
            reason,
        });
        ResourceRows { resource, rows, gap }
    }
}

impl<T> Contributions<T> {
    /// `None` without any contribution: an empty sum is unknown, not zero.
    fn sum(&self, value: impl Fn(&T) -> f64) -> Option<f64> {
        (!self.known.is_empty()).then(|| self.known.iter().map(value).sum())
    }
}

struct Growth {
    amount: f64,
    per_second: f64,
}

/// The target's series that the selector means. A target that has the metric, but not these labels, has had no such event
/// yet, so that the list is empty; a target without the metric says nothing.
fn selected<'s>(
    view: &View<'s>,
    series: &'s SeriesStore,
    metric: &str,
    selector: &Selector,
) -> Result<Vec<&'s Entry>, &'static str> {
    let target = view.target;
    // As in Prometheus, the target's own labels win over those of the series.
    let label = |entry: &'s Entry, name: &str| {
        target.labels.get(name).map(String::as_str).or_else(|| entry.label(name))
    };
    let fresh = series.fresh(metric).ok_or("the metric is missing")?;
    Ok(fresh.filter(|entry| selector.matches_labels(|name| label(entry, name))).collect())
}

fn grown<'s>(view: &View<'s>, series: &'s SeriesStore, selector: &Selector) -> Result<Growth, &'static str> {
    let mut sum = Growth { amount: 0.0, per_second: 0.0 };
    for entry in selected(view, series, selector.metric(), selector)? {
        let Measured::Counter { growth, .. } = &entry.measured else { return Err("it is no counter") };
        let growth = growth.map_err(|unknown| unknown.name())?;
        sum.amount += growth.amount;
        sum.per_second += growth.per_second();
    }
    Ok(sum)
}

fn level<'s>(view: &View<'s>, series: &'s SeriesStore, selector: &Selector) -> Result<f64, &'static str> {
    let mut sum = None;
    for entry in selected(view, series, selector.metric(), selector)? {
        let Measured::Gauge(value) = entry.measured else { return Err("it is no gauge") };
        sum = Some(sum.unwrap_or(0.0) + value);
    }
    sum.ok_or("no series has these labels")
}

fn observed<'s>(
    view: &View<'s>,
    series: &'s SeriesStore,
    selector: &Selector,
) -> Result<Option<Observed>, &'static str> {
    let mut all = Vec::new();
    for entry in selected(view, series, histogram_name(selector), selector)? {
        let Measured::Histogram { growth, .. } = &entry.measured else { return Err("it is no histogram") };
        all.push(growth.as_ref().map_err(|reason| *reason)?);
    }
    Ok(Observed::sum(all))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::declarations::Declarations;
    use crate::fixtures::{Scraped, objective, service, target};

    fn body(good: u32, bad: u32, ready: u32) -> String {
        let all = good + bad;
        format!(
            "requests_total{{code=\"200\"}} {good}\nrequests_total{{code=\"503\"}} {bad}\nready {ready}\nworkers 4\n\
             busy_seconds_total {}\n# TYPE latency_seconds histogram\nlatency_seconds_bucket{{le=\"0.1\"}} {good}\n\
             latency_seconds_bucket{{le=\"0.5\"}} {all}\nlatency_seconds_bucket{{le=\"+Inf\"}} {all}\n\
             calls_total{{code=\"200\"}} {good}\n",
            f64::from(all) / 50.0
        )
    }

    /// Two replicas; each is given as (first, second) answer, `None` for no answer at the second tick.
    fn rows(replicas: &[(&str, Option<&str>)]) -> Vec<ResourceRows> {
        let bound = Some(objective(0.99, Some(Duration::from_millis(100))));
        let declarations = Declarations::new([service("catalog", |spec| spec.objective = bound)]);
        let targets: Vec<_> = (0..replicas.len()).map(|i| target("catalog", &format!("a:{i}"))).collect();
        let scraped: Vec<_> = replicas
            .iter()
            .map(|(first, second)| {
                let mut scraped = Scraped::default();
                scraped.scrape(0, first);
                second.map(|second| scraped.scrape(10, second));
                scraped.store
            })
            .collect();
        let answer = |i: usize| replicas[i].1.map(|_| &scraped[i]).ok_or("timed out");
        let views: Vec<_> =
            targets.iter().enumerate().map(|(i, target)| View { target, answer: answer(i) }).collect();
        let service = declarations.services().next().unwrap();
        service_rows(&service, &views)
    }

    fn check(rows: &ResourceRows, expect: &[(&str, Option<f64>, Quality)]) {
        for (name, value, quality) in expect {
            let row = rows.rows.iter().find(|row| row.name == *name).unwrap();
            assert_eq!(row.quality, *quality, "{name}");
            match (row.value, value) {
                (Some(got), Some(value)) => assert!((got - value).abs() < 1e-9, "{name}: {got}, not {value}"),
                (got, value) => assert_eq!(got, *value, "{name}"),
            }
        }
    }

    #[test]
    fn replicas_are_summed() {
        use Quality::Good;
        let (one, two) = (body(1_090, 10, 1), body(1_300, 100, 1));
        let all = rows(&[(&body(1_000, 0, 1), Some(&one)), (&body(1_000, 0, 1), Some(&two))]);
        assert_eq!(all[0].resource.to_string(), "service:staging/catalog");
        assert_eq!(all[0].gap, None);
        check(
            &all[0],
            &[
                (LOAD, Some(50.0), Good),
                (ERROR_RATIO, Some(0.22), Good),
                (LATE_RATIO, Some(0.22), Good),
                (BAD_RATIO, Some(0.44), Good),
                (LATENCY_P50, Some(0.1 * 250.0 / 390.0), Good),
                (LATENCY_P99, Some(0.1 + 0.4 * 105.0 / 110.0), Good),
                (UTILISATION, Some(1.0 / 8.0), Good),
                (READY_REPLICAS, Some(2.0), Good),
            ],
        );
        assert_eq!(all[1].resource.to_string(), "edge:staging/catalog->inventory");
        check(
            &all[1],
            &[
                (LOAD, Some(39.0), Good),
                (ERROR_RATIO, Some(0.0), Good),
                (LATENCY_P99, None, Quality::Unknown),
            ],
        );
    }

    #[test]
    fn a_missing_replica_makes_partial_not_zero() {
        use Quality::Partial;
        let all = rows(&[(&body(1_000, 0, 1), Some(&body(1_100, 0, 1))), (&body(1_000, 0, 1), None)]);
        check(
            &all[0],
            &[
                (LOAD, Some(10.0), Partial),
                (ERROR_RATIO, Some(0.0), Partial),
                (BAD_RATIO, Some(0.0), Partial),
                (READY_REPLICAS, Some(1.0), Partial),
            ],
        );
        let gap = all[0].gap.as_ref().unwrap();
        assert_eq!(
            (gap.sources_expected, gap.sources_seen, gap.reason.as_str()),
            (2, 1, "catalog/a:1: timed out")
        );
    }

    #[test]
    fn without_any_answer_every_role_is_unknown() {
        for all in [rows(&[(&body(1_000, 0, 1), None)]), rows(&[])] {
            for resource in all {
                assert!(
                    resource.rows.iter().all(|row| row.value.is_none() && row.quality == Quality::Unknown)
                );
                assert_eq!(resource.gap.unwrap().sources_seen, 0);
                assert!(!resource.rows.is_empty());
            }
        }
    }

    #[test]
    fn without_requests_the_load_is_zero_and_ratios_are_unknown() {
        let all = rows(&[(&body(1_000, 0, 1), Some(&body(1_000, 0, 0)))]);
        check(
            &all[0],
            &[
                (LOAD, Some(0.0), Quality::Good),
                (ERROR_RATIO, None, Quality::Unknown),
                (BAD_RATIO, None, Quality::Unknown),
                (LATENCY_P99, None, Quality::Unknown),
                (READY_REPLICAS, Some(0.0), Quality::Good),
            ],
        );
        assert!(all[0].gap.is_none(), "silence of users is no gap in the data");
    }

    #[test]
    fn only_errors_means_no_good_ones() {
        let errors = |n: u32| format!("requests_total{{code=\"503\"}} {n}\nready 1\n");
        let all = rows(&[(&errors(0), Some(&errors(100)))]);
        check(&all[0], &[(LOAD, Some(10.0), Quality::Good), (ERROR_RATIO, Some(1.0), Quality::Good)]);
    }

    #[test]
    fn an_answer_cut_short_is_at_most_partial() {
        let cut = body(1_100, 0, 1) + "and_then";
        let all = rows(&[(&body(1_000, 0, 1), Some(&cut))]);
        check(
            &all[0],
            &[(LOAD, Some(10.0), Quality::Partial), (READY_REPLICAS, Some(1.0), Quality::Partial)],
        );
        assert_eq!(all[0].gap.as_ref().unwrap().sources_seen, 0);
    }

    #[test]
    fn a_role_whose_metric_is_missing_is_unknown_and_named() {
        let all = rows(&[("requests_total 1\n", Some("requests_total 11\n"))]);
        check(&all[0], &[(LOAD, Some(1.0), Quality::Good), (READY_REPLICAS, None, Quality::Unknown)]);
        assert_eq!(
            all[0].gap.as_ref().unwrap().reason,
            "catalog/a:0: no latency_p99_seconds: the metric is missing"
        );
    }
}
