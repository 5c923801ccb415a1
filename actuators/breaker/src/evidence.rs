//! The judge: sequential likelihood-ratio evidence (Page's CUSUM) that calls fail more than the baseline says.
//!
//! Several alternatives are weighed at once, one lane each: an outage, and degradations of several sizes. A lane's score is
//! the log likelihood ratio since it was last zero. Failures that cluster are expected to: the null hypothesis is a
//! two-state chain (Gilbert), so the second failure in a row weighs less than the first if that is what bursts are like.
//! Cost per failure is a handful of additions; any number of successes in a row costs as much as one.

use std::time::Duration;

use crate::baseline::{Batch, Normal};

/// Outage (sharp: nothing gets through), outage (a few do), half, a fifth, eight times and a few times the baseline.
const LANES: usize = 6;
const OUTAGE_LANES: usize = 2;
/// Failure ratio of the sharp outage.
const SHARP: f64 = 0.995;
/// How far below and above the boundary of an outage, in log odds, its two hypotheses stand: 75 % and 97 % around 90 %.
const BOUNDARY_LOW: f64 = 1.1;
const BOUNDARY_HIGH: f64 = 1.25;
/// Share of the threshold by which an outage must also beat the worst degradation, and the least of it: with half or three of four
/// calls failing, five in a row are not rare. It takes six from a healthy baseline, at the default boundary.
const BEATS_DEGRADED: f64 = 0.075;
const BEATS_DEGRADED_LEAST: f64 = 1.3;
/// Where failures came mixed with successes right before a run of them, the run is rather the worst of a degradation: this share of
/// the evidence for one, beyond what a single failure gives, is asked of the outage on top.
const MIXED_BEFORE: f64 = 0.5;
/// The lane of the degradation that is mistaken for an outage most easily: half of all calls fail.
const HALF: usize = 2;
/// Openings are budgeted as if there were so many times the calls: a baseline that is learned is not exact.
const MARGIN: f64 = 2.0;
/// Score, as a share of the threshold, from which calls are suspect and not yet learned from.
const SUSPECT: f64 = 0.3;
/// Log of the odds at which a degradation is taken to be over.
const RECOVERED: f64 = 6.9;
/// A failure ratio that is not a recovery, however bad it was before.
const STILL_MAX: f64 = 0.1;
/// Calls that the level of a degradation remembers.
const LEVEL_MEMORY: f64 = 200.0;
/// Calls in which the memory of its worst fades.
const PEAK_MEMORY: f64 = 2_000.0;
/// Failures in a row beyond which a run says nothing more about ordinary bursts.
const RUN_MAX: u32 = 40;

/// What the evidence amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Calls fail as they use to.
    Nominal,
    /// Calls fail more than they use to, but enough of them succeed to be worth making.
    Degraded,
    /// Hardly a call succeeds.
    Outage,
}

/// The numbers behind a verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Log likelihood ratio against the baseline.
    pub score: f64,
    /// What it had to reach: the log of how many calls there are per accepted false opening.
    pub threshold: f64,
    /// Calls since the suspicion began.
    pub calls: f64,
    /// How many of them failed.
    pub failures: f64,
    /// The failure ratio that was expected.
    pub baseline: f64,
}

/// Log likelihood ratios of one lane: the first failure, the next ones, the first success after one, the next ones.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Step {
    fails: f64,
    fails_again: f64,
    works_after: f64,
    works_again: f64,
}

