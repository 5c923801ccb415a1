//! The rules by which a level is given and taken. All count only what was found since the level last changed.
//!
//! | Step | Needs |
//! |---|---|
//! | any level down | one harm; or, with 95 % confidence, fewer than half of what it did or advised was right |
//! | `observe` to `recommend` | a backtest in its favour, at most 30 days old; or as for the next step |
//! | `recommend` to `approve` | 20 pieces of advice held against what happened, of which with 95 % confidence 70 % were right |
//! | `approve` to `act` | 10 verified outcomes, of which with 95 % confidence 70 % kept their promise |
//!
//! Before each promotion a day passes, doubled for every harm of the last 30 days: a day holds a service's usual load once.

use jiff::{SignedDuration, Timestamp};
use proto::model::{
    AutonomyLevel, EvidenceSource, EvidenceVerdict, Standing, StandingCause, StandingEvidence,
};

/// One-sided 95 % quantile of the normal distribution, for Wilson's interval (E. B. Wilson, 1927).
const Z: f64 = 1.644_853_6;
/// With fewer, an advisor that is right by tossing a coin passes too easily: once in 2^20 and 2^10.
const SHADOWS_MIN: u32 = 20;
const OUTCOMES_MIN: u32 = 10;
/// Of those who follow it, at least so many are helped; what errs more often is overruled by people anyway.
const RIGHT_MIN: f64 = 0.7;
/// Below this it is more often wrong than right.
const WRONG: f64 = 0.5;
/// A backtest on load that is older than a month says little of now.
const BACKTEST_MAX: SignedDuration = SignedDuration::from_hours(30 * 24);
const DWELL: SignedDuration = SignedDuration::from_hours(24);
const HARM_REMEMBERED: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A month: longer than any doubling needs to be.
const DOUBLINGS_MAX: u32 = 5;

/// A change of level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The level from now on, before any cap.
    pub earned: AutonomyLevel,
    /// Up or down.
    pub cause: StandingCause,
    /// One sentence.
    pub reason: String,
}

/// One thing that the next level needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// What, with what there is of it.
    pub text: String,
    /// Whether it is there.
    pub met: bool,
}

/// How often something was right, of how many that could be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// In favour.
    pub right: u32,
    /// For, against, and harmful.
    pub judged: u32,
    /// Of which nobody can tell.
    pub unknown: u32,
}

impl Tally {
    /// Of this source, since then.
    pub fn of(evidence: &[StandingEvidence], source: EvidenceSource, since: Option<Timestamp>) -> Self {
        let mut tally = Self::default();
        for found in evidence.iter().filter(|found| found.source == source && is_since(found, since)) {
            match found.verdict {
                EvidenceVerdict::Unknown => tally.unknown += 1,
                verdict => {
                    tally.judged += 1;
                    tally.right += u32::from(verdict == EvidenceVerdict::For);
                }
            }
        }
        tally
    }

    /// The share that is right, at least and at most, each with 95 % confidence.
    pub fn share(&self) -> (f64, f64) {
        let n = f64::from(self.judged);
        if self.judged == 0 {
            return (0.0, 1.0);
        }
        let (share, z2) = (f64::from(self.right) / n, Z * Z);
        let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = Z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt() / (1.0 + z2 / n);
        ((middle - half).max(0.0), (middle + half).min(1.0))
    }

    fn text(&self) -> String {
        let (least, _) = self.share();
        format!(
            "{} of {} right, at least {:.0} % with 95 % confidence",
            self.right,
            self.judged,
            100.0 * least
        )
    }
}

fn is_since(found: &StandingEvidence, since: Option<Timestamp>) -> bool {
    since.is_none_or(|since| found.at > since)
}

fn below(level: AutonomyLevel) -> Option<AutonomyLevel> {
    match level {
        AutonomyLevel::Act => Some(AutonomyLevel::Approve),
        AutonomyLevel::Approve => Some(AutonomyLevel::Recommend),
        AutonomyLevel::Recommend => Some(AutonomyLevel::Observe),
        AutonomyLevel::Observe => None,
    }
}

fn above(level: AutonomyLevel) -> Option<AutonomyLevel> {
    AutonomyLevel::ALL.iter().copied().find(|other| *other > level)
}

/// The change that the evidence calls for, if any.
pub fn reconsider(
    declared: AutonomyLevel,
    standing: Option<&Standing>,
    evidence: &[StandingEvidence],
    now: Timestamp,
) -> Option<Change> {
    let level = standing.map_or(declared, |standing| standing.level(declared));
    if let Some((earned, reason)) =
        below(level).and_then(|down| Some((down, fault(level, standing, evidence)?)))
    {
        return Some(Change { earned, cause: StandingCause::Demoted, reason });
    }
    let (earned, needs) = next(declared, standing, evidence, now)?;
    needs.iter().all(|need| need.met).then(|| {
        let texts: Vec<_> = needs.into_iter().map(|need| need.text).collect();
        Change { earned, cause: StandingCause::Promoted, reason: texts.join("; ") }
    })
}

