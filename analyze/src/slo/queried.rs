//! Answers to the queries of an indicator → what one tick reads of it. Counters are followed series by series, so that lost
//! answers, restarts and replicas that come and go neither lose events nor make any up; whatever cannot be read is unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use proto::model::{QueryReading, SignalGlance};
use serde::{Deserialize, Serialize};

use super::objective::{Indicator, Promql, Query};

/// Series of one answer: more are no indicator but a mistake.
pub const SERIES_MAX: usize = 10_000;
/// The growth of a counter over a longer silence is left out: nobody could say when it happened.
const GAP_MAX: Duration = Duration::from_secs(3_600);
/// Of what a process did between its last reading and its restart nothing is left but its pace. Over a longer silence that says
/// nothing: the process may have been away.
const UNSEEN_MAX: Duration = Duration::from_secs(120);
/// Series that are saved for a restart: with labels of 200 bytes half a megabyte an objective.
const SAVED_MAX: usize = 2_500;
/// The label of the process that a series comes from.
const INSTANCE: &str = "instance";

/// One series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its labels. With `__name__` it is a series as it was scraped, without it has been computed.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Sample {
    fn is_scraped(&self) -> bool {
        self.labels.contains_key("__name__")
    }
}

/// What a server said to a query, or why it said nothing.
pub type Answer = Result<Vec<Sample>, String>;

/// What a query is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// Numbers that only grow: their growth counts.
    Counter,
    /// Events per second, as they are.
    Rate,
    /// One number.
    Number,
}

/// What one tick reads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Read {
    /// The values, named as [`Promql::signal`] names their queries; those that are unknown are absent.
    pub glances: Vec<SignalGlance>,
    /// Every query with what it gave.
    pub readings: Vec<QueryReading>,
    /// Since when counters are told; `None`: of the interval.
    pub since: Option<Timestamp>,
}

/// Follows the queries of one indicator.
#[derive(Debug, Clone, PartialEq)]
pub struct Queried {
    queries: BTreeMap<Promql, Use>,
    /// Only series with these labels count.
    group: Vec<(String, String)>,
    before: Option<Before>,
}

/// What tells a series from others.
type Labels = BTreeMap<String, String>;

/// The counters at the last moment at which all were read.
#[derive(Debug, Clone, PartialEq)]
struct Before {
    at: Timestamp,
    values: BTreeMap<Promql, BTreeMap<Labels, f64>>,
    /// What the series grew by until then, and in how many seconds.
    newest: BTreeMap<Promql, BTreeMap<Labels, f64>>,
    newest_s: f64,
    instances: BTreeSet<String>,
}

/// Counters as they are saved: the queries by their names, each with its series.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    at_unix_ms: i64,
    values: Vec<(String, Vec<(Labels, f64)>)>,
}

/// The queries of an indicator; none: it is made of signals alone.
#[must_use]
pub fn queries(indicator: &Indicator) -> BTreeSet<Promql> {
    let mut found = BTreeMap::new();
    uses(indicator, &mut found);
    found.into_keys().collect()
}

fn uses(indicator: &Indicator, found: &mut BTreeMap<Promql, Use>) {
    let mut add = |query: &Query, of: Use| {
        if let Query::Prometheus(promql) = query {
            found.insert(promql.clone(), of);
        }
    };
    match indicator {
        Indicator::Events { part, total, counter, part_is_bad: _ } => {
            let of = if *counter { Use::Counter } else { Use::Rate };
            add(part, of);
            add(total, of);
        }
        Indicator::Ratio { query, .. } | Indicator::Number { query, .. } => add(query, Use::Number),
        Indicator::Parts(_, parts) => parts.iter().for_each(|(_, part)| uses(part, found)),
    }
}

impl Queried {
    /// Nothing read yet. Of answers only the series with the labels of `group` count; none: all of them.
    #[must_use]
    pub fn new(indicator: &Indicator, group: Vec<(String, String)>) -> Self {
        let mut queries = BTreeMap::new();
        uses(indicator, &mut queries);
        Self { queries, group, before: None }
    }

    /// The labels that its series have.
    #[must_use]
    pub fn group(&self) -> &[(String, String)] {
        &self.group
    }

    /// The counters as they were last read, for a life after this one; empty: there is nothing to save, or too much.
    #[must_use]
    pub fn saved(&self) -> String {
        let Some(before) = &self.before else { return String::new() };
        if before.values.values().map(BTreeMap::len).sum::<usize>() > SAVED_MAX {
            return String::new();
        }
        let series = |known: &BTreeMap<Labels, f64>| {
            known.iter().map(|(labels, value)| (labels.clone(), *value)).collect()
        };
        let values = before.values.iter().map(|(query, known)| (query.signal().to_owned(), series(known)));
        let saved = Saved { at_unix_ms: before.at.as_millisecond(), values: values.collect() };
        serde_json::to_string(&saved).unwrap_or_default()
    }

