//! What is played on the cluster: a seeded load profile and timed steps. The same name, seed and duration play the same.

use std::time::Duration;

use chassis::IdGenerator;
use serde::{Deserialize, Serialize};

use crate::faults::{Effect, Fault};
use crate::load::Profile;
use crate::topology::Role;

/// Requests per second without a crowd: 55 % of two catalog replicas.
const BASE_RATE: f64 = 120.0;

/// A flash crowd asks this many times as much.
const CROWD_FACTOR: f64 = 4.0;

/// How long a flash crowd takes to arrive and to leave.
const RAMP: Duration = Duration::from_secs(4);

/// The base load's noise: a new level this often, this much up or down.
const NOISE_EVERY_S: f64 = 2.0;
const NOISE_SHARE: f64 = 0.08;

/// Names that [`scenario`] knows.
pub const NAMES: [&str; 7] =
    ["demo", "steady", "flash-crowd", "dependency-failure", "bad-replica", "metrics-gone", "kills"];

/// Load and timed steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// One of [`NAMES`].
    pub name: String,
    /// How long it takes.
    pub duration: Duration,
    /// How much is asked when.
    pub profile: Profile,
    /// What happens when, in order.
    pub steps: Vec<Step>,
}

/// Something happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When, after the start.
    pub at: Duration,
    /// To whom, as a resource id.
    pub resource: String,
    /// In words.
    pub text: String,
    /// What to do.
    pub action: Action,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// A flash crowd arrives or leaves; the load profile does it.
    Crowd {
        /// Arrives.
        begins: bool,
    },
    /// Puts a fault in force.
    Inject {
        /// Its label.
        label: String,
        /// The fault.
        fault: Fault,
    },
    /// Ends a fault.
    Clear {
        /// Its label.
        label: String,
    },
    /// Kills a replica's process without warning.
    KillReplica {
        /// Of which service.
        role: Role,
    },
    /// Kills a service's actuator without warning.
    KillActuator {
        /// Of which service.
        role: Role,
    },
}

/// What kind of trouble a step begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// More load than the replicas can take: scaling cures it.
    Crowd,
    /// A called service fails as a whole: scaling cannot cure it.
    Dependency,
    /// Anything else.
    Other,
}

impl Action {
    /// The trouble that this begins, if it begins one.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Action::Crowd { begins: true } => Some(Trouble::Crowd),
            Action::Crowd { begins: false } | Action::Clear { .. } => None,
            Action::Inject { fault, .. } => {
                let answers_badly = matches!(
                    fault.effect,
                    Effect::Errors { .. } | Effect::Latency { .. } | Effect::Hang | Effect::Down
                );
                let called = fault.service == Role::Inventory.name() && fault.instance.is_none();
                Some(if called && answers_badly { Trouble::Dependency } else { Trouble::Other })
            }
            Action::KillReplica { .. } | Action::KillActuator { .. } => Some(Trouble::Other),
        }
    }
}

/// No scenario of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no scenario is called {0:?}; there are {names}", names = NAMES.join(", "))]
pub struct UnknownScenario(String);

/// The scenario of that name, scaled to `duration` and varied by `seed`.
pub fn scenario(name: &str, seed: u64, duration: Duration) -> Result<Scenario, UnknownScenario> {
    let mut play =
        Play { ids: IdGenerator::from_seed(seed), duration, crowds: Vec::new(), steps: Vec::new() };
    match name {
        "steady" => {}
        "flash-crowd" => play.crowd(0.25, 0.4),
        "dependency-failure" => play.dependency_failure(0.3, 0.4),
        "demo" => {
            play.crowd(0.22, 0.22);
            play.dependency_failure(0.7, 0.18);
        }
        "bad-replica" => play.bad_replica(0.3, 0.4),
        "metrics-gone" => play.metrics_gone(0.3, 0.4),
        "kills" => play.kills(),
        _ => return Err(UnknownScenario(name.to_owned())),
    }
    Ok(play.finish(name))
}

/// A scenario in the making.
struct Play {
    ids: IdGenerator,
    duration: Duration,
    /// Start and end of each flash crowd, in seconds.
    crowds: Vec<(f64, f64)>,
    steps: Vec<Step>,
}

impl Play {
    /// Start and end of a phase, in seconds, moved by up to 2 % of the duration.
    fn phase(&mut self, start: f64, length: f64) -> (f64, f64) {
        let total = self.duration.as_secs_f64();
        let moved = start + 0.04 * (self.ids.unit_f64() - 0.5);
        (moved * total, (moved + length).min(1.0) * total)
    }

    fn step(&mut self, at_s: f64, resource: String, text: String, action: Action) {
        self.steps.push(Step { at: Duration::from_secs_f64(at_s), resource, text, action });
    }

    fn fault(&mut self, label: &str, (start, end): (f64, f64), text: &str, fault: Fault) {
        let resource = match &fault.instance {
            Some(instance) => format!("replica:staging/{instance}"),
            None => format!("service:staging/{}", fault.service),
        };
        let label = label.to_owned();
        let inject = Action::Inject { label: label.clone(), fault };
        self.step(start, resource.clone(), text.to_owned(), inject);
        self.step(end, resource, format!("{text}: over"), Action::Clear { label });
    }

    fn crowd(&mut self, start: f64, length: f64) {
        let (start, end) = self.phase(start, length);
        self.crowds.push((start, end));
        let gateway = || "service:staging/gateway".to_owned();
        self.step(
            start,
            gateway(),
            format!("flash crowd: {CROWD_FACTOR} times the load"),
            Action::Crowd { begins: true },
        );
        self.step(end, gateway(), "flash crowd leaves".to_owned(), Action::Crowd { begins: false });
    }

