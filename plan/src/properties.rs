//! Many thousand random worlds, most of them broken somewhere: whatever Plan is told, what it gives out keeps every promise.
//! Each seed is one world, so that a failure names the seed that repeats it.

use crate::{
    fixtures::{Plant, at, breaker_record, edge, scale_record, service, symptom},
    input::PlanInput,
    planner::{self, Decision, plan},
};
use chassis::IdGenerator;
use proto::model::{
    Action, AutonomyLevel, Capacity, Directive, DirectiveRecord, DirectiveState, LatePoint, Outlook,
    OutlookPoint, PolicySpec, Quality, Standing, StandingCause, SymptomKind, SymptomState,
};
use std::{sync::LazyLock, time::Duration};

/// Worlds per test: enough that each kind of directive comes out hundreds of times, and done in seconds.
const WORLDS: u64 = 5_000;

mod check;
mod storm;

struct Dice(IdGenerator);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0.next_u64() % limit
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Mostly a plausible number, sometimes one that no measurement gives.
    fn number(&mut self, largest: f64) -> f64 {
        const ABSURD: [f64; 8] =
            [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e300, f64::MIN_POSITIVE, f64::MAX];
        if self.one_in(30) { self.pick(&ABSURD) } else { self.0.unit_f64() * largest }
    }
}

/// What happened before: loads, replicas, and times that are a whole window in about half of the worlds.
static PASTS: LazyLock<[Plant; 128]> = LazyLock::new(|| {
    let mut dice = Dice(IdGenerator::from_seed(0));
    std::array::from_fn(|_| {
        let mut plant = Plant::new();
        let (seconds, load, replicas) =
            (dice.below(160) as u32, dice.0.unit_f64() * 600.0, 1 + dice.below(12) as u32);
        plant.run(seconds, load, replicas);
        if dice.one_in(2) {
            (0..90).for_each(|_| foresee(&mut plant, &mut dice, load));
        }
        plant
    })
});

/// A second at about this load, of which Analyze tells what comes.
fn foresee(plant: &mut Plant, dice: &mut Dice, load: f64) {
    plant.set("load", load * (0.9 + 0.2 * dice.0.unit_f64()));
    let seen = plant.caller();
    seen.capacity = Capacity { per_replica: Some(50.0), samples: 100, ..Capacity::default() };
    let values = || vec![0.9 * load, load, 1.2 * load];
    let point = |after| OutlookPoint { after: Duration::from_secs(after), values: values() };
    let late = |used: f64| LatePoint { utilisation_ratio: used, requests: 1e5, late: 1e5 * used.powi(30) };
    seen.outlook = Some(Box::new(Outlook {
        at: seen.at,
        levels: vec![0.1, 0.5, 0.9],
        points: [1, 5, 10, 30].map(point).to_vec(),
        late: [0.5, 0.7, 0.9].map(late).to_vec(),
        coverage_ratio: Some(0.8),
    }));
    plant.settle();
}

/// A world at one moment.
struct Random {
    plant: Plant,
    records: Vec<DirectiveRecord>,
}

fn world(seed: u64) -> Random {
    let mut dice = Dice(IdGenerator::from_seed(seed));
    let mut plant = dice.pick(&PASTS.each_ref()).clone();
    plant.set_policy(|policy| disturb_policy(policy, &mut dice));
    let records = records(&mut dice, plant.second);
    records.iter().for_each(|record| plant.world.ledger.put(record));
    disturb(&mut plant, &mut dice);
    judge(&mut plant, &mut dice);
    plant.settle();
    plant.second += if dice.one_in(10) { dice.below(60) as i64 - 20 } else { 0 };
    if dice.one_in(10) {
        plant.world.actuators.clear();
    }
    plant.world.pause.paused = dice.one_in(10);
    Random { plant, records }
}

fn disturb_policy(policy: &mut PolicySpec, dice: &mut Dice) {
    policy.autonomy = dice.pick(AutonomyLevel::ALL);
    policy.blast_radius_ratio = dice.pick(&[0.1, 0.25, 0.34, 0.5, 1.0]);
    let scale = policy.scale.as_mut().unwrap();
    scale.minimum_replicas = 1 + dice.below(4) as u32;
    scale.maximum_replicas = scale.minimum_replicas + dice.below(12) as u32;
    scale.step_up_replicas = 1 + dice.below(6) as u32;
    scale.step_down_replicas = 1 + dice.below(3) as u32;
    scale.cooldown_down = Duration::from_secs(dice.below(90));
    scale.target_utilisation_ratio = dice.pick(&[0.01, 0.5, 0.6, 0.95]);
    if dice.one_in(10) {
        policy.scale = None;
    }
    if dice.one_in(10) {
        policy.breaker = None;
    }
}

