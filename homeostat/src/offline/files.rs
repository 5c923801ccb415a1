//! Which files a command works on, and where its results go: each result keeps the name of its input, below a folder also the
//! path.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Folders are not entered deeper than this; a link that leads back to itself must end.
const DEPTH_MAX: usize = 16;

/// One file to work on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Input {
    /// Where the result goes, below the folder of results.
    pub name: PathBuf,
    /// The file.
    pub path: PathBuf,
}

/// What cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path that cannot be looked at.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A folder without any file to read.
    #[error("there is no .csv file in {}", path.display())]
    Nothing {
        /// Which.
        path: PathBuf,
    },
    /// Two results would be the same file.
    #[error(
        "{} and {} would both be written to {}; give the folder above them, or run them into two folders",
        first.display(), second.display(), name.display()
    )]
    SameName {
        /// One input.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// The name they share.
        name: PathBuf,
    },
}

/// The files given, and those below the folders given, sorted by the names of their results.
///
/// # Errors
/// When a path cannot be read, a folder holds no CSV, or two files would have one result.
pub fn inputs(paths: &[PathBuf]) -> Result<Vec<Input>, Error> {
    let mut found = BTreeMap::<PathBuf, PathBuf>::new();
    for path in paths {
        let read = |source| Error::Read { path: path.clone(), source };
        let files = if fs::metadata(path).map_err(read)?.is_dir() {
            let mut below = Vec::new();
            walk(path, Path::new(""), 0, &mut below)?;
            if below.is_empty() {
                return Err(Error::Nothing { path: path.clone() });
            }
            below
        } else {
            vec![(PathBuf::from(path.file_name().unwrap_or(path.as_os_str())), path.clone())]
        };
        for (name, path) in files {
            let name = plain(&name);
            if let Some(first) = found.get(&name) {
                return Err(Error::SameName { first: first.clone(), second: path, name });
            }
            found.insert(name, path);
        }
    }
    Ok(found.into_iter().map(|(name, path)| Input { name, path }).collect())
}

/// Every CSV below a folder with its path from there.
fn walk(folder: &Path, below: &Path, depth: usize, found: &mut Vec<(PathBuf, PathBuf)>) -> Result<(), Error> {
    let read = |source| Error::Read { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let (path, name) = (entry.path(), below.join(entry.file_name()));
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            if depth < DEPTH_MAX {
                walk(&path, &name, depth + 1, found)?;
            }
        } else if is_csv(&path) {
            found.push((name, path));
        }
    }
    Ok(())
}

fn is_csv(path: &Path) -> bool {
    let name = plain(path);
    name.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

/// The name without the ending of its compression.
fn plain(path: &Path) -> PathBuf {
    if is_gzip(path) { path.with_extension("") } else { path.to_owned() }
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}

/// Opens a file for reading; one that ends in `.gz` is unpacked on the way.
///
/// # Errors
/// When it cannot be opened.
pub fn open(path: &Path) -> Result<Box<dyn io::Read + Send>, Error> {
    let file = File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(if is_gzip(path) { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// Reads a whole text file.
///
/// # Errors
/// When it cannot be read, or is no text.
pub fn text(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    io::Read::read_to_string(&mut open(path)?, &mut text)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> PathBuf {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("homeostat-files-{}-{number}", std::process::id()));
        for file in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_keeps_its_structure_and_gives_only_csv() {
        let folder = folder(&["b/two.csv", "a/one.csv", "readme.txt", ".hidden/x.csv", "z.csv.gz"]);
        let names: Vec<_> =
            inputs(std::slice::from_ref(&folder)).unwrap().into_iter().map(|i| i.name).collect();
        assert_eq!(names, ["a/one.csv", "b/two.csv", "z.csv"].map(PathBuf::from));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn two_inputs_with_one_name_are_refused() {
        let folder = folder(&["a/one.csv", "b/one.csv"]);
        let error = inputs(&[folder.join("a/one.csv"), folder.join("b/one.csv")]).unwrap_err();
        assert!(matches!(error, Error::SameName { .. }), "{error}");
        assert_eq!(inputs(std::slice::from_ref(&folder)).unwrap().len(), 2);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_empty_folder_and_a_missing_file_are_named() {
        let folder = folder(&["readme.txt"]);
        assert!(matches!(inputs(std::slice::from_ref(&folder)), Err(Error::Nothing { .. })));
        assert!(matches!(inputs(&[folder.join("no.csv")]), Err(Error::Read { .. })));
        fs::remove_dir_all(folder).unwrap();
    }
}
