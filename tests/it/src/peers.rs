//! Real servers and clients that the hub talks to.

use std::{path::PathBuf, process::Stdio, sync::Arc};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::Mutex,
};

use crate::{SOON, eventually, root};

/// The Python with the packages of `tests/requirements.txt`.
///
/// # Panics
/// If `./dev test` did not install it.
#[must_use]
pub fn python() -> PathBuf {
    std::env::var_os("LIFTLINE_TEST_PYTHON").expect("no Python peers: run ./dev test, which installs them").into()
}

/// A Mosquitto broker on a free port.
pub struct Mosquitto {
    folder: TempDir,
    child: Option<Child>,
    /// Its port on 127.0.0.1.
    pub port: u16,
}

impl Mosquitto {
    /// Starts one with persistence on and anonymous clients.
    ///
    /// # Panics
    /// If Mosquitto is not installed or does not start.
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// Starts one that writes every change to its disk, not only when it is stopped in good order.
    ///
    /// # Panics
    /// If Mosquitto is not installed or does not start.
    pub async fn durable() -> Self {
        Self::with("autosave_on_changes true\nautosave_interval 1\n").await
    }

    async fn with(extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = crate::free_port();
        // As root it would become a user who may not write to the folder.
        let config = format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\nmax_queued_messages 0\n{extra}",
            folder.path().display()
        );
        std::fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
        let mut broker = Self { folder, child: None, port };
        broker.restart().await;
        broker
    }

    /// Starts it (again) on the same port and data.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn restart(&mut self) {
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("no Mosquitto: run ./dev test, which installs it");
        self.child = Some(child);
        let port = self.port;
        eventually("Mosquitto listens", SOON, || async move {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
    }

    /// Kills it.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn kill(&mut self) {
        self.child.take().expect("Mosquitto runs").kill().await.unwrap();
    }
}

/// An SMTP server (aiosmtpd) that keeps what it accepted.
pub struct SmtpServer {
    _child: Child,
    mails: Arc<Mutex<Vec<Value>>>,
    reader: tokio::task::JoinHandle<()>,
    /// Its port on 127.0.0.1.
    pub port: u16,
}

impl SmtpServer {
    /// Starts one.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start() -> Self {
        let mut child = Command::new(python())
            .arg(root().join("tests/it/peers/smtp_server.py"))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next_line().await.unwrap().expect("the SMTP server says its port").parse().unwrap();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let kept = mails.clone();
        #[expect(clippy::disallowed_methods, reason = "ended with the server")]
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().await.push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { _child: child, mails, reader, port }
    }

    /// The mails accepted so far for an address.
    pub async fn mails(&self, to: &str) -> Vec<Value> {
        let mails = self.mails.lock().await;
        mails
            .iter()
            .filter(|mail| mail["to"].as_array().unwrap().iter().any(|address| address == to))
            .cloned()
            .collect()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Publishes `(topic, payload)` with unmodified paho-mqtt at QoS 1; returns how many were acknowledged.
///
/// # Errors
/// What paho said.
pub async fn paho(
    port: u16,
    version: &str,
    login: (&str, &str),
    messages: &[(String, String)],
) -> Result<usize, String> {
    let mut child = Command::new(python())
        .arg(root().join("tests/it/peers/paho_publish.py"))
        .args(["127.0.0.1", &port.to_string(), version, login.0, login.1])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for (topic, payload) in messages {
        stdin.write_all(format!("{topic} {payload}\n").as_bytes()).await.unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(printed.trim().strip_prefix("acknowledged ").unwrap().parse().unwrap())
}

/// Publishes one message with unmodified `mosquitto_pub` at QoS 1 over MQTT 3.1.1; true if it was acknowledged.
///
/// # Panics
/// If `mosquitto_pub` is not installed.
pub async fn mosquitto_pub(port: u16, login: Option<(&str, &str)>, topic: &str, payload: &str) -> bool {
    mosquitto_pub_version(port, "mqttv311", login, topic, payload).await
}

/// The same in any version that `mosquitto_pub -V` knows.
///
/// # Panics
/// If `mosquitto_pub` is not installed.
pub async fn mosquitto_pub_version(
    port: u16,
    version: &str,
    login: Option<(&str, &str)>,
    topic: &str,
    payload: &str,
) -> bool {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-V", version, "-q", "1", "-t", topic, "-m", payload]);
    if let Some((username, password)) = login {
        command.args(["-u", username, "-P", password, "-i", username]);
    }
    let output = command.output().await.expect("no mosquitto_pub: run ./dev test, which installs it");
    output.status.success()
}

/// An unmodified paho-mqtt device that listens for commands and answers each as it is told.
pub struct PahoDevice {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl PahoDevice {
    /// Connects and subscribes; `answer` is `applied`, `failed` or `silent`.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn start(port: u16, version: &str, login: (&str, &str), device: &str, answer: &str) -> Self {
        let mut child = Command::new(python())
            .arg(root().join("tests/it/peers/paho_device.py"))
            .args(["127.0.0.1", &port.to_string(), version, login.0, login.1, device, answer])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut device = Self { _child: child, lines };
        assert_eq!(device.line().await, "listening");
        device
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(SOON, self.lines.next_line()).await.expect("the device says something in time");
        line.unwrap().expect("the device goes on")
    }

    /// The next command that it received.
    ///
    /// # Panics
    /// If none comes.
    pub async fn command(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }
}