fn records(dice: &mut Dice, now: i64) -> Vec<DirectiveRecord> {
    let mut second = now - 1_000;
    let mut made = Vec::new();
    for generation in 1..=dice.below(5) as u32 {
        second = (second + dice.below(400) as i64).min(now);
        let (before, after) = (1 + dice.below(12) as u32, 1 + dice.below(12) as u32);
        let state = if dice.one_in(5) { dice.pick(DirectiveState::ALL) } else { DirectiveState::Verified };
        made.push(scale_record(generation, before, after, state, second.max(0)));
        if dice.one_in(3) {
            made.push(breaker_record(100 + generation, &edge("catalog", "inventory"), state, second.max(0)));
        }
    }
    made
}

fn disturb(plant: &mut Plant, dice: &mut Dice) {
    for _ in 0..dice.below(6) {
        let name = dice.pick(&["load", "utilisation", "ready_replicas", "bad_ratio", "latency_p99_seconds"]);
        let largest = if name == "load" {
            1_000.0
        } else if name == "ready_replicas" {
            12.0
        } else {
            1.2
        };
        plant.set(name, dice.number(largest));
    }
    let capacity = || Capacity::default();
    plant.caller().capacity = if dice.one_in(2) {
        capacity()
    } else {
        Capacity { per_replica: Some(dice.number(100.0)), upper: Some(dice.number(120.0)), ..capacity() }
    };
    for which in 0..3 {
        let chosen = match which {
            0 => plant.caller(),
            1 => plant.callee(),
            _ => plant.edge(),
        };
        if dice.one_in(4) {
            chosen.data.quality = dice.pick(Quality::ALL);
        }
        if dice.one_in(3) {
            chosen.symptoms.push(symptom(dice.pick(SymptomKind::ALL), dice.pick(SymptomState::ALL)));
        }
        if dice.one_in(10) {
            chosen.signals.clear();
        }
        for signal in &mut chosen.signals {
            if dice.one_in(10) {
                (signal.scale, signal.upper, signal.lower) =
                    (Some(dice.number(10.0)), Some(dice.number(10.0)), Some(dice.number(1.0)));
            }
            if dice.one_in(40) {
                signal.quality = dice.pick(Quality::ALL);
            }
        }
        if dice.one_in(20) {
            chosen.interval = Duration::from_millis(dice.pick(&[0, 1, 100, 15_000, 3_600_000]));
        }
    }
    if dice.one_in(4) {
        plant.edge().symptoms.push(symptom(SymptomKind::Dependency, SymptomState::Open));
    }
    if dice.one_in(3) {
        spoil_outlook(plant, dice);
    }
}

/// A forecast that is none: numbers out of range, quantiles in disorder, rows too short or too many.
fn spoil_outlook(plant: &mut Plant, dice: &mut Dice) {
    let rows = dice.pick(&[0, 1, 3, 3, 3, 14, 40]);
    let point = |dice: &mut Dice| OutlookPoint {
        after: Duration::from_millis(dice.below(60_000)),
        values: (0..dice.pick(&[rows, rows, rows, rows / 2])).map(|_| dice.number(1_000.0)).collect(),
    };
    let late = |dice: &mut Dice| LatePoint {
        utilisation_ratio: dice.number(1.2),
        requests: dice.number(1e6),
        late: dice.number(1e4),
    };
    let at = plant.caller().at;
    plant.caller().outlook = Some(Box::new(Outlook {
        at,
        levels: (0..rows).map(|_| dice.number(1.0)).collect(),
        points: (0..dice.below(6)).map(|_| point(dice)).collect(),
        late: (0..dice.below(6)).map(|_| late(dice)).collect(),
        coverage_ratio: Some(dice.number(1.0)),
    }));
}

/// What the policy has earned, in one world of five less than all.
fn judge(plant: &mut Plant, dice: &mut Dice) {
    if !dice.one_in(5) {
        return;
    }
    let resource = dice.pick(&[service("catalog"), edge("catalog", "inventory")].each_ref()).clone();
    plant.world.standings.put(Standing {
        policy: "catalog-policy".to_owned(),
        resource,
        generation: 1,
        earned: dice.pick(AutonomyLevel::ALL),
        cap: dice.one_in(2).then(|| dice.pick(AutonomyLevel::ALL)),
        cause: StandingCause::Demoted,
        reason: String::new(),
        actor: String::new(),
        at: at(0),
    });
}

