//! One homeostat per data directory: an advisory lock on `<data-dir>/homeostat.lock`, which the kernel drops when
//! its holder dies, however it dies. The file says who holds it, for the error message only.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::error::{self, EmbeddedError};

/// Held for as long as the cluster is ours.
#[derive(Debug)]
pub(super) struct DataLock {
    file: File,
}

impl DataLock {
    pub(super) fn take(data_dir: &Path) -> Result<DataLock, EmbeddedError> {
        let path = data_dir.join("homeostat.lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(error::files("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(EmbeddedError::Locked { path: data_dir.to_owned(), pid: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(error::files("lock", &path)(source)),
        }
        write_holder(&mut file).map_err(error::files("write", &path))?;
        Ok(DataLock { file })
    }
}

impl Drop for DataLock {
    /// Unlocks by hand: closing alone would keep the lock while a child that is being spawned still has a copy.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    let pid = text.trim();
    if pid.is_empty() { "unknown".to_owned() } else { pid.to_owned() }
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}
