//! `seasonality`: what was found about the rhythm of signals.

mod picture;

use crate::{
    cli_seasonality::Seasonality,
    endpoints::Clients,
    output::{self, number, table},
};
use chassis::exit;
use jiff::{Timestamp, tz::TimeZone};
use proto::{
    client::Seasonalities,
    model::{SeasonalPeriod, SeasonalityModel, SeasonalityState, SignalId},
};
use serde::Serialize;

/// A model in full, with the versions before it.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    model: SeasonalityModel,
    versions: Vec<Version>,
}

/// One version in short.
#[derive(Debug, Serialize)]
struct Version {
    generation: u64,
    state: SeasonalityState,
    created_at: Timestamp,
    periods: Vec<PeriodInShort>,
    explained_ratio: f64,
    samples: u64,
}

#[derive(Debug, Serialize)]
struct PeriodInShort {
    length_s: f64,
    strength: f64,
}

/// Runs one of the `seasonality` commands.
///
/// # Errors
/// When Knowledge cannot be reached, or nothing is known of the signal.
pub async fn run(clients: Clients, command: Seasonality) -> anyhow::Result<u8> {
    let knowledge = Seasonalities::new(clients.channel(&clients.endpoints.knowledge)?);
    match command {
        Seasonality::List { prefix, output } => {
            output::print(output.output, &list(&knowledge, &prefix).await?, |models| rows(models))?;
        }
        Seasonality::Show { signal, output } => {
            let shown = show(&knowledge, signal).await?;
            output::print(output.output, &shown, page)?;
        }
    }
    Ok(exit::DONE)
}

async fn list(knowledge: &Seasonalities, prefix: &str) -> anyhow::Result<Vec<SeasonalityModel>> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = knowledge.list(prefix, &after, 0).await?;
        let more = page.more && !page.models.is_empty();
        all.extend(page.models);
        match all.last() {
            Some(last) if more => after = last.signal.to_string(),
            _ => return Ok(all),
        }
    }
}

async fn show(knowledge: &Seasonalities, signal: SignalId) -> anyhow::Result<Shown> {
    let history = knowledge.history(signal.clone(), 0).await?;
    let versions = history.iter().map(Version::of).collect();
    let Some(model) = history.into_iter().next() else {
        anyhow::bail!(
            "no season of {signal} was found yet; `homeostat seasonality list` shows the signals that have some"
        );
    };
    Ok(Shown { model, versions })
}

impl Version {
    fn of(model: &SeasonalityModel) -> Self {
        let SeasonalityModel { generation, state, created_at, explained_ratio, samples, .. } = *model;
        let in_short =
            |period: &SeasonalPeriod| PeriodInShort { length_s: period.length_s, strength: period.strength };
        let periods = model.periods.iter().map(in_short).collect();
        Self { generation, state, created_at, periods, explained_ratio, samples }
    }
}

fn rows(models: &[SeasonalityModel]) -> String {
    let lines = models.iter().map(|model| {
        [
            model.signal.to_string(),
            in_short(model.periods.iter().map(|period| (period.length_s, period.strength))),
            percent(model.explained_ratio),
            model.samples.to_string(),
            format!("{:.0} .. {:.0}", model.evidence_from, model.evidence_to),
            model.generation.to_string(),
            format!("{:.0}", model.created_at),
        ]
    });
    table(["SIGNAL", "PERIODS", "EXPLAIN", "SAMPLES", "EVIDENCE", "GEN", "MADE"], lines)
}

