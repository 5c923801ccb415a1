//! Synthetic hosts for tests: families of metrics that behave as those of real hosts do, with faults of known kind, time and
//! metrics. Seeded: the same seed gives the same host.

use chassis::IdGenerator;

/// Samples of a day at one a minute.
pub(crate) const DAY: usize = 1_440;
/// Metrics of a host.
pub(crate) const METRICS: usize = 30;
/// Causes that metrics share.
const CAUSES: usize = 4;

/// How the metrics of a host behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Daily and weekly cycles, shared; normal and log-normal noise.
    Seasonal,
    /// As Seasonal, rounded to coarse steps; a third hardly ever moves, or never.
    Quantised,
    /// A third only counts, with resets.
    Counters,
    /// Levels wander and trend.
    Drifting,
    /// Jobs: hourly, daily and at random, each moves a group of metrics for minutes; heavy-tailed noise.
    Bursty,
    /// As Seasonal, with lost values and hours without any.
    Gappy,
}

impl Family {
    pub(crate) const ALL: [Self; 6] =
        [Self::Seasonal, Self::Quantised, Self::Counters, Self::Drifting, Self::Bursty, Self::Gappy];
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Several metrics go to another level for hours.
    Shift,
    /// Metrics that go together part company.
    Break,
    /// Several metrics jump about for some minutes.
    Burst,
    /// Several metrics stand still.
    Still,
    /// One metric, for two samples.
    Spike,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] = [Self::Shift, Self::Break, Self::Burst, Self::Still, Self::Spike];
}

/// A fault at its time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Injected {
    pub(crate) fault: Fault,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) metrics: Vec<usize>,
}

/// Values of a host, `METRICS` a sample, and its faults.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    pub(crate) rows: Vec<[f64; METRICS]>,
    pub(crate) faults: Vec<Injected>,
}

struct Chance(IdGenerator);

impl Chance {
    fn unit(&mut self) -> f64 {
        self.0.unit_f64()
    }

    fn normal(&mut self) -> f64 {
        let (a, b) = (self.unit().max(1e-12), self.unit());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.unit() * limit as f64) as usize
    }
}

struct Shape {
    base: f64,
    loads: [f64; CAUSES],
    noise: f64,
    memory: f64,
    is_log: bool,
    step: f64,
    trend: f64,
    wander: f64,
    counts: bool,
    flat: bool,
    rare: f64,
}

/// A host of this family over so many days, with a fault about every `fault_every` days after `learn` days; 0 is none.
pub(crate) fn run(family: Family, seed: u64, days: usize, learn: usize, fault_every: f64) -> Run {
    let mut chance = Chance(IdGenerator::from_seed(seed));
    let shapes: Vec<Shape> = (0..METRICS).map(|index| shape(family, index, &mut chance)).collect();
    let faults = faults(days, learn, fault_every, &mut chance);
    let mut state = State::new();
    let rows = (0..days * DAY).map(|at| state.row(family, at, &shapes, &faults, &mut chance)).collect();
    Run { rows, faults }
}

fn shape(family: Family, index: usize, chance: &mut Chance) -> Shape {
    let third = index.is_multiple_of(3);
    let mut loads = [0.0; CAUSES];
    loads[index % CAUSES] = 0.5 + chance.unit();
    if chance.unit() < 0.4 {
        loads[chance.below(CAUSES)] += 0.5 * chance.normal();
    }
    let base = (3.0 * chance.normal()).exp();
    let is_log = chance.unit() < 0.3;
    let quantised = family == Family::Quantised;
    Shape {
        base,
        loads,
        noise: 0.05 + 0.3 * chance.unit(),
        memory: if chance.unit() < 0.5 { 0.0 } else { 0.9 * chance.unit() },
        is_log,
        step: if quantised && !third { 0.5 + chance.unit() } else { 0.0 },
        trend: if family == Family::Drifting && third { 0.2 * chance.normal() } else { 0.0 },
        wander: if family == Family::Drifting { 0.02 * chance.unit() } else { 0.0 },
        counts: family == Family::Counters && third,
        flat: quantised && third && chance.unit() < 0.4,
        rare: if quantised && third { 0.0003 * (4.0 * chance.unit()).exp() } else { 0.0 },
    }
}

fn faults(days: usize, learn: usize, every: f64, chance: &mut Chance) -> Vec<Injected> {
    let mut faults = Vec::new();
    if every <= 0.0 {
        return faults;
    }
    let mut at = learn as f64 + 0.5 * every;
    let mut kind = chance.below(Fault::ALL.len());
    while at + 0.3 < days as f64 {
        let fault = Fault::ALL[kind % Fault::ALL.len()];
        kind += 1;
        let start = (at * DAY as f64) as usize;
        let (minutes, metrics) = match fault {
            Fault::Shift => (90 + chance.below(200), METRICS / 4),
            Fault::Break => (120 + chance.below(200), METRICS / 6),
            Fault::Burst => (5 + chance.below(15), METRICS / 5),
            Fault::Still => (120 + chance.below(200), METRICS / 4),
            Fault::Spike => (2, 1),
        };
        let mut picked: Vec<usize> = (0..METRICS).collect();
        (0..metrics).for_each(|place| {
            let other = place + chance.below(METRICS - place);
            picked.swap(place, other);
        });
        picked.truncate(metrics);
        faults.push(Injected { fault, start, end: start + minutes, metrics: picked });
        at += every * (0.7 + 0.6 * chance.unit());
    }
    faults
}

