//! The loop: at every tick, scrape all targets, take in the answers, and send each resource on as soon as it is whole. In between,
//! look at the services again that are to be looked at more often.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chassis::SharedClock;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use jiff::{SignedDuration, Timestamp};
use proto::model::ResourceId;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::follow::DeclarationsReceiver;
use super::uplink::Uplink;
use crate::admission::{self, Room};
use crate::board::{Board, Health, TargetStatus};
use crate::cadence::{self, Cadences};
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
    pub(super) cadences: Arc<Cadences>,
    /// A cadence was asked for.
    pub(super) asked: Arc<Notify>,
}

/// The loop and all that it remembers.
#[derive(Debug)]
pub(super) struct Ticker {
    interval: Duration,
    jitter_share: f64,
    timeout: Duration,
    rate_window: Duration,
    read: exposition::Limits,
    admit: admission::Limits,
    clock: SharedClock,
    scraper: Scraper,
    inputs: Inputs,
    uplink: Arc<Uplink>,
    board: Arc<Board>,
    metrics: Metrics,
    states: BTreeMap<TargetId, State>,
    room: Room<TargetId>,
    ticks: u64,
    under_way: FuturesUnordered<BoxFuture<'static, Outcome>>,
    permits: Arc<Semaphore>,
    rounds: BTreeMap<u64, Round>,
    /// Services that are looked at so many times in an interval.
    faster: BTreeMap<ResourceId, u32>,
    /// When the last look at a service was due.
    looked: BTreeMap<ResourceId, Instant>,
}

/// Looks that began together.
#[derive(Debug)]
struct Round {
    tick: Tick,
    due: Instant,
    began: Duration,
    declarations: Option<Arc<Declarations>>,
    groups: Option<Groups>,
    /// The services that it is about; `None`: everything.
    only: Option<BTreeSet<ResourceId>>,
    /// Targets that have not answered yet.
    waiting: BTreeSet<TargetId>,
}

impl Round {
    fn is_about(&self, group: &Group) -> bool {
        match (&self.only, &group.owner) {
            (None, _) => true,
            (Some(services), Owner::Service(id)) => services.contains(id),
            (Some(_), Owner::Host(_)) => false,
        }
    }
}

#[derive(Debug)]
struct State {
    status: TargetStatus,
    series: SeriesStore,
    /// The last tick at which it answered.
    answered: u64,
}

impl State {
    /// Its series if it answered at this tick, or at a later one while another target kept this one waiting; else why it did not.
    fn answer(&self, tick: Tick) -> Result<&SeriesStore, &str> {
        if self.answered >= tick.number { Ok(&self.series) } else { Err(&self.status.last_error) }
    }
}

