//! What Analyze can be told. Everything is checked before a port opens.

use std::time::Duration;

use chassis::config::duration;
use chassis::{ClientConfig, Invalid, ServerConfig, Validate};
use serde::{Deserialize, Serialize};

use crate::learn::Settings;
use crate::service::prometheus::PrometheusConfig;

/// Analyze's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where samples are taken and assessments are given.
    pub server: ServerConfig,
    /// Where thresholds, snapshots and declarations live.
    pub knowledge: ClientConfig,
    /// Samples before the first threshold of a signal. 60 tell the scale to 10 %, and are a minute at 1 s.
    pub warm_up_samples: u64,
    /// Least time between two versions of one threshold. An hour is long enough that a version can be judged.
    #[serde(with = "duration")]
    pub threshold_interval: Duration,
    /// One false deviation per signal is accepted in this time. Four weeks are the longest that people keep believing an alarm.
    #[serde(with = "duration")]
    pub false_alarm_budget: Duration,
    /// How often what was learned is saved. A crash loses at most this much of it.
    #[serde(with = "duration")]
    pub snapshot_interval: Duration,
    /// The servers that the queries of imported objectives are put to.
    pub prometheus: PrometheusConfig,
}

impl Default for Config {
    fn default() -> Self {
        let Settings { warm_up_samples, threshold_interval, false_alarm_budget } = Settings::default();
        Self {
            server: ServerConfig::loopback(7403),
            knowledge: ClientConfig::loopback(7401),
            warm_up_samples,
            threshold_interval,
            false_alarm_budget,
            snapshot_interval: Duration::from_secs(600),
            prometheus: PrometheusConfig::default(),
        }
    }
}

impl Config {
    /// What learning is told.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let Self { warm_up_samples, threshold_interval, false_alarm_budget, .. } = *self;
        Settings { warm_up_samples, threshold_interval, false_alarm_budget }
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Invalid> {
        let Self {
            server,
            knowledge,
            warm_up_samples,
            threshold_interval,
            false_alarm_budget,
            snapshot_interval,
            prometheus,
        } = self;
        server.validate().map_err(|invalid| invalid.under("server"))?;
        knowledge.validate().map_err(|invalid| invalid.under("knowledge"))?;
        prometheus.validate().map_err(|invalid| invalid.under("prometheus"))?;
        if !(20..=1_000_000).contains(warm_up_samples) {
            return Err(Invalid::new("warm_up_samples", warm_up_samples, "must be 20 to 1000000"));
        }
        let spans = [
            ("threshold_interval", threshold_interval, 1),
            ("false_alarm_budget", false_alarm_budget, 60),
            ("snapshot_interval", snapshot_interval, 1),
        ];
        for (key, span, least) in spans {
            if *span < Duration::from_secs(least) || *span > Duration::from_secs(366 * 86_400) {
                return Err(Invalid::new(
                    key,
                    duration::format(*span),
                    format!("must be {least}s to 366days"),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_read_back() {
        let config = Config::default();
        assert_eq!(config.validate(), Ok(()));
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
        assert!(serde_json::from_str::<Config>(r#"{"warmup": 1}"#).is_err());
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let check = |change: fn(&mut Config), key: &str| {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(config.validate().unwrap_err().key, key);
        };
        check(|c| c.warm_up_samples = 5, "warm_up_samples");
        check(|c| c.threshold_interval = Duration::ZERO, "threshold_interval");
        check(|c| c.snapshot_interval = Duration::from_millis(500), "snapshot_interval");
        check(|c| c.false_alarm_budget = Duration::from_secs(1), "false_alarm_budget");
        check(|c| c.knowledge.url = "nowhere".into(), "knowledge.url");
        check(|c| c.prometheus.timeout = Duration::ZERO, "prometheus.timeout");
        check(|c| c.server.listen = ([0, 0, 0, 0], 1).into(), "server.listen");
    }
}
