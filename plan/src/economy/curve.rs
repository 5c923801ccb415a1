//! The share of late requests by utilisation: what was seen, and beyond it the exponential that queues follow in heavy traffic.

use proto::model::LatePoint;

/// Half of a band.
const BAND_HALF: f64 = 0.01;
/// Steps of the table: half a percent of utilisation, up to 120 %.
const STEPS: usize = 240;
const PER_UNIT: f64 = 200.0;
/// A band counts once it has seen so many requests and so many late ones: its share is then known within about a half.
const REQUESTS_MIN: f64 = 3_000.0;
const LATE_MIN: f64 = 3.0;
/// No queue is steeper: beyond, a band has merely seen nothing late yet.
const STEEPNESS_MAX: f64 = 60.0;
/// Below this utilisation nothing is late for lack of capacity.
const UTILISATION_MIN: f64 = 0.4;
/// Without a limiter: from here on everything queues, and is late until the queue is gone again.
const SATURATED: f64 = 0.97;
/// How much longer than the overload itself its queue makes others late.
const AFTERMATH: f64 = 2.0;
/// Before anything is learned, a limiter lets in so much of what a replica takes; what is learned moves it within these.
pub const ADMISSION_FIRST: f64 = 0.9;
const ADMISSION: (f64, f64) = (0.85, 0.95);
/// Learning is looked at again after so many more requests, relative to those before.
const NEWS: f64 = 0.01;

/// Late share by utilisation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curve {
    table: Vec<f64>,
    requests: f64,
    admission: f64,
}

impl Curve {
    /// Takes over what was learned; says whether anything changed. Where nothing was seen, the curve runs as steeply as in the
    /// nearest band below that was; where no band tells, so that the declared target just keeps to what is allowed.
    pub fn learn(&mut self, points: &[LatePoint], target: f64, allowed: f64) -> bool {
        let requests: f64 = points.iter().map(|point| point.requests).sum();
        if !self.table.is_empty() && (requests - self.requests).abs() <= NEWS * self.requests {
            return false;
        }
        self.requests = requests;
        let first = -allowed.clamp(1e-6, 0.5).ln() / (1.0 - target).max(0.05);
        let mut steepness = first.min(STEEPNESS_MAX);
        let bands = rising(points);
        let mut seen = bands.iter().peekable();
        self.table = (0..=STEPS)
            .map(|step| {
                let used = step as f64 / PER_UNIT;
                while let Some((middle, share)) = seen.next_if(|band| band.0 <= used + BAND_HALF) {
                    let share = share.clamp(1e-7, 1.0);
                    steepness = (-share.ln() / (1.0 - middle).max(0.01)).min(STEEPNESS_MAX);
                }
                (-steepness * (1.0 - used).max(0.0)).exp()
            })
            .collect();
        // What runs on from one band never exceeds what was seen in a busier one.
        let (mut busier, mut most) = (bands.iter().rev().peekable(), 1.0f64);
        for (step, late) in self.table.iter_mut().enumerate().rev() {
            while let Some((_, share)) = busier.next_if(|band| band.0 >= step as f64 / PER_UNIT) {
                most = most.min(share.clamp(1e-7, 1.0));
            }
            *late = late.min(most);
        }
        // Where a steeper band begins, its exponential may start below the end of the one before.
        for step in 1..self.table.len() {
            self.table[step] = self.table[step].max(self.table[step - 1]);
        }
        self.admission = self.find_admission();
        true
    }

    /// The late share at one utilisation.
    #[must_use]
    #[inline]
    pub fn share(&self, used: f64) -> f64 {
        let place = (used * PER_UNIT).clamp(0.0, (STEPS - 1) as f64);
        let below = place as usize;
        match self.table.get(below..=below + 1) {
            Some([from, to]) => from + (to - from) * (place - below as f64),
            Some(_) | None => 1.0,
        }
    }

    /// Requests per second that are late when `rate` meets replicas that can take `can`.
    #[must_use]
    #[inline]
    pub fn late(&self, rate: f64, can: f64, sheds: bool) -> f64 {
        if can <= 0.0 {
            return rate;
        }
        let used = rate / can;
        let limit = if sheds { self.admission.max(ADMISSION.0) } else { SATURATED };
        if used <= limit {
            return rate * self.share(used);
        }
        if sheds {
            return rate - can * limit * (1.0 - self.share(limit));
        }
        rate * (1.0 + AFTERMATH * (used - SATURATED).min(1.0))
    }

