//! Planning 10,000 resources: a round in which nothing is to be changed, one in which everything is planned whole, each on all
//! cores and, told beside it, on one thread, and what a round allocates. Beside it the recommendation of Kubernetes' HPA for the same resources.

mod plant;

use super::{
    Figure,
    allocations::counted,
    timed::{Took, timed},
};
use crate::backtest::hpa::{Behaviour, by_rate};
use chassis::Context;
use plan::{
    round::Rounds,
    shards::{Threads, all_cores},
};
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
/// What DESIGN asks for.
const TARGET_MS: f64 = 100.0;

pub(super) fn planning(ctx: &Context) -> anyhow::Result<Vec<Figure>> {
    let mut plant = Plant::new(RESOURCES)?;
    let mut rounds = Rounds::default();
    (0..WARMING).for_each(|_| _ = plant.round(&mut rounds));
    let hpa = recommended(&plant, ctx)?;
    let (mut figures, mut allocations, mut alone) = (Vec::new(), None, [0.0; 2]);
    for threads in [Threads::MIN, all_cores()] {
        plant.threads = threads;
        let mut taken_in = Vec::new();
        let resting = middle(|| {
            let now = plant.next();
            taken_in.push(timed(ctx, || plant.take_in(now)).1.wall_s);
            let mut busy = 0;
            let ((), took) = timed(ctx, || {
                let round = counted(|| busy = plant.screen(&mut rounds, now));
                // The names of those that do not rest are copied: steady rounds are counted.
                if threads == Threads::MIN && busy == 0 {
                    allocations = allocations.max(Some(round));
                }
                // Whatever does not rest is planned whole within the same measurement.
                plant.plan_busy(&mut rounds, now);
            });
            anyhow::ensure!(busy * 100 < RESOURCES, "{busy} of {RESOURCES} services do not rest");
            Ok(took)
        })?;
        taken_in.sort_by(f64::total_cmp);
        let took_in = 1e3 * taken_in[taken_in.len() / 2];
        let told =
            format!("while nothing changes; their assessments are taken in beforehand, in {took_in:.1} ms");
        let of_all = [figure("plan_10000_resources", &resting, threads, (&told, alone[0]), hpa)];
        let whole = middle(|| {
            let (now, mut fresh) = (plant.now(), Rounds::default());
            let (_, took) = timed(ctx, || {
                plant.screen(&mut fresh, now);
                plant.plan_busy(&mut fresh, now)
            });
            Ok(took)
        })?;
        let told = "every candidate, guardrail verdict and sentence made anew";
        let of_whole = figure("plan_10000_resources_whole", &whole, threads, (told, alone[1]), hpa);
        alone = [resting, whole].map(|took| 1e3 * took.wall_s);
        figures = of_all.into_iter().chain([of_whole]).collect();
    }
    let mut free = Figure::at_most(
        "plan_allocations_per_round_of_10000",
        // Without a steady round nothing is known, and the target is not met.
        allocations.map_or(f64::NAN, |most| most as f64),
        "allocations",
        PER_ROUND as f64,
    );
    free.note =
        "none per resource; counted by the allocator in the rounds on one thread, the most of all".to_owned();
    figures.push(free);
    Ok(figures)
}

fn figure(name: &str, took: &Took, threads: Threads, (what, alone_ms): (&str, f64), hpa: f64) -> Figure {
    let mut figure = Figure::at_most(name, 1e3 * took.wall_s, "ms", TARGET_MS);
    let processors = 1e3 * took.processor_s;
    figure.note =
        format!("{what}; {threads} thread(s), {processors:.1} ms of processors; on one {alone_ms:.1} ms");
    figure.peers.insert("hpa_recommendation".to_owned(), hpa);
    figure
}

/// What Kubernetes' HPA takes for as many, in milliseconds: its arithmetic alone.
fn recommended(plant: &Plant, ctx: &Context) -> anyhow::Result<f64> {
    let mut behaviours: Vec<Behaviour> = vec![Behaviour::default(); RESOURCES];
    let mut second = 0;
    let took = middle(|| {
        let loads = plant.loads();
        second += 15;
        let ((), took) = timed(ctx, || {
            let mut replicas = 0u64;
            for ((rate, total), behaviour) in loads.iter().zip(&mut behaviours) {
                let recommended = by_rate(*rate, 70.0, *total);
                replicas += u64::from(behaviour.limit(second, *total, recommended, BOUNDS));
            }
            std::hint::black_box(replicas);
        });
        Ok(took)
    })?;
    Ok(1e3 * took.wall_s)
}

fn middle(mut measure: impl FnMut() -> anyhow::Result<Took>) -> anyhow::Result<Took> {
    let mut measured = (0..REPEATS).map(|_| measure()).collect::<anyhow::Result<Vec<Took>>>()?;
    measured.sort_by(|one, other| one.wall_s.total_cmp(&other.wall_s));
    Ok(measured[REPEATS / 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::model::ResourceId;

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

    #[test]
    fn any_number_of_threads_says_and_does_the_same() {
        let told = |threads: usize| {
            let mut plant = Plant::new(700).unwrap();
            plant.threads = Threads::new(threads).unwrap();
            let mut rounds = Rounds::default();
            (0..WARMING).for_each(|_| _ = plant.round(&mut rounds));
            plant.grow(3.0);
            (0..3).map(|_| (plant.round(&mut rounds), rounds.reports())).collect::<Vec<_>>()
        };
        let one = told(1);
        let (directives, reports) = &one[0];
        assert!(*directives > 350 && reports.iter().any(|report| report.directive_id.is_some()));
        let costs = reports.iter().flat_map(|report| &report.considered).filter_map(|weighed| weighed.cost);
        assert!(
            costs.filter(|cost| cost.replicas_worth.is_some()).count() > 350,
            "the forecast's price is told"
        );
        let resources: Vec<&ResourceId> = reports.iter().map(|report| &report.resource).collect();
        assert!(resources.windows(2).all(|pair| pair[0] < pair[1]));
        for threads in [2, 7] {
            assert!(told(threads) == one, "{threads} threads differ");
        }
    }
}
