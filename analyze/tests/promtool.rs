//! The rules that we write for Prometheus, judged by its own promtool (Debian: `apt-get install prometheus`): they are accepted,
//! and the Workbook's alerts fire and clear at the computed minute. Without promtool the tests say so and check nothing.

use std::process::{Command, Output};

use analyze::slo::objective::{ObjectiveSpec, resolve};
use analyze::slo::rules::rules;
use proto::model::openslo::read;
use serde_json::{Value, json};

/// Requests from one evaluation to the next: enough that whole events are as fine as the ratios asked for.
const PER_STEP: f64 = 1_000_000.0;
/// Evaluations in a long window: a minute of the hour; longer windows are evaluated as much less often.
const STEPS: u64 = 60;

fn promtool(args: &[&str]) -> Option<Output> {
    match Command::new("promtool").args(args).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!(
                "skipped: promtool cannot be run ({error}); install it with `apt-get install prometheus`"
            );
            None
        }
    }
}

fn objectives(text: &str) -> Vec<ObjectiveSpec> {
    resolve(&read(text).expect("valid OpenSLO")).expect("whole documents")
}

fn slo(name: &str, target: f64, days: u64) -> String {
    format!(
        r#"
apiVersion: openslo/v1
kind: SLO
metadata: {{ name: {name} }}
spec:
  service: shop
  indicator:
    metadata: {{ name: i }}
    spec:
      ratioMetric:
        counter: true
        bad: {{ metricSource: {{ type: Prometheus, spec: {{ query: 'requests_total{{slo="{name}",code=~"5.."}}' }} }} }}
        total: {{ metricSource: {{ type: Prometheus, spec: {{ query: 'requests_total{{slo="{name}"}}' }} }} }}
  timeWindow: [ {{ duration: {days}d, isRolling: true }} ]
  budgetingMethod: Occurrences
  objectives: [ {{ target: {target} }} ]
---
"#
    )
}

/// One alert tried: bad events at `ratio` from `begin` to `end`, and when it starts and stops to fire; all in evaluations.
struct Trial {
    objective: ObjectiveSpec,
    rule: usize,
    step_s: u64,
    ratio: f64,
    begin: u64,
    end: u64,
    fires: u64,
    clears: u64,
}

/// By arithmetic: the long window passes its limit with so many evaluations of bad events; the short one falls below it again as
/// they leave.
fn trial(objective: ObjectiveSpec, rule: usize) -> Option<Trial> {
    let burn = objective.rules[rule].clone();
    let limit = burn.factor * objective.allowed();
    if limit >= 0.95 {
        return None;
    }
    let step_s = burn.long.as_secs() / STEPS;
    let short = burn.short?.as_secs_f64() / step_s as f64;
    let ratio = (limit * 1.5).min(1.0);
    let begin = STEPS + 10;
    let fires = begin + (STEPS as f64 * limit / ratio).floor() as u64 + 1;
    let end = fires + short.ceil() as u64 + 5;
    // The short window is full of bad events then; it clears when those left in it are too few.
    let clears = end + (short * (1.0 - limit / ratio)).ceil() as u64;
    Some(Trial { objective, rule, step_s, ratio, begin, end, fires, clears })
}

fn series(trial: &Trial) -> Value {
    let bad = (PER_STEP * trial.ratio).round();
    let (before, during) = (trial.begin, trial.end - trial.begin);
    let good = PER_STEP - bad;
    let values = |calm: f64, broken: f64| {
        let at_end_of = |calm_steps: f64, broken_steps: f64| calm * calm_steps + broken * broken_steps;
        let first = format!("0+{calm}x{before}");
        let second = format!("{}+{broken}x{}", at_end_of(before as f64, 1.0), during - 1);
        let third = format!("{}+{calm}x{}", at_end_of(before as f64 + 1.0, during as f64), 2 * STEPS);
        format!("{first} {second} {third}")
    };
    let name = trial.objective.id.trim_start_matches("default/");
    json!([
        { "series": format!("requests_total{{slo=\"{name}\",code=\"500\"}}"), "values": values(0.0, bad) },
        { "series": format!("requests_total{{slo=\"{name}\",code=\"200\"}}"), "values": values(PER_STEP, good) },
    ])
}

