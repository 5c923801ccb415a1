//! Shedding in proportion, and only where it helps. A degradation is first put to the test: some of the calls are left out in
//! random blocks of time, and the failures of what remains are compared (a switchback). If the callee works on as many calls as
//! before although it is asked less, it is short of capacity, and shedding costs nothing; if it fails the same share whatever
//! it is asked, shedding only loses answers, and none is done.

use std::time::Duration;

use crate::outcome::Priority;
use crate::rng::{Rng, mix};

/// Share of calls left out in the blocks of a trial that shed.
const TRIAL_SHARE: f64 = 0.3;
/// Log odds that decide a trial: 1 in 100.
const TRIAL_DECIDES: f64 = 4.6;
/// Share of the whole effect that is looked for: half a block may be too short for all of it to show.
const EFFECT: f64 = 0.6;
/// Blocks after which an undecided trial is given up.
const TRIAL_BLOCKS: u64 = 24;
const BLOCK_MIN: Duration = Duration::from_millis(800);
const BLOCK_MAX: Duration = Duration::from_secs(5);
const WINDOW_MIN: Duration = Duration::from_millis(500);
/// Calls that a block should hold.
const BLOCK_CALLS: f64 = 12.0;
/// After a trial that did not favour shedding, the next waits this long, then twice as long, up to an hour.
const RETRY_FIRST: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(3_600);
/// Something is always admitted, or a recovery would go unseen.
const ADMITTED_MIN: f64 = 0.02;
/// Growth of the admitted share per healthy window; it doubles while all stays well.
const GROWTH: f64 = 0.05;
const GROWTH_MAX: f64 = 0.4;
/// After so many windows, with half of the calls left out, it must have helped: a trial can err.
const USELESS_WINDOWS: u32 = 5;
/// Weight of a call in the share that the callee does not work on while all are made.
const REFUSED_SMOOTHING: f64 = 0.02;
/// Failure ratio beyond the baseline that is the price of finding the limit.
const TOLERATED: f64 = 0.05;

/// Which part of a trial, or of a window, a call belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Arm {
    /// None: nothing is tried, or the callee has yet to settle.
    Unmarked,
    /// Admitted while nothing was left out.
    Full,
    /// Admitted while some calls were left out.
    Less,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Count {
    calls: f64,
    bad: f64,
}

impl Count {
    fn add(&mut self, bad: bool) {
        self.calls += 1.0;
        self.bad += f64::from(u8::from(bad));
    }

    fn ratio(self) -> f64 {
        (self.bad + 0.5) / (self.calls + 1.0)
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Trial {
    began: Duration,
    block: Duration,
    seed: u64,
    full: Count,
    less: Count,
    offered: f64,
    left_out: f64,
}

impl Trial {
    /// Pairs of blocks, each pair in random order; the first half of a block is for the callee to settle.
    fn arm(&self, now: Duration) -> Arm {
        let (number, settled) = self.block(now);
        let swapped = mix(self.seed ^ (number / 2)) & 1;
        match (settled, (number & 1) ^ swapped) {
            (false, _) => Arm::Unmarked,
            (true, 0) => Arm::Full,
            (true, _) => Arm::Less,
        }
    }

    fn leaves_out(&self, now: Duration) -> bool {
        let (number, _) = self.block(now);
        (number & 1) ^ (mix(self.seed ^ (number / 2)) & 1) == 1
    }

    fn block(&self, now: Duration) -> (u64, bool) {
        let passed = now.saturating_sub(self.began).as_nanos();
        let block = self.block.as_nanos().max(1);
        ((passed / block) as u64, passed % block * 2 >= block)
    }

    /// Log odds that the callee is short of capacity, against that it fails regardless.
    fn log_odds(&self, baseline: f64) -> f64 {
        let regardless = self.full.ratio().clamp(0.001, 0.999);
        let left_out = (self.left_out / self.offered.max(1.0)).clamp(0.0, 0.9);
        // As many calls worked on, of fewer: the failures are what is relieved first.
        let relieved = (1.0 - (1.0 - regardless) / (1.0 - left_out)).max(baseline).clamp(0.001, regardless);
        let relieved = (regardless - EFFECT * (regardless - relieved)).clamp(0.001, 0.999);
        let good = self.less.calls - self.less.bad;
        let odds = self.less.bad * (relieved / regardless).ln()
            + good * ((1.0 - relieved) / (1.0 - regardless)).ln();
        // The other arm is a sample too, so a difference between the two is worth less than one from a known value.
        odds * self.full.calls / (self.full.calls + self.less.calls).max(1.0)
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Throttle {
    admitted: f64,
    growth: f64,
    windows: u32,
    window_began: Duration,
    count: Count,
    /// Failure ratio and admitted share when shedding began: what it must improve upon.
    bad_at_first: f64,
    /// The callee says itself that it has too much to do.
    by_word: bool,
    /// Share of all calls that it did not work on, while all are made; fading.
    refused: f64,
}

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    Idle,
    Trial(Trial),
    Shedding(Throttle),
}

/// What became of a trial or of shedding; a transition to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShedEvent {
    TrialBegan,
    Helps,
    DoesNotHelp,
    Ended,
    /// A trial in which all calls were made is over.
    Unknown,
}

/// What the shedder is told about the callee.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) now: Duration,
    /// The usual latency.
    pub(crate) median: Duration,
    /// Calls per second.
    pub(crate) rate: f64,
    /// Usual share of bad results.
    pub(crate) baseline: f64,
    pub(crate) degraded: bool,
    /// Whether most of what is bad says of itself that it is overload.
    pub(crate) overload: bool,
    /// All calls are made whatever is said here.
    pub(crate) watching: bool,
}

/// Decides which calls are left out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shedder {
    stage: Stage,
    rng: Rng,
    /// Recently offered calls by priority, fading.
    offered: [f64; 4],
    next_trial: Duration,
    retry: Duration,
}

