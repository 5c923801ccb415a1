//! What a sample costs, what a signal takes, and how long relearning and saving of many take: so many signals on one thread.

use std::time::Duration;

use analyze::{
    detect::{
        Engine, Reading, SeriesSettings,
        generate::{Family, Generator},
    },
    learn::Settings,
    snapshot::{self, FORMAT},
};
use chassis::Context;
use jiff::Timestamp;
use proto::model::{Quality, SignalKind};

use super::{
    plant::INTERVAL,
    usage::cpu_of,
    world::{Stream, Templates, Tick, World, numbers},
};
use crate::bench::Figure;

/// The figure that detectors of others stand beside.
pub(super) const PER_SAMPLE: &str = "analysis_per_sample";
/// Histograms lie apart, a quarter of a kibibyte for each side; a sample touches the head of one side and the line of one bucket.
const HISTOGRAM_LINES: usize = 2 * 64;
/// Ticks that are measured: ten minutes of arrivals.
const TICKS: u32 = 40;
/// Ticks that a restored copy runs beside the original: a quarter of an hour.
const TICKS_BESIDE: u32 = 60;
/// A candidate has passed its shadow run after this many ticks.
const TICKS_SHADOW: u32 = 62;
/// What false alarms are allowed when all limits are learned anew: one in a day instead of one in four weeks.
const OTHER_BUDGET: Duration = Duration::from_secs(86_400);

/// Nanoseconds of processor time per sample, with memory as cold as a large plant has it.
pub(super) fn per_sample(templates: &Templates, signals: usize) -> anyhow::Result<Vec<Figure>> {
    let world = World::restored(templates, signals, Settings::default())?;
    let mut streams = [world.stream(0), world.stream(1)];
    let mut at = templates.end;
    run(&mut streams, &mut at, 1, true)?;
    let (cpu, samples) = run(&mut streams, &mut at, TICKS, false)?;
    Ok(vec![
        Figure::at_most(PER_SAMPLE, cpu.as_nanos() as f64 / samples as f64, "ns", 1_000.0),
        engine_alone()?,
        Figure::at_most(
            "analysis_hot_bytes_per_signal",
            (snapshot::SIGNAL_BYTES + HISTOGRAM_LINES) as f64,
            "bytes",
            2_048.0,
        ),
    ])
}