    /// Inventory fails in one way, then, in two runs out of three, in another.
    fn dependency_failure(&mut self, start: f64, length: f64) {
        let (start, end) = self.phase(start, length);
        let ways = [
            ("inventory answers with errors", Effect::Errors { ratio: 1.0 }),
            ("inventory takes 2 s longer", Effect::Latency { added_ms: 2_000 }),
            ("inventory is down", Effect::Down),
        ];
        let first = (self.ids.next_u64() % 3) as usize;
        let second = (self.ids.next_u64() % 3) as usize;
        let middle = if first == second { end } else { start + (end - start) * 0.5 };
        let hit = |effect| Fault { service: Role::Inventory.to_string(), instance: None, effect };
        self.fault("dependency", (start, middle), ways[first].0, hit(ways[first].1));
        if first != second {
            self.fault("dependency-2", (middle, end), ways[second].0, hit(ways[second].1));
        }
    }

    fn bad_replica(&mut self, start: f64, length: f64) {
        let phase = self.phase(start, length);
        let fault = Fault {
            service: Role::Catalog.to_string(),
            instance: Some("catalog-1".to_owned()),
            effect: Effect::Errors { ratio: 0.5 },
        };
        self.fault("bad-replica", phase, "one catalog replica fails half of its requests", fault);
    }

    fn metrics_gone(&mut self, start: f64, length: f64) {
        let phase = self.phase(start, length);
        let fault = Fault { service: Role::Catalog.to_string(), instance: None, effect: Effect::MetricsGone };
        self.fault("metrics-gone", phase, "catalog's metrics are gone", fault);
    }

    fn kills(&mut self) {
        for (start, role) in [(0.2, Role::Catalog), (0.4, Role::Inventory), (0.6, Role::Catalog)] {
            let (at, _) = self.phase(start, 0.0);
            let resource = || format!("service:staging/{role}");
            self.step(at, resource(), format!("a replica of {role} is killed"), Action::KillReplica { role });
            let (at, _) = self.phase(start + 0.1, 0.0);
            let text = format!("the actuator of {role} is killed");
            self.step(at, resource(), text, Action::KillActuator { role });
        }
    }

    fn finish(mut self, name: &str) -> Scenario {
        let profile = self.profile();
        self.steps.sort_by_key(|step| step.at);
        Scenario { name: name.to_owned(), duration: self.duration, profile, steps: self.steps }
    }

    /// The base with its noise, times the crowds, as a line through half-second points.
    fn profile(&mut self) -> Profile {
        let total = self.duration.as_secs_f64();
        let ramp = RAMP.as_secs_f64().min(0.05 * total).max(0.1);
        let levels: Vec<f64> = (0..=(total / NOISE_EVERY_S) as usize + 1)
            .map(|_| 1.0 + NOISE_SHARE * (2.0 * self.ids.unit_f64() - 1.0))
            .collect();
        let points = (0..=(total * 2.0) as usize).map(|half| {
            let at = half as f64 / 2.0;
            let place = at / NOISE_EVERY_S;
            let (index, share) = (place as usize, place.fract());
            let noise = levels[index] * (1.0 - share) + levels[index + 1] * share;
            let crowd = |&(start, end): &(f64, f64)| {
                let arrived = ((at - start) / ramp).clamp(0.0, 1.0);
                let left = ((at - end) / ramp).clamp(0.0, 1.0);
                1.0 + (CROWD_FACTOR - 1.0) * (arrived - left)
            };
            (at, BASE_RATE * noise * self.crowds.iter().map(crowd).product::<f64>())
        });
        Profile::new(points.collect())
            .expect("times rise in half seconds, rates are products of positive numbers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: Duration = Duration::from_secs(90);

    #[test]
    fn each_name_plays_within_its_duration_and_repeats_with_its_seed() {
        for name in NAMES {
            for seed in 0..50 {
                let play = scenario(name, seed, D).unwrap();
                assert_eq!(play, scenario(name, seed, D).unwrap());
                assert!(play.steps.iter().all(|step| step.at <= D), "{name} {seed}");
                assert!(play.steps.is_sorted_by_key(|step| step.at));
            }
        }
        assert!(scenario("picnic", 0, D).is_err());
    }

    #[test]
    fn demo_has_a_crowd_of_four_times_the_base_and_a_failing_dependency_after_it() {
        for seed in 0..50 {
            let play = scenario("demo", seed, D).unwrap();
            let crowd = (0..90).filter(|s| play.profile.rate(f64::from(*s)) > 3.0 * BASE_RATE).count();
            assert!((14..=25).contains(&crowd), "seed {seed}: {crowd} s");
            let failing = play.steps.iter().find(|step| matches!(step.action, Action::Inject { .. }));
            let failing = failing.expect("inventory fails").at.as_secs_f64();
            assert!((61.0..65.0).contains(&failing), "seed {seed}: {failing}");
        }
    }

    #[test]
    fn every_injected_fault_is_cleared() {
        for name in NAMES {
            for seed in 0..20 {
                let steps = scenario(name, seed, D).unwrap().steps;
                let count = |f: fn(&Action) -> bool| steps.iter().filter(|step| f(&step.action)).count();
                assert_eq!(
                    count(|action| matches!(action, Action::Inject { .. })),
                    count(|action| matches!(action, Action::Clear { .. }))
                );
            }
        }
    }
}
