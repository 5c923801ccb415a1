//! Text → documents and back. A file holds one document, several between `---`, or lists of them.

use super::{API_VERSION, Document, Kind, Metadata, Spec, check, upgrade};
use crate::model::ids::InvalidId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_yaml_ng::Value;

/// Largest file: a thousand documents of 4 KiB.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too large to be meant.
    #[error("the file has {0} bytes; at most 4194304 are read")]
    TooLarge(usize),
    /// Nothing in it.
    #[error("the file holds no OpenSLO document")]
    Empty,
    /// Not YAML, or not of a known form.
    #[error("cannot read document {number}{name}")]
    Syntax {
        /// Counted from 1.
        number: usize,
        /// ` (kind name)` where it got so far.
        name: String,
        /// What the parser said.
        #[source]
        source: serde_yaml_ng::Error,
    },
    /// A value breaks a rule of the specification.
    #[error("document {number}{name} is not valid")]
    Invalid {
        /// Counted from 1.
        number: usize,
        /// ` (kind name)`.
        name: String,
        /// Key, value and rule.
        #[source]
        source: InvalidId,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Raw {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    kind: Kind,
    metadata: Metadata,
    #[serde(default)]
    spec: Value,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    api_version: &'static str,
    kind: Kind,
    metadata: &'a Metadata,
    spec: &'a Spec,
}

/// Reads every document of a file, all or none; `openslo.com/v2alpha` becomes v1.
///
/// # Errors
/// Names the document, and key, value and rule where a value is wrong.
pub fn read(text: &str) -> Result<Vec<Document>, Error> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Error::TooLarge(text.len()));
    }
    let mut documents = Vec::new();
    let mut number = 0;
    for reader in serde_yaml_ng::Deserializer::from_str(text) {
        let value = Value::deserialize(reader).map_err(|source| Error::Syntax {
            number: number + 1,
            name: String::new(),
            source,
        })?;
        let values = match value {
            Value::Null => continue,
            Value::Sequence(list) => list,
            one => vec![one],
        };
        for value in values {
            number += 1;
            read_one(value, number, &mut documents)?;
        }
    }
    if documents.is_empty() { Err(Error::Empty) } else { Ok(documents) }
}

fn read_one(value: Value, number: usize, documents: &mut Vec<Document>) -> Result<(), Error> {
    let text = |path: &[&str]| {
        path.iter().try_fold(&value, |value, key| value.get(*key)).and_then(Value::as_str).unwrap_or("?")
    };
    let name = format!(" ({} {})", text(&["kind"]), text(&["metadata", "name"]));
    let invalid = |source| Error::Invalid { number, name: name.clone(), source };
    let syntax = |source| Error::Syntax { number, name: name.clone(), source };
    let values = match text(&["apiVersion"]) {
        API_VERSION => vec![value],
        upgrade::V2ALPHA => upgrade::to_v1(value),
        other => {
            let rule = "must be openslo/v1 or openslo.com/v2alpha";
            return Err(invalid(InvalidId::new("apiVersion", other, rule)));
        }
    };
    for value in values {
        let raw: Raw = serde_yaml_ng::from_value(value).map_err(syntax)?;
        let document = document(raw).map_err(syntax)?;
        check::document(&document).map_err(invalid)?;
        documents.push(document);
    }
    Ok(())
}

fn spec<T: DeserializeOwned>(value: Value) -> Result<T, serde_yaml_ng::Error> {
    serde_yaml_ng::from_value(value)
}

fn document(raw: Raw) -> Result<Document, serde_yaml_ng::Error> {
    let Raw { kind, metadata, spec: value, .. } = raw;
    let spec = match kind {
        Kind::DataSource => Spec::DataSource(spec(value)?),
        Kind::Slo => Spec::Slo(Box::new(spec(value)?)),
        Kind::Sli => Spec::Sli(Box::new(spec(value)?)),
        Kind::AlertPolicy => Spec::AlertPolicy(spec(value)?),
        Kind::AlertCondition => Spec::AlertCondition(spec(value)?),
        Kind::AlertNotificationTarget => Spec::AlertNotificationTarget(spec(value)?),
        // A service may say nothing about itself.
        Kind::Service if value.is_null() => Spec::Service(super::ServiceSpec::default()),
        Kind::Service => Spec::Service(spec(value)?),
    };
    Ok(Document { metadata, spec })
}

/// Writes one document, in the form that [`read`] takes.
///
/// # Errors
/// When serialisation fails, which documents that were read do not.
pub fn write_one(document: &Document) -> Result<String, serde_yaml_ng::Error> {
    let Document { metadata, spec } = document;
    serde_yaml_ng::to_string(&Written { api_version: API_VERSION, kind: document.kind(), metadata, spec })
}

/// Writes documents into one file.
///
/// # Errors
/// As [`write_one`].
pub fn write(documents: &[Document]) -> Result<String, serde_yaml_ng::Error> {
    let texts: Result<Vec<_>, _> = documents.iter().map(write_one).collect();
    Ok(texts?.join("---\n"))
}
