//! The nine scenarios of Semian's suite with open-loop arrivals (criterion A4): 400 calls a second, 1 % errors, latency log-normal
//! around 150 ms, timeout 10 s.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::rules::{Rule, Token, by_name};
use super::traffic::{exponential, normal};
use crate::rng::Rng;

const RATE: f64 = 400.0;
const ERROR: f64 = 0.01;
const TIMEOUT: f64 = 10.0;
/// Services of the latency scenarios, each with a breaker and an equal share of the calls.
const SERVICES: u64 = 10;
/// Endpoints of each service.
const ENDPOINTS: u64 = 5;

/// One part of a scenario.
#[derive(Debug, Clone, Copy)]
struct Phase {
    seconds: f64,
    error: f64,
    /// Added latency on one endpoint of the first service, and on the whole first service.
    slow_endpoint: f64,
    slow_service: f64,
    healthy: bool,
}

/// A scenario of the suite.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    services: u64,
    phases: Vec<Phase>,
}

/// What became of the calls offered in one kind of phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PhaseCount {
    /// Offered.
    pub offered: u64,
    /// Rejected.
    pub rejected: u64,
    /// Succeeded.
    pub succeeded: u64,
    /// Admitted and failed.
    pub failed: u64,
}

impl PhaseCount {
    /// Share of the offered calls that succeeded.
    pub fn success(&self) -> f64 {
        self.succeeded as f64 / self.offered.max(1) as f64
    }

    /// Share of the offered calls that were rejected.
    pub fn rejection(&self) -> f64 {
        self.rejected as f64 / self.offered.max(1) as f64
    }

    fn add(&mut self, other: &PhaseCount) {
        self.offered += other.offered;
        self.rejected += other.rejected;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
    }
}

/// One policy in one scenario.
#[derive(Debug, Clone)]
pub struct ScenarioRun {
    /// Phase by phase.
    pub phases: Vec<PhaseCount>,
    /// All.
    pub total: PhaseCount,
    /// Healthy phases, without the first seconds after a fault (five, as long as a recovery may take).
    pub healthy: PhaseCount,
    /// Phases with a fault.
    pub degraded: PhaseCount,
    /// Seconds after the end of the last fault from which at least 99 % of each second's calls were admitted.
    pub admitted_after: f64,
}

/// The nine scenarios.
pub fn scenarios() -> Vec<Scenario> {
    let phase = |seconds, error| Phase {
        seconds,
        error,
        slow_endpoint: 0.0,
        slow_service: 0.0,
        healthy: error <= 0.012,
    };
    let spike = |name, error| Scenario {
        name,
        services: 1,
        phases: vec![phase(60.0, ERROR), phase(20.0, error), phase(60.0, ERROR)],
    };
    let mut gradual: Vec<_> = (0..9).map(|step| phase(60.0, 0.01 + 0.005 * f64::from(step))).collect();
    gradual.push(phase(60.0, ERROR));
    let mut oscillating = vec![phase(20.0, ERROR)];
    (0..9).for_each(|_| oscillating.extend([phase(10.0, 0.02), phase(10.0, 0.06)]));
    oscillating.push(phase(20.0, ERROR));
    let slow = |name, slow_endpoint, slow_service| Scenario {
        name,
        services: SERVICES,
        phases: vec![
            phase(30.0, ERROR),
            Phase { slow_endpoint, slow_service, healthy: false, ..phase(300.0, ERROR) },
            phase(90.0, ERROR),
        ],
    };
    let spikes = [0.2, 0.6, 1.0].into_iter().flat_map(|error| [phase(60.0, ERROR), phase(20.0, error)]);
    vec![
        spike("spike 20 %", 0.2),
        spike("spike 100 %", 1.0),
        Scenario {
            name: "spikes 20/60/100 %",
            services: 1,
            phases: spikes.chain([phase(60.0, ERROR)]).collect(),
        },
        Scenario { name: "gradual 1-5 %", services: 1, phases: gradual },
        Scenario {
            name: "near target 1.2 %",
            services: 1,
            phases: vec![phase(30.0, ERROR), phase(120.0, 0.012), phase(30.0, ERROR)],
        },
        Scenario { name: "oscillating 2-6 %", services: 1, phases: oscillating },
        Scenario {
            name: "sustained 20 %",
            services: 1,
            phases: vec![phase(120.0, ERROR), phase(300.0, 0.2), phase(120.0, ERROR)],
        },
        slow("slow query", 9.5, 0.0),
        slow("one of many slow", 0.0, 9.95),
    ]
}

