//! Planning 10,000 resources: a round in which nothing is to be changed, one in which everything is planned whole, and what each
//! allocates. Beside it the recommendation of Kubernetes' HPA for the same resources.

mod plant;

use super::{Figure, allocations::counted};
use crate::backtest::hpa::{Behaviour, by_rate};
use chassis::Context;
use plan::round::Rounds;
use plant::Plant;

const RESOURCES: usize = 10_000;
/// Rounds of 15 s before anything is measured: twice the stabilisation window, so that what was too much has been given back.
const WARMING: usize = 24;
/// Measurements; the middle one counts.
const REPEATS: usize = 15;
/// A round's two lists of neighbours, whose room all its resources share.
const PER_ROUND: u64 = 2;
/// Bounds of the replicas of every resource.
const BOUNDS: (u32, u32) = (2, 500);

pub(super) fn planning(ctx: &Context) -> anyhow::Result<Vec<Figure>> {
    let mut plant = Plant::new(RESOURCES)?;
    let mut rounds = Rounds::default();
    (0..WARMING).for_each(|_| _ = plant.round(&mut rounds));
    let mut allocations = 0;
    let mut taken_in = Vec::new();
    let resting = middle(|| {
        let (now, began) = (plant.next(), ctx.clock.monotonic());
        plant.take_in(now);
        taken_in.push((ctx.clock.monotonic() - began).as_secs_f64() * 1e3);
        let began = ctx.clock.monotonic();
        let mut busy = 0;
        allocations = allocations.max(counted(|| busy = plant.screen(&mut rounds, now)));
        // Whatever does not rest is planned whole within the same measurement.
        plant.plan_busy(&mut rounds, now);
        anyhow::ensure!(busy * 100 < RESOURCES, "{busy} of {RESOURCES} services do not rest");
        Ok((ctx.clock.monotonic() - began).as_secs_f64() * 1e3)
    })?;
    let whole = middle(|| {
        let (now, began) = (plant.now(), ctx.clock.monotonic());
        let mut fresh = Rounds::default();
        plant.screen(&mut fresh, now);
        plant.plan_busy(&mut fresh, now);
        Ok((ctx.clock.monotonic() - began).as_secs_f64() * 1e3)
    })?;
    let mut hpa: Vec<Behaviour> = vec![Behaviour::default(); RESOURCES];
    let mut second = 0;
    let hpa = middle(|| {
        let loads = plant.loads();
        second += 15;
        let began = ctx.clock.monotonic();
        let mut replicas = 0u64;
        for ((rate, total), behaviour) in loads.iter().zip(&mut hpa) {
            let recommended = by_rate(*rate, 70.0, *total);
            replicas += u64::from(behaviour.limit(second, *total, recommended, BOUNDS));
        }
        std::hint::black_box(replicas);
        Ok((ctx.clock.monotonic() - began).as_secs_f64() * 1e3)
    })?;
    taken_in.sort_by(f64::total_cmp);
    let took_in = taken_in[taken_in.len() / 2];
    let mut at_rest = Figure::at_most("plan_10000_resources", resting, "ms", 100.0);
    at_rest.note = format!(
        "a round while nothing changes; their assessments are taken in beforehand, in {took_in:.1} ms"
    );
    let mut anew = Figure::at_most("plan_10000_resources_whole", whole, "ms", 100.0);
    anew.note = "every candidate, guardrail verdict and sentence made anew".to_owned();
    for figure in [&mut at_rest, &mut anew] {
        figure.peers.insert("hpa_recommendation".to_owned(), hpa);
    }
    let mut free = Figure::at_most(
        "plan_allocations_per_round_of_10000",
        allocations as f64,
        "allocations",
        PER_ROUND as f64,
    );
    free.note = "none per resource; counted by the allocator in the same rounds, the most of all".to_owned();
    Ok(vec![at_rest, anew, free])
}

fn middle(mut measure: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    let mut measured = (0..REPEATS).map(|_| measure()).collect::<anyhow::Result<Vec<f64>>>()?;
    measured.sort_by(f64::total_cmp);
    Ok(measured[REPEATS / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_in_which_nothing_changes_allocates_nothing_per_resource() {
        for resources in [4, 300] {
            let mut plant = Plant::new(resources).unwrap();
            let mut rounds = Rounds::default();
            (0..WARMING).for_each(|_| _ = plant.round(&mut rounds));
            let now = plant.next();
            plant.take_in(now);
            let mut busy = usize::MAX;
            let allocations = counted(|| busy = plant.screen(&mut rounds, now));
            assert_eq!((busy, allocations), (0, PER_ROUND), "{resources} resources");
        }
    }

    #[test]
    fn services_whose_load_changes_do_not_rest() {
        let mut plant = Plant::new(50).unwrap();
        let mut rounds = Rounds::default();
        (0..WARMING).for_each(|_| _ = plant.round(&mut rounds));
        plant.grow(3.0);
        let now = plant.next();
        plant.take_in(now);
        assert_eq!(plant.screen(&mut rounds, now), 50);
        assert_eq!(plant.plan_busy(&mut rounds, now), 50, "each is scaled out");
    }
}
