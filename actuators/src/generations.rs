//! Generations in a file, for actuators that have no better place: whole or old, never half.
//!
//! Effect and file are two writes. Store after the effect: a crash between them makes the effect once more when Execute asks
//! again, which setting a level (so many replicas, this policy) bears. A better place is the same write as the effect.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use proto::model::{DirectiveKind, Generation, ResourceId};

/// Why generations cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum GenerationsError {
    /// The file is there and cannot be read. Starting from nothing would let an older generation in.
    #[error("cannot read generations from {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot keep generations in {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The last applied generation per resource and kind.
#[derive(Debug)]
pub struct FileGenerations {
    path: PathBuf,
    kept: Mutex<BTreeMap<String, Generation>>,
}

impl FileGenerations {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// When it is there and cannot be read, or its directory cannot be made.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, GenerationsError> {
        let path = path.into();
        let read = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        };
        let kept = read.map_err(|source| GenerationsError::Read { path: path.clone(), source })?;
        fs::create_dir_all(parent(&path))
            .map_err(|source| GenerationsError::Write { path: path.clone(), source })?;
        Ok(Self { path, kept: Mutex::new(kept) })
    }

    /// The last one stored; 0 if there was none.
    pub fn last(&self, resource: &ResourceId, kind: DirectiveKind) -> Generation {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&key(resource, kind)).copied().unwrap_or_default()
    }

    /// Stores a newer one; it is on disk when this returns. An older one changes nothing.
    ///
    /// # Errors
    /// When the disk refuses; then what was stored before still holds.
    pub fn store(
        &self,
        resource: &ResourceId,
        kind: DirectiveKind,
        generation: Generation,
    ) -> Result<(), GenerationsError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(resource, kind);
        if kept.get(&key).is_some_and(|last| *last >= generation) {
            return Ok(());
        }
        let mut next = kept.clone();
        next.insert(key, generation);
        self.write(&next).map_err(|source| GenerationsError::Write { path: self.path.clone(), source })?;
        *kept = next;
        Ok(())
    }

    fn write(&self, kept: &BTreeMap<String, Generation>) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(kept)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        File::open(parent(&self.path))?.sync_all()
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn key(resource: &ResourceId, kind: DirectiveKind) -> String {
    format!("{resource} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_survive_and_never_go_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/generations.json");
        let cart: ResourceId = "service:shop/cart".parse().unwrap();
        let kept = FileGenerations::open(&path).unwrap();
        assert_eq!(kept.last(&cart, DirectiveKind::Scale), Generation(0));
        kept.store(&cart, DirectiveKind::Scale, Generation(5)).unwrap();
        kept.store(&cart, DirectiveKind::Scale, Generation(4)).unwrap();
        let again = FileGenerations::open(&path).unwrap();
        assert_eq!(again.last(&cart, DirectiveKind::Scale), Generation(5));
        assert_eq!(again.last(&cart, DirectiveKind::SetBreaker), Generation(0));
    }

    #[test]
    fn damaged_file_is_no_empty_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("generations.json");
        fs::write(&path, b"{").unwrap();
        assert!(matches!(FileGenerations::open(&path), Err(GenerationsError::Read { .. })));
    }
}
