//! The two feeds: assessments from Analyze; declarations, directives, actuators and the kill switch from Knowledge.

use crate::world::World;
use chassis::SharedClock;
use proto::{
    client::{self, Analyze, ChangeEvent, Knowledge, Standings},
    model::{
        ActuatorRecord, ActuatorSpec, Assessment, Declared, DirectiveRecord, DirectiveState, Outcome,
        PauseState, ResourceId, Standing, StandingEvidence,
    },
};
use std::time::Duration;
use tokio::sync::mpsc;

/// Directives read at the start: at 8 KiB each with their reasons, 1,000 are half of the largest message of 16 MiB. Should a
/// line's newest be older than those, its first proposal is answered as stale, and the line is read by itself.
const DIRECTIVES_MAX: u32 = 1_000;
/// What cooldowns, generations and the state before a change can ask about. Expired advice would crowd them out.
const TELLING: [DirectiveState; 13] = [
    DirectiveState::AwaitingApproval,
    DirectiveState::Issued,
    DirectiveState::Delivered,
    DirectiveState::Accepted,
    DirectiveState::Applied,
    DirectiveState::Verifying,
    DirectiveState::Verified,
    DirectiveState::Refused,
    DirectiveState::Failed,
    DirectiveState::Unknown,
    DirectiveState::Ineffective,
    DirectiveState::Harmful,
    DirectiveState::Undone,
];
/// A lease that runs out is no change in Knowledge's feed, so the list of live actuators is read again this often.
const ACTUATORS_INTERVAL: Duration = Duration::from_secs(5);
/// A person's word about a level is obeyed within so long. Standings are few: only what left its declared level has one.
const STANDINGS_INTERVAL: Duration = Duration::from_secs(1);
/// Evidence read at the start: 100 policies with what the rules count.
const EVIDENCE_MAX: u32 = 10_000;
/// Outcomes read at the start, as many as directives.
const OUTCOMES_MAX: u32 = DIRECTIVES_MAX;

/// Why a feed ended; it is opened again.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    #[error(transparent)]
    Call(#[from] client::Error),
    #[error("the peer closed {0}")]
    Closed(&'static str),
    #[error("the revision is no longer kept; the lists are read again")]
    Compacted,
    #[error("the loop has ended")]
    Loop,
}

impl<T> From<mpsc::error::SendError<T>> for FeedError {
    fn from(_: mpsc::error::SendError<T>) -> Self {
        Self::Loop
    }
}

/// Whom the loop hears from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Analyze,
    Knowledge,
}

/// A message to the loop.
#[derive(Debug)]
pub(super) enum Event {
    /// With the monotonic time of its arrival.
    Assessment(Box<Assessment>, Duration),
    Link(Link, Result<(), String>),
    Knowledge(Update),
}

/// News from Knowledge.
#[derive(Debug)]
pub(super) enum Update {
    Lists {
        documents: Vec<Declared>,
        directives: Vec<DirectiveRecord>,
        actuators: Vec<ActuatorSpec>,
        pause: PauseState,
        earned: Box<EarnedLists>,
    },
    /// What Knowledge holds of them now.
    Standings(Vec<Standing>),
    /// What holds instead of what was assumed.
    Standing(Standing),
    Actuators(Vec<ActuatorSpec>),
    Change(ChangeEvent),
}

/// What policies have earned, and by what.
#[derive(Debug)]
pub(super) struct EarnedLists {
    standings: Vec<Standing>,
    /// Newest first.
    evidence: Vec<StandingEvidence>,
    outcomes: Vec<Outcome>,
}

impl EarnedLists {
    async fn read(knowledge: &Knowledge, standings: &Standings) -> Result<Self, FeedError> {
        Ok(Self {
            standings: standings.list().await?,
            evidence: standings.evidence("", None, EVIDENCE_MAX).await?,
            outcomes: knowledge.list_outcomes(None, OUTCOMES_MAX).await?,
        })
    }

    /// Directives that ended while nobody looked are weighed now.
    fn apply(self, directives: &[DirectiveRecord], world: &mut World) {
        let Self { standings, evidence, outcomes } = self;
        for standing in standings {
            world.standings.put(standing);
        }
        evidence.into_iter().rev().for_each(|evidence| world.standings.remember(evidence));
        for record in directives {
            let outcome = outcomes.iter().find(|outcome| outcome.directive_id == record.directive.id);
            world.note_directive(record, outcome.map(|outcome| outcome.result));
        }
    }
}

/// What an update makes worth planning again.
pub(super) enum Touched {
    Nothing,
    Resource(ResourceId),
    Everything,
}

