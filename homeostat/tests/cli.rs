//! The command line as a process: exit codes, refusals that say what is wrong, and samples that are true.

#![expect(clippy::unwrap_used, reason = "a test that cannot start its program has failed")]

#[path = "cli/offline.rs"]
mod offline;

use std::{
    path::Path,
    process::{Command, Output},
};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_homeostat"))
        .args(arguments)
        .env_remove("HOMEOSTAT_DATA_DIR")
        .output()
        .unwrap()
}

#[track_caller]
fn refuses(arguments: &[&str], words: &[&str]) {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{arguments:?}: {error}");
    for word in words {
        assert!(error.contains(word), "{arguments:?} must say {word:?}: {error}");
    }
}

#[test]
fn wrong_usage_and_wrong_settings_end_with_64_and_say_why() {
    refuses(&["no-such-command"], &["no-such-command"]);
    refuses(&["monitor", "--set", "scrape_intervall=1s"], &["scrape_intervall"]);
    refuses(&["monitor", "--set", "scrape_interval=quick"], &["scrape_interval", "quick"]);
    refuses(&["up", "--set", "plan.server.listen=0.0.0.0:0"], &["plan.server", "0.0.0.0"]);
    refuses(&["up", "--config", "/no/such/file.toml"], &["/no/such/file.toml"]);
    refuses(&["bench", "nothing"], &["nothing", "directives"]);
}

#[test]
fn every_sample_in_deploy_is_accepted_and_printed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/config");
    for service in ["up", "knowledge", "monitor", "analyze", "plan", "execute"] {
        let sample = folder.join(format!("{service}.toml"));
        let output = run(&[service, "--config", sample.to_str().unwrap(), "--print-config"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{service}: {error}");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(printed.contains("listen"), "{service} prints {printed}");
    }
}

#[test]
fn a_command_without_a_control_plane_says_how_to_start_one() {
    let output = run(&["status", "--data-dir", "/no/such/dir", "--knowledge-url", "http://127.0.0.1:9"]);
    assert_eq!(output.status.code(), Some(2), "nothing serves, which is a negative result");
    let output = run(&["directives", "list", "--knowledge-url", "http://127.0.0.1:9"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("homeostat up"), "{error}");
}

#[test]
fn a_broken_file_is_refused_and_nothing_is_applied() {
    let file = std::env::temp_dir().join(format!("homeostat-cli-{}.yaml", std::process::id()));
    std::fs::write(&file, "kind: Policy\nmetadata: { name: x }\nspec: { service: x, autonomy: yolo }\n")
        .unwrap();
    let path = file.to_str().unwrap();
    refuses(
        &["apply", "-f", path, "--knowledge-url", "http://127.0.0.1:9"],
        &["yolo", "observe", "nothing was applied"],
    );
    std::fs::remove_file(&file).unwrap();
}
