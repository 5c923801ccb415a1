//! The loop: at every tick, scrape all targets, take in the answers, and send each resource on as soon as it is whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::SharedClock;
use futures::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::follow::DeclarationsReceiver;
use super::uplink::Uplink;
use crate::admission::{self, Room};
use crate::board::{Board, Health, TargetStatus};
use crate::config::Config;
use crate::declarations::Declarations;
use crate::exposition;
use crate::groups::{Group, Groups, Owner};
use crate::metrics::Metrics;
use crate::observe::{Answer, Intake, observe};
use crate::outbox::Tick;
use crate::raw;
use crate::roles::{self, View};
use crate::sensors::scrape::{self, Fetched, Scraper};
use crate::series::{Rules, SeriesStore};
use crate::tally::{Account, Tally};
use crate::target::{Target, TargetId};

/// Scrapes under way at once: half of the 1,024 files that a process may open by default.
const SCRAPES_AT_ONCE: usize = 512;

/// The longest silence across which a rate is computed, in intervals: two missed scrapes, with room for jitter.
const GAP_INTERVALS: f64 = 3.5;

/// What the loop follows.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) targets: watch::Receiver<Arc<Vec<Target>>>,
    pub(super) declarations: DeclarationsReceiver,
}

/// The loop and all that it remembers.
#[derive(Debug)]
pub(super) struct Ticker {
    interval: Duration,
    jitter: Duration,
    read: exposition::Limits,
    admit: admission::Limits,
    rules: Rules,
    clock: SharedClock,
    scraper: Scraper,
    inputs: Inputs,
    uplink: Arc<Uplink>,
    board: Arc<Board>,
    metrics: Metrics,
    states: BTreeMap<TargetId, State>,
    room: Room<TargetId>,
    ticks: u64,
}

#[derive(Debug)]
struct State {
    status: TargetStatus,
    series: SeriesStore,
    /// The last tick at which it answered.
    answered: u64,
}

impl State {
    /// Its series if it answered at this tick, else why it did not.
    fn answer(&self, tick: Tick) -> Result<&SeriesStore, &str> {
        if self.answered == tick.number { Ok(&self.series) } else { Err(&self.status.last_error) }
    }
}

struct Outcome {
    id: TargetId,
    fetched: Result<Fetched, scrape::Error>,
    took: Duration,
}

impl Ticker {
    pub(super) fn new(
        config: &Config,
        clock: SharedClock,
        scraper: Scraper,
        inputs: Inputs,
        uplink: Arc<Uplink>,
        board: Arc<Board>,
        metrics: Metrics,
    ) -> Self {
        let interval = config.scrape_interval;
        let signed = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        let points = 2 + config.rate_window.div_duration_f64(interval).ceil() as usize;
        let rules = Rules {
            rate_span: signed(config.rate_window),
            interval: signed(interval),
            points,
            gap_max: signed(interval.mul_f64(GAP_INTERVALS)),
        };
        Self {
            interval,
            jitter: interval.mul_f64(config.jitter_share),
            read: config.limits.exposition(),
            admit: config.limits.admission(),
            rules,
            clock,
            scraper,
            inputs,
            uplink,
            board,
            metrics,
            states: BTreeMap::new(),
            room: Room::default(),
            ticks: 0,
        }
    }

