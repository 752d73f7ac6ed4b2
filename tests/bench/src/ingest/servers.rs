//! The servers that the ingest bench starts: its own Mosquitto, its own PostgreSQL, and the hub as people run it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use tempfile::TempDir;

use super::load::device;

/// How long a server may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// The secret of every device.
pub const SECRET: &str = "a-secret-for-the-bench";
/// The device that measures how long storing takes.
pub const PROBE: &str = "probe";
/// The organisation that is measured: somebody is on call, but no message is sent.
const ORGANISATION: &str = r#"
organisation = "Bench"

[[sites]]
name = "Bench"
address = "1 Bench Road"
time_zone = "UTC"

[[people]]
name = "Ann"
role = "technician"
sms = "+15550100001"

[[rotas]]
level = "maintainer"
time_zone = "UTC"
first_handover = "2026-01-05T08:00"
members = ["Ann"]
"#;

/// A process that is killed with its handle.
pub struct Process(Child);

impl Process {
    /// Its id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A program of the system, also where Debian keeps those that only administrators call.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is not installed; ./dev bench ingest installs it"))
}

/// A port that was free a moment ago.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn wait_for_port(port: u16, what: &str) -> anyhow::Result<()> {
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        ensure!(started.elapsed() < PATIENCE, "{what} does not listen on port {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A Mosquitto with its default settings but for an unlimited queue: a load that is sent as fast as Mosquitto
/// acknowledges it outruns every subscriber, and by default all that exceeds 1,000 waiting messages is dropped.
pub struct Mosquitto {
    /// The process.
    pub process: Process,
    /// Its port.
    pub port: u16,
    _folder: TempDir,
}

impl Mosquitto {
    /// Starts one on a free port.
    pub fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let config = folder.path().join("mosquitto.conf");
        std::fs::write(
            &config,
            format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nlog_dest none\n"),
        )?;
        let child = Command::new(program("mosquitto")?)
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting Mosquitto")?;
        let process = Process(child);
        wait_for_port(port, "Mosquitto")?;
        Ok(Self { process, port, _folder: folder })
    }
}

/// A PostgreSQL with its default settings (every commit reaches the disk).
pub struct Postgres {
    /// The server process; the others are its children.
    pub postmaster: u32,
    port: u16,
    bin: PathBuf,
    folder: TempDir,
}

impl Postgres {
    /// Makes and starts a cluster on a free port, in a folder on the measured disk.
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        let bin = newest_postgres()?;
        let folder = tempfile::Builder::new().prefix("liftline-bench-pg-").tempdir_in(dir)?;
        let port = free_port()?;
        let mut server = Self { postmaster: 0, port, bin, folder };
        if as_root() {
            let owned = Command::new("chown").arg("postgres").arg(server.folder.path()).status()?;
            ensure!(owned.success(), "PostgreSQL does not run as root, and there is no user \"postgres\" for it");
        }
        let data = server.folder.path().join("db");
        let trust = ["-U", "liftline", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"];
        run(server.command("initdb").arg("-D").arg(&data).args(trust))?;
        let options = format!(
            "-h 127.0.0.1 -p {port} -k {} -c max_connections=100 -c shared_buffers=256MB -c max_wal_size=4GB",
            server.folder.path().display()
        );
        let log = server.folder.path().join("log");
        run(server
            .command("pg_ctl")
            .arg("-D")
            .arg(&data)
            .args(["-w", "-s", "-l"])
            .arg(log)
            .args(["-o", &options, "start"]))?;
        let pid = std::fs::read_to_string(data.join("postmaster.pid"))?;
        server.postmaster = pid.lines().next().unwrap_or_default().parse().context("reading postmaster.pid")?;
        Ok(server)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = if as_root() {
            let mut runuser = Command::new("runuser");
            runuser.args(["-u", "postgres", "--"]).arg(self.bin.join(name));
            runuser
        } else {
            Command::new(self.bin.join(name))
        };
        command.current_dir(self.folder.path());
        command
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://liftline@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.folder.path().join("db");
        // What cannot be stopped is named by the next start, whose port is another.
        drop(self.command("pg_ctl").arg("-D").arg(&data).args(["-m", "immediate", "-s", "stop"]).status());
    }
}

fn newest_postgres() -> anyhow::Result<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").is_file())
        .collect();
    versions.sort();
    match versions.pop() {
        Some(bin) => Ok(bin),
        None => Ok(program("initdb")?.parent().map(Path::to_owned).unwrap_or_default()),
    }
}

fn as_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|itself| std::os::unix::fs::MetadataExt::uid(&itself) == 0)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    // Not piped: a server that goes on running would keep the pipe open.
    let status = command.stdout(Stdio::null()).status().with_context(|| format!("running {command:?}"))?;
    ensure!(status.success(), "{command:?} failed ({status})");
    Ok(())
}

/// A child that announces itself on its standard output.
pub struct Announced {
    /// The process.
    pub process: Process,
    lines: BufReader<ChildStdout>,
}

impl Announced {
    /// Starts a command whose errors go to a file.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log)?)
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        let lines = BufReader::new(child.stdout.take().context("standard output is piped")?);
        Ok(Self { process: Process(child), lines })
    }

    /// The next line.
    pub fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.lines.read_line(&mut line)? == 0 {
            bail!("the process ended; its log says why");
        }
        Ok(line.trim_end().to_owned())
    }
}

