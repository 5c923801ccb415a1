//! The modelled service: replicas as M/M/w queues with a fluid backlog when they are overloaded.

/// A step's utilisation is cut here when the tail is asked for: beyond, the backlog tells what is late.
const UTILISATION_MAX: f64 = 0.98;
/// Requests wait at most so many seconds of work; the rest is dropped.
const BACKLOG_MAX_S: f64 = 5.0;

/// One replica and what is promised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Service {
    /// Requests per second that one replica can serve.
    pub rate: f64,
    /// Workers in one replica.
    pub workers: u32,
    /// A later answer is late, in seconds.
    pub objective_s: f64,
}

impl Default for Service {
    /// 100 requests/s by 4 workers of 40 ms each, promised within 400 ms.
    fn default() -> Self {
        Self { rate: 100.0, workers: 4, objective_s: 0.4 }
    }
}

impl Service {
    /// The share of requests that take longer than `within_s` in an M/M/w queue at utilisation `rho`, below 1.
    #[must_use]
    pub fn tail(&self, rho: f64, within_s: f64) -> f64 {
        let w = f64::from(self.workers);
        let (load, service_s) = (w * rho, w / self.rate);
        let scaled = within_s / service_s;
        let slack = w - 1.0 - load;
        // (1 - e^{-x k}) / k, which tends to x where k vanishes.
        let waited = if slack.abs() < 1e-9 { scaled } else { (1.0 - (-scaled * slack).exp()) / slack };
        (-scaled).exp() * (1.0 + self.waits(load) * waited)
    }

    /// Erlang's C: the probability that a request has to wait.
    fn waits(&self, load: f64) -> f64 {
        let (mut term, mut sum) = (1.0, 1.0);
        for worker in 1..self.workers {
            term *= load / f64::from(worker);
            sum += term;
        }
        let w = f64::from(self.workers);
        let last = term * load / w * w / (w - load);
        last / (sum + last)
    }

    /// The utilisation at which this share is late, by bisection.
    #[must_use]
    pub fn utilisation_for(&self, late: f64) -> f64 {
        let (mut low, mut high) = (0.0, 1.0 - 1e-12);
        for _ in 0..200 {
            let middle = (low + high) / 2.0;
            if self.tail(middle, self.objective_s) < late { low = middle } else { high = middle }
        }
        (low + high) / 2.0
    }
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Step {
    /// Served work over what the ready replicas could serve.
    pub utilisation: f64,
    /// Share of the step's arrivals that is late, dropped or turned away.
    pub late_ratio: f64,
}

/// The requests that wait.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Backlog(f64);

impl Backlog {
    /// One step of `dt` seconds at `arrivals` requests/s on `ready` replicas; at most `admitted` requests/s and replica are let
    /// in, the rest is turned away at once.
    pub fn step(
        &mut self,
        service: &Service,
        arrivals: f64,
        ready: u32,
        dt: f64,
        admitted: Option<f64>,
    ) -> Step {
        let can = f64::from(ready) * service.rate;
        if can <= 0.0 {
            return Step { utilisation: 0.0, late_ratio: 1.0 };
        }
        let limit = admitted.map_or(f64::INFINITY, |limit| limit * f64::from(ready));
        let turned_away = if arrivals > limit { 1.0 - limit / arrivals } else { 0.0 };
        let rate = arrivals.min(limit);
        let before = self.0 / can;
        let waiting = self.0 + rate * dt - can * dt;
        let served = if waiting <= 0.0 {
            let served = self.0 + rate * dt;
            self.0 = 0.0;
            served
        } else {
            self.0 = waiting.min(can * BACKLOG_MAX_S);
            can * dt
        };
        let delay = (before + self.0 / can) / 2.0;
        let late = if delay >= service.objective_s {
            1.0
        } else {
            service.tail((rate / can).min(UTILISATION_MAX), service.objective_s - delay)
        };
        Step { utilisation: served / (can * dt), late_ratio: turned_away + (1.0 - turned_away) * late }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_is_that_of_the_specification() {
        let service = Service::default();
        for (rho, tail) in
            [(0.70, 1.295_355_94e-4), (0.80, 9.104_139_9e-4), (0.90, 2.403_280_06e-2), (0.98, 0.466_908_294)]
        {
            assert!((service.tail(rho, 0.4) / tail - 1.0).abs() < 1e-6, "{rho}");
        }
        assert!((service.utilisation_for(0.001) - 0.803_345_885_163_893_6).abs() < 1e-9);
        assert!((service.utilisation_for(0.01) - 0.875_225_859_321_502_2).abs() < 1e-9);
    }

    #[test]
    fn tail_is_smooth_where_its_formula_divides_by_nothing() {
        let service = Service::default();
        let (below, at, above) =
            (service.tail(0.749_999, 0.4), service.tail(0.75, 0.4), service.tail(0.750_001, 0.4));
        assert!(below < at && at < above && (above - below) / at < 1e-3);
    }

    #[test]
    fn overload_queues_then_drops_and_empties_again() {
        let (service, mut backlog) = (Service::default(), Backlog::default());
        let flooded = (0..10).map(|_| backlog.step(&service, 500.0, 2, 5.0, None)).last().unwrap();
        assert_eq!((flooded.utilisation, flooded.late_ratio, backlog.0), (1.0, 1.0, 1_000.0));
        (0..4).for_each(|_| _ = backlog.step(&service, 100.0, 2, 5.0, None));
        assert_eq!(backlog.0, 0.0);
    }

    #[test]
    fn what_is_turned_away_is_late_and_leaves_the_rest_in_time() {
        let (service, mut backlog) = (Service::default(), Backlog::default());
        let step = backlog.step(&service, 360.0, 2, 5.0, Some(90.0));
        assert_eq!(backlog.0, 0.0);
        assert!((step.late_ratio - (0.5 + 0.5 * service.tail(0.9, 0.4))).abs() < 1e-12);
    }

    #[test]
    fn nobody_ready_means_everything_is_late() {
        let step = Backlog::default().step(&Service::default(), 5.0, 0, 5.0, None);
        assert_eq!((step.utilisation, step.late_ratio), (0.0, 1.0));
    }
}
