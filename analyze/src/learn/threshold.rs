//! Versions of one signal's threshold: which one is in force, which one runs in its shadow, which one waits for a person.

use jiff::Timestamp;
use proto::model::{self, ThresholdState};

use super::{Limits, Settings};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// A limit must move by this share of the scale to be worth a new version.
const MOVE_SHARE: f64 = 0.1;
/// Samples of a shadow run: as many as the default warm-up.
const SHADOW_SAMPLES: u32 = 60;
/// Alarms of its own that a candidate may raise in its shadow run: the budget allows next to none in 60 samples, one is chance.
const SHADOW_ALARMS_MAX: u32 = 1;

/// How limits are learned: an observed quantile, extended by an exponential tail,
const METHOD: &str = "quantile+exponential-tail";
/// or by a heavier one where the data insist.
const METHOD_HEAVY: &str = "quantile+pareto-tail";
/// A person set them.
const METHOD_PINNED: &str = "pinned";

/// The version by which samples are judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// Counts the versions of the signal.
    pub generation: u64,
    /// Limit on the residual.
    pub lower: f64,
    /// Limit on the residual.
    pub upper: f64,
    /// Whether a tail was heavier than an exponential one.
    pub heavy: bool,
    /// Whether a person holds it.
    pub pinned: bool,
    /// A person's limit on the value itself.
    pub pinned_lower: Option<f64>,
    /// A person's limit on the value itself.
    pub pinned_upper: Option<f64>,
}

impl Threshold {
    /// Whether it needs no expected value.
    #[must_use]
    pub fn is_absolute(&self) -> bool {
        self.pinned_lower.is_some() && self.pinned_upper.is_some()
    }

    /// How it was made.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self { pinned: true, .. } => METHOD_PINNED,
            Self { heavy: true, .. } => METHOD_HEAVY,
            _ => METHOD,
        }
    }

    /// The same limits, held by nobody: any version that comes replaces them.
    fn released(&self) -> Self {
        let (pinned, pinned_lower, pinned_upper) = (false, None, None);
        Self { generation: 0, pinned, pinned_lower, pinned_upper, ..*self }
    }

    /// The band around an expected value. What a person gave stands as given; what was learned leaves room for `effect`.
    #[must_use]
    pub fn band(&self, expected: f64, effect: f64) -> (f64, f64) {
        let lower = self.pinned_lower.unwrap_or(expected + self.lower.min(-effect));
        let upper = self.pinned_upper.unwrap_or(expected + self.upper.max(effect));
        (lower, upper)
    }
}

impl From<&model::Threshold> for Threshold {
    fn from(version: &model::Threshold) -> Self {
        Self {
            generation: version.generation,
            lower: version.residual_lower,
            upper: version.residual_upper,
            heavy: version.method == METHOD_HEAVY,
            pinned: version.state == ThresholdState::Pinned,
            pinned_lower: version.pinned_lower,
            pinned_upper: version.pinned_upper,
        }
    }
}

/// A version that is not in force, and why it is remembered.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Aside {
    generation: u64,
    lower: f64,
    upper: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    lower: f64,
    upper: f64,
    heavy: bool,
    left: u32,
    alarms: u32,
}

/// What became of a candidate or of the first limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A new version is in force; it should be recorded.
    Promoted,
    /// The candidate raised alarms that the version in force did not.
    Discarded,
}

/// All versions of one signal that matter now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Versions {
    in_force: Option<Threshold>,
    previous: Option<Threshold>,
    candidate: Option<Candidate>,
    waiting: Option<Aside>,
    rejected: Option<Aside>,
    generation: u64,
    next_at: Option<Timestamp>,
}

impl Versions {
    /// The version by which samples are judged.
    #[must_use]
    pub fn in_force(&self) -> Option<&Threshold> {
        self.in_force.as_ref()
    }

    /// Where the threshold stands.
    #[must_use]
    pub fn state(&self) -> ThresholdState {
        match (&self.in_force, &self.waiting) {
            (Some(Threshold { pinned: true, .. }), _) => ThresholdState::Pinned,
            (Some(_), _) => ThresholdState::Active,
            (None, Some(_)) => ThresholdState::Proposed,
            (None, None) => ThresholdState::Learning,
        }
    }

