//! Where everything of one private cluster lies: data directory, cluster, socket, logs, and who may enter what.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::account::Account;
use super::binaries::Binaries;
use super::error::{self, EmbeddedError};

/// The role that owns everything in the cluster, and the database the ledger is kept in.
pub(super) const NAME: &str = "homeostat";
/// Only part of the socket file's name: no TCP port is ever opened.
pub(super) const PORT: u16 = 5432;
/// `sun_path` has 108 bytes on Linux (104 on macOS and BSD) with the closing NUL.
const SOCKET_PATH_MAX: usize = 103;

/// One cluster, and all that is needed to start it.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) data_dir: PathBuf,
    pub(super) cluster: PathBuf,
    pub(super) socket_dir: PathBuf,
    /// Unique on this machine while the data directory exists; every process of the cluster bears it in its title.
    pub(super) tag: String,
    pub(super) account: Account,
    pub(super) binaries: Binaries,
}

impl Site {
    /// What Postgres says before its own log starts. Beside the cluster, not in it: as root we must not write
    /// where another account could have put a link.
    pub(super) fn startup_log(&self) -> PathBuf {
        self.data_dir.join("postgres-startup.log")
    }

    /// A week of logs, one file per weekday.
    pub(super) fn log_dir(&self) -> PathBuf {
        self.cluster.join("log")
    }

    /// How to connect. Everything that sqlx would otherwise take from PG* variables is set here.
    pub(super) fn options(&self, database: &str) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass().socket(&self.socket_dir).port(PORT);
        options.username(NAME).database(database).ssl_mode(PgSslMode::Disable)
    }

    /// The same as text, understood by sqlx and by psql.
    pub(super) fn url(&self) -> String {
        let host = percent_encode(&self.socket_dir);
        format!("postgres:///{NAME}?host={host}&port={PORT}&user={NAME}&sslmode=disable")
    }
}

/// Makes the data directory if need be and returns its real path. As root, a directory that we made, or that is
/// still empty, may be entered (not listed) by others, because Postgres runs under another account inside it.
pub(super) fn prepare_data_dir(data_dir: &Path) -> Result<PathBuf, EmbeddedError> {
    let root = geteuid().is_root();
    DirBuilder::new()
        .recursive(true)
        .mode(if root { 0o755 } else { 0o700 })
        .create(data_dir)
        .map_err(error::files("create", data_dir))?;
    let real = data_dir.canonicalize().map_err(error::files("resolve", data_dir))?;
    if root && is_empty(&real)? {
        let enter_only = Permissions::from_mode(0o711);
        std::fs::set_permissions(&real, enter_only).map_err(error::files("open to Postgres", &real))?;
    }
    Ok(real)
}

/// `homeostat-<device>-<inode>` of the data directory, in hexadecimal.
pub(super) fn tag(data_dir: &Path) -> Result<String, EmbeddedError> {
    let meta = std::fs::metadata(data_dir).map_err(error::files("read", data_dir))?;
    Ok(format!("homeostat-{:x}-{:x}", meta.dev(), meta.ino()))
}

/// The directory for the socket: the cluster itself, which is 0700 and owned by Postgres' account. A path too long
/// for a socket address (or not UTF-8) gets a directory in /tmp instead, as private as the cluster.
pub(super) fn socket_dir(cluster: &Path, tag: &str, account: &Account) -> Result<PathBuf, EmbeddedError> {
    let file_name = format!("/.s.PGSQL.{PORT}");
    let bytes = cluster.as_os_str().len() + file_name.len();
    if bytes <= SOCKET_PATH_MAX && cluster.to_str().is_some() {
        return Ok(cluster.to_owned());
    }
    let short = Path::new("/tmp").join(tag);
    match DirBuilder::new().mode(0o700).create(&short) {
        Ok(()) => account.own(&short)?,
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(error::files("create", &short)(source)),
    }
    // Anybody can make directories in /tmp: one that is not ours alone would let its maker pose as our database.
    let meta = std::fs::symlink_metadata(&short).map_err(error::files("read", &short))?;
    if !meta.is_dir() || meta.uid() != account.uid || meta.mode() & 0o077 != 0 {
        return Err(EmbeddedError::SocketDirectory { path: short, uid: account.uid });
    }
    Ok(short)
}

pub(super) fn is_empty(directory: &Path) -> Result<bool, EmbeddedError> {
    let mut entries = std::fs::read_dir(directory).map_err(error::files("list", directory))?;
    Ok(entries.next().is_none())
}

fn percent_encode(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(*byte))
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_url_survives_spaces_and_signs() {
        assert_eq!(percent_encode(Path::new("/a b/c&d=é")), "%2Fa%20b%2Fc%26d%3D%C3%A9");
    }
}
