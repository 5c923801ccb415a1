//! A ladder of prices followed in the shadow: what each would have run at the load that came, and what would have been late.

use super::{Asked, Worth};
use jiff::Timestamp;
use std::{collections::VecDeque, time::Duration};

/// Prices of a late request per second, in replicas' worth of load: from careless to a hundred times as careful as the first.
const RUNGS: usize = 12;
const LOWEST: f64 = 8.0;
/// Each is 1.7 times the one before; between two the price in force is interpolated.
const OCTAVES: f64 = 0.75;
/// The first in force, and what the ladder's prior is centred on: with the lateness that the declared target promises it asks for
/// utilisations somewhat below that target.
const FIRST: usize = 3;
/// See `FIRST`.
pub const PRICE_FIRST: f64 = 38.05;
/// The prior counts as so many samples: a quarter of an hour at 15 s, as that of the forecast's errors does.
const PRIOR_SAMPLES: f64 = 60.0;
/// What is really late and paid is compared with the shadow over so many samples before it corrects it: an hour at 15 s.
const CHECK_SAMPLES: f64 = 240.0;
/// Corrections beyond these mean that something else is wrong.
const LATE_CORRECTION: (f64, f64) = (0.25, 4.0);
const COST_CORRECTION: (f64, f64) = (0.8, 1.25);
/// Of the error budget so much is spent on purpose; the rest is for what nobody can foresee. With nothing learned that is less than
/// half, ...
const SPENT_FIRST: f64 = 0.4;
/// ... and as what was late is known better, more, ...
const SPENT_MORE: f64 = 0.5;
/// ... half of that after so many samples: ten hours at 15 s.
const SPENT_SAMPLES: f64 = 2_400.0;
/// While the budget is missed, so much more than the reference may be spent, ...
const COST_PRESSED: f64 = 1.03;
/// ... where it buys much: one percent of cost takes at least so many percent off what is late.
const ELASTICITY_MIN: f64 = 15.0;
/// Where no price keeps to the budget, a dearer one is worth it as long as a tenth more cost takes a third off what is late. What no
/// number of replicas could have prevented is no reason to pay more from now on.
const ELASTICITY_WORTH: f64 = 4.0;
/// Where nothing is promised.
pub const ALLOWED_DEFAULT: f64 = 0.001;

/// One sample of what really was.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// When.
    pub at: Timestamp,
    /// Requests per second.
    pub load: f64,
    /// Share of them late.
    pub late_ratio: f64,
    /// Replicas paid for.
    pub replicas: f64,
    /// Replicas that the declared target would have run.
    pub reference: f64,
    /// What is left of older sums.
    pub keep: f64,
}

/// When something is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ask {
    /// Now.
    pub at: Timestamp,
    /// When it is ready.
    pub due: Timestamp,
    /// Over which a need lasts.
    pub window: Duration,
}

/// How one rung sees the load to come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offer {
    /// The cheapest number of replicas.
    pub best: u32,
    /// What that gains over what the rung runs, in replicas.
    pub gain: f64,
}

/// What was asked for a moment to come, by rung, and which rung was nearest to the price in force.
type Wish = (Timestamp, [u32; RUNGS], usize);

/// The ladder.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shadows {
    due: VecDeque<Wish>,
    needs: VecDeque<(Timestamp, [u32; RUNGS])>,
    runs: [u32; RUNGS],
    settled: f64,
    replicas: [f64; RUNGS],
    late: [f64; RUNGS],
    load: f64,
    reference: f64,
    real_late: f64,
    shadow_late: f64,
    real_replicas: f64,
    shadow_replicas: f64,
    rung: Option<usize>,
}

fn price_of(rung: usize) -> f64 {
    LOWEST * (rung as f64 * OCTAVES).exp2()
}

impl Shadows {
    /// Moments that were asked for and came.
    pub(super) fn settled(&self) -> f64 {
        self.settled
    }

    /// Notes what every rung would run, changing as rarely as is done in earnest: out for a gain, in after the whole window. The
    /// dearer the rung, the more it needs, so each search begins at the one before.
    pub(super) fn ask(
        &mut self,
        when: &Ask,
        worth: impl Fn(f64) -> Worth,
        mut offer: impl FnMut(f64, u32, u32) -> Offer,
    ) {
        while self.needs.front().is_some_and(|need| super::older(need.0, when.at, when.window)) {
            self.needs.pop_front();
        }
        let (mut from, mut gains, runs) = (1, [0.0; RUNGS], self.runs);
        let needs = std::array::from_fn(|rung| {
            let found = offer(price_of(rung), from, runs[rung].max(1));
            (from, gains[rung]) = (found.best, found.gain);
            from
        });
        self.needs.push_back((when.at, needs));
        let mut held = [0u32; RUNGS];
        for (_, needs) in &self.needs {
            held.iter_mut().zip(needs).for_each(|(held, need)| *held = (*held).max(*need));
        }
        for (rung, runs) in self.runs.iter_mut().enumerate() {
            let worth = worth(f64::from(*runs));
            let given = f64::from(runs.saturating_sub(held[rung]));
            if *runs == 0 || (needs[rung] > *runs && gains[rung] > worth.gain) {
                *runs = needs[rung];
            } else if given >= worth.give_back {
                *runs = held[rung];
            }
        }
        self.due.push_back((when.due, self.runs, self.rung.unwrap_or(FIRST)));
    }