    /// Goes on from counters that an earlier life saved; what cannot be read or is of other queries is left out.
    pub fn restore(&mut self, saved: &str) {
        let Ok(saved) = serde_json::from_str::<Saved>(saved) else { return };
        let Ok(at) = Timestamp::from_millisecond(saved.at_unix_ms) else { return };
        let (mut values, mut instances) = (BTreeMap::new(), BTreeSet::new());
        for (name, series) in saved.values {
            let Some(query) = self.queries.keys().find(|query| query.signal() == name) else { return };
            instances.extend(series.iter().filter_map(|(labels, _)| labels.get(INSTANCE).cloned()));
            values.insert(query.clone(), series.into_iter().collect());
        }
        self.before = Some(Before { at, values, newest: BTreeMap::new(), newest_s: 0.0, instances });
    }

    /// Takes in the answers of one moment.
    pub fn take(&mut self, at: Timestamp, answers: &BTreeMap<Promql, Answer>) -> Read {
        let mut read = Read::default();
        let mut counters = BTreeMap::new();
        for (query, of) in &self.queries {
            let samples = self.samples(answers.get(query));
            if *of == Use::Counter {
                counters.insert(query.clone(), samples.and_then(|samples| sum(&samples).map(|_| samples)));
                continue;
            }
            let value = samples.and_then(|samples| match of {
                Use::Number => one(&samples),
                Use::Rate | Use::Counter => sum(&samples),
            });
            read.say(query, value.clone());
            read.show(query, value.ok(), at);
        }
        self.count(at, &counters, &mut read);
        read
    }

    fn samples(&self, answer: Option<&Answer>) -> Answer {
        let samples = answer.ok_or("it was not asked")?.as_ref().map_err(Clone::clone)?;
        let is_ours = |sample: &&Sample| {
            self.group.iter().all(|(label, value)| sample.labels.get(label) == Some(value))
        };
        let ours: Vec<Sample> = samples.iter().filter(is_ours).cloned().collect();
        match ours {
            none if none.is_empty() => Err("it gives no series".to_owned()),
            odd if odd.iter().any(|sample| !sample.value.is_finite()) => Err("it gives no number".to_owned()),
            ours => Ok(ours),
        }
    }

    /// All counters are read at one moment or none: what the next complete reading tells then bridges the gap for all alike.
    fn count(&mut self, at: Timestamp, counters: &BTreeMap<Promql, Answer>, read: &mut Read) {
        for (query, samples) in counters {
            read.say(query, samples.as_ref().map_err(Clone::clone).and_then(|samples| sum(samples)));
        }
        let whole: Option<BTreeMap<&Promql, &Vec<Sample>>> =
            counters.iter().map(|(query, samples)| Some((query, samples.as_ref().ok()?))).collect();
        let Some(whole) = whole.filter(|whole| !whole.is_empty()) else { return };
        let last = self.before.take().filter(|last| last.at < at);
        let near = last.as_ref().filter(|last| at.duration_since(last.at).unsigned_abs() <= GAP_MAX);
        let (mut newest, mut newest_s) = (BTreeMap::new(), 0.0);
        if let Some(last) = near {
            let elapsed_s = at.duration_since(last.at).as_secs_f64();
            let unseen = last.unseen(&whole, elapsed_s);
            for (query, samples) in &whole {
                match last.growth(query, samples, &unseen, elapsed_s) {
                    Ok(growth) => {
                        read.show(query, Some(growth.values().sum::<f64>() / elapsed_s), at);
                        newest.insert((*query).clone(), growth);
                    }
                    Err(problem) => read.say(query, Err(problem)),
                }
            }
            (read.since, newest_s) = (Some(last.at), elapsed_s);
        }
        self.before = Some(Before { newest, newest_s, ..Before::following(last, at, &whole) });
    }
}

impl Read {
    fn say(&mut self, query: &Promql, value: Result<f64, String>) {
        self.readings.retain(|reading| reading.query != query.text);
        let problem = value.as_ref().err().cloned().unwrap_or_default();
        self.readings.push(QueryReading { query: query.text.clone(), value: value.ok(), problem });
    }

    fn show(&mut self, query: &Promql, value: Option<f64>, at: Timestamp) {
        if value.is_some() {
            self.glances.push(SignalGlance::plain(query.signal(), value, at));
        }
    }
}