impl Shedder {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            stage: Stage::Idle,
            rng: Rng::new(seed),
            offered: [0.0; 4],
            next_trial: Duration::ZERO,
            retry: RETRY_FIRST,
        }
    }

    /// Whether calls have to be asked about at all.
    pub(crate) fn is_active(&self) -> bool {
        self.stage != Stage::Idle
    }

    /// The share of calls that is admitted.
    pub(crate) fn admitted_share(&self) -> f64 {
        match &self.stage {
            Stage::Shedding(throttle) => throttle.admitted,
            Stage::Idle | Stage::Trial(_) => 1.0,
        }
    }

    pub(crate) fn reset(&mut self) {
        self.stage = Stage::Idle;
    }

    /// As if nothing had been tried yet.
    pub(crate) fn begin_anew(&mut self) {
        self.stage = Stage::Idle;
        (self.next_trial, self.retry) = (Duration::ZERO, RETRY_FIRST);
    }

    /// Whether calls are shed because the callee asks for it.
    pub(crate) fn takes_its_word(&self) -> bool {
        matches!(&self.stage, Stage::Shedding(throttle) if throttle.by_word)
    }

    /// Whether this call goes ahead, and as what.
    pub(crate) fn admit(&mut self, now: Duration, priority: Priority) -> Option<Arm> {
        if self.stage == Stage::Idle {
            return Some(Arm::Unmarked);
        }
        self.offered[priority as usize] += 1.0;
        if self.offered.iter().sum::<f64>() > 1_000.0 {
            self.offered.iter_mut().for_each(|offered| *offered *= 0.5);
        }
        let draw = self.rng.unit();
        let critical = priority == Priority::Critical;
        match &mut self.stage {
            Stage::Idle => Some(Arm::Unmarked),
            Stage::Trial(trial) => {
                let arm = trial.arm(now);
                let left_out = trial.leaves_out(now) && !critical && draw < TRIAL_SHARE;
                if arm == Arm::Less {
                    trial.offered += 1.0;
                    trial.left_out += f64::from(u8::from(left_out));
                }
                (!left_out).then_some(arm)
            }
            Stage::Shedding(throttle) => {
                let share = share_of(throttle.admitted, &self.offered, priority);
                (draw < share).then_some(Arm::Less)
            }
        }
    }

    /// A marked call ended.
    pub(crate) fn result(&mut self, scene: &Scene, arm: Arm, bad: bool) -> Option<ShedEvent> {
        match (&mut self.stage, arm) {
            (Stage::Trial(trial), Arm::Full) => trial.full.add(bad),
            (Stage::Trial(trial), Arm::Less) => trial.less.add(bad),
            (Stage::Shedding(throttle), _) => {
                throttle.count.add(bad);
                throttle.saw(bad);
            }
            _ => return None,
        }
        self.judge(scene)
    }

    /// A call ended that was made although it would have been shed.
    pub(crate) fn made_nevertheless(&mut self, bad: bool) {
        if let Stage::Shedding(throttle) = &mut self.stage {
            throttle.saw(bad);
        }
    }

    /// Looks at the time: begins a trial, ends a block, moves the throttle.
    pub(crate) fn tick(&mut self, scene: &Scene) -> Option<ShedEvent> {
        if self.stage == Stage::Idle && scene.degraded && scene.now >= self.next_trial {
            if scene.overload {
                // It says itself that it has too much to do.
                self.begin_shedding(scene.now, 1.0, true);
                return Some(ShedEvent::Helps);
            }
            let calls = Duration::try_from_secs_f64(BLOCK_CALLS / scene.rate.max(1e-3)).unwrap_or(BLOCK_MAX);
            let block = (scene.median * 4).max(calls).clamp(BLOCK_MIN, BLOCK_MAX);
            let (seed, zero) = (self.rng.next_u64(), Count::default());
            let trial =
                Trial { began: scene.now, block, seed, full: zero, less: zero, offered: 0.0, left_out: 0.0 };
            self.stage = Stage::Trial(trial);
            return Some(ShedEvent::TrialBegan);
        }
        if matches!(self.stage, Stage::Trial(_)) && scene.degraded && scene.overload {
            // Its word came after the trial began: nothing is left to be found out.
            self.begin_shedding(scene.now, 1.0, true);
            return Some(ShedEvent::Helps);
        }
        self.judge(scene)
    }

    fn judge(&mut self, scene: &Scene) -> Option<ShedEvent> {
        match &mut self.stage {
            Stage::Idle => None,
            Stage::Trial(trial) => {
                let (blocks, _) = trial.block(scene.now);
                let odds = trial.log_odds(scene.baseline);
                // Both arms must have been seen, in more than one pair of blocks.
                let seen = blocks >= 2 && trial.full.calls.min(trial.less.calls) >= BLOCK_CALLS / 2.0;
                if seen && odds >= TRIAL_DECIDES {
                    let bad = trial.full.ratio();
                    self.begin_shedding(scene.now, bad, false);
                    Some(if scene.watching { ShedEvent::Unknown } else { ShedEvent::Helps })
                } else if !scene.degraded || seen && odds <= -TRIAL_DECIDES || blocks >= TRIAL_BLOCKS {
                    self.stand_down(scene.now);
                    Some(if scene.watching { ShedEvent::Unknown } else { ShedEvent::DoesNotHelp })
                } else {
                    None
                }
            }
            Stage::Shedding(throttle) => {
                let window = (scene.median * 2).clamp(WINDOW_MIN, BLOCK_MAX);
                let passed = scene.now.saturating_sub(throttle.window_began);
                if passed < window || throttle.count.calls < 8.0 && passed < BLOCK_MAX {
                    return None;
                }
                let bad =
                    if throttle.count.calls > 0.0 { throttle.count.bad / throttle.count.calls } else { 1.0 };
                let bad = if scene.watching && throttle.by_word { throttle.relieved(scene) } else { bad };
                throttle.move_on(bad, scene);
                let useless = throttle.windows >= USELESS_WINDOWS
                    && throttle.admitted < 0.5
                    && bad > 0.9 * throttle.bad_at_first;
                if throttle.admitted >= 1.0 {
                    self.stage = Stage::Idle;
                    self.retry = RETRY_FIRST;
                    self.next_trial = scene.now;
                    return Some(ShedEvent::Ended);
                }
                if useless {
                    self.stand_down(scene.now);
                    return Some(ShedEvent::DoesNotHelp);
                }
                None
            }
        }
    }

    fn begin_shedding(&mut self, now: Duration, bad_at_first: f64, by_word: bool) {
        self.stage = Stage::Shedding(Throttle {
            admitted: 1.0 - TRIAL_SHARE,
            growth: GROWTH,
            windows: 0,
            window_began: now,
            count: Count::default(),
            bad_at_first,
            by_word,
            refused: TRIAL_SHARE,
        });
    }

    fn stand_down(&mut self, now: Duration) {
        self.stage = Stage::Idle;
        self.next_trial = now + self.retry;
        self.retry = (self.retry * 2).min(RETRY_MAX);
    }
}

