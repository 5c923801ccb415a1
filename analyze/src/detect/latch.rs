//! Silence after something was found, unless it is clearly beaten: one event, one alert.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// What is found within the silence must usually be so much larger to be heard.
pub(crate) const BEATS: f64 = 3.0;

/// Remembers what was found last.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Latch {
    left: u32,
    peak: f32,
}

impl Latch {
    /// Lets through what is news, and is silent for so many samples afterwards, unless beaten so many times; 0 is never news.
    pub(crate) fn pass(&mut self, found: f64, silence: u32, beats: f64) -> f64 {
        self.left = self.left.saturating_sub(1);
        if found <= 0.0 || (self.left > 0 && found <= beats * f64::from(self.peak)) {
            return 0.0;
        }
        *self = Self { left: silence, peak: found as f32 };
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
        assert_eq!(latch.pass(0.1, 120, BEATS), 0.1);
        assert_eq!(latch.pass(0.2, 120, BEATS), 0.0);
        assert_eq!(latch.pass(0.4, 120, BEATS), 0.4);
        for _ in 1..120 {
            assert_eq!(latch.pass(0.05, 120, BEATS), 0.0);
        }
        assert_eq!(latch.pass(0.05, 120, BEATS), 0.05, "the silence is over");
    }
}
