//! Policies that look back one season and never below what reacts: yesterday's coming minutes, or last week's coming half hour.

use super::{
    hpa::{Keda, by_rate},
    replay::{Policy, View, Wish},
};

const DAY_S: u32 = 86_400;
/// How much of yesterday is looked at: start-up and two decisions.
const AHEAD_S: u32 = 120;
/// Growth since yesterday is measured over so long, and believed within these limits.
const GROWTH_S: u32 = 600;
const GROWTH: (f64, f64) = (0.5, 2.0);
/// Grafana Mimir's recipe for KEDA: the largest of the same coming half hour a week ago.
const WEEK_AHEAD_S: u32 = 1_800;
/// How old metrics are.
const AGE_S: u32 = 15;

/// What is looked back at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Season {
    /// One day, corrected by growth.
    Day,
    /// One week, as it was.
    Week,
}

/// The larger of what KEDA asks for and what the season asks for.
#[derive(Debug)]
pub struct Seasonal {
    name: String,
    season: Season,
    target: f64,
    reactive: Keda,
}

impl Seasonal {
    /// With this target in requests per second and replica.
    #[must_use]
    pub fn new(name: String, season: Season, target: f64, bounds: (u32, u32)) -> Self {
        let reactive = Keda::new(String::new(), target, bounds);
        Self { name, season, target, reactive }
    }

    fn expected(&self, view: &View<'_>) -> Option<f64> {
        match self.season {
            Season::Day if view.now_s < DAY_S + 2 * GROWTH_S => None,
            Season::Day => {
                let (lately, then) = (
                    view.arrivals(GROWTH_S + AGE_S, AGE_S)?,
                    view.arrivals(GROWTH_S + AGE_S + DAY_S, AGE_S + DAY_S)?,
                );
                let growth = if then > 0.0 { (lately / then).clamp(GROWTH.0, GROWTH.1) } else { 1.0 };
                Some(growth * view.peak(DAY_S, AHEAD_S)?)
            }
            Season::Week if view.now_s < 7 * DAY_S + WEEK_AHEAD_S => None,
            Season::Week => view.peak(7 * DAY_S, WEEK_AHEAD_S),
        }
    }
}

impl Policy for Seasonal {
    fn name(&self) -> &str {
        &self.name
    }

    fn decide(&mut self, view: &View<'_>) -> Option<Wish> {
        // The recipe is one more metric of the same HPA, with its tolerance; growth is not.
        let asked = |rate: f64| match self.season {
            Season::Day => (rate / self.target).ceil() as u32,
            Season::Week => by_rate(rate, self.target, view.total),
        };
        let seasonal = self.expected(view).map_or(0, asked);
        let wanted = self.reactive.replicas(view, seasonal).unwrap_or(view.total);
        Some(Wish { replicas: wanted, admitted: None })
    }
}
