//! Kubernetes' HPA v2: by CPU, and as KEDA drives it by requests per second. From its source, with its default behaviours.

use super::replay::{Policy, View, Wish};
use std::collections::VecDeque;

/// `horizontal-pod-autoscaler-tolerance`.
const TOLERANCE: f64 = 0.1;
/// Default scale-down stabilisation window.
const STABILISATION_S: u32 = 300;
/// Default scale-up policies: 4 pods or 100 % in this time.
const PERIOD_S: u32 = 15;
/// CPU is the mean over this window, as old as metrics are.
const CPU_WINDOW_S: (u32, u32) = (30, 15);
/// Prometheus' `rate(...[1m])`, as old as metrics are.
pub const RATE_WINDOW_S: (u32, u32) = (75, 15);

/// The part that both share: what was recommended lately, and what was added.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    recommended: VecDeque<(u32, u32)>,
    added: VecDeque<(u32, u32)>,
}

impl Behaviour {
    /// Stabilises and limits what is recommended now.
    pub fn limit(&mut self, now_s: u32, total: u32, recommended: u32, bounds: (u32, u32)) -> u32 {
        self.recommended.push_back((now_s, recommended));
        let inside = |at: u32, window: u32| i64::from(at) > i64::from(now_s) - i64::from(window);
        while self.recommended.front().is_some_and(|(at, _)| !inside(*at, STABILISATION_S)) {
            self.recommended.pop_front();
        }
        while self.added.front().is_some_and(|(at, _)| !inside(*at, PERIOD_S)) {
            self.added.pop_front();
        }
        let lasting = self.recommended.iter().map(|(_, replicas)| *replicas).max().unwrap_or(recommended);
        let stable = if recommended > total { recommended } else { total.min(lasting) };
        let start = total.saturating_sub(self.added.iter().map(|(_, replicas)| replicas).sum());
        let limit = (start + 4).max(2 * start);
        let wanted = if stable > total { stable.min(limit).max(total) } else { stable };
        let wanted = wanted.clamp(bounds.0, bounds.1);
        if wanted > total {
            self.added.push_back((now_s, wanted - total));
        }
        wanted
    }
}

/// What a metric asks for, of all replicas that there are.
pub fn by_rate(rate: f64, target: f64, total: u32) -> u32 {
    let ratio = rate / (target * f64::from(total.max(1)));
    if (1.0 - ratio).abs() <= TOLERANCE { total } else { (rate / target).ceil() as u32 }
}

/// HPA on CPU utilisation.
#[derive(Debug)]
pub struct Hpa {
    name: String,
    target_percent: u32,
    bounds: (u32, u32),
    behaviour: Behaviour,
}

impl Hpa {
    /// With this target in percent.
    #[must_use]
    pub fn new(name: String, target_percent: u32, bounds: (u32, u32)) -> Self {
        Self { name, target_percent, bounds, behaviour: Behaviour::default() }
    }

    /// The replica calculator: replicas that start, or have not been ready for the whole window, count as idle when it would
    /// scale out and not at all when it would not.
    fn recommend(&self, view: &View<'_>) -> Option<u32> {
        let used = view.utilisation(CPU_WINDOW_S.0, CPU_WINDOW_S.1)?;
        let since = view.now_s - CPU_WINDOW_S.0;
        let measured = view.ready_at.iter().filter(|at| at.is_none_or(|at| at <= since)).count() as u32;
        let (total, target) = (view.total, f64::from(self.target_percent));
        let percent = whole_percent(used * f64::from(measured), measured);
        let ratio = percent / target;
        let ignored = total - measured;
        if ratio <= 1.0 || ignored == 0 {
            let stay = (1.0 - ratio).abs() <= TOLERANCE;
            return Some(if stay { total } else { (ratio * f64::from(measured)).ceil() as u32 });
        }
        let diluted = whole_percent(used * f64::from(measured), total) / target;
        if (1.0 - diluted).abs() <= TOLERANCE || diluted < 1.0 {
            return Some(total);
        }
        Some(((diluted * f64::from(total)).ceil() as u32).max(total))
    }
}

/// Utilisation as the integer percent that HPA computes with.
fn whole_percent(used: f64, of: u32) -> f64 {
    if of == 0 { 0.0 } else { (100.0 * used / f64::from(of)).floor() }
}

impl Policy for Hpa {
    fn name(&self) -> &str {
        &self.name
    }

    fn decide(&mut self, view: &View<'_>) -> Option<Wish> {
        let wanted = match self.recommend(view) {
            Some(recommended) => self.behaviour.limit(view.now_s, view.total, recommended, self.bounds),
            None => view.total,
        };
        Some(Wish { replicas: wanted, admitted: None })
    }
}

/// KEDA's external metric as an average value: requests per second and replica.
#[derive(Debug)]
pub struct Keda {
    name: String,
    target: f64,
    bounds: (u32, u32),
    behaviour: Behaviour,
}

impl Keda {
    /// With this target in requests per second and replica.
    #[must_use]
    pub fn new(name: String, target: f64, bounds: (u32, u32)) -> Self {
        Self { name, target, bounds, behaviour: Behaviour::default() }
    }

    /// What it would run now beside another metric that asks for `also`; `None` without data.
    pub fn replicas(&mut self, view: &View<'_>, also: u32) -> Option<u32> {
        let rate = view.arrivals(RATE_WINDOW_S.0, RATE_WINDOW_S.1)?;
        let recommended = by_rate(rate, self.target, view.total).max(also);
        Some(self.behaviour.limit(view.now_s, view.total, recommended, self.bounds))
    }
}

impl Policy for Keda {
    fn name(&self) -> &str {
        &self.name
    }

    fn decide(&mut self, view: &View<'_>) -> Option<Wish> {
        Some(Wish { replicas: self.replicas(view, 0).unwrap_or(view.total), admitted: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerance_is_compared_as_floats() {
        assert_eq!(by_rate(77.0 * 10.0, 70.0, 10), 11, "1.1 is above the tolerance by rounding");
        assert_eq!(by_rate(76.0 * 10.0, 70.0, 10), 10);
        assert_eq!(by_rate(62.0 * 10.0, 70.0, 10), 9);
    }

    #[test]
    fn scale_in_waits_for_the_whole_window_and_scale_out_doubles_at_most() {
        let mut behaviour = Behaviour::default();
        assert_eq!(behaviour.limit(15, 6, 50, (2, 500)), 12);
        assert_eq!(behaviour.limit(30, 12, 3, (2, 500)), 12);
        assert_eq!(behaviour.limit(314, 12, 3, (2, 500)), 12);
        assert_eq!(behaviour.limit(315, 12, 3, (2, 500)), 3);
        assert_eq!(behaviour.limit(330, 1, 3, (2, 500)), 3);
    }

    #[test]
    fn percent_is_cut_and_not_rounded() {
        assert_eq!(whole_percent(0.779 * 3.0, 3), 77.0);
        assert_eq!(whole_percent(1.0, 0), 0.0);
    }
}