/// Why the level is to fall.
fn fault(level: AutonomyLevel, standing: Option<&Standing>, evidence: &[StandingEvidence]) -> Option<String> {
    let since = standing.map(|standing| standing.at);
    let harm =
        evidence.iter().rev().find(|found| found.verdict == EvidenceVerdict::Harm && is_since(found, since));
    if let Some(harm) = harm {
        return Some(format!("it did harm ({} {}): {}", harm.source, harm.subject, harm.text));
    }
    let source = match level {
        AutonomyLevel::Act | AutonomyLevel::Approve => EvidenceSource::Outcome,
        AutonomyLevel::Recommend | AutonomyLevel::Observe => EvidenceSource::Shadow,
    };
    let tally = Tally::of(evidence, source, since);
    let (_, most) = tally.share();
    (most < WRONG).then(|| {
        format!(
            "too little was right: {} of {}, at most {:.0} % with 95 % confidence",
            tally.right,
            tally.judged,
            100.0 * most
        )
    })
}

/// The next level that may be earned, and what it needs; `None` when nothing more is declared or allowed.
pub fn next(
    declared: AutonomyLevel,
    standing: Option<&Standing>,
    evidence: &[StandingEvidence],
    now: Timestamp,
) -> Option<(AutonomyLevel, Vec<Need>)> {
    // Without a standing everything that is declared is earned.
    let standing = standing?;
    let most = declared.min(standing.cap.unwrap_or(declared));
    let to = above(standing.earned).filter(|to| *to <= most)?;
    let since = Some(standing.at);
    let shadow = proven("advice", Tally::of(evidence, EvidenceSource::Shadow, since), SHADOWS_MIN);
    let needs = match to {
        AutonomyLevel::Observe | AutonomyLevel::Recommend => match backtest(evidence, since, now) {
            Some(need) if need.met || !shadow.met => need,
            _ => shadow,
        },
        AutonomyLevel::Approve => shadow,
        AutonomyLevel::Act => {
            proven("outcomes", Tally::of(evidence, EvidenceSource::Outcome, since), OUTCOMES_MIN)
        }
    };
    Some((to, vec![dwell(standing, evidence, now), needs]))
}

fn proven(what: &str, tally: Tally, least: u32) -> Need {
    let met = tally.judged >= least && tally.share().0 >= RIGHT_MIN;
    let text = format!("{what}: {}; {least} and {:.0} % are needed", tally.text(), 100.0 * RIGHT_MIN);
    Need { text, met }
}

/// The newest backtest; `None` when there is none.
fn backtest(evidence: &[StandingEvidence], since: Option<Timestamp>, now: Timestamp) -> Option<Need> {
    let backtests = evidence.iter().filter(|found| found.source == EvidenceSource::Backtest);
    let newest = backtests.filter(|found| is_since(found, since)).max_by_key(|found| found.at)?;
    let met = newest.verdict == EvidenceVerdict::For && now.duration_since(newest.at) <= BACKTEST_MAX;
    Some(Need { text: format!("backtest {}: {}", newest.subject, newest.text), met })
}