/// A call in flight, ordered by when it ends.
#[derive(Debug)]
struct InFlight {
    phase: usize,
    service: u64,
    token: Token,
    failed: bool,
    latency: Duration,
}

/// Plays a scenario under a policy; `None` if there is no such policy.
pub fn run(scenario: &Scenario, policy: &str, seed: u64) -> Option<ScenarioRun> {
    let mut rules: Vec<Box<dyn Rule>> = (0..scenario.services)
        .map(|service| by_name(policy, seed ^ (service << 32)))
        .collect::<Option<_>>()?;
    let mut rng = Rng::new(seed);
    let mut in_flight = BTreeMap::new();
    let mut ends = BinaryHeap::new();
    let mut phases = vec![PhaseCount::default(); scenario.phases.len()];
    let mut recovering = PhaseCount::default();
    let mut seconds: Vec<PhaseCount> = Vec::new();
    let (mut began, mut now, mut number) = (0.0, 0.0, 0u64);
    let mut last_fault = 0.0;
    for (index, phase) in scenario.phases.iter().enumerate() {
        let after_fault = index > 0 && !scenario.phases[index - 1].healthy;
        loop {
            let next = now + exponential(&mut rng) / RATE;
            if next >= began + phase.seconds {
                break;
            }
            now = next;
            number += 1;
            let fate = fate(phase, scenario.services, &mut rng);
            settle(&mut rules, &mut in_flight, &mut ends, Duration::from_secs_f64(now), &mut phases);
            let second = now as usize;
            seconds.resize(seconds.len().max(second + 1), PhaseCount::default());
            let early = after_fault && phase.healthy && now < began + 5.0;
            let mut count = PhaseCount { offered: 1, ..PhaseCount::default() };
            let at = Duration::from_secs_f64(now);
            match rules[fate.0 as usize].admit(at) {
                None => count.rejected = 1,
                Some(token) => {
                    let (service, failed, latency) = fate;
                    let call = InFlight { phase: index, service, token, failed, latency };
                    ends.push(Reverse((at + latency, number)));
                    in_flight.insert(number, call);
                }
            }
            phases[index].add(&count);
            seconds[second].add(&count);
            if early {
                recovering.add(&count);
            }
        }
        began += phase.seconds;
        now = began;
        if !phase.healthy {
            last_fault = began;
        }
    }
    settle(&mut rules, &mut in_flight, &mut ends, Duration::from_secs_f64(now + 30.0), &mut phases);
    let sum = |healthy: Option<bool>| {
        let mut sum = PhaseCount::default();
        let chosen = scenario
            .phases
            .iter()
            .zip(&phases)
            .filter(|(phase, _)| healthy.is_none_or(|h| h == phase.healthy));
        chosen.for_each(|(_, count)| sum.add(count));
        sum
    };
    let mut healthy = sum(Some(true));
    healthy.offered -= recovering.offered;
    healthy.rejected -= recovering.rejected;
    let late = seconds.iter().enumerate().skip(last_fault as usize);
    let worst = late.filter(|(_, count)| count.rejection() > 0.01).map(|(second, _)| second + 1).max();
    Some(ScenarioRun {
        total: sum(None),
        healthy,
        degraded: sum(Some(false)),
        admitted_after: worst.map_or(0.0, |second| (second as f64 - last_fault).max(0.0)),
        phases,
    })
}

fn fate(phase: &Phase, services: u64, rng: &mut Rng) -> (u64, bool, Duration) {
    let service = rng.next_u64() % services;
    let endpoint = rng.next_u64() % ENDPOINTS;
    let mut latency = 0.15 * (0.33 * normal(rng)).exp();
    let failed = rng.unit() < phase.error;
    if service == 0 {
        latency += phase.slow_service + if endpoint == 0 { phase.slow_endpoint } else { 0.0 };
    }
    let timed_out = latency >= TIMEOUT;
    (service, failed || timed_out, Duration::from_secs_f64(latency.min(TIMEOUT)))
}

fn settle(
    rules: &mut [Box<dyn Rule>],
    in_flight: &mut BTreeMap<u64, InFlight>,
    ends: &mut BinaryHeap<Reverse<(Duration, u64)>>,
    now: Duration,
    phases: &mut [PhaseCount],
) {
    while let Some(Reverse((at, number))) = ends.peek().copied() {
        if at > now {
            return;
        }
        ends.pop();
        let Some(InFlight { phase, service, token, failed, latency }) = in_flight.remove(&number) else {
            continue;
        };
        rules[service as usize].end(at, token, failed, latency);
        phases[phase].succeeded += u64::from(!failed);
        phases[phase].failed += u64::from(failed);
    }
}
