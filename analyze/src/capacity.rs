//! What one replica can take, learned from load, replicas and utilisation.

use proto::model::Capacity;

use crate::learn::Histogram;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Below this utilisation, load over utilisation is mostly noise.
const UTILISATION_MIN: f64 = 0.2;
/// From here on the service is saturated: what it serves is what it can take.
const SATURATED: f64 = 0.9;
/// More errors than this below saturation: the service is ill, and its work says nothing about its capacity.
const ERROR_RATIO_MAX: f64 = 0.05;
/// More errors than this at saturation: likewise.
const ERROR_RATIO_SATURATED_MAX: f64 = 0.5;
/// Ticks after a change of replicas: rates still mix the time before and after, and new replicas warm up.
const SETTLE_TICKS: u32 = 3;
/// Samples before anything is said.
const SAMPLES_MIN: u64 = 10;
/// Samples after which one counts 1/e: two hours at 1 s.
const MEMORY_SAMPLES: f64 = 7_200.0;
/// See the residual's: weights grow, and are scaled back here.
const GAIN_MAX: f64 = 1e6;
/// 32 buckets to an octave tell capacities apart by 2 %; 256 of them span a ratio of 256.
type Seen = Histogram<5, 256>;

/// One tick of a service, its values as far as they are known and whole.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tick {
    /// Requests per second.
    pub load: Option<f64>,
    /// Ready replicas.
    pub ready: Option<f64>,
    /// Busy share.
    pub utilisation: Option<f64>,
    /// Share of failed requests; unknown counts as none.
    pub error_ratio: Option<f64>,
}

/// The learner of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct CapacityLearner {
    seen: Option<Seen>,
    gain: f64,
    samples: u64,
    ready: f64,
    settling: u32,
}

impl Default for CapacityLearner {
    fn default() -> Self {
        Self { seen: None, gain: 1.0, samples: 0, ready: 0.0, settling: 0 }
    }
}

impl CapacityLearner {
    /// Takes in one tick. Unknown values teach nothing.
    pub fn observe(&mut self, tick: Tick) {
        let Some(ready) = tick.ready else { return };
        if ready != self.ready {
            (self.ready, self.settling) = (ready, SETTLE_TICKS);
        }
        if self.settling > 0 {
            self.settling -= 1;
            return;
        }
        if let Some((capacity, weight)) = sample(tick) {
            self.add(capacity, weight);
        }
    }

    /// What is known now; the interval holds eight of ten samples.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        let quantile = |share| self.seen.as_ref().filter(|_| self.samples >= SAMPLES_MIN)?.quantile(share);
        Capacity {
            per_replica: quantile(0.5),
            lower: quantile(0.1),
            upper: quantile(0.9),
            samples: self.samples,
        }
    }

    fn add(&mut self, capacity: f64, weight: f64) {
        let seen = self.seen.get_or_insert_with(|| Seen::around(capacity));
        seen.add(capacity, (weight * self.gain) as f32);
        self.samples += 1;
        self.gain *= 1.0 + 1.0 / MEMORY_SAMPLES;
        if self.gain > GAIN_MAX {
            seen.scale((1.0 / self.gain) as f32);
            self.gain = 1.0;
        }
    }
}

/// One estimate of the capacity of a replica, and what it is worth: the busier, the less is extrapolated.
fn sample(tick: Tick) -> Option<(f64, f64)> {
    let Tick { load, ready, utilisation, error_ratio } = tick;
    let (load, ready, utilisation) = (load?, ready?, utilisation?.min(1.0));
    let errors = error_ratio.unwrap_or(0.0);
    if load <= 0.0 || ready < 1.0 || utilisation < UTILISATION_MIN {
        return None;
    }
    if utilisation > SATURATED {
        // Load counts arrivals; what was turned away was not served.
        let served = load * (1.0 - errors);
        return (errors <= ERROR_RATIO_SATURATED_MAX).then_some((served / ready, utilisation));
    }
    (errors <= ERROR_RATIO_MAX).then_some((load / (ready * utilisation), utilisation))
}

impl Stored for CapacityLearner {
    fn save(&self, writer: &mut Writer) {
        let Self { seen, gain, samples, ready, settling } = self;
        writer.put(seen).put(gain).put(samples).put(ready).put(settling);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            seen: reader.get()?,
            gain: reader.get()?,
            samples: reader.get()?,
            ready: reader.get()?,
            settling: reader.get()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(load: f64, ready: f64, utilisation: f64) -> Tick {
        Tick { load: Some(load), ready: Some(ready), utilisation: Some(utilisation), error_ratio: Some(0.0) }
    }

    fn learned(ticks: impl IntoIterator<Item = Tick>) -> CapacityLearner {
        let mut learner = CapacityLearner::default();
        ticks.into_iter().for_each(|tick| learner.observe(tick));
        learner
    }

    #[test]
    fn capacity_is_load_over_replicas_and_utilisation() {
        let noisy = (0..200).map(|i| {
            let load = 60.0 + f64::from(i * 37 % 41);
            tick(load, 1.0, load / 110.0 * (1.0 + f64::from(i % 7 - 3) * 0.02))
        });
        let capacity = learned(noisy).capacity();
        let found = capacity.per_replica.unwrap();
        assert!((found / 110.0 - 1.0).abs() < 0.03, "{capacity:?}");
        assert!(capacity.lower.unwrap() < found && found < capacity.upper.unwrap());
    }

    #[test]
    fn at_saturation_what_is_served_is_the_capacity() {
        let flooded = Tick { error_ratio: Some(0.45), ..tick(200.0, 1.0, 0.999) };
        let found = learned(vec![flooded; 50]).capacity().per_replica.unwrap();
        assert!((found / 110.0 - 1.0).abs() < 0.03, "{found}");
    }

    #[test]
    fn unknown_idle_and_ill_ticks_teach_nothing() {
        let useless = [
            Tick { load: None, ..tick(50.0, 1.0, 0.5) },
            Tick { utilisation: None, ..tick(50.0, 1.0, 0.5) },
            Tick { ready: None, ..tick(50.0, 1.0, 0.5) },
            Tick { error_ratio: Some(0.5), ..tick(50.0, 1.0, 0.5) },
            tick(1.0, 1.0, 0.01),
            tick(0.0, 1.0, 0.5),
            tick(50.0, 0.0, 0.5),
        ];
        let learner = learned(useless.into_iter().cycle().take(700));
        assert_eq!(learner.capacity(), Capacity::default());
    }

    #[test]
    fn ticks_right_after_a_change_of_replicas_are_ignored() {
        let mut learner = learned(vec![tick(55.0, 1.0, 0.5); 50]);
        let before = learner.capacity();
        (0..SETTLE_TICKS).for_each(|_| learner.observe(tick(55.0, 4.0, 0.5)));
        assert_eq!(learner.capacity(), before);
    }
}
