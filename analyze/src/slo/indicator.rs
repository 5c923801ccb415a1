//! What one tick says about the objective. A tick without data is a class of its own: neither good nor bad.

use std::time::Duration;

/// The events of one tick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tick {
    /// How many there were, and how many of them were bad.
    Known {
        /// All events; 0 when there was no traffic.
        total: f64,
        /// The bad ones.
        bad: f64,
    },
    /// Nobody can say.
    Unknown,
}

impl Tick {
    /// From the rate of requests and the share of bad ones. No traffic needs no share; traffic without one is unknown.
    #[must_use]
    pub fn of(load: Option<f64>, bad_ratio: Option<f64>, interval: Duration) -> Self {
        match (load, bad_ratio) {
            (Some(load), _) if load <= 0.0 => Self::Known { total: 0.0, bad: 0.0 },
            (Some(load), Some(ratio)) => {
                let total = load * interval.as_secs_f64();
                Self::Known { total, bad: total * ratio.clamp(0.0, 1.0) }
            }
            _ => Self::Unknown,
        }
    }

    /// As many times the events.
    #[must_use]
    pub fn scaled(self, times: f64) -> Self {
        match self {
            Self::Known { total, bad } => Self::Known { total: total * times, bad: bad * times },
            Self::Unknown => Self::Unknown,
        }
    }

    /// Share of good events; `None` when unknown or without traffic.
    #[must_use]
    pub fn good_ratio(self) -> Option<f64> {
        match self {
            Self::Known { total, bad } if total > 0.0 => Some(1.0 - bad / total),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn no_traffic_is_known_and_traffic_without_a_share_is_not() {
        assert_eq!(Tick::of(Some(0.0), None, SECOND), Tick::Known { total: 0.0, bad: 0.0 });
        assert_eq!(Tick::of(Some(5.0), None, SECOND), Tick::Unknown);
        assert_eq!(Tick::of(None, Some(0.0), SECOND), Tick::Unknown);
        assert_eq!(Tick::of(Some(5.0), Some(0.2), SECOND * 2), Tick::Known { total: 10.0, bad: 2.0 });
        assert_eq!(Tick::of(Some(5.0), Some(0.2), SECOND).good_ratio(), Some(0.8));
    }
}
