//! Many instances, one callee: what they see is pooled with a cap per witness, and few of them probe for all. Pure; the control
//! plane runs it, and every breaker works on without it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::OTHERS_MAX;
use crate::guard::EjectionGuard;
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
    /// How often it opened: a probe that fails at once shows in nothing else.
    pub opened: u64,
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

/// Which hosts of a callee may be left out, as far as all callers together see: a host is ill if those who call it have, on the
/// mean, half of what they need to open, each counted for no more than that. The guard bounds how many.
pub fn eject(hosts: &BTreeMap<String, Vec<Witness>>, guard: &EjectionGuard) -> BTreeSet<String> {
    let share = |witness: &Witness| match witness.phase {
        PhaseKind::Open | PhaseKind::HalfOpen => 1.0,
        PhaseKind::Closed if witness.score.is_finite() && witness.threshold > 0.0 => {
            (witness.score / witness.threshold).clamp(0.0, 1.0)
        }
        PhaseKind::Closed => 0.0,
    };
    let illness: Vec<Option<f64>> = hosts
        .values()
        .map(|witnesses| witnesses.iter().map(share).sum::<f64>() / witnesses.len().max(1) as f64)
        .map(|mean| (mean >= 0.5).then_some(mean))
        .collect();
    let out = guard.choose(&illness);
    hosts.keys().enumerate().filter(|(index, _)| out.contains(index)).map(|(_, host)| host.clone()).collect()
}

/// Who probes for the fleet, and how fast the others come back once the callee answers.
///
/// In each turn some are invited, more than are to probe, because an instance probes with its next call and nobody knows when that
/// comes. As soon as enough have begun, the others are put off again.
#[derive(Debug, Clone)]
pub struct Probing {
    /// How many are to probe in a turn.
    wanted: usize,
    /// How long a turn lasts, and half of how long the others are put off at a time.
    turn: Duration,
    turned_at: Option<Duration>,
    /// Where in the order of instances the next turn begins.
    next: u64,
    /// Who is invited, and how often it had opened by then.
    invited: BTreeMap<u64, u64>,
    /// How many of this turn's invited have begun.
    begun: usize,
    healed_at: Option<Duration>,
    /// How many were down at the last look.
    down: usize,
    released: usize,
}

/// Never more are invited or probe at once: a callee that is dead or has just healed bears ten calls, and it leaves two for those
/// who have not heard yet that they are put off.
const INVITED_MAX: usize = 8;
/// One in so many instances is to probe in a turn.
const WANTED_OF: usize = 100;
/// Instances told to probe once the callee has answered, four times as many at each step: 1,000 in five steps from eight.
const RELEASE_FIRST: usize = 8;
/// Time between two steps: one answer and a look at it.
const RELEASE_STEP: Duration = Duration::from_millis(500);

impl Probing {
    /// Turns last as long as `turn`, at least 100 ms.
    pub fn new(turn: Duration) -> Self {
        Self {
            wanted: 1,
            turn: turn.max(Duration::from_millis(100)),
            turned_at: None,
            next: 0,
            invited: BTreeMap::new(),
            begun: 0,
            healed_at: None,
            down: 0,
            released: 0,
        }
    }

    /// Looks at all instances and advises those that are open. `now` is the fleet's clock; the instances' clocks are said to
    /// agree with it.
    pub fn advise(&mut self, witnesses: &BTreeMap<u64, Witness>, now: Duration) -> BTreeMap<u64, Advice> {
        let open: BTreeMap<u64, u64> = witnesses
            .iter()
            .filter(|(_, w)| w.phase == PhaseKind::Open)
            .map(|(&id, w)| (id, w.opened))
            .collect();
        let down = witnesses.values().filter(|w| w.phase != PhaseKind::Closed).count();
        if down == 0 {
            *self = Self { next: self.next, ..Self::new(self.turn) };
            return BTreeMap::new();
        }
        // Somebody's probes were answered: those who are still held back come now, ever more of them.
        let answered = witnesses.values().any(|w| w.phase == PhaseKind::HalfOpen && w.answered);
        // That stands until more go down again.
        let healed = answered || self.healed_at.is_some() && down <= self.down;
        self.down = down;
        if healed {
            // Nobody is held back anew: who was invited and has had no call yet must stay invited.
            let room = self.release(now);
            return self.in_order(&open).take(room).map(|id| (id, Advice::Probe)).collect();
        }
        (self.healed_at, self.released) = (None, 0);
        self.wanted = (witnesses.len() / WANTED_OF).clamp(1, INVITED_MAX);
        self.take_turns(&open, down - open.len(), now);
        let hold = Advice::HoldProbes { until: now + self.turn * 2 };
        let advice = |&id| (id, if self.invited.contains_key(&id) { Advice::Probe } else { hold });
        open.keys().map(advice).collect()
    }

