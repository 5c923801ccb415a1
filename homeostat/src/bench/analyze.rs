//! `bench analyze`: what a sample costs, what a signal takes, a million of them at their real rate, relearning, saving and restoring; Python
//! peers beside them. All of it runs on signals that were warmed for three weeks.

mod million;
mod peers;
mod plant;
mod socket;
mod steady;
mod usage;
mod world;

use std::{path::Path, time::Duration};

use ::analyze::learn::Settings;
use chassis::Context;

use super::Figure;
use million::Load;
use peers::Peers;
use plant::INTERVAL;
use world::Templates;

/// What is asked beside the figures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// Everything small and short, to see that it runs.
    pub(super) quick: bool,
    /// Libraries of peers may be fetched.
    pub(super) peers: bool,
}

/// DESIGN: after three weeks of warming, and five minutes of arrivals.
const WARM_UP: Duration = Duration::from_secs(21 * 86_400);
const SIGNALS: usize = 100_000;
const LOAD: Load = Load { signals: 1_000_000, arrivals: Duration::from_secs(300) };
/// To see that it runs.
const WARM_UP_QUICK: Duration = Duration::from_secs(6 * 3_600);
const SIGNALS_QUICK: usize = 5_000;
const LOAD_QUICK: Load = Load { signals: 10_000, arrivals: Duration::from_secs(30) };

/// The whole group. `dir` is cleared; `cache` is kept for the libraries of peers.
pub(super) async fn group(
    dir: &Path,
    cache: &Path,
    wish: Wish,
    ctx: &Context,
) -> anyhow::Result<Vec<Figure>> {
    let (warm_up, signals, load) =
        if wish.quick { (WARM_UP_QUICK, SIGNALS_QUICK, LOAD_QUICK) } else { (WARM_UP, SIGNALS, LOAD) };
    let ticks = warm_up.div_duration_f64(INTERVAL) as u32;
    eprintln!(
        "homeostat:   warming {} templates with {ticks} samples each ...",
        plant::TEMPLATES * plant::GROUP_SIGNALS
    );
    let templates = Templates::warm(ticks, world::whole_second(ctx)?, Settings::default())?;
    let say = |what: &str| eprintln!("homeostat:   {what} ...");
    // First, while the process has used little memory for anything else.
    say(&format!("{} signals in this process", load.signals));
    let mut figures = million::in_process(&templates, load, ctx)?;
    say("what a sample costs");
    figures.extend(steady::per_sample(&templates, signals)?);
    say("relearning");
    figures.extend(steady::relearning(&templates, signals)?);
    say("saving and restoring");
    figures.extend(steady::saving(&templates, signals, ctx)?);
    say(&format!("{} signals in an Analyze of its own, over gRPC", load.signals));
    figures.extend(socket::over_socket(&templates, load, dir, ctx).await?);
    say("peers");
    let Peers { detectors, forecasts, missing } = peers::peers(cache, wish.peers)?;
    for figure in figures.iter_mut().filter(|figure| figure.name == steady::PER_SAMPLE) {
        figure.peers.clone_from(&detectors);
    }
    figures.extend(forecasts);
    for figure in &mut figures {
        let concerns_peers = figure.name == steady::PER_SAMPLE || figure.name.starts_with("forecast");
        let notes = [
            wish.quick.then(|| format!("quick: {signals} or {} signals", load.signals)),
            missing.as_ref().filter(|_| concerns_peers).map(|why| format!("no peers: {why}")),
        ];
        figure.note = notes.into_iter().flatten().collect::<Vec<_>>().join("; ");
    }
    Ok(figures)
}
