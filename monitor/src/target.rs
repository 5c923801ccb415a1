//! Targets to scrape: their identity, and the list of them as text: JSON, one object per target, or groups of targets as in
//! Prometheus' `file_sd_configs`.

use std::collections::BTreeMap;
use std::fmt;

use proto::model::{InvalidId, ResourceId, ResourceKind};
use serde::Deserialize;

/// Most targets of one Monitor: 10,000 at 15 s are 670 scrapes a second, more than one machine should do.
pub const TARGETS_MAX: usize = 10_000;

/// Labels that a target list may give one target.
const LABELS_MAX: usize = 64;

/// Which target. Two targets with the same job and instance are the same one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId {
    /// What it runs.
    pub job: String,
    /// Which one of these, usually `host:port`.
    pub instance: String,
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job, self.instance)
    }
}

/// Something to scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which it is.
    pub id: TargetId,
    /// Where its series are.
    pub url: String,
    /// Its labels, with `job` and `instance`; a Service selects its targets by them.
    pub labels: BTreeMap<String, String>,
}

impl Target {
    /// A target from its address (`host:port` or a whole URL) and its labels. `__scheme__` and `__metrics_path__` complete
    /// a bare address; other labels that begin with two underscores are dropped, as Prometheus does.
    pub fn new(address: &str, labels: &BTreeMap<String, String>) -> Result<Self, InvalidId> {
        let label = |name: &str| labels.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let (url, host) = url(address, label("__scheme__"), label("__metrics_path__"))?;
        let id = TargetId {
            job: label("job").unwrap_or("default").to_owned(),
            instance: label("instance").unwrap_or(&host).to_owned(),
        };
        host_resource(&id)?;
        let mut labels: BTreeMap<_, _> = labels
            .iter()
            .filter(|(name, _)| !name.starts_with("__"))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        if labels.len() > LABELS_MAX {
            return Err(InvalidId::new("labels", labels.len(), "must be at most 64"));
        }
        labels.insert("job".to_owned(), id.job.clone());
        labels.insert("instance".to_owned(), id.instance.clone());
        Ok(Self { id, url, labels })
    }

    /// The resource that carries its series when no Service names it.
    ///
    /// # Panics
    /// Never: [`Target::new`] checked the parts.
    #[must_use]
    pub fn host(&self) -> ResourceId {
        host_resource(&self.id).expect("the identity was checked when the target was made")
    }
}

fn host_resource(id: &TargetId) -> Result<ResourceId, InvalidId> {
    ResourceId::new(ResourceKind::Host, &id.job, &id.instance).map_err(|error| error.under("target"))
}

/// The URL and the `host:port` in it.
fn url(address: &str, scheme: Option<&str>, path: Option<&str>) -> Result<(String, String), InvalidId> {
    let rule = "must be host:port, or a URL that begins with http:// or https://";
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => (scheme.unwrap_or("http"), address),
    };
    let (host, given_path) = match rest.find('/') {
        Some(at) => (&rest[..at], Some(&rest[at..])),
        None => (rest, None),
    };
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '@';
    if !matches!(scheme, "http" | "https") || host.is_empty() || !host.chars().all(plain) {
        return Err(InvalidId::new("target", address, rule));
    }
    let path = given_path.or(path).unwrap_or("/metrics");
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok((format!("{scheme}://{host}{slash}{path}"), host.to_owned()))
}

/// Why a target list was refused. The whole list is: half a list would look like lost targets.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Not the JSON that is expected.
    #[error(
        "cannot read the list; it must be [{{\"targets\": [\"host:port\"], \"labels\": {{\"job\": \"...\"}}}}]"
    )]
    Syntax(#[source] serde_json::Error),
    /// One target breaks a rule.
    #[error("a target is not valid")]
    Invalid(#[source] InvalidId),
    /// The same job and instance twice.
    #[error("target {0} is listed twice; job and instance must differ")]
    Repeated(TargetId),
    /// More than [`TARGETS_MAX`].
    #[error("the list has {0} targets; at most {TARGETS_MAX} are scraped")]
    TooMany(usize),
}

/// One entry of a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Listed {
    Group(Group),
    One(One),
}