impl Step {
    /// Against chances to begin and to go on failing (`null`), of another pair.
    fn new(null: (f64, f64), other: (f64, f64)) -> Self {
        Self {
            fails: (other.0 / null.0).ln(),
            fails_again: (other.1 / null.1).ln(),
            // More failures never speak for fewer: an alternative whose chance is below the null's adds nothing.
            works_after: ((1.0 - other.1) / (1.0 - null.1)).ln().min(0.0),
            works_again: ((1.0 - other.0) / (1.0 - null.0)).ln().min(0.0),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Lane {
    score: f64,
    calls: f64,
    failures: f64,
    step: Step,
}

impl Lane {
    fn clear(&mut self) {
        (self.score, self.calls, self.failures) = (0.0, 0.0, 0.0);
    }

    fn works(&mut self, after_failure: bool, count: f64) {
        if self.score <= 0.0 {
            return;
        }
        let (first, rest) = if after_failure { (1.0, count - 1.0) } else { (0.0, count) };
        self.score += self.step.works_after * first + self.step.works_again * rest;
        self.calls += count;
        if self.score <= 0.0 {
            self.clear();
        }
    }

    fn fails(&mut self, again: bool) {
        self.score += if again { self.step.fails_again } else { self.step.fails };
        self.calls += 1.0;
        self.failures += 1.0;
        if self.score <= 0.0 {
            self.clear();
        }
    }
}

/// A degradation under way.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Level {
    calls: f64,
    failures: f64,
    /// How bad it was lately: falls slowly, so that recovering does not look ever harder to tell from being ill.
    peak: f64,
    /// Evidence that it is over, and what a success and a failure add to it.
    recovery: f64,
    works: f64,
    fails: f64,
}

/// The running evidence of one kind of trouble on one edge.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judge {
    lanes: [Lane; LANES],
    /// For an outage. A degradation rejects nothing and needs a little less.
    threshold: f64,
    others: f64,
    normal: Normal,
    boundary: f64,
    factor: f64,
    /// Whether this kind of trouble can be an outage at all.
    can_be_outage: bool,
    level: Option<Level>,
    /// Whether every call since the degradation was told has failed: then it may still be an outage that began before.
    onset: bool,
    /// When the call began whose failure began the suspicion of an outage. What began earlier says nothing about it, however
    /// late it ends: where calls overlap, the last good results come mixed with the first bad ones.
    suspect_since: Option<Duration>,
    /// Calls since the outage lane was last zero: not part of the level, or an outage would hide itself.
    fresh: (f64, f64),
    run: u32,
    /// Evidence that half of all calls fail, when the run began.
    mixed: f64,
    /// Calls that will be learned from if they do not turn out to be the beginning of something.
    pending: Batch,
}

impl Judge {
    pub(crate) fn new(normal: Normal, boundary: f64, factor: f64, can_be_outage: bool) -> Self {
        let mut judge = Self {
            lanes: [Lane::default(); LANES],
            threshold: 20.0,
            others: 0.0,
            normal,
            boundary: boundary.clamp(0.2, 0.97),
            factor,
            can_be_outage,
            level: None,
            onset: false,
            suspect_since: None,
            fresh: (0.0, 0.0),
            run: 0,
            mixed: 0.0,
            pending: Batch::default(),
        };
        judge.restep();
        judge
    }

    /// Adopts what is normal now, and how many calls there are for each false verdict that is accepted.
    /// `others`: log likelihood ratio of an outage that others have seen; it stands in for a part of the own.
    pub(crate) fn refresh(&mut self, normal: Normal, calls_per_false: f64, others: f64) {
        self.threshold = (MARGIN * calls_per_false.max(30.0)).ln();
        self.others = others.min(crate::core::OTHERS_MAX * self.threshold);
        if normal != self.normal {
            self.normal = normal;
            self.restep();
        }
    }

    /// Adopts other limits.
    pub(crate) fn set_limits(&mut self, boundary: f64, factor: f64) {
        (self.boundary, self.factor) = (boundary.clamp(0.2, 0.97), factor);
        self.restep();
    }

    pub(crate) fn verdict(&self) -> Verdict {
        if self.level.is_some() { Verdict::Degraded } else { Verdict::Nominal }
    }

    pub(crate) fn normal(&self) -> Normal {
        self.normal
    }

    /// The highest lane and what it rests on.
    pub(crate) fn evidence(&self) -> Evidence {
        let best = self.lanes.iter().max_by(|a, b| a.score.total_cmp(&b.score)).copied().unwrap_or_default();
        let Lane { score, calls, failures, .. } = best;
        Evidence { score, threshold: self.threshold, calls, failures, baseline: self.normal.ratio }
    }

    /// The log likelihood ratio of an outage, for merging with what others see.
    pub(crate) fn outage_score(&self) -> f64 {
        self.lanes[..OUTAGE_LANES].iter().map(|lane| lane.score).fold(0.0, f64::max)
    }

    /// The failure ratio of a degradation under way.
    pub(crate) fn level(&self) -> Option<f64> {
        self.level.map(|level| (level.failures / level.calls).clamp(0.0, 1.0))
    }

    /// What is not suspect, to be learned; it is handed out once. Nothing while degraded, unless the baseline is not `known`
    /// yet: what looks like a degradation may be how things are.
    pub(crate) fn take_normal(&mut self, known: bool) -> Option<Batch> {
        if known && self.level.is_some() {
            self.pending = Batch::default();
            return None;
        }
        let suspect =
            self.level.is_none() && self.lanes.iter().any(|lane| lane.score > SUSPECT * self.threshold);
        (!suspect && self.pending.calls > 0.0).then(|| std::mem::take(&mut self.pending))
    }