impl Throttle {
    fn saw(&mut self, bad: bool) {
        self.refused += REFUSED_SMOOTHING * (f64::from(u8::from(bad)) - self.refused);
    }

    /// What would fail of the admitted share if the callee worked on as many calls as it does of all of them.
    fn relieved(&self, scene: &Scene) -> f64 {
        (1.0 - (1.0 - self.refused) / self.admitted).max(scene.baseline)
    }

    /// Down to what the callee worked on; up in small steps that grow while all is well.
    fn move_on(&mut self, bad: f64, scene: &Scene) {
        if bad > 2.0 * scene.baseline + TOLERATED {
            self.admitted *= ((1.0 - bad) / (1.0 - scene.baseline)).max(0.3);
            self.growth = GROWTH;
        } else {
            self.admitted *= 1.0 + self.growth;
            self.growth = (self.growth * 2.0).min(GROWTH_MAX);
        }
        self.admitted = self.admitted.clamp(ADMITTED_MIN, 1.0);
        self.windows += 1;
        self.window_began = scene.now;
        self.count = Count::default();
    }
}

/// The admitted share of one priority when `admitted` of all calls go ahead, the most important first.
fn share_of(admitted: f64, offered: &[f64; 4], priority: Priority) -> f64 {
    let total: f64 = offered.iter().sum();
    let above: f64 = offered[priority as usize + 1..].iter().sum();
    let own = offered[priority as usize];
    ((admitted * total - above) / own.max(1e-9)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays 200 calls a second against a callee for `seconds`; returns the share left out after the first ten seconds, and
    /// the share left out in all.
    fn play(seed: u64, seconds: u64, callee: impl Fn(f64, &mut Rng) -> bool) -> (f64, f64) {
        let (mut shedder, mut rng) = (Shedder::new(seed), Rng::new(seed ^ 0xabc));
        let (mut late, mut out, mut all, mut admitted_rate) = (0.0, 0.0, 0.0, 200.0);
        for step in 0..seconds * 200 {
            let now = Duration::from_millis(step * 5);
            let scene = Scene {
                now,
                median: Duration::from_millis(50),
                rate: 200.0,
                baseline: 0.01,
                degraded: true,
                overload: false,
                watching: false,
            };
            shedder.tick(&scene);
            let arm = shedder.admit(now, Priority::Normal);
            // The callee feels a load averaged over a fifth of a second.
            admitted_rate += (if arm.is_some() { 200.0 } else { 0.0 } - admitted_rate) / 40.0;
            if let Some(arm) = arm {
                shedder.result(&scene, arm, callee(admitted_rate, &mut rng));
            }
            all += 1.0;
            out += f64::from(u8::from(arm.is_none()));
            late += f64::from(u8::from(arm.is_none() && step >= 2_000));
        }
        (late / (all - 2_000.0), out / all)
    }

    #[test]
    fn sheds_where_the_callee_is_short_of_capacity_and_nowhere_else() {
        let (mut right_regardless, mut right_overload) = (0, 0);
        for seed in 0..100 {
            let (late, _) = play(seed, 40, |_, rng| rng.unit() < 0.3);
            right_regardless += u32::from(late <= 0.01);
            let (late, _) = play(seed, 40, |load, rng| rng.unit() < (1.0 - 120.0 / load).max(0.01));
            right_overload += u32::from(late >= 0.2);
        }
        assert!(right_regardless >= 95 && right_overload >= 95, "{right_regardless} {right_overload}");
    }

    #[test]
    fn a_callee_that_says_that_it_is_overloaded_ends_the_trial() {
        let mut shedder = Shedder::new(1);
        let mut scene = Scene {
            now: Duration::from_secs(1),
            median: Duration::from_millis(50),
            rate: 200.0,
            baseline: 0.01,
            degraded: true,
            overload: false,
            watching: false,
        };
        assert_eq!(shedder.tick(&scene), Some(ShedEvent::TrialBegan));
        scene.now += Duration::from_millis(100);
        assert_eq!(shedder.tick(&scene), None);
        scene.overload = true;
        assert_eq!(shedder.tick(&scene), Some(ShedEvent::Helps));
        assert!(shedder.admitted_share() < 1.0);
    }

    #[test]
    fn the_important_are_shed_last() {
        let offered = [100.0, 100.0, 100.0, 100.0];
        let shares = Priority::ALL.map(|priority| share_of(0.6, &offered, priority));
        assert_eq!(shares.map(|share| (share * 10.0).round()), [0.0, 4.0, 10.0, 10.0]);
        assert_eq!(share_of(0.1, &offered, Priority::Critical), 0.4);
    }
}
