//! `slo simulate`: alerts and budgets tried on made-up services, each figure beside what it is measured by. Exit code 2 when one
//! falls short.

use crate::output::{self, Format, number, table};
use analyze::slo::simulate::{
    self, Load, Service,
    budget::{self, Incident},
};
use chassis::exit;
use serde::Serialize;
use std::{
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A target of 99.9 % over 30 days, as the published figures have it.
const TARGET: f64 = 0.999;
const ALLOWED: f64 = 0.001;
/// Requests an hour with which a service that is well is tried.
const WELL_PER_HOUR: [f64; 6] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0];
/// At which burn rates it is.
const WELL_BURN: [f64; 4] = [0.1, 0.25, 0.5, 0.75];
/// From so many requests an hour on a quarter of the runs will do: each has ten times the events.
const MANY_PER_HOUR: f64 = 10_000.0;
/// Most false pages in 30 days at half the budget and little traffic.
const FALSE_PAGES_MAX: f64 = 0.05;
/// Requests an hour with which a failing service is tried against the published times.
const BROKEN_PER_HOUR: [f64; 3] = [1_000.0, 10_000.0, 100_000.0];
/// Shares of failures: those that were published, the rates of the rules themselves, and some between.
const ERRORS: [f64; 16] =
    [1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.0144, 0.012, 0.01, 0.008, 0.006, 0.0045, 0.003, 0.002, 0.0015, 0.001];
/// Requests an hour at which a total outage has to page by its third failure.
const LOW_PER_HOUR: [f64; 3] = [1.0, 10.0, 100.0];
const FAILURES_BEFORE_MAX: f64 = 2.0;
/// A blip spends this share of the budget: half of what the fastest rule stands for.
const BLIP_SPENDS: f64 = 0.01;
/// Most error of a budget, in shares of it.
const BUDGET_ERROR_MAX: f64 = 0.001;

/// One figure.
#[derive(Debug, Clone, Serialize)]
struct Line {
    what: String,
    unit: &'static str,
    /// Requests an hour on average.
    per_hour: Option<f64>,
    load: &'static str,
    /// Share of failures.
    error_ratio: Option<f64>,
    /// The median where a figure differs from run to run, else the mean or the worst.
    ours: Option<f64>,
    /// What one run in ten exceeds.
    ours_p90: Option<f64>,
    /// The standard rules on the same events.
    standard: Option<f64>,
    standard_p90: Option<f64>,
    /// What is published for the standard rules, by arithmetic without chance; or the limit.
    limit: Option<f64>,
    met: bool,
}

/// What is tried for some of the lines.
enum Job {
    Well(Service, f64),
    Broken(Service, f64),
    Outage(Service),
    Blip(Service),
    Budget(u64, &'static str, Vec<Incident>),
}

/// Tries everything and prints it.
///
/// # Errors
/// When it cannot be printed.
pub fn simulate(seed: u64, runs: u64, format: Format) -> anyhow::Result<u8> {
    let jobs = jobs();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(jobs.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(at) else { break };
                    let lines = tried(job, seed, runs.max(1));
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, lines));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    let lines: Vec<Line> = done.into_iter().flat_map(|(_, lines)| lines).collect();
    output::print(format, &lines, |lines| show(lines))?;
    Ok(if lines.iter().all(|line| line.met) { exit::DONE } else { exit::NEGATIVE })
}

fn jobs() -> Vec<Job> {
    let service = |per_hour, load| Service { target: TARGET, per_hour, load };
    let mut jobs = Vec::new();
    for per_hour in WELL_PER_HOUR {
        for load in [Load::Even, Load::Daily] {
            jobs.extend(WELL_BURN.map(|burn| Job::Well(service(per_hour, load), burn)));
        }
    }
    jobs.extend(LOW_PER_HOUR.map(|per_hour| Job::Outage(service(per_hour, Load::Even))));
    for per_hour in BROKEN_PER_HOUR {
        jobs.extend(ERRORS.map(|error| Job::Broken(service(per_hour, Load::Even), error)));
    }
    jobs.extend(BROKEN_PER_HOUR.map(|per_hour| Job::Blip(service(per_hour, Load::Even))));
    jobs.extend(budget::cases().map(|(seed, what, incidents)| Job::Budget(seed, what, incidents)));
    jobs
}

fn tried(job: &Job, seed: u64, runs: u64) -> Vec<Line> {
    match job {
        Job::Well(service, burn) => well(*service, *burn, seed, runs),
        Job::Broken(service, error) => vec![broken(*service, *error, seed, runs)],
        Job::Outage(service) => vec![outage(*service, seed, runs)],
        Job::Blip(service) => vec![blip(*service, seed, runs)],
        Job::Budget(own, what, incidents) => vec![exact(seed + own - 1, what, incidents.clone())],
    }
}

fn line(what: &str, unit: &'static str, service: Service, error_ratio: f64) -> Line {
    Line {
        what: what.to_owned(),
        unit,
        per_hour: Some(service.per_hour),
        load: if service.load == Load::Even { "even" } else { "20:1 daily" },
        error_ratio: Some(error_ratio),
        ours: None,
        ours_p90: None,
        standard: None,
        standard_p90: None,
        limit: None,
        met: false,
    }
}