    /// Whether limits should be learned now: at most once per interval, and never against a person's will.
    #[must_use]
    pub fn is_due(&self, at: Timestamp) -> bool {
        let pinned = self.in_force.is_some_and(|version| version.pinned);
        !pinned && self.candidate.is_none() && self.next_at.is_none_or(|next| at >= next)
    }

    /// Takes newly learned limits. The first are in force at once; others only after a shadow run, and only if they say something new.
    pub fn consider(&mut self, at: Timestamp, limits: &Limits, settings: &Settings) -> Option<Step> {
        self.next_at = Some(at.saturating_add(settings.threshold_interval).unwrap_or(Timestamp::MAX));
        let Limits { lower, upper, scale, heavy } = *limits;
        let known =
            [self.waiting, self.rejected].into_iter().flatten().map(|aside| (aside.lower, aside.upper));
        let in_force = self.in_force.map(|version| (version.lower, version.upper));
        let near = |a: f64, b: f64| (a - b).abs() <= MOVE_SHARE * scale;
        if known.chain(in_force).any(|(l, u)| near(l, lower) && near(u, upper)) {
            return None;
        }
        if self.in_force.is_none() {
            self.promote(lower, upper, heavy);
            return Some(Step::Promoted);
        }
        self.candidate = Some(Candidate { lower, upper, heavy, left: SHADOW_SAMPLES, alarms: 0 });
        None
    }

    /// Shows the candidate one judged sample. `deviating` is what the version in force said of it.
    pub fn shadow(&mut self, residual: f64, effect: f64, deviating: bool) -> Option<Step> {
        let candidate = self.candidate.as_mut()?;
        let outside = residual < candidate.lower.min(-effect) || residual > candidate.upper.max(effect);
        candidate.alarms += u32::from(outside && !deviating);
        candidate.left -= 1;
        let Candidate { lower, upper, heavy, left, alarms } = *candidate;
        if alarms > SHADOW_ALARMS_MAX {
            self.candidate = None;
            return Some(Step::Discarded);
        }
        if left > 0 {
            return None;
        }
        self.promote(lower, upper, heavy);
        Some(Step::Promoted)
    }

    /// Forgets the candidate and lets limits be learned again at `at`.
    pub fn reconsider(&mut self, at: Timestamp) {
        self.candidate = None;
        self.next_at = Some(at);
    }

    /// What Knowledge says of a version: by our own recording of it, or because a person reviewed it. True if anything changed.
    pub fn review(&mut self, version: &model::Threshold) -> bool {
        let before = self.clone();
        self.generation = self.generation.max(version.generation);
        let aside = Aside {
            generation: version.generation,
            lower: version.residual_lower,
            upper: version.residual_upper,
        };
        let is_in_force = self.in_force.is_some_and(|current| current.generation == version.generation);
        match version.state {
            ThresholdState::Active | ThresholdState::Pinned => self.put_in_force(version),
            ThresholdState::Proposed => {
                self.waiting = Some(aside);
                self.step_back_if(is_in_force);
            }
            ThresholdState::Rejected => {
                self.rejected = Some(aside);
                self.waiting = self.waiting.filter(|waiting| waiting.generation != version.generation);
                self.step_back_if(is_in_force);
            }
            // A pin that was taken off. Its limits stay until the version that follows it comes, as a change of its own.
            ThresholdState::Superseded => {
                if is_in_force {
                    self.release();
                }
            }
            ThresholdState::Learning => {}
        }
        *self != before
    }

    /// Knowledge's answer to our recording of a version: it numbers versions, and it may hold this one back.
    pub fn recorded(&mut self, sent: &model::Threshold, stored: &model::Threshold) -> bool {
        let is_sent = |current: &&mut Threshold| current.generation == sent.generation && !current.pinned;
        let Some(current) = self.in_force.as_mut().filter(is_sent) else { return self.review(stored) };
        current.generation = stored.generation;
        // Recorded while another is pinned: it was never in force.
        self.step_back_if(stored.state == ThresholdState::Superseded);
        self.review(stored);
        true
    }

    /// Takes off a pin that Knowledge no longer knows of; true if there was one.
    pub fn release(&mut self) -> bool {
        match &mut self.in_force {
            Some(current) if current.pinned => {
                *current = current.released();
                true
            }
            _ => false,
        }
    }

