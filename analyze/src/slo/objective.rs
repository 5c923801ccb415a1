//! OpenSLO documents → objectives that can be tracked: references followed, annotations read, every name checked.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proto::model::openslo::{
    AlertConditionSpec, AlertPolicySpec, BudgetingMethod, ConditionRef, Document, InlineSli, Kind, Metadata,
    Metric, ObjectiveText, PolicyRef, RatioMetric, RawType, Shorthand, SliSpec, SliceWindow, SloSpec, Spec,
    TargetRef, TimeWindow, Unit,
};

use super::alert::{BurnRule, Urgency, workbook_rules};
use super::composite::Join;
use super::measure::{Comparison, LowTraffic, MetricType, Statistic};
use super::period::{Calendar, CalendarUnit, Period};
use super::policy::Policy;
use super::slices::{EmptySlice, SliceRule};

/// The window of an objective that names none: the Workbook's.
const PERIOD_DEFAULT: Duration = Duration::from_secs(28 * 86_400);
/// The Workbook's short window: shorter ones hold too few scrapes of a minute.
const SHORT_MIN: Duration = Duration::from_secs(300);

/// What is wrong with a document, beyond what the specification checks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name}: {rule}")]
pub struct Unresolved {
    /// Kind of the document.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What is wrong.
    pub rule: String,
}

/// A question to a source of measurements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// A question to a Prometheus server.
    Prometheus(Promql),
    /// A signal of the service's resource, as `homeostat thresholds list` shows them.
    Signal(String),
    /// A source that we do not speak to.
    Other(String),
}

/// PromQL, and who is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Promql {
    /// Base address of the server; `None`: the one that Analyze is told.
    pub server: Option<String>,
    /// The query.
    pub text: String,
    signal: String,
}

impl Promql {
    /// A question to that server.
    #[must_use]
    pub fn new(server: Option<String>, text: String) -> Self {
        let signal = format!("{}?{text}", server.as_deref().unwrap_or_default());
        Self { server, text, signal }
    }

    /// The name under which its value is looked up: no signal of a resource has such a one.
    #[must_use]
    pub fn signal(&self) -> &str {
        &self.signal
    }
}

impl fmt::Display for Promql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What an objective measures.
#[derive(Debug, Clone, PartialEq)]
pub enum Indicator {
    /// Good or bad events of all.
    Events {
        /// The events that are told apart.
        part: Query,
        /// Whether those are the bad ones.
        part_is_bad: bool,
        /// All events.
        total: Query,
        /// Whether the numbers only grow.
        counter: bool,
    },
    /// A ratio that is there already.
    Ratio {
        /// The ratio.
        query: Query,
        /// Whether it is of bad events.
        of_bad: bool,
        /// How many events it stands for, so that it can be weighted.
        weight: Option<Query>,
    },
    /// A number that is compared.
    Number {
        /// The number.
        query: Query,
        /// Which statistic it is.
        statistic: Statistic,
        /// How it is compared.
        comparison: Comparison,
        /// With what.
        value: f64,
        /// How many events it stands for.
        events: Option<Query>,
        /// Below how many it says nothing.
        low: LowTraffic,
    },
    /// Several, joined.
    Parts(Join, Vec<(f64, Indicator)>),
}

/// What a budget is counted in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budgeting {
    /// Events.
    Events,
    /// Slices.
    Slices {
        /// How long they are.
        width: Duration,
        /// How they are judged.
        rule: SliceRule,
        /// What an empty one is.
        empty: EmptySlice,
    },
}

/// One target of one SLO.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectiveSpec {
    /// `namespace/slo`, with `#2` for the second target and so on.
    pub id: String,
    /// For people.
    pub title: String,
    /// Where its service lives.
    pub namespace: String,
    /// Its service.
    pub service: String,
    /// What it measures.
    pub indicator: Indicator,
    /// Over which time.
    pub period: Period,
    /// What the budget is counted in.
    pub budgeting: Budgeting,
    /// How the slices of each part are judged, where a slice is bad when that of any part is; empty: parts are joined first.
    pub part_rules: Vec<SliceRule>,
    /// Share that must be good.
    pub target: f64,
    /// Its alerts.
    pub rules: Vec<BurnRule>,
    /// Who is told.
    pub notify: Vec<String>,
    /// Whether missing data alerts.
    pub alert_without_data: bool,
    /// What is done when the budget goes.
    pub policy: Option<Policy>,
    /// One budget per value of these labels.
    pub group_by: Vec<String>,
    /// Objectives of services that this one cannot do without.
    pub depends_on: Vec<String>,
}

