//! Which policies are replayed, by the names that people give them.

use super::{
    args::BacktestArgs,
    bounds::{LowerBound, oracle},
    crane::Crane,
    fixed::{Fixed, Shedding},
    hpa::{Hpa, Keda},
    kpa::Kpa,
    load::Load,
    ours::{Ours, Settings},
    replay::{Plant, Policy, Record, replay},
    report::{Report, Row},
    seasonal::{Season, Seasonal},
    trace::Trace,
};
use anyhow::{Context as _, bail, ensure};

/// The oracle without a target keeps to this share in every step.
const ORACLE_LATE: f64 = 0.001;

/// Replays ours and every other one.
///
/// # Errors
/// When a name is not known or the policy is not valid.
pub fn run(
    args: &BacktestArgs,
    trace: &Trace,
    load: &Load,
    plant: &Plant,
    settings: &Settings,
) -> anyhow::Result<Report> {
    let bound = LowerBound::new(load, plant.service, 1);
    let mut report = Report::new(args, trace, load);
    let mut ours = Ours::new(settings.clone()).context("the policy is not valid")?;
    let record = replay(load, plant, &mut ours);
    report.rows.push(Row::new("homeostat", &record, load, &bound, args.slo));
    if args.decisions {
        report.rows[0].decisions = ours.reports.iter().map(super::report::Decided::from).collect();
    }
    for name in &args.compare {
        let record = other(name, load, plant, settings)?;
        report.rows.push(Row::new(name, &record, load, &bound, args.slo));
    }
    report.mark();
    Ok(report)
}

fn other(name: &str, load: &Load, plant: &Plant, settings: &Settings) -> anyhow::Result<Record> {
    let (plain, shed) = match name.split_once("+shed") {
        Some((plain, percent)) => {
            let percent: f64 =
                percent.parse().with_context(|| format!("{name}: +shed needs a percentage"))?;
            ensure!((1.0..=100.0).contains(&percent), "{name}: +shed needs a percentage from 1 to 100");
            (plain, Some(percent / 100.0 * plant.service.rate))
        }
        None => (name, None),
    };
    let (kind, target) = match plain.split_once(':') {
        Some((kind, percent)) => {
            let percent: u32 =
                percent.parse().with_context(|| format!("{name}: the target is a whole percentage"))?;
            ensure!((1..=100).contains(&percent), "{name}: the target is a percentage from 1 to 100");
            (kind, Some(percent))
        }
        None => (plain, None),
    };
    if kind == "oracle" {
        ensure!(shed.is_none(), "{name}: the oracle needs no shedding");
        return Ok(oracle(load, &plant.service, ORACLE_LATE, plant.start_up_s));
    }
    let percent = target.unwrap_or(70);
    let rate = f64::from(percent) / 100.0 * plant.service.rate;
    let bounds = (plant.minimum, plant.maximum);
    let own = name.to_owned();
    let mut policy: Box<dyn Policy> = match kind {
        "hpa" => Box::new(Hpa::new(own, percent, bounds)),
        "keda" => Box::new(Keda::new(own, rate, bounds)),
        "kpa" => Box::new(Kpa::new(own, rate)),
        "snaive" => Box::new(Seasonal::new(own, Season::Day, rate, bounds)),
        "week" => Box::new(Seasonal::new(own, Season::Week, rate, bounds)),
        "crane" => Box::new(Crane::new(own, rate, bounds)),
        "static" => Box::new(Fixed::new(own, load.peak(), rate)),
        "hold" => Box::new(Ours::new(Settings { name: own, holds_when_blind: true, ..settings.clone() })?),
        "homeostat" => Box::new(Ours::new(Settings { name: own, sheds: false, ..settings.clone() })?),
        _ => bail!(
            "{name}: there is hpa, keda, kpa, snaive, week, crane and static with a target, oracle, hold and homeostat"
        ),
    };
    if let Some(admitted) = shed {
        policy = Box::new(Shedding::new(name.to_owned(), policy, admitted));
    }
    Ok(replay(load, plant, policy.as_mut()))
}
