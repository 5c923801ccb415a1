//! Child processes of the real binary: started, killed, asked.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tempfile::TempDir;

/// The `homeostat` program that cargo built beside this test.
///
/// # Panics
/// When it is not there.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.parent().and_then(Path::parent).expect("tests stand in target/<profile>/deps");
    let program = folder.join("homeostat");
    assert!(
        program.exists(),
        "{} is missing; build it with `cargo build --package homeostat`",
        program.display()
    );
    program
}

/// The right to run; each test's runtime is its own, so holding it blocks no other task.
#[derive(Debug)]
pub struct Turn {
    _guard: MutexGuard<'static, ()>,
}

/// Two system tests at once would measure each other: they take turns.
pub fn turn() -> Turn {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed while it had its turn has left nothing behind that matters to the next.
    Turn { _guard: TURN.lock().unwrap_or_else(PoisonError::into_inner) }
}

/// A data directory that the Postgres user may enter, removed at the end.
///
/// # Panics
/// When the temporary folder cannot be written.
pub fn data_dir() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let permissions = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().prefix("hs").permissions(permissions).tempdir().expect("a temporary folder")
}

/// A running child; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    arguments: Vec<String>,
    log: PathBuf,
}

impl Process {
    /// Starts the binary with these arguments; its output goes to `<dir>/<name>.log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, dir: &Path, arguments: Vec<String>) -> Self {
        let log = dir.join(format!("{name}.log"));
        let child = spawn(&arguments, &log);
        Self { name: name.to_owned(), child, arguments, log }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9, and bury it.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be buried");
    }

    /// Starts it again with the same arguments, after a kill.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.arguments, &self.log);
    }

    /// Asks it to stop, and waits; gives its exit code.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn stop(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid()).expect("process ids are small"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it can be signalled");
        self.child.wait().expect("it can be buried").code()
    }

    /// Its exit code, if it has ended.
    ///
    /// # Panics
    /// When the system cannot tell.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().expect("the system can tell").map(|status| status.code().unwrap_or(-1))
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = self.log();
            let last: Vec<_> = log.lines().rev().take(40).collect();
            let last: Vec<_> = last.into_iter().rev().collect();
            eprintln!("---- last lines of {}\n{}", self.name, last.join("\n"));
        }
    }
}

fn spawn(arguments: &[String], log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).expect("the log can be written");
    let output = log.try_clone().expect("the log can be shared");
    command()
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(log)
        .spawn()
        .expect("the binary starts")
}

/// The binary without settings from the tester's own environment.
fn command() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOMEOSTAT_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a short command to its end.
///
/// # Panics
/// When it cannot be started.
pub fn run_command(arguments: &[&str]) -> Output {
    command().args(arguments).stdin(Stdio::null()).output().expect("the binary starts")
}

/// Runs a command that must end with 0, and reads the JSON that it prints.
///
/// # Panics
/// When it fails or prints something else.
pub fn command_json(arguments: &[&str]) -> serde_json::Value {
    let output = run_command(&[arguments, &["--output", "json"]].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?} ended with {:?}: {error}", output.status.code());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|problem| {
        panic!("{arguments:?} printed no JSON ({problem}): {}", String::from_utf8_lossy(&output.stdout))
    })
}
