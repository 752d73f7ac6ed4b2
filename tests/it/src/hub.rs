//! A hub as people run it: the `liftline` binary in its own process, with its own folder.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{
    SOON,
    api::{Api, http},
    database::{Engine, fresh_postgres},
    eventually,
    peers::Mosquitto,
};

/// The organisation of the tests.
pub const ORGANISATION: &str = include_str!("organisation.toml");
/// The devices of the tests: one of each profile, with known secrets.
pub const DEVICES: &str = include_str!("devices.csv");
/// The secret of every device of [`DEVICES`].
pub const SECRET: &str = "a-secret-for-the-tests";
/// The dispatcher's password.
pub const PASSWORD: &str = "correct horse battery";

/// A hub's folder and configuration; the process can be started, killed and started again on it.
pub struct TestHub {
    folder: TempDir,
    child: Option<Child>,
    environment: Vec<(String, String)>,
    /// Where it logs.
    log: PathBuf,
    /// The address of its web server.
    pub web: SocketAddr,
    /// The address of its front door, if configured.
    pub mqtt: Option<SocketAddr>,
}

/// How a hub is configured.
#[derive(Default)]
pub struct Setup {
    /// Lines of TOML added to the configuration.
    pub extra: String,
    /// Lines of TOML in the section `[hub]`.
    pub hub: String,
    /// The URL of a PostgreSQL database instead of a fresh one.
    pub database: Option<String>,
    /// No front door.
    pub no_front_door: bool,
    /// Where the hub keeps its data instead of in its folder.
    pub data: Option<PathBuf>,
    /// Where the hub logs instead of in its folder; nobody reads it there.
    pub log: Option<PathBuf>,
    /// What the hub's environment has beside this process's own.
    pub environment: Vec<(String, String)>,
    /// Another organisation than [`ORGANISATION`], as TOML.
    pub organisation: Option<&'static str>,
}

impl Setup {
    /// A hub that listens at a broker on this machine and nowhere else.
    #[must_use]
    pub fn behind(broker: &Mosquitto) -> Self {
        let extra = format!("[gateway.broker]\nhost = \"127.0.0.1\"\nport = {}\n", broker.port);
        Self { extra, no_front_door: true, ..Self::default() }
    }
}

impl TestHub {
    /// Sets a hub up with organisation, devices and a dispatcher, and starts it.
    ///
    /// # Panics
    /// If any of it fails.
    pub async fn start(engine: Engine, setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let web_port = crate::free_port();
        let data = setup.data.unwrap_or_else(|| "data".into());
        let data = data.display();
        let mut config = format!(
            "[hub]\ndata_dir = \"{data}\"\nlisten = \"127.0.0.1:{web_port}\"\n{}\n\n[board]\npublic_url = \"http://127.0.0.1:{web_port}\"\n",
            setup.hub
        );
        if engine == Engine::Postgres {
            let url = match setup.database {
                Some(url) => url,
                None => fresh_postgres().await,
            };
            config.push_str(&format!("\n[store]\nurl = \"{url}\"\n"));
        }
        if !setup.no_front_door {
            config.push_str("\n[gateway.front_door]\nlisten = \"127.0.0.1:0\"\n");
        }
        config.push('\n');
        config.push_str(&setup.extra);
        std::fs::write(folder.path().join("liftline.toml"), config).unwrap();
        std::fs::write(folder.path().join("organisation.toml"), setup.organisation.unwrap_or(ORGANISATION)).unwrap();
        std::fs::write(folder.path().join("devices.csv"), DEVICES).unwrap();
        let web = SocketAddr::from(([127, 0, 0, 1], web_port));
        let log = setup.log.unwrap_or_else(|| folder.path().join("log"));
        let mut hub = Self { folder, child: None, environment: setup.environment, log, web, mqtt: None };
        hub.tool(&["import", "organisation.toml"], "");
        hub.tool(&["device", "import", "devices.csv"], "");
        hub.tool(&["user", "add", "dora", "--name", "Dora Dispatch"], PASSWORD);
        hub.restart().await;
        hub
    }