    fn put_in_force(&mut self, version: &model::Threshold) {
        let reviewed = !version.reviewed_by.is_empty() || version.state == ThresholdState::Pinned;
        let newer =
            self.in_force.is_none_or(|current| current.pinned || version.generation >= current.generation);
        if !reviewed && !newer {
            // An echo of an older version of ours.
            return;
        }
        let version = Threshold::from(version);
        if self.in_force != Some(version) {
            self.previous =
                self.in_force.filter(|current| !current.pinned && current.generation != version.generation);
            self.in_force = Some(version);
            self.candidate = None;
        }
        self.waiting = self.waiting.filter(|waiting| waiting.generation > version.generation);
    }

    fn promote(&mut self, lower: f64, upper: f64, heavy: bool) {
        self.generation += 1;
        self.candidate = None;
        self.previous = self.in_force;
        let (pinned, pinned_lower, pinned_upper) = (false, None, None);
        let generation = self.generation;
        self.in_force =
            Some(Threshold { generation, lower, upper, heavy, pinned, pinned_lower, pinned_upper });
    }

    fn step_back_if(&mut self, is_in_force: bool) {
        if is_in_force {
            self.in_force = self.previous.take();
            self.candidate = None;
        }
    }
}

impl Stored for Threshold {
    fn save(&self, writer: &mut Writer) {
        let Self { generation, lower, upper, heavy, pinned, pinned_lower, pinned_upper } = self;
        writer
            .put(generation)
            .put(lower)
            .put(upper)
            .put(heavy)
            .put(pinned)
            .put(pinned_lower)
            .put(pinned_upper);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            generation: reader.get()?,
            lower: reader.get()?,
            upper: reader.get()?,
            heavy: reader.get()?,
            pinned: reader.get()?,
            pinned_lower: reader.get()?,
            pinned_upper: reader.get()?,
        })
    }
}

impl Stored for Aside {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.generation).put(&self.lower).put(&self.upper);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { generation: reader.get()?, lower: reader.get()?, upper: reader.get()? })
    }
}

impl Stored for Candidate {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.lower).put(&self.upper).put(&self.heavy).put(&self.left).put(&self.alarms);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (lower, upper, heavy) = (reader.get()?, reader.get()?, reader.get()?);
        let (left, alarms) = (reader.get()?, reader.get()?);
        if left == 0 { Err(reader.damaged()) } else { Ok(Self { lower, upper, heavy, left, alarms }) }
    }
}