    /// Compares what was asked for this moment with the load that came.
    pub(super) fn settle(&mut self, seen: &Seen, asked: &Asked<'_>) {
        let mut came = None;
        while let Some(wish) = self.due.pop_front_if(|wish| wish.0 <= seen.at) {
            came = Some(wish);
        }
        let Some((_, held, rung)) = came else { return };
        self.settled += 1.0;
        let keep = seen.keep;
        let late = held.map(|replicas| asked.late_of(seen.load, f64::from(replicas)));
        for rung in 0..RUNGS {
            self.replicas[rung] = self.replicas[rung] * keep + f64::from(held[rung]);
            self.late[rung] = self.late[rung] * keep + late[rung];
        }
        self.load = self.load * keep + seen.load;
        self.reference = self.reference * keep + seen.reference;
        self.real_late = self.real_late * keep + seen.late_ratio * seen.load;
        self.shadow_late = self.shadow_late * keep + late[rung];
        self.real_replicas = self.real_replicas * keep + seen.replicas;
        self.shadow_replicas = self.shadow_replicas * keep + f64::from(held[rung]);
    }

    /// The price that spends its share of the budget and no more than the reference costs, or little more where that helps much.
    pub(super) fn price(&mut self, allowed: f64, seen: &Seen) -> f64 {
        let known = self.settled / (self.settled + SPENT_SAMPLES);
        let aim = (SPENT_FIRST + SPENT_MORE * known) * allowed;
        let (load, reference) = (seen.load.max(1e-9), seen.reference.max(1.0));
        let check = CHECK_SAMPLES * aim * load;
        let more_late = ((self.real_late + check) / (self.shadow_late + check))
            .clamp(LATE_CORRECTION.0, LATE_CORRECTION.1);
        let check = PRIOR_SAMPLES * reference;
        let dearer = ((self.real_replicas + check) / (self.shadow_replicas + check))
            .clamp(COST_CORRECTION.0, COST_CORRECTION.1);
        let ratios = |rung: usize| {
            let away = rung as f64 - FIRST as f64;
            let prior_late = PRIOR_SAMPLES * load * aim * (-away * OCTAVES).exp2();
            let prior_cost = PRIOR_SAMPLES * reference * (0.97 + 0.02 * away);
            let late = (more_late * self.late[rung] + prior_late) / (self.load + PRIOR_SAMPLES * load);
            let cost =
                (dearer * self.replicas[rung] + prior_cost) / (self.reference + PRIOR_SAMPLES * reference);
            (late.max(1e-12), cost)
        };
        let all: [(f64, f64); RUNGS] = std::array::from_fn(ratios);
        let dearest = dearest(&all, aim);
        let mut before = all[0];
        let (mut found, mut rung) = (price_of(dearest), dearest);
        for (next, now) in all.into_iter().enumerate().take(dearest + 1) {
            let cheaper = price_of(next.saturating_sub(1)).ln();
            let step = price_of(next).ln() - cheaper;
            let enough = if next == 0 { 0.0 } else { share((before.0 / aim).ln(), (before.0 / now.0).ln()) };
            let pays = before.0 > aim
                && now.1 <= COST_PRESSED
                && (before.0 / now.0).ln() >= ELASTICITY_MIN * (now.1 / before.1).ln();
            if next > 0 && now.1 > 1.0 && !pays {
                let paid = share(1.0 - before.1, now.1 - before.1);
                let part = if now.0 <= aim { paid.min(enough) } else { paid };
                (found, rung) = ((cheaper + step * part).exp(), next - 1);
                break;
            }
            if now.0 <= aim {
                (found, rung) = ((cheaper + step * enough).exp(), next);
                break;
            }
            before = now;
        }
        self.rung = Some(rung);
        found
    }
}

/// The dearest rung that is worth its cost, of which these are late shares and costs: all are while one of them keeps to the budget
/// without costing more than the reference.
fn dearest(rungs: &[(f64, f64); RUNGS], aim: f64) -> usize {
    if rungs.iter().any(|(late, cost)| *late <= aim && *cost <= 1.0) {
        return RUNGS - 1;
    }
    let worth = |rung: usize| rungs[rung].0.ln() + ELASTICITY_WORTH * rungs[rung].1.ln();
    let paid = (0..RUNGS).filter(|rung| *rung == 0 || rungs[*rung].1 <= COST_PRESSED);
    paid.min_by(|a, b| worth(*a).total_cmp(&worth(*b))).unwrap_or(0)
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 1e-9 { (part / whole).clamp(0.0, 1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rungs that each cost a percent more than the one before, and leave so much of what was late.
    fn rungs(left: f64) -> [(f64, f64); RUNGS] {
        std::array::from_fn(|rung| (0.01 * left.powi(rung as i32), 0.9 * 1.01f64.powi(rung as i32)))
    }

    #[test]
    fn price_rises_only_where_it_takes_off_what_is_late() {
        assert_eq!(dearest(&rungs(0.99), 0.001), 0, "a percent of cost takes a percent off");
        assert_eq!(dearest(&rungs(0.85), 0.001), RUNGS - 1, "a percent of cost takes fifteen off");
    }

    #[test]
    fn every_price_is_looked_at_while_one_keeps_to_the_budget() {
        assert_eq!(dearest(&rungs(0.99), 0.009_9), RUNGS - 1);
    }

    #[test]
    fn nothing_far_above_the_reference_is_worth_it() {
        let dear = rungs(0.85).map(|(late, cost)| (late, 1.2 * cost));
        assert!(dear[dearest(&dear, 1e-6)].1 <= COST_PRESSED.max(dear[0].1));
    }
}
