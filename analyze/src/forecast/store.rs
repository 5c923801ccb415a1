//! Saving and restoring what a forecaster learned. Its settings are given anew; what was learned for others is refused.

use super::{
    ForecastSettings, Forecaster,
    experts::{Corrections, Standing},
    lead::array,
    patterns::{Patterns, Usual},
    residuals::Residuals,
    root::Root,
    score::LeadScore,
};
use crate::snapshot::{
    Damaged,
    codec::{Reader, Stored, Writer},
};

/// No step has a number beyond this.
const FAR: i64 = 1 << 48;

impl Forecaster {
    /// What was learned, as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        let state = &self.state;
        writer.put(&self.bins.step_ms).put(&(self.horizon as u64)).put(&state.root.0);
        writer.put(&state.patterns).put(&state.corrections);
        state.leads.iter().for_each(|lead| lead.save(&mut writer));
        writer.put(&state.open.is_some());
        let (bin, sum, count) = state.open.unwrap_or_default();
        writer.put(&bin).put(&sum).put(&count);
        writer.put(&state.cell.0).put(&state.cell.1).put(&state.suspect_since);
        writer.into_bytes()
    }

    /// Goes on from such bytes, with the settings that they were learned under.
    pub fn from_bytes(settings: ForecastSettings, bytes: &[u8]) -> Result<Self, Damaged> {
        let (mut forecaster, mut reader) = (Self::new(settings), Reader::new(bytes));
        let (step_ms, horizon, root): (i64, u64, bool) = (reader.get()?, reader.get()?, reader.get()?);
        if step_ms != forecaster.bins.step_ms || horizon != forecaster.horizon as u64 {
            return Err(reader.damaged());
        }
        let state = &mut forecaster.state;
        state.root = Root(root);
        let patterns: Patterns = reader.get()?;
        if !patterns.is_like(&state.patterns) {
            return Err(reader.damaged());
        }
        (state.patterns, state.corrections) = (patterns, reader.get()?);
        for lead in &mut state.leads {
            lead.restore(&mut reader)?;
        }
        let (is_open, open): (bool, _) = (reader.get()?, (reader.get()?, reader.get()?, reader.get()?));
        state.open = is_open.then_some(open);
        state.cell = (reader.get()?, reader.get()?);
        state.suspect_since = reader.get()?;
        // Far beyond any time, yet far from where numbers of steps would overflow.
        let numbers = [open.0, state.suspect_since.unwrap_or(0), state.patterns.newest.max(-FAR)];
        if numbers.iter().any(|number| number.abs() > FAR) {
            return Err(reader.damaged());
        }
        forecaster.bins.look_up(forecaster.bins.cell(open.0));
        if reader.is_at_end() { Ok(forecaster) } else { Err(reader.damaged()) }
    }
}

impl Stored for Usual {
    fn save(&self, writer: &mut Writer) {
        writer.list(&self.cells).list(&self.seen);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { cells: reader.list()?, seen: reader.list()? })
    }
}

impl Stored for Patterns {
    fn save(&self, writer: &mut Writer) {
        let Self { history, hour, day, week, newest, level } = self;
        writer.list(history).put(hour).put(day).put(week).put(newest).put(level);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (history, hour, day, week) = (reader.list()?, reader.get()?, reader.get()?, reader.get()?);
        Ok(Self { history, hour, day, week, newest: reader.get()?, level: reader.get()? })
    }
}

impl Stored for Corrections {
    fn save(&self, writer: &mut Writer) {
        let Self { gains, offsets, means, counts, trend } = self;
        writer.list(gains).list(offsets.as_flattened()).list(counts).put(&trend.0).put(&trend.1);
        for (own, other) in means {
            writer.put(own).put(other);
        }
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut corrections = Self::new(1.0);
        corrections.gains = array(reader)?;
        let offsets: Vec<f64> = reader.list()?;
        if offsets.len() != corrections.offsets.as_flattened().len() {
            return Err(reader.damaged());
        }
        corrections.offsets.as_flattened_mut().copy_from_slice(&offsets);
        corrections.counts = array(reader)?;
        corrections.trend = (reader.get()?, reader.get()?);
        for mean in &mut corrections.means {
            *mean = (reader.get()?, reader.get()?);
        }
        Ok(corrections)
    }
}

impl Stored for Standing {
    fn save(&self, writer: &mut Writer) {
        let Self { errors, counts, weights, error, answers } = self;
        writer.list(errors).list(counts).list(weights).put(error).put(answers);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (errors, counts, weights) = (array(reader)?, array(reader)?, array(reader)?);
        Ok(Self { errors, counts, weights, error: reader.get()?, answers: reader.get()? })
    }
}

impl Stored for Residuals {
    fn save(&self, writer: &mut Writer) {
        let Self { counts, total, scale, seen } = self;
        writer.list(counts).put(total).put(scale).put(seen);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let fresh = Self::new();
        let counts: Vec<f32> = reader.list()?;
        if counts.len() != fresh.counts.len() {
            return Err(reader.damaged());
        }
        Ok(Self { counts, total: reader.get()?, scale: reader.get()?, seen: reader.get()? })
    }
}

impl Stored for LeadScore {
    fn save(&self, writer: &mut Writer) {
        let Self { steps: _, count, mean_absolute_error, pinball, coverage } = self;
        writer.put(count).put(mean_absolute_error).list(pinball).list(coverage);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (count, mean_absolute_error) = (reader.get()?, reader.get()?);
        Ok(Self { steps: 0, count, mean_absolute_error, pinball: array(reader)?, coverage: array(reader)? })
    }
}
