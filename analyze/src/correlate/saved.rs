//! A host in a snapshot.

use std::time::Duration;

use super::host::{Alert, Host, HostSettings};
use super::metric::VIEWS;
use super::view::View;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Metrics of one host that a snapshot may hold.
const METRICS_MAX: u32 = 4_096;

impl Stored for Host {
    fn save(&self, writer: &mut Writer) {
        // What deviated is known again at the next moment.
        let Self {
            settings,
            names,
            metrics,
            views,
            maxima,
            last,
            interval,
            seen,
            age,
            unit,
            block_start,
            alert,
            severity,
            deviations: _,
        } = self;
        let HostSettings { false_alarm_every, block, half_life } = settings;
        writer.put(false_alarm_every).put(block).put(half_life).put(&(names.len() as u32));
        names.iter().for_each(|name| _ = writer.text(name));
        writer.list(metrics).put(views).put(maxima).put(last).put(interval).put(seen).put(age).put(unit);
        writer.put(block_start).put(alert).put(severity);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (false_alarm_every, block): (Duration, Duration) = (reader.get()?, reader.get()?);
        let settings = HostSettings { false_alarm_every, block, half_life: reader.get()? };
        let count = reader.get::<u32>()?;
        if count > METRICS_MAX {
            return Err(reader.damaged());
        }
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(reader.text()?.to_owned());
        }
        let fresh = Self::new(settings, names);
        let (metrics, views): (Vec<_>, [View; VIEWS]) = (reader.list()?, reader.get()?);
        if metrics.len() != fresh.metrics.len() || views.iter().zip(&fresh.views).any(|(a, b)| !a.is_like(b))
        {
            return Err(reader.damaged());
        }
        Ok(Self {
            metrics,
            views,
            maxima: reader.get()?,
            last: reader.get()?,
            interval: reader.get()?,
            seen: reader.get()?,
            age: reader.get()?,
            unit: reader.get()?,
            block_start: reader.get()?,
            alert: reader.get()?,
            severity: reader.get()?,
            ..fresh
        })
    }
}

impl Stored for Alert {
    fn save(&self, writer: &mut Writer) {
        let Self { opened, told, renewed, peak } = self;
        writer.put(opened).put(told).put(renewed).put(peak);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (opened, told) = (reader.get()?, reader.get()?);
        Ok(Self { opened, told, renewed: reader.get()?, peak: reader.get()? })
    }
}
