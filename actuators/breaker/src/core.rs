//! The whole breaker for one thread at a time: what is normal, the judges, the state machine, shedding and limit, under the
//! policy's mode. Values and `now` in, values out; the handle in `breaker` shares it among callers.

use std::time::Duration;

use crate::baseline::{Baseline, Batch};
use crate::evidence::{Evidence, Judge, Verdict};
use crate::latency::{BUCKETS, Latencies};
use crate::limit::Limiter;
use crate::machine::{Answer, Event, Machine, Phase, PhaseKind, Timing};
use crate::outcome::{Outcome, Priority, Rejection};
use crate::shadow::ShadowReport;
use crate::shed::{Arm, Scene, ShedEvent, Shedder};
use crate::ticket::{Fate, Ticket};
use crate::transition::{Cause, Log, State, Transition};
use crate::{Mode, Policy};

/// How often time is looked at when calls say nothing.
pub(crate) const TICK: Duration = Duration::from_secs(1);
/// While something is tried or shed, or the limit is learned.
const TICK_ACTIVE: Duration = Duration::from_millis(100);
/// Memory of the rate of calls, in seconds.
const RATE_MEMORY: f64 = 600.0;
/// The learned latency limit is looked up so often.
const SLOW_LOOKUP: Duration = Duration::from_secs(30);
/// The wait grows to this multiple of the first one even where probes are cheap.
const WAIT_GROWTH: u32 = 4;
/// Evidence of others counts for at most this share of the threshold: the own calls must fail too.
pub(crate) const OTHERS_MAX: f64 = 0.6;

/// Calls per second, over the last minutes.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    calls: f64,
    seconds: f64,
    fresh: f64,
}

impl Rate {
    fn pass(&mut self, seconds: f64) {
        let keep = (-seconds / RATE_MEMORY).exp();
        self.calls = self.calls * keep + self.fresh;
        self.seconds = self.seconds * keep + seconds;
        self.fresh = 0.0;
    }

    fn per_second(self) -> f64 {
        (self.calls + self.fresh) / self.seconds.max(1.0)
    }
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) policy: Policy,
    pub(crate) generation: u64,
    /// A person's word, until when.
    pub(crate) told: Option<(Mode, Duration)>,
    mode: Mode,
    pub(crate) machine: Machine,
    pub(crate) failing: Judge,
    pub(crate) slow: Judge,
    pub(crate) baseline: Baseline,
    slow_baseline: Baseline,
    latencies: Latencies,
    slow_limit: Option<Duration>,
    slow_looked_up: Option<Duration>,
    rate: Rate,
    pub(crate) shed: Shedder,
    pub(crate) limit: Option<Limiter>,
    pub(crate) shadow: ShadowReport,
    pub(crate) log: Log,
    /// Evidence that others have, and until when it counts.
    others: (f64, Duration),
    pub(crate) rejected: [u64; Rejection::REASONS.len()],
    /// Results heard of, by outcome; ordinary successes are counted around the lock.
    pub(crate) results: [u64; Outcome::NAMES.len()],
    pub(crate) late_total: u64,
    pub(crate) opened_total: u64,
    pub(crate) last_trip: Option<Evidence>,
    pub(crate) degraded_since: Option<Duration>,
    /// The failures that opened it.
    cut_run: Batch,
    /// Lately bad results, and those of them that were overload by their own word; fading.
    bad: (f64, f64),
    ticked_at: Duration,
    unix_at_zero: f64,
}

