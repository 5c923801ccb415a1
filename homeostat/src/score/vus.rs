//! VUS-PR: the volume under the precision-recall surface (Paparrizos, Boniol, Palpanas, Tsay, Elmore, Franklin, "Volume Under
//! the Surface: A New Accuracy Evaluation Measure for Time-Series Anomaly Detection", VLDB 2022, sections 4 and 5; figures as
//! in TSB-AD's `RangeAUC_volume_opt`). Labels fade out over a buffer on both sides of an event; the area under the curve of
//! range precision and recall is averaged over all buffer lengths. It needs no threshold and forgives small shifts in time.

/// Points of the curve, spread evenly over the ranks of the scores: TSB-AD's number.
const THRESHOLDS: usize = 250;

/// A run of labelled rows, both ends inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// First row.
    pub first: usize,
    /// Last row.
    pub last: usize,
}

/// The runs of true labels, in order.
pub fn events(labels: &[bool]) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for (row, _) in labels.iter().enumerate().filter(|(_, label)| **label) {
        match events.last_mut() {
            Some(event) if event.last + 1 == row => event.last = row,
            _ => events.push(Event { first: row, last: row }),
        }
    }
    events
}

/// The mean over buffers of 0 to `buffer` rows of the area under the precision-recall curve, in [0, 1]. A score that is no
/// number ranks below all others. `None` without both labelled and unlabelled rows, or when the lengths differ.
///
/// Costs O(rows × (buffer + thresholds)): what a threshold changes is counted once by the rank of each row.
pub fn vus_pr(scores: &[f64], labels: &[bool], buffer: usize) -> Option<f64> {
    let events = events(labels);
    let labelled = labels.iter().filter(|label| **label).count();
    if events.is_empty() || labelled == labels.len() || scores.len() != labels.len() {
        return None;
    }
    let ranks = Ranks::of(scores);
    let areas = (0..=buffer).map(|buffer| area(&ranks, labels, &events, buffer));
    Some(areas.sum::<f64>() / (buffer + 1) as f64)
}

/// Which threshold is the first to detect each row, and how many rows each detects.
struct Ranks {
    first: Vec<usize>,
    detected: Vec<usize>,
}

impl Ranks {
    fn of(scores: &[f64]) -> Self {
        let scores: Vec<f64> =
            scores.iter().map(|s| if s.is_nan() { f64::NEG_INFINITY } else { *s }).collect();
        let mut falling = scores.clone();
        falling.sort_by(|a, b| b.total_cmp(a));
        let place = |k: usize| (falling.len() - 1) * k / (THRESHOLDS - 1);
        let thresholds: Vec<f64> = (0..THRESHOLDS).map(|k| falling[place(k)]).collect();
        let first: Vec<usize> = scores.iter().map(|s| thresholds.partition_point(|t| t > s)).collect();
        let detected = thresholds.iter().map(|t| falling.partition_point(|s| s >= t)).collect();
        Self { first, detected }
    }
}

/// The area for one length of the buffer.
fn area(ranks: &Ranks, labels: &[bool], events: &[Event], buffer: usize) -> f64 {
    let weights = weights(labels, events, buffer);
    let regions = regions(events, buffer / 2, labels.len());
    let (mut inside, mut around) = (vec![0.0; THRESHOLDS], vec![0.0; THRESHOLDS]);
    let mut reached = vec![0usize; THRESHOLDS];
    for region in &regions {
        let mut soonest = THRESHOLDS - 1;
        for row in region.first..=region.last {
            let first = ranks.first[row];
            let part = if labels[row] { &mut inside } else { &mut around };
            part[first] += weights[row];
            soonest = soonest.min(first);
        }
        reached[soonest] += 1;
    }
    let labelled = labels.iter().filter(|label| **label).count() as f64;
    let (mut true_inside, mut true_around, mut existing) = (0.0, 0.0, 0);
    let (mut area, mut recall_before) = (0.0, 0.0);
    for threshold in 0..THRESHOLDS {
        true_inside += inside[threshold];
        true_around += around[threshold];
        existing += reached[threshold];
        let hits = true_inside + true_around;
        // The paper's size of the positives: halfway between the labels as given and as extended by what was detected.
        let positives = labelled + true_around / 2.0;
        let recall = (hits / positives).min(1.0) * existing as f64 / regions.len() as f64;
        let precision = hits / ranks.detected[threshold] as f64;
        area += (recall - recall_before) * precision;
        recall_before = recall;
    }
    area
}

/// 1 on labelled rows, falling towards the ends of half a buffer on both sides, 0 elsewhere.
fn weights(labels: &[bool], events: &[Event], buffer: usize) -> Vec<f64> {
    let mut weights: Vec<f64> = labels.iter().map(|label| f64::from(u8::from(*label))).collect();
    let half = buffer / 2;
    let fade = |distance: usize| (1.0 - distance as f64 / buffer as f64).sqrt();
    for event in events {
        for (distance, weight) in (1..=half).zip(weights.iter_mut().skip(event.last + 1)) {
            *weight += fade(distance);
        }
        for (distance, weight) in (1..=half).zip(weights[..event.first].iter_mut().rev()) {
            *weight += fade(distance);
        }
    }
    weights.into_iter().map(|weight| weight.min(1.0)).collect()
}

/// Events with their buffers; those that touch are one.
fn regions(events: &[Event], half: usize, rows: usize) -> Vec<Event> {
    let mut regions: Vec<Event> = Vec::with_capacity(events.len());
    for event in events {
        let first = event.first.saturating_sub(half);
        let last = (event.last + half).min(rows - 1);
        match regions.last_mut() {
            Some(region) if region.last >= first => region.last = last,
            _ => regions.push(Event { first, last }),
        }
    }
    regions
}

#[cfg(test)]
#[path = "vus/tests.rs"]
mod tests;
