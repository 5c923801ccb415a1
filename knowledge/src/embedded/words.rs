//! The last words of a Postgres that did not start, for the error message.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::site::Site;

/// Enough for a fatal error with its detail and hint, and still readable in a terminal.
const TAIL_BYTES: u64 = 1_000;

/// The end of the start-up log, or of Postgres' own log if it got that far.
pub(super) fn last_words(site: &Site) -> String {
    let early = tail(&site.startup_log());
    if !early.contains("logging collector") {
        return early;
    }
    newest(&site.log_dir()).map_or(early, |path| tail(&path))
}

fn newest(directory: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?;
    let dated = entries.flatten().filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())));
    dated.max().map(|(_, path)| path)
}

fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}