impl Stored for Versions {
    fn save(&self, writer: &mut Writer) {
        let Self { in_force, previous, candidate, waiting, rejected, generation, next_at } = self;
        writer
            .put(in_force)
            .put(previous)
            .put(candidate)
            .put(waiting)
            .put(rejected)
            .put(generation)
            .put(next_at);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            in_force: reader.get()?,
            previous: reader.get()?,
            candidate: reader.get()?,
            waiting: reader.get()?,
            rejected: reader.get()?,
            generation: reader.get()?,
            next_at: reader.get()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(upper: f64) -> Limits {
        Limits { lower: -upper, upper, scale: 1.0, heavy: false }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn warm() -> Versions {
        let mut versions = Versions::default();
        assert_eq!(versions.consider(at(0), &limits(5.0), &Settings::default()), Some(Step::Promoted));
        versions
    }

    fn stored(generation: u64, state: ThresholdState) -> model::Threshold {
        model::Threshold {
            signal: "service:a/b#load".parse().unwrap(),
            generation,
            state,
            method: String::new(),
            residual_lower: -9.0,
            residual_upper: 9.0,
            level: 0.0,
            scale: 1.0,
            samples: 1,
            coverage_ratio: 1.0,
            false_alarm_probability: 0.0,
            evidence_from: None,
            evidence_to: None,
            created_at: at(0),
            pinned_lower: None,
            pinned_upper: None,
            reviewed_by: String::new(),
            reason: String::new(),
        }
    }

    #[test]
    fn a_small_move_is_no_new_version_and_a_large_one_runs_in_the_shadow_first() {
        let mut versions = warm();
        assert!(!versions.is_due(at(3_599)) && versions.is_due(at(3_600)));
        versions.consider(at(3_600), &limits(5.05), &Settings::default());
        assert!(versions.candidate.is_none());
        versions.consider(at(7_200), &limits(4.0), &Settings::default());
        assert_eq!(versions.in_force().unwrap().upper, 5.0);
        let steps: Vec<_> = (0..60).filter_map(|_| versions.shadow(1.0, 0.0, false)).collect();
        assert_eq!(steps, [Step::Promoted]);
        assert_eq!((versions.in_force().unwrap().upper, versions.in_force().unwrap().generation), (4.0, 2));
    }

    #[test]
    fn candidate_that_alarms_too_often_is_discarded() {
        let mut versions = warm();
        versions.consider(at(3_600), &limits(2.0), &Settings::default());
        assert_eq!(versions.shadow(3.0, 0.0, false), None);
        assert_eq!(
            versions.shadow(9.0, 0.0, true),
            None,
            "an alarm that the version in force raises too is none of its own"
        );
        assert_eq!(versions.shadow(-3.0, 0.0, false), Some(Step::Discarded));
        assert_eq!(versions.in_force().unwrap().upper, 5.0);
    }

    #[test]
    fn pin_holds_until_it_is_taken_off() {
        let mut versions = warm();
        let pin = model::Threshold { pinned_upper: Some(70.0), ..stored(2, ThresholdState::Pinned) };
        assert!(versions.review(&pin));
        assert_eq!(versions.in_force().unwrap().band(10.0, 0.5), (1.0, 70.0));
        assert_eq!(versions.state(), ThresholdState::Pinned);
        assert!(!versions.is_due(at(1_000_000)));
        assert!(
            versions.review(&stored(1, ThresholdState::Active)),
            "unpinning brings an older version back"
        );
        assert_eq!((versions.state(), versions.in_force().unwrap().generation), (ThresholdState::Active, 1));
    }

    #[test]
    fn rejected_version_gives_way_to_the_one_before_and_is_not_proposed_again() {
        let mut versions = warm();
        versions.consider(at(3_600), &limits(9.0), &Settings::default());
        (0..60).for_each(|_| _ = versions.shadow(0.0, 0.0, false));
        assert_eq!(versions.in_force().unwrap().generation, 2);
        assert!(versions.review(&stored(2, ThresholdState::Rejected)));
        assert_eq!(versions.in_force().unwrap().generation, 1);
        versions.consider(at(7_200), &limits(9.05), &Settings::default());
        assert!(versions.candidate.is_none());
    }

    #[test]
    fn version_that_waits_for_a_person_is_not_in_force_until_approved() {
        let mut versions = warm();
        assert!(versions.review(&stored(1, ThresholdState::Proposed)));
        assert_eq!((versions.in_force(), versions.state()), (None, ThresholdState::Proposed));
        let approved =
            model::Threshold { reviewed_by: "ada".to_owned(), ..stored(1, ThresholdState::Active) };
        assert!(versions.review(&approved));
        assert_eq!(versions.state(), ThresholdState::Active);
        assert!(!versions.review(&approved), "hearing it twice changes nothing");
    }

    #[test]
    fn numbers_are_those_that_knowledge_gives() {
        let mut versions = warm();
        let sent = stored(1, ThresholdState::Active);
        versions.recorded(&sent, &stored(4, ThresholdState::Active));
        assert_eq!(versions.in_force().unwrap().generation, 4);
        versions.consider(at(3_600), &limits(5.0), &Settings::default());
        (0..60).for_each(|_| _ = versions.shadow(0.0, 0.0, false));
        assert_eq!(versions.in_force().unwrap().generation, 5);
        versions.recorded(&stored(5, ThresholdState::Active), &stored(7, ThresholdState::Proposed));
        assert_eq!(
            versions.in_force().unwrap().generation,
            4,
            "what waits for a person under another number waits here too"
        );
    }

    #[test]
    fn echo_of_an_older_version_changes_nothing_in_force() {
        let mut versions = warm();
        versions.consider(at(3_600), &limits(9.0), &Settings::default());
        (0..60).for_each(|_| _ = versions.shadow(0.0, 0.0, false));
        versions.review(&stored(1, ThresholdState::Active));
        assert_eq!(versions.in_force().unwrap().generation, 2);
    }
}