    /// Starts a hub on SQLite that listens at a broker of this machine, and waits until it does.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn behind(broker: &Mosquitto) -> Self {
        Self::listening(Setup::behind(broker)).await
    }

    /// The same with a setup that was made by [`Setup::behind`].
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn listening(setup: Setup) -> Self {
        let hub = Self::start(Engine::Sqlite, setup).await;
        hub.ready().await;
        hub
    }

    /// The hub's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `liftline ARGS` in the hub's folder and returns what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn tool(&self, args: &[&str], stdin: &str) -> String {
        let (ok, out, err) = run_liftline(self.folder.path(), args, stdin);
        assert!(ok, "liftline {args:?} failed:\n{err}");
        out
    }

    /// Registers more lifts with the secret of the others; a hub that runs sees them soon.
    ///
    /// # Panics
    /// If it fails.
    pub fn register(&self, lifts: &[String]) {
        let mut csv = "device,profile,site,name,plate,secret\n".to_owned();
        csv.extend(lifts.iter().map(|lift| format!("{lift},lift,Test Tower,{lift},,{SECRET}\n")));
        std::fs::write(self.folder().join("more.csv"), csv).unwrap();
        self.tool(&["device", "import", "more.csv"], "");
    }

    /// Starts the process (again) and waits until it says where it is.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn restart(&mut self) {
        let mut child = Command::new(liftline())
            .args(["serve"])
            .current_dir(self.folder.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(std::fs::File::options().create(true).append(true).open(&self.log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let announced = tokio::time::timeout(SOON, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some(address) = line.strip_prefix("mqtt: ") {
                    self.mqtt = address.parse().ok();
                }
                if let Some(address) = line.strip_prefix("web: http://") {
                    self.web = address.parse().unwrap();
                    return true;
                }
            }
            false
        })
        .await;
        assert!(matches!(announced, Ok(true)), "the hub did not come up:\n{}", self.log());
        self.child = Some(child);
    }

    /// What the hub has logged in its folder.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Ends the process as a crash would: SIGKILL, nothing flushed.
    ///
    /// # Panics
    /// If it is not running.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().expect("the hub runs");
        child.kill().await.unwrap();
    }

    /// True if the process is not there: it was killed, or ended by itself.
    ///
    /// # Panics
    /// If the system cannot say.
    pub fn is_down(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// Waits until it says that it is ready: database and broker are there.
    ///
    /// # Panics
    /// If it is not in time.
    pub async fn ready(&self) {
        let url = format!("http://{}/readyz", self.web);
        eventually("the hub is ready", SOON, || async {
            http().get(&url).send().await.ok().filter(|answer| answer.status().is_success())
        })
        .await;
    }

    /// The value of a counter at `/metrics`; 0 if it is not there yet.
    ///
    /// # Panics
    /// If there are no metrics.
    pub async fn metric(&self, series: &str) -> u64 {
        let text = http().get(format!("http://{}/metrics", self.web)).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// The stored readings of a device: time, sequence number and one value each, in the order of time.
    ///
    /// # Panics
    /// If they cannot be exported or have no such channel.
    #[must_use]
    pub fn readings(&self, device: &str, channel: &str) -> Vec<(String, Option<u64>, String)> {
        let span = ["--from", "2001-01-01T00:00:00Z", "--to", "2101-01-01T00:00:00Z"];
        let csv = self.tool(&[&["export", "readings", "--device", device], span.as_slice()].concat(), "");
        let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let header = lines.next().unwrap();
        let column = header.iter().position(|name| *name == channel).unwrap();
        lines.map(|row| (row[0].to_owned(), row[1].parse().ok(), row[column].to_owned())).collect()
    }

    /// A logged-in client of its API.
    pub async fn api(&self) -> Api {
        Api::login(self.web, "dora", PASSWORD).await
    }
}

/// The binary under test.
///
/// # Panics
/// If it was not built.
#[must_use]
pub fn liftline() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    let binary = path.join("liftline");
    assert!(binary.exists(), "{} is not built: run ./dev test, which builds it", binary.display());
    binary
}

/// Runs `liftline ARGS` in a folder: (success, stdout, stderr).
///
/// # Panics
/// If it cannot be started.
pub fn run_liftline(folder: &Path, args: &[&str], stdin: &str) -> (bool, String, String) {
    let mut child = std::process::Command::new(liftline())
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its standard input may have closed it already.
    drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
    let output = child.wait_with_output().unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}