    /// Whoever was last in the last turn is last in this one.
    fn in_order(&self, open: &BTreeMap<u64, u64>) -> impl Iterator<Item = u64> {
        let later = open.range(self.next..).map(|(&id, _)| id);
        later.chain(open.range(..self.next).map(|(&id, _)| id))
    }

    fn take_turns(&mut self, open: &BTreeMap<u64, u64>, half_open: usize, now: Duration) {
        let before = self.invited.len();
        self.invited.retain(|id, opened| open.get(id) == Some(opened));
        self.begun += before - self.invited.len();
        if self.turned_at.is_none_or(|at| now >= at + self.turn) {
            self.turned_at = Some(now);
            let room = INVITED_MAX.saturating_sub(half_open);
            self.invited =
                self.in_order(open).take(room).filter_map(|id| Some((id, *open.get(&id)?))).collect();
            self.next =
                self.invited.keys().copied().max_by_key(|id| (*id < self.next, *id)).map_or(0, |id| id + 1);
            self.begun = 0;
        }
        if self.begun >= self.wanted {
            self.invited.clear();
        }
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
        Witness { score, threshold: 20.0, phase: PhaseKind::Closed, answered: false, opened: 0 }
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

    fn invited(advice: &BTreeMap<u64, Advice>) -> Vec<u64> {
        advice.iter().filter(|(_, advice)| **advice == Advice::Probe).map(|(&id, _)| id).collect()
    }

    #[test]
    fn few_probe_while_it_is_down_in_turns_and_ever_more_once_it_answers() {
        let down = Witness { phase: PhaseKind::Open, ..witness(20.0) };
        let mut witnesses: BTreeMap<_, _> = (0..100).map(|id| (id, down)).collect();
        let mut probing = Probing::new(Duration::from_secs(2));
        let first = probing.advise(&witnesses, Duration::ZERO);
        assert_eq!(invited(&first), (0..8).collect::<Vec<_>>());
        assert_eq!(first.len(), 100, "the others are put off");
        let second = Duration::from_secs(1);
        assert_eq!(invited(&probing.advise(&witnesses, second)).len(), 8, "nobody has had a call yet");
        witnesses.insert(3, Witness { phase: PhaseKind::HalfOpen, ..down });
        assert!(invited(&probing.advise(&witnesses, second)).is_empty(), "one of a hundred is enough");
        witnesses.insert(3, Witness { opened: 1, ..down });
        let next = probing.advise(&witnesses, Duration::from_secs(2));
        assert_eq!(invited(&next), (8..16).collect::<Vec<_>>(), "others have their turn");
        // One whose probe failed between two looks.
        witnesses.insert(9, Witness { opened: 1, ..down });
        assert!(invited(&probing.advise(&witnesses, Duration::from_secs(3))).is_empty());
        witnesses.insert(0, Witness { phase: PhaseKind::HalfOpen, answered: true, ..down });
        let released: Vec<_> = (3..6)
            .map(|second| invited(&probing.advise(&witnesses, Duration::from_secs(second))).len())
            .collect();
        assert_eq!(released, [8, 32, 99]);
    }

    #[test]
    fn everybody_has_a_turn() {
        let down = Witness { phase: PhaseKind::Open, ..witness(20.0) };
        let witnesses: BTreeMap<_, _> = [1, 5, 6, 40, 41, 42, 43, 44, 45, 90, 91].map(|id| (id, down)).into();
        let mut probing = Probing::new(Duration::from_secs(2));
        let mut seen = BTreeSet::new();
        for turn in 0..2 {
            seen.extend(invited(&probing.advise(&witnesses, Duration::from_secs(2 * turn))));
        }
        assert_eq!(seen, witnesses.keys().copied().collect());
    }

    #[test]
    fn a_host_is_left_out_when_its_callers_agree_and_never_all_of_them() {
        let guard = EjectionGuard::default();
        let told = |scores: &[f64]| scores.iter().map(|&score| witness(score)).collect::<Vec<_>>();
        let mut hosts = BTreeMap::from([
            ("a".to_owned(), told(&[20.0, 20.0, 20.0])),
            ("b".to_owned(), told(&[0.0, 0.0, 0.0])),
            ("c".to_owned(), told(&[1e9, 0.0, 0.0])),
        ]);
        assert_eq!(eject(&hosts, &guard), BTreeSet::from(["a".to_owned()]), "one sick caller ejects nothing");
        hosts.insert("b".to_owned(), told(&[20.0, 20.0, 20.0]));
        assert!(eject(&hosts, &guard).is_empty(), "two of three: the fault lies elsewhere");
        hosts.retain(|name, _| name == "a");
        assert!(eject(&hosts, &guard).is_empty(), "the only one stays");
    }
}
