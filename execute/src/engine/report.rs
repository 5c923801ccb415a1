//! What actuators report.

use proto::model::{DirectiveState, Generation};
use uuid::Uuid;

use super::{Engine, Output, RECORDS_MAX};
use crate::lifecycle::{Disposition, Event, Report};
use crate::moment::Moment;

/// The answer to a report, to be given once everything before it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What was done with it.
    pub disposition: Disposition,
    /// Where the directive stands now.
    pub state: DirectiveState,
}

/// Why a report was not taken in; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Read the directive from the ledger and try again.
    #[error("the directive is not in memory")]
    NotHere,
    /// The actuator has not registered for it.
    #[error("the actuator does not serve this kind of directive on this resource")]
    NotServed,
    /// Too much waits for the ledger.
    #[error("{RECORDS_MAX} steps wait for the ledger")]
    Busy,
}

impl Engine {
    /// Takes in a report on a directive.
    ///
    /// # Errors
    /// See [`ReportError`].
    pub fn report(
        &mut self,
        id: Uuid,
        generation: Generation,
        report: Report,
        now: Moment,
    ) -> Result<Answer, ReportError> {
        let life = &self.entries.get(&id).ok_or(ReportError::NotHere)?.life;
        let (state, directive) = (life.state(), life.directive().clone());
        let kind = directive.kind();
        if !self.registry.spec(&report.by).is_some_and(|spec| spec.serves(&directive.resource, kind)) {
            return Err(ReportError::NotServed);
        }
        if self.unrecorded >= RECORDS_MAX {
            return Err(ReportError::Busy);
        }
        let (by, last_word) = (report.by.clone(), report.reported.is_last_word());
        // A late word on what nobody knew counts only while nothing newer was decided on top of it.
        let superseded =
            state == DirectiveState::Unknown && self.newest_generation(&directive) > directive.generation;
        let disposition = if generation != directive.generation || superseded {
            Disposition::TooLate
        } else {
            let live = self.registry.serving(&directive.resource, kind);
            self.happen(id, now.wall, Event::Reported(report, live)).unwrap_or(Disposition::TooLate)
        };
        if last_word && let Some(lane) = self.lanes.get_mut(&by) {
            lane.answered(&directive);
            self.outputs.push(Output::Wake(by));
        }
        Ok(Answer { disposition, state: self.state(id).unwrap_or(state) })
    }

    /// Whether a report still counts: a lost compare-and-set forgets it.
    pub fn remembers(&self, id: Uuid, report: &Report) -> bool {
        let Report { by, attempt, reported, .. } = report;
        self.entries.get(&id).is_some_and(|entry| entry.life.remembers(by, *attempt, *reported))
    }
}
