//! Settings as users write them, what they become, and the messages that mistakes get.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::*;
use crate::config::{ServerConfig, duration};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    server: ServerConfig,
    monitor: Monitor,
    #[serde(default)]
    database_url: Option<String>,
    #[serde(default)]
    sources: Vec<Origin>,
    labels: BTreeMap<String, u32>,
}

/// Without `deny_unknown_fields` on purpose: the loader refuses unknown keys by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Monitor {
    #[serde(with = "duration")]
    scrape_interval: Duration,
    #[serde(default, with = "duration::optional", skip_serializing_if = "Option::is_none")]
    grace: Option<Duration>,
    windows: u16,
    ratio: f64,
    backfill: bool,
    mode: Mode,
    peers: Vec<SocketAddr>,
    kinds: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Origin {
    url: String,
    weight: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Scrape,
    Push,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            server: ServerConfig::loopback(7402),
            monitor: Monitor {
                scrape_interval: Duration::from_secs(15),
                grace: None,
                windows: 4,
                ratio: 0.5,
                backfill: true,
                mode: Mode::Scrape,
                peers: Vec::new(),
                kinds: BTreeSet::new(),
            },
            database_url: None,
            sources: Vec::new(),
            labels: BTreeMap::from([("a".to_owned(), 1)]),
        }
    }
}

impl Validate for Settings {
    fn validate(&self) -> Result<(), Invalid> {
        self.server.validate().map_err(|invalid| invalid.under("server"))?;
        if self.monitor.scrape_interval < Duration::from_secs(1) {
            let value = duration::format(self.monitor.scrape_interval);
            return Err(Invalid::new("scrape_interval", value, "must be at least 1s").under("monitor"));
        }
        Ok(())
    }
}

/// The three layers over the defaults; the file is written to a real path.
#[derive(Default)]
struct Given<'a> {
    file: &'a str,
    env: &'a [(&'a str, &'a str)],
    flags: &'a [(&'a str, &'a str)],
}

