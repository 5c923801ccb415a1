//! One group of proposals and transitions, decided in order against what is stored. Pure: rows in, rows and answers out.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use proto::{
    model::{AutonomyLevel, Directive, DirectiveKind, DirectiveState, Generation, ResourceId, Transition},
    wire,
};
use uuid::Uuid;

use crate::intent::{self, ProposeInput, Stored, Verdict};

/// Who an accepted directive's first state comes from.
const PLANNER: &str = "plan";

/// What generations count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) resource: ResourceId,
    pub(crate) kind: DirectiveKind,
}

impl Key {
    pub(crate) fn of(directive: &Directive) -> Self {
        Self { resource: directive.resource.clone(), kind: directive.kind() }
    }
}

/// Whose level is asked for: a policy, by its name, at a resource.
pub(crate) type Holder = (String, ResourceId);

/// A stored directive without its immutable part.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) stored: Stored,
    pub(crate) key: Key,
    pub(crate) revision: u64,
    pub(crate) changed_at: Timestamp,
    /// Of the last transition.
    pub(crate) actor: String,
    pub(crate) attempt: u32,
    pub(crate) detail: String,
}

/// What is stored, as far as a batch needs it.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    directives: HashMap<Uuid, Known>,
    /// Accepted directives by key, to find those under way.
    by_key: HashMap<Key, Vec<Uuid>>,
    current: HashMap<Key, Generation>,
    /// What is declared, earned and allowed, where any of that is known.
    levels: HashMap<Holder, AutonomyLevel>,
}

impl Loaded {
    /// Sets how far a policy may go at a resource. Without, nothing that is stored bounds it.
    pub(crate) fn bound(&mut self, holder: Holder, level: AutonomyLevel) {
        self.levels.entry(holder).and_modify(|least| *least = level.min(*least)).or_insert(level);
    }

    fn level(&self, directive: &Directive) -> AutonomyLevel {
        let holder = (directive.policy.clone(), directive.resource.clone());
        self.levels.get(&holder).copied().unwrap_or(AutonomyLevel::Act)
    }

    fn has(&self, id: Option<Uuid>, key: &Key) -> bool {
        id.and_then(|id| self.directives.get(&id)).is_some_and(|known| known.key == *key)
    }

    /// Adds a stored directive and the generation of its key.
    pub(crate) fn add(&mut self, known: Known, current: Generation) {
        self.set_current(known.key.clone(), current);
        self.remember(known);
    }

    /// Sets the generation of a key; without, it is 0.
    pub(crate) fn set_current(&mut self, key: Key, current: Generation) {
        self.current.insert(key, current);
    }

    fn remember(&mut self, known: Known) {
        let id = known.stored.id;
        let key = known.key.clone();
        if self.directives.insert(id, known).is_none() {
            self.by_key.entry(key).or_default().push(id);
        }
    }

    fn current(&self, key: &Key) -> Generation {
        self.current.get(key).copied().unwrap_or_default()
    }

    fn under_way(&self, key: &Key) -> Vec<Stored> {
        let ids = self.by_key.get(key).map(Vec::as_slice).unwrap_or_default();
        let stored = ids.iter().filter_map(|id| self.directives.get(id)).map(|known| known.stored);
        stored.filter(|stored| stored.state.under_way()).collect()
    }
}

/// One command of the hot path.
#[derive(Debug)]
pub(crate) enum Command {
    Propose(Box<Directive>),
    Transitions(Vec<Transition>),
}

impl Command {
    /// How many rows it may write.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Propose(_) => 1,
            Self::Transitions(transitions) => transitions.len(),
        }
    }
}

/// The answer to one command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Propose(Proposed),
    /// The proposal asks for more than its policy may; why.
    AboveLevel(String),
    Transitions(Vec<Moved>),
}

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Proposed {
    pub(crate) verdict: wire::ProposeVerdict,
    /// Current for the key, after this.
    pub(crate) generation: Generation,
    pub(crate) state: Option<DirectiveState>,
    pub(crate) revision: u64,
    pub(crate) detail: String,
}

/// What became of a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) recorded: bool,
    pub(crate) state: Option<DirectiveState>,
    pub(crate) revision: u64,
}

/// One directive event for the feed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Emitted {
    pub(crate) id: Uuid,
    pub(crate) state: DirectiveState,
    pub(crate) changed_at: Timestamp,
    pub(crate) detail: String,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// New directives as they stand at the end of the batch, with their immutable part.
    pub(crate) inserted: Vec<(Known, wire::Directive)>,
    /// Directives that were there before, as they stand at the end.
    pub(crate) moved: BTreeMap<Uuid, Known>,
    /// Accepted intents: the highest generation of each key.
    pub(crate) raised: BTreeMap<Key, (Generation, Uuid)>,
    /// With their revisions.
    pub(crate) transitions: Vec<(u64, Transition)>,
    /// One per revision, from the one after the batch's first on.
    pub(crate) emitted: Vec<Emitted>,
}

/// The ids and keys that must be loaded before these commands can be decided.
pub(crate) fn needed<'a>(commands: impl Iterator<Item = &'a Command>) -> (Vec<Uuid>, Vec<Key>) {
    let (mut ids, mut keys) = (Vec::new(), Vec::new());
    for command in commands {
        match command {
            Command::Propose(directive) => {
                ids.push(directive.id);
                ids.extend(directive.undo_of);
                keys.push(Key::of(directive));
            }
            Command::Transitions(transitions) => ids.extend(transitions.iter().map(|step| step.directive_id)),
        }
    }
    ids.sort_unstable();
    ids.dedup();
    keys.sort_unstable();
    keys.dedup();
    (ids, keys)
}

