//! A Mosquitto of the test's own: its own configuration, port and folder.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::support::soon;

pub struct Mosquitto {
    pub port: u16,
    folder: TempDir,
    child: Option<Child>,
}

impl Mosquitto {
    /// Starts one on a free port; `extra` lines go into its configuration.
    pub async fn start(extra: &str) -> Self {
        let mut mosquitto = Self::prepare(extra);
        for _ in 0..20 {
            if mosquitto.resume().await {
                return mosquitto;
            }
            mosquitto = Self::prepare(extra); // Somebody took the port in between.
        }
        panic!("Mosquitto did not start on any of 20 ports");
    }

    /// Chooses a port and writes the configuration; does not start it.
    pub fn prepare(extra: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let conf = format!(
            "listener {port} 127.0.0.1\nuser root\npersistence true\npersistence_location {}/\n\
             max_queued_messages 0\nlog_dest stderr\nlog_type all\n{extra}\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("mosquitto.conf"), conf).unwrap();
        Self { port, folder, child: None }
    }

    /// Starts it (again) on the same port with what it kept; false if the port is taken.
    pub async fn resume(&mut self) -> bool {
        let mut child = Command::new(binary())
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Mosquitto is installed: run ./dev test, which installs it");
        let log = child.stderr.take().expect("stderr is piped");
        let log_file = self.folder.path().join("log");
        let running = soon("Mosquitto's start", async {
            let mut lines = BufReader::new(log).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(" running") {
                    return Some(lines);
                }
            }
            None
        })
        .await;
        let Some(lines) = running else { return false };
        // Its log must be read on, or it would block; the task ends with the process.
        let mut rest = lines.into_inner();
        let mut file = tokio::fs::File::create(log_file).await.unwrap();
        let mut drain = tokio::task::JoinSet::new();
        drain.spawn(async move { tokio::io::copy_buf(&mut rest, &mut file).await });
        drain.detach_all();
        self.child = Some(child);
        true
    }

    /// Stops it as a service manager would: it saves what it holds.
    pub async fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let pid = child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        soon("Mosquitto's end", child.wait()).await.unwrap();
    }
}

fn binary() -> PathBuf {
    let in_path = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).map(|folder| folder.join("mosquitto")).collect::<Vec<_>>())
        .unwrap_or_default();
    in_path
        .into_iter()
        .chain([PathBuf::from("/usr/sbin/mosquitto"), PathBuf::from("/usr/local/sbin/mosquitto")])
        .find(|file| Path::exists(file))
        .expect("Mosquitto is not installed: run ./dev test, which installs Mosquitto")
}
