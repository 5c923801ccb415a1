//! Silence after something was found, unless it is clearly beaten: one event, one alert.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Intervals of silence: ten hours at 5 minutes.
const SILENCE: f64 = 120.0;
/// What is found within the silence must be so much larger to be heard.
const BEATS: f64 = 3.0;

/// Remembers what was found last.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Latch {
    left: f64,
    peak: f64,
}

impl Latch {
    /// Lets through what is news; 0 is never.
    pub(crate) fn pass(&mut self, found: f64, steps: f64) -> f64 {
        self.left -= steps;
        let quiet = self.left > 0.0;
        if found <= 0.0 || (quiet && found <= BEATS * self.peak) {
            return 0.0;
        }
        *self = Self { left: SILENCE, peak: found };
        found
    }
}

impl Stored for Latch {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.left).put(&self.peak);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { left: reader.get()?, peak: reader.get()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_is_told_once_and_escalation_is_let_through() {
        let mut latch = Latch::default();
        assert_eq!(latch.pass(0.1, 1.0), 0.1);
        assert_eq!(latch.pass(0.2, 1.0), 0.0);
        assert_eq!(latch.pass(0.4, 1.0), 0.4);
        assert_eq!(latch.pass(0.4, SILENCE - 1.0), 0.0);
        assert_eq!(latch.pass(0.05, 1.0), 0.05, "the silence is over");
    }
}
