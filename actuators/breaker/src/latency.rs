//! How long calls take: quantiles by time of day, from samples in logarithmic buckets that fade. Only normal times are
//! learned, so that a long slowness does not become the norm.

use std::time::Duration;

/// Buckets, four to the octave, from 64 µs to more than a minute.
pub(crate) const BUCKETS: usize = 84;
const PER_OCTAVE: f64 = 4.0;
const FIRST_NANOS: f64 = 64_000.0;
/// Parts of the day with a distribution of their own.
const PARTS: usize = 8;
/// Samples of the whole day that count as if they had been seen in this part of it.
const WHOLE_DAY_WEIGHT: f64 = 50.0;
/// Samples remembered per part of the day: enough for a p99, few enough to follow a drift of days.
const MEMORY: f32 = 20_000.0;
/// Samples without which no quantile is known: ten calls above the p99.
const SAMPLES_MIN: f64 = 1_000.0;
/// Slow is so many times the p99: what one call in a hundred takes is not slow yet.
const SLOW_FACTOR: f64 = 2.0;
const DAY: f64 = 86_400.0;

/// Which bucket a latency falls in.
pub(crate) fn bucket(latency: Duration) -> usize {
    let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX) / (FIRST_NANOS as u64);
    if nanos == 0 {
        return 0;
    }
    // The two bits below the highest one are the quarter of the octave (linear within it).
    let octave = u64::from(63 - nanos.leading_zeros());
    let quarter = if octave >= 2 { nanos >> (octave - 2) & 3 } else { (nanos << (2 - octave)) & 3 };
    ((octave * 4 + quarter) as usize + 1).min(BUCKETS - 1)
}

/// The lower edge of a bucket, in seconds.
fn edge(bucket: usize) -> f64 {
    let Some(index) = bucket.checked_sub(1) else { return 0.0 };
    let (octave, quarter) = (index as f64 / PER_OCTAVE, index % 4);
    FIRST_NANOS * octave.floor().exp2() * (1.0 + quarter as f64 / 4.0) * 1e-9
}

/// Fading histograms of latency.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Latencies {
    parts: Vec<[f32; BUCKETS]>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self { parts: vec![[0.0; BUCKETS]; PARTS] }
    }

    /// Learns samples taken around `at` (seconds since 1970).
    pub(crate) fn learn(&mut self, samples: &[u32; BUCKETS], at: f64) {
        let part = &mut self.parts[Self::part(at)];
        for (held, new) in part.iter_mut().zip(samples) {
            *held += *new as f32;
        }
        let total: f32 = part.iter().sum();
        if total > MEMORY {
            part.iter_mut().for_each(|held| *held *= MEMORY / total);
        }
    }

    /// The latency from which a call is slow at this time of day; unknown until enough was seen.
    pub(crate) fn slow(&self, at: f64) -> Option<Duration> {
        let (seconds, samples) = self.quantile(0.99, at);
        (samples >= SAMPLES_MIN).then(|| Duration::from_secs_f64(seconds * SLOW_FACTOR))
    }

    /// The median now; zero if nothing is known.
    pub(crate) fn median(&self, at: f64) -> Duration {
        Duration::from_secs_f64(self.quantile(0.5, at).0)
    }

    /// A quantile in seconds (upper edge of its bucket), and the number of samples of the whole day.
    fn quantile(&self, quantile: f64, at: f64) -> (f64, f64) {
        let part = &self.parts[Self::part(at)];
        let mut day = [0.0f64; BUCKETS];
        for part in &self.parts {
            day.iter_mut().zip(part).for_each(|(sum, held)| *sum += f64::from(*held));
        }
        let samples: f64 = day.iter().sum();
        let weight = WHOLE_DAY_WEIGHT.min(samples) / samples.max(1.0);
        let wanted: f64 =
            quantile * part.iter().zip(&day).map(|(held, all)| f64::from(*held) + all * weight).sum::<f64>();
        let mut passed = 0.0;
        for (index, (held, all)) in part.iter().zip(&day).enumerate() {
            passed += f64::from(*held) + all * weight;
            if passed >= wanted && passed > 0.0 {
                return (edge(index + 1), samples);
            }
        }
        (0.0, samples)
    }

    fn part(at: f64) -> usize {
        let at = if at.is_finite() { at.max(0.0) } else { 0.0 };
        ((at % DAY / DAY * PARTS as f64) as usize).min(PARTS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_lies_within_its_bucket() {
        for micros in [1u64, 63, 64, 65, 100, 127, 128, 1_000, 50_000, 500_000, 3_000_000] {
            let latency = Duration::from_micros(micros);
            let index = bucket(latency);
            let seconds = latency.as_secs_f64();
            assert!(
                edge(index) <= seconds + 64e-6 && seconds < edge(index + 1) + 64e-6,
                "{micros} in {index}"
            );
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn slow_follows_the_time_of_day() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.slow(0.0), None);
        let mut fast = [0; BUCKETS];
        fast[bucket(Duration::from_millis(20))] = 5_000;
        let mut busy = [0; BUCKETS];
        busy[bucket(Duration::from_millis(200))] = 5_000;
        latencies.learn(&fast, 0.0);
        latencies.learn(&busy, DAY / 2.0);
        let (night, noon) = (latencies.slow(0.0), latencies.slow(DAY / 2.0));
        assert!(noon.is_some_and(|limit| limit > Duration::from_millis(390)), "{noon:?}");
        // The whole day counts a little, but not for two calls in a hundred.
        assert!(night < noon, "{night:?}");
    }
}
