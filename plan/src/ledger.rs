//! What the ledger says about each (resource, kind): what is under way, in effect, advised, and how the last ones ended.

use crate::keyed::ByResource;
use jiff::Timestamp;
use proto::model::{
    Action, Directive, DirectiveKind, DirectiveRecord, DirectiveState, Generation, ResourceId,
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Directives remembered per line: more than a day of cooldowns ever asks about, and 8 KiB at 256 bytes each.
const ENTRIES_MAX: usize = 32;

/// One directive as far as planning needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its id.
    pub id: Uuid,
    /// What it changes.
    pub action: Action,
    /// What was there before.
    pub undo: Action,
    /// Its generation; 0 in advice.
    pub generation: Generation,
    /// Where it stands.
    pub state: DirectiveState,
    /// When it was decided.
    pub created_at: Timestamp,
    /// Until when it may be delivered.
    pub expires_at: Timestamp,
    /// When it last moved.
    pub changed_at: Timestamp,
    /// When it was applied, or the latest moment at which that can have been.
    pub applied_at: Option<Timestamp>,
    /// Ledger revision of its last change.
    pub revision: u64,
    /// Under which policy it was made.
    pub policy: String,
    /// The directive that it takes back.
    pub undo_of: Option<Uuid>,
}

impl Entry {
    /// As the ledger holds it.
    pub fn of(record: &DirectiveRecord) -> Self {
        let DirectiveRecord { directive, state, revision, changed_at, history, .. } = record;
        let applied = history.iter().find(|step| step.to == DirectiveState::Applied).map(|step| step.at);
        Self {
            id: directive.id,
            action: directive.action,
            undo: directive.undo,
            generation: directive.generation,
            state: *state,
            created_at: directive.created_at,
            expires_at: directive.expires_at,
            changed_at: *changed_at,
            applied_at: applied.or_else(|| may_stand(*state).then_some(*changed_at)),
            revision: *revision,
            policy: directive.policy.clone(),
            undo_of: directive.undo_of,
        }
    }

    /// Whether an error-budget policy asked for it: those go by the name of their objective, `namespace/slo`, and the name of a
    /// Policy has no slash.
    pub fn is_measure(&self) -> bool {
        self.policy.contains('/')
    }

    /// The number of replicas that it asks for, if it scales.
    pub fn replicas(&self) -> Option<u32> {
        match self.action {
            Action::Scale { replicas } => Some(replicas),
            _ => None,
        }
    }

    /// Whether it raised the number of replicas.
    pub fn scales_out(&self) -> bool {
        match (self.action, self.undo) {
            (Action::Scale { replicas }, Action::Scale { replicas: before }) => replicas >= before,
            _ => false,
        }
    }

    /// It never came to be: refused, failed, or its time ran out on the way.
    pub fn came_to_nothing(&self) -> bool {
        let ended =
            matches!(self.state, DirectiveState::Refused | DirectiveState::Failed | DirectiveState::Expired);
        // Advice has no generation; that it expires is its ordinary end.
        ended && self.generation > Generation(0)
    }
}

/// The change was made, was taken back, or may have been made: nobody can tell.
fn may_stand(state: DirectiveState) -> bool {
    state.in_effect() || matches!(state, DirectiveState::Unknown | DirectiveState::Undone)
}

/// The directives of one (resource, kind), newest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Line {
    entries: Vec<Entry>,
    generation: Generation,
    proposing: bool,
}

impl Line {
    /// The generation to plan against.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether a proposal is on its way to the ledger.
    pub fn proposing(&self) -> bool {
        self.proposing
    }

    /// The directive that the next one must wait for.
    pub fn under_way(&self) -> Option<&Entry> {
        self.under_way_all().next()
    }

    /// The directive that this candidate must wait for: one that only awaits its verdict holds up reductions alone.
    pub fn holds_up(&self, reduces: bool) -> Option<&Entry> {
        self.under_way_all().find(|entry| reduces || !entry.state.settling())
    }

