//! Knative's pod autoscaler on requests per second: a stable and a panic window, two seconds' tick rounded to the grid's five.

use super::replay::{Policy, View, Wish};

const TICK_S: u32 = 5;
/// Stable window of 60 s and panic window of a tenth of it, on the grid and 5 s old.
const STABLE_S: (u32, u32) = (65, 5);
const PANIC_S: (u32, u32) = (15, 5);
/// It panics when the panic window asks for so many times the ready replicas ...
const PANIC_THRESHOLD: f64 = 2.0;
/// ... and calms down after so long without.
const CALM_S: u32 = 60;
const UP_RATE_MAX: f64 = 1_000.0;
const DOWN_RATE_MAX: f64 = 2.0;

/// The autoscaler.
#[derive(Debug)]
pub struct Kpa {
    name: String,
    target: f64,
    panic_since: Option<u32>,
    panic_max: u32,
}

impl Kpa {
    /// With this target in requests per second and replica.
    #[must_use]
    pub fn new(name: String, target: f64) -> Self {
        Self { name, target, panic_since: None, panic_max: 0 }
    }

    fn replicas(&mut self, view: &View<'_>) -> Option<u32> {
        let stable = view.arrivals(STABLE_S.0, STABLE_S.1)?;
        let panic = view.arrivals(PANIC_S.0, PANIC_S.1)?;
        let ready = f64::from(view.ready.max(1));
        let (up, down) = ((UP_RATE_MAX * ready).ceil(), (ready / DOWN_RATE_MAX).floor());
        let wanted = |rate: f64| (rate / self.target).ceil().max(down).min(up) as u32;
        let (stable, hurried) = (wanted(stable), wanted(panic));
        if (panic / self.target).ceil() / ready >= PANIC_THRESHOLD {
            self.panic_since = Some(view.now_s);
        } else if self.panic_since.is_some_and(|since| since + CALM_S <= view.now_s) {
            (self.panic_since, self.panic_max) = (None, 0);
        }
        if self.panic_since.is_none() {
            return Some(stable);
        }
        self.panic_max = self.panic_max.max(hurried);
        Some(self.panic_max)
    }
}

impl Policy for Kpa {
    fn name(&self) -> &str {
        &self.name
    }

    fn interval_s(&self) -> u32 {
        TICK_S
    }

    fn decide(&mut self, view: &View<'_>) -> Option<Wish> {
        Some(Wish { replicas: self.replicas(view).unwrap_or(view.total), admitted: None })
    }
}
