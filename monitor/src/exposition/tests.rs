//! The parser's tables, and what must hold for any input at all.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn text(body: &str) -> Exposition<'_> {
    parse(body.as_bytes(), Format::Text, &Limits::default())
}

fn open_metrics(body: &str) -> Exposition<'_> {
    parse(body.as_bytes(), Format::OpenMetrics, &Limits::default())
}

fn label<'a>(series: &'a Series<'_>, name: &str) -> Option<&'a str> {
    series.labels.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_ref())
}

#[test]
fn reads_the_example_of_the_text_format() {
    let body = r#"# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9
metric_without_timestamp_and_labels 12.47
something_weird{problem="division by zero"} +Inf -3982045
# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.01"} NaN
"#;
    let out = text(body);
    assert_eq!(out.rejected, Tally::default());
    assert!(out.complete);
    assert_eq!(out.series.len(), 6);
    assert_eq!(out.series[0].value, 1027.0);
    assert_eq!(out.series[0].timestamp_ms, Some(1_395_066_363_000));
    assert_eq!(label(&out.series[2], "path"), Some(r"C:\DIR\FILE.TXT"));
    assert_eq!(label(&out.series[2], "error"), Some("Cannot find file:\n\"FILE.TXT\""));
    assert_eq!(out.series[4].value, f64::INFINITY);
    assert_eq!(out.series[4].timestamp_ms, Some(-3_982_045));
    assert!(out.series[5].value.is_nan());
    assert_eq!(out.families["http_requests_total"].metric_type, MetricType::Counter);
    assert_eq!(out.families["http_requests_total"].help, "The total number of HTTP requests.");
}

#[test]
fn reads_open_metrics_with_units_seconds_and_exemplars() {
    let body = r#"# TYPE foo_seconds histogram
# UNIT foo_seconds seconds
# HELP foo_seconds quotes \"resolved\"
foo_seconds_bucket{le="0.1"} 8 1520879607.789 # {trace_id="KOO5S4vxi0o"} 0.067
foo_seconds_bucket{le="+Inf"} 17 # {trace_id="oHg5SJ#YRHA0",x="}"} 9.8 1520879607.789
foo_seconds_count 17
# EOF"#;
    let out = open_metrics(body);
    assert_eq!(out.rejected, Tally::default());
    assert!(out.complete);
    assert_eq!(out.series.len(), 3);
    assert_eq!(out.series[0].timestamp_ms, Some(1_520_879_607_789));
    assert_eq!(out.series[1].timestamp_ms, None);
    let family = &out.families["foo_seconds"];
    assert_eq!((family.unit, family.help.as_ref()), ("seconds", "quotes \"resolved\""));
}

#[test]
fn counts_a_malformed_line_and_keeps_the_others() {
    let cases = [
        ("", "", 0),
        ("lonely", "name", 1),
        ("7up 1", "name", 1),
        ("a{b=\"c\" 1", "labels", 1),
        ("a{b=c} 1", "labels", 1),
        ("a{b=\"c\"e=\"d\"} 1", "labels", 1),
        ("a{,} 1", "labels", 1),
        ("a{1b=\"c\"} 1", "labels", 1),
        ("a{b=\"\\q\"} 1", "escape", 1),
        ("a{b=\"c\",b=\"d\"} 1", "label_repeated", 1),
        ("{b=\"c\"} 1", "name", 1),
        ("a one", "value", 1),
        ("a{} ", "value", 1),
        ("a 1 soon", "timestamp", 1),
        ("a 1 1.5", "timestamp", 1),
        ("a 1 2 3", "trailing_text", 1),
        ("# TYPE a gadget", "comment", 1),
        ("# TYPE 9 gauge", "comment", 1),
        ("before 9", "duplicate", 1),
        ("# any other comment", "", 0),
    ];
    for (line, reason, count) in cases {
        let body = format!("before 1\n{line}\nafter 2\n");
        let out = text(&body);
        let names: Vec<_> = out.series.iter().map(|series| series.name.as_ref()).collect();
        assert_eq!(names, ["before", "after"], "{line}");
        assert_eq!(
            (out.rejected.get(reason), out.rejected.total()),
            (count, count),
            "{line}: {:?}",
            out.rejected
        );
        assert_eq!(out.series[0].value, 1.0, "the first of duplicates is kept");
        assert!(out.complete);
    }
}

#[test]
fn reads_what_lenient_writers_write() {
    for line in [
        "a{b=\"c\",} 1",
        "a { b = \"c\" } 1",
        "\ta\t{b=\"c\"}\t1\r",
        "{\"a\",b=\"c\"} 1",
        "a{\"b\"=\"c\"}1",
        "a{b=\"c\",gone=\"\"} 1",
    ] {
        let body = format!("{line}\n");
        let out = text(&body);
        assert_eq!(out.rejected, Tally::default(), "{line}");
        assert_eq!((out.series[0].name.as_ref(), label(&out.series[0], "b")), ("a", Some("c")), "{line}");
        assert_eq!(out.series[0].labels.len(), 1, "an empty label is no label: {line}");
    }
}

