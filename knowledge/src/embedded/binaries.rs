//! Finds the PostgreSQL programs on this machine: the configured directory alone, or else PATH and the
//! places where packages put them. A cluster that exists decides the major version; a new one takes the newest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::error::EmbeddedError;

/// The oldest major version that we start a cluster with: 13 is the oldest with every setting we pass.
pub const OLDEST_MAJOR: u32 = 13;

/// Parents of one folder per major version; programs are in `<parent>/<version>/bin`, or `<parent>/pgsql-16/bin`.
const PACKAGE_PARENTS: [&str; 3] = ["/usr/lib/postgresql", "/usr", "/opt/homebrew/opt"];

/// A directory with `postgres` and `initdb` of one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Binaries {
    pub(super) major: u32,
    pub(super) directory: PathBuf,
}

impl Binaries {
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// Where to look, and what must be found.
#[derive(Debug)]
pub(super) struct Search<'a> {
    /// If given, nothing else is looked at.
    pub(super) configured: Option<&'a Path>,
    /// The directories of PATH.
    pub(super) path: &'a [PathBuf],
    /// The cluster on disk and the text of its PG_VERSION, if there is one.
    pub(super) existing: Option<(&'a Path, &'a str)>,
}

/// The programs to use, or an error that says where they were looked for.
pub(super) async fn find(search: Search<'_>) -> Result<Binaries, EmbeddedError> {
    let directories = match search.configured {
        Some(directory) => vec![directory.to_owned()],
        None => search.path.iter().cloned().chain(packaged()).collect(),
    };
    let mut found = BTreeSet::new();
    let mut searched = Vec::new();
    for directory in directories {
        match inspect(&directory).await {
            Ok(binaries) => {
                searched.push(format!("{}: PostgreSQL {}", directory.display(), binaries.major));
                found.insert(binaries);
            }
            Err(reason) => searched.push(format!("{}: {reason}", directory.display())),
        }
    }
    if search.configured.is_none() {
        searched.push("/usr/lib/postgresql/*/bin".to_owned());
    }
    choose(found, searched, search.existing)
}

fn choose(
    mut found: BTreeSet<Binaries>,
    searched: Vec<String>,
    existing: Option<(&Path, &str)>,
) -> Result<Binaries, EmbeddedError> {
    if let (Some((path, cluster)), false) = (existing, found.is_empty()) {
        let describe = |b: &Binaries| format!("PostgreSQL {} in {}", b.major, b.directory.display());
        let described = found.iter().map(describe).collect();
        let same = found.into_iter().find(|b| b.major.to_string() == cluster);
        let error = || EmbeddedError::OtherMajor {
            path: path.to_owned(),
            cluster: cluster.to_owned(),
            found: described,
        };
        return same.ok_or_else(error);
    }
    found.retain(|b| b.major >= OLDEST_MAJOR);
    found.pop_last().ok_or(EmbeddedError::NoBinaries { minimum: OLDEST_MAJOR, searched })
}

/// Every `bin` directory that packages of PostgreSQL left on this machine.
fn packaged() -> Vec<PathBuf> {
    let mut directories = vec![PathBuf::from("/usr/local/pgsql/bin")];
    for parent in PACKAGE_PARENTS {
        let Ok(entries) = std::fs::read_dir(parent) else { continue };
        let names = entries.flatten().map(|e| e.path());
        let mut versions: Vec<_> = names.filter(|p| looks_versioned(p)).map(|p| p.join("bin")).collect();
        versions.sort();
        directories.append(&mut versions);
    }
    directories
}

/// `15` (Debian), `pgsql-16` (Red Hat), `postgresql@17` (Homebrew).
fn looks_versioned(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let version = name.strip_prefix("pgsql-").or_else(|| name.strip_prefix("postgresql@")).unwrap_or(name);
    !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit())
}

/// The version of the programs in one directory, or why it will not do.
async fn inspect(directory: &Path) -> Result<Binaries, String> {
    // A link in /usr/local/bin is followed to the version's own directory, where initdb and its files are.
    let program = directory.join("postgres").canonicalize().map_err(|_| "no postgres".to_owned())?;
    let home = program.parent().unwrap_or(directory);
    let directory = if home.join("initdb").exists() { home } else { directory };
    if !directory.join("initdb").exists() {
        return Err("postgres, but no initdb".to_owned());
    }
    let mut command = Command::new(&program);
    command.arg("--version").env_clear().stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|e| format!("postgres does not run: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let major = parse_major(&text).ok_or_else(|| format!("unknown version {:?}", text.trim()))?;
    Ok(Binaries { major, directory: directory.to_owned() })
}

/// `postgres (PostgreSQL) 15.12 (Debian 15.12-0+deb12u2)` → 15; `postgres (PostgreSQL) 17beta1` → 17.
fn parse_major(text: &str) -> Option<u32> {
    let version = text.split_once("(PostgreSQL) ")?.1;
    let end = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binaries(major: u32) -> Binaries {
        Binaries { major, directory: format!("/pg/{major}").into() }
    }

    #[test]
    fn reads_the_major_version_of_releases_and_betas() {
        let check = |text, expect| assert_eq!(parse_major(text), expect, "{text}");
        check("postgres (PostgreSQL) 15.12 (Debian 15.12-0+deb12u2)\n", Some(15));
        check("postgres (PostgreSQL) 17beta1\n", Some(17));
        check("postgres (PostgreSQL) 9.6.1\n", Some(9));
        check("something else", None);
    }

    #[test]
    fn a_new_cluster_takes_the_newest_and_none_below_the_oldest() {
        let newest = choose([9, 14, 16, 13].map(binaries).into(), vec![], None).unwrap();
        assert_eq!(newest.major, 16);
        let error =
            choose([12].map(binaries).into(), vec!["/pg/12: PostgreSQL 12".into()], None).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/pg/12") && text.contains("apt-get install postgresql"), "{text}");
    }

    #[test]
    fn an_existing_cluster_keeps_its_major() {
        let at = Path::new("/data/postgres");
        let kept = choose([14, 15, 16].map(binaries).into(), vec![], Some((at, "15"))).unwrap();
        assert_eq!(kept.major, 15);
        let text = choose([16].map(binaries).into(), vec![], Some((at, "15"))).unwrap_err().to_string();
        assert!(text.contains("PostgreSQL 15") && text.contains("16 in /pg/16"), "{text}");
    }

    #[test]
    fn knows_the_folder_names_of_packages() {
        let check = |path: &str, expect| assert_eq!(looks_versioned(Path::new(path)), expect, "{path}");
        check("/usr/lib/postgresql/15", true);
        check("/usr/pgsql-16", true);
        check("/opt/homebrew/opt/postgresql@17", true);
        check("/usr/share", false);
        check("/usr/pgsql-", false);
    }
}