    /// All that are between acceptance and verdict, newest first.
    pub fn under_way_all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.state.under_way())
    }

    /// The newest change that stands, or of which nobody can tell that it does not.
    pub fn in_effect(&self) -> Option<&Entry> {
        let stands = |entry: &&Entry| entry.state.in_effect() || entry.state == DirectiveState::Unknown;
        self.entries.iter().filter(stands).max_by_key(|entry| entry.generation)
    }

    /// The newest measure of an error-budget policy that stands on top: nothing was changed since.
    pub fn measure_in_effect(&self) -> Option<&Entry> {
        self.in_effect().filter(|entry| entry.is_measure() && entry.undo_of.is_none())
    }

    /// Every directive that is remembered, newest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Advice that still holds, newest first.
    pub fn advice(&self, now: Timestamp) -> impl Iterator<Item = &Entry> {
        let holds = move |entry: &&Entry| entry.state == DirectiveState::Proposed && entry.expires_at > now;
        self.entries.iter().filter(holds)
    }

    /// The newest directive that was applied, of those that `of` selects, and when.
    pub fn last_applied(&self, of: impl Fn(&Entry) -> bool) -> Option<(&Entry, Timestamp)> {
        let applied = self.entries.iter().filter(|entry| of(entry));
        applied.filter_map(|entry| entry.applied_at.map(|at| (entry, at))).max_by_key(|(_, at)| *at)
    }

    /// How many directives in a row came to nothing, and when the last one did.
    pub fn failures(&self) -> Option<(u32, Timestamp)> {
        let accepted = self.entries.iter().filter(|entry| entry.generation > Generation(0));
        let failed: Vec<_> = accepted.take_while(|entry| entry.came_to_nothing()).collect();
        failed.first().map(|last| (failed.len() as u32, last.changed_at))
    }

    /// The newest directive of those that `of` selects which was taken back, and when.
    pub fn last_undone(&self, of: impl Fn(&Entry) -> bool) -> Option<(&Entry, Timestamp)> {
        let undone = |entry: &&Entry| {
            matches!(entry.state, DirectiveState::Undone | DirectiveState::Harmful) && of(entry)
        };
        self.entries.iter().filter(undone).map(|entry| (entry, entry.changed_at)).max_by_key(|(_, at)| *at)
    }

    fn put(&mut self, mut entry: Entry) {
        self.generation = self.generation.max(entry.generation);
        if let Some(known) = self.entries.iter_mut().find(|known| known.id == entry.id) {
            if known.revision <= entry.revision {
                // The moment of application, once seen, is not moved by later changes.
                entry.applied_at = known.applied_at.or(entry.applied_at);
                *known = entry;
            }
            return;
        }
        self.entries.push(entry);
        self.entries.sort_by_key(|entry| std::cmp::Reverse((entry.created_at, entry.id)));
        self.forget_oldest();
    }

    /// Whatever else is forgotten: what is under way and what is in effect stay known.
    fn forget_oldest(&mut self) {
        let in_effect = self.in_effect().map(|entry| entry.id);
        while self.entries.len() > ENTRIES_MAX {
            let needless = |entry: &Entry| !entry.state.under_way() && Some(entry.id) != in_effect;
            let Some(oldest) = self.entries.iter().rposition(needless) else { return };
            self.entries.remove(oldest);
        }
    }
}

/// Every line of the ledger.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ledger {
    lines: BTreeMap<DirectiveKind, ByResource<Line>>,
    empty: Line,
}

impl Ledger {
    /// What is known about this resource and kind.
    pub fn line(&self, resource: &ResourceId, kind: DirectiveKind) -> &Line {
        self.lines.get(&kind).and_then(|lines| lines.get(resource)).unwrap_or(&self.empty)
    }

    fn line_mut(&mut self, resource: &ResourceId, kind: DirectiveKind) -> &mut Line {
        self.lines.entry(kind).or_default().entry(resource.clone()).or_default()
    }

    /// Takes in a record; older revisions of what is known change nothing.
    pub fn put(&mut self, record: &DirectiveRecord) {
        let directive = &record.directive;
        self.line_mut(&directive.resource, directive.kind()).put(Entry::of(record));
    }

    /// Marks that a proposal is on its way, or that it was answered.
    pub fn set_proposing(&mut self, directive: &Directive, proposing: bool) {
        self.line_mut(&directive.resource, directive.kind()).proposing = proposing;
    }

