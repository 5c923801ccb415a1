//! Against a real Prometheus where one is installed, and against what its API's documentation says elsewhere.

use super::*;
use chassis::testing::eventually;
use std::{
    io::Write as _,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

fn source(url: &str, query: &str, from: i64, to: i64, step_s: u64) -> Source {
    Source {
        url: url.to_owned(),
        query: query.to_owned(),
        from: Timestamp::from_second(from).unwrap(),
        to: Timestamp::from_second(to).unwrap(),
        step: Duration::from_secs(step_s),
    }
}

#[test]
fn spans_cover_each_point_once_and_none_is_too_long() {
    for points in [2, 9_999, 10_000, 10_001, 20_000, 35_000] {
        let source = source("", "", 1_000, 1_000 + 15 * (points - 1), 15);
        let spans = source.spans().unwrap();
        let asked: Vec<i64> = spans.iter().flat_map(|(from, to)| (*from..=*to).step_by(15)).collect();
        assert_eq!(asked.len() as i64, points);
        assert!(asked.windows(2).all(|pair| pair[1] == pair[0] + 15));
        assert!(spans.iter().all(|(from, to)| (to - from) / 15 < 11_000));
    }
    assert!(source("", "", 10, 10, 15).spans().is_err());
    assert!(source("", "", 0, i64::from(u32::MAX), 1).spans().is_err());
}

#[test]
fn answers_as_documented_are_read_and_errors_are_told() {
    let good = br#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},
        "values":[[1435781430.781,"1"],[1435781445.781,"NaN"],[1435781460.781,"2.5"]]}]}}"#;
    let rows = read(good).unwrap();
    assert_eq!((rows[0], rows[2]), ((1_435_781_431, 1.0), (1_435_781_461, 2.5)));
    assert!(rows[1].1.is_nan());
    let two =
        br#"{"status":"success","data":{"resultType":"matrix","result":[{"values":[]},{"values":[]}]}}"#;
    assert!(read(two).unwrap_err().to_string().contains("sum("));
    let refused = br#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
    assert!(read(refused).unwrap_err().to_string().contains("parse error"));
    assert!(read(b"<html>").is_err());
    assert!(read(br#"{"status":"success","data":{"resultType":"vector","result":[]}}"#).is_err());
}

/// A Prometheus with a past; ends with the test.
struct Running {
    child: Child,
    url: String,
    _dir: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts one that knows these points of `requests`; `None` where Prometheus is not installed.
fn prometheus(points: &[(i64, f64)]) -> Option<Running> {
    let (server, tool) = (Path::new("/usr/bin/prometheus"), Path::new("/usr/bin/promtool"));
    if !server.exists() || !tool.exists() {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let past = dir.path().join("past.om");
    let mut file = std::fs::File::create(&past).unwrap();
    writeln!(file, "# TYPE requests gauge").unwrap();
    points.iter().for_each(|(second, value)| writeln!(file, "requests {value} {second}").unwrap());
    writeln!(file, "# EOF").unwrap();
    let data = dir.path().join("data");
    let made = Command::new(tool)
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&past, &data])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let config = dir.path().join("prometheus.yml");
    std::fs::write(&config, "scrape_configs: []\n").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new(server)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", data.display()))
        .arg("--storage.tsdb.retention.time=100y")
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Some(Running { child, url: format!("http://127.0.0.1:{port}"), _dir: dir })
}

#[tokio::test]
async fn a_real_prometheus_gives_its_past_in_parts_and_its_gaps_stay_gaps() {
    // 12,000 points a minute apart, more than fit one answer, with two hours unknown.
    let begin = 1_750_000_000 / 60 * 60;
    let gap = 5_000..5_110;
    let points: Vec<(i64, f64)> = (0..12_000)
        .filter(|minute| !gap.contains(minute))
        .map(|minute| (begin + 60 * minute, 100.0 + (minute % 7) as f64))
        .collect();
    let Some(running) = prometheus(&points) else {
        eprintln!("no Prometheus is installed: only its documented answers were tested");
        return;
    };
    // It looks back five minutes for a value; a range that ends at the moment asks for no more than a minute.
    let whole = source(&running.url, "last_over_time(requests[59s])", begin, begin + 60 * 11_999, 60);
    let rows = eventually(Duration::from_secs(60), "Prometheus", || async { whole.rows().await.ok() }).await;
    assert_eq!(rows.len(), points.len());
    assert_eq!(rows, points);
    let trace = crate::backtest::trace::Trace::of(rows).unwrap();
    assert_eq!((trace.bin_s, trace.rates.len()), (60, 12_000));
    assert!(trace.notes.iter().any(|note| note.contains("110 bins were missing")), "{:?}", trace.notes);
    let wrong = Source { query: "sum(".to_owned(), ..whole.clone() };
    let error = format!("{:#}", wrong.rows().await.unwrap_err());
    assert!(error.contains("400") && error.contains("parse error"), "{error}");
    let nothing = Source { query: "no_such_metric".to_owned(), ..whole };
    assert!(nothing.rows().await.unwrap_err().to_string().contains("has no value"));
}

/// Ten hours of 200 requests/s, of which 100 minutes are unknown, and then 40 % of that.
fn past_with_a_fall_in_the_dark(begin: i64, dark: std::ops::Range<i64>) -> Vec<(i64, f64)> {
    let rate = |minute: i64| if minute < dark.end { 200.0 } else { 80.0 };
    (0..600)
        .filter(|minute| !dark.contains(minute))
        .map(|minute| (begin + 60 * minute, rate(minute) + (minute % 7) as f64))
        .collect()
}

#[tokio::test]
async fn what_prometheus_does_not_know_no_policy_sees() {
    use crate::backtest::{
        hpa::{Hpa, Keda},
        kpa::Kpa,
        load::{Load, Scaling},
        ours::{Ours, Settings, default_policy},
        replay::{Plant, Policy, replay},
        trace::Trace,
    };
    let (begin, dark) = (1_750_000_000 / 60 * 60, 300..400);
    let Some(running) = prometheus(&past_with_a_fall_in_the_dark(begin, dark.clone())) else {
        eprintln!("no Prometheus is installed");
        return;
    };
    let asked = source(&running.url, "last_over_time(requests[59s])", begin, begin + 60 * 599, 60);
    let rows = eventually(Duration::from_secs(60), "Prometheus", || async { asked.rows().await.ok() }).await;
    let trace = Trace::of(rows).unwrap();
    assert_eq!(trace.missing, [(300, 400)]);
    let seen = Load::of(&trace, Scaling::Model(1.0));
    let unseen = seen.clone().seen_as(&trace);
    assert_eq!(unseen.rates, seen.rates, "the replay itself goes on over the interpolated load");
    let objective = proto::model::Objective {
        target_ratio: 0.999,
        latency_bound: None,
        window: Duration::from_secs(28 * 86_400),
    };
    let settings = Settings {
        name: "homeostat".to_owned(),
        policy: default_policy(),
        objective,
        sheds: true,
        holds_when_blind: false,
        reports: false,
    };
    let less_in_the_dark = |load: &Load, name: &str| {
        let mut policy: Box<dyn Policy> = match name {
            "homeostat" => Box::new(Ours::new(settings.clone()).unwrap()),
            "hpa" => Box::new(Hpa::new(String::new(), 70, (2, 500))),
            "keda" => Box::new(Keda::new(String::new(), 70.0, (2, 500))),
            _ => Box::new(Kpa::new(String::new(), 70.0)),
        };
        let record = replay(load, &Plant::default(), policy.as_mut());
        let blind = |at_s: u32| (300 * 60 + 15..400 * 60).contains(&at_s);
        record.decisions.iter().filter(|made| blind(made.at_s) && made.wanted < made.total).count()
    };
    for name in ["homeostat", "hpa", "keda", "kpa"] {
        assert!(less_in_the_dark(&seen, name) > 0, "{name} follows a fall that it sees");
        assert_eq!(less_in_the_dark(&unseen, name), 0, "{name}");
    }
}

#[test]
fn nobody_there_is_a_clear_error() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = source(&format!("http://127.0.0.1:{port}"), "up", 0, 60, 15).fetch().unwrap_err();
    assert!(error.to_string().starts_with("cannot ask http://127.0.0.1"), "{error}");
}