/// Asks about every decision of every world.
fn for_all(mut check: impl FnMut(u64, &Random, &PlanInput<'_>, &Decision)) {
    for seed in 0..WORLDS {
        let random = world(seed);
        for name in ["catalog", "inventory"] {
            let service = service(name);
            let input = random.plant.world.input(&service).unwrap();
            for decision in plan(&input, at(random.plant.second), &mut IdGenerator::from_seed(seed)) {
                check(seed, &random, &input, &decision);
            }
        }
    }
}

fn for_all_directives(mut check: impl FnMut(u64, &Random, &PlanInput<'_>, &Directive)) {
    for_all(|seed, random, input, decision| {
        if let Some(directive) = &decision.directive {
            check(seed, random, input, directive);
        }
    });
}

#[test]
fn worlds_are_worth_asking_about() {
    let (mut out, mut inward, mut breakers, mut advice, mut followed) = (0, 0, 0, 0, 0);
    for_all_directives(|_, _, _, directive| {
        match directive.action {
            Action::SetBreaker(_) => breakers += 1,
            Action::Scale { .. } if directive.reduces => inward += 1,
            Action::Scale { .. } => out += 1,
            _ => {}
        }
        advice += u32::from(matches!(directive.autonomy, AutonomyLevel::Observe | AutonomyLevel::Recommend));
        followed += u32::from(directive.rationale.text.contains("follows the last good"));
    });
    let found = [out, inward, breakers, advice, followed];
    assert!(found.iter().all(|count| *count >= 50), "{found:?}");
}

#[test]
fn no_check_ever_finds_a_fault_and_no_guardrail_is_overruled() {
    for_all(|seed, _, _, decision| check::no_fault_and_no_veto(seed, decision));
}

#[test]
fn data_that_is_not_whole_and_fresh_never_reduces() {
    for_all_directives(check::data_that_is_not_whole_and_fresh_never_reduces);
}

#[test]
fn bounds_steps_and_blast_radius_hold() {
    for_all_directives(check::bounds_steps_and_blast_radius_hold);
}

#[test]
fn what_adds_never_names_fewer_than_run_or_were_asked_for() {
    for_all_directives(check::what_adds_never_names_fewer_than_run_or_were_asked_for);
}

#[test]
fn nothing_acts_while_paused_or_unserved_or_while_another_is_under_way() {
    for_all_directives(check::nothing_acts_while_paused_or_unserved_or_while_another_is_under_way);
}

#[test]
fn cooldowns_hold() {
    for_all_directives(check::cooldowns_hold);
}

#[test]
fn no_number_that_is_none_ever_leaves() {
    for_all(|seed, _, _, decision| check::numbers(seed, decision));
}

#[test]
fn where_it_rests_a_whole_plan_does_nothing_and_says_the_same() {
    let mut rested = 0;
    for seed in 0..WORLDS {
        let random = world(seed);
        let (now, catalog) = (at(random.plant.second), service("catalog"));
        let input = random.plant.world.input(&catalog).unwrap();
        let Some(rest) = planner::rest(&input, now) else { continue };
        rested += 1;
        for decision in plan(&input, now, &mut IdGenerator::from_seed(seed)) {
            let report = &decision.report;
            assert_eq!(decision.directive, None, "seed {seed}: {report}");
            assert_eq!((&report.directive_id, &report.reductions_forbidden), (&None, &None), "seed {seed}");
            if report.resource == catalog {
                assert_eq!(report.text, rest.text("catalog"), "seed {seed}");
                let rejected: Vec<_> =
                    report.considered.iter().map(|c| (c.action.clone(), c.reason.clone())).collect();
                assert_eq!(rejected, rest.dearer().into_iter().collect::<Vec<_>>(), "seed {seed}");
            } else {
                assert!(report.considered.is_empty(), "seed {seed}: {report}");
            }
        }
    }
    assert!(rested >= 50, "{rested}");
}

#[test]
fn same_input_gives_the_same_answer() {
    for seed in 0..WORLDS / 10 {
        let answer = || {
            let random = world(seed);
            let catalog = service("catalog");
            plan(
                &random.plant.world.input(&catalog).unwrap(),
                at(random.plant.second),
                &mut IdGenerator::from_seed(seed),
            )
        };
        assert_eq!(answer(), answer(), "seed {seed}");
    }
}