    /// Ticks for ever.
    pub(super) async fn run(mut self) {
        let mut interval = interval(self.interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut due = None;
        loop {
            let now = interval.tick().await;
            let late = due.map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
            self.metrics.ticks_skipped.inc_by(late.div_duration_f64(self.interval).round() as u64);
            due = Some(now + self.interval);
            self.tick().await;
        }
    }

    async fn tick(&mut self) {
        self.ticks += 1;
        let tick = Tick { number: self.ticks, at: whole_millisecond(self.clock.now()) };
        let declarations = self.inputs.declarations.borrow().clone();
        self.follow_targets(tick, declarations.as_deref());
        let targets = self.states.values().map(|state| &state.status.target);
        let mut groups = declarations.as_deref().map(|declarations| Groups::new(targets, declarations));
        let known = declarations.as_deref();
        for group in groups.iter().flat_map(Groups::without_targets) {
            self.emit(tick, &group, known);
        }
        let mut outcomes = stream::iter(self.scrapes()).buffer_unordered(SCRAPES_AT_ONCE);
        while let Some(outcome) = outcomes.next().await {
            let id = outcome.id.clone();
            self.take_in(tick, outcome, known);
            for group in groups.as_mut().map(|groups| groups.answered(&id)).unwrap_or_default() {
                self.emit(tick, &group, known);
            }
        }
        self.count();
    }

    /// Takes on new targets and lets go of those that are no longer listed, after a last word that they are unknown.
    fn follow_targets(&mut self, tick: Tick, declarations: Option<&Declarations>) {
        let listed: BTreeMap<_, _> =
            self.inputs.targets.borrow().iter().map(|target| (target.id.clone(), target.clone())).collect();
        let gone: Vec<_> = self.states.keys().filter(|id| !listed.contains_key(*id)).cloned().collect();
        for id in gone {
            let Some(state) = self.states.remove(&id) else { continue };
            self.room.leave(&id);
            self.board.remove(&id);
            let target = &state.status.target;
            if declarations.is_some_and(|declarations| declarations.owners(target).next().is_none()) {
                let last = raw::target_rows(
                    target,
                    &state.series,
                    Err("it is no longer listed"),
                    &mut Tally::default(),
                );
                self.uplink.push(tick, false, last);
            }
        }
        for (id, target) in listed {
            match self.states.get_mut(&id) {
                Some(state) => state.status.target = target,
                None => {
                    let status = TargetStatus::pending(target);
                    self.board.set(&status);
                    self.states.insert(id, State { status, series: SeriesStore::default(), answered: 0 });
                }
            }
        }
    }

    /// One future per target, in the order of their offsets. They borrow nothing, so answers can be taken in meanwhile.
    fn scrapes(&self) -> Vec<impl Future<Output = Outcome> + use<>> {
        let mut order: Vec<_> = self
            .states
            .values()
            .map(|state| {
                let Target { id, url, .. } = &state.status.target;
                (self.jitter.mul_f64(offset_share(id)), id.clone(), url.clone())
            })
            .collect();
        order.sort();
        let scrape = |(offset, id, url): (Duration, TargetId, String)| {
            let (scraper, clock) = (self.scraper.clone(), self.clock.clone());
            async move {
                tokio::time::sleep(offset).await;
                let began = clock.monotonic();
                let fetched = scraper.fetch(&url).await;
                Outcome { id, fetched, took: clock.monotonic().saturating_sub(began) }
            }
        };
        order.into_iter().map(scrape).collect()
    }

    fn take_in(&mut self, tick: Tick, outcome: Outcome, declarations: Option<&Declarations>) {
        let Outcome { id, fetched, took } = outcome;
        let Self { read, admit, rules, room, states, clock, .. } = self;
        let Some(State { status, series, answered }) = states.get_mut(&id) else { return };
        let mut account = Account::default();
        let result = match fetched {
            Ok(Fetched { body, format, at, monotonic }) => {
                let needs =
                    declarations.map(|declarations| declarations.needs(&status.target)).unwrap_or_default();
                let intake = Intake { read, admit, rules, needs: &needs };
                let share = |n| room.share(&id, n, admit);
                let answer = Answer { body: &body, format, at, steady: steady(monotonic) };
                observe(series, answer, intake, share, &mut account);
                *answered = tick.number;
                status.health = Health::Up;
                status.last_error =
                    if series.complete() { String::new() } else { "the answer was cut short".to_owned() };
                status.last_success = Some(at);
                "ok"
            }
            Err(error) => {
                series.forget(steady(clock.monotonic()), rules);
                if status.health != Health::Down {
                    tracing::info!(target = %id, "a target does not answer: {}", chassis::chain(&error));
                }
                status.health = Health::Down;
                status.last_error = chassis::chain(&error);
                error.name()
            }
        };
        status.last_duration = took;
        status.series = series.len();
        status.drops.merge(&account.dropped);
        self.board.set(status);
        self.metrics.scrapes.with_label_values(&[result]).inc();
        self.metrics.scrape_duration.observe(took.as_secs_f64());
        self.metrics.count(&account);
    }

    /// Sends on what a group's answers say.
    fn emit(&mut self, tick: Tick, group: &Group, declarations: Option<&Declarations>) {
        match &group.owner {
            Owner::Host(id) => {
                let Some(state) = self.states.get(id) else { return };
                let mut lost = Tally::default();
                let State { status, series, .. } = state;
                let rows = raw::target_rows(&status.target, series, state.answer(tick).map(drop), &mut lost);
                self.uplink.push(tick, false, rows);
                self.metrics.count_dropped(&lost);
            }
            Owner::Service(id) => {
                let Some(service) = declarations.and_then(|declarations| declarations.service(id)) else {
                    return;
                };
                let members = group.members.iter().filter_map(|id| self.states.get(id));
                let views: Vec<_> = members
                    .map(|state| View { target: &state.status.target, answer: state.answer(tick) })
                    .collect();
                for rows in roles::service_rows(&service, &views) {
                    self.uplink.push(tick, true, rows);
                }
            }
        }
    }

    fn count(&self) {
        let series: usize = self.states.values().map(|state| state.status.series).sum();
        self.metrics.series.set(i64::try_from(series).unwrap_or(i64::MAX));
        for (health, name) in [(Health::Pending, "pending"), (Health::Up, "up"), (Health::Down, "down")] {
            let targets = self.states.values().filter(|state| state.status.health == health).count();
            self.metrics.targets.with_label_values(&[name]).set(i64::try_from(targets).unwrap_or(i64::MAX));
        }
    }
}

/// Where in the spread a target lies, 0 to 1: always the same for the same target, evenly spread over many.
fn offset_share(id: &TargetId) -> f64 {
    // FNV-1a, 64 bit; its upper 32 bits as a fraction.
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = id.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
    f64::from((hash >> 32) as u32) / f64::from(u32::MAX)
}

/// The wire has milliseconds; cutting here keeps what is sent equal to what is remembered.
fn whole_millisecond(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

/// The monotonic clock as a time line; where it begins means nothing.
fn steady(monotonic: Duration) -> Timestamp {
    // The process would have to run for 8,000 years to saturate.
    Timestamp::UNIX_EPOCH.saturating_add(monotonic).unwrap_or(Timestamp::MAX)
}
