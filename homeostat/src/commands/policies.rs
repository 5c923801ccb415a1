//! `policies`: what each may do, why, and what it takes to do more.

mod backtest;

use super::person;
use crate::{
    cli_policies::{Policies, Which},
    endpoints::Clients,
    output::{self, Format, table},
};
use anyhow::bail;
use chassis::exit;
use jiff::Timestamp;
use plan::autonomy::rules;
use proto::{
    client::Standings,
    model::{
        AutonomyLevel, Declared, DeclaredKind, DeclaredSpec, PolicySpec, ResourceId, Standing, StandingCause,
        StandingEvidence,
    },
};
use serde::Serialize;

/// Evidence that is weighed: as much as Plan remembers.
const EVIDENCE_MOST: u32 = 300;
/// Changes that are shown.
const CHANGES_MOST: u32 = 20;
/// Tries to record a person's word while Plan records too; each is a change that came between.
const TRIES: u32 = 5;

/// Runs one of the `policies` commands.
///
/// # Errors
/// When a service cannot be reached or refuses, or there is no such policy.
pub async fn run(clients: Clients, command: Policies) -> anyhow::Result<u8> {
    let desk = Desk { standings: Standings::new(clients.channel(&clients.endpoints.knowledge)?), clients };
    match command {
        Policies::List { output } => desk.list(output.output).await,
        Policies::Show { which, output } => desk.show(&which, output.output).await,
        Policies::SetLevel { which, level, from, reason, output } => {
            let wish = Wish { level, from, reason: reason.trim().to_owned() };
            desk.set_level(&which, &wish, output.output).await
        }
        Policies::Evidence { which, backtest, limit, output } => {
            if let Some(file) = backtest {
                let places = desk.places(&which).await?;
                desk.standings.record_evidence(backtest::read(&file, &places, now())?).await?;
            }
            desk.evidence(&which, limit, output.output).await
        }
    }
}

/// A person's word.
struct Wish {
    level: AutonomyLevel,
    from: Option<AutonomyLevel>,
    reason: String,
}

/// A policy at one resource.
struct Place {
    policy: String,
    resource: ResourceId,
    declared: AutonomyLevel,
}

/// A policy's standing at one resource, for people.
#[derive(Debug, Serialize)]
struct Row {
    policy: String,
    resource: String,
    /// In force: the lowest of the three.
    level: AutonomyLevel,
    declared: AutonomyLevel,
    earned: AutonomyLevel,
    cap: Option<AutonomyLevel>,
    since: Option<Timestamp>,
    cause: Option<StandingCause>,
    reason: String,
    actor: String,
}

impl Row {
    fn of(place: &Place, standing: Option<&Standing>) -> Self {
        let Place { policy, resource, declared } = place;
        Self {
            policy: format!("{}/{policy}", resource.namespace()),
            resource: resource.to_string(),
            level: standing.map_or(*declared, |standing| standing.level(*declared)),
            declared: *declared,
            earned: standing.map_or(*declared, |standing| standing.earned),
            cap: standing.and_then(|standing| standing.cap),
            since: standing.map(|standing| standing.at),
            cause: standing.map(|standing| standing.cause),
            reason: standing.map_or_else(|| "as declared".to_owned(), |standing| standing.reason.clone()),
            actor: standing.map_or_else(String::new, |standing| standing.actor.clone()),
        }
    }

    fn cells(&self) -> [String; 7] {
        [
            self.policy.clone(),
            self.resource.clone(),
            self.level.to_string(),
            self.declared.to_string(),
            self.earned.to_string(),
            self.cap.map_or_else(|| "-".to_owned(), |cap| cap.to_string()),
            self.why(),
        ]
    }

    fn why(&self) -> String {
        match (self.cause, self.since) {
            (Some(cause), Some(since)) => format!("{cause} by {} at {since}: {}", self.actor, self.reason),
            _ => self.reason.clone(),
        }
    }
}

const HEADER: [&str; 7] = ["POLICY", "RESOURCE", "LEVEL", "DECLARED", "EARNED", "CAP", "WHY"];

/// A count of evidence.
#[derive(Debug, Serialize)]
struct Count {
    source: &'static str,
    right: u32,
    judged: u32,
    unknown: u32,
    share_at_least: f64,
}

