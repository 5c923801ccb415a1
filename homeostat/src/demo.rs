//! `demo`: the same seeded scenario twice on the real staging cluster, first only watching, then acting; and the report.

mod control;
mod recorder;
mod report;

pub use report::{Check, DemoReport, Episode, Moment};

use crate::{
    cli::{DemoArgs, Global},
    commands::{
        self,
        staging::{Play, documents, play_args},
    },
    compose, output,
};
use anyhow::Context as _;
use chassis::{Context, exit, run};
use control::Control;
use indicatif::{ProgressBar, ProgressStyle};
use proto::model::AutonomyLevel;
use recorder::Recorder;
use staging::supervisor::{self, Played};
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// Replicas of each managed service at the start of both runs.
const REPLICAS: u32 = 2;

/// `homeostat demo`.
pub fn demo(global: &Global, args: DemoArgs) -> ExitCode {
    let global = global.clone();
    let quiet = commands::telemetry(&global, "warn");
    run(&quiet, |ctx: Context| async move {
        let dir = compose::data_dir(&global).join("demo");
        let control = Control::start(&dir, &ctx).await?;
        let result = both(&control, &args, &dir, &ctx).await;
        control.stop().await;
        let report = result?;
        output::print(args.output.output, &report, report::text)?;
        Ok(if report.passed() { exit::DONE } else { exit::NEGATIVE })
    })
}

async fn both(control: &Control, args: &DemoArgs, dir: &Path, ctx: &Context) -> anyhow::Result<DemoReport> {
    let observe = one(control, args, dir, AutonomyLevel::Observe, ctx).await?;
    let act = one(control, args, dir, AutonomyLevel::Act, ctx).await?;
    report::build(args.seed, args.duration, observe, act)
}

/// One run: what the load generator saw, and what the control plane did meanwhile.
#[derive(Debug)]
pub(crate) struct Run {
    played: Played,
    recorded: recorder::Recorded,
}

async fn one(
    control: &Control,
    args: &DemoArgs,
    dir: &Path,
    level: AutonomyLevel,
    ctx: &Context,
) -> anyhow::Result<Run> {
    control
        .clients
        .knowledge()?
        .apply(documents(level)?)
        .await
        .context("cannot declare the staging services")?;
    let recorder = Recorder::start(&control.clients, ctx)?;
    let play = Play {
        scenario: &args.scenario,
        seed: args.seed,
        duration: args.duration,
        replicas: REPLICAS,
        records: args.records.clone().map(|folder: PathBuf| (folder, level.to_string())),
    };
    let play = play_args(&dir.join("staging"), Some(control.clients.endpoints.execute.clone()), play)?;
    let bar = progress(level, args.duration);
    let played = tokio::select! {
        played = supervisor::run(play, ctx) => played,
        () = tick(&bar) => unreachable!("the progress bar ticks for ever"),
        reason = control.died() => anyhow::bail!("the control plane ended during the run: {reason}"),
    };
    bar.finish_and_clear();
    Ok(Run {
        played: played.with_context(|| format!("the run at {level} did not end"))?,
        recorded: recorder.stop().await,
    })
}

/// On a terminal only: a run takes as long as it takes, and people should see that it goes on.
fn progress(level: AutonomyLevel, duration: Duration) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(duration.as_secs());
    if let Ok(style) = ProgressStyle::with_template("{msg:28} {wide_bar} {pos}/{len} s") {
        bar.set_style(style);
    }
    let what = if level == AutonomyLevel::Act { "run 2 of 2: acting" } else { "run 1 of 2: only watching" };
    bar.set_message(what);
    bar
}

async fn tick(bar: &ProgressBar) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bar.inc(1);
    }
}