fn in_short(periods: impl Iterator<Item = (f64, f64)>) -> String {
    let texts: Vec<String> =
        periods.map(|(length_s, strength)| format!("{} {}", length(length_s), percent(strength))).collect();
    if texts.is_empty() { "none any more".to_owned() } else { texts.join(", ") }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// As people say it.
fn length(length_s: f64) -> String {
    let (count, unit) = match length_s {
        length_s if length_s >= 604_800.0 => (length_s / 604_800.0, "week"),
        length_s if length_s >= 86_400.0 => (length_s / 86_400.0, "day"),
        length_s if length_s >= 3_600.0 => (length_s / 3_600.0, "hour"),
        length_s if length_s >= 60.0 => (length_s / 60.0, "minute"),
        length_s => (length_s, "second"),
    };
    match format!("{count:.2}").trim_end_matches('0').trim_end_matches('.') {
        "1" => unit.to_owned(),
        count => format!("{count} {unit}s"),
    }
}

fn page(shown: &Shown) -> String {
    let Shown { model, versions } = shown;
    let zone = zone(&model.time_zone);
    let zone_name = if model.time_zone.is_empty() { "UTC" } else { &model.time_zone };
    let mut page = format!(
        "{}\nversion {} ({}), made {:.0} by {}\n{} of the variance, told by {} means of {} from {:.0} to {:.0}; times in {zone_name}\n",
        model.signal,
        model.generation,
        model.state,
        model.created_at,
        model.method,
        percent(model.explained_ratio),
        model.samples,
        length(model.interval_s),
        model.evidence_from,
        model.evidence_to,
    );
    if model.periods.is_empty() {
        page.push_str("\nThere was a season, and it is gone.\n");
    }
    for period in &model.periods {
        page.push_str(&format!(
            "\n{}: strength {}, seen {} times, {} that noise looks like it, autocorrelation {}\n",
            length(period.length_s),
            percent(period.strength),
            number(Some(period.cycles)),
            chance(period.chance),
            number(Some(period.autocorrelation)),
        ));
        page.push_str(&picture::picture(period, model.level, &zone));
    }
    let lines = versions.iter().map(|version| {
        let periods = version.periods.iter().map(|period| (period.length_s, period.strength));
        [
            version.generation.to_string(),
            version.state.to_string(),
            in_short(periods),
            percent(version.explained_ratio),
            version.samples.to_string(),
            format!("{:.0}", version.created_at),
        ]
    });
    page.push('\n');
    page.push_str(&table(["GEN", "STATE", "PERIODS", "EXPLAIN", "SAMPLES", "MADE"], lines));
    page
}

fn chance(chance: f64) -> String {
    if chance < 1e-12 { "no chance".to_owned() } else { format!("chance {}", number(Some(chance))) }
}

/// A zone that this machine does not know is shown in UTC.
fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> SeasonalityModel {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let period = |length_s: f64, strength, shape: Vec<f32>| SeasonalPeriod {
            length_s,
            strength,
            chance: 1e-20,
            autocorrelation: 0.7,
            cycles: 21.0,
            starts_at: at("2026-11-15T23:00:00Z"),
            shape,
        };
        let day = (0..45).map(|i| (std::f32::consts::TAU * i as f32 / 45.0).sin() * 50.0).collect();
        let week = (0..168).map(|i| if i / 24 >= 5 { -40.0 } else { 16.0 }).collect();
        SeasonalityModel {
            signal: "service:shop/orders#load".parse().unwrap(),
            generation: 3,
            state: SeasonalityState::Active,
            method: "spectrum".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            periods: vec![period(86_400.0, 0.8, day), period(604_800.0, 0.12, week)],
            samples: 1_300,
            interval_s: 1_920.0,
            explained_ratio: 0.9,
            level: 200.0,
            evidence_from: at("2026-10-20T00:00:00Z"),
            evidence_to: at("2026-11-20T00:00:00Z"),
            created_at: at("2026-11-20T00:01:00Z"),
        }
    }

    #[test]
    fn lengths_are_said_as_people_say_them() {
        for (length_s, text) in [
            (86_400.0, "day"),
            (604_800.0, "week"),
            (3_600.0, "hour"),
            (900.0, "15 minutes"),
            (59_040.0, "16.4 hours"),
            (1.5, "1.5 seconds"),
        ] {
            assert_eq!(length(length_s), text);
        }
    }

    #[test]
    fn a_page_draws_the_day_from_midnight_and_the_week_from_monday() {
        let versions = vec![Version::of(&model())];
        let page = page(&Shown { model: model(), versions });
        for part in [
            "day: strength 80 %",
            "week: strength 12 %",
            "00:00",
            "06:00",
            "Mon",
            "Sun",
            "version 3 (active)",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(page.lines().all(|line| line.chars().count() <= 140), "{page}");
    }

    #[test]
    fn a_season_that_is_gone_is_said_to_be_gone() {
        let gone = SeasonalityModel { periods: Vec::new(), explained_ratio: 0.0, ..model() };
        assert!(rows(std::slice::from_ref(&gone)).contains("none any more"));
        let versions = vec![Version::of(&gone)];
        assert!(page(&Shown { model: gone, versions }).contains("it is gone"));
    }

    #[test]
    fn programs_get_the_model_and_its_versions() {
        let versions = vec![Version::of(&model())];
        let json = serde_json::to_value(Shown { model: model(), versions }).unwrap();
        assert_eq!(json["signal"], "service:shop/orders#load");
        assert_eq!(json["periods"][0]["length_s"], 86_400.0);
        assert_eq!(json["periods"][1]["shape"].as_array().unwrap().len(), 168);
        assert_eq!(json["versions"][0]["generation"], 3);
    }
}