impl Update {
    pub(super) fn apply(self, world: &mut World) -> Touched {
        match self {
            Self::Lists { documents, directives, actuators, pause, earned } => {
                world.replace_documents(documents);
                world.ledger.replace(&directives);
                world.actuators = actuators;
                world.pause = pause;
                earned.apply(&directives, world);
            }
            Self::Standings(standings) => {
                let news = standings.into_iter().filter(|standing| world.standings.put(standing.clone()));
                if news.count() == 0 {
                    return Touched::Nothing;
                }
            }
            Self::Standing(standing) => world.standings.adopt(standing),
            Self::Actuators(actuators) => world.actuators = actuators,
            Self::Change(ChangeEvent::Applied(document)) => world.apply(*document),
            Self::Change(ChangeEvent::Deleted(kind, namespace, name)) => {
                world.delete(kind, &namespace, &name)
            }
            Self::Change(ChangeEvent::Directive(record)) => {
                world.note_directive(&record, None);
                return Touched::Resource(record.directive.resource);
            }
            Self::Change(ChangeEvent::Actuator(record)) => put_actuator(&mut world.actuators, *record),
            Self::Change(ChangeEvent::Pause(pause)) => world.pause = world.pause.clone().merge(pause),
            Self::Change(ChangeEvent::Threshold(_) | ChangeEvent::Compacted) => return Touched::Nothing,
        }
        Touched::Everything
    }
}

fn put_actuator(actuators: &mut Vec<ActuatorSpec>, record: ActuatorRecord) {
    let ActuatorRecord { actuator, live, .. } = record;
    actuators.retain(|known| (&known.name, &known.instance) != (&actuator.name, &actuator.instance));
    if live {
        actuators.push(actuator);
    }
}

/// Follows Analyze until the stream breaks.
pub(super) async fn assessments(
    analyze: Analyze,
    events: mpsc::Sender<Event>,
    clock: SharedClock,
) -> Result<(), FeedError> {
    let followed = follow_analyze(&analyze, &events, &clock).await;
    let away = Err("Analyze cannot be reached".to_owned());
    events.send(Event::Link(Link::Analyze, away)).await?;
    followed
}

async fn follow_analyze(
    analyze: &Analyze,
    events: &mpsc::Sender<Event>,
    clock: &SharedClock,
) -> Result<(), FeedError> {
    let mut stream = analyze.watch_assessments(Vec::new()).await?;
    events.send(Event::Link(Link::Analyze, Ok(()))).await?;
    while let Some(assessment) = stream.next().await? {
        events.send(Event::Assessment(Box::new(assessment), clock.monotonic())).await?;
    }
    Err(FeedError::Closed("the stream of assessments"))
}

/// Reads Knowledge's lists, then follows its changes until the stream breaks or the revision is no longer kept.
pub(super) async fn knowledge(
    knowledge: Knowledge,
    standings: Standings,
    events: mpsc::Sender<Event>,
) -> Result<(), FeedError> {
    let followed = follow_knowledge(&knowledge, &standings, &events).await;
    let away = Err("Knowledge cannot be reached".to_owned());
    events.send(Event::Link(Link::Knowledge, away)).await?;
    followed
}

async fn follow_knowledge(
    knowledge: &Knowledge,
    standings: &Standings,
    events: &mpsc::Sender<Event>,
) -> Result<(), FeedError> {
    // The oldest list is read first and followed from: what the later ones know already is skipped by its own revision.
    let declared = knowledge.list_declared(None, "", "").await?;
    let mut directives = knowledge.list_directives(None, &TELLING, DIRECTIVES_MAX).await?.directives;
    let advice = knowledge.list_directives(None, &[DirectiveState::Proposed], DIRECTIVES_MAX).await?;
    directives.extend(advice.directives);
    let (actuators, pause) = (live_actuators(knowledge).await?, knowledge.get_pause().await?);
    let earned = Box::new(EarnedLists::read(knowledge, standings).await?);
    let mut changes = knowledge.watch_changes(declared.revision).await?;
    let lists = Update::Lists { documents: declared.documents, directives, actuators, pause, earned };
    events.send(Event::Knowledge(lists)).await?;
    events.send(Event::Link(Link::Knowledge, Ok(()))).await?;
    let mut actuators_due = tokio::time::interval(ACTUATORS_INTERVAL);
    let mut standings_due = tokio::time::interval(STANDINGS_INTERVAL);
    standings_due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = Vec::new();
    loop {
        tokio::select! {
            change = changes.next() => match change?.map(|change| change.event) {
                Some(ChangeEvent::Compacted) => return Err(FeedError::Compacted),
                Some(change) => events.send(Event::Knowledge(Update::Change(change))).await?,
                None => return Err(FeedError::Closed("the stream of changes")),
            },
            _ = standings_due.tick() => {
                let listed = standings.list().await?;
                if listed != told {
                    told.clone_from(&listed);
                    events.send(Event::Knowledge(Update::Standings(listed))).await?;
                }
            }
            _ = actuators_due.tick() => {
                let actuators = live_actuators(knowledge).await?;
                events.send(Event::Knowledge(Update::Actuators(actuators))).await?;
            }
        }
    }
}

async fn live_actuators(knowledge: &Knowledge) -> Result<Vec<ActuatorSpec>, FeedError> {
    let records = knowledge.list_actuators(true).await?;
    Ok(records.into_iter().filter(|record| record.live).map(|record| record.actuator).collect())
}
