//! What no policy can beat: the oracle that knows the load, and the Lagrangian bound below which nothing can be.

use super::{
    load::Load,
    replay::{CONTROL_S, Decision, Record},
    service::{Backlog, Service},
};
use std::collections::BTreeMap;

/// Knows every rate: the least replicas that keep this late share in each step, on the cheapest schedule. Replicas that a
/// schedule bridges an idle gap with cost, but are not counted upon.
#[must_use]
pub fn oracle(load: &Load, service: &Service, late: f64, start_up_s: u32) -> Record {
    let needs = needs(load, service, late);
    let asked = schedule(&needs, start_up_s);
    let (mut record, mut backlog) = (Record::default(), Backlog::default());
    for (step, rate) in load.rates.iter().enumerate() {
        let block = (step as u32 * load.step_s / CONTROL_S) as usize;
        let done = backlog.step(service, *rate, needs[block].max(1), f64::from(load.step_s), None);
        record.utilisation.push(done.utilisation);
        record.late_ratio.push(done.late_ratio);
        record.ready.push(needs[block]);
        record.total.push(asked[block]);
    }
    for (block, pair) in asked.windows(2).enumerate() {
        let at_s = (block as u32 + 1) * CONTROL_S;
        record.decisions.push(Decision { at_s, ready: needs[block + 1], total: pair[0], wanted: pair[1] });
    }
    record
}

/// The largest need of each control interval.
fn needs(load: &Load, service: &Service, late: f64) -> Vec<u32> {
    let takes = service.rate * service.utilisation_for(late);
    let per_block = (CONTROL_S / load.step_s) as usize;
    load.rates
        .chunks(per_block)
        .map(|block| block.iter().map(|rate| ((rate / takes).ceil() as u32).max(1)).max().unwrap_or(1))
        .collect()
}

/// For every level of replicas apart: an idle gap shorter than a start is bridged, else a replica is started anew, early
/// enough. What is asked for at a block is what must be ready a start later.
fn schedule(needs: &[u32], start_up_s: u32) -> Vec<u32> {
    let lead = start_up_s.div_ceil(CONTROL_S) as usize;
    let top = needs.iter().copied().max().unwrap_or(0);
    let mut asked = vec![0u32; needs.len()];
    for level in 1..=top {
        let mut block = 0;
        let mut last_end: Option<usize> = None;
        while block < needs.len() {
            if needs[block] < level {
                block += 1;
                continue;
            }
            let end = (block..needs.len()).find(|at| needs[*at] < level).unwrap_or(needs.len());
            let early = block.saturating_sub(lead);
            // A gap no longer than a start costs no more bridged than paid for while starting.
            let from = last_end.map_or(early, |last| early.max(last));
            (from..end).for_each(|at| asked[at] += 1);
            (last_end, block) = (Some(end), end);
        }
    }
    asked
}

/// How often each whole rate occurs in the evaluated time, and for how many seconds in all.
#[derive(Debug, Clone, PartialEq)]
pub struct LowerBound {
    seconds: BTreeMap<u32, f64>,
    requests: f64,
    service: Service,
    /// The utilisation at which most requests are answered in time.
    best_admission: f64,
    /// Replicas are never fewer.
    minimum: u32,
}

impl LowerBound {
    /// Of this load's evaluated time.
    #[must_use]
    pub fn new(load: &Load, service: Service, minimum: u32) -> Self {
        let dt = f64::from(load.step_s);
        let mut seconds = BTreeMap::new();
        for rate in &load.rates[load.step_at(load.evaluated_from_s).min(load.rates.len())..] {
            *seconds.entry(rate.floor() as u32).or_insert(0.0) += dt;
        }
        let requests = seconds.iter().map(|(rate, seconds)| f64::from(*rate) * seconds).sum();
        Self { seconds, requests, service, best_admission: best_admission(&service), minimum }
    }

    /// Replica-hours below which no policy of this model can be at this violation ratio: the Lagrangian dual, in which every
    /// step is free to choose its replicas and to turn away what it likes.
    #[must_use]
    pub fn replica_hours(&self, violation_ratio: f64) -> f64 {
        // The dual is concave in the price, so a ternary search over its logarithm finds its top.
        let (mut low, mut high) = ((1e-6f64).ln(), (1e6f64).ln());
        for _ in 0..80 {
            let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            if self.dual(a.exp(), violation_ratio) < self.dual(b.exp(), violation_ratio) {
                low = a
            } else {
                high = b
            }
        }
        self.dual(((low + high) / 2.0).exp(), violation_ratio).max(0.0) / 3_600.0
    }

    fn dual(&self, price: f64, violation_ratio: f64) -> f64 {
        let mut replicas = self.minimum;
        let mut sum = 0.0;
        for (rate, seconds) in &self.seconds {
            let rate = f64::from(*rate);
            let cost = |n: u32| f64::from(n) + price * self.late(rate, n);
            // The cheapest number grows with the rate, and the cost has one bottom: walk on from the last rate's.
            while cost(replicas + 1) < cost(replicas) {
                replicas += 1;
            }
            while replicas > self.minimum && cost(replicas - 1) <= cost(replicas) {
                replicas -= 1;
            }
            sum += cost(replicas) * seconds;
        }
        sum - price * violation_ratio * self.requests
    }

    /// Requests per second that are late or turned away, at the best share to let in.
    fn late(&self, rate: f64, replicas: u32) -> f64 {
        if replicas == 0 {
            return rate;
        }
        let can = f64::from(replicas) * self.service.rate;
        let rho = rate / can;
        let let_in = rho.min(self.best_admission);
        rate - let_in * can * (1.0 - self.service.tail(let_in, self.service.objective_s))
    }
}

/// The utilisation at which most requests are answered in time: 0.9 for the model's default service.
fn best_admission(service: &Service) -> f64 {
    let good = |rho: f64| rho * (1.0 - service.tail(rho, service.objective_s));
    let (mut low, mut high) = (0.0, 0.999);
    for _ in 0..60 {
        let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if good(a) < good(b) { low = a } else { high = b }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_shorter_than_a_start_is_bridged() {
        // A start takes four blocks.
        assert_eq!(schedule(&[0, 0, 0, 0, 0, 1, 0, 0, 1, 0], 60), [0, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
        let long = schedule(&[1, 0, 0, 0, 0, 0, 0, 1], 60);
        assert_eq!(long, [1, 0, 0, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn bound_rises_as_fewer_violations_are_allowed() {
        let (rates, dark) = (vec![1_000.0; 1_000], Vec::new());
        let load = Load { step_s: 5, rates, scale: 1.0, evaluated_from_s: 0, bin_s: 60, dark };
        let bound = LowerBound::new(&load, Service::default(), 0);
        let hours = [0.1, 0.01, 0.001].map(|ratio| bound.replica_hours(ratio));
        assert!(hours[0] < hours[1] && hours[1] < hours[2], "{hours:?}");
        // At most 0.1 % late needs 12.45 replicas of 100 requests/s for 5,000 s.
        assert!((hours[2] / (1_000.0 / 80.3346 * 5_000.0 / 3_600.0) - 1.0).abs() < 0.03, "{hours:?}");
    }
}