impl ObjectiveSpec {
    /// Share that may be bad.
    #[must_use]
    pub fn allowed(&self) -> f64 {
        1.0 - self.target
    }
}

/// Every objective of the documents, in the order of their names.
///
/// # Errors
/// What does not fit, of every document, so that all of it can be mended at once.
pub fn resolve(documents: &[Document]) -> Result<Vec<ObjectiveSpec>, Vec<Unresolved>> {
    let library = Library::new(documents);
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for document in documents {
        let Spec::Slo(slo) = &document.spec else { continue };
        match library.slo(&document.metadata, slo) {
            Ok(objectives) => found.extend(objectives),
            Err(rule) => {
                let name = document.metadata.name.clone();
                wrong.push(Unresolved { kind: Kind::Slo, name, rule });
            }
        }
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    for pair in found.windows(2).filter(|pair| pair[0].id == pair[1].id) {
        let rule = "stands there twice".to_owned();
        wrong.push(Unresolved { kind: Kind::Slo, name: pair[0].id.clone(), rule });
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

type Found<T> = Result<T, String>;

struct Library<'a> {
    documents: BTreeMap<(Kind, &'a str), &'a Document>,
}

impl<'a> Library<'a> {
    fn new(documents: &'a [Document]) -> Self {
        let named = |document: &'a Document| ((document.kind(), document.metadata.name.as_str()), document);
        Self { documents: documents.iter().map(named).collect() }
    }

    fn get(&self, kind: Kind, name: &str) -> Found<&'a Document> {
        self.documents.get(&(kind, name)).copied().ok_or_else(|| format!("there is no {kind} {name}"))
    }

    fn slo(&self, metadata: &Metadata, slo: &SloSpec) -> Found<Vec<ObjectiveSpec>> {
        let namespace = metadata.extension("namespace").unwrap_or("default");
        let period = period(slo.time_window.as_deref().and_then(<[_]>::first))?;
        let parts = slo.objectives.as_deref().unwrap_or_default();
        let (rules, notify, alert_without_data) = self.alerts(slo, period.span())?;
        let policy = metadata.extension("error-budget-policy").map(policy).transpose()?;
        let names = |key: &str| -> Vec<String> {
            let text = metadata.extension(key).unwrap_or_default();
            text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let make = |id: String, title: &str, indicator, part: &ObjectiveText| -> Found<ObjectiveSpec> {
            Ok(ObjectiveSpec {
                id,
                title: title.to_owned(),
                namespace: namespace.to_owned(),
                service: slo.service.clone(),
                indicator,
                period: period.clone(),
                budgeting: budgeting(slo.budgeting_method, part, metadata)?,
                part_rules: Vec::new(),
                target: part.target_ratio().unwrap_or_default(),
                rules: rules.clone(),
                notify: notify.clone(),
                alert_without_data,
                policy: policy.clone(),
                group_by: names("group-by"),
                depends_on: names("depends-on"),
            })
        };
        let id = format!("{namespace}/{}", metadata.name);
        let title = metadata.display_name.as_deref().unwrap_or(&metadata.name);
        if slo.indicator.is_none() && slo.indicator_ref.is_none() {
            return Ok(vec![self.composite(metadata, slo, parts, |indicator, part| {
                make(id.clone(), title, indicator, part)
            })?]);
        }
        let (labels, sli) = self.indicator(slo.indicator.as_ref(), slo.indicator_ref.as_deref())?;
        let several = |(index, part): (usize, &ObjectiveText)| {
            let id = if index == 0 { id.clone() } else { format!("{id}#{}", index + 1) };
            let title = part.display_name.as_deref().unwrap_or(title);
            make(id, title, self.measured(labels, sli, part)?, part)
        };
        parts.iter().enumerate().map(several).collect()
    }

    /// One objective of several parts: it promises what its parts together do, unless an annotation says what.
    fn composite(
        &self,
        metadata: &Metadata,
        slo: &SloSpec,
        parts: &[ObjectiveText],
        make: impl Fn(Indicator, &ObjectiveText) -> Found<ObjectiveSpec>,
    ) -> Found<ObjectiveSpec> {
        let join = match (metadata.extension("composite"), slo.budgeting_method) {
            (Some("weighted"), _) | (None, None | Some(BudgetingMethod::Occurrences)) => Join::Weighted,
            (Some("any-bad"), _) | (None, Some(BudgetingMethod::Timeslices)) => Join::AnyBad,
            (Some("path"), _) => Join::Path,
            (Some("missing"), _) | (None, Some(BudgetingMethod::RatioTimeslices)) => Join::Missing,
            (Some(other), _) => {
                return Err(format!("composite {other:?}: weighted, any-bad, path or missing"));
            }
        };
        let joined: Found<Vec<_>> = parts
            .iter()
            .map(|part| {
                let (labels, sli) = self.indicator(part.indicator.as_ref(), part.indicator_ref.as_deref())?;
                Ok((part.composite_weight.unwrap_or(1.0), self.measured(labels, sli, part)?))
            })
            .collect();
        let joined = joined?;
        let weights: f64 = joined.iter().map(|(weight, _)| weight).sum();
        let targets =
            || joined.iter().zip(parts).filter_map(|((w, _), part)| Some((*w, part.target_ratio()?)));
        let target = match metadata.extension("target") {
            Some(text) => number("target", text)?,
            None => match join {
                Join::Weighted => targets().map(|(weight, target)| weight * target).sum::<f64>() / weights,
                Join::AnyBad | Join::Missing => 1.0 - targets().map(|(_, target)| 1.0 - target).sum::<f64>(),
                Join::Path => targets().map(|(_, target)| target).product(),
            },
        };
        if !(0.0..1.0).contains(&target) {
            return Err(format!(
                "the parts together promise {target}; say what is meant with homeostat.io/target"
            ));
        }
        let first = parts.first().cloned().unwrap_or_default();
        let whole = ObjectiveText { target: Some(target), target_percent: None, ..first };
        let spec = make(Indicator::Parts(join, joined), &whole)?;
        Ok(ObjectiveSpec { part_rules: part_rules(&spec, join, parts)?, ..spec })
    }

    fn indicator<'b>(
        &self,
        inline: Option<&'b InlineSli>,
        name: Option<&str>,
    ) -> Found<(&'b Metadata, &'b SliSpec)>
    where
        'a: 'b,
    {
        match (inline, name) {
            (Some(inline), _) => Ok((&inline.metadata, &inline.spec)),
            (None, Some(name)) => {
                let document = self.get(Kind::Sli, name)?;
                match &document.spec {
                    Spec::Sli(sli) => Ok((&document.metadata, sli)),
                    _ => Err(format!("{name} is no SLI")),
                }
            }
            (None, None) => Err("no indicator is given".to_owned()),
        }
    }

    fn measured(&self, metadata: &Metadata, sli: &SliSpec, part: &ObjectiveText) -> Found<Indicator> {
        let events = |key: &str| -> Found<Option<Query>> {
            Ok(metadata.extension(key).map(|signal| Query::Signal(signal.to_owned())))
        };
        if let Some(RatioMetric { counter, good, bad, total, raw_type, raw }) = &sli.ratio_metric {
            if let Some(raw) = raw {
                let (query, of_bad) = (self.query(raw)?, *raw_type == Some(RawType::Failure));
                return Ok(Indicator::Ratio { query, of_bad, weight: events("weight-signal")? });
            }
            let part_is_bad = bad.is_some();
            let (Some(part), Some(total)) = (good.as_ref().or(bad.as_ref()), total) else {
                return Err("a ratio needs good or bad, and total".to_owned());
            };
            let (part, total) = (self.query(part)?, self.query(total)?);
            return Ok(Indicator::Events { part, part_is_bad, total, counter: counter.unwrap_or(false) });
        }
        let metric = sli.threshold_metric.as_ref().ok_or("the indicator has no metric")?;
        let statistic = metadata.extension("statistic").unwrap_or("latest");
        let statistic = Statistic::parse(statistic)
            .ok_or_else(|| format!("{statistic:?} is no statistic: rate, mean, p99, ..."))?;
        if let Some(kind) = metadata.extension("metric-type") {
            let kind = match kind {
                "counter" => MetricType::Counter,
                "gauge" => MetricType::Gauge,
                "histogram" => MetricType::Histogram,
                other => return Err(format!("metric-type {other:?}: counter, gauge or histogram")),
            };
            statistic.of(kind).map_err(|error| error.to_string())?;
        }
        let tolerance = metadata.extension("tolerance").map(|text| number("tolerance", text)).transpose()?;
        let op = metadata.extension("op").or(part.op.map(|op| op.as_str())).ok_or("a number needs an op")?;
        let comparison = Comparison::parse(op, tolerance)
            .ok_or_else(|| format!("op {op:?}: <=, >=, <, >, or == with homeostat.io/tolerance"))?;
        let minimum =
            metadata.extension("minimum-events").map(|text| number("minimum-events", text)).transpose()?;
        Ok(Indicator::Number {
            query: self.query(metric)?,
            statistic,
            comparison,
            value: part.value.ok_or("a number needs a value")?,
            events: events("events-signal")?,
            low: LowTraffic { minimum_events: minimum.unwrap_or(0.0) },
        })
    }

    fn query(&self, metric: &Metric) -> Found<Query> {
        let source = &metric.metric_source;
        let named = match &source.metric_source_ref {
            None => None,
            Some(name) => match &self.get(Kind::DataSource, name)?.spec {
                Spec::DataSource(source) => Some(source),
                _ => return Err(format!("{name} is no DataSource")),
            },
        };
        let kind = source.source_type.as_ref().or(named.map(|source| &source.source_type));
        let kind = kind.ok_or("a metric names no source")?.clone();
        let field = |key: &str| source.field(key).map(|text| text.trim().to_owned());
        Ok(match kind.to_lowercase().as_str() {
            "prometheus" => {
                let text = field("query").ok_or("a Prometheus source needs spec.query")?;
                let server =
                    named.and_then(|source| source.connection_details.as_ref()?.get("url")?.as_str());
                Query::Prometheus(Promql::new(server.map(address).transpose()?, text))
            }
            "homeostat" => Query::Signal(field("signal").ok_or("a Homeostat source needs spec.signal")?),
            _ => Query::Other(kind),
        })
    }

    fn alerts(&self, slo: &SloSpec, period: Duration) -> Found<(Vec<BurnRule>, Vec<String>, bool)> {
        let (mut rules, mut notify, mut no_data) = (Vec::new(), Vec::new(), false);
        for reference in slo.alert_policies.iter().flatten() {
            let policy: &AlertPolicySpec = match reference {
                PolicyRef::Inline(document) => &document.spec,
                PolicyRef::Name(name) => self.policy(name)?,
                PolicyRef::Reference(reference) => self.policy(&reference.alert_policy_ref)?,
            };
            no_data |= policy.alert_when_no_data.unwrap_or(false);
            for condition in &policy.conditions {
                let (metadata, spec) = match condition {
                    ConditionRef::Inline(document) => (&document.metadata, &document.spec),
                    ConditionRef::Reference(reference) => {
                        let document = self.get(Kind::AlertCondition, &reference.condition_ref)?;
                        match &document.spec {
                            Spec::AlertCondition(spec) => (&document.metadata, spec),
                            _ => return Err(format!("{} is no AlertCondition", reference.condition_ref)),
                        }
                    }
                };
                if policy.alert_when_breaching.unwrap_or(false) {
                    rules.push(rule(metadata, spec)?);
                }
            }
            notify.extend(policy.notification_targets.iter().map(|target| match target {
                TargetRef::Inline(document) => document.metadata.name.clone(),
                TargetRef::Reference(reference) => reference.target_ref.clone(),
            }));
        }
        if slo.alert_policies.as_ref().is_none_or(Vec::is_empty) {
            rules = workbook_rules(period, SHORT_MIN);
        }
        notify.sort();
        notify.dedup();
        Ok((rules, notify, no_data))
    }

    fn policy(&self, name: &str) -> Found<&'a AlertPolicySpec> {
        match &self.get(Kind::AlertPolicy, name)?.spec {
            Spec::AlertPolicy(policy) => Ok(policy),
            _ => Err(format!("{name} is no AlertPolicy")),
        }
    }
}

/// The base of a server's HTTP API.
fn address(url: &str) -> Found<String> {
    let known = url.starts_with("http://") || url.starts_with("https://");
    let address = url.trim_end_matches('/').to_owned();
    known
        .then_some(address)
        .ok_or_else(|| format!("connectionDetails.url {url:?}: http://... or https://..."))
}

fn number(key: &str, text: &str) -> Found<f64> {
    text.trim()
        .parse::<f64>()
        .ok()
        .filter(|value| value.is_finite())
        .ok_or_else(|| format!("{key} {text:?} is no number"))
}

fn policy(text: &str) -> Found<Policy> {
    let policy: Policy =
        serde_json::from_str(text).map_err(|error| format!("error-budget-policy: {error}"))?;
    policy.validate().map_err(|rule| format!("error-budget-policy: {rule}"))?;
    Ok(policy)
}

fn rule(metadata: &Metadata, spec: &AlertConditionSpec) -> Found<BurnRule> {
    let duration = |text: &str| -> Found<Duration> {
        Ok(text.parse::<Shorthand>().map_err(|error| error.to_string())?.about())
    };
    let urgency = match spec.severity.to_lowercase().as_str() {
        "page" | "critical" | "sev1" | "p1" => Urgency::Page,
        "ticket" | "warning" | "sev2" | "p2" => Urgency::Ticket,
        _ => Urgency::Info,
    };
    Ok(BurnRule {
        name: metadata.name.clone(),
        urgency,
        long: spec.condition.lookback_window.about(),
        short: metadata.extension("short-window").map(duration).transpose()?,
        factor: spec.condition.threshold,
        after: spec.condition.alert_after.map(Shorthand::about).unwrap_or_default(),
    })
}

fn period(window: Option<&TimeWindow>) -> Found<Period> {
    let Some(TimeWindow { duration, is_rolling: _, calendar }) = window else {
        return Ok(Period::Rolling(PERIOD_DEFAULT));
    };
    let Some(calendar) = calendar else { return Ok(Period::Rolling(duration.about())) };
    let unit = match duration.unit {
        Unit::Day => CalendarUnit::Day,
        Unit::Week => CalendarUnit::Week,
        Unit::Month => CalendarUnit::Month,
        Unit::Quarter => CalendarUnit::Quarter,
        Unit::Year => CalendarUnit::Year,
        Unit::Minute | Unit::Hour => {
            return Err(format!(
                "a calendar window of {duration}: calendars have d, w, M, Q and Y (did 1m mean 1M?)"
            ));
        }
    };
    let anchor = calendar.start_time.parse::<DateTime>().map_err(|error| error.to_string())?;
    let zone = TimeZone::get(&calendar.time_zone).map_err(|error| error.to_string())?;
    Ok(Period::Calendar(Calendar { anchor, zone, unit, count: duration.count }))
}

/// A slice is bad when any part misses its own target in it, however its other events went.
fn part_rules(spec: &ObjectiveSpec, join: Join, parts: &[ObjectiveText]) -> Found<Vec<SliceRule>> {
    let Budgeting::Slices { rule: SliceRule::Target(_), .. } = spec.budgeting else { return Ok(Vec::new()) };
    if join != Join::AnyBad {
        return Ok(Vec::new());
    }
    let widths = parts.iter().map(|part| part.time_slice_window);
    if widths.clone().zip(widths.skip(1)).any(|(one, next)| one != next) {
        return Err("the parts of a slice have one timeSliceWindow".to_owned());
    }
    Ok(parts.iter().map(|part| SliceRule::Target(part.time_slice_target.unwrap_or(1.0))).collect())
}

fn budgeting(method: Option<BudgetingMethod>, part: &ObjectiveText, metadata: &Metadata) -> Found<Budgeting> {
    let empty = match metadata.extension("empty-slices") {
        None | Some("neither") => EmptySlice::Neither,
        Some("good") => EmptySlice::Good,
        Some("bad") => EmptySlice::Bad,
        Some(other) => return Err(format!("empty-slices {other:?}: neither, good or bad")),
    };
    let width = match part.time_slice_window {
        Some(SliceWindow::Minutes(minutes)) => Duration::from_secs_f64(minutes * 60.0),
        Some(SliceWindow::Text(text)) => text.about(),
        None => Duration::from_secs(60),
    };
    Ok(match method {
        None | Some(BudgetingMethod::Occurrences) => Budgeting::Events,
        Some(BudgetingMethod::Timeslices) => {
            let target = part.time_slice_target.unwrap_or(1.0);
            Budgeting::Slices { width, rule: SliceRule::Target(target), empty }
        }
        Some(BudgetingMethod::RatioTimeslices) => Budgeting::Slices { width, rule: SliceRule::Ratio, empty },
    })
}

#[cfg(test)]
#[path = "objective/tests.rs"]
mod tests;
