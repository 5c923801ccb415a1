//! Silence after something was found, unless it is clearly beaten: one event, one alert.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Samples of silence: ten hours at 5 minutes.
const SILENCE: u32 = 120;
/// What is found within the silence must be so much larger to be heard.
const BEATS: f64 = 3.0;

/// Remembers what was found last.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Latch {
    left: u32,
    peak: f64,
}

impl Latch {
    /// Lets through what is news; 0 is never.
    pub(crate) fn pass(&mut self, found: f64) -> f64 {
        self.left = self.left.saturating_sub(1);
        if found <= 0.0 || (self.left > 0 && found <= BEATS * self.peak) {
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
        assert_eq!(latch.pass(0.1), 0.1);
        assert_eq!(latch.pass(0.2), 0.0);
        assert_eq!(latch.pass(0.4), 0.4);
        for _ in 1..SILENCE {
            assert_eq!(latch.pass(0.05), 0.0);
        }
        assert_eq!(latch.pass(0.05), 0.05, "the silence is over");
    }
}