    /// Forgets the evidence and holds things for normal, as after an outage or when told so.
    pub(crate) fn reset(&mut self) {
        self.lanes.iter_mut().for_each(Lane::clear);
        (self.level, self.onset, self.suspect_since) = (None, false, None);
        self.fresh = (0.0, 0.0);
        (self.run, self.mixed) = (0, 0.0);
        self.pending = Batch::default();
        self.restep();
    }

    /// The run of failures under way, for the learning of bursts: an opening hides its end.
    pub(crate) fn cut_run(&self) -> Batch {
        let run = f64::from(self.run.min(RUN_MAX));
        let again = (run - 1.0).max(0.0);
        Batch { after_failure: run, failed_again: again, ..Batch::default() }
    }

    /// From when calls count for the suspicion that there is.
    pub(crate) fn suspect_since(&self) -> Option<Duration> {
        self.suspect_since
    }

    /// That many calls worked that began before the suspicion.
    pub(crate) fn worked_before(&mut self, count: u64) {
        self.pending.calls += count as f64;
    }

    /// That many calls worked, one after the other. True if a degradation is over by them, as far as it `may_be_over`: while
    /// the callee is spared by leaving out calls, their success says less.
    pub(crate) fn works(&mut self, count: u64, may_be_over: bool) -> bool {
        if count == 0 {
            return false;
        }
        if std::mem::take(&mut self.onset) {
            self.lanes[..OUTAGE_LANES].iter_mut().for_each(Lane::clear);
            self.restep();
        }
        let (count, after_failure) = (count as f64, self.run > 0);
        self.pending.calls += count;
        self.pending.after_failure += f64::from(u8::from(after_failure && self.run <= RUN_MAX));
        self.run = 0;
        self.fresh.0 += count;
        for lane in &mut self.lanes {
            lane.works(after_failure, count);
        }
        self.settle_level();
        self.settle_suspicion();
        let Some(level) = &mut self.level else { return false };
        level.recovery += level.works * count;
        let recovered = may_be_over && level.recovery >= RECOVERED;
        if recovered {
            self.level = None;
            self.lanes.iter_mut().for_each(Lane::clear);
            self.suspect_since = None;
            self.restep();
        }
        recovered
    }

    /// A call that began at `began` failed. The verdict, if it is a new one.
    pub(crate) fn fails(&mut self, began: Duration) -> Option<(Verdict, Evidence)> {
        if self.suspect_since.is_some_and(|since| began < since) {
            self.pending.calls += 1.0;
            self.pending.failures += 1.0;
            return None;
        }
        self.suspect_since.get_or_insert(began);
        let again = self.run > 0;
        self.pending.calls += 1.0;
        self.pending.failures += 1.0;
        if again && self.run <= RUN_MAX {
            self.pending.after_failure += 1.0;
            self.pending.failed_again += 1.0;
        }
        if !again {
            self.mixed = self.lanes[HALF].score;
        }
        self.run = self.run.saturating_add(1);
        self.fresh.0 += 1.0;
        self.fresh.1 += 1.0;
        for lane in &mut self.lanes {
            lane.fails(again);
        }
        if let Some(level) = &mut self.level {
            level.recovery = (level.recovery + level.fails).max(0.0);
        }
        let found = self.found();
        self.settle_level();
        self.settle_suspicion();
        found
    }

    fn found(&mut self) -> Option<(Verdict, Evidence)> {
        let evidence = self.evidence();
        if self.can_be_outage && self.lanes[..OUTAGE_LANES].iter().any(|lane| self.is_outage(lane)) {
            return Some((Verdict::Outage, evidence));
        }
        if self.level.is_some() || evidence.score < self.threshold - MARGIN.ln() {
            return None;
        }
        // As long as nothing worked it may yet turn out to be an outage: one call more decides.
        if self.can_be_outage && self.against_degraded(evidence.calls, evidence.failures) > 0.0 {
            return None;
        }
        let Evidence { calls, failures, .. } = evidence;
        self.level = Some(Level { calls, failures, peak: 0.0, recovery: 0.0, works: 0.0, fails: 0.0 });
        self.fresh = (0.0, 0.0);
        self.lanes[OUTAGE_LANES..].iter_mut().for_each(Lane::clear);
        self.onset = true;
        self.restep();
        Some((Verdict::Degraded, evidence))
    }

    /// Beyond doubt against the baseline, and too many failures even for the worst degradation.
    fn is_outage(&self, lane: &Lane) -> bool {
        // Those who found it an outage have told it from a degradation too: what is left to show is the same share of both.
        let own_share = 1.0 - self.others / self.threshold.max(1.0);
        let beats = (BEATS_DEGRADED * self.threshold).max(BEATS_DEGRADED_LEAST);
        lane.score + self.others >= self.threshold
            && self.against_degraded(lane.calls, lane.failures) >= own_share * beats + self.mixed_before()
    }