/// Targets that share labels.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    targets: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// One target with its identity.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    job: String,
    instance: String,
    url: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl Listed {
    fn targets(self) -> Vec<Result<Target, InvalidId>> {
        match self {
            Self::Group(Group { targets, labels }) => {
                targets.iter().map(|address| Target::new(address, &labels)).collect()
            }
            Self::One(One { job, instance, url, mut labels }) => {
                labels.extend([("job".to_owned(), job), ("instance".to_owned(), instance)]);
                vec![Target::new(&url, &labels)]
            }
        }
    }
}

/// Reads a list.
///
/// # Errors
/// If any of it is not valid; then none of it is taken.
pub fn read_list(json: &[u8]) -> Result<Vec<Target>, ListError> {
    let listed: Vec<Listed> = serde_json::from_slice(json).map_err(ListError::Syntax)?;
    let targets: Result<Vec<_>, _> = listed.into_iter().flat_map(Listed::targets).collect();
    by_id(targets.map_err(ListError::Invalid)?).map(|targets| targets.into_values().collect())
}

/// The targets by identity, if no two share one.
pub fn by_id(targets: impl IntoIterator<Item = Target>) -> Result<BTreeMap<TargetId, Target>, ListError> {
    let mut by_id = BTreeMap::new();
    for target in targets {
        if let Some(repeated) = by_id.insert(target.id.clone(), target) {
            return Err(ListError::Repeated(repeated.id));
        }
    }
    if by_id.len() > TARGETS_MAX { Err(ListError::TooMany(by_id.len())) } else { Ok(by_id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn reads_the_list_that_prometheus_reads() {
        let json = br#"[{"targets": ["10.0.0.1:9100", "https://b.example/m"], "labels": {"job": "node", "__x": "y", "dc": "a"}}]"#;
        let list = read_list(json).unwrap();
        assert_eq!(list[0].url, "http://10.0.0.1:9100/metrics");
        assert_eq!(list[0].host().to_string(), "host:node/10.0.0.1:9100");
        assert_eq!(list[0].labels, labels(&[("dc", "a"), ("instance", "10.0.0.1:9100"), ("job", "node")]));
        assert_eq!(list[1].url, "https://b.example/m");
        assert_eq!(list[1].id.instance, "b.example");
    }

    #[test]
    fn reads_a_list_with_one_object_per_target() {
        let json = br#"[{"job": "catalog", "instance": "catalog-1", "url": "http://127.0.0.1:9000/metrics", "labels": {"service": "catalog"}}]"#;
        let list = read_list(json).unwrap();
        assert_eq!(
            (list[0].id.to_string().as_str(), list[0].url.as_str()),
            ("catalog/catalog-1", "http://127.0.0.1:9000/metrics")
        );
        let all = labels(&[("instance", "catalog-1"), ("job", "catalog"), ("service", "catalog")]);
        assert_eq!(list[0].labels, all);
    }

    #[test]
    fn labels_complete_a_bare_address() {
        let given =
            labels(&[("__scheme__", "https"), ("__metrics_path__", "stats?all=1"), ("instance", "one")]);
        let target = Target::new("a:1", &given).unwrap();
        assert_eq!(
            (target.url.as_str(), target.id.to_string().as_str()),
            ("https://a:1/stats?all=1", "default/one")
        );
    }

    #[test]
    fn a_list_with_one_bad_target_is_refused_whole() {
        for json in [
            r#"{"targets": []}"#,
            r#"[{"targets": ["a:1"], "label": {}}]"#,
            r#"[{"job": "a", "instance": "b"}]"#,
            r#"[{"job": "a", "instance": "b", "url": "a:1", "targets": []}]"#,
            r#"[{"targets": [""]}]"#,
            r#"[{"targets": ["ftp://a"]}]"#,
            r#"[{"targets": ["user:secret@a:1"]}]"#,
            r#"[{"targets": ["a:1", "a:1"]}]"#,
            r#"[{"targets": ["a:1"], "labels": {"job": "Has Blanks"}}]"#,
            r#"[{"targets": ["a:1"], "labels": {"instance": "a/b"}}]"#,
            "",
        ] {
            assert!(read_list(json.as_bytes()).is_err(), "{json} must be refused");
        }
        assert_eq!(read_list(b"[]").unwrap(), []);
    }
}