impl Core {
    /// `policy` must be valid. `unix_at_zero`: seconds since 1970 when the callers' clock read zero.
    pub(crate) fn new(policy: Policy, seed: u64, unix_at_zero: f64) -> Self {
        let baseline = Baseline::new(policy.prior_failure_ratio, unix_at_zero);
        let slow_baseline = baseline.clone();
        let normal = baseline.normal(unix_at_zero);
        let (boundary, factor) = (policy.failure_ratio_to_open, policy.degraded_factor);
        Self {
            mode: policy.mode,
            machine: Machine::new(timing(&policy, 0.0), seed, Duration::ZERO),
            failing: Judge::new(normal, boundary, factor, true),
            slow: Judge::new(normal, boundary, factor, false),
            baseline,
            slow_baseline,
            latencies: Latencies::new(),
            slow_limit: None,
            slow_looked_up: None,
            rate: Rate::default(),
            shed: Shedder::new(seed ^ 0x5eed),
            limit: policy.limit.map(|limit| Limiter::new(limit, Duration::ZERO)),
            shadow: ShadowReport::default(),
            log: Log::new(),
            others: (0.0, Duration::ZERO),
            rejected: [0; Rejection::REASONS.len()],
            results: [0; Outcome::NAMES.len()],
            late_total: 0,
            opened_total: 0,
            last_trip: None,
            degraded_since: None,
            cut_run: Batch::default(),
            bad: (0.0, 0.0),
            ticked_at: Duration::ZERO,
            unix_at_zero,
            policy,
            generation: 0,
            told: None,
        }
    }

