//! The cluster on disk: is there one, by which major version, and how a new one is made whole or not at all.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::account::Account;
use super::binaries::Binaries;
use super::error::{self, EmbeddedError};
use super::site::{NAME, is_empty};

/// Names of half-made clusters begin so; the maker's process id follows.
const UNFINISHED: &str = "postgres.new-";

/// The major version that made the cluster, as its PG_VERSION says; none if there is no cluster yet.
pub(super) fn version(cluster: &Path) -> Result<Option<String>, EmbeddedError> {
    let path = cluster.join("PG_VERSION");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            if cluster.exists() && !is_empty(cluster)? {
                return Err(EmbeddedError::NotACluster { path: cluster.to_owned() });
            }
            Ok(None)
        }
        Err(source) => Err(error::files("read", &path)(source)),
    }
}

/// Makes a cluster beside its place and renames it, so that a crash in between leaves none rather than half of one.
pub(super) async fn create(
    data_dir: &Path,
    cluster: &Path,
    account: &Account,
    binaries: &Binaries,
) -> Result<(), EmbeddedError> {
    remove_unfinished(data_dir);
    let unfinished = data_dir.join(format!("{UNFINISHED}{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&unfinished).map_err(error::files("create", &unfinished))?;
    account.own(&unfinished)?;
    initdb(&unfinished, account, binaries).await?;
    std::fs::rename(&unfinished, cluster).map_err(error::files("put in place", cluster))?;
    File::open(data_dir).and_then(|d| d.sync_all()).map_err(error::files("sync", data_dir))
}

/// `trust` is safe here because the socket lies in a 0700 directory of Postgres' account: the kernel lets only that
/// account and root reach it. (`peer` would refuse root, who connects when homeostat runs as root.) TCP is refused
/// twice: no address is listened on, and the rules reject every host. Locale C does not change with the system's
/// collations, which would silently corrupt text indexes.
async fn initdb(directory: &Path, account: &Account, binaries: &Binaries) -> Result<(), EmbeddedError> {
    let program = binaries.program("initdb");
    let mut command = account.command(&program);
    command.arg("-D").arg(directory).args(["-U", NAME, "-E", "UTF8", "--locale=C", "--data-checksums"]);
    command.args(["--auth-local=trust", "--auth-host=reject"]);
    command.stderr(Stdio::piped()).kill_on_drop(true);
    let output = command.output().await.map_err(error::spawn(&program))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(EmbeddedError::Initdb { status: output.status, said })
}

/// Removes what interrupted runs left. One that cannot be removed does no harm: its name is never used again soon.
fn remove_unfinished(data_dir: &Path) {
    let Ok(entries) = std::fs::read_dir(data_dir) else { return };
    let paths = entries.flatten().map(|e| e.path());
    for path in paths.filter(|p| is_unfinished(p)).collect::<Vec<PathBuf>>() {
        if let Err(error) = std::fs::remove_dir_all(&path) {
            tracing::warn!(path = %path.display(), %error, "could not remove a half-made cluster");
        }
    }
}

fn is_unfinished(path: &Path) -> bool {
    path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(UNFINISHED))
}
