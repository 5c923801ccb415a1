//! What Monitor can be told. Everything is checked before a port opens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chassis::config::duration;
use chassis::{ClientConfig, Invalid, ServerConfig, Validate};
use serde::{Deserialize, Serialize};

use crate::target::{self, Target};
use crate::{admission, exposition, outbox};

/// The shortest interval: below it, a scrape costs more than it tells.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The longest interval: beyond it, nothing that is learned would be in time.
const INTERVAL_MAX: Duration = Duration::from_secs(3_600);
/// The largest share of an interval over which scrapes are spread.
const JITTER_MAX: f64 = 0.1;

/// Monitor's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where `ListTargets` is served.
    pub server: ServerConfig,
    /// Where samples go.
    pub analyze: ClientConfig,
    /// Where declared services come from.
    pub knowledge: ClientConfig,
    /// The name under which this Monitor sends; tell several apart by it.
    pub sender: String,
    /// How often every target is scraped. 15 s is Prometheus' habit; a service that should be healed within seconds wants 1 s.
    #[serde(with = "duration")]
    pub scrape_interval: Duration,
    /// How long a target may take to answer; without it, two thirds of the interval.
    #[serde(with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub scrape_timeout: Option<Duration>,
    /// The share of the interval over which the scrapes of one tick are spread, 0 to 0.1.
    pub jitter_share: f64,
    /// Rates cover at least this time; 0 s: from one scrape to the next, the quickest to show a change.
    #[serde(with = "duration")]
    pub rate_window: Duration,
    /// Targets that are always scraped.
    pub targets: Vec<TargetConfig>,
    /// A file with more targets, as JSON: `[{job, instance, url, labels}]`, or the form of Prometheus' `file_sd_configs`.
    /// Read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets_file: Option<PathBuf>,
    /// How much is taken in and held.
    pub limits: Limits,
}

/// A target that is always scraped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetConfig {
    /// `host:port` (then `/metrics` over http), or a URL.
    pub address: String,
    /// Its labels; `job` names what it runs.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// How much is taken in and held. Everything beyond is dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one answer.
    pub body_bytes: usize,
    /// Bytes of one line of it.
    pub line_bytes: usize,
    /// Labels of one series.
    pub labels: usize,
    /// Bytes of one name or label value.
    pub label_bytes: usize,
    /// Series of one target.
    pub series_per_target: usize,
    /// Series of all targets.
    pub series_total: usize,
    /// Rows that wait for Analyze.
    pub unsent_rows: usize,
    /// Batches that Analyze has not acknowledged.
    pub unacknowledged_batches: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig::loopback(7402),
            analyze: ClientConfig::loopback(7403),
            knowledge: ClientConfig::loopback(7401),
            sender: "monitor".to_owned(),
            scrape_interval: Duration::from_secs(15),
            scrape_timeout: None,
            jitter_share: JITTER_MAX,
            rate_window: Duration::ZERO,
            targets: Vec::new(),
            targets_file: None,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let exposition::Limits { body_bytes, line_bytes, labels, label_bytes, series: _ } =
            exposition::Limits::default();
        let admission::Limits { series_per_target, series_total } = admission::Limits::default();
        Self {
            body_bytes,
            line_bytes,
            labels,
            label_bytes,
            series_per_target,
            series_total,
            // Two ticks of all series; a row with its signal takes about 300 bytes, so 300 MB at the worst.
            unsent_rows: 2 * series_total,
            // One batch of each shard under way.
            unacknowledged_batches: 64,
        }
    }
}

impl Limits {
    /// What is read of one answer. One series more than is kept tells that there are more.
    #[must_use]
    pub fn exposition(&self) -> exposition::Limits {
        let Self { body_bytes, line_bytes, labels, label_bytes, series_per_target, .. } = *self;
        // Reading a few times what is kept lets declared series be found behind others.
        exposition::Limits {
            body_bytes,
            line_bytes,
            series: series_per_target.saturating_mul(4),
            labels,
            label_bytes,
        }
    }

    /// What is kept.
    #[must_use]
    pub fn admission(&self) -> admission::Limits {
        admission::Limits { series_per_target: self.series_per_target, series_total: self.series_total }
    }

    /// What waits.
    #[must_use]
    pub fn outbox(&self) -> outbox::Limits {
        outbox::Limits { unsent_rows: self.unsent_rows, unacknowledged: self.unacknowledged_batches }
    }

    fn validate(&self) -> Result<(), Invalid> {
        let Self {
            body_bytes,
            line_bytes,
            labels,
            label_bytes,
            series_per_target,
            series_total,
            unsent_rows,
            unacknowledged_batches,
        } = *self;
        let all = [
            ("body_bytes", body_bytes),
            ("line_bytes", line_bytes),
            ("labels", labels),
            ("label_bytes", label_bytes),
            ("series_per_target", series_per_target),
            ("series_total", series_total),
            ("unsent_rows", unsent_rows),
            ("unacknowledged_batches", unacknowledged_batches),
        ];
        match all.into_iter().find(|(_, value)| *value == 0) {
            Some((key, value)) => Err(Invalid::new(key, value, "must be at least 1")),
            None => Ok(()),
        }
    }
}

