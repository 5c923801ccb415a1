//! Models of seasons.

use super::{Error, all, back, finite, ratio, required, text, timestamp};
use crate::{
    model::{SeasonalPeriod, SeasonalityModel},
    wire,
};

/// Longest name of a time zone: the longest that there is has 32 characters.
const ZONE_LENGTH_MAX: usize = 64;

impl TryFrom<wire::SeasonalPeriod> for SeasonalPeriod {
    type Error = Error;
    fn try_from(value: wire::SeasonalPeriod) -> Result<Self, Error> {
        if value.shape.len() > Self::SHAPE_MOST {
            return Err(Error::new("shape", value.shape.len(), "must have at most 200 points"));
        }
        if let Some(point) = value.shape.iter().find(|point| !point.is_finite()) {
            return Err(Error::new("shape", point, "must be finite numbers"));
        }
        Ok(Self {
            length_s: above_zero(value.length_s, "length_s")?,
            strength: ratio(value.strength, "strength")?,
            chance: ratio(value.chance, "chance")?,
            autocorrelation: finite(value.autocorrelation, "autocorrelation")?,
            cycles: finite(value.cycles, "cycles").and_then(|cycles| {
                if cycles >= 0.0 {
                    Ok(cycles)
                } else {
                    Err(Error::new("cycles", cycles, "must not be negative"))
                }
            })?,
            starts_at: timestamp(value.starts_unix_ms, "starts_unix_ms")?,
            shape: value.shape,
        })
    }
}

impl From<SeasonalPeriod> for wire::SeasonalPeriod {
    fn from(value: SeasonalPeriod) -> Self {
        let SeasonalPeriod { length_s, strength, chance, autocorrelation, cycles, starts_at, shape } = value;
        let starts_unix_ms = starts_at.as_millisecond();
        Self { length_s, strength, chance, autocorrelation, cycles, starts_unix_ms, shape }
    }
}

impl TryFrom<wire::SeasonalityModel> for SeasonalityModel {
    type Error = Error;
    fn try_from(value: wire::SeasonalityModel) -> Result<Self, Error> {
        if value.periods.len() > Self::PERIODS_MOST {
            return Err(Error::new("periods", value.periods.len(), "must be at most 8"));
        }
        let periods: Vec<SeasonalPeriod> = all(value.periods, "periods")?;
        if let Some(twice) = periods.iter().enumerate().find_map(|(index, period)| {
            periods[..index].iter().find(|other| other.length_s == period.length_s)
        }) {
            return Err(Error::new("periods", twice.length_s, "must differ in length"));
        }
        let is_name = |zone: &str| {
            zone.len() <= ZONE_LENGTH_MAX
                && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte))
        };
        if !is_name(&value.time_zone) {
            return Err(Error::new(
                "time_zone",
                value.time_zone,
                "must be the name of a zone, or empty for UTC",
            ));
        }
        let (evidence_from, evidence_to) = (
            timestamp(value.evidence_from_unix_ms, "evidence_from_unix_ms")?,
            timestamp(value.evidence_to_unix_ms, "evidence_to_unix_ms")?,
        );
        if evidence_from > evidence_to {
            return Err(Error::new("evidence_from_unix_ms", evidence_from, "must not be after evidence_to"));
        }
        Ok(Self {
            signal: required(value.signal, "signal")?,
            generation: value.generation,
            state: value.state.try_into()?,
            method: text(value.method, "method")?,
            time_zone: value.time_zone,
            periods,
            samples: value.samples,
            interval_s: above_zero(value.interval_s, "interval_s")?,
            explained_ratio: ratio(value.explained_ratio, "explained_ratio")?,
            level: finite(value.level, "level")?,
            evidence_from,
            evidence_to,
            created_at: timestamp(value.created_at_unix_ms, "created_at_unix_ms")?,
        })
    }
}

impl From<SeasonalityModel> for wire::SeasonalityModel {
    fn from(value: SeasonalityModel) -> Self {
        Self {
            signal: Some(value.signal.into()),
            generation: value.generation,
            state: value.state.into(),
            method: value.method,
            time_zone: value.time_zone,
            periods: back(value.periods),
            samples: value.samples,
            interval_s: value.interval_s,
            explained_ratio: value.explained_ratio,
            level: value.level,
            evidence_from_unix_ms: value.evidence_from.as_millisecond(),
            evidence_to_unix_ms: value.evidence_to.as_millisecond(),
            created_at_unix_ms: value.created_at.as_millisecond(),
        }
    }
}

fn above_zero(value: f64, field: &str) -> Result<f64, Error> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(Error::new(field, value, "must be a finite number above 0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period() -> wire::SeasonalPeriod {
        wire::SeasonalPeriod {
            length_s: 86_400.0,
            strength: 0.8,
            chance: 1e-9,
            autocorrelation: 0.7,
            cycles: 21.0,
            starts_unix_ms: 0,
            shape: vec![-1.0, 0.5, 0.5],
        }
    }

    fn model() -> wire::SeasonalityModel {
        let signal = "service:shop/orders#load".parse::<crate::model::SignalId>().unwrap();
        wire::SeasonalityModel {
            signal: Some(signal.into()),
            generation: 3,
            state: wire::SeasonalityState::Active.into(),
            method: "spectrum".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            periods: vec![period()],
            samples: 672,
            interval_s: 3_600.0,
            explained_ratio: 0.8,
            level: 12.5,
            evidence_from_unix_ms: 1_000,
            evidence_to_unix_ms: 2_000,
            created_at_unix_ms: 3_000,
        }
    }

    #[test]
    fn a_model_goes_over_the_wire_and_back_unchanged() {
        let read = SeasonalityModel::try_from(model()).unwrap();
        assert_eq!(wire::SeasonalityModel::from(read), model());
    }

    #[test]
    fn what_cannot_be_a_model_is_refused_by_its_field() {
        type Spoil = fn(&mut wire::SeasonalityModel);
        let spoils: [(&str, Spoil); 13] = [
            ("signal", |model| model.signal = None),
            ("SeasonalityState", |model| model.state = 0),
            ("time_zone", |model| model.time_zone = "no zone".to_owned()),
            ("interval_s", |model| model.interval_s = 0.0),
            ("explained_ratio", |model| model.explained_ratio = 1.5),
            ("level", |model| model.level = f64::NAN),
            ("evidence_from", |model| model.evidence_from_unix_ms = 9_999),
            ("periods", |model| model.periods = vec![period(); 9]),
            ("periods", |model| model.periods = vec![period(); 2]),
            ("length_s", |model| model.periods[0].length_s = f64::INFINITY),
            ("strength", |model| model.periods[0].strength = -0.1),
            ("shape", |model| model.periods[0].shape = vec![0.0; 201]),
            ("shape", |model| model.periods[0].shape[1] = f32::NAN),
        ];
        for (field, spoil) in spoils {
            let mut spoilt = model();
            spoil(&mut spoilt);
            let error = SeasonalityModel::try_from(spoilt).unwrap_err().to_string();
            assert!(error.contains(field), "{field}: {error}");
        }
    }
}