#[test]
fn what_a_client_library_writes_is_read_whole() {
    use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};
    let registry = Registry::new();
    let counters = IntCounterVec::new(Opts::new("odd_total", "With \\ and\nlines."), &["path"]).unwrap();
    counters.with_label_values(&["C:\\a \"b\"\n{,}=# é"]).inc_by(3);
    let histograms = HistogramVec::new(HistogramOpts::new("took_seconds", "Time."), &["route"]).unwrap();
    histograms.with_label_values(&["/a"]).observe(0.3);
    registry.register(Box::new(counters)).unwrap();
    registry.register(Box::new(histograms)).unwrap();
    let body = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert_eq!(TextEncoder::new().format_type(), prometheus::TEXT_FORMAT);
    let out = text(&body);
    assert_eq!((out.rejected.total(), out.complete), (0, true), "{body}");
    assert_eq!(
        out.series.len(),
        1 + 11 + 1 + 2,
        "a counter; eleven bounds and the infinite one; sum and count"
    );
    assert_eq!(label(&out.series[0], "path"), Some("C:\\a \"b\"\n{,}=# é"));
    assert_eq!(out.families["took_seconds"].metric_type, MetricType::Histogram);
}

#[test]
fn label_order_does_not_hide_a_duplicate() {
    let out = text("a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\na{x=\"1\"} 3\n");
    assert_eq!((out.series.len(), out.rejected.get("duplicate")), (2, 1));
}

#[test]
fn a_body_without_its_end_is_partial_and_its_cut_number_is_not_believed() {
    let out = text("a 1\nb 12");
    assert_eq!(out.series.len(), 1);
    assert!(!out.complete);
    assert_eq!(out.rejected.get("unterminated"), 1);

    let out = open_metrics("a 1\nb 12\n");
    assert_eq!(out.series.len(), 2);
    assert!(!out.complete);
    assert_eq!(out.rejected.get("missing_eof"), 1);

    let out = open_metrics("a 1\n# EOF\nb 12\n");
    assert_eq!((out.series.len(), out.rejected.get("after_eof")), (1, 1));
    assert!(out.complete);
    assert!(text("a 1\n# EOF\n").complete);
}

#[test]
fn limits_cut_and_are_counted() {
    let limits = Limits { body_bytes: 60, line_bytes: 24, series: 2, labels: 1, label_bytes: 4 };
    let check = |body: &str, reason: &str, kept: usize, complete: bool| {
        let out = parse(body.as_bytes(), Format::Text, &limits);
        assert_eq!((out.rejected.get(reason), out.series.len()), (1, kept), "{body}");
        assert_eq!(out.complete, complete, "{body}");
    };
    check("a 1\nb 2\nc 3\n", "too_many_series", 2, true);
    check("a{b=\"c\",d=\"e\"} 1\nb 2\n", "too_many_labels", 1, true);
    check("a{b=\"12345\"} 1\nb 2\n", "label_too_long", 1, true);
    check("abcde 1\nb 2\n", "label_too_long", 1, true);
    check("a 1                                1\nb 2\n", "line_too_long", 1, true);
    check(&format!("a 1\n#{}\nb 2\n", " ".repeat(60)), "body_too_long", 1, false);
}

#[test]
fn a_line_that_is_not_utf8_costs_itself_alone() {
    let out = parse(b"a 1\nb{c=\"\xff\xfe\"} 2\nd 3\n", Format::Text, &Limits::default());
    assert_eq!((out.series.len(), out.rejected.get("encoding")), (2, 1));
}

#[test]
fn format_follows_the_content_type() {
    let of = |text| Format::from_content_type(text);
    assert_eq!(of(Some("application/openmetrics-text; version=1.0.0; charset=utf-8")), Format::OpenMetrics);
    assert_eq!(of(Some("Application/OpenMetrics-Text")), Format::OpenMetrics);
    assert_eq!(of(Some("text/plain; version=0.0.4")), Format::Text);
    assert_eq!(of(Some("application/json")), Format::Text);
    assert_eq!(of(None), Format::Text);
}

// === any input ===

