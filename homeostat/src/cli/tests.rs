//! The command line is sound, takes what the contract has, and refuses wrong values before anything starts.

mod readmes;

use super::Cli;
use clap::{CommandFactory, Parser};

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_contract_parses() {
    for line in [
        "homeostat up --config F --data-dir D --database-url U",
        "homeostat monitor --config F",
        "homeostat staging --scenario steady --duration 2m --seed 3",
        "homeostat demo --duration 90s --seed 7 --output json",
        "homeostat apply -f FILE",
        "homeostat get Service catalog",
        "homeostat delete Policy catalog",
        "homeostat status --output yaml",
        "homeostat doctor --output json",
        "homeostat thresholds pin service:a/b#load --lower -1 --upper 2.5",
        "homeostat directives undo 0192d3a4-0000-7000-8000-000000000000 --reason x",
        "homeostat pause --reason drill",
        "homeostat breaker list --output json",
        "homeostat breaker show edge:a/b->c --limit 5",
        "homeostat breaker override edge:a/b->c force-open --for 30m --reason drill",
        "homeostat breaker override edge:a/b->c disable --for 2h --reason drill",
        "homeostat breaker override edge:a/b->c metrics-only --for 2h --reason drill",
        "homeostat breaker clear edge:a/b->c --reason over",
        "homeostat incidents list --service service:a/b --limit 5 --output json",
        "homeostat incidents show 0192d3a4",
        "homeostat policies list --output json",
        "homeostat policies set-level shop/orders recommend --reason fair --resource service:shop/orders",
        "homeostat policies evidence orders --backtest FILE",
        "homeostat slo import FILE",
        "homeostat slo list --output json",
        "homeostat seasonality list service:shop/ --output yaml",
        "homeostat seasonality show service:a/b#load",
        "homeostat slo rules FILE",
        "homeostat slo approve staging/catalog-requests --reason stable --for 1h",
        "homeostat slo review staging/catalog-requests --reason held",
        "homeostat readiness --at-least near-production",
        "homeostat detect a.csv b.csv --out DIR --html --jobs 2",
        "homeostat detect --multi FILE --out DIR",
        "homeostat forecast CSV --horizon 30m --step 1m --quantiles 0.1,0.5,0.9",
        "homeostat score nab --data DIR --results DIR --files LIST --output json",
        "homeostat score forecast --train F --test F --season 24",
        "homeostat score calibration --seed 2 --series 10 --interval 5m --details --output json",
        "homeostat bench directives --output json",
    ] {
        Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn wrong_values_are_refused_with_the_value_and_the_rule() {
    for (line, words) in [
        ("homeostat get Foo", ["Foo", "Service, Policy or SLO"]),
        ("homeostat thresholds show load", ["load", "kind:namespace/name#signal"]),
        ("homeostat seasonality show load", ["load", "kind:namespace/name#signal"]),
        ("homeostat directives list --state open", ["open", "verified"]),
        ("homeostat directives list --resource catalog", ["catalog", "kind:namespace/name"]),
        ("homeostat policies set-level a/b high --reason x", ["high", "observe"]),
        ("homeostat breaker show catalog", ["catalog", "kind:namespace/name"]),
        ("homeostat staging --scenario picnic", ["picnic", "flash-crowd"]),
        ("homeostat staging --autonomy all", ["all", "recommend"]),
        ("homeostat demo --scenario picnic", ["picnic", "steady"]),
        ("homeostat demo --duration 0s", ["0s", "at least 1s"]),
    ] {
        let refusal = Cli::try_parse_from(line.split(' ')).unwrap_err().to_string();
        assert!(words.iter().all(|word| refusal.contains(word)), "{line}: {refusal}");
    }
}

#[test]
fn kinds_are_known_in_one_and_in_many() {
    for kind in ["Service", "services", "policy", "Policies", "SLO", "slos"] {
        assert!(Cli::try_parse_from(["homeostat", "get", kind]).is_ok(), "{kind}");
    }
}
