//! All schedules up to a depth: every state that the machine can reach by so many events is visited, each once, and in each the
//! promises hold. Callers may forget their permits, answer late, or answer twice in spirit by cancelling.

use std::collections::HashSet;
use std::time::Duration;

use breaker::PhaseKind;
use breaker::machine::{Answer, Event, Grant, Machine, Phase, Timing};

/// Events in a row that are searched. The release run (`cargo test --release`) goes deeper.
const DEPTH: usize = if cfg!(debug_assertions) { 11 } else { 17 };
/// Calls in flight that the callers keep track of.
const CALLS_MAX: usize = 5;

fn timing() -> Timing {
    Timing {
        open_wait: Duration::from_secs(1),
        open_wait_max: Duration::from_secs(2),
        jitter: 0,
        permits: 4,
        permit_ttl: Duration::from_secs(2),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    machine: Machine,
    now: Duration,
    calls: Vec<(Grant, Duration)>,
}

impl World {
    fn next(&self) -> Vec<World> {
        let mut worlds = Vec::new();
        let mut with = |change: &mut dyn FnMut(&mut World)| {
            let mut world = self.clone();
            change(&mut world);
            worlds.push(world);
        };
        if self.calls.len() < CALLS_MAX {
            with(&mut |world| {
                if let Answer::Admitted(grant) = world.machine.handle(world.now, Event::Acquire) {
                    let expires = world.now + timing().permit_ttl;
                    world.calls.push((grant, expires));
                }
            });
        }
        for index in 0..self.calls.len() {
            for good in [true, false] {
                with(&mut |world| {
                    let (grant, _) = world.calls.remove(index);
                    world.machine.handle(world.now, Event::Probed { grant, good });
                });
            }
            with(&mut |world| {
                let (grant, _) = world.calls.remove(index);
                // A drop knows no time.
                world.machine.handle(Duration::ZERO, Event::Cancel { grant });
            });
            with(&mut |world| {
                world.calls.remove(index);
            });
        }
        with(&mut |world| {
            world.machine.handle(world.now, Event::Trip);
        });
        with(&mut |world| world.now += Duration::from_secs(1));
        worlds
    }

    fn check(&self) {
        let machine = &self.machine;
        assert!(machine.probes_in_flight() <= machine.stage() && machine.stage() <= timing().permits);
        assert!(machine.phase() == Phase::HalfOpen || machine.probes_in_flight() == 0);
        if let Phase::Open { until } = machine.phase() {
            assert!(until <= self.now + timing().open_wait_max, "{self:?}");
        }
    }

    /// From wherever it stands: callers that keep calling a healthy callee close it, after one lease and one wait at most.
    fn closes(&self) {
        let mut world = self.clone();
        world.now += timing().permit_ttl;
        if let Answer::Admitted(grant) = world.machine.handle(world.now, Event::Acquire) {
            world.machine.handle(world.now, Event::Probed { grant, good: true });
        }
        world.now += timing().open_wait_max.max(timing().permit_ttl);
        for _ in 0..=2 * timing().permits {
            let answer = world.machine.handle(world.now, Event::Acquire);
            let Answer::Admitted(grant) = answer else { panic!("stuck: {self:?}: {answer:?}") };
            world.machine.handle(world.now, Event::Probed { grant, good: true });
        }
        assert_eq!(world.machine.phase().kind(), PhaseKind::Closed, "{self:?}");
    }
}

#[test]
fn no_schedule_sticks_or_admits_too_many() {
    let mut machine = Machine::new(timing(), 0, Duration::ZERO);
    machine.handle(Duration::ZERO, Event::Trip);
    // It starts where the trouble begins: open, and due.
    let start = World { machine, now: Duration::from_secs(1), calls: Vec::new() };
    let mut frontier = vec![start.clone()];
    let mut seen = HashSet::from([start]);
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for world in frontier.iter().flat_map(World::next) {
            world.check();
            if !seen.contains(&world) {
                world.closes();
                seen.insert(world.clone());
                next.push(world);
            }
        }
        frontier = next;
    }
    eprintln!("{} states at depth {DEPTH}", seen.len());
    assert!(seen.len() > 5_000);
}
