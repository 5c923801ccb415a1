//! What the durable figures stand beside: PostgreSQL alone, asked by its own pgbench to make the same rows durable, one
//! transaction at a time from many clients, on the same disk with the same settings. No queue, no stream, no group commit.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::Context as _;
use chassis::Context;
use knowledge::embedded::{Embedded, EmbeddedConfig};
use tokio::process::Command;

/// As long as our own figures are measured.
const SECONDS: Duration = Duration::from_secs(10);
/// More clients than this are slower on two cores.
const CLIENTS: &str = "64";

/// A directive is committed when it is decided and when it is reported. No colons in the text: pgbench takes words after them for
/// variables.
const DIRECTIVE: &str = "\\set id random(1, 1000000000)
insert into directive_peer values (:id, 'bench', repeat('x', 600), 'issued');
update directive_peer set state = 'applied' where id = :id;
";
const SIGNAL: &str = "insert into feedback_peer values (1.0, now(), 'promise_kept_ratio');\n";
const TABLES: &str = "create table directive_peer (id bigint, resource text, body text, state text);
create index on directive_peer (id);
create table feedback_peer (value float8, at timestamptz, name text);";

/// Transactions a second of PostgreSQL alone, in a fresh cluster that is stopped afterwards.
pub(super) async fn directives(dir: &Path, ctx: &Context) -> anyhow::Result<BTreeMap<String, f64>> {
    let rate = alone(dir, DIRECTIVE, ctx).await?;
    Ok(BTreeMap::from([("postgres_pgbench_insert_update".to_owned(), rate)]))
}

/// As [`directives`], for rows of feedback.
pub(super) async fn feedback(dir: &Path, ctx: &Context) -> anyhow::Result<BTreeMap<String, f64>> {
    let rate = alone(dir, SIGNAL, ctx).await?;
    Ok(BTreeMap::from([("postgres_pgbench_insert".to_owned(), rate)]))
}

async fn alone(dir: &Path, script: &str, ctx: &Context) -> anyhow::Result<f64> {
    let environment = chassis::config::environment();
    let config =
        EmbeddedConfig { data_dir: dir.join("peer"), ..EmbeddedConfig::from_environment(&environment) };
    let postgres = Embedded::start(config).await.context("cannot start the peer's Postgres")?;
    let measured = tokio::select! {
        measured = pgbench(&postgres, dir, script) => measured,
        () = ctx.stopper.stopped() => Err(anyhow::anyhow!("stopped")),
    };
    postgres.stop().await;
    measured
}

async fn pgbench(postgres: &Embedded, dir: &Path, script: &str) -> anyhow::Result<f64> {
    let url = postgres.url();
    run(Command::new(postgres.program("psql")).args([
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        &url,
        "-c",
        TABLES,
    ]))
    .await?;
    let file = dir.join("peer.sql");
    std::fs::write(&file, script).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new(postgres.program("pgbench"));
    command.args([
        "-n",
        "-c",
        CLIENTS,
        "-j",
        "2",
        "-M",
        "prepared",
        "-T",
        &SECONDS.as_secs().to_string(),
        "-f",
    ]);
    rate(&run(command.arg(file).arg(url)).await?)
}

async fn run(command: &mut Command) -> anyhow::Result<String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.kill_on_drop(true).output().await.with_context(|| format!("cannot run {name}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{name} failed: {error}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `tps = 3210.5 (without initial connection time)`.
fn rate(report: &str) -> anyhow::Result<f64> {
    let line = report.lines().find_map(|line| line.trim().strip_prefix("tps = "));
    let number = line.and_then(|line| line.split_whitespace().next()).context("pgbench printed no tps")?;
    number.parse().with_context(|| format!("pgbench printed tps = {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_rate_that_pgbench_prints() {
        let report = "latency average = 19.9 ms\ntps = 3210.512 (without initial connection time)\n";
        assert_eq!(rate(report).unwrap(), 3210.512);
        assert!(rate("latency average = 19.9 ms\n").is_err());
        assert!(rate("tps = many\n").is_err());
    }
}
