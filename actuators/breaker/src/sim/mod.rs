//! Simulation (feature `sim`): calls arrive open loop, whatever becomes of earlier ones; each policy sees the same arrivals and the
//! same fate of each call it admits. Everything is seeded. What is reported is per offered call.

mod noisy;
mod queueing;
mod rules;
mod scenarios;
mod shadow;
mod traffic;
mod trips;

pub use noisy::{Noise, overload_on_a_busy_machine};
pub use queueing::{CausalityRun, FleetRun, OverloadRun, causality, fleet, overload};
pub use rules::{Rule, Token, by_name, names};
pub use scenarios::{PhaseCount, Scenario, ScenarioRun, run, scenarios};
pub use shadow::{ShadowRun, shadow, shadow_of_overload};
pub use traffic::{Errors, Fate};
pub use trips::{
    Drill, FalseOpenings, Until, drill, false_openings, openings, poisoning, poisson, seasonal_detection,
    wilson,
};