/// What the next level takes.
#[derive(Debug, Serialize)]
struct Next {
    level: AutonomyLevel,
    needs: Vec<Needed>,
}

#[derive(Debug, Serialize)]
struct Needed {
    text: String,
    met: bool,
}

/// Everything about a policy at one resource.
#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    row: Row,
    evidence: Vec<Count>,
    next: Option<Next>,
    history: Vec<Standing>,
}

struct Desk {
    clients: Clients,
    standings: Standings,
}

impl Desk {
    async fn list(&self, format: Format) -> anyhow::Result<u8> {
        let documents = self.clients.knowledge()?.list_declared(Some(DeclaredKind::Policy), "", "").await?;
        let standings = self.standings.list().await?;
        let places = documents.documents.iter().flat_map(places_of);
        let rows: Vec<_> = places.map(|place| Row::of(&place, find(&standings, &place))).collect();
        output::print(format, &rows, |rows| table(HEADER, rows.iter().map(Row::cells)))?;
        Ok(exit::DONE)
    }

    async fn show(&self, which: &Which, format: Format) -> anyhow::Result<u8> {
        let (standings, mut wholes) = (self.standings.list().await?, Vec::new());
        for place in self.places(which).await? {
            let (policy, resource) = (place.policy.as_str(), &place.resource);
            let mut found = self.standings.evidence(policy, Some(resource), EVIDENCE_MOST).await?;
            found.reverse();
            let history = self.standings.history(policy, resource, CHANGES_MOST).await?;
            wholes.push(Whole::of(&place, find(&standings, &place), &found, history));
        }
        output::print(format, &wholes, |wholes| wholes.iter().map(describe).collect::<Vec<_>>().join("\n"))?;
        Ok(exit::DONE)
    }

    async fn set_level(&self, which: &Which, wish: &Wish, format: Format) -> anyhow::Result<u8> {
        let mut rows = Vec::new();
        for place in self.places(which).await? {
            let standing = self.set(&place, wish).await?;
            rows.push(Row::of(&place, Some(&standing)));
        }
        output::print(format, &rows, |rows| {
            let mut text = table(HEADER, rows.iter().map(Row::cells));
            for row in rows.iter().filter(|row| row.level != wish.level) {
                let hint = if row.declared < wish.level {
                    "its document declares no more"
                } else {
                    "it has not earned more; --from vouches for it"
                };
                text.push_str(&format!("\n{} stays at {}: {hint}", row.resource, row.level));
            }
            text
        })?;
        let obeyed = rows.iter().all(|row| row.level == wish.level);
        Ok(if obeyed { exit::DONE } else { exit::NEGATIVE })
    }

    /// Records a person's word on top of whatever holds.
    async fn set(&self, place: &Place, wish: &Wish) -> anyhow::Result<Standing> {
        let mut newest = self.standings.history(&place.policy, &place.resource, 1).await?.pop();
        for _ in 0..TRIES {
            let earned = newest.as_ref().map_or(place.declared, |newest| newest.earned);
            let standing = Standing {
                policy: place.policy.clone(),
                resource: place.resource.clone(),
                generation: newest.as_ref().map_or(1, |newest| newest.generation + 1),
                earned: wish.from.unwrap_or(earned),
                cap: Some(wish.level),
                cause: StandingCause::Set,
                reason: wish.reason.clone(),
                actor: person(),
                at: now(),
            };
            let (recorded, held) = self.standings.record(standing).await?;
            if recorded {
                return Ok(held);
            }
            newest = Some(held);
        }
        bail!("the standing of {} at {} changes too fast to be set", place.policy, place.resource)
    }

    async fn evidence(&self, which: &Which, limit: u32, format: Format) -> anyhow::Result<u8> {
        let mut found = Vec::new();
        for place in self.places(which).await? {
            found.extend(self.standings.evidence(&place.policy, Some(&place.resource), limit).await?);
        }
        output::print(format, &found, |found| {
            let cells = |evidence: &StandingEvidence| {
                [
                    evidence.at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
                    evidence.resource.to_string(),
                    evidence.source.to_string(),
                    evidence.verdict.to_string(),
                    evidence.subject.clone(),
                    evidence.text.clone(),
                ]
            };
            table(["AT", "RESOURCE", "SOURCE", "VERDICT", "SUBJECT", "TEXT"], found.iter().map(cells))
        })?;
        Ok(exit::DONE)
    }