    /// The utilisation at which most requests are answered in time.
    #[must_use]
    pub fn best_admission(&self) -> f64 {
        if self.admission > 0.0 { self.admission } else { ADMISSION_FIRST }
    }

    fn find_admission(&self) -> f64 {
        let served = |used: f64| used * (1.0 - self.share(used));
        let steps = (ADMISSION.0 * PER_UNIT) as usize..=(ADMISSION.1 * PER_UNIT) as usize;
        let best = steps.map(|step| step as f64 / PER_UNIT).max_by(|a, b| served(*a).total_cmp(&served(*b)));
        best.unwrap_or(ADMISSION_FIRST)
    }
}

/// Lateness by utilisation as far as bands tell. It never falls as utilisation rises, so a band that says otherwise is chance and
/// shares its counts with its neighbours (isotonic regression by pooling adjacent violators).
fn rising(points: &[LatePoint]) -> Vec<(f64, f64)> {
    let mut pools: Vec<(f64, f64, Vec<f64>)> = Vec::new();
    for point in points.iter().filter(|point| tells(point)) {
        let mut pool = (point.requests, point.late, vec![point.utilisation_ratio]);
        while let Some(before) = pools.pop_if(|before| before.1 / before.0 > pool.1 / pool.0) {
            let mut middles = before.2;
            middles.append(&mut pool.2);
            pool = (pool.0 + before.0, pool.1 + before.1, middles);
        }
        pools.push(pool);
    }
    let bands = pools.into_iter().flat_map(|(requests, late, middles)| {
        middles.into_iter().map(move |middle| (middle, late / requests))
    });
    bands.collect()
}

fn tells(point: &LatePoint) -> bool {
    let sound = point.requests.is_finite() && point.late.is_finite() && point.late <= point.requests;
    sound
        && point.utilisation_ratio >= UTILISATION_MIN
        && point.requests >= REQUESTS_MIN
        && point.late >= LATE_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(utilisation_ratio: f64, share: f64) -> LatePoint {
        LatePoint { utilisation_ratio, requests: 1e6, late: share * 1e6 }
    }

    #[test]
    fn begins_with_what_the_declared_target_promises() {
        let mut curve = Curve::default();
        assert!(curve.learn(&[], 0.7, 0.001));
        assert!((curve.share(0.7) - 0.001).abs() < 1e-4);
        assert!(curve.share(0.8) > 0.005);
    }

    #[test]
    fn follows_what_was_seen_and_goes_on_as_steeply() {
        let mut curve = Curve::default();
        curve.learn(&[point(0.61, 7e-5), point(0.71, 1.4e-4), point(0.81, 1.2e-3)], 0.7, 0.001);
        assert!((curve.share(0.71) / 1.4e-4 - 1.0).abs() < 0.2, "{}", curve.share(0.71));
        assert!((curve.share(0.81) / 1.2e-3 - 1.0).abs() < 0.2);
        assert!((0.01..0.1).contains(&curve.share(0.9)), "{}", curve.share(0.9));
        let rising: Vec<f64> = (0..120).map(|step| curve.share(f64::from(step) / 100.0)).collect();
        assert!(rising.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn band_that_saw_little_tells_nothing() {
        let mut curve = Curve::default();
        curve.learn(&[LatePoint { utilisation_ratio: 0.81, requests: 100.0, late: 0.0 }], 0.7, 0.001);
        assert!(curve.share(0.81) > 0.005);
    }

    #[test]
    fn turning_away_loses_only_what_is_too_much() {
        let mut curve = Curve::default();
        curve.learn(&[point(0.81, 1.2e-3)], 0.7, 0.001);
        let (shed, queued) = (curve.late(120.0, 100.0, true), curve.late(120.0, 100.0, false));
        assert!((25.0..45.0).contains(&shed), "{shed}");
        assert!(queued >= 120.0, "{queued}");
        assert_eq!(curve.late(5.0, 0.0, true), 5.0);
    }
}
