//! A million adversarial cases at once: each is one service of one broken world, planned twice. In a debug build there are fewer,
//! unless `HOMEOSTAT_PROPERTY_CASES` says how many: `HOMEOSTAT_PROPERTY_CASES=1000000 cargo test -p plan storm`.

use super::{check, world};
use crate::{
    fixtures::{at, service},
    planner::plan,
};
use chassis::IdGenerator;

/// Cases in a release build, and in a debug build, where each takes twenty times as long.
const CASES: u64 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
/// Threads: each takes every second seed.
const THREADS: u64 = 2;
/// The seeds of the other tests lie below.
const FIRST: u64 = 1 << 32;

fn cases() -> u64 {
    let told = chassis::config::environment().remove("HOMEOSTAT_PROPERTY_CASES");
    told.map_or(CASES, |told| told.parse().expect("HOMEOSTAT_PROPERTY_CASES is a number"))
}

/// What was seen, so that nobody takes an empty storm for a calm sea.
#[derive(Debug, Default)]
struct Seen {
    cases: u64,
    out: u64,
    inward: u64,
    breakers: u64,
}

fn storm(thread: u64, worlds: u64) -> Seen {
    let mut seen = Seen::default();
    for seed in (0..worlds).filter(|seed| seed % THREADS == thread).map(|seed| FIRST + seed) {
        let random = world(seed);
        for name in ["catalog", "inventory"] {
            let service = service(name);
            let input = random.plant.world.input(&service).unwrap();
            let decide = || plan(&input, at(random.plant.second), &mut IdGenerator::from_seed(seed));
            let decisions = decide();
            assert_eq!(decisions, decide(), "seed {seed}: the same input, another answer");
            seen.cases += 1;
            for decision in &decisions {
                check::no_fault_and_no_veto(seed, decision);
                check::numbers(seed, decision);
                let Some(directive) = &decision.directive else { continue };
                check::level(seed, &input, directive);
                check::data_that_is_not_whole_and_fresh_never_reduces(seed, &random, &input, directive);
                check::bounds_steps_and_blast_radius_hold(seed, &random, &input, directive);
                check::what_adds_never_names_fewer_than_run_or_were_asked_for(
                    seed, &random, &input, directive,
                );
                check::nothing_acts_while_paused_or_unserved_or_while_another_is_under_way(
                    seed, &random, &input, directive,
                );
                check::cooldowns_hold(seed, &random, &input, directive);
                match directive.action {
                    proto::model::Action::Scale { .. } if directive.reduces => seen.inward += 1,
                    proto::model::Action::Scale { .. } => seen.out += 1,
                    _ => seen.breakers += 1,
                }
            }
        }
    }
    seen
}

#[test]
fn no_adversarial_case_breaks_a_promise() {
    let worlds = cases().div_ceil(2);
    let all: Vec<Seen> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || storm(thread, worlds))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sum = |count: fn(&Seen) -> u64| all.iter().map(count).sum::<u64>();
    let (cases, out, inward, breakers) =
        (sum(|s| s.cases), sum(|s| s.out), sum(|s| s.inward), sum(|s| s.breakers));
    println!("{cases} cases: {out} scale-outs, {inward} scale-ins, {breakers} breakers");
    assert!(cases >= worlds && out > cases / 100 && inward > cases / 1_000 && breakers > cases / 1_000);
}
