//! What Plan can be told. Everything is checked before a port opens.

use chassis::{ClientConfig, Invalid, ServerConfig, Validate, config::duration};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Below this, planning would cost more than it could save between two scrapes.
const TICK_MIN: Duration = Duration::from_millis(100);
/// Beyond this, cooldowns and expiries of seconds would pass unseen.
const TICK_MAX: Duration = Duration::from_secs(60);

/// Plan's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where `ListReports` is served.
    pub server: ServerConfig,
    /// Where assessments come from.
    pub analyze: ClientConfig,
    /// Where declarations come from and directives go.
    pub knowledge: ClientConfig,
    /// Everything is planned again at least this often, whatever happens: cooldowns end without a message. 1 s is well below
    /// the shortest useful cooldown.
    #[serde(with = "duration")]
    pub tick: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig::loopback(7404),
            analyze: ClientConfig::loopback(7403),
            knowledge: ClientConfig::loopback(7401),
            tick: Duration::from_secs(1),
        }
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Invalid> {
        let Self { server, analyze, knowledge, tick } = self;
        server.validate().map_err(|invalid| invalid.under("server"))?;
        analyze.validate().map_err(|invalid| invalid.under("analyze"))?;
        knowledge.validate().map_err(|invalid| invalid.under("knowledge"))?;
        if !(TICK_MIN..=TICK_MAX).contains(tick) {
            return Err(Invalid::new("tick", duration::format(*tick), "must be 100ms to 1m"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_a_tick_out_of_range_is_named() {
        assert_eq!(Config::default().validate(), Ok(()));
        for tick in [Duration::ZERO, Duration::from_secs(61)] {
            let invalid = Config { tick, ..Config::default() }.validate().unwrap_err();
            assert_eq!(invalid.key, "tick");
        }
    }
}
