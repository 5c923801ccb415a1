//! The usual time between samples, and how many of it passed.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Samples over which the interval is learned.
const MEMORY_SAMPLES: f64 = 50.0;
/// A pause counts as at most this many intervals when the interval is learned.
const PAUSE_MAX: f64 = 3.0;
/// Differences smaller than this share of an interval are jitter.
const JITTER: f64 = 0.1;
/// A pause counts as at most this many intervals for windows: what lies further back is gone anyway.
const STEPS_MAX: f64 = 1e4;

/// Learns the interval.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Clock {
    last: Option<f64>,
    interval: f64,
    samples: f64,
}

impl Clock {
    /// The intervals that passed until `at`; 1 before anything is known.
    pub(crate) fn tick(&mut self, at: f64) -> f64 {
        let passed = at - self.last.replace(at).unwrap_or(at);
        if passed <= 0.0 {
            return 1.0;
        }
        self.samples = (self.samples + 1.0).min(MEMORY_SAMPLES);
        let usual = if self.interval > 0.0 { self.interval } else { passed };
        self.interval = usual + (passed.min(PAUSE_MAX * usual) - usual) / self.samples;
        let steps = passed / usual;
        if (steps - 1.0).abs() < JITTER { 1.0 } else { steps.min(STEPS_MAX) }
    }

    /// The usual interval, seconds; 0 before two samples.
    pub(crate) fn interval(&self) -> f64 {
        self.interval
    }
}

impl Stored for Clock {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.last).put(&self.interval).put(&self.samples);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { last: reader.get()?, interval: reader.get()?, samples: reader.get()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_in_intervals_and_jitter_does_not() {
        let mut clock = Clock::default();
        (0..20).for_each(|i| _ = clock.tick(f64::from(i) * 60.0));
        assert_eq!(clock.interval(), 60.0);
        assert_eq!(clock.tick(20.0 * 60.0 + 2.0), 1.0);
        let steps = clock.tick(20.0 * 60.0 + 2.0 + 600.0);
        assert!((steps - 10.0).abs() < 0.1, "{steps}");
    }
}
