//! A PostgreSQL server of its own, to be killed.

use std::{path::PathBuf, process::Stdio};

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{SOON, eventually};

/// A server on a free port, with its data in a folder of its own.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    owner: Option<(u32, u32)>,
    child: Option<Child>,
    /// Its port on 127.0.0.1.
    pub port: u16,
}

impl Postgres {
    /// Makes a server and starts it.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let owner = owner(&folder).await;
        let mut server = Self { folder, programs: programs(), owner, child: None, port: crate::free_port() };
        let data = server.folder.path().join("db");
        let made = server
            .command("initdb")
            .arg("-D")
            .arg(&data)
            .args(["-U", "liftline", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"])
            .output()
            .await
            .expect("no PostgreSQL: run ./dev test, which installs it");
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        server.restart().await;
        server
    }

    /// The URL of its first database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://liftline@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it (again) and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub async fn restart(&mut self) {
        let url = self.url();
        eventually("PostgreSQL answers", SOON * 3, || {
            // The processes of a killed server end on their own; until then a new one is refused.
            if self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None))) {
                self.child = Some(self.spawn());
            }
            let url = url.clone();
            async move { PgConnection::connect(&url).await.ok()?.close().await.ok() }
        })
        .await;
    }

    fn spawn(&self) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let (folder, port) = (self.folder.path(), self.port.to_string());
        self.command("postgres")
            .arg("-D")
            .arg(folder.join("db"))
            .args(["-h", "127.0.0.1", "-p", &port, "-k"])
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Kills the server as `kill -9` does.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn kill(&mut self) {
        self.child.take().expect("PostgreSQL runs").kill().await.unwrap();
    }

    /// The server refuses to run as root: it then runs as the package's own user.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path());
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }
}

/// Debian keeps the server's programs out of the path.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin")).max().unwrap_or_default()
}

/// Who the server runs as if this process is root's; the folder then belongs to them.
async fn owner(folder: &TempDir) -> Option<(u32, u32)> {
    async fn id(arguments: &[&str]) -> u32 {
        let output = Command::new("id").args(arguments).output().await.unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("the user \"postgres\" is there")
    }
    if id(&["-u"]).await != 0 {
        return None;
    }
    let owner = (id(&["-u", "postgres"]).await, id(&["-g", "postgres"]).await);
    std::os::unix::fs::chown(folder.path(), Some(owner.0), Some(owner.1)).unwrap();
    Some(owner)
}
