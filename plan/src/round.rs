//! A round over many services, and the newest report of each resource. Where nothing is to be changed and nothing was, only the
//! numbers are taken down, in place; whole plans are made for the others.

use crate::{
    candidates::rest::Rest,
    input::{PlanInput, PolicyView},
    keyed::ByResource,
    operating::Operating,
    planner::{self, Decision},
    report::{Choice, Considered, PlanReport},
    shards::{self, Threads},
    world::{Scratch, World},
};
use chassis::IdGenerator;
use jiff::Timestamp;
use proto::model::{Directive, ResourceId};

/// The newest reports of one service and its edges: those of the last whole plan, and what was found since, while it rests.
#[derive(Debug, Clone)]
struct Held {
    reports: Vec<PlanReport>,
    rest: Option<(Rest, Operating)>,
    round: u64,
}

impl Held {
    /// It was looked at not long enough ago for its state.
    fn is_early(&self, operating: &Operating, now: Timestamp) -> bool {
        // A tick may come a little before its time.
        let cadence = operating.tuning().cadence.mul_f64(0.9);
        let planned = || self.reports.first().map(|report| report.at);
        let looked = self.rest.as_ref().map(|(rest, _)| rest.at).or_else(planned);
        looked.is_some_and(|looked| now.duration_since(looked).unsigned_abs() < cadence)
    }

    fn reports(&self, service: &ResourceId) -> impl Iterator<Item = PlanReport> {
        self.reports.iter().cloned().map(|mut report| {
            if let Some((rest, operating)) = &self.rest {
                report.at = rest.at;
                if report.resource == *service {
                    report.text = rest.text(service.name());
                    report.considered = rest.dearer().into_iter().map(considered).collect();
                    report.operating = Some(*operating);
                }
            }
            report
        })
    }

    /// Said by the same policy at the same level, with nothing under way and nothing forbidden: as a rest would, of the service
    /// and of every edge that its policy names.
    fn is_quiet(&self, input: &PlanInput<'_>) -> bool {
        let PolicyView::One(policy) = input.policy else { return false };
        let quiet = |report: &PlanReport| {
            let PlanReport { policy: name, autonomy, directive_id, reductions_forbidden, .. } = report;
            name == policy.name
                && *autonomy == input.level(policy, &report.resource)
                && directive_id.is_none()
                && reductions_forbidden.is_none()
        };
        let of = |resource: &ResourceId| self.reports.iter().find(|report| report.resource == *resource);
        let edge_quiet = |edge| of(edge).is_some_and(|report| report.considered.is_empty() && quiet(report));
        of(input.service).is_some_and(quiet)
            && planner::named_edges(input).all(|called| edge_quiet(called.edge))
    }
}

fn considered((action, reason): (String, String)) -> Considered {
    Considered { action, choice: Choice::Rejected, reason, guardrails: Vec::new(), cost: None }
}

/// What one look at a service came to.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all services rest, and a box would be an allocation for each"
)]
enum Look {
    /// Something may have to be done, or to be said anew.
    #[default]
    Busy,
    /// It is not declared.
    Gone,
    /// It was looked at not long enough ago, and there is no news.
    Early,
    /// Nothing is to be done.
    Rests(Rest, Operating),
}

/// Reports by service.
#[derive(Debug, Default)]
pub struct Rounds {
    held: ByResource<Held>,
    round: u64,
    /// Room for the looks of one round after the other.
    looks: Vec<Look>,
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

    /// Takes in the reports of one service and its edges.
    pub fn put(&mut self, service: &ResourceId, reports: Vec<PlanReport>) {
        let held = Held { rest: None, round: self.round, reports };
        match self.held.get_mut(service) {
            Some(known) => *known = held,
            None => _ = self.held.insert(service.clone(), held),
        }
    }

    /// Looks through services for those at which something may have to be done, or about which something new is to be said;
    /// they are added to `busy`. Of the others the numbers are taken down. Allocates nothing for those. `unprompted`: there is no
    /// news, so that each is looked at as often as its state asks for.
    pub fn screen(
        &mut self,
        world: &World,
        services: &[ResourceId],
        (now, unprompted): (Timestamp, bool),
        threads: Threads,
        busy: &mut Vec<ResourceId>,
    ) {
        if self.held.is_empty() {
            self.held.reserve(services.len());
        }
        let mut looks = std::mem::take(&mut self.looks);
        looks.resize(services.len(), Look::Busy);
        shards::fill(services, &mut looks, threads, Scratch::default, |scratch, service| {
            let Some(input) = world.input_in(service, scratch) else { return Look::Gone };
            let look = self.look(&input, now, unprompted);
            scratch.take_back(input);
            look
        });
        for (service, look) in services.iter().zip(looks.drain(..)) {
            match (look, self.held.get_mut(service)) {
                (Look::Gone, _) => {}
                (Look::Early, Some(held)) => held.round = self.round,
                (Look::Rests(rest, operating), Some(held)) => {
                    (held.rest, held.round) = (Some((rest, operating)), self.round);
                }
                (Look::Busy, _) | (_, None) => busy.push(service.clone()),
            }
        }
        self.looks = looks;
    }

