//! OBJECTIVE: more events go bad than the objective allows. The stronger the burn, the sooner it opens.

use super::{View, percent};
use crate::slo::Tick;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};
use crate::symptom::evidence::{Hypotheses, Sequential};
use crate::symptom::{Finding, SUSPECT_LEVEL, Trouble};

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct State {
    test: Sequential,
}

impl State {
    pub(super) fn find(&mut self, view: &View<'_>) -> Finding {
        let Some(tracker) = view.objective else { return Finding::Clear };
        let Tick::Known { total, bad } = view.tick else { return Finding::Unknown };
        let allowed = tracker.allowed_ratio();
        let level = self.test.observe(total, bad, &Hypotheses::budget(allowed), view.threshold);
        let (events, bad_events) = tracker.short_events();
        if bad_events <= allowed * events {
            return Finding::Clear;
        }
        if level < SUSPECT_LEVEL {
            return Finding::Between;
        }
        Finding::Trouble(Trouble {
            level,
            burn: view.burn(),
            confidence: level,
            text: format!(
                "{bad_events:.0} of the last {events:.0} requests failed or were too slow ({}, {} allowed)",
                percent(bad_events / events),
                percent(allowed),
            ),
            evidence: view.evidence(&["bad_ratio", "error_ratio", "late_ratio", "load"]),
        })
    }
}

impl Stored for State {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.test);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { test: reader.get()? })
    }
}