struct Outcome {
    round: u64,
    id: TargetId,
    /// How often it is scraped.
    interval: Duration,
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
        Self {
            interval: config.scrape_interval,
            jitter_share: config.jitter_share,
            timeout: config.timeout(),
            rate_window: config.rate_window,
            read: config.limits.exposition(),
            admit: config.limits.admission(),
            clock,
            scraper,
            inputs,
            uplink,
            board,
            metrics,
            states: BTreeMap::new(),
            room: Room::default(),
            ticks: 0,
            under_way: FuturesUnordered::new(),
            permits: Arc::new(Semaphore::new(SCRAPES_AT_ONCE)),
            rounds: BTreeMap::new(),
            faster: BTreeMap::new(),
            looked: BTreeMap::new(),
        }
    }

    /// Ticks for ever.
    pub(super) async fn run(mut self) {
        let mut interval = interval(self.interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let asked = self.inputs.asked.clone();
        let mut due = None;
        // The last tick, and up to where in its interval further looks are done.
        let (mut tick, mut done) = (Instant::now(), Duration::ZERO);
        loop {
            let again = cadence::next_look(&self.faster, self.interval, done);
            let at = again.as_ref().map_or(tick, |(offset, _)| tick + *offset);
            tokio::select! {
                Some(outcome) = self.under_way.next(), if !self.under_way.is_empty() => self.answered(outcome),
                now = interval.tick(), if !self.is_ticking() => {
                    let late = due.map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
                    self.metrics.ticks_skipped.inc_by(late.div_duration_f64(self.interval).round() as u64);
                    due = Some(now + self.interval);
                    (tick, done) = (now, Duration::ZERO);
                    self.tick(now);
                }
                () = sleep_until(at), if again.is_some() => {
                    // Looks that were missed meanwhile are not made up for.
                    done = at.elapsed() + at.duration_since(tick);
                    self.look_again(at, again.map(|(_, services)| services).unwrap_or_default());
                }
                () = asked.notified() => {
                    let declarations = self.inputs.declarations.borrow().clone();
                    self.follow_cadences(declarations.as_deref());
                    done = done.max(tick.elapsed());
                }
            }
        }
    }

    /// Whether targets of a tick have not answered yet; further looks do not count.
    fn is_ticking(&self) -> bool {
        self.rounds.values().any(|round| round.only.is_none())
    }

    fn next_tick(&mut self) -> Tick {
        self.ticks += 1;
        Tick { number: self.ticks, at: whole_millisecond(self.clock.now()), interval: self.interval }
    }

    /// Begins to look at everything.
    fn tick(&mut self, due: Instant) {
        let tick = self.next_tick();
        let declarations = self.inputs.declarations.borrow().clone();
        self.follow_targets(tick, declarations.as_deref());
        self.follow_cadences(declarations.as_deref());
        let targets = self.states.values().map(|state| &state.status.target);
        let groups = declarations.as_deref().map(|declarations| Groups::new(targets, declarations));
        let waiting = self.states.keys().cloned().collect();
        let began = self.clock.monotonic();
        let round = Round { tick, due, began, declarations, groups, only: None, waiting };
        for group in round.groups.iter().flat_map(Groups::without_targets) {
            self.emit(&round, &group);
        }
        self.begin(round);
    }

    /// Begins to look once more at some services. One that has not answered the look before is left out: it is slow already.
    fn look_again(&mut self, due: Instant, services: BTreeSet<ResourceId>) {
        let Some(declarations) = self.inputs.declarations.borrow().clone() else { return };
        self.follow_cadences(Some(&declarations));
        let busy: BTreeSet<_> = self.rounds.values().flat_map(|round| &round.waiting).collect();
        let mut only = BTreeSet::new();
        let mut targets = Vec::new();
        for id in services.into_iter().filter(|id| self.faster.contains_key(id)) {
            let Some(service) = declarations.service(&id) else { continue };
            let own: Vec<_> = self
                .states
                .values()
                .map(|state| &state.status.target)
                .filter(|target| service.owns(target))
                .collect();
            if !own.is_empty() && own.iter().all(|target| !busy.contains(&target.id)) {
                targets.extend(own);
                only.insert(id);
            }
        }
        if only.is_empty() {
            return;
        }
        let groups = Some(Groups::new(targets.iter().copied(), &declarations));
        let waiting = targets.into_iter().map(|target| target.id.clone()).collect();
        let (tick, began) = (self.next_tick(), self.clock.monotonic());
        self.begin(Round {
            tick,
            due,
            began,
            declarations: Some(declarations),
            groups,
            only: Some(only),
            waiting,
        });
    }

    /// Which services are looked at more often from now on.
    fn follow_cadences(&mut self, declarations: Option<&Declarations>) {
        let Some(declarations) = declarations else { return };
        let faster = self.inputs.cadences.faster(self.clock.now());
        // How many targets a service has, if they are all its own.
        let targets = |id: &ResourceId| {
            let service = declarations.service(id)?;
            let targets = self.states.values().map(|state| &state.status.target);
            let own: Vec<_> = targets.filter(|target| service.owns(target)).collect();
            own.iter().all(|target| declarations.owners(target).count() == 1).then_some(own.len())
        };
        let (admitted, held_back) = cadence::admit(faster, self.interval, targets);
        self.inputs.cadences.keep(declarations.services().map(|service| service.id), &held_back);
        self.faster = admitted;
        self.looked.retain(|id, _| declarations.service(id).is_some());
    }

    fn begin(&mut self, round: Round) {
        let scrapes = self.scrapes(&round);
        self.under_way.extend(scrapes);
        self.go_on(round);
    }

    /// Waits for the rest of a round, if there is one.
    fn go_on(&mut self, round: Round) {
        if !round.waiting.is_empty() {
            self.rounds.insert(round.tick.number, round);
        } else if round.only.is_none() {
            self.count();
        }
    }

    fn answered(&mut self, outcome: Outcome) {
        let Some(mut round) = self.rounds.remove(&outcome.round) else { return };
        let id = outcome.id.clone();
        round.waiting.remove(&id);
        self.take_in(round.tick, outcome, round.declarations.as_deref());
        let groups = round.groups.as_mut().map(|groups| groups.answered(&id)).unwrap_or_default();
        for group in groups.iter().filter(|group| round.is_about(group)) {
            self.emit(&round, group);
        }
        self.go_on(round);
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
    fn scrapes(&self, round: &Round) -> Vec<BoxFuture<'static, Outcome>> {
        let states = round.waiting.iter().filter_map(|id| self.states.get(id));
        let mut order: Vec<_> = states
            .map(|state| {
                let target = &state.status.target;
                let interval = self.interval / self.times(target, round.declarations.as_deref());
                let offset = interval.mul_f64(self.jitter_share * offset_share(&target.id));
                (offset, target.id.clone(), target.url.clone(), interval)
            })
            .collect();
        order.sort();
        let round = round.tick.number;
        let scrape = |(offset, id, url, interval): (Duration, TargetId, String, Duration)| {
            let (scraper, clock, permits) = (self.scraper.clone(), self.clock.clone(), self.permits.clone());
            // It ends before the next look begins.
            let timeout =
                if interval == self.interval { self.timeout } else { self.timeout.min(interval * 2 / 3) };
            let scrape = async move {
                tokio::time::sleep(offset).await;
                // It is never closed; and without a permit there would only be more at once.
                let _permit = permits.acquire_owned().await.ok();
                let began = clock.monotonic();
                let fetched = scraper.fetch(&url, timeout).await;
                Outcome { round, id, interval, fetched, took: clock.monotonic().saturating_sub(began) }
            };
            Box::pin(scrape) as BoxFuture<'static, Outcome>
        };
        order.into_iter().map(scrape).collect()
    }

    /// How many times in an interval a target is scraped.
    fn times(&self, target: &Target, declarations: Option<&Declarations>) -> u32 {
        if self.faster.is_empty() {
            return 1;
        }
        let owners = declarations.into_iter().flat_map(|declarations| declarations.owners(target));
        owners.filter_map(|service| self.faster.get(service.id)).max().copied().unwrap_or(1)
    }

    /// How points become rates for a target that is scraped so often.
    fn rules(&self, interval: Duration) -> Rules {
        let signed = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        Rules {
            rate_span: signed(self.rate_window),
            interval: signed(interval),
            points: 2 + self.rate_window.div_duration_f64(interval).ceil() as usize,
            gap_max: signed(self.interval.mul_f64(GAP_INTERVALS)),
        }
    }

    fn take_in(&mut self, tick: Tick, outcome: Outcome, declarations: Option<&Declarations>) {
        let Outcome { round: _, id, interval, fetched, took } = outcome;
        let rules = &self.rules(interval);
        let Self { read, admit, room, states, clock, .. } = self;
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
    fn emit(&mut self, round: &Round, group: &Group) {
        let tick = round.tick;
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
                let declarations = round.declarations.as_deref();
                let Some(service) = declarations.and_then(|declarations| declarations.service(id)) else {
                    return;
                };
                // What its rates cover, however it is looked at from now on.
                let last = self.looked.insert(id.clone(), round.due);
                let since = last.map(|last| round.due.saturating_duration_since(last));
                let interval =
                    since.filter(|since| !since.is_zero()).unwrap_or(self.interval).min(self.interval);
                self.inputs.cadences.looked(id, round.began);
                let members = group.members.iter().filter_map(|id| self.states.get(id));
                let views: Vec<_> = members
                    .map(|state| View { target: &state.status.target, answer: state.answer(tick) })
                    .collect();
                for rows in roles::service_rows(&service, &views) {
                    self.uplink.push(Tick { interval, ..tick }, true, rows);
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