    fn look(&self, input: &PlanInput<'_>, now: Timestamp, unprompted: bool) -> Look {
        let Some(held) = self.held.get(input.service) else { return Look::Busy };
        if unprompted && held.is_early(&input.operating, now) {
            return Look::Early;
        }
        // What was said is looked at first: where it no longer holds, a whole plan is made anyway.
        let rest = if held.is_quiet(input) { planner::rest(input, now) } else { None };
        rest.map_or(Look::Busy, |rest| Look::Rests(rest, input.operating))
    }

    /// The newest report of each resource.
    pub fn reports(&self) -> Vec<PlanReport> {
        let mut reports: Vec<_> =
            self.held.iter().flat_map(|(service, held)| held.reports(service)).collect();
        reports.sort_by(|one, other| one.resource.cmp(&other.resource));
        reports
    }
}

/// What was decided about one service and its edges.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Planned {
    /// Why, of each resource.
    pub reports: Vec<PlanReport>,
    /// To be proposed.
    pub directives: Vec<Directive>,
    /// What the independent check found wrong with directives that were therefore not given, and where.
    pub faults: Vec<(ResourceId, Vec<String>)>,
}

impl Planned {
    /// Sorts decisions by what becomes of them.
    pub fn of(decisions: Vec<Decision>) -> Self {
        let mut planned = Self { reports: Vec::with_capacity(decisions.len()), ..Self::default() };
        for Decision { directive, report, faults } in decisions {
            if !faults.is_empty() {
                planned.faults.push((report.resource.clone(), faults));
            }
            planned.reports.push(report);
            planned.directives.extend(directive);
        }
        planned
    }
}

/// Plans each of these services whole, as one of a round: all see the same world, and what comes out is the same, in the same
/// order, for any number of threads.
pub fn plan_each(
    world: &World,
    services: &[ResourceId],
    now: Timestamp,
    ids: &mut IdGenerator,
    threads: Threads,
) -> Vec<Planned> {
    // Each has a generator of its own, handed out in order.
    let seeded: Vec<_> = services.iter().map(|service| (service, ids.next_u64())).collect();
    let mut planned = vec![Planned::default(); services.len()];
    shards::fill(
        &seeded,
        &mut planned,
        threads,
        || (),
        |(), (service, seed)| {
            let plan = |input| planner::plan(&input, now, &mut IdGenerator::from_seed(*seed));
            world.input(service).map(plan).map(Planned::of).unwrap_or_default()
        },
    );
    planned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Plant, at, service};

    /// Screens, and plans what does not rest; how many did not.
    fn round(rounds: &mut Rounds, plant: &Plant) -> usize {
        let now = at(plant.second);
        let mut busy = Vec::new();
        rounds.begin();
        rounds.screen(&plant.world, plant.world.services(), (now, false), Threads::MIN, &mut busy);
        let all = plan_each(&plant.world, &busy, now, &mut IdGenerator::from_seed(1), Threads::MIN);
        for (service, planned) in busy.iter().zip(all) {
            rounds.put(service, planned.reports);
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
        let all = plant.world.services().len();
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
        assert_eq!(round(&mut rounds, &plant), plant.world.services().len());
        assert!(text(&rounds, "catalog").contains("scaled out"), "{}", text(&rounds, "catalog"));
    }

    #[test]
    fn without_news_each_is_looked_at_as_often_as_its_state_asks_for() {
        let (mut plant, mut rounds) = (Plant::new(), Rounds::default());
        plant.run(60, 100.0, 4);
        let all = round(&mut rounds, &plant);
        let kept = rounds.reports().len();
        let looked_at = |rounds: &mut Rounds, after: i64, unprompted| {
            let (now, mut busy) = (at(plant.second + after), Vec::new());
            rounds.begin();
            let services = plant.world.services();
            rounds.screen(&plant.world, services, (now, unprompted), Threads::MIN, &mut busy);
            busy.len()
        };
        // Inventory has no policy, and is told so whenever it is looked at.
        assert_eq!(looked_at(&mut rounds, 1, true), 0);
        rounds.end();
        assert_eq!(rounds.reports().len(), kept, "what is not looked at keeps its report");
        assert_eq!(looked_at(&mut rounds, 1, false), all - 1, "there is news");
        // In no state does it take three seconds.
        assert_eq!(looked_at(&mut rounds, 3, true), all - 1);
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
