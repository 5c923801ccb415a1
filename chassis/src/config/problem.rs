//! What is wrong with one value, in the words of serde's error constructors, and the nearest key that was meant.

use std::fmt::{self, Display};

use serde::de;

use super::tree::Origin;

/// What is wrong with one value.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    /// The full key, once known.
    pub key: Option<String>,
    /// A field of the table at which the problem will be placed.
    field: Option<&'static str>,
    pub value: String,
    pub rule: String,
    pub origin: Option<Origin>,
}

impl Problem {
    pub(super) fn rule(rule: impl Into<String>) -> Self {
        Self { key: None, field: None, value: String::new(), rule: rule.into(), origin: None }
    }

    pub(super) fn at(key: &str, value: impl Into<String>, rule: impl Into<String>, origin: Origin) -> Self {
        Self { key: Some(key.to_owned()), value: value.into(), origin: Some(origin), ..Self::rule(rule) }
    }

    /// Adds the place, unless a deeper one is already named.
    pub(super) fn placed(mut self, key: &str, value: &str, origin: &Origin) -> Self {
        match (&self.key, self.field) {
            (Some(_), _) => {}
            (None, Some(field)) => self.key = Some(below(key, field)),
            (None, None) => {
                self.key = Some(key.to_owned());
                self.value = value.to_owned();
            }
        }
        self.origin.get_or_insert_with(|| origin.clone());
        self
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rule)
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: Display>(message: T) -> Self {
        Self::rule(message.to_string())
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::rule(format!("must be {}", plain(&expected.to_string())))
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::rule(format!("must be {}", plain(&expected.to_string())))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::rule(format!("must be one of {}", expected.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let known = match suggestion(field, expected) {
            near if near.is_empty() && expected.is_empty() => "; none are known here".to_owned(),
            near if near.is_empty() => format!("; known here: {}", expected.join(", ")),
            near => near,
        };
        Self::rule(format!("is not a known key{known}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { field: Some(field), ..Self::rule("is required") }
    }
}

/// Serde's words for types, in words for people; others stay.
fn plain(expected: &str) -> String {
    let range = |least: i64, most: u64| format!("a whole number from {least} to {most}");
    match expected {
        "u8" => range(0, u8::MAX.into()),
        "u16" => range(0, u16::MAX.into()),
        "u32" => range(0, u32::MAX.into()),
        "u64" | "usize" => "a whole number, not negative".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number in range".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        word if word.starts_with("struct ") => "a table".to_owned(),
        word if word.starts_with("nonzero u") => "a whole number above 0".to_owned(),
        word => word.to_owned(),
    }
}

/// The dotted key of a part under another key.
pub(super) fn below(key: &str, part: &str) -> String {
    if key.is_empty() { part.to_owned() } else { format!("{key}.{part}") }
}

/// The nearest known word, if it is near enough to be meant: at most a third of its letters differ.
fn suggestion(word: &str, known: &[&str]) -> String {
    let near = known.iter().map(|candidate| (distance(word, candidate), *candidate)).min();
    match near {
        Some((edits, candidate)) if edits <= candidate.len().div_ceil(3) => {
            format!("; did you mean {candidate}?")
        }
        _ => String::new(),
    }
}

/// Letters to insert, delete or replace to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["scrape_interval", "listen", "tls"];
        for (word, expect) in [
            ("scrape_intervall", "; did you mean scrape_interval?"),
            ("scrapeinterval", "; did you mean scrape_interval?"),
            ("lsten", "; did you mean listen?"),
            ("tsl", ""),
            ("database", ""),
            ("", ""),
        ] {
            assert_eq!(suggestion(word, &known), expect, "{word}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (from, to, edits) in [("", "", 0), ("abc", "abc", 0), ("", "abc", 3), ("kitten", "sitting", 3)] {
            assert_eq!((distance(from, to), distance(to, from)), (edits, edits));
        }
    }
}
