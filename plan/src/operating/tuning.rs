//! What a state changes in the loop: how often it looks, how far ahead, and what a change must gain. Each is the least of a stated
//! cost, of the risk that the state stands for against what caution costs:
//!
//! - cadence `c`: `risk · c / 2 + LOOK / c`, for what goes bad until the next look and the work of looking;
//! - look-ahead `a`: `risk · TAU · exp(−a / TAU) + IDLE · a`, for a rise that is met too late and replicas that idle;
//! - sensitivity `s`: `risk · s + CHURN / s`, for what is gained too late and changes that are taken back.
//!
//! The risk is the state's and not the moment's, so that nothing moves without a change of state.

use super::State;
use std::time::Duration;

/// Work of a look over what goes bad in a second of a healthy service: it is looked at every two seconds.
const LOOK: f64 = 2.0;
/// How fast the benefit of looking ahead decays: rises that are foreseen for longer are no longer rises of now.
const TAU_S: f64 = 10.0;
/// A replica that idles for a second, in the same measure: a healthy service does not look further than its delay.
const IDLE: f64 = 1.0;
/// A change that is taken back, in the same measure: a healthy service has factor 1.
const CHURN: f64 = 1.0;
/// What the loop can do: a tick is a second.
const CADENCE_S: (f64, f64) = (1.0, 5.0);
const LOOK_AHEAD_MAX_S: f64 = 30.0;
const SENSITIVITY: (f64, f64) = (0.25, 2.0);

/// How closely a service is followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// How often it is planned without news.
    pub cadence: Duration,
    /// How far ahead its plan looks beyond the actuation delay.
    pub look_ahead: Duration,
    /// Factor on what a change must gain to be worth it.
    pub sensitivity: f64,
}

impl Tuning {
    /// The cheapest for the risk that the state stands for.
    pub fn of(state: State) -> Self {
        // How much worse a second is than one of a healthy service: the middle of the pressures at which the state holds.
        let risk: f64 = match state {
            State::Optimizing => 0.5,
            State::Healthy => 1.0,
            State::Recovering => 2.0,
            State::Degraded => 4.0,
            State::Critical => 16.0,
        };
        let cadence = (2.0 * LOOK / risk).sqrt().clamp(CADENCE_S.0, CADENCE_S.1);
        let look_ahead = (TAU_S * (risk / IDLE).ln()).clamp(0.0, LOOK_AHEAD_MAX_S);
        Self {
            cadence: Duration::from_secs_f64(cadence),
            look_ahead: Duration::from_secs_f64(look_ahead),
            sensitivity: (CHURN / risk).sqrt().clamp(SENSITIVITY.0, SENSITIVITY.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_it_is_the_closer_it_is_followed_and_a_healthy_one_is_followed_as_ever() {
        let states = [State::Optimizing, State::Healthy, State::Recovering, State::Degraded, State::Critical];
        for pair in states.windows(2) {
            let (better, worse) = (Tuning::of(pair[0]), Tuning::of(pair[1]));
            assert!(better.cadence >= worse.cadence && better.look_ahead <= worse.look_ahead, "{pair:?}");
            assert!(better.sensitivity > worse.sensitivity, "{pair:?}");
        }
        let healthy = Tuning::of(State::Healthy);
        assert_eq!((healthy.sensitivity, healthy.look_ahead), (1.0, Duration::ZERO));
    }

    #[test]
    fn each_is_the_least_of_its_cost() {
        for (state, risk) in [(State::Recovering, 2.0), (State::Degraded, 4.0)] {
            let Tuning { cadence, look_ahead, sensitivity } = Tuning::of(state);
            let least = |cost: &dyn Fn(f64) -> f64, at: f64, within: (f64, f64)| {
                let near = |x: f64| x.clamp(within.0, within.1);
                assert!(
                    cost(at) <= cost(near(at * 1.05)) && cost(at) <= cost(near(at * 0.95)),
                    "{state} {at}"
                );
            };
            least(&|c| risk * c / 2.0 + LOOK / c, cadence.as_secs_f64(), CADENCE_S);
            let ahead = look_ahead.as_secs_f64();
            least(&|a| risk * TAU_S * (-a / TAU_S).exp() + IDLE * a, ahead, (0.0, LOOK_AHEAD_MAX_S));
            least(&|s| risk * s + CHURN / s, sensitivity, SENSITIVITY);
        }
    }
}