impl Before {
    /// Series that are gone keep their last values: they may come back.
    fn following(last: Option<Self>, at: Timestamp, whole: &BTreeMap<&Promql, &Vec<Sample>>) -> Self {
        let (mut values, mut instances) =
            last.map_or_else(Default::default, |last| (last.values, last.instances));
        for (query, samples) in whole {
            let series: &mut BTreeMap<_, _> = values.entry((*query).clone()).or_default();
            if series.len() > SERIES_MAX {
                series.clear();
            }
            series.extend(samples.iter().map(|sample| (sample.labels.clone(), sample.value)));
            if instances.len() > SERIES_MAX {
                instances.clear();
            }
            instances.extend(samples.iter().filter_map(|sample| sample.labels.get(INSTANCE).cloned()));
        }
        Self { at, values, newest: BTreeMap::new(), newest_s: 0.0, instances }
    }

    /// Shares of the time since then of which processes that restarted meanwhile show nothing any more: they went on at their
    /// pace until they ended, and since then have counted so much.
    fn unseen<'a>(
        &self,
        whole: &BTreeMap<&Promql, &'a Vec<Sample>>,
        elapsed_s: f64,
    ) -> BTreeMap<&'a str, f64> {
        let mut counted = BTreeMap::<&str, (f64, f64)>::new();
        for (query, samples) in whole {
            let known = self.values.get(query);
            for sample in samples.iter().filter(|sample| sample.is_scraped()) {
                let last = known.and_then(|known| known.get(&sample.labels));
                let Some(process) = sample.labels.get(INSTANCE) else { continue };
                if last.is_some_and(|last| sample.value < *last) {
                    let sums = counted.entry(process).or_default();
                    sums.0 += sample.value;
                    sums.1 += self.grew(query, sample) / self.newest_s.max(1e-9) * elapsed_s;
                }
            }
        }
        let share = |(seen, expected): (f64, f64)| {
            let lost = if expected > 0.0 { (1.0 - seen / expected).max(0.0) } else { 0.0 };
            if elapsed_s <= UNSEEN_MAX.as_secs_f64() { lost } else { 0.0 }
        };
        counted.into_iter().map(|(process, sums)| (process, share(sums))).collect()
    }

    /// What a series grew by until then; 0 where that is not known.
    fn grew(&self, query: &Promql, sample: &Sample) -> f64 {
        self.newest.get(query).and_then(|newest| newest.get(&sample.labels)).copied().unwrap_or(0.0)
    }

    /// What a restarted series counted in all: besides what it shows, in the unseen share as much as at its pace right before
    /// and right after.
    fn made_up(&self, query: &Promql, sample: &Sample, unseen: f64, elapsed_s: f64) -> f64 {
        // Without a pace before nothing is unseen.
        let seen_s = self.newest_s + (1.0 - unseen) * elapsed_s;
        let pace = (self.grew(query, sample) + sample.value) / seen_s;
        sample.value + pace * unseen * elapsed_s
    }

    /// Events since then, by series. Series as they were scraped of a process that restarted count from zero, and what they
    /// counted unseen before its end is made up for by their pace. One that is new counts from zero where its process was known
    /// before: it counts something for the first time. The first value of an unknown process says nothing of when it happened.
    fn growth(
        &self,
        query: &Promql,
        samples: &[Sample],
        unseen: &BTreeMap<&str, f64>,
        elapsed_s: f64,
    ) -> Result<BTreeMap<Labels, f64>, String> {
        let known = self.values.get(query).ok_or("it is read for the first time")?;
        let mut growth = BTreeMap::new();
        for sample in samples {
            let process = sample.labels.get(INSTANCE);
            let restarted = process.and_then(|process| unseen.get(process.as_str()));
            let since = match known.get(&sample.labels) {
                Some(_) if let Some(share) = restarted.filter(|_| sample.is_scraped()) => {
                    self.made_up(query, sample, *share, elapsed_s)
                }
                Some(last) if sample.value >= *last => sample.value - last,
                Some(_) if sample.is_scraped() => sample.value,
                Some(_) => return Err(FELL.to_owned()),
                None if process.is_some_and(|process| self.instances.contains(process)) => sample.value,
                None => 0.0,
            };
            *growth.entry(sample.labels.clone()).or_default() += since;
        }
        Ok(growth)
    }
}

/// Whether one of many restarted or went away, a sum does not tell.
const FELL: &str =
    "it fell, and no single counter is behind it; select the counters without sum(), they are summed here";

fn one(samples: &[Sample]) -> Result<f64, String> {
    match samples {
        [sample] => Ok(sample.value),
        more => Err(format!("it gives {} series where one number is meant", more.len())),
    }
}

fn sum(samples: &[Sample]) -> Result<f64, String> {
    let negative = samples.iter().any(|sample| sample.value < 0.0);
    if negative {
        Err("it gives a negative count".to_owned())
    } else {
        Ok(samples.iter().map(|s| s.value).sum())
    }
}

#[cfg(test)]
#[path = "queried/tests.rs"]
mod tests;
