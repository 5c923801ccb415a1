//! `staging fault`: faults by command, in a cluster that runs.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use chassis::{Context, exit, run};
use staging::{
    dir::Dir,
    faults::{self, Effect, Fault, Faults},
    topology::Role,
};

use super::telemetry;
use crate::{
    cli::{EffectArgs, FaultCommand, FaultPlace, Global, InjectArgs},
    compose,
    output::{self, table},
};

/// `homeostat staging fault inject|clear|list`.
pub fn fault(global: &Global, command: FaultCommand) -> ExitCode {
    let injected = match &command {
        FaultCommand::Inject(args) => match wanted(args) {
            Ok(fault) => Some((args.label.clone(), fault)),
            Err(error) => {
                eprintln!("homeostat: {error:#}");
                return ExitCode::from(exit::USAGE);
            }
        },
        FaultCommand::Clear { .. } | FaultCommand::List { .. } => None,
    };
    let global = global.clone();
    run(&telemetry(&global, "warn"), |_: Context| async move {
        let place = match &command {
            FaultCommand::Inject(args) => &args.place,
            FaultCommand::Clear { place, .. } | FaultCommand::List { place } => place,
        };
        let dir = cluster(&global, place)?;
        if let Some((label, fault)) = injected {
            faults::inject(&dir, &label, fault)?;
        }
        if let FaultCommand::Clear { label, .. } = &command {
            clear(&dir, label.as_deref())?;
        }
        show(place, &faults::list(&dir)?)
    })
}

/// The cluster's directory: a fault where no cluster runs would wait for one unseen.
fn cluster(global: &Global, place: &FaultPlace) -> anyhow::Result<Dir> {
    let path: PathBuf = place.dir.clone().unwrap_or_else(|| compose::data_dir(global).join("staging"));
    if !path.is_dir() {
        bail!(
            "no staging cluster has run in {}; start one with `homeostat staging`, or say --dir",
            path.display()
        );
    }
    Ok(Dir::new(path))
}

fn clear(dir: &Dir, label: Option<&str>) -> anyhow::Result<()> {
    if let Some(label) = label
        && !faults::list(dir)?.contains_key(label)
    {
        bail!("no fault is labelled {label}; `homeostat staging fault list` shows those in force");
    }
    Ok(faults::clear(dir, label)?)
}

fn wanted(args: &InjectArgs) -> anyhow::Result<Fault> {
    let effect = effect(&args.effect)?;
    let service = match (&args.service, effect) {
        (None, Effect::Crowd { .. }) => faults::LOAD.to_owned(),
        (Some(service), Effect::Crowd { .. }) => {
            bail!("--crowd is the load generator's: leave out --service {service}")
        }
        (None, _) => bail!("--service is missing: gateway, catalog or inventory"),
        (Some(service), _) => known(service)?,
    };
    Ok(Fault { service, instance: args.instance.clone(), effect })
}

fn known(service: &str) -> anyhow::Result<String> {
    let names = Role::ALL.map(Role::name);
    if !names.contains(&service) {
        bail!("--service {service}: must be one of {}", names.join(", "));
    }
    Ok(service.to_owned())
}

fn effect(args: &EffectArgs) -> anyhow::Result<Effect> {
    let EffectArgs { errors, latency, hang, down, metrics_gone, crowd } = args;
    Ok(match (errors, latency, crowd) {
        (Some(ratio), ..) if !(*ratio > 0.0 && *ratio <= 1.0) => {
            bail!("--errors {ratio}: must be above 0 and at most 1")
        }
        (Some(ratio), ..) => Effect::Errors { ratio: *ratio },
        (_, Some(added), _) => {
            Effect::Latency { added_ms: u64::try_from(added.as_millis()).context("--latency is too long")? }
        }
        (.., Some(factor)) if !(*factor > 0.0 && *factor <= 100.0) => {
            bail!("--crowd {factor}: must be above 0 and at most 100")
        }
        (.., Some(factor)) => Effect::Crowd { factor: *factor },
        _ if *hang => Effect::Hang,
        _ if *down => Effect::Down,
        _ if *metrics_gone => Effect::MetricsGone,
        _ => bail!("say what goes wrong: --errors, --latency, --hang, --down, --metrics-gone or --crowd"),
    })
}

fn show(place: &FaultPlace, faults: &Faults) -> anyhow::Result<()> {
    output::print(place.output.output, faults, |faults| {
        let rows = faults.iter().map(|(label, fault)| {
            let whom = fault.instance.clone().unwrap_or_else(|| "all".to_owned());
            [label.clone(), fault.service.clone(), whom, text(fault.effect)]
        });
        table(["LABEL", "SERVICE", "INSTANCE", "EFFECT"], rows)
    })
}

fn text(effect: Effect) -> String {
    match effect {
        Effect::Errors { ratio } => format!("{:.0} % of the requests are answered 500", ratio * 100.0),
        Effect::Latency { added_ms } => format!("every request takes {added_ms} ms longer"),
        Effect::Hang => "every request hangs".to_owned(),
        Effect::Down => "connections are dropped".to_owned(),
        Effect::MetricsGone => "no metrics".to_owned(),
        Effect::Crowd { factor } => format!("{factor} times the load"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command, StagingCommand};

    fn parse(args: &str) -> anyhow::Result<Fault> {
        let all =
            ["homeostat", "staging", "fault", "inject", "mine"].into_iter().chain(args.split_whitespace());
        let Command::Staging(staging) = Cli::try_parse_from(all)?.command else { bail!("not staging") };
        match staging.command {
            Some(StagingCommand::Fault(FaultCommand::Inject(args))) => wanted(&args),
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn each_kind_of_fault_can_be_said() {
        let fault = parse("--service catalog --instance catalog-2 --errors 0.5").unwrap();
        assert_eq!((fault.service.as_str(), fault.instance.as_deref()), ("catalog", Some("catalog-2")));
        assert_eq!(fault.effect, Effect::Errors { ratio: 0.5 });
        let effect = |args: &str| parse(args).unwrap().effect;
        assert_eq!(effect("--service inventory --latency 2s"), Effect::Latency { added_ms: 2_000 });
        assert_eq!(effect("--service inventory --hang"), Effect::Hang);
        assert_eq!(effect("--service inventory --down"), Effect::Down);
        assert_eq!(effect("--service gateway --metrics-gone"), Effect::MetricsGone);
        let crowd = parse("--crowd 4").unwrap();
        assert_eq!((crowd.service.as_str(), crowd.effect), (faults::LOAD, Effect::Crowd { factor: 4.0 }));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (args, part) in [
            ("--service catalog", "--errors"),
            ("--service catalog --hang --down", "cannot be used with"),
            ("--hang", "--service is missing"),
            ("--service database --hang", "--service database: must be one of gateway"),
            ("--service catalog --errors 1.5", "--errors 1.5: must be above 0"),
            ("--service catalog --errors NaN", "--errors NaN"),
            ("--crowd 0", "--crowd 0"),
            ("--service catalog --crowd 2", "leave out --service"),
        ] {
            let error = format!("{:#}", parse(args).unwrap_err());
            assert!(error.contains(part), "{args}: {error}");
        }
    }
}