    /// One failure before the run may be chance, and where failures cluster so may several; of a degradation that was told the
    /// lanes know already.
    fn mixed_before(&self) -> f64 {
        if self.level.is_some() && !self.onset {
            return 0.0;
        }
        let single = self.lanes[HALF].step.fails;
        let unclustered = (1.0 - 2.0 * self.normal.stay).max(0.0);
        // From 3 % on two failures close to one another are usual, and would put off many an outage.
        let unusual = ((0.03 - self.normal.ratio) / 0.02).clamp(0.0, 1.0);
        MIXED_BEFORE * (self.mixed - single).max(0.0) * unclustered * unusual
    }

    fn against_degraded(&self, calls: f64, failures: f64) -> f64 {
        let (low, high) = self.around();
        failures * (high / low).ln() + (calls - failures) * ((1.0 - high) / (1.0 - low)).ln()
    }

    fn settle_suspicion(&mut self) {
        if self.lanes[..OUTAGE_LANES].iter().all(|lane| lane.score <= 0.0) {
            self.suspect_since = None;
        }
    }

    /// The level of a degradation follows all calls but those that may be an outage beginning.
    fn settle_level(&mut self) {
        if self.lanes[1].score > 0.0 {
            return;
        }
        let (calls, failures) = std::mem::take(&mut self.fresh);
        let Some(level) = &mut self.level else { return };
        level.calls += calls;
        level.failures += failures;
        let seen = level.failures / level.calls.max(1.0);
        level.peak = seen.max(level.peak - (level.peak - seen) * (calls / PEAK_MEMORY).min(1.0));
        if level.calls > LEVEL_MEMORY {
            let keep = LEVEL_MEMORY / level.calls;
            (level.calls, level.failures) = (level.calls * keep, level.failures * keep);
        }
        self.restep();
    }

    /// The worst degradation and the mildest outage.
    fn around(&self) -> (f64, f64) {
        let odds = (self.boundary / (1.0 - self.boundary)).ln();
        (1.0 / (1.0 + (BOUNDARY_LOW - odds).exp()), 1.0 / (1.0 + (-BOUNDARY_HIGH - odds).exp()))
    }