fn dwell(standing: &Standing, evidence: &[StandingEvidence], now: Timestamp) -> Need {
    let recent = |found: &&StandingEvidence| {
        found.verdict == EvidenceVerdict::Harm && now.duration_since(found.at) <= HARM_REMEMBERED
    };
    let harms = evidence.iter().filter(recent).count().min(DOUBLINGS_MAX as usize) as u32;
    let dwell = DWELL * 2_i32.pow(harms);
    let waited = now.duration_since(standing.at);
    let text = format!(
        "{} of {} h since {} ({harms} harms in 30 days)",
        waited.as_hours().max(0),
        dwell.as_hours(),
        standing.cause
    );
    Need { text, met: waited >= dwell }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, service};
    use AutonomyLevel::{Act, Approve, Observe, Recommend};
    use EvidenceSource::{Backtest, Outcome, Shadow};
    use EvidenceVerdict::{Against, For, Harm, Unknown};

    const DAY: i64 = 86_400;

    fn found(
        count: usize,
        source: EvidenceSource,
        verdict: EvidenceVerdict,
        second: i64,
    ) -> Vec<StandingEvidence> {
        let one = |n: usize| StandingEvidence {
            policy: "p".to_owned(),
            resource: service("catalog"),
            source,
            subject: format!("{source} {verdict} {second} {n}"),
            verdict,
            text: String::new(),
            at: at(second),
        };
        (0..count).map(one).collect()
    }

    fn standing(earned: AutonomyLevel, cap: Option<AutonomyLevel>) -> Standing {
        Standing {
            policy: "p".to_owned(),
            resource: service("catalog"),
            generation: 1,
            earned,
            cap,
            cause: StandingCause::Set,
            reason: String::new(),
            actor: String::new(),
            at: at(0),
        }
    }

    fn after(
        standing: &Standing,
        evidence: &[Vec<StandingEvidence>],
        second: i64,
    ) -> Option<(AutonomyLevel, StandingCause)> {
        let change = reconsider(Act, Some(standing), &evidence.concat(), at(second));
        change.map(|change| (change.earned, change.cause))
    }

    #[test]
    fn each_level_is_earned_by_its_own_evidence_after_a_day() {
        let up = StandingCause::Promoted;
        for (from, evidence, to) in [
            (Observe, found(1, Backtest, For, 10), Recommend),
            (Observe, found(20, Shadow, For, 10), Recommend),
            (Recommend, found(20, Shadow, For, 10), Approve),
            (Approve, found(10, Outcome, For, 10), Act),
        ] {
            let standing = standing(from, None);
            assert_eq!(after(&standing, std::slice::from_ref(&evidence), DAY), Some((to, up)), "{from}");
            assert_eq!(after(&standing, std::slice::from_ref(&evidence), DAY - 1), None, "{from}: too soon");
            assert_eq!(after(&standing, &[evidence[1..].to_vec()], DAY), None, "{from}: too little");
        }
    }

    #[test]
    fn evidence_of_another_kind_or_time_does_not_count() {
        assert_eq!(after(&standing(Recommend, None), &[found(1, Backtest, For, 10)], DAY), None);
        assert_eq!(after(&standing(Approve, None), &[found(50, Shadow, For, 10)], DAY), None);
        assert_eq!(after(&standing(Approve, None), &[found(50, Outcome, For, 0)], DAY), None, "before");
        assert_eq!(after(&standing(Approve, None), &[found(50, Outcome, Unknown, 10)], DAY), None);
        let old = found(1, Backtest, For, 10);
        assert_eq!(after(&standing(Observe, None), &[old], 32 * DAY), None, "an old backtest");
        let newer_against = [found(1, Backtest, For, 10), found(1, Backtest, Against, 20)];
        assert_eq!(after(&standing(Observe, None), &newer_against, DAY), None);
    }

    #[test]
    fn a_person_caps_and_the_declaration_bounds_it() {
        let good = [found(50, Outcome, For, 10), found(50, Shadow, For, 10)];
        assert_eq!(after(&standing(Approve, Some(Approve)), &good, DAY), None);
        let bounded = reconsider(Recommend, Some(&standing(Recommend, None)), &good.concat(), at(DAY));
        assert_eq!(bounded, None);
        assert_eq!(reconsider(Act, None, &good.concat(), at(DAY)), None, "all of it is earned already");
    }

    #[test]
    fn harm_demotes_at_once_whatever_else_was_right() {
        let mixed = [found(50, Outcome, For, 10), found(1, Outcome, Harm, 20)];
        let down = StandingCause::Demoted;
        assert_eq!(after(&standing(Act, None), &mixed, 20), Some((Approve, down)));
        // What holds is lowered, not what was once earned.
        assert_eq!(after(&standing(Act, Some(Recommend)), &mixed, 20), Some((Observe, down)));
        assert_eq!(after(&standing(Observe, None), &mixed, 20), None, "there is nothing to take");
    }

    #[test]
    fn what_is_mostly_wrong_demotes_and_a_single_failure_does_not() {
        let down = StandingCause::Demoted;
        assert_eq!(after(&standing(Act, None), &[found(2, Outcome, Against, 10)], 20), None);
        assert_eq!(after(&standing(Act, None), &[found(3, Outcome, Against, 10)], 20), Some((Approve, down)));
        assert_eq!(
            after(&standing(Recommend, None), &[found(9, Shadow, Against, 10)], 20),
            Some((Observe, down))
        );
        let half = [found(10, Outcome, Against, 10), found(10, Outcome, For, 10)];
        assert_eq!(after(&standing(Act, None), &half, 20), None);
    }

    #[test]
    fn each_harm_of_the_last_month_doubles_the_wait() {
        let evidence =
            [found(1, Outcome, Harm, -10), found(1, Outcome, Harm, -20), found(12, Outcome, For, 10)];
        assert_eq!(after(&standing(Approve, None), &evidence, 4 * DAY - 1), None);
        assert!(after(&standing(Approve, None), &evidence, 4 * DAY).is_some());
    }

    #[test]
    fn wilsons_interval_holds_known_values() {
        let share = |right, judged| Tally { right, judged, unknown: 0 }.share();
        assert!((share(10, 10).0 - 0.787).abs() < 0.001, "{:?}", share(10, 10));
        assert!((share(0, 3).1 - 0.474).abs() < 0.001, "{:?}", share(0, 3));
        assert_eq!(share(0, 0), (0.0, 1.0));
        let (least, most) = share(5, 10);
        assert!((least + most - 1.0).abs() < 1e-12, "symmetric around a half");
    }
}
