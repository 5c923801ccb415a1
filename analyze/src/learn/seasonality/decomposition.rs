//! A signal taken apart as it streams by: level, slope, season, remainder. The season comes from a `Profile`; level and slope
//! follow the deseasonalised values by damped double smoothing (Gardner & McKenzie 1985) on real time, with large errors cut.

use std::time::Duration;

use super::{Moment, Profile, ProfileSettings, is_measured};

/// Errors beyond this many usual ones are cut.
const CUT: f64 = 4.0;

/// One value, taken apart: value = level + seasonal + remainder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parts {
    /// Slowly moving mean, before this value.
    pub level: f64,
    /// Its change per second.
    pub slope: f64,
    /// What is usual for the moment, as a difference from the level.
    pub seasonal: f64,
    /// What is left.
    pub remainder: f64,
}

/// Takes one signal apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Decomposition {
    profile: Profile,
    /// How long the level remembers, in seconds.
    memory_s: f64,
    level: Option<f64>,
    slope: f64,
    scale: f64,
    last_s: f64,
}

impl Decomposition {
    /// The level remembers for about `memory`.
    #[must_use]
    pub fn new(settings: &ProfileSettings, memory: Duration) -> Self {
        let memory_s = memory.as_secs_f64().max(settings.interval.as_secs_f64()).max(1e-3);
        Self { profile: Profile::new(settings), memory_s, level: None, slope: 0.0, scale: 0.0, last_s: 0.0 }
    }

    /// Takes in a value and takes it apart by what was known before. `None` for what is not finite or not newer.
    pub fn observe(&mut self, at: impl Into<Moment>, value: f64) -> Option<Parts> {
        let at: Moment = at.into();
        if !is_measured(value) || self.level.is_some() && at.unix_s <= self.last_s {
            return None;
        }
        let seasonal = self.profile.seasonal(at);
        let elapsed_s = if self.level.is_some() { at.unix_s - self.last_s } else { 0.0 };
        let level =
            self.level.map_or(value - seasonal, |level| level + self.slope * elapsed_s.min(self.memory_s));
        let remainder = value - seasonal - level;
        let cut =
            if self.scale > 0.0 { remainder.clamp(-CUT * self.scale, CUT * self.scale) } else { remainder };
        let gain = -(-elapsed_s / self.memory_s).exp_m1();
        self.level = Some(level + gain * cut);
        self.slope += 0.1 * gain * (cut / self.memory_s - self.slope);
        self.scale += gain.max(1e-3) * (1.5 * cut.abs() - self.scale);
        self.last_s = at.unix_s;
        self.profile.update(at, value, 1.0);
        Some(Parts { level, slope: self.slope, seasonal, remainder })
    }

    /// The seasonal part.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }
}