/// False pages, and false alerts of any kind, of a service that keeps its objective.
fn well(service: Service, burn: f64, seed: u64, runs: u64) -> Vec<Line> {
    let runs = if service.per_hour >= MANY_PER_HOUR { runs.div_ceil(4) } else { runs };
    let mut sums = [0.0; 4];
    for run in 0..runs {
        let (ours, standard) = simulate::well(service, burn, seed + run);
        let now = [ours.pages, standard.pages, ours.any, standard.any];
        sums.iter_mut().zip(now).for_each(|(sum, now)| *sum += now / runs as f64);
    }
    let [pages, standard_pages, any, standard_any] = sums;
    let limit = (burn == 0.5 && service.per_hour <= 100.0).then_some(FALSE_PAGES_MAX);
    let of = |what, ours: f64, standard: f64, limit: Option<f64>| Line {
        ours: Some(ours),
        standard: Some(standard),
        limit,
        met: ours <= standard && limit.is_none_or(|limit| ours <= limit),
        ..line(what, "in 30 days", service, burn * ALLOWED)
    };
    vec![
        of("false pages", pages, standard_pages, limit),
        of("false pages and tickets", any, standard_any, None),
    ]
}

/// How soon a failing service is seen: the page where the standard rules page, else the first alert.
fn broken(service: Service, error: f64, seed: u64, runs: u64) -> Line {
    let pages = simulate::published_page(ALLOWED, error).is_some();
    let (mut ours, mut standard) = (Vec::new(), Vec::new());
    for run in 0..runs | 1 {
        let (our, other) = simulate::broken(service, error, seed + run);
        let minutes = |seen: &simulate::Seen| if pages { seen.page } else { seen.any };
        ours.push(minutes(&our));
        standard.push(minutes(&other));
    }
    let (ours, standard) = (spread(ours), spread(standard));
    let limit = simulate::published_alert(ALLOWED, error);
    Line {
        met: ours.0.zip(limit).is_some_and(|(ours, limit)| ours <= limit)
            && ours.0.zip(standard.0).is_none_or(|(ours, standard)| ours <= standard),
        ours: ours.0,
        ours_p90: ours.1,
        standard: standard.0,
        standard_p90: standard.1,
        limit,
        ..line(if pages { "first page" } else { "first alert" }, "min", service, error)
    }
}

/// The most failures of a total outage before the one that pages.
fn outage(service: Service, seed: u64, runs: u64) -> Line {
    let (mut most, mut minutes, mut standard) = (0.0_f64, Vec::new(), Vec::new());
    for run in 0..runs {
        let (our, other) = simulate::broken(service, 1.0, seed + run);
        most = most.max(if our.page.is_some() { our.failures_before } else { f64::INFINITY });
        minutes.push(our.page);
        standard.push(other.page);
    }
    let ((median, p90), (standard, standard_p90)) = (spread(minutes), spread(standard));
    let what = format!("a total outage pages, after {most} failures at most (limit {FAILURES_BEFORE_MAX})");
    Line {
        ours: median,
        ours_p90: p90,
        standard,
        standard_p90,
        met: most <= FAILURES_BEFORE_MAX,
        ..line(&what, "min", service, 1.0)
    }
}

/// Whether a short total outage that spends little pages where the standard rules do not.
fn blip(service: Service, seed: u64, runs: u64) -> Line {
    let (mut ours, mut standard) = (0.0, 0.0);
    for run in 0..runs {
        let (our, other) = simulate::blip(service, BLIP_SPENDS, seed + run);
        ours += if our { 1.0 / runs as f64 } else { 0.0 };
        standard += if other { 1.0 / runs as f64 } else { 0.0 };
    }
    let what = format!("pages for an outage that spends {} % of the budget", BLIP_SPENDS * 100.0);
    Line {
        ours: Some(ours),
        standard: Some(standard),
        met: ours <= standard,
        ..line(&what, "of the runs", service, 1.0)
    }
}

/// The budget against every single event.
fn exact(seed: u64, what: &str, incidents: Vec<Incident>) -> Line {
    let worst = budget::worst(seed, incidents);
    let edge = number(Some(worst.whole * 100.0));
    let worst = worst.known;
    Line {
        // Where a window begins between two answers, nobody told on which side the events lie.
        what: format!(
            "budget's worst error, {what} (seed {seed}; {edge} to the second at the window's edge)"
        ),
        unit: "% of the budget",
        per_hour: Some(37_800.0),
        load: "20:1 daily",
        error_ratio: None,
        ours: Some(worst * 100.0),
        ours_p90: None,
        standard: None,
        standard_p90: None,
        limit: Some(BUDGET_ERROR_MAX * 100.0),
        met: worst <= BUDGET_ERROR_MAX,
    }
}

/// Median and ninth tenth; `None`: never, in so many runs.
fn spread(minutes: Vec<Option<f64>>) -> (Option<f64>, Option<f64>) {
    let mut minutes: Vec<f64> = minutes.into_iter().map(|minutes| minutes.unwrap_or(f64::INFINITY)).collect();
    minutes.sort_by(f64::total_cmp);
    let at = |tenths: usize| minutes.get(minutes.len() * tenths / 10).copied().filter(|it| it.is_finite());
    (at(5), at(9))
}

fn show(lines: &[Line]) -> String {
    let shown = |value: Option<f64>| value.map_or_else(String::new, |value| number(Some(value)));
    let rows = lines.iter().map(|line| {
        [
            line.what.clone(),
            shown(line.per_hour),
            line.load.to_owned(),
            line.error_ratio.map_or_else(String::new, |ratio| format!("{} %", number(Some(ratio * 100.0)))),
            shown(line.ours),
            shown(line.ours_p90),
            shown(line.standard),
            shown(line.standard_p90),
            shown(line.limit),
            line.unit.to_owned(),
            if line.met { "met" } else { "NOT met" }.to_owned(),
        ]
    });
    table(
        [
            "WHAT",
            "REQUESTS/H",
            "LOAD",
            "ERRORS",
            "OURS",
            "P90",
            "STANDARD",
            "P90",
            "PUBLISHED",
            "UNIT",
            "VERDICT",
        ],
        rows,
    )
}