struct State {
    causes: [f64; CAUSES],
    noise: [f64; METRICS],
    wander: [f64; METRICS],
    counter: [f64; METRICS],
    jobs: [(usize, f64); CAUSES],
    last: [f64; METRICS],
    lost: usize,
}

impl State {
    fn new() -> Self {
        Self {
            causes: [0.0; CAUSES],
            noise: [0.0; METRICS],
            wander: [0.0; METRICS],
            counter: [0.0; METRICS],
            jobs: [(0, 0.0); CAUSES],
            last: [0.0; METRICS],
            lost: 0,
        }
    }

    fn row(
        &mut self,
        family: Family,
        at: usize,
        shapes: &[Shape],
        faults: &[Injected],
        chance: &mut Chance,
    ) -> [f64; METRICS] {
        let causes = self.causes(family, at, chance);
        let fault = faults.iter().find(|fault| (fault.start..fault.end).contains(&at));
        if family == Family::Gappy && self.lost == 0 && chance.unit() < 0.0005 {
            self.lost = 1 + chance.below(120);
        }
        let all_lost = self.lost > 0;
        self.lost = self.lost.saturating_sub(1);
        std::array::from_fn(|index| {
            let hit = fault.filter(|fault| fault.metrics.contains(&index)).map(|fault| fault.fault);
            let value = self.value(family, at, index, &shapes[index], &causes, hit, chance);
            let is_lost = family == Family::Gappy && (all_lost || chance.unit() < 0.01);
            if is_lost { f64::NAN } else { value }
        })
    }

    fn causes(&mut self, family: Family, at: usize, chance: &mut Chance) -> [f64; CAUSES] {
        let (day, week) = (at as f64 / DAY as f64, at as f64 / (7 * DAY) as f64);
        let weekend = if week.fract() > 5.0 / 7.0 { 0.6 } else { 1.0 };
        std::array::from_fn(|cause| {
            let phase = 0.7 * cause as f64;
            let season = weekend * (std::f64::consts::TAU * day + phase).sin();
            self.causes[cause] = 0.97 * self.causes[cause] + 0.08 * chance.normal();
            let mut job = 0.0;
            if family == Family::Bursty {
                let (left, height) = &mut self.jobs[cause];
                let due = match cause {
                    0 => at % 60 == 17,
                    1 => at % DAY == 130,
                    _ => chance.unit() < 0.003,
                };
                if due && *left == 0 {
                    (*left, *height) = (1 + chance.below(8), 1.0 + 2.0 * chance.unit().powi(2));
                }
                if *left > 0 {
                    *left -= 1;
                    job = *height;
                }
            }
            season + self.causes[cause] + job
        })
    }

    #[expect(clippy::too_many_arguments, reason = "a test's generator, called once")]
    fn value(
        &mut self,
        family: Family,
        at: usize,
        index: usize,
        shape: &Shape,
        causes: &[f64; CAUSES],
        hit: Option<Fault>,
        chance: &mut Chance,
    ) -> f64 {
        let draw = chance.normal();
        let heavy = if family == Family::Bursty { draw / (0.3 + 0.7 * chance.unit()) } else { draw };
        self.noise[index] =
            shape.memory * self.noise[index] + (1.0 - shape.memory * shape.memory).sqrt() * heavy;
        self.wander[index] += shape.wander * chance.normal();
        let part = if hit == Some(Fault::Break) { -1.0 } else { 1.0 };
        let shared: f64 = shape.loads.iter().zip(causes).map(|(load, cause)| load * cause).sum();
        let trend = shape.trend * at as f64 / DAY as f64;
        let mut inner = 4.0 + part * shared + shape.noise * self.noise[index] + self.wander[index] + trend;
        match hit {
            Some(Fault::Shift) => inner += 3.0,
            Some(Fault::Burst) => inner += 5.0 * chance.unit(),
            Some(Fault::Spike) => inner += 8.0,
            _ => {}
        }
        let mut value = if shape.is_log { (0.5 * inner).exp() } else { inner };
        if shape.rare > 0.0 {
            let moves = !shape.flat && chance.unit() < shape.rare;
            let fails = matches!(hit, Some(Fault::Shift | Fault::Burst | Fault::Spike));
            value = if moves || fails { 1.0 + (2.0 * chance.unit()).floor() } else { 0.0 };
        }
        if shape.step > 0.0 {
            value = (value / shape.step).round() * shape.step;
        }
        value *= shape.base;
        if hit == Some(Fault::Still) {
            value = self.last[index];
        }
        self.last[index] = value;
        if shape.counts {
            if chance.unit() < 0.0002 {
                self.counter[index] = 0.0;
            }
            self.counter[index] += value.max(0.0);
            return self.counter[index];
        }
        value
    }
}
