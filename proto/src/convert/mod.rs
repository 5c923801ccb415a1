//! Wire to model and back: where bytes gain meaning. `TryFrom<wire::X>` checks, `From<model::X>` never fails.

mod analyze;
mod breaker;
mod budget;
mod declared;
mod directive;
mod knowledge;
mod sample;
mod seasonality;
mod standing;
mod words;

use crate::{
    model::{self, InvalidId},
    wire,
};
use jiff::Timestamp;
use std::time::Duration;
use uuid::Uuid;

/// A field of a message that is missing or breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] InvalidId);

impl Error {
    /// Names the field, the value and the rule.
    pub fn new(field: &str, value: impl std::fmt::Display, rule: &str) -> Self {
        Self(InvalidId::new(field, value, rule))
    }

    pub(crate) fn missing(field: &str) -> Self {
        Self::new(field, "", "must be given")
    }

    fn under(self, field: &str) -> Self {
        Self(self.0.under(field))
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// Converts a message field that must be present.
pub(crate) fn required<W, M>(value: Option<W>, field: &str) -> Result<M, Error>
where
    M: TryFrom<W, Error = Error>,
{
    M::try_from(value.ok_or_else(|| Error::missing(field))?).map_err(|error| error.under(field))
}

/// Converts every element, naming the first bad one by its index.
pub(crate) fn all<W, M>(values: Vec<W>, field: &str) -> Result<Vec<M>, Error>
where
    M: TryFrom<W, Error = Error>,
{
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| M::try_from(value).map_err(|error| error.under(&format!("{field}[{index}]"))))
        .collect()
}

/// Converts every element back.
pub(crate) fn back<M, W: From<M>>(values: Vec<M>) -> Vec<W> {
    values.into_iter().map(W::from).collect()
}

pub(crate) fn timestamp(millis: i64, field: &str) -> Result<Timestamp, Error> {
    Timestamp::from_millisecond(millis)
        .map_err(|_| Error::new(field, millis, "must be a time that the calendar has"))
}

/// 0 means absent.
pub(crate) fn optional_timestamp(millis: i64, field: &str) -> Result<Option<Timestamp>, Error> {
    if millis == 0 { Ok(None) } else { timestamp(millis, field).map(Some) }
}

pub(crate) fn millis(at: Option<Timestamp>) -> i64 {
    at.map_or(0, Timestamp::as_millisecond)
}

pub(crate) fn duration_ms(value: Duration) -> u64 {
    u64::try_from(value.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn finite(value: f64, field: &str) -> Result<f64, Error> {
    if value.is_finite() { Ok(value) } else { Err(Error::new(field, value, "must be a finite number")) }
}

pub(crate) fn not_nan(value: f64, field: &str) -> Result<f64, Error> {
    if value.is_nan() { Err(Error::new(field, value, "must be a number")) } else { Ok(value) }
}

pub(crate) fn optional_finite(value: Option<f64>, field: &str) -> Result<Option<f64>, Error> {
    value.map(|value| finite(value, field)).transpose()
}

pub(crate) fn ratio(value: f64, field: &str) -> Result<f64, Error> {
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(Error::new(field, value, "must be 0 to 1")) }
}

/// Longest free text on the wire: a screenful.
const TEXT_LENGTH_MAX: usize = 8 * 1024;

pub(crate) fn text(value: String, field: &str) -> Result<String, Error> {
    if value.len() > TEXT_LENGTH_MAX {
        Err(Error::new(field, value, "must be at most 8192 bytes"))
    } else {
        Ok(value)
    }
}

/// Parses an id from the wire.
///
/// # Errors
/// When it is not a UUID.
pub fn uuid(value: &str, field: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(value).map_err(|_| Error::new(field, value, "must be a UUID"))
}

pub(crate) fn optional_uuid(value: &str, field: &str) -> Result<Option<Uuid>, Error> {
    if value.is_empty() { Ok(None) } else { uuid(value, field).map(Some) }
}

impl TryFrom<wire::ResourceId> for model::ResourceId {
    type Error = Error;
    fn try_from(value: wire::ResourceId) -> Result<Self, Error> {
        Ok(Self::new(value.kind.parse()?, value.namespace, value.name)?)
    }
}

impl From<model::ResourceId> for wire::ResourceId {
    fn from(value: model::ResourceId) -> Self {
        Self::from(&value)
    }
}

impl From<&model::ResourceId> for wire::ResourceId {
    fn from(value: &model::ResourceId) -> Self {
        Self {
            kind: value.kind().to_string(),
            namespace: value.namespace().to_owned(),
            name: value.name().to_owned(),
        }
    }
}

impl TryFrom<wire::SignalId> for model::SignalId {
    type Error = Error;
    fn try_from(value: wire::SignalId) -> Result<Self, Error> {
        Ok(Self::new(required(value.resource, "resource")?, value.name)?)
    }
}

impl From<model::SignalId> for wire::SignalId {
    fn from(value: model::SignalId) -> Self {
        Self { name: value.name().to_owned(), resource: Some(value.resource.into()) }
    }
}
