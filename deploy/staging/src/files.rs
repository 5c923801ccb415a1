//! Small files that several processes share: replaced whole, read whole, followed by polling.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// How soon a change of a followed file is seen: two stats in 100 ms cost microseconds.
pub(crate) const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);

/// A file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not readable.
    #[error("cannot read {path}", path = .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// Not writable.
    #[error("cannot write {path}", path = .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// Its content is not what belongs there.
    #[error("cannot understand {path}", path = .0.display())]
    Content(PathBuf, #[source] serde_json::Error),
}

/// Replaces a file: readers see the old content or the new, also after a crash.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, bytes).map_err(|source| FileError::Write(path.to_owned(), source))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // The process id keeps two writers from sharing a half-written file; the last rename wins.
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

/// As [`write`], in JSON.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let content = |error| FileError::Content(path.to_owned(), error);
    write(path, &serde_json::to_vec_pretty(value).map_err(content)?)
}

/// Reads a whole file; a missing one is `None`.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::Read(path.to_owned(), error)),
    }
}

/// As [`read`], from JSON.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    let content = |error| FileError::Content(path.to_owned(), error);
    read(path)?.map(|bytes| serde_json::from_slice(&bytes).map_err(content)).transpose()
}

/// Holds a lock file until dropped. The lock dies with the process, and children do not inherit it.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, never read")] File);

/// Takes a lock if nobody else holds it.
pub(crate) fn try_lock(path: &Path) -> Result<Option<Lock>, FileError> {
    let file = open_lock(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock(file))),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(FileError::Write(path.to_owned(), error)),
    }
}

/// Waits for a lock. Only for locks that are held for microseconds.
pub(crate) fn lock(path: &Path) -> Result<Lock, FileError> {
    let file = open_lock(path)?;
    file.lock().map_err(|error| FileError::Write(path.to_owned(), error))?;
    Ok(Lock(file))
}

fn open_lock(path: &Path) -> Result<File, FileError> {
    let open = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        File::options().create(true).truncate(false).write(true).open(path)
    };
    open().map_err(|error| FileError::Write(path.to_owned(), error))
}

/// What the file says, kept up to date until the receiver is gone. A missing file is the default; one that cannot be
/// understood changes nothing.
pub(crate) async fn follow<T: DeserializeOwned + Default>(path: PathBuf, sender: watch::Sender<T>) {
    let mut seen = None;
    while !sender.is_closed() {
        let stamp = stamp(&path);
        if seen != Some(stamp) {
            match read_json::<T>(&path) {
                Ok(value) => {
                    sender.send_replace(value.unwrap_or_default());
                    seen = Some(stamp);
                }
                Err(error) => tracing::warn!("{}", chassis::chain(&error)),
            }
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
    }
}

/// Changes with every rename: a new file has another inode, and mostly another time and size.
fn stamp(path: &Path) -> Option<(SystemTime, u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