    /// Where the policy stands: its service, and every edge whose breaker it sets.
    async fn places(&self, which: &Which) -> anyhow::Result<Vec<Place>> {
        let (namespace, name) = which.policy.split_once('/').unwrap_or(("", &which.policy));
        let knowledge = self.clients.knowledge()?;
        let documents = knowledge.list_declared(Some(DeclaredKind::Policy), namespace, name).await?.documents;
        let document = match documents.as_slice() {
            [document] => document,
            [] => bail!("there is no policy {:?}; `homeostat policies list` shows them", which.policy),
            _ => bail!("several namespaces have a policy {name}; name it as NAMESPACE/{name}"),
        };
        let mut places = places_of(document);
        let Some(wanted) = &which.resource else { return Ok(places) };
        places.retain(|place| *wanted == place.resource);
        if places.is_empty() {
            bail!("{} does not touch {wanted}", which.policy);
        }
        Ok(places)
    }
}

impl Whole {
    fn of(
        place: &Place,
        standing: Option<&Standing>,
        evidence: &[StandingEvidence],
        history: Vec<Standing>,
    ) -> Self {
        let since = standing.map(|standing| standing.at);
        let count = |source: &proto::model::EvidenceSource| {
            let tally = rules::Tally::of(evidence, *source, since);
            Count {
                source: source.as_str(),
                right: tally.right,
                judged: tally.judged,
                unknown: tally.unknown,
                share_at_least: tally.share().0,
            }
        };
        let next = rules::next(place.declared, standing, evidence, now());
        let needed = |need: rules::Need| Needed { text: need.text, met: need.met };
        Self {
            row: Row::of(place, standing),
            evidence: proto::model::EvidenceSource::ALL.iter().map(count).collect(),
            next: next.map(|(level, needs)| Next { level, needs: needs.into_iter().map(needed).collect() }),
            history,
        }
    }
}

fn describe(whole: &Whole) -> String {
    let Whole { row, evidence, next, history } = whole;
    let cap = row.cap.map_or_else(|| "none".to_owned(), |cap| cap.to_string());
    let mut lines = vec![
        format!("{} at {}: {}", row.policy, row.resource, row.level),
        format!("  declared {}, earned {}, cap {cap}: {}", row.declared, row.earned, row.why()),
        "  since then:".to_owned(),
    ];
    for Count { source, right, judged, unknown, share_at_least } in evidence {
        lines.push(format!(
            "    {source}: {right} of {judged} right (at least {:.0} %), {unknown} unknown",
            100.0 * share_at_least
        ));
    }
    match next {
        None => lines.push("  nothing more is declared or allowed".to_owned()),
        Some(Next { level, needs }) => {
            lines.push(format!("  {level} needs:"));
            let word = |met| if met { "met    " } else { "not met" };
            lines.extend(needs.iter().map(|need| format!("    {} {}", word(need.met), need.text)));
        }
    }
    for change in history {
        let Standing { at, cause, earned, cap, actor, reason, .. } = change;
        let cap = cap.map_or_else(String::new, |cap| format!(", at most {cap}"));
        lines.push(format!("  {at} {cause}: {earned}{cap}, by {actor}: {reason}"));
    }
    lines.join("\n")
}

fn find<'a>(standings: &'a [Standing], place: &Place) -> Option<&'a Standing> {
    standings
        .iter()
        .find(|standing| (&standing.policy, &standing.resource) == (&place.policy, &place.resource))
}

fn places_of(document: &Declared) -> Vec<Place> {
    let DeclaredSpec::Policy(spec) = &document.spec else { return Vec::new() };
    let PolicySpec { service, autonomy, breaker, .. } = &**spec;
    let callees = breaker.iter().flat_map(|rule| &rule.callees);
    let edges = callees.filter_map(|callee| ResourceId::edge(&document.namespace, service, callee).ok());
    let place = |resource| Place { policy: document.name.clone(), resource, declared: *autonomy };
    document.service_id().into_iter().chain(edges).map(place).collect()
}

/// What a person does is stamped by the clock of the machine that they sit at.
fn now() -> Timestamp {
    use chassis::Clock;
    chassis::SystemClock.now()
}