/// Bytes that meet the grammar's corners far more often than uniform ones do.
fn near_grammar() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "a",
            "_b:c",
            "{",
            "}",
            "\"",
            "\\",
            ",",
            "=",
            " ",
            "\t",
            "\n",
            "# ",
            "# TYPE ",
            "# HELP a ",
            "# EOF",
            "1",
            "-1e9",
            "NaN",
            "+Inf",
            "le=\"0.1\"",
            "{a=\"b\"}",
            "\r\n",
            "é",
            "a 1\n",
            "# TYPE a counter\n",
        ])
        .prop_map(|piece| piece.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn check_bounds(body: &[u8], format: Format, limits: &Limits) {
    let out = parse(body, format, limits);
    assert!(out.series.len() <= limits.series);
    for (index, series) in out.series.iter().enumerate() {
        assert!(!series.name.is_empty() && series.name.len() <= limits.label_bytes);
        assert!(series.labels.len() <= limits.labels);
        assert!(series.labels.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(series.labels.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()));
        let same = |other: &Series<'_>| other.name == series.name && other.labels == series.labels;
        assert!(!out.series[..index].iter().any(same), "a duplicate was kept");
    }
    let lines = body.split(|byte| *byte == b'\n').count() as u64;
    assert!(
        out.series.len() as u64 + out.rejected.total() <= lines + 2,
        "at most one verdict a line, two for the end"
    );
}

fn a_series() -> impl Strategy<Value = (String, BTreeMap<String, String>, f64, Option<i64>)> {
    (
        "[a-zA-Z_:][a-zA-Z0-9_:]{0,12}",
        prop::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,8}", ".{1,12}|[\\\\\"\n ]{1,5}", 0..4),
        any::<f64>(),
        prop::option::of(-4_000_000_000_000_i64..4_000_000_000_000),
    )
}

fn render(
    name: &str,
    labels: &BTreeMap<String, String>,
    value: f64,
    time: Option<i64>,
    format: Format,
) -> String {
    let mut line = name.to_string();
    if !labels.is_empty() {
        let escape = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        let inner: Vec<_> = labels.iter().map(|(n, v)| format!("{n}=\"{}\"", escape(v))).collect();
        let _ = write!(line, "{{{}}}", inner.join(","));
    }
    let _ = write!(line, " {value:?}");
    match (time, format) {
        (None, _) => {}
        (Some(ms), Format::Text) => _ = write!(line, " {ms}"),
        (Some(ms), Format::OpenMetrics) => {
            let sign = if ms < 0 { "-" } else { "" };
            _ = write!(line, " {sign}{}.{:03}", ms.abs() / 1000, ms.abs() % 1000);
        }
    }
    line + "\n"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_within_the_limits(body in prop::collection::vec(any::<u8>(), 0..400), om in any::<bool>()) {
        let format = if om { Format::OpenMetrics } else { Format::Text };
        check_bounds(&body, format, &Limits::default());
    }

    #[test]
    fn almost_valid_bytes_are_read_within_the_limits(body in near_grammar(), om in any::<bool>(), n in 1_usize..20) {
        let format = if om { Format::OpenMetrics } else { Format::Text };
        check_bounds(&body, format, &Limits { body_bytes: 20 * n, line_bytes: 4 * n, series: n, labels: 2, label_bytes: n });
        check_bounds(&body, format, &Limits::default());
    }

    #[test]
    fn what_is_rendered_is_read_back(list in prop::collection::vec(a_series(), 0..8), om in any::<bool>()) {
        let format = if om { Format::OpenMetrics } else { Format::Text };
        let mut body: String = list.iter().map(|(n, l, v, t)| render(n, l, *v, *t, format)).collect();
        body += if om { "# EOF\n" } else { "" };
        let out = parse(body.as_bytes(), format, &Limits::default());
        let mut expected: Vec<_> = list;
        let mut seen = std::collections::BTreeSet::new();
        expected.retain(|(name, labels, ..)| seen.insert((name.clone(), labels.clone())));
        prop_assert!(out.complete);
        prop_assert_eq!(out.series.len(), expected.len());
        for (series, (name, labels, value, time)) in out.series.iter().zip(expected) {
            prop_assert_eq!(&series.name, &name);
            let got: BTreeMap<_, _> = series.labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            prop_assert_eq!(got, labels);
            prop_assert!(series.value == value || series.value.is_nan() && value.is_nan());
            prop_assert_eq!(series.timestamp_ms, time);
        }
    }

    #[test]
    fn a_cut_body_never_invents_a_series(list in prop::collection::vec(a_series(), 1..6), at in 0.0..1.0_f64) {
        let body: String = list.iter().map(|(n, l, v, t)| render(n, l, *v, *t, Format::Text)).collect();
        let end = (body.len() as f64 * at) as usize;
        let whole = parse(body.as_bytes(), Format::Text, &Limits::default());
        let part = parse(&body.as_bytes()[..end], Format::Text, &Limits::default());
        prop_assert!(part.series.len() <= whole.series.len());
        for (a, b) in part.series.iter().zip(&whole.series) {
            prop_assert!(a.name == b.name && a.labels == b.labels && a.timestamp_ms == b.timestamp_ms);
        }
    }
}