/// The hub: the release binary in a folder of its own.
pub struct Hub {
    /// The process.
    pub process: Process,
    /// The address of its web server.
    pub web: String,
    /// The port of its front door.
    pub front_door: Option<u16>,
    folder: TempDir,
}

/// How devices reach the hub.
#[derive(Clone, Copy)]
pub enum Way {
    /// Through a broker on this port.
    Broker(u16),
    /// Straight.
    FrontDoor,
}

/// The devices beside those of the load.
pub struct Extra {
    /// How many devices of the load there are.
    pub devices: usize,
    /// How many devices raise one alarm each.
    pub alarms: usize,
}

/// The name of a device that raises an alarm.
pub fn alarm_device(number: usize) -> String {
    format!("alarm-{number:05}")
}

impl Hub {
    /// Sets a hub up and starts it. `database` is a PostgreSQL URL, or nothing for the embedded default.
    pub fn start(dir: &Path, way: Way, database: Option<&str>, extra: &Extra, settings: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("liftline-bench-hub-").tempdir_in(dir)?;
        let at = |name: &str| folder.path().join(name);
        let mut config =
            String::from("[hub]\ndata_dir = \"data\"\nlisten = \"127.0.0.1:0\"\nprofiles = [\"bench_lift.toml\"]\n");
        if let Some(url) = database {
            config.push_str(&format!("[store]\nurl = \"{url}\"\n"));
        }
        config.push_str(&match way {
            Way::Broker(port) => format!("[gateway.broker]\nhost = \"127.0.0.1\"\nport = {port}\n"),
            Way::FrontDoor => "[gateway.front_door]\nlisten = \"127.0.0.1:0\"\n".to_owned(),
        });
        config.push_str(settings);
        std::fs::write(at("liftline.toml"), config)?;
        std::fs::write(at("bench_lift.toml"), include_str!("bench_lift.toml"))?;
        std::fs::write(at("organisation.toml"), ORGANISATION)?;
        let mut devices = std::io::BufWriter::new(std::fs::File::create(at("devices.csv"))?);
        writeln!(devices, "device,profile,site,secret")?;
        let names = (0..extra.devices).map(device).chain((0..extra.alarms).map(alarm_device));
        for name in names.chain([PROBE.to_owned()]) {
            writeln!(devices, "{name},bench_lift,Bench,{SECRET}")?;
        }
        devices.into_inner().map_err(|error| anyhow!("writing devices.csv: {error}"))?;
        let binary = binary()?;
        for arguments in [["import", "organisation.toml"].as_slice(), &["device", "import", "devices.csv"]] {
            let output = Command::new(&binary).args(arguments).current_dir(folder.path()).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "liftline {arguments:?} failed:\n{said}");
        }
        let mut serve = Command::new(&binary);
        serve.arg("serve").current_dir(folder.path()).env("LIFTLINE_LOG", "warn");
        let mut started = Announced::start(&mut serve, &at("log"))?;
        let mut front_door = None;
        loop {
            let line = started.line().with_context(|| log(folder.path()))?;
            if let Some(address) = line.strip_prefix("mqtt: ") {
                front_door = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            }
            if let Some(web) = line.strip_prefix("web: http://") {
                let hub = Self { process: started.process, web: web.to_owned(), front_door, folder };
                hub.wait_until_ready()?;
                return Ok(hub);
            }
        }
    }

    fn wait_until_ready(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        while !self.get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            ensure!(started.elapsed() < PATIENCE, "the hub does not get ready:\n{}", log(self.folder.path()));
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(&self.web)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        Ok(std::io::read_to_string(stream)?)
    }

    /// The sum of all series of a metric.
    pub fn metric(&self, name: &str) -> anyhow::Result<f64> {
        self.series(name, "")
    }

    /// The sum of those series of a metric that have a label, written as the hub writes it.
    pub fn series(&self, name: &str, label: &str) -> anyhow::Result<f64> {
        let text = self.get("/metrics")?;
        ensure!(text.starts_with("HTTP/1.1 200"), "the hub did not tell its metrics:\n{text}");
        let values = text.lines().filter_map(|line| {
            let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
            let known = labels.is_empty() || labels.starts_with('{');
            value.trim().parse::<f64>().ok().filter(|_| known && labels.contains(label))
        });
        Ok(values.sum())
    }

    /// Waits until a metric that counts what is behind is zero.
    pub fn caught_up(&self, behind: &str, patience: Duration) -> anyhow::Result<()> {
        let since = Instant::now();
        while self.metric(behind)? > 0.0 {
            ensure!(since.elapsed() < patience, "{behind} does not come to zero");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The folder of its data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Tells what it warned of, but for what a hub with a new client id and without a phone provider has to.
    pub fn tell_warnings(&self) {
        let log = log(self.folder.path());
        let expected = ["the broker has kept nothing under this client id", "add [notify.twilio] to its configuration"];
        for line in log.lines().filter(|line| !expected.iter().any(|words| line.contains(words))).take(5) {
            eprintln!("  the hub warned: {line}");
        }
    }
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// The hub's binary beside this one.
pub fn binary() -> anyhow::Result<PathBuf> {
    let binary = std::env::current_exe()?.with_file_name("liftline");
    ensure!(binary.exists(), "{} is not built; run ./dev bench ingest, which builds it", binary.display());
    Ok(binary)
}