fn owned<C: FromIterator<(String, String)>>(pairs: &[(&str, &str)]) -> C {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn load_given(given: &Given<'_>) -> Result<Settings, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("homeostat.toml");
    std::fs::write(&path, given.file).unwrap();
    let layers = Layers {
        file: Some(path.clone()),
        env_prefix: "HOMEOSTAT_",
        env: owned(given.env),
        flags: owned(given.flags),
    };
    load(&layers).map_err(|error| {
        assert_eq!(error.exit_code(), 64);
        error.to_string().replace(&path.display().to_string(), "FILE")
    })
}

fn expect(given: &Given<'_>, change: impl FnOnce(&mut Settings)) {
    let mut settings = Settings::default();
    change(&mut settings);
    assert_eq!(load_given(given), Ok(settings));
}

#[test]
fn without_layers_the_defaults_hold() {
    assert_eq!(load::<Settings>(&Layers::default()).unwrap(), Settings::default());
}

#[test]
fn later_layers_win_key_by_key() {
    let file = "[monitor]\nscrape_interval = '30s'\nwindows = 5\nratio = 1\n";
    let env = [("HOMEOSTAT_MONITOR__WINDOWS", "6"), ("HOMEOSTAT_MONITOR__BACKFILL", "false")];
    let flags = [("monitor.windows", "7")];
    expect(&Given { file, env: &env, flags: &flags }, |settings| {
        settings.monitor.scrape_interval = Duration::from_secs(30);
        settings.monitor.windows = 7;
        settings.monitor.ratio = 1.0;
        settings.monitor.backfill = false;
    });
}

#[test]
fn text_becomes_the_type_that_the_setting_has() {
    let env = [
        // A text that looks like a number stays text where text is asked for.
        ("HOMEOSTAT_DATABASE_URL", "12345"),
        ("HOMEOSTAT_SERVER__LISTEN", "127.0.0.1:9"),
        ("HOMEOSTAT_MONITOR__SCRAPE_INTERVAL", "1.5h"),
        ("HOMEOSTAT_MONITOR__GRACE", "200ms"),
        ("HOMEOSTAT_MONITOR__RATIO", "3"),
        ("HOMEOSTAT_MONITOR__WINDOWS", "1_000"),
        ("HOMEOSTAT_MONITOR__MODE", "push"),
        ("HOMEOSTAT_MONITOR__PEERS", "127.0.0.1:1, 127.0.0.1:2"),
        ("HOMEOSTAT_MONITOR__KINDS", "['service', 'edge']"),
        ("HOMEOSTAT_LABELS__B", "2"),
        ("HOMEOSTAT_SOURCES", "[{ url = 'x', weight = 3 }]"),
    ];
    expect(&Given { env: &env, ..Given::default() }, |settings| {
        settings.database_url = Some("12345".to_owned());
        settings.server.listen = "127.0.0.1:9".parse().unwrap();
        settings.monitor.scrape_interval = Duration::from_secs(5400);
        settings.monitor.grace = Some(Duration::from_millis(200));
        settings.monitor.ratio = 3.0;
        settings.monitor.windows = 1000;
        settings.monitor.mode = Mode::Push;
        settings.monitor.peers = ["127.0.0.1:1", "127.0.0.1:2"].map(|peer| peer.parse().unwrap()).to_vec();
        settings.monitor.kinds = ["edge", "service"].map(str::to_owned).into();
        settings.labels.insert("b".to_owned(), 2);
        settings.sources = vec![Origin { url: "x".to_owned(), weight: 3 }];
    });
}

#[test]
fn empty_text_takes_an_optional_setting_away() {
    let given = Given {
        file: "database_url = 'postgres://db/x'",
        env: &[("HOMEOSTAT_DATABASE_URL", "")],
        ..Given::default()
    };
    expect(&given, |_| {});
}

#[test]
fn variables_that_are_no_settings_are_left_alone() {
    let env = [
        ("PATH", "/bin"),
        ("HOMEOSTAT_", "x"),
        ("HOMEOSTAT_MONITOR_SERVICE_HOST", "10.0.0.1"),
        ("HOMEOSTAT_MONITOR_SERVICE_PORT", "7402"),
        ("HOMEOSTAT_MONITOR_SERVICE_PORT_GRPC", "7402"),
        ("HOMEOSTAT_MONITOR_PORT", "tcp://10.0.0.1:7402"),
        ("HOMEOSTAT_MONITOR_PORT_7402_TCP", "tcp://10.0.0.1:7402"),
        ("HOMEOSTAT_MONITOR_PORT_7402_TCP_ADDR", "10.0.0.1"),
    ];
    expect(&Given { env: &env, ..Given::default() }, |_| {});
}

#[test]
fn mistakes_in_the_file_name_key_rule_value_and_file() {
    let duration = r#"must be a duration with a unit, such as "30s", "1.5h" or "200ms" (from FILE)"#;
    let loopback = "must be a loopback address unless tls is configured or insecure_bind = true (from FILE)";
    for (file, place, rule) in [
        (
            "[monitor]\nwindows = 'many'",
            r#"monitor.windows = "many""#,
            "must be a whole number from 0 to 65535 (from FILE)",
        ),
        (
            "[monitor]\nwindows = 70000",
            "monitor.windows = 70000",
            "must be a whole number from 0 to 65535 (from FILE)",
        ),
        (
            "[monitor]\nwindows = -1",
            "monitor.windows = -1",
            "must be a whole number from 0 to 65535 (from FILE)",
        ),
        ("[monitor]\nbackfill = 1", "monitor.backfill = 1", "must be true or false (from FILE)"),
        ("[monitor]\nscrape_interval = 30", "monitor.scrape_interval = 30", duration),
        ("[monitor]\ngrace = '30'", r#"monitor.grace = "30""#, duration),
        (
            "[monitor]\nscrape_interval = '200ms'",
            "monitor.scrape_interval = 200ms",
            "must be at least 1s (from FILE)",
        ),
        ("[monitor]\nmode = 'pull'", r#"monitor.mode = "pull""#, "must be one of scrape, push (from FILE)"),
        ("[monitor]\nmode = 3", "monitor.mode = 3", "must be one of scrape, push (from FILE)"),
        ("monitor = 3", "monitor = 3", "must be a table (from FILE)"),
        ("[monitor]\npeers = 'x:y'", "monitor.peers = \"x:y\"", "must be a list (from FILE)"),
        (
            "[monitor]\nscrape_intervall = '30s'",
            r#"monitor.scrape_intervall = "30s""#,
            "is not a known key; did you mean scrape_interval? (from FILE)",
        ),
        (
            "[server]\nbananas = 1",
            "server.bananas = 1",
            "is not a known key; known here: listen, tls, insecure_bind (from FILE)",
        ),
        (
            "[monitors]\nwindows = 1",
            "monitors = a table",
            "is not a known key; did you mean monitor? (from FILE)",
        ),
        ("[[sources]]\nurl = 'x'", "sources[0].weight", "is required (from FILE)"),
        (
            "[[sources]]\nurl = 'x'\nweight = 300",
            "sources[0].weight = 300",
            "must be a whole number from 0 to 255 (from FILE)",
        ),
        ("[server]\nlisten = '0.0.0.0:1'", "server.listen = 0.0.0.0:1", loopback),
        (
            "[server]\nlisten = 'here'",
            r#"server.listen = "here""#,
            "invalid socket address syntax (from FILE)",
        ),
        ("[server.tls]\nkey_file = 'k'", "server.tls.cert_file", "is required (from FILE)"),
    ] {
        let found = load_given(&Given { file, ..Given::default() });
        assert_eq!(found, Err(format!("{place}: {rule}")), "{file}");
    }
}

#[test]
fn mistakes_in_the_environment_and_flags_name_where_they_were_made() {
    for (name, value, message) in [
        (
            "HOMEOSTAT_MONITOR__WINDOWS",
            "many",
            r#"monitor.windows = "many": must be a whole number from 0 to 65535 (from the environment variable HOMEOSTAT_MONITOR__WINDOWS)"#,
        ),
        (
            "HOMEOSTAT_MONITOR__WINDOW",
            "1",
            r#"monitor.window = "1": is not a known key; did you mean windows? (from the environment variable HOMEOSTAT_MONITOR__WINDOW)"#,
        ),
        (
            "HOMEOSTAT_MONITOR__WINDOWS__X",
            "1",
            "monitor.windows.x = 1: cannot be set: monitor.windows is no table (from the environment variable HOMEOSTAT_MONITOR__WINDOWS__X)",
        ),
        (
            "HOMEOSTAT_MONITOR__PEERS",
            "here",
            r#"monitor.peers[0] = "here": invalid socket address syntax (from the environment variable HOMEOSTAT_MONITOR__PEERS)"#,
        ),
    ] {
        let found = load_given(&Given { env: &[(name, value)], ..Given::default() });
        assert_eq!(found, Err(message.to_owned()));
    }
    let found = load_given(&Given { flags: &[("monitor.scrape_interval", "1ms")], ..Given::default() });
    let message =
        "monitor.scrape_interval = 1ms: must be at least 1s (from the command line, monitor.scrape_interval)";
    assert_eq!(found, Err(message.to_owned()));
}

#[test]
fn broken_toml_is_placed_by_line_and_column() {
    let found = load_given(&Given { file: "\n[monitor]\nwindows = = 2", ..Given::default() }).unwrap_err();
    assert!(found.starts_with("FILE:3:11 is not valid TOML: "), "{found}");
}

#[test]
fn missing_file_is_named_once() {
    let layers = Layers { file: Some("/no/such.toml".into()), ..Layers::default() };
    let error = load::<Settings>(&layers).unwrap_err();
    assert_eq!(
        crate::chain(&error),
        "cannot read the configuration file /no/such.toml: No such file or directory (os error 2)"
    );
}

#[test]
fn printed_settings_load_back_to_the_same() {
    let env = [("HOMEOSTAT_MONITOR__GRACE", "1m 30s"), ("HOMEOSTAT_SOURCES", "[{ url = 'x', weight = 3 }]")];
    let settings = load_given(&Given { env: &env, ..Given::default() }).unwrap();
    expect(&Given { file: &print(&settings), ..Given::default() }, |expected| *expected = settings.clone());
}

#[test]
fn printed_settings_hide_passwords() {
    let settings =
        Settings { database_url: Some("postgres://me:secret@db/x".to_owned()), ..Settings::default() };
    let text = print(&settings);
    assert!(text.contains("postgres://me:***@db/x") && !text.contains("secret"), "{text}");
}

#[test]
fn process_environment_is_read() {
    assert!(environment().contains_key("PATH"));
}