    fn restep(&mut self) {
        let Normal { ratio, start, stay } = self.normal;
        let (low, high) = self.around();
        let mut null = (start, stay);
        if let Some(level) = self.level.as_mut().filter(|_| !self.onset) {
            let seen = (level.failures + 1.0) / (level.calls + 2.0);
            let upper = (seen + (seen * (1.0 - seen) / level.calls.max(1.0)).sqrt()).min(low);
            null = (start.max(upper), stay.max(upper));
            // It is over when calls fail as before rather than a third as often as at their worst, or one in ten.
            let still = (level.peak.max(seen) / 3.0).min(STILL_MAX).max(2.5 * ratio).min(0.9);
            let over = (1.2 * ratio).min(0.8 * still);
            (level.works, level.fails) = (((1.0 - over) / (1.0 - still)).ln(), (over / still).ln());
        }
        for (lane, failing) in self.lanes.iter_mut().zip([SHARP.max(high), high]) {
            lane.step = Step::new(null, (failing, failing));
        }
        let least = (self.factor * ratio).min(0.8);
        let degraded =
            [0.5, 0.2, 8.0 * ratio, self.factor * ratio].map(|failing| failing.max(least).min(0.8));
        for (lane, failing) in self.lanes[OUTAGE_LANES..].iter_mut().zip(degraded) {
            // Failing more often, but in bursts as long as ever.
            let stays = stay.max(failing);
            let starts = (failing * (1.0 - stays) / (1.0 - failing)).max(start);
            lane.step = Step::new((start, stay), (starts, stays));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn normal(ratio: f64) -> Normal {
        Normal { ratio, start: ratio, stay: ratio }
    }

    fn judge(ratio: f64, rate: f64) -> Judge {
        let mut judge = Judge::new(normal(ratio), 0.9, 3.0, true);
        judge.refresh(normal(ratio), rate * 30.0 * 86_400.0, 0.0);
        judge
    }

    /// Requests until a verdict, for each seed, sorted.
    fn until_verdict(baseline: f64, rate: f64, failing: f64) -> Vec<u64> {
        let mut requests: Vec<_> = (0..400)
            .map(|seed| {
                let (mut judge, mut rng) = (judge(baseline, rate), Rng::new(seed));
                (1..).find(|_| {
                    if rng.unit() < failing {
                        judge.fails(Duration::ZERO).is_some()
                    } else {
                        judge.works(1, true)
                    }
                })
            })
            .map(|found| found.unwrap_or(u64::MAX))
            .collect();
        requests.sort_unstable();
        requests
    }

    #[test]
    fn verdicts_come_within_the_stated_number_of_requests_at_every_rate() {
        for (baseline, outage, half, fifth) in [(0.01, 6, 28, 110), (0.05, 9, 51, 270)] {
            for rate in [0.2, 1.0, 10.0, 100.0] {
                for (failing, bound) in [(1.0, outage), (0.5, half), (0.2, fifth)] {
                    let p99 = until_verdict(baseline, rate, failing)[395];
                    assert!(p99 <= bound, "{failing} over {baseline} at {rate}/s: {p99} > {bound}");
                }
            }
        }
    }

    #[test]
    fn a_share_of_failures_short_of_an_outage_rarely_opens_at_first_and_never_later() {
        for (failing, at_first) in [(0.2, 2), (0.5, 12), (0.7, 35)] {
            let mut openings = Vec::new();
            for seed in 0..100 {
                let (mut judge, mut rng) = (judge(0.01, 100.0), Rng::new(seed));
                openings.extend((0..5_000).find(|_| {
                    if rng.unit() < failing {
                        matches!(judge.fails(Duration::ZERO), Some((Verdict::Outage, _)))
                    } else {
                        judge.works(1, true);
                        false
                    }
                }));
            }
            // Its first calls may all fail by chance; after that it is known for what it is.
            assert!(openings.len() <= at_first, "{failing}: {openings:?}");
            assert!(openings.iter().all(|&request| request < 100), "{failing}: {openings:?}");
        }
    }

    #[test]
    fn an_outage_out_of_a_degradation_opens() {
        let (mut judge, mut rng) = (judge(0.01, 100.0), Rng::new(1));
        for _ in 0..2_000 {
            if rng.unit() < 0.3 {
                let _ = judge.fails(Duration::ZERO);
            } else {
                judge.works(1, true);
            }
        }
        assert_eq!(judge.verdict(), Verdict::Degraded);
        let opened = (1..200).find(|_| matches!(judge.fails(Duration::ZERO), Some((Verdict::Outage, _))));
        assert!(opened.is_some_and(|after| after <= 40), "{opened:?}");
    }

    #[test]
    fn a_degradation_ends_when_calls_work_as_before() {
        let (mut judge, mut rng) = (judge(0.01, 10.0), Rng::new(2));
        while judge.verdict() == Verdict::Nominal {
            if rng.unit() < 0.2 {
                let _ = judge.fails(Duration::ZERO);
            } else {
                judge.works(1, true);
            }
        }
        let over = (0..2_000).find(|_| {
            if rng.unit() < 0.01 {
                judge.fails(Duration::ZERO);
                false
            } else {
                judge.works(1, true)
            }
        });
        assert!(over.is_some_and(|after| after < 1_000), "{over:?}");
        assert_eq!(judge.verdict(), Verdict::Nominal);
    }

    #[test]
    fn many_successes_at_once_are_as_many_one_by_one() {
        let (mut one, mut all) = (judge(0.01, 10.0), judge(0.01, 10.0));
        for burst in [3, 1, 40, 7] {
            for judge in [&mut one, &mut all] {
                let _ = judge.fails(Duration::ZERO);
                let _ = judge.fails(Duration::ZERO);
            }
            for _ in 0..burst {
                one.works(1, true);
            }
            all.works(burst, true);
        }
        for (a, b) in one.lanes.iter().zip(&all.lanes) {
            assert!((a.score - b.score).abs() < 1e-9 && a.calls == b.calls);
        }
        assert_eq!(one.pending, all.pending);
    }

    #[test]
    fn nothing_is_learned_from_a_degradation_nor_from_its_beginning() {
        let mut judge = judge(0.01, 10.0);
        judge.works(500, true);
        let learned = judge.take_normal(true);
        assert_eq!(learned.map(|batch| batch.calls), Some(500.0));
        let mut rng = Rng::new(3);
        let mut failures = 0.0;
        for _ in 0..3_000 {
            if rng.unit() < 0.2 {
                let _ = judge.fails(Duration::ZERO);
            } else {
                judge.works(1, true);
            }
            failures += judge.take_normal(true).map_or(0.0, |batch| batch.failures);
        }
        assert!(failures <= 3.0, "{failures}");
    }
}
