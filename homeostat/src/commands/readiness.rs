//! `readiness`: whether what runs is ready, gate by gate, with what each rests on. What cannot be asked does not pass.

use super::status;
use crate::{
    cli_slo::ReadinessArgs,
    endpoints::Clients,
    output::{self, table},
};
use analyze::slo::gates::{self, Gate, Readiness, Verdict};
use chassis::exit;
use proto::model::{Assessment, ObjectiveStanding, Quality, Severity, TrackedObjective};

/// `homeostat readiness`: exit code 2 below the level asked for.
///
/// # Errors
/// Only when an address or a TLS file is wrong: a service that is away is a gate that does not pass.
pub async fn readiness(clients: Clients, args: ReadinessArgs) -> anyhow::Result<u8> {
    let mut found = Vec::new();
    for (name, serving, detail) in status::serving(&clients).await? {
        found.push(Gate::from_fact(format!("serving:{name}"), Some(serving), detail));
    }
    match status::assessments(&clients).await {
        Ok(assessments) => found.extend(of_services(assessments.values())),
        Err(error) => {
            found.push(Gate::from_fact("objectives", None, format!("Analyze cannot be asked: {error:#}")))
        }
    }
    match clients.analyze()?.list_objective_states().await {
        Ok(objectives) => found.extend(of_objectives(&objectives)),
        Err(error) => found.push(Gate::from_fact("imported objectives", None, error.to_string())),
    }
    let actuators = match clients.knowledge()?.list_actuators(true).await {
        Ok(live) => Gate::from_fact("actuators", Some(!live.is_empty()), format!("{} live", live.len())),
        Err(error) => Gate::from_fact("actuators", None, error.to_string()),
    };
    found.push(actuators.advisory());
    let paused = match clients.execute()?.pause_status().await {
        Ok((pause, ..)) if pause.paused => {
            Gate::from_fact("acting", Some(false), format!("paused: {}", pause.reason))
        }
        Ok(_) => Gate::from_fact("acting", Some(true), "not paused"),
        Err(error) => Gate::from_fact("acting", None, error.to_string()),
    };
    found.push(paused.advisory());
    let readiness = gates::evaluate(found);
    output::print(args.output.output, &readiness, show)?;
    Ok(if readiness.level >= args.at_least { exit::DONE } else { exit::NEGATIVE })
}

/// Gates of the services that promise something. Without any nothing shows that anything works.
fn of_services<'a>(assessments: impl Iterator<Item = &'a Assessment>) -> Vec<Gate> {
    let mut found = Vec::new();
    for assessment in assessments {
        let Some(objective) = &assessment.objective else { continue };
        let name = |gate: &str| format!("{gate}:{}", assessment.resource);
        let kept = match objective.standing {
            ObjectiveStanding::Met => Some(true),
            ObjectiveStanding::Burning | ObjectiveStanding::Exhausted => Some(false),
            ObjectiveStanding::Unknown => None,
        };
        let left = objective
            .budget_remaining_ratio
            .map_or_else(|| "an unknown share".to_owned(), |left| format!("{:.1} %", left * 100.0));
        let evidence = format!("{}, {left} of the budget left", objective.standing);
        found.push(Gate::from_fact(name("objective"), kept, evidence));
        let burn = objective.burn_rate_short;
        let evidence = burn.map_or_else(
            || "no requests lately".to_owned(),
            |burn| format!("{:.2} % of requests fail now", burn * (1.0 - objective.target_ratio) * 100.0),
        );
        found.push(Gate::from_fact(name("requests"), burn.map(|burn| burn <= 1.0), evidence));
        let whole = match assessment.data.quality {
            Quality::Good => Some(true),
            Quality::Partial | Quality::Unknown => None,
        };
        let reason = &assessment.data.reason;
        let evidence = if reason.is_empty() { "whole" } else { reason };
        found.push(Gate::from_fact(name("data"), whole, evidence));
        let severe = assessment
            .symptoms
            .iter()
            .filter(|symptom| symptom.is_open() && symptom.severity >= Severity::High)
            .count();
        found.push(Gate::from_fact(name("symptoms"), Some(severe == 0), format!("{severe} severe open")));
    }
    if found.is_empty() {
        found.push(Gate::from_fact("objectives", None, "no service promises anything"));
    }
    found
}

/// Gates of imported objectives: whether each is kept, and whether its error-budget policy lets anything be changed.
fn of_objectives(objectives: &[TrackedObjective]) -> Vec<Gate> {
    let mut found = Vec::new();
    for one in objectives {
        if !one.untracked.is_empty() {
            let name = format!("objective:{}", one.objective);
            found.push(Gate::from_fact(name, None, format!("not tracked: {}", one.untracked)).advisory());
            continue;
        }
        let kept = match one.state.standing {
            ObjectiveStanding::Met => Some(true),
            ObjectiveStanding::Burning | ObjectiveStanding::Exhausted => Some(false),
            ObjectiveStanding::Unknown => None,
        };
        let left = one.state.budget_remaining_ratio;
        let left =
            left.map_or_else(|| "an unknown share".to_owned(), |left| format!("{:.1} %", left * 100.0));
        let evidence = format!("{}, {left} of the budget left", one.state.standing);
        found.push(Gate::from_fact(format!("objective:{}", one.objective), kept, evidence));
        let Some(policy) = &one.policy else { continue };
        let refusal = policy.refusal();
        let in_force: Vec<_> = policy.measures.iter().map(|measure| measure.measure.to_string()).collect();
        let evidence = match (&refusal, in_force.is_empty()) {
            (Some(reason), _) => reason.clone(),
            (None, false) => format!("in force: {}", in_force.join(", ")),
            (None, true) => "nothing is in force".to_owned(),
        };
        let holds = if policy.known { Some(refusal.is_none() && in_force.is_empty()) } else { None };
        found.push(Gate::from_fact(format!("budget policy:{}", one.objective), holds, evidence));
    }
    found
}

fn show(readiness: &Readiness) -> String {
    let lines = readiness.gates.iter().map(|gate| {
        let verdict = match gate.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "FAIL",
            Verdict::Unknown => "unknown",
        };
        [gate.name.clone(), verdict.to_owned(), gate.evidence.clone()]
    });
    let go = if readiness.go { "GO" } else { "NO-GO" };
    format!("{} ({go})\n{}", readiness.level.as_str(), table(["GATE", "VERDICT", "EVIDENCE"], lines))
}

#[cfg(test)]
mod tests {
    use super::*;
    use analyze::slo::gates::Level;

    #[test]
    fn nothing_promised_is_not_ready() {
        let readiness = gates::evaluate(of_services(std::iter::empty()));
        assert!(readiness.level < Level::NearProduction && !readiness.go);
    }
}