impl Config {
    /// How long a target may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.scrape_timeout.unwrap_or(self.scrape_interval * 2 / 3)
    }

    /// The targets that are always scraped.
    ///
    /// # Errors
    /// If one is not valid, or two are the same.
    pub fn static_targets(&self) -> Result<Vec<Target>, Invalid> {
        let mut all = Vec::with_capacity(self.targets.len());
        for (index, TargetConfig { address, labels }) in self.targets.iter().enumerate() {
            let target = Target::new(address, labels).map_err(|error| {
                Invalid::new(format!("targets[{index}].{}", error.key), error.value, error.rule)
            })?;
            all.push(target);
        }
        let rule = |error: target::ListError| Invalid::new("targets", "", format!("must be valid: {error}"));
        target::by_id(all).map(|by_id| by_id.into_values().collect()).map_err(rule)
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Invalid> {
        let Self {
            server,
            analyze,
            knowledge,
            sender,
            scrape_interval,
            jitter_share,
            rate_window,
            limits,
            ..
        } = self;
        server.validate().map_err(|invalid| invalid.under("server"))?;
        analyze.validate().map_err(|invalid| invalid.under("analyze"))?;
        knowledge.validate().map_err(|invalid| invalid.under("knowledge"))?;
        limits.validate().map_err(|invalid| invalid.under("limits"))?;
        if sender.is_empty() || sender.len() > 253 {
            return Err(Invalid::new("sender", sender, "must be 1 to 253 bytes"));
        }
        if !(INTERVAL_MIN..=INTERVAL_MAX).contains(scrape_interval) {
            return Err(Invalid::new(
                "scrape_interval",
                duration::format(*scrape_interval),
                "must be 100ms to 1h",
            ));
        }
        if !(0.0..=JITTER_MAX).contains(jitter_share) {
            return Err(Invalid::new("jitter_share", jitter_share, "must be 0 to 0.1"));
        }
        let latest = self.timeout() + scrape_interval.mul_f64(*jitter_share);
        if self.timeout().is_zero() || latest > *scrape_interval {
            let rule = "must be above 0 and end within the interval, jitter included";
            return Err(Invalid::new("scrape_timeout", duration::format(self.timeout()), rule));
        }
        if *rate_window > *scrape_interval * 60 {
            let rule = "must be at most 60 scrape intervals";
            return Err(Invalid::new("rate_window", duration::format(*rate_window), rule));
        }
        self.static_targets().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use chassis::Layers;
    use chassis::config::load;

    use super::*;

    #[test]
    fn the_defaults_are_valid_and_read_back() {
        let config = Config::default();
        assert_eq!(config.validate(), Ok(()));
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
        assert!(serde_json::from_str::<Config>(r#"{"scrape_intervall": "1s"}"#).is_err());
    }

    #[test]
    fn the_layers_carry_every_setting() {
        let layers = Layers {
            flags: vec![
                ("scrape_interval".to_owned(), "1s".to_owned()),
                ("targets_file".to_owned(), "targets.json".to_owned()),
            ],
            ..Layers::default()
        };
        let (interval, file) = (Duration::from_secs(1), Some("targets.json".into()));
        let expect = Config { scrape_interval: interval, targets_file: file, ..Config::default() };
        assert_eq!(load::<Config>(&layers).unwrap(), expect);
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let check = |change: fn(&mut Config), key: &str| {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(config.validate().unwrap_err().key, key);
        };
        check(|c| c.scrape_interval = Duration::ZERO, "scrape_interval");
        check(|c| c.scrape_timeout = Some(Duration::from_secs(14)), "scrape_timeout");
        check(|c| c.scrape_timeout = Some(Duration::ZERO), "scrape_timeout");
        check(|c| c.jitter_share = 0.2, "jitter_share");
        check(|c| c.jitter_share = f64::NAN, "jitter_share");
        check(|c| c.limits.unsent_rows = 0, "limits.unsent_rows");
        check(|c| c.analyze.url = "nowhere".into(), "analyze.url");
        check(|c| c.sender.clear(), "sender");
        check(|c| c.rate_window = Duration::from_secs(3_600), "rate_window");
        check(|c| c.targets = vec![TargetConfig::default()], "targets[0].target");
        let twice = |c: &mut Config| {
            let target = TargetConfig { address: "a:1".to_owned(), labels: BTreeMap::new() };
            c.targets = vec![target.clone(), target];
        };
        check(twice, "targets");
    }

    #[test]
    fn one_second_is_a_valid_interval() {
        let config = Config { scrape_interval: Duration::from_secs(1), ..Config::default() };
        assert_eq!(config.validate(), Ok(()));
        assert!(config.timeout() < Duration::from_millis(700));
    }
}
