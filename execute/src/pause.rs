//! The kill switch's own memory: a small file that is whole or old, never half, and that outlives Knowledge and Postgres.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use proto::model::PauseState;

/// The file's name in the data directory.
const FILE: &str = "pause.json";

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// The directory or file cannot be written.
    #[error("cannot keep the pause in {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Where the switch is remembered.
#[derive(Debug, Clone)]
pub struct PauseFile {
    path: PathBuf,
}

impl PauseFile {
    /// The file in this directory, which is made if need be.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(data_dir: &Path) -> Result<Self, PauseError> {
        let path = data_dir.join(FILE);
        fs::create_dir_all(data_dir).map_err(|source| PauseError::Write { path: path.clone(), source })?;
        Ok(Self { path })
    }

    /// What it remembers. A file that is there but cannot be read counts as paused: whoever wrote it meant something.
    /// Its counter is 0, so that Knowledge's memory, if it has one, wins.
    pub fn load(&self, now: Timestamp) -> PauseState {
        let unreadable = |reason: String| PauseState {
            paused: true,
            counter: 0,
            reason: format!("{} cannot be read: {reason}", self.path.display()),
            actor: crate::lifecycle::ACTOR.to_owned(),
            at: now,
        };
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| unreadable(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => PauseState::never(now),
            Err(error) => unreadable(error.to_string()),
        }
    }

    /// Writes it beside, syncs it, and moves it over the old one.
    ///
    /// # Errors
    /// When the disk refuses; the old file is whole then.
    pub fn store(&self, state: &PauseState) -> Result<(), PauseError> {
        self.write(state).map_err(|source| PauseError::Write { path: self.path.clone(), source })
    }

    fn write(&self, state: &PauseState) -> io::Result<()> {
        let beside = self.path.with_extension("json.new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(state)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        // The rename itself must survive a power cut too.
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// The switch after someone pulled it: one higher than what was.
pub fn switched(
    before: &PauseState,
    paused: bool,
    reason: String,
    actor: String,
    now: Timestamp,
) -> PauseState {
    PauseState { paused, counter: before.counter.saturating_add(1), reason, actor, at: now }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_000).unwrap()
    }

    #[test]
    fn memory_survives_and_counts_up() {
        let dir = tempfile::tempdir().unwrap();
        let file = PauseFile::open(&dir.path().join("deep/er")).unwrap();
        let never = file.load(now());
        assert!(!never.paused);
        let paused = switched(&never, true, "why".to_owned(), "me".to_owned(), now());
        file.store(&paused).unwrap();
        assert_eq!(PauseFile::open(&dir.path().join("deep/er")).unwrap().load(now()), paused);
        assert_eq!(paused.counter, 1);
        let resumed = switched(&paused, false, String::new(), "me".to_owned(), now());
        file.store(&resumed).unwrap();
        assert_eq!(file.load(now()), resumed);
    }

    #[test]
    fn damaged_file_means_paused_until_knowledge_says_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let file = PauseFile::open(dir.path()).unwrap();
        fs::write(dir.path().join(FILE), b"{\"paused\": fal").unwrap();
        let state = file.load(now());
        assert!(state.paused && state.reason.contains("cannot be read"), "{state:?}");
        let remote = PauseState { paused: false, counter: 3, ..state.clone() };
        assert!(!state.clone().merge(remote).paused);
        assert!(state.clone().merge(PauseState::never(now())).paused, "a tie means paused");
    }

    #[test]
    fn half_written_file_beside_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let file = PauseFile::open(dir.path()).unwrap();
        let state = switched(&PauseState::never(now()), true, String::new(), String::new(), now());
        file.store(&state).unwrap();
        fs::write(dir.path().join("pause.json.new"), b"{").unwrap();
        assert_eq!(file.load(now()), state);
    }
}
