//! Many instances, one callee: what they see is pooled with a cap per witness, and few of them probe for all. Pure; the control
//! plane runs it, and every breaker works on without it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::OTHERS_MAX;
use crate::machine::PhaseKind;

/// What one instance tells about its callee.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Witness {
    /// Log likelihood ratio of an outage against its own baseline.
    pub score: f64,
    /// What it needs to open by itself.
    pub threshold: f64,
    /// Where it stands.
    pub phase: PhaseKind,
    /// Whether probes of the present phase have been answered.
    pub answered: bool,
}

/// What the fleet tells one instance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Advice {
    /// What others have seen, until when it counts. It never opens a breaker whose own calls work.
    OthersSee {
        /// Log likelihood ratio of an outage, capped per witness.
        score: f64,
        /// On the instance's clock.
        until: Duration,
    },
    /// Others probe: do not before `until`, as long as the policy's longest wait allows.
    HoldProbes {
        /// On the instance's clock.
        until: Duration,
    },
    /// Probe now.
    Probe,
}

/// How much one witness may say, as a share of the threshold: at least three must agree before anybody is moved.
const WITNESS_CAP: f64 = 0.25;

/// Evidence that others have, for each instance: the sum of their scores, each capped, without its own. One sick client can
/// therefore never open the breakers of others.
pub fn pool(witnesses: &BTreeMap<u64, Witness>) -> BTreeMap<u64, f64> {
    let capped = |witness: &Witness| {
        let score = if witness.score.is_finite() { witness.score.max(0.0) } else { 0.0 };
        score.min(WITNESS_CAP * witness.threshold.clamp(0.0, 100.0))
    };
    // Those who see nothing wrong speak too: the mean is what counts, scaled to the whole of what others may say.
    let total: f64 = witnesses.values().map(capped).sum();
    let others = (witnesses.len() as f64 - 1.0).max(1.0);
    witnesses
        .iter()
        .map(|(&id, witness)| {
            let cap = WITNESS_CAP * witness.threshold.clamp(0.0, 100.0);
            let agreeing = (total - capped(witness)) / (cap * others).max(1e-9);
            let enough = (total - capped(witness)) >= 2.0 * cap;
            (id, if enough { agreeing.min(1.0) * OTHERS_MAX * witness.threshold } else { 0.0 })
        })
        .collect()
}

/// Who probes for the fleet, and how fast the others come back once the callee answers.
#[derive(Debug, Clone)]
pub struct Probing {
    /// How many may probe at once.
    probers: usize,
    /// How long the others are put off at a time; also how often probers change.
    hold: Duration,
    turn: u64,
    turned_at: Option<Duration>,
    healed_at: Option<Duration>,
    /// How many were down at the last look.
    down: usize,
    released: usize,
}

/// Instances told to probe once the callee has answered, four times as many at each step: 1,000 in five steps from eight.
const RELEASE_FIRST: usize = 8;
/// Time between two steps: one answer and a look at it.
const RELEASE_STEP: Duration = Duration::from_millis(500);

impl Probing {
    /// At most `probers` instances (at least 1) probe at once, changing every `hold`.
    pub fn new(probers: usize, hold: Duration) -> Self {
        Self {
            probers: probers.max(1),
            hold: hold.max(Duration::from_millis(100)),
            turn: 0,
            turned_at: None,
            healed_at: None,
            down: 0,
            released: 0,
        }
    }

    /// Looks at all instances and advises those that are open. `now` is the fleet's clock; the instances' clocks are said to
    /// agree with it.
    pub fn advise(&mut self, witnesses: &BTreeMap<u64, Witness>, now: Duration) -> BTreeMap<u64, Advice> {
        let open: Vec<u64> =
            witnesses.iter().filter(|(_, w)| w.phase == PhaseKind::Open).map(|(&id, _)| id).collect();
        let down = witnesses.values().filter(|w| w.phase != PhaseKind::Closed).count();
        let half_open = down - open.len();
        if down == 0 {
            (self.healed_at, self.released, self.turned_at) = (None, 0, None);
            return BTreeMap::new();
        }
        // Somebody's probes were answered: those who are still held back come now, ever more of them.
        let answered = witnesses.values().any(|w| w.phase == PhaseKind::HalfOpen && w.answered);
        // That stands until more go down again.
        let healed = answered || self.healed_at.is_some() && down <= self.down;
        self.down = down;
        if !healed {
            (self.healed_at, self.released) = (None, 0);
        }
        let invited = if healed { self.release(now) } else { self.take_turns(now) };
        let hold = Advice::HoldProbes { until: now + self.hold * 2 };
        let room = if healed { invited } else { invited.saturating_sub(half_open) };
        let from = (self.turn as usize * self.probers) % open.len().max(1);
        let order = open.iter().cycle().skip(from).take(open.len());
        // Once it answers nobody is held back anew: who was invited and has had no call yet must stay invited.
        let advice = |(rank, &id): (usize, &u64)| match (rank < room, healed) {
            (true, _) => Some((id, Advice::Probe)),
            (false, false) => Some((id, hold)),
            (false, true) => None,
        };
        order.enumerate().filter_map(advice).collect()
    }

    fn take_turns(&mut self, now: Duration) -> usize {
        if self.turned_at.is_none_or(|at| now >= at + self.hold) {
            self.turn += u64::from(self.turned_at.is_some());
            self.turned_at = Some(now);
            return self.probers;
        }
        0
    }

    fn release(&mut self, now: Duration) -> usize {
        if self.healed_at.is_none_or(|at| now >= at + RELEASE_STEP) {
            self.healed_at = Some(now);
            self.released = self.released.saturating_mul(4).max(RELEASE_FIRST);
        }
        self.released
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(score: f64) -> Witness {
        Witness { score, threshold: 20.0, phase: PhaseKind::Closed, answered: false }
    }

    #[test]
    fn one_sick_client_moves_nobody_and_many_move_all_but_open_nothing_alone() {
        let mut witnesses: BTreeMap<_, _> = (0..10).map(|id| (id, witness(0.0))).collect();
        witnesses.insert(0, witness(1e9));
        assert!(pool(&witnesses).values().all(|&score| score == 0.0));
        witnesses.insert(1, witness(f64::NAN));
        assert!(pool(&witnesses).values().all(|&score| score == 0.0));
        witnesses.extend((0..8).map(|id| (id, witness(12.0))));
        let pooled = pool(&witnesses);
        assert!(pooled.values().all(|&score| score > 0.0 && score <= OTHERS_MAX * 20.0), "{pooled:?}");
    }

    #[test]
    fn few_probe_while_it_is_down_and_ever_more_once_it_answers() {
        let down = Witness { phase: PhaseKind::Open, ..witness(20.0) };
        let mut witnesses: BTreeMap<_, _> = (0..100).map(|id| (id, down)).collect();
        let mut probing = Probing::new(3, Duration::from_secs(2));
        let probers = |advice: &BTreeMap<u64, Advice>| {
            advice.values().filter(|advice| **advice == Advice::Probe).count()
        };
        assert_eq!(probers(&probing.advise(&witnesses, Duration::ZERO)), 3);
        assert_eq!(probers(&probing.advise(&witnesses, Duration::from_secs(1))), 0);
        assert_eq!(probers(&probing.advise(&witnesses, Duration::from_secs(2))), 3);
        witnesses.insert(0, Witness { phase: PhaseKind::HalfOpen, answered: true, ..down });
        let mut released = Vec::new();
        for second in 3..6 {
            released.push(probers(&probing.advise(&witnesses, Duration::from_secs(second))));
        }
        assert_eq!(released, [8, 32, 99]);
    }
}
