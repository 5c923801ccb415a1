//! A forecaster in a snapshot.

use std::collections::VecDeque;
use std::time::Duration;

use super::profile::Profile;
use super::{KEPT, LEADS, Lead, Lookahead, Made};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

impl Stored for Lookahead {
    fn save(&self, writer: &mut Writer) {
        let Self { step, leads, recent, day, week, level, taken, last, blind } = self;
        writer.put(step).put(level).put(taken).put(last).put(blind);
        let recent: Vec<f64> = recent.iter().copied().collect();
        writer.list(&recent).list(leads);
        day.save(writer);
        week.save(writer);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let step: Duration = reader.get()?;
        let (level, taken, last) = (reader.get()?, reader.get()?, reader.get()?);
        let blind = reader.get()?;
        let recent: VecDeque<f64> = reader.list()?.into();
        let leads: Vec<Lead> = reader.list()?;
        if leads.len() != LEADS.len() || recent.len() > KEPT || step.is_zero() {
            return Err(reader.damaged());
        }
        let (day, week) = (Profile::daily().load(reader)?, Profile::weekly().load(reader)?);
        Ok(Self { step, leads, recent, day, week, level, taken, last, blind })
    }
}

impl Stored for Lead {
    fn save(&self, writer: &mut Writer) {
        let Self { regression, made } = self;
        let made: Vec<Made> = made.iter().cloned().collect();
        writer.put(regression).list(&made);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { regression: reader.get()?, made: reader.list()?.into() })
    }
}

impl Stored for Made {
    fn save(&self, writer: &mut Writer) {
        let Self { due, features, change, scale, base, norm } = self;
        writer.put(due).put(features).put(change).put(scale).put(base).put(norm);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (due, features, change) = (reader.get()?, reader.get()?, reader.get()?);
        Ok(Self { due, features, change, scale: reader.get()?, base: reader.get()?, norm: reader.get()? })
    }
}
