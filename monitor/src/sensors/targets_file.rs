//! The file with the list of targets, read again when it changes. A broken file keeps the list that was read before.

use std::io;
use std::path::PathBuf;

use tokio::io::AsyncReadExt;

use crate::target::{ListError, Target, by_id, read_list};

/// Largest file: [`crate::target::TARGETS_MAX`] targets of 1 KiB are 10 MB.
const FILE_BYTES_MAX: usize = 16 << 20;

/// Looks at one file.
#[derive(Debug)]
pub struct TargetsFile {
    path: PathBuf,
    /// Targets that are always there; the file may not repeat them.
    always: Vec<Target>,
    /// What was read last, good or bad, so that only a change is worked on and reported.
    seen: Option<Vec<u8>>,
    missing: bool,
}

/// Why the file gave no list.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there or not readable.
    #[error("cannot read the targets file {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is larger than any list.
    #[error("the targets file {} is larger than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// It is no list of targets.
    #[error("the targets file {} is not usable", path.display())]
    List {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        #[source]
        source: ListError,
    },
}

impl TargetsFile {
    /// Will look at `path`.
    #[must_use]
    pub fn new(path: PathBuf, always: Vec<Target>) -> Self {
        Self { path, always, seen: None, missing: false }
    }

    /// The whole list, if the file changed since the last look. Each state of the file is reported once.
    ///
    /// # Errors
    /// If it changed to something of no use.
    pub async fn poll(&mut self) -> Result<Option<Vec<Target>>, Error> {
        let bytes = match self.bytes().await {
            Ok(bytes) => bytes,
            Err(_) if self.missing => return Ok(None),
            Err(source) => {
                (self.missing, self.seen) = (true, None);
                return Err(Error::Read { path: self.path.clone(), source });
            }
        };
        self.missing = false;
        if self.seen.as_ref() == Some(&bytes) {
            return Ok(None);
        }
        let read = self.read(&bytes);
        self.seen = Some(bytes);
        read.map(Some)
    }

    /// At most one byte more than is allowed, so that a huge file is seen to be huge without being read.
    async fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = tokio::fs::File::open(&self.path).await?;
        file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    fn read(&self, bytes: &[u8]) -> Result<Vec<Target>, Error> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(Error::TooLarge { path: self.path.clone() });
        }
        let error = |source| Error::List { path: self.path.clone(), source };
        let listed = read_list(bytes).map_err(error)?;
        let all = by_id(self.always.iter().cloned().chain(listed)).map_err(error)?;
        Ok(all.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::target;

    #[tokio::test]
    async fn a_change_is_told_once_and_a_broken_file_is_reported_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("targets.json");
        let mut file = TargetsFile::new(path.clone(), vec![target("fixed", "f:1")]);
        assert!(file.poll().await.is_err());
        assert_eq!(file.poll().await.unwrap(), None, "a missing file is reported once");
        std::fs::write(&path, r#"[{"targets": ["a:1"]}]"#).unwrap();
        assert_eq!(file.poll().await.unwrap().unwrap().len(), 2);
        assert_eq!(file.poll().await.unwrap(), None);
        std::fs::write(&path, r#"[{"targets": ["a:1", "b:1""#).unwrap();
        assert!(file.poll().await.is_err());
        assert_eq!(file.poll().await.unwrap(), None);
        std::fs::write(&path, r#"[{"targets": ["f:1"], "labels": {"job": "fixed"}}]"#).unwrap();
        assert!(matches!(file.poll().await, Err(Error::List { source: ListError::Repeated(_), .. })));
        std::fs::write(&path, "[]").unwrap();
        assert_eq!(file.poll().await.unwrap().unwrap().len(), 1);
    }
}