fn alert_test(trial: &Trial, evaluation: u64, fires: bool) -> Value {
    let rule = &trial.objective.rules[trial.rule];
    let (file, _) = rules(std::slice::from_ref(&trial.objective));
    let written = file.groups[0]
        .rules
        .iter()
        .find(|written| written.labels.get("rule") == Some(&rule.name))
        .expect("each rule is written");
    let expected = json!([{ "exp_labels": written.labels, "exp_annotations": written.annotations }]);
    json!({
        "eval_time": format!("{}s", evaluation * trial.step_s),
        "alertname": format!("SLOBurn-{}", rule.name),
        "exp_alerts": if fires { expected } else { json!([]) },
    })
}

#[test]
fn promtool_reproduces_the_workbook_table_at_five_targets_and_three_windows() {
    let mut trials = Vec::new();
    for target in [0.99, 0.995, 0.999, 0.9995, 0.9999] {
        for days in [7, 28, 30] {
            let name = format!("t{}-{days}", (target * 10_000.0_f64).round());
            for rule in 0..4 {
                let objective = objectives(&slo(&name, target, days)).remove(0);
                trials.extend(trial(objective, rule));
            }
        }
    }
    assert_eq!(trials.len(), 60, "every alert of the table can fire at these targets");
    let folder = std::env::temp_dir().join(format!("homeostat-promtool-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut failed = Vec::new();
    for (number, trial) in trials.iter().enumerate() {
        let (mut file, without) = rules(std::slice::from_ref(&trial.objective));
        assert!(without.is_empty());
        if number == 0 {
            // The budget's group is checked as it is written; computing 30 days each minute would take the test an hour.
            std::fs::write(folder.join("whole.yaml"), serde_json::to_string(&file).unwrap()).unwrap();
            let whole = folder.join("whole.yaml");
            let Some(checked) = promtool(&["check", "rules", whole.to_str().unwrap()]) else { return };
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        }
        file.groups.truncate(1);
        // Only what the alert looks at, each with a name of its own; the expressions are as they are written.
        let burn = &trial.objective.rules[trial.rule];
        let alert =
            file.groups[0].rules.iter().find(|rule| rule.labels.get("rule") == Some(&burn.name)).unwrap();
        let wanted = alert.expr.clone();
        let windows: Vec<String> = wanted
            .split("rate")
            .skip(1)
            .filter_map(|rest| rest.split('{').next().map(str::to_owned))
            .collect();
        file.groups[0].rules.retain(|rule| match &rule.record {
            Some(name) => windows.iter().any(|window| name.ends_with(&format!("rate{window}"))),
            None => rule.labels.get("rule") == Some(&burn.name),
        });
        for rule in file.groups.iter_mut().flat_map(|group| &mut group.rules) {
            if let (Some(alert), Some(name)) = (&mut rule.alert, rule.labels.get("rule")) {
                *alert = format!("{alert}-{name}");
            }
        }
        let tests = json!({
            "rule_files": ["rules.yaml"],
            "evaluation_interval": format!("{}s", trial.step_s),
            "tests": [{
                "interval": format!("{}s", trial.step_s),
                "input_series": series(trial),
                "alert_rule_test": [
                    alert_test(trial, trial.begin, false),
                    alert_test(trial, trial.fires - 2, false),
                    alert_test(trial, trial.fires + 1, true),
                    alert_test(trial, trial.end, true),
                    alert_test(trial, trial.clears + 1, false),
                ],
            }],
        });
        std::fs::write(folder.join("rules.yaml"), serde_json::to_string(&file).unwrap()).unwrap();
        let path = folder.join("test.yaml");
        std::fs::write(&path, serde_json::to_string(&tests).unwrap()).unwrap();
        let rules_path = folder.join("rules.yaml");
        let Some(checked) = promtool(&["check", "rules", rules_path.to_str().unwrap()]) else { return };
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let Some(tested) = promtool(&["test", "rules", path.to_str().unwrap()]) else { return };
        if !tested.status.success() {
            let (id, rule) = (&trial.objective.id, &trial.objective.rules[trial.rule].name);
            failed.push(format!("{number} {id} {rule}: {}", String::from_utf8_lossy(&tested.stdout)));
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), trials.len(), failed.join("\n"));
}
