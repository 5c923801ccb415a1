//! Sample batches: columns on the wire, rows in the model.

use super::{Error, all, back, duration_ms, required, text, timestamp};
use crate::{
    model::{self, Quality, Sample, Shard},
    wire,
};
use std::time::Duration;

/// Most rows in one batch: 1,000,000 signals over 64 shards at one tick is 15,625; four times that.
const ROWS_MAX: usize = 65_536;

impl TryFrom<wire::SignalDescriptor> for model::SignalDescriptor {
    type Error = Error;
    fn try_from(value: wire::SignalDescriptor) -> Result<Self, Error> {
        Ok(Self {
            handle: value.handle,
            signal: required(value.signal, "signal")?,
            kind: value.kind.try_into()?,
            unit: text(value.unit, "unit")?,
            declared: value.declared,
        })
    }
}

impl From<model::SignalDescriptor> for wire::SignalDescriptor {
    fn from(value: model::SignalDescriptor) -> Self {
        let model::SignalDescriptor { handle, signal, kind, unit, declared } = value;
        Self { handle, signal: Some(signal.into()), kind: kind.into(), unit, declared }
    }
}

impl TryFrom<wire::DataGap> for model::DataGap {
    type Error = Error;
    fn try_from(value: wire::DataGap) -> Result<Self, Error> {
        Ok(Self {
            resource: required(value.resource, "resource")?,
            sources_expected: value.sources_expected,
            sources_seen: value.sources_seen,
            reason: text(value.reason, "reason")?,
        })
    }
}

impl From<model::DataGap> for wire::DataGap {
    fn from(value: model::DataGap) -> Self {
        let model::DataGap { resource, sources_expected, sources_seen, reason } = value;
        Self { resource: Some(resource.into()), sources_expected, sources_seen, reason }
    }
}

fn sample(handle: u32, at: i64, value: f64, quality: i32) -> Result<Sample, Error> {
    let quality = Quality::try_from(quality)?;
    let value = match quality {
        Quality::Unknown => None,
        Quality::Good | Quality::Partial if value.is_finite() => Some(value),
        Quality::Good | Quality::Partial => {
            return Err(Error::new("values", value, "must be finite unless the quality is unknown"));
        }
    };
    Ok(Sample { handle, at: timestamp(at, "at_unix_ms")?, value, quality })
}

impl TryFrom<wire::SampleBatch> for model::SampleBatch {
    type Error = Error;
    fn try_from(value: wire::SampleBatch) -> Result<Self, Error> {
        let rows = value.handles.len();
        if rows > ROWS_MAX {
            return Err(Error::new("handles", rows, "must be at most 65536 rows"));
        }
        if [value.at_unix_ms.len(), value.values.len(), value.qualities.len()] != [rows; 3] {
            return Err(Error::new("handles", rows, "must be as many as at_unix_ms, values and qualities"));
        }
        let columns = value.handles.iter().zip(&value.at_unix_ms).zip(&value.values).zip(&value.qualities);
        let samples = columns
            .map(|(((handle, at), number), quality)| sample(*handle, *at, *number, *quality))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            sequence: value.sequence,
            shard: Shard::new(value.shard)
                .ok_or_else(|| Error::new("shard", value.shard, "must be 0 to 63"))?,
            sender: text(value.sender, "sender")?,
            descriptors: all(value.descriptors, "descriptors")?,
            samples,
            interval: Duration::from_millis(value.interval_ms),
            gaps: all(value.gaps, "gaps")?,
        })
    }
}

impl From<model::SampleBatch> for wire::SampleBatch {
    fn from(value: model::SampleBatch) -> Self {
        let model::SampleBatch { sequence, shard, sender, descriptors, samples, interval, gaps } = value;
        let mut batch = Self {
            sequence,
            shard: shard.number(),
            sender,
            descriptors: back(descriptors),
            interval_ms: duration_ms(interval),
            gaps: back(gaps),
            ..Self::default()
        };
        for Sample { handle, at, value, quality } in samples {
            batch.handles.push(handle);
            batch.at_unix_ms.push(at.as_millisecond());
            batch.values.push(value.unwrap_or(f64::NAN));
            batch.qualities.push(quality.into());
        }
        batch
    }
}

impl TryFrom<wire::IngestAck> for model::IngestAck {
    type Error = Error;
    fn try_from(value: wire::IngestAck) -> Result<Self, Error> {
        Ok(Self { sequence: value.sequence, refused: value.refused, reason: text(value.reason, "reason")? })
    }
}

impl From<model::IngestAck> for wire::IngestAck {
    fn from(value: model::IngestAck) -> Self {
        Self { sequence: value.sequence, refused: value.refused, reason: value.reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(value: f64, quality: wire::Quality) -> wire::SampleBatch {
        wire::SampleBatch {
            handles: vec![1],
            at_unix_ms: vec![1_000],
            values: vec![value],
            qualities: vec![quality as i32],
            ..Default::default()
        }
    }

    #[test]
    fn unknown_has_no_number_and_known_has_a_finite_one() {
        let unknown = model::SampleBatch::try_from(batch(7.0, wire::Quality::Unknown)).unwrap();
        assert_eq!(unknown.samples[0].value, None, "a number beside unknown is not used");
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(model::SampleBatch::try_from(batch(bad, wire::Quality::Good)).is_err());
        }
        assert!(model::SampleBatch::try_from(batch(1.0, wire::Quality::Unspecified)).is_err());
    }

    #[test]
    fn ragged_columns_and_wrong_shards_are_refused() {
        let mut ragged = batch(1.0, wire::Quality::Good);
        ragged.values.push(2.0);
        assert!(model::SampleBatch::try_from(ragged).is_err());
        let shard = wire::SampleBatch { shard: 64, ..batch(1.0, wire::Quality::Good) };
        assert!(model::SampleBatch::try_from(shard).is_err());
    }
}
