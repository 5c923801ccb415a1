//! Events found at a rate of false alarms per day: what a person on call would count. An event is hit by any alert from its
//! start to a grace after its end. Alerts within a while after the first of them are one alarm; an alarm is false when none
//! of its alerts hits an event. Rows inside an event count once, however many are detected: no point adjustment.

use super::vus::Event;

/// How alerts are counted. Times are in seconds, on one clock with the rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// An alert so long after the end of an event still hits it.
    pub grace: f64,
    /// Alerts so long after the first of an alarm belong to it. Counted from the first, so that a detector that never falls
    /// silent is not one single alarm.
    pub merge: f64,
}

/// What a set of alerts is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// For each event whether it is hit.
    pub hits: Vec<bool>,
    /// Seconds from the start of each event to the first alert that hits it.
    pub delays: Vec<Option<f64>>,
    /// Alarms that hit nothing.
    pub false_alarms: usize,
    /// False alarms per day.
    pub per_day: f64,
}

impl Found {
    /// How many events are hit.
    pub fn count(&self) -> usize {
        self.hits.iter().filter(|hit| **hit).count()
    }
}

/// Rows from `from` on are scored: their times, and the events among them.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Time of each row in seconds, rising.
    pub times: &'a [f64],
    /// Events in rows; those that end before `from` do not count.
    pub events: &'a [Event],
    /// The first row that counts.
    pub from: usize,
    /// How to count.
    pub rules: Rules,
}

impl Case<'_> {
    /// The events that count.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.last >= self.from && event.last < self.times.len())
    }

    /// What these rows are worth as alerts.
    pub fn found(&self, alerts: impl IntoIterator<Item = usize>) -> Found {
        let events: Vec<(f64, f64)> = self
            .events()
            .map(|event| (self.times[event.first], self.times[event.last] + self.rules.grace))
            .collect();
        let mut delays = vec![None; events.len()];
        let (mut alarm, mut alarms, mut true_alarms): (Option<(f64, bool)>, usize, usize) = (None, 0, 0);
        for at in alerts.into_iter().filter(|row| *row >= self.from).filter_map(|row| self.times.get(row)) {
            let mut hit = false;
            for (delay, (start, _)) in
                delays.iter_mut().zip(&events).filter(|(_, (start, end))| (*start..=*end).contains(at))
            {
                hit = true;
                delay.get_or_insert(at - start);
            }
            match &mut alarm {
                Some((opened, of_event)) if at - *opened <= self.rules.merge => {
                    true_alarms += usize::from(hit && !*of_event);
                    *of_event |= hit;
                }
                _ => {
                    alarm = Some((*at, hit));
                    alarms += 1;
                    true_alarms += usize::from(hit);
                }
            }
        }
        let false_alarms = alarms - true_alarms;
        Found {
            hits: delays.iter().map(Option::is_some).collect(),
            delays,
            false_alarms,
            per_day: false_alarms as f64 / self.days(),
        }
    }

    /// Days scored.
    pub fn days(&self) -> f64 {
        match (self.times.get(self.from), self.times.last()) {
            (Some(first), Some(last)) if last > first => (last - first) / 86_400.0,
            // Less than two rows: whatever is false is infinitely often so.
            _ => 0.0,
        }
    }

    /// The threshold on `scores` that finds most events with at most so many false alarms per day, and what it finds; ties go
    /// to fewer false alarms. `None` when none finds any. At most 1,000 thresholds are tried, spread over the ranks, finest at the top.
    pub fn best(&self, scores: &[f64], per_day: f64) -> Option<(f64, Found)> {
        let mut best: Option<(f64, Found)> = None;
        for threshold in thresholds(scores.get(self.from..)?) {
            let alerts = scores.iter().enumerate().filter(|(_, s)| **s >= threshold).map(|(row, _)| row);
            let found = self.found(alerts);
            let better = best.as_ref().is_none_or(|(_, best)| {
                (found.count(), best.false_alarms) > (best.count(), found.false_alarms)
            });
            if found.count() > 0 && found.per_day <= per_day && better {
                best = Some((threshold, found));
            }
        }
        best
    }
}

fn thresholds(scores: &[f64]) -> Vec<f64> {
    let mut falling: Vec<f64> = scores.iter().copied().filter(|score| !score.is_nan()).collect();
    falling.sort_by(|a, b| b.total_cmp(a));
    falling.dedup();
    let count = falling.len();
    if count <= 1000 {
        return falling;
    }
    // Squares: most of the candidates stand where alerts are rare.
    let mut chosen: Vec<f64> = (0..1000).map(|k| falling[(count - 1) * k * k / (999 * 999)]).collect();
    chosen.dedup();
    chosen
}

/// The columns to blame for an event, and the columns that a detector blamed, most guilty first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blame {
    /// From the labels.
    pub guilty: Vec<String>,
    /// From the detector.
    pub ranked: Vec<String>,
}

/// Share of the guilty among the first `1.0 ×` or `1.5 ×` as many that were blamed (HitRate@P, Su et al., "Robust anomaly
/// detection for multivariate time series through stochastic recurrent neural network", KDD 2019, section 4.6).
pub fn hit_rate(blame: &Blame, share: f64) -> Option<f64> {
    let guilty = blame.guilty.len();
    let first = (guilty as f64 * share).floor() as usize;
    let hits = blame.ranked.iter().take(first).filter(|name| blame.guilty.contains(name)).count();
    (guilty > 0).then(|| hits as f64 / guilty as f64)
}

/// Lines `first-last:1,4,7`: events in rows from 0, and the guilty columns from 1.
///
/// # Errors
/// The number of the first line that is not so, from 1.
pub fn read_blame(text: &str) -> Result<Vec<(Event, Vec<usize>)>, usize> {
    let line = |line: &str| {
        let (span, columns) = line.split_once(':')?;
        let (first, last) = span.split_once('-')?;
        let event = Event { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? };
        let columns = columns.split(',').map(str::trim).filter(|column| !column.is_empty());
        Some((event, columns.map(|column| column.parse().ok()).collect::<Option<Vec<usize>>>()?))
    };
    let lines = text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
    lines.map(|(number, text)| line(text).ok_or(number + 1)).collect()
}

/// A 0 or 1 per line.
///
/// # Errors
/// The number of the first line that is neither, from 1.
pub fn read_labels(text: &str) -> Result<Vec<bool>, usize> {
    let lines = text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
    lines
        .map(|(number, text)| match text.trim().parse::<f64>() {
            Ok(0.0) => Ok(false),
            Ok(1.0) => Ok(true),
            _ => Err(number + 1),
        })
        .collect()
}

#[cfg(test)]
#[path = "events/tests.rs"]
mod tests;
