//! A million signals, restored after three weeks, and minutes of arrivals at the real rate: on two threads, with 32 shards each.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use analyze::{learn::Settings, snapshot};
use anyhow::Context as _;
use chassis::Context;
use hdrhistogram::Histogram;

use super::{
    plant::INTERVAL,
    usage::resident_bytes,
    world::{Stream, Templates, World, numbers},
};
use crate::bench::Figure;

/// DESIGN: on two cores.
const THREADS: usize = 2;

/// How large, and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) signals: usize,
    pub(super) arrivals: Duration,
}

impl Load {
    /// Whole intervals.
    pub(super) fn ticks(self) -> u32 {
        self.arrivals.div_duration_f64(INTERVAL).ceil() as u32
    }
}

/// What one thread saw.
#[derive(Debug)]
pub(super) struct Seen {
    /// Microseconds from when a batch was due to when it was judged.
    pub(super) lag: Histogram<u64>,
    pub(super) cpu: Duration,
    samples: u64,
    pub(super) refused: u64,
}

/// In this process: shards behind locks as in the service, two streams, and all blocks saved once meanwhile.
pub(super) fn in_process(templates: &Templates, load: Load, ctx: &Context) -> anyhow::Result<Vec<Figure>> {
    let before = resident_bytes("self")?;
    let began = ctx.clock.monotonic();
    let world = World::restored(templates, load.signals, Settings::default())?;
    let signals = world.signals()?;
    anyhow::ensure!(signals == load.signals, "{signals} of {} signals were restored", load.signals);
    eprintln!(
        "homeostat:   restored {signals} signals from {} blocks of {} bytes in {:.0} s",
        world.blocks,
        world.bytes / world.blocks,
        (ctx.clock.monotonic() - began).as_secs_f64()
    );
    let ended = AtomicBool::new(false);
    let peak = AtomicU64::new(0);
    let (seen, saved) = std::thread::scope(|scope| {
        let (world, ended, peak) = (&world, &ended, &peak);
        let threads: Vec<_> = (0..THREADS)
            .map(|half| scope.spawn(move || arrivals(world.stream(half), templates, load, ctx)))
            .collect();
        let saver = scope.spawn(move || save(world, load.arrivals / 4, ended, ctx));
        scope.spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                peak.fetch_max(resident_bytes("self").unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        let seen: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        ended.store(true, Ordering::Relaxed);
        (seen, saver.join())
    });
    let saved = saved.map_err(|_| anyhow::anyhow!("the saver panicked"))??;
    let mut all = Seen::new()?;
    for thread in seen {
        all.add(thread.map_err(|_| anyhow::anyhow!("a thread of arrivals panicked"))??)?;
    }
    let resident = peak.load(Ordering::Relaxed).max(resident_bytes("self")?);
    eprintln!(
        "homeostat:   {:.2} cores for judging, saving all once took {:.1} s beside it, lag at most {:.3} s, {} rows refused",
        all.cpu.as_secs_f64() / load.arrivals.as_secs_f64(),
        saved.as_secs_f64(),
        all.lag.max() as f64 / 1e6,
        all.refused
    );
    let mut figures = all.figures(load, "");
    let each = resident.saturating_sub(before) as f64 / load.signals as f64;
    figures.push(Figure::at_most("memory_per_signal", each, "bytes", 4_096.0));
    figures.push(Figure::at_most("million_signals_memory", resident as f64 / f64::from(1 << 30), "GiB", 6.0));
    Ok(figures)
}

/// Every batch has its moment within the interval; it is judged then or as soon after as can be.
fn arrivals(
    mut stream: Stream<'_>,
    templates: &Templates,
    load: Load,
    ctx: &Context,
) -> anyhow::Result<Seen> {
    let mut seen = Seen::new()?;
    // Introducing a million names is a restart, not a steady state: it is not measured.
    let at = templates.end + INTERVAL;
    (0..stream.parcels()).try_for_each(|parcel| stream.send(parcel, at, at, true).map(drop))?;
    let (began, parcels) = (ctx.clock.monotonic(), stream.parcels());
    for tick in 0..load.ticks() {
        for parcel in 0..parcels {
            let due = INTERVAL * tick + INTERVAL.mul_f64(parcel as f64 / parcels as f64);
            if let Some(early) = (began + due).checked_sub(ctx.clock.monotonic()) {
                std::thread::sleep(early);
            }
            if ctx.stopper.is_stopped() {
                anyhow::bail!("stopped");
            }
            let at = templates.end + INTERVAL * (tick + 2);
            let (judged, cpu) = stream.send(parcel, at, at + due.saturating_sub(INTERVAL * tick), false)?;
            let refused = judged.refused.values().map(|rows| u64::from(*rows)).sum();
            let lag = ctx.clock.monotonic().saturating_sub(began + due);
            seen.note(lag, u64::from(judged.accepted) + refused, refused)?;
            seen.cpu += cpu;
        }
    }
    Ok(seen)
}

/// Writes and compresses every block once, as the service does every ten minutes.
fn save(world: &World, after: Duration, ended: &AtomicBool, ctx: &Context) -> anyhow::Result<Duration> {
    let wanted = ctx.clock.monotonic() + after;
    while ctx.clock.monotonic() < wanted && !ended.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let began = ctx.clock.monotonic();
    for number in numbers() {
        for block in world.with(number, snapshot::take_changed)? {
            let written = world.with(number, |shard| snapshot::write(shard, block))?;
            std::hint::black_box(written.compress()?);
        }
    }
    Ok(ctx.clock.monotonic() - began)
}

impl Seen {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { lag: Histogram::new(3)?, cpu: Duration::ZERO, samples: 0, refused: 0 })
    }

    /// One batch was judged so long after it was due.
    pub(super) fn note(&mut self, lag: Duration, rows: u64, refused: u64) -> anyhow::Result<()> {
        self.lag.record(u64::try_from(lag.as_micros())?).context("cannot count a lag")?;
        self.samples += rows - refused.min(rows);
        self.refused += refused;
        Ok(())
    }

    pub(super) fn add(&mut self, other: Self) -> anyhow::Result<()> {
        self.lag.add(other.lag)?;
        self.cpu += other.cpu;
        self.samples += other.samples;
        self.refused += other.refused;
        Ok(())
    }

    /// Sustained: as many samples as arrive, and none waits for as long as an interval.
    pub(super) fn figures(&self, load: Load, suffix: &str) -> Vec<Figure> {
        let offered = load.signals as f64 / INTERVAL.as_secs_f64();
        let took = (INTERVAL * load.ticks()).as_secs_f64();
        let rate = self.samples as f64 / took;
        let lag = self.lag.value_at_quantile(0.99) as f64 / 1e6;
        let cores = self.cpu.as_secs_f64() / took;
        let name = |what: &str| format!("million_signals_{what}{suffix}");
        vec![
            Figure::at_least(&name("rate"), rate.round(), "samples/s", offered.floor()),
            Figure::at_most(&name("lag_p99"), lag, "s", 1.0),
            Figure::at_most(&name("cores"), cores, "cores", THREADS as f64),
        ]
    }
}