    /// The mode that decides at `now`.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn state(&self) -> State {
        match (self.mode, self.machine.phase()) {
            (Mode::MetricsOnly, _) => State::MetricsOnly,
            (Mode::Disabled, _) => State::Disabled,
            (Mode::ForcedOpen, _) => State::ForcedOpen,
            (Mode::Enforce, Phase::Closed) => State::Closed,
            (Mode::Enforce, Phase::Open { .. }) => State::Open,
            (Mode::Enforce, Phase::HalfOpen) => State::HalfOpen,
        }
    }

    pub(crate) fn rate(&self) -> f64 {
        self.rate.per_second()
    }

    /// From which latency a successful call is not an ordinary one.
    pub(crate) fn slow_limit(&self) -> Duration {
        let learned = self.slow_limit.unwrap_or(Duration::MAX);
        self.policy.slow_call.unwrap_or(Duration::MAX).min(learned)
    }

    pub(crate) fn learned_slow_limit(&self) -> Option<Duration> {
        self.slow_limit
    }

    /// Whether calls may pass without asking: closed, nothing shed, no limit, no word that ends.
    pub(crate) fn lets_pass(&self) -> bool {
        let counted = matches!(self.mode, Mode::Enforce | Mode::MetricsOnly);
        let free = self.told.is_none() && self.limit.is_none() && !self.shed.is_active();
        counted && free && self.machine.phase() == Phase::Closed
    }

    /// Asks to call.
    pub(crate) fn acquire(&mut self, now: Duration, priority: Priority) -> Result<Ticket, Rejection> {
        self.look_at_time(now);
        let rejection = match self.mode {
            Mode::Disabled => return Ok(Ticket::fated(Fate::Unseen, priority)),
            Mode::ForcedOpen => Rejection::ForcedOpen,
            Mode::Enforce | Mode::MetricsOnly => match self.ask(now, priority) {
                Ok(ticket) => return Ok(ticket),
                Err(rejection) => rejection,
            },
        };
        if self.mode == Mode::MetricsOnly {
            let shed = rejection == Rejection::Shed;
            return Ok(Ticket::fated(self.shadow.rejects(shed, self.shed.takes_its_word()), priority));
        }
        self.rejected[rejection.index()] += 1;
        Err(rejection)
    }

    fn ask(&mut self, now: Duration, priority: Priority) -> Result<Ticket, Rejection> {
        let grant = match self.step(now, Event::Acquire, None) {
            Answer::Admitted(grant) => grant,
            Answer::Rejected(rejection) => return Err(rejection),
            Answer::Noted | Answer::Late => return Ok(Ticket::fated(Fate::Unseen, priority)),
        };
        let mut ticket = Ticket { grant, ..Ticket::plain(0, priority) };
        if ticket.grant.lease == 0 {
            ticket.arm = self.shed.admit(now, priority).ok_or(Rejection::Shed)?;
        }
        if let Some(limit) = &mut self.limit {
            let watched = self.mode == Mode::MetricsOnly;
            ticket.limited = limit.enter(priority);
            if !ticket.limited && !watched && ticket.grant.lease == 0 {
                return Err(Rejection::Limit);
            }
        }
        Ok(ticket)
    }

    /// An admitted call ended.
    pub(crate) fn record(&mut self, now: Duration, ticket: &Ticket, outcome: Outcome, latency: Duration) {
        self.look_at_time(now);
        self.results[outcome.index()] += u64::from(ticket.fate != Fate::Unseen);
        let failed = outcome == Outcome::Failure
            || outcome == Outcome::Success && self.policy.slow_call.is_some_and(|limit| latency >= limit);
        let degraded = self.is_degraded();
        if let Some(limit) = self.limit.as_mut().filter(|_| ticket.limited) {
            limit.leave(ticket.priority);
            if !matches!(outcome, Outcome::CallerFault | Outcome::Cancelled) {
                limit.result(now, latency, outcome, degraded);
            }
        }
        if matches!(outcome, Outcome::CallerFault | Outcome::Cancelled) {
            if ticket.grant.lease != 0 {
                self.step(now, Event::Cancel { grant: ticket.grant.clone() }, Some(Cause::ProbesFailed));
            }
            return;
        }
        self.shadow.offered += u64::from(self.mode == Mode::MetricsOnly && ticket.fate != Fate::Unseen);
        match ticket.fate {
            Fate::Unseen => return,
            Fate::Relief => {
                self.shed.made_nevertheless(failed || outcome == Outcome::Overload);
                return self.shadow.relieved();
            }
            Fate::Shadow => return self.shadow.ended(failed || outcome == Outcome::Overload, latency),
            Fate::Counted => {}
        }
        if ticket.grant.epoch != self.machine.epoch() {
            self.late_total += 1;
        } else if ticket.grant.lease != 0 {
            let good = !failed && outcome != Outcome::Overload;
            let event = Event::Probed { grant: ticket.grant.clone(), good };
            let cause = if good { Cause::ProbesPassed } else { Cause::ProbesFailed };
            self.step(now, event, Some(cause));
        } else if self.machine.phase() == Phase::Closed {
            self.count(now, ticket.arm, Bad { failed, overload: outcome == Outcome::Overload }, latency);
        }
    }

    fn count(&mut self, now: Duration, arm: Arm, bad: Bad, latency: Duration) {
        self.rate.fresh += 1.0;
        let slow = !bad.any() && self.slow_limit.is_some_and(|limit| latency >= limit);
        let worse = bad.any() || slow;
        let began = now.saturating_sub(latency);
        let before = self.failing.suspect_since().is_some_and(|since| began < since);
        self.bad = (self.bad.0 * 0.98 + f64::from(worse), self.bad.1 * 0.98 + f64::from(bad.overload));
        if bad.failed {
            let found = self.failing.fails(began);
            self.found(now, found, Cause::Failures);
        } else if !bad.any() && before {
            self.failing.worked_before(1);
        } else if !bad.any() && self.failing.works(1, !self.shed.is_active()) {
            self.note(now, self.state(), Cause::Recovered, self.failing.evidence());
        }
        if self.machine.phase() != Phase::Closed {
            return;
        }
        // Overload is trouble that shedding may relieve, and never an outage: it is judged with the slow calls.
        if slow || bad.overload {
            let found = self.slow.fails(began);
            self.found(now, found, Cause::SlowCalls);
        } else if !bad.failed && self.slow.works(1, !self.shed.is_active()) {
            self.note(now, self.state(), Cause::Recovered, self.slow.evidence());
        }
        if self.shed.is_active() {
            let scene = self.scene(now);
            let event = self.shed.result(&scene, arm, worse);
            self.shed_event(now, event);
        }
    }

    /// That many ordinary calls succeeded since the last word, in no matter what order among themselves.
    pub(crate) fn worked(&mut self, now: Duration, count: u64) {
        if count == 0 || self.machine.phase() != Phase::Closed {
            return;
        }
        self.shadow.offered += if self.mode == Mode::MetricsOnly { count } else { 0 };
        self.rate.fresh += count as f64;
        self.bad.0 *= 0.98f64.powf(count as f64);
        self.bad.1 *= 0.98f64.powf(count as f64);
        for (over, evidence) in [
            (self.failing.works(count, true), self.failing.evidence()),
            (self.slow.works(count, true), self.slow.evidence()),
        ] {
            if over {
                self.note(now, self.state(), Cause::Recovered, evidence);
            }
        }
    }

    /// That many ordinary calls succeeded that began before the suspicion there is.
    pub(crate) fn worked_before(&mut self, count: u64) {
        if count > 0 && self.machine.phase() == Phase::Closed {
            self.shadow.offered += if self.mode == Mode::MetricsOnly { count } else { 0 };
            self.rate.fresh += count as f64;
            self.failing.worked_before(count);
        }
    }

    /// Learns latencies of successful calls.
    pub(crate) fn sampled(&mut self, now: Duration, samples: &[u32; BUCKETS]) {
        if !self.is_degraded() && self.machine.phase() == Phase::Closed {
            let at = self.unix(now);
            self.latencies.learn(samples, at);
        }
    }

    fn found(&mut self, now: Duration, found: Option<(Verdict, Evidence)>, cause: Cause) {
        match found {
            None | Some((Verdict::Nominal, _)) => {}
            Some((Verdict::Degraded, evidence)) => {
                self.degraded_since.get_or_insert(now);
                self.note(now, self.state(), cause, evidence);
            }
            Some((Verdict::Outage, evidence)) => {
                self.cut_run = self.failing.cut_run();
                self.last_trip = Some(evidence);
                self.step(now, Event::Trip, Some(Cause::Outage));
            }
        }
    }

    /// Lets the machine take an event and tells what came of it.
    fn step(&mut self, now: Duration, event: Event, cause: Option<Cause>) -> Answer {
        let (before, state) = (self.machine.phase().kind(), self.state());
        let answer = self.machine.handle(now, event);
        let after = self.machine.phase().kind();
        if before == after {
            return answer;
        }
        let cause = match after {
            PhaseKind::HalfOpen => Cause::WaitOver,
            _ => cause.unwrap_or(Cause::ProbesFailed),
        };
        let evidence = self.failing.evidence();
        self.opened_total += u64::from(after == PhaseKind::Open);
        if after == PhaseKind::Closed && self.machine.streak() == 1 {
            // Over at the first look: it was a burst, or as short as one.
            let (run, at) = (std::mem::take(&mut self.cut_run), self.unix(now));
            self.baseline.learn(&run, at);
        }
        if after != PhaseKind::HalfOpen {
            self.forget_trouble();
            // The time in which nothing was counted says nothing about the rate.
            self.ticked_at = now;
        }
        self.note(now, state, cause, self.last_trip.filter(|_| after == PhaseKind::Open).unwrap_or(evidence));
        answer
    }

    fn forget_trouble(&mut self) {
        self.failing.reset();
        self.slow.reset();
        self.shed.reset();
        self.degraded_since = None;
        self.bad = (0.0, 0.0);
    }

    fn note(&mut self, at: Duration, from: State, cause: Cause, evidence: Evidence) {
        self.log.push(Transition { number: 0, at, from, to: self.state(), cause, evidence });
    }

    fn shed_event(&mut self, now: Duration, event: Option<ShedEvent>) {
        let Some(event) = event else { return };
        let cause = match event {
            ShedEvent::TrialBegan => Cause::TrialBegan,
            ShedEvent::Helps => Cause::SheddingHelps,
            ShedEvent::DoesNotHelp => Cause::SheddingIsUseless,
            ShedEvent::Ended => Cause::SheddingEnded,
            ShedEvent::Unknown => {
                self.shadow.trials_unknown += 1;
                Cause::SheddingUnknown
            }
        };
        self.note(now, self.state(), cause, self.failing.evidence());
    }

    pub(crate) fn is_degraded(&self) -> bool {
        self.failing.verdict() != Verdict::Nominal || self.slow.verdict() != Verdict::Nominal
    }

    fn scene(&self, now: Duration) -> Scene {
        Scene {
            now,
            median: self.latencies.median(self.unix(now)),
            rate: self.rate.per_second(),
            baseline: self.failing.evidence().baseline,
            degraded: self.is_degraded(),
            overload: self.bad.1 > 5.0 && self.bad.1 > 0.5 * self.bad.0,
            watching: self.mode == Mode::MetricsOnly,
        }
    }

    fn unix(&self, now: Duration) -> f64 {
        self.unix_at_zero + now.as_secs_f64()
    }

    /// When time is to be looked at again.
    pub(crate) fn next_look(&self) -> Duration {
        let active = self.shed.is_active() || self.is_degraded();
        self.ticked_at + if active { TICK_ACTIVE } else { TICK }
    }

    /// Learns what was normal, adopts what is normal now, and lets waits, trials and words run out.
    pub(crate) fn look_at_time(&mut self, now: Duration) {
        if self.told.is_some_and(|(_, until)| now >= until) {
            self.told = None;
            self.settle_mode(now);
        }
        if now < self.next_look() {
            return;
        }
        let passed = now.saturating_sub(self.ticked_at).as_secs_f64();
        self.ticked_at = now;
        if self.machine.phase() != Phase::Closed {
            return;
        }
        self.rate.pass(passed);
        let at = self.unix(now);
        if let Some(batch) = self.failing.take_normal(self.baseline.is_known()) {
            self.baseline.learn(&batch, at);
        }
        if let Some(batch) = self.slow.take_normal(self.slow_baseline.is_known()) {
            self.slow_baseline.learn(&batch, at);
        }
        let calls = self.rate.per_second() * self.policy.false_opening_every.as_secs_f64();
        let others = if now < self.others.1 { self.others.0 } else { 0.0 };
        self.failing.refresh(self.baseline.normal(at), calls, others);
        self.slow.refresh(self.slow_baseline.normal(at), calls, 0.0);
        self.machine.set_timing(timing(&self.policy, self.rate.per_second()));
        // Until something is known it is looked for each time: it is the first seconds of an instance that lack it.
        if self.slow_limit.is_none() || self.slow_looked_up.is_none_or(|last| now >= last + SLOW_LOOKUP) {
            self.slow_looked_up = Some(now);
            self.slow_limit = self.latencies.slow(at);
        }
        self.look_at_degradation(now);
    }

    fn look_at_degradation(&mut self, now: Duration) {
        if !self.is_degraded() {
            self.degraded_since = None;
        } else if self.degraded_since.is_some_and(|since| now >= since + self.policy.adopt_after) {
            self.acknowledge(now);
        }
        // Before it is known what is normal, only a callee that says itself that it has too much to do is relieved.
        let sure = self.baseline.is_known() || self.shed.is_active() || self.scene(now).overload;
        if self.policy.shed
            && matches!(self.mode, Mode::Enforce | Mode::MetricsOnly)
            && sure
            && (self.is_degraded() || self.shed.is_active())
        {
            let scene = self.scene(now);
            let event = self.shed.tick(&scene);
            self.shed_event(now, event);
        }
    }

    /// Takes the degradation that is for the new baseline. False if there is none.
    pub(crate) fn acknowledge(&mut self, now: Duration) -> bool {
        let at = self.unix(now);
        let levels = (self.failing.level(), self.slow.level());
        if let Some(level) = levels.0 {
            self.baseline.adopt(level, at);
        }
        if let Some(level) = levels.1 {
            self.slow_baseline.adopt(level, at);
        }
        if levels == (None, None) {
            return false;
        }
        let evidence = self.failing.evidence();
        self.forget_trouble();
        self.note(now, self.state(), Cause::Adopted, evidence);
        true
    }

    /// Takes over what is normal.
    pub(crate) fn begin_with(&mut self, baseline: Baseline, now: Duration) {
        self.baseline = baseline;
        let calls = self.rate.per_second() * self.policy.false_opening_every.as_secs_f64();
        let others = if now < self.others.1 { self.others.0 } else { 0.0 };
        self.failing.refresh(self.baseline.normal(self.unix(now)), calls, others);
    }

    /// Adopts a valid policy.
    pub(crate) fn adopt(&mut self, policy: Policy, now: Duration) {
        self.failing.set_limits(policy.failure_ratio_to_open, policy.degraded_factor);
        self.slow.set_limits(policy.failure_ratio_to_open, policy.degraded_factor);
        self.machine.set_timing(timing(&policy, self.rate.per_second()));
        match (policy.limit, &mut self.limit) {
            (None, limit) => *limit = None,
            (Some(bounds), Some(limit)) => limit.set_policy(bounds),
            (Some(bounds), limit) => *limit = Some(Limiter::new(bounds, now)),
        }
        if !policy.shed {
            self.shed.reset();
        }
        self.policy = policy;
        self.settle_mode(now);
    }

    /// A person's word over the policy's mode, until it ends.
    pub(crate) fn tell(&mut self, told: Option<(Mode, Duration)>, now: Duration) {
        self.told = told;
        self.settle_mode(now);
    }

    fn settle_mode(&mut self, now: Duration) {
        let (before, state) = (self.mode, self.state());
        let after = self.told.map_or(self.policy.mode, |(mode, _)| mode);
        self.mode = after;
        match (before, after) {
            _ if before == after => return,
            // The machine ran in both: what it would have done is what it does now. A trial that left out nothing found out nothing.
            (Mode::MetricsOnly, Mode::Enforce) => self.shed.begin_anew(),
            (Mode::Enforce, Mode::MetricsOnly) => self.shed.reset(),
            // Whoever held it open may not know that all is well: probe first.
            (Mode::ForcedOpen, Mode::Enforce | Mode::MetricsOnly) => self.machine.await_probes(),
            _ => {
                self.machine.reset();
                self.forget_trouble();
            }
        }
        self.note(now, state, Cause::Told, self.failing.evidence());
    }

    /// What others see, as a log likelihood ratio of an outage, until when.
    pub(crate) fn hear_others(&mut self, score: f64, until: Duration) {
        let score = if score.is_finite() { score.max(0.0) } else { 0.0 };
        self.others = (score, until);
        let calls = self.rate.per_second() * self.policy.false_opening_every.as_secs_f64();
        self.failing.refresh(self.failing.normal(), calls, score);
    }
}

/// How a counted call was bad.
#[derive(Debug, Clone, Copy)]
struct Bad {
    failed: bool,
    overload: bool,
}

impl Bad {
    fn any(self) -> bool {
        self.failed || self.overload
    }
}

/// The machine's part of a policy. Probes may cost a share of the calls: at high rates they are cheap, and the wait short.
fn timing(policy: &Policy, rate: f64) -> Timing {
    let between = Duration::try_from_secs_f64(1.0 / (policy.probe_share * rate.max(1e-6)));
    let longest = between.unwrap_or(policy.open_wait_max).max(policy.open_wait * WAIT_GROWTH);
    Timing {
        open_wait: policy.open_wait,
        open_wait_max: longest.min(policy.open_wait_max),
        // Below 1 by the policy's rule, so it fits.
        jitter: (policy.open_wait_jitter * 65_536.0) as u16,
        permits: policy.half_open_permits,
        permit_ttl: policy.permit_ttl,
    }
}