fn run(
    streams: &mut [Stream<'_>],
    at: &mut Timestamp,
    ticks: u32,
    introduce: bool,
) -> anyhow::Result<(Duration, u64)> {
    let (mut cpu, mut samples) = (Duration::ZERO, 0);
    for _ in 0..ticks {
        *at += INTERVAL;
        for stream in &mut *streams {
            let tick = stream.tick(*at, introduce)?;
            anyhow::ensure!(tick.refused == 0, "{} rows were refused", tick.refused);
            cpu += tick.cpu;
            samples += tick.accepted;
        }
    }
    Ok((cpu, samples))
}

/// The engine of one signal, again and again: all that it touches is near.
fn engine_alone() -> anyhow::Result<Figure> {
    const WARM: i64 = 200_000;
    const MEASURED: i64 = 1_000_000;
    let settings = Settings::default();
    let mut engine = Engine::new(SeriesSettings::default());
    let values: Vec<f64> =
        Generator::new(Family::Gaussian, 15.0, 7).take(8_192).map(|(_, value)| value).collect();
    let mut observe = |from: i64, to: i64| {
        let mut told = 0.0;
        for i in from..to {
            let Ok(at) = Timestamp::from_second(1_700_000_000 + 15 * i) else { continue };
            let value = values[i as usize % values.len()];
            told += engine
                .observe(at, Reading { value, quality: Quality::Good, kind: SignalKind::Gauge })
                .evidence
                .score;
            std::hint::black_box(engine.thresholds.propose(at, INTERVAL, &settings));
        }
        std::hint::black_box(told)
    };
    observe(0, WARM);
    let (_, cpu) = cpu_of(|| observe(WARM, WARM + MEASURED))?;
    Ok(Figure::at_most(
        "analysis_of_one_signal_again",
        cpu.as_nanos() as f64 / MEASURED as f64,
        "ns",
        1_000.0,
    ))
}

/// Seconds in which the limits of all signals are learned anew, because other false alarms are allowed now; judging one sample of each
/// is in it. That they were learned shows in the versions that come into force when their shadow runs end.
pub(super) fn relearning(templates: &Templates, signals: usize) -> anyhow::Result<Vec<Figure>> {
    let settings = Settings { false_alarm_budget: OTHER_BUDGET, ..Settings::default() };
    let world = World::restored(templates, signals, settings)?;
    let mut streams = [world.stream(0), world.stream(1)];
    // Not due yet: it only introduces the signals.
    let mut at = templates.end;
    run(&mut streams, &mut at, 1, true)?;
    at += settings.threshold_interval;
    let (cpu, _) = run(&mut streams, &mut at, 1, false)?;
    let mut versions = 0;
    for _ in 0..TICKS_SHADOW {
        at += INTERVAL;
        for stream in &mut streams {
            versions += stream.tick(at, false)?.thresholds;
        }
    }
    eprintln!("homeostat:   {versions} of {signals} signals have a new version in force after relearning");
    Ok(vec![Figure::at_most("relearning_100000_signals", cpu.as_secs_f64(), "s", 10.0)])
}

/// Seconds to write and compress all blocks and to restore them elsewhere; then both copies run on and must say the same of every
/// sample, and be the same in every byte at the end.
pub(super) fn saving(templates: &Templates, signals: usize, ctx: &Context) -> anyhow::Result<Vec<Figure>> {
    let settings = Settings::default();
    let world = World::restored(templates, signals, settings)?;
    let mut at = templates.end;
    run(&mut [world.stream(0), world.stream(1)], &mut at, 2, true)?;
    let began = ctx.clock.monotonic();
    let saved = blocks(&world)?;
    let written = ctx.clock.monotonic();
    let again = World::empty(templates.plant(signals)?, settings)?;
    for (number, blocks) in numbers().zip(&saved) {
        for block in blocks {
            again.with(number, |shard| snapshot::restore(shard, FORMAT, &block.body, at))??;
        }
    }
    let restored = ctx.clock.monotonic();
    let bytes: usize = saved.iter().flatten().map(|block| block.body.len()).sum();
    let different = differences(&world, &again, &mut at)?;
    eprintln!(
        "homeostat:   {:.2} s to write {} bytes per signal, {:.2} s to restore",
        (written - began).as_secs_f64(),
        bytes / signals,
        (restored - written).as_secs_f64()
    );
    Ok(vec![
        Figure::at_most("snapshot_and_restore_100000_signals", (restored - began).as_secs_f64(), "s", 5.0),
        Figure::at_most("decisions_that_differ_after_restore", different as f64, "decisions", 0.0),
    ])
}

fn blocks(world: &World) -> anyhow::Result<Vec<Vec<snapshot::Block>>> {
    numbers().map(|number| Ok(world.with(number, snapshot::changed)??)).collect()
}

/// How many outputs of two worlds are not the same: assessments, versions, symptoms, budgets, every signal as listed, and at the end every
/// byte of what they would save.
fn differences(world: &World, again: &World, at: &mut Timestamp) -> anyhow::Result<u64> {
    let mut pairs = [0, 1].map(|half| (world.stream(half), again.stream(half)));
    let mut different = 0;
    for tick in 0..TICKS_BESIDE {
        *at += INTERVAL;
        for (one, other) in &mut pairs {
            // Both streams are new: a stream does not outlive a restart.
            let (one, other) = (one.tick(*at, tick == 0)?, other.tick(*at, tick == 0)?);
            different += compare(&one, &other);
        }
        for number in numbers().filter(|_| tick % 20 == 0) {
            let list = |world: &World| world.with(number, |shard| shard.list("", "", usize::MAX));
            different +=
                list(world)?.iter().zip(&list(again)?).filter(|(one, other)| one != other).count() as u64;
        }
    }
    let (one, other) = (blocks(world)?, blocks(again)?);
    anyhow::ensure!(one.len() == other.len(), "not as many blocks");
    Ok(different + one.iter().zip(&other).filter(|(one, other)| one != other).count() as u64)
}

fn compare(one: &Tick, other: &Tick) -> u64 {
    let pairs = one.judged.iter().zip(&other.judged);
    let differ = pairs.filter(|(one, other)| {
        // Judged cannot be compared as a whole: the texts of both are, and they tell every bit of a number.
        format!("{one:?}") != format!("{other:?}")
    });
    differ.count() as u64 + u64::from(one.accepted != other.accepted)
}
