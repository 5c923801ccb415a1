//! A round over many services, and the newest report of each resource. Where nothing is to be changed and nothing was, only the
//! numbers are taken down, in place; whole plans are made for the others.

use crate::{
    candidates::rest::Rest,
    input::{PlanInput, PolicyView},
    planner,
    report::{Choice, Considered, PlanReport},
    world::{Scratch, World},
};
use jiff::Timestamp;
use proto::model::ResourceId;
use std::collections::BTreeMap;

/// The newest report of one resource: that of the last whole plan, and what was found since, while it rests.
#[derive(Debug, Clone)]
struct Held {
    report: PlanReport,
    rest: Option<Rest>,
    round: u64,
}

impl Held {
    fn report(&self) -> PlanReport {
        let mut report = self.report.clone();
        if let Some(rest) = &self.rest {
            report.at = rest.at;
            report.text = rest.text(report.resource.name());
            let considered = |(action, reason)| Considered {
                action,
                choice: Choice::Rejected,
                reason,
                guardrails: Vec::new(),
                cost: None,
            };
            report.considered = rest.dearer().into_iter().map(considered).collect();
        }
        report
    }

    /// Said by the same policy at the same level, with nothing under way and nothing forbidden: as a rest would.
    fn is_quiet(&self, input: &PlanInput<'_>) -> bool {
        let PolicyView::One(policy) = input.policy else { return false };
        let PlanReport { policy: name, autonomy, directive_id, reductions_forbidden, .. } = &self.report;
        name == policy.name
            && *autonomy == input.level(policy, &self.report.resource)
            && directive_id.is_none()
            && reductions_forbidden.is_none()
    }
}

/// Reports by resource.
#[derive(Debug, Default)]
pub struct Rounds {
    held: BTreeMap<ResourceId, Held>,
    round: u64,
}

impl Rounds {
    /// Begins a round over everything; what it does not touch has no report any more at its end.
    pub fn begin(&mut self) {
        self.round += 1;
    }

    /// Ends a round over everything.
    pub fn end(&mut self) {
        let round = self.round;
        self.held.retain(|_, held| held.round == round);
    }

    /// Takes in a report.
    pub fn put(&mut self, report: PlanReport) {
        let held = Held { rest: None, round: self.round, report };
        self.held.insert(held.report.resource.clone(), held);
    }

    /// Looks through services for those at which something may have to be done, or about which something new is to be said;
    /// they are added to `busy`. Of the others the numbers are taken down. Allocates nothing for those. `unprompted`: there is no
    /// news, so that those that rest are looked at as often as their state asks for.
    pub fn screen<'s>(
        &mut self,
        world: &World,
        services: impl Iterator<Item = &'s ResourceId>,
        (now, unprompted): (Timestamp, bool),
        busy: &mut Vec<ResourceId>,
    ) {
        let mut scratch = Scratch::default();
        for service in services {
            let Some(input) = world.input_in(service, &mut scratch) else { continue };
            let early = unprompted && self.is_early(&input, now);
            if !early && !self.rests(&input, now) {
                busy.push(service.clone());
            }
            scratch.take_back(input);
        }
    }

    /// It rested when it was last looked at, and that is not long enough ago.
    fn is_early(&mut self, input: &PlanInput<'_>, now: Timestamp) -> bool {
        let held = self.held.get_mut(input.service);
        let Some((held, rest)) =
            held.and_then(|held| held.rest.as_ref().map(|rest| rest.at).map(|at| (held, at)))
        else {
            return false;
        };
        // A tick may come a little before its time.
        let cadence = input.operating.tuning().cadence.mul_f64(0.9);
        if now.duration_since(rest).unsigned_abs() >= cadence {
            return false;
        }
        held.round = self.round;
        let round = self.round;
        for called in planner::named_edges(input) {
            if let Some(held) = self.held.get_mut(called.edge) {
                held.round = round;
            }
        }
        true
    }

    fn rests(&mut self, input: &PlanInput<'_>, now: Timestamp) -> bool {
        let Some(rest) = planner::rest(input, now) else { return false };
        let quiet = |held: &mut Held| {
            let quiet = held.is_quiet(input);
            held.round = self.round;
            quiet
        };
        let edges_quiet = planner::named_edges(input).all(|called| {
            let held = self.held.get_mut(called.edge).filter(|held| held.report.considered.is_empty());
            held.is_some_and(|held| {
                held.report.at = now;
                quiet(held)
            })
        });
        let Some(held) = self.held.get_mut(input.service) else { return false };
        if !(quiet(held) && edges_quiet) {
            return false;
        }
        held.rest = Some(rest);
        held.report.operating = Some(input.operating);
        true
    }

    /// The newest report of each resource.
    pub fn reports(&self) -> Vec<PlanReport> {
        self.held.values().map(Held::report).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Plant, at, service};
    use chassis::IdGenerator;

    /// Screens, and plans what does not rest; how many did not.
    fn round(rounds: &mut Rounds, plant: &Plant) -> usize {
        let now = at(plant.second);
        let mut busy = Vec::new();
        rounds.begin();
        rounds.screen(&plant.world, plant.world.services(), (now, false), &mut busy);
        for service in &busy {
            let input = plant.world.input(service).unwrap();
            for decision in planner::plan(&input, now, &mut IdGenerator::from_seed(1)) {
                rounds.put(decision.report);
            }
        }
        rounds.end();
        busy.len()
    }

    fn text(rounds: &Rounds, name: &str) -> String {
        let found = rounds.reports().into_iter().find(|report| report.resource == service(name));
        found.map(|report| report.text).unwrap_or_default()
    }

    #[test]
    fn what_rests_is_planned_once_and_told_with_the_numbers_of_now() {
        let (mut plant, mut rounds) = (Plant::new(), Rounds::default());
        plant.run(60, 100.0, 4);
        let all = plant.world.services().count();
        assert_eq!(round(&mut rounds, &plant), all, "nothing was planned yet");
        plant.run(1, 101.0, 4);
        // Catalog has a policy and rests; inventory has none, and is told so each time.
        assert_eq!(round(&mut rounds, &plant), all - 1);
        let input = plant.world.input(&service("catalog")).unwrap();
        let whole = planner::plan(&input, at(plant.second), &mut IdGenerator::from_seed(1));
        assert_eq!(text(&rounds, "catalog"), whole[0].report.text);
    }

    #[test]
    fn rising_load_ends_the_rest() {
        let (mut plant, mut rounds) = (Plant::new(), Rounds::default());
        plant.run(60, 100.0, 4);
        round(&mut rounds, &plant);
        plant.run(3, 400.0, 4);
        assert_eq!(round(&mut rounds, &plant), plant.world.services().count());
        assert!(text(&rounds, "catalog").contains("scaled out"), "{}", text(&rounds, "catalog"));
    }

    #[test]
    fn deleted_services_have_no_report() {
        let (mut plant, mut rounds) = (Plant::new(), Rounds::default());
        plant.run(60, 100.0, 4);
        round(&mut rounds, &plant);
        plant.world.delete(proto::model::DeclaredKind::Service, "staging", "inventory");
        round(&mut rounds, &plant);
        assert_eq!(text(&rounds, "inventory"), "");
    }
}
