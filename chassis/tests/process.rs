//! A service as a real process: it logs, serves, obeys SIGTERM, and says once why it failed.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use chassis::testing::eventually;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const SOON: Duration = Duration::from_secs(20);

/// The example `ticker`, which is built beside the tests.
fn ticker(settings: &[(&str, &str)]) -> Command {
    let test = std::env::current_exe().unwrap();
    let built: PathBuf = test.parent().unwrap().parent().unwrap().join("examples/ticker");
    assert!(built.exists(), "build it first: cargo build -p chassis --example ticker");
    let mut command = Command::new(built);
    command.env_clear().envs(settings.iter().copied()).stderr(Stdio::piped()).stdout(Stdio::piped());
    command.kill_on_drop(true);
    command
}

async fn output(settings: &[(&str, &str)]) -> Output {
    tokio::time::timeout(SOON, ticker(settings).output()).await.unwrap().unwrap()
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8(output.stderr.clone()).unwrap().lines().map(str::to_owned).collect()
}

/// Reads JSON log lines until one has the message; its fields.
async fn logged(child: &mut Child, message: &str) -> BTreeMap<String, serde_json::Value> {
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    loop {
        let line = tokio::time::timeout(SOON, lines.next_line()).await.unwrap().unwrap();
        let line = line.unwrap_or_else(|| panic!("ended before {message:?}"));
        let fields: BTreeMap<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
        if fields["message"] == message {
            return fields;
        }
    }
}

async fn page(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn service_ticks_is_ready_and_ends_with_0_at_sigterm() {
    let mut child = ticker(&[("HOMEOSTAT_TELEMETRY__LOG_FORMAT", "json")]).spawn().unwrap();
    let fields = logged(&mut child, "metrics are served").await;
    let address = fields["pages"].as_str().unwrap().to_owned();
    eventually(SOON, "ready and ticking", || async {
        let ready = page(&address, "/readyz").await.starts_with("HTTP/1.1 200");
        let metrics = page(&address, "/metrics").await;
        let ticks = metrics.lines().find_map(|line| line.strip_prefix("homeostat_ticker_ticks_total "))?;
        (ready && ticks.parse::<u64>().unwrap() > 2).then_some(())
    })
    .await;
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let status = tokio::time::timeout(SOON, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn panic_is_told_once_by_its_task_with_its_place_and_ends_with_1() {
    let output = output(&[("HOMEOSTAT_PANIC", "true")]).await;
    assert_eq!(output.status.code(), Some(1));
    let told: Vec<_> = lines(&output).into_iter().filter(|line| line.contains("the fuse is blown")).collect();
    assert_eq!(told.len(), 2, "once by the supervisor, once as the reason of the exit: {told:?}");
    assert!(told[0].contains("task failed, stopping: panicked at chassis/examples/ticker.rs:"), "{told:?}");
    assert!(told[1].starts_with("error: fuse: panicked at "), "{told:?}");
}

#[tokio::test]
async fn wrong_setting_is_told_in_one_line_and_ends_with_64() {
    let output = output(&[("HOMEOSTAT_INTERVALL", "1s")]).await;
    assert_eq!(output.status.code(), Some(64));
    let line = "error: intervall = \"1s\": is not a known key; did you mean interval? \
                (from the environment variable HOMEOSTAT_INTERVALL)";
    assert_eq!(lines(&output), [line]);
}

#[tokio::test]
async fn port_in_use_ends_with_1_and_says_what_to_do() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = output(&[("HOMEOSTAT_SERVER__LISTEN", &address)]).await;
    assert_eq!(output.status.code(), Some(1));
    let told = lines(&output).join("\n");
    assert!(
        told.contains(&format!("error: {address} is in use by another process: stop that one")),
        "{told}"
    );
}

#[tokio::test]
async fn effective_settings_are_printed() {
    let mut command = ticker(&[("HOMEOSTAT_INTERVAL", "90s")]);
    let output = tokio::time::timeout(SOON, command.arg("--print-config").output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("interval = \"1m 30s\"") && text.contains("listen = \"127.0.0.1:0\""), "{text}");
}
