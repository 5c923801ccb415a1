//! Under which account Postgres runs: our own, or, because Postgres refuses root, another one when we are root.
//! Whether that account can reach a path is asked of the kernel, so access lists and mounts count too.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use nix::unistd::{Uid, User, getegid, geteuid};
use tokio::process::Command;

use super::error::{self, EmbeddedError};

/// Accounts that root may run Postgres under, best first: Debian's packages make the first, every Linux has the second.
const ACCOUNTS_FOR_ROOT: [&str; 2] = ["postgres", "nobody"];

/// Who runs Postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether children must change to it: true only if we are root.
    pub(super) switch: bool,
}

impl Account {
    /// Our own account; as root the owner of the cluster, so that a later `apt-get install` does not lock us out
    /// of a cluster that `nobody` began; as root without a cluster, the first of the known accounts.
    pub(super) fn choose(cluster: &Path) -> Result<Account, EmbeddedError> {
        let me = geteuid();
        let owner = std::fs::metadata(cluster).ok().map(|m| (m.uid(), m.gid()));
        let foreign =
            |owner, advice| EmbeddedError::ForeignCluster { path: cluster.to_owned(), owner, advice };
        match owner {
            Some((0, _)) if me.is_root() => {
                Err(foreign(0, "Postgres refuses to run as root; give it to another user with `chown -R`"))
            }
            Some((uid, gid)) if me.is_root() => Ok(Account { name: name_of(uid), uid, gid, switch: true }),
            Some((uid, _)) if uid != me.as_raw() => {
                Err(foreign(uid, "run homeostat as that user or as root, or choose another data directory"))
            }
            None if me.is_root() => for_root().ok_or(EmbeddedError::NoAccount),
            _ => {
                let (uid, gid) = (me.as_raw(), getegid().as_raw());
                Ok(Account { name: name_of(uid), uid, gid, switch: false })
            }
        }
    }

    /// A command that runs under this account and sees nothing of ours: neither terminal nor environment. It has
    /// its own process group, so that Ctrl-C reaches homeostat alone, which then stops Postgres last.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = std::process::Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0).current_dir("/");
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
        Command::from(command)
    }

    /// Gives a path to this account.
    pub(super) fn own(&self, path: &Path) -> Result<(), EmbeddedError> {
        if !self.switch {
            return Ok(());
        }
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
            .map_err(error::files("give away", path))
    }

    /// Refuses a directory that this account cannot enter, or a program that it cannot run, and names the first
    /// directory on the way that stops it.
    pub(super) async fn ensure_reachable(&self, path: &Path) -> Result<(), EmbeddedError> {
        if !self.switch || self.reaches(path).await? {
            return Ok(());
        }
        let mut ancestors: Vec<_> = path.ancestors().collect();
        ancestors.reverse();
        for ancestor in ancestors {
            if !self.reaches(ancestor).await? {
                return Err(EmbeddedError::Unreachable {
                    user: self.name.clone(),
                    path: ancestor.to_owned(),
                });
            }
        }
        Ok(())
    }

    async fn reaches(&self, path: &Path) -> Result<bool, EmbeddedError> {
        let shell = Path::new("/bin/sh");
        let mut command = self.command(shell);
        command.args(["-c", "test -x \"$1\"", "sh"]).arg(path);
        Ok(command.status().await.map_err(error::spawn(shell))?.success())
    }
}

fn for_root() -> Option<Account> {
    let user = ACCOUNTS_FOR_ROOT.iter().find_map(|name| User::from_name(name).ok().flatten())?;
    Some(Account { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), switch: true })
}

fn name_of(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| format!("user id {uid}"), |u| u.name)
}