/// The levels that must be loaded: of those that would act, or ask to. Advice is free.
pub(crate) fn holders<'a>(commands: impl Iterator<Item = &'a Command>) -> Vec<Holder> {
    let acting = commands.filter_map(|command| match command {
        Command::Propose(directive) if directive.autonomy > AutonomyLevel::Recommend => {
            Some((directive.policy.clone(), directive.resource.clone()))
        }
        Command::Propose(_) | Command::Transitions(_) => None,
    });
    let mut holders: Vec<_> = acting.collect();
    holders.sort_unstable();
    holders.dedup();
    holders
}

/// Decides about a group of commands, each seeing what those before it did.
#[derive(Debug)]
pub(crate) struct Batch {
    loaded: Loaded,
    revision: u64,
    now: Timestamp,
    inserted: Vec<(Uuid, wire::Directive)>,
    writes: Writes,
}

impl Batch {
    /// `revision` is the ledger's before the batch.
    pub(crate) fn new(loaded: Loaded, revision: u64, now: Timestamp) -> Self {
        Self { loaded, revision, now, inserted: Vec::new(), writes: Writes::default() }
    }

    /// Decides about one command.
    pub(crate) fn run(&mut self, command: &Command) -> Answer {
        match command {
            Command::Propose(directive) => self.propose(directive),
            Command::Transitions(transitions) => {
                Answer::Transitions(transitions.iter().map(|transition| self.step(transition)).collect())
            }
        }
    }

    /// What is to be written for all commands that ran.
    pub(crate) fn finish(mut self) -> Writes {
        for (id, body) in self.inserted {
            if let Some(known) = self.loaded.directives.remove(&id) {
                self.writes.moved.remove(&id);
                self.writes.inserted.push((known, body));
            }
        }
        self.writes
    }

    fn propose(&mut self, directive: &Directive) -> Answer {
        let key = Key::of(directive);
        let same = self.loaded.directives.get(&directive.id);
        let same_revision = same.map(|known| known.revision);
        let same_id = same.map(|known| known.stored);
        let current = self.loaded.current(&key);
        let under_way = self.loaded.under_way(&key);
        let (level, takes_back_stored) =
            (self.loaded.level(directive), self.loaded.has(directive.undo_of, &key));
        let under_way = &under_way;
        let input = ProposeInput { directive, current, under_way, same_id, level, takes_back_stored };
        let verdict = intent::decide(&input);
        let refused =
            |verdict, detail| Proposed { verdict, generation: current, state: None, revision: 0, detail };
        Answer::Propose(match verdict {
            Verdict::Accepted { generation, state } => self.accept(directive, key, generation, state),
            Verdict::AlreadyStored(stored) => Proposed {
                generation: stored.generation,
                state: Some(stored.state),
                revision: same_revision.unwrap_or_default(),
                ..refused(wire::ProposeVerdict::AlreadyStored, String::new())
            },
            Verdict::StaleGeneration { detail } => refused(wire::ProposeVerdict::StaleGeneration, detail),
            Verdict::UnderWay { detail } => refused(wire::ProposeVerdict::UnderWay, detail),
            Verdict::AboveLevel { detail } => return Answer::AboveLevel(detail),
        })
    }

    fn accept(
        &mut self,
        directive: &Directive,
        key: Key,
        generation: Generation,
        state: DirectiveState,
    ) -> Proposed {
        let id = directive.id;
        let stored = Stored { id, generation, state };
        let revision = self.emit(Emitted { id, state, changed_at: self.now, detail: String::new() });
        if generation > Generation(0) {
            self.loaded.set_current(key.clone(), generation);
            self.writes.raised.insert(key.clone(), (generation, id));
        }
        let current = self.loaded.current(&key);
        let known = Known {
            stored,
            key,
            revision,
            changed_at: self.now,
            actor: PLANNER.to_owned(),
            attempt: 0,
            detail: String::new(),
        };
        self.loaded.remember(known);
        let body = wire::Directive { generation: generation.0, ..directive.clone().into() };
        self.inserted.push((id, body));
        Proposed {
            verdict: wire::ProposeVerdict::Accepted,
            generation: current,
            state: Some(state),
            revision,
            detail: String::new(),
        }
    }

    fn step(&mut self, transition: &Transition) -> Moved {
        let id = transition.directive_id;
        let Some(known) = self.loaded.directives.get(&id) else {
            return Moved { recorded: false, state: None, revision: self.revision };
        };
        let state = known.stored.state;
        if repeats(known, transition) {
            return Moved { recorded: true, state: Some(state), revision: known.revision };
        }
        let current = self.loaded.current(&known.key);
        if state != transition.from || !intent::may_step(&known.stored, transition.to, current) {
            return Moved { recorded: false, state: Some(state), revision: known.revision };
        }
        let (changed_at, detail) = (transition.at, transition.detail.clone());
        let revision = self.emit(Emitted { id, state: transition.to, changed_at, detail: detail.clone() });
        self.writes.transitions.push((revision, transition.clone()));
        if let Some(known) = self.loaded.directives.get_mut(&id) {
            known.stored.state = transition.to;
            known.revision = revision;
            known.changed_at = changed_at;
            known.actor.clone_from(&transition.actor);
            known.attempt = transition.attempt;
            known.detail = detail;
            self.writes.moved.insert(id, known.clone());
        }
        Moved { recorded: true, state: Some(transition.to), revision }
    }

    fn emit(&mut self, emitted: Emitted) -> u64 {
        self.revision += 1;
        self.writes.emitted.push(emitted);
        self.revision
    }
}

/// The same report again, because the answer to the first was lost.
fn repeats(known: &Known, transition: &Transition) -> bool {
    known.stored.state == transition.to
        && transition.from != transition.to
        && known.actor == transition.actor
        && known.attempt == transition.attempt
}

#[cfg(test)]
mod tests;
