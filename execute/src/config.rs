//! What Execute can be told. Everything is checked before a port opens.

use std::path::PathBuf;
use std::time::Duration;

use chassis::config::duration;
use chassis::{ClientConfig, Invalid, ServerConfig, Validate};
use serde::{Deserialize, Serialize};

/// Shorter leases would be lost to an ordinary pause of a process.
const LEASE_TTL_MIN: Duration = Duration::from_millis(500);
/// Longer leases would keep a dead actuator's place for too long.
const LEASE_TTL_MAX: Duration = Duration::from_secs(600);

/// Execute's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where actuators and people call.
    pub server: ServerConfig,
    /// Where the ledger is.
    pub knowledge: ClientConfig,
    /// Where assessments come from.
    pub analyze: ClientConfig,
    /// Where the pause is remembered; it must outlive the process.
    pub data_dir: PathBuf,
    /// How long an actuator's lease lasts. 10 s: three renewals fit, and a dead actuator is known within ten seconds.
    #[serde(with = "duration")]
    pub lease_ttl: Duration,
    /// How long a report waits to become durable before the actuator is asked to report again. 5 s outlasts a restart of
    /// Knowledge.
    #[serde(with = "duration")]
    pub report_wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig::loopback(7405),
            knowledge: ClientConfig::loopback(7401),
            analyze: ClientConfig::loopback(7403),
            data_dir: "/var/lib/homeostat/execute".into(),
            lease_ttl: Duration::from_secs(10),
            report_wait: Duration::from_secs(5),
        }
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Invalid> {
        let Self { server, knowledge, analyze, data_dir, lease_ttl, report_wait } = self;
        server.validate().map_err(|invalid| invalid.under("server"))?;
        knowledge.validate().map_err(|invalid| invalid.under("knowledge"))?;
        analyze.validate().map_err(|invalid| invalid.under("analyze"))?;
        if data_dir.as_os_str().is_empty() {
            return Err(Invalid::new("data_dir", "", "must name a directory"));
        }
        if !(LEASE_TTL_MIN..=LEASE_TTL_MAX).contains(lease_ttl) {
            return Err(Invalid::new(
                "lease_ttl",
                duration::format(*lease_ttl),
                "must be between 500ms and 10m",
            ));
        }
        if report_wait.is_zero() || *report_wait > LEASE_TTL_MAX {
            return Err(Invalid::new(
                "report_wait",
                duration::format(*report_wait),
                "must be above 0 and at most 10m",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_broken_rules_name_their_key() {
        assert_eq!(Config::default().validate(), Ok(()));
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().unwrap_err().key
        };
        assert_eq!(refused(|c| c.lease_ttl = Duration::from_millis(1)), "lease_ttl");
        assert_eq!(refused(|c| c.report_wait = Duration::ZERO), "report_wait");
        assert_eq!(refused(|c| c.data_dir = PathBuf::new()), "data_dir");
        assert_eq!(refused(|c| c.knowledge.url = "x".to_owned()), "knowledge.url");
    }
}
