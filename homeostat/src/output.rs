//! Tables for people, JSON and YAML for programs.

use comfy_table::{ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};
use serde::Serialize;
use std::io::{self, Write};

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For both.
    Yaml,
}

/// Prints `value` as JSON or YAML, or what `table` makes of it.
///
/// # Errors
/// When it cannot be serialised or standard output is closed.
pub fn print<T: Serialize + ?Sized>(
    format: Format,
    value: &T,
    table: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let text = match format {
        Format::Table => table(value),
        Format::Json => serde_json::to_string_pretty(value)?,
        Format::Yaml => serde_yaml_ng::to_string(value)?,
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end())?;
    Ok(out.flush()?)
}

/// A table that fits the terminal.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table
        .load_preset(UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    let mut empty = true;
    for row in rows {
        table.add_row(row);
        empty = false;
    }
    if empty { format!("{table}\n(none)") } else { table.to_string() }
}

/// A number with as many digits as help, or `unknown`.
pub fn number(value: Option<f64>) -> String {
    match value {
        None => "unknown".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 1.0 => format!("{value:.2}"),
        Some(value) if value.abs() >= 0.000_1 => format!("{value:.4}"),
        Some(value) => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_never_printed_as_a_number() {
        assert_eq!(number(None), "unknown");
        assert_eq!(number(Some(0.0)), "0");
        assert_eq!(number(Some(0.012_34)), "0.0123");
        assert_eq!(number(Some(1234.5)), "1234");
    }

    #[test]
    fn an_empty_listing_says_so() {
        assert!(table(["A"], Vec::<[String; 1]>::new()).ends_with("(none)"));
    }
}