    /// Takes in the generation that Knowledge says is current.
    pub fn set_generation(&mut self, resource: &ResourceId, kind: DirectiveKind, generation: Generation) {
        self.line_mut(resource, kind).generation = generation;
    }

    /// Replaces all records by a fresh list; proposals on their way stay marked.
    pub fn replace(&mut self, records: &[DirectiveRecord]) {
        let before = std::mem::take(&mut self.lines);
        for (kind, lines) in before {
            for (resource, _) in lines.into_iter().filter(|(_, line)| line.proposing) {
                self.line_mut(&resource, kind).proposing = true;
            }
        }
        records.iter().for_each(|record| self.put(record));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, scale_record, service};
    use DirectiveState::{
        Applied, Delivered, Failed, Issued, Proposed, Undone, Unknown, Verified, Verifying,
    };

    fn line(records: &[DirectiveRecord]) -> Line {
        let mut ledger = Ledger::default();
        ledger.replace(records);
        ledger.line(&service("catalog"), DirectiveKind::Scale).clone()
    }

    #[test]
    fn newest_generation_that_stands_is_in_effect() {
        let line = line(&[
            scale_record(1, 2, 3, Verified, 10),
            scale_record(2, 3, 5, Failed, 20),
            scale_record(3, 3, 4, Undone, 30),
        ]);
        assert_eq!(line.in_effect().unwrap().action, Action::Scale { replicas: 3 });
        assert_eq!(line.generation(), Generation(3));
    }

    #[test]
    fn change_that_nobody_can_tell_of_is_taken_as_made() {
        let line = line(&[scale_record(1, 2, 3, Verified, 10), scale_record(2, 3, 6, Unknown, 20)]);
        assert_eq!(line.in_effect().unwrap().action, Action::Scale { replicas: 6 });
    }

    #[test]
    fn verdict_does_not_move_the_moment_of_application() {
        let mut ledger = Ledger::default();
        for (state, second) in [(Issued, 10), (Delivered, 11), (Applied, 12), (Verifying, 13), (Verified, 22)]
        {
            ledger.put(&scale_record(1, 2, 3, state, second));
        }
        let line = ledger.line(&service("catalog"), DirectiveKind::Scale);
        assert_eq!(line.last_applied(|_| true).unwrap().1, at(12));
    }

    #[test]
    fn older_revision_changes_nothing() {
        let mut ledger = Ledger::default();
        ledger.put(&scale_record(1, 2, 3, Verified, 22));
        ledger.put(&scale_record(1, 2, 3, Issued, 10));
        assert!(ledger.line(&service("catalog"), DirectiveKind::Scale).under_way().is_none());
    }

    #[test]
    fn failures_in_a_row_are_counted_from_the_newest() {
        let line = line(&[
            scale_record(1, 2, 3, Failed, 10),
            scale_record(2, 2, 3, Verified, 20),
            scale_record(3, 3, 4, Failed, 30),
        ]);
        assert_eq!(line.failures(), Some((1, at(30))));
    }

    #[test]
    fn advice_holds_until_it_expires() {
        let mut advice = scale_record(1, 2, 3, Proposed, 10);
        advice.directive.generation = Generation(0);
        let line = line(&[advice]);
        assert_eq!(line.advice(at(11)).count(), 1);
        assert_eq!(line.advice(at(10 + 30)).count(), 0);
    }

    #[test]
    fn what_is_in_effect_is_remembered_behind_any_number_of_failures() {
        let mut records = vec![scale_record(1, 2, 3, Verified, 10)];
        records.extend((2..100).map(|n| scale_record(n, 3, 4, Failed, 10 * n as i64)));
        let line = line(&records);
        assert_eq!(line.in_effect().unwrap().action, Action::Scale { replicas: 3 });
        assert_eq!(line.entries.len(), ENTRIES_MAX);
    }

    #[test]
    fn proposals_on_their_way_survive_a_new_list() {
        let mut ledger = Ledger::default();
        let record = scale_record(1, 2, 3, Verified, 10);
        ledger.set_proposing(&record.directive, true);
        ledger.replace(&[record]);
        assert!(ledger.line(&service("catalog"), DirectiveKind::Scale).proposing());
    }
}
