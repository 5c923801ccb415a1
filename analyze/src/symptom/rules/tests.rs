//! What the shared helpers say; the rules themselves are tested through the engine.

use super::*;

#[test]
fn numbers_read_well() {
    assert_eq!(
        [percent(0.0), percent(0.0731), percent(0.5), percent(1.0)],
        ["0 %", "7.3 %", "50 %", "100 %"]
    );
    assert_eq!([rate(1.234), rate(320.4)], ["1.2/s", "320/s"]);
}

#[test]
fn better_is_not_adverse() {
    assert!(is_adverse("load", true) && is_adverse("load", false));
    assert!(is_adverse("error_ratio", true) && !is_adverse("error_ratio", false));
    assert!(is_adverse("latency_p99_seconds", true) && !is_adverse("latency_p50_seconds", false));
    assert!(!is_adverse("ready_replicas", true) && !is_adverse("utilisation", true));
}
