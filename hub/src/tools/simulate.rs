//! `liftline simulate`: a simulated fleet, or a recording replayed as one, against any broker.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use firmware_sim::{
    FleetTarget, Login, Protocol, Scenario, SimOptions, TruthOptions,
    replay::{Connections, Rebase, ReplayOptions, ReplayPlan, Speed, replay},
};
use model::DeviceId;
use tokio_util::sync::CancellationToken;

use crate::clock::SystemClock;

/// The MQTT version that devices speak.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum Version {
    /// MQTT 5.
    #[default]
    #[value(name = "5")]
    V5,
    /// MQTT 3.1.1.
    #[value(name = "3.1.1")]
    V311,
}

/// Options of `liftline simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// A scenario that comes with the simulator (quiet, demo, entrapment, power-cut, door-wear, silent, clock-skew,
    /// flapping, false-alarm) or a TOML file.
    #[arg(long, default_value = "quiet", conflicts_with = "replay")]
    pub scenario: String,
    /// Replay a recording instead: a mapping TOML file, or the name of one that comes with the simulator (wmata,
    /// ims_bearing).
    #[arg(long, value_name = "MAPPING", requires = "data")]
    pub replay: Option<PathBuf>,
    /// The CSV (or .csv.gz) file of the recording.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// A CSV file that describes the recording's devices, where the mapping has an inventory.
    #[arg(long)]
    pub inventory: Option<PathBuf>,
    /// How many times faster than recorded, such as 60x; max: as fast as the broker takes it.
    #[arg(long, default_value = "max")]
    pub speed: Speed,
    /// Move the recording's times: end-now, start-now or none.
    #[arg(long, default_value = "end-now")]
    pub rebase: Rebase,
    /// Connections of a replay: a number that devices share, or per-device.
    #[arg(long, default_value = "4")]
    pub connections: Connections,
    /// Write the devices as a CSV file for `liftline device import`, and end.
    #[arg(long, value_name = "FILE")]
    pub devices: Option<PathBuf>,
    /// The broker's host.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// The broker's port.
    #[arg(long, default_value_t = 1883)]
    pub port: u16,
    /// What topics begin with.
    #[arg(long, default_value = "liftline")]
    pub prefix: String,
    /// The MQTT version.
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Version,
    /// A file of `device,secret` lines, as `liftline device import` prints them.
    #[arg(long)]
    pub secrets: Option<PathBuf>,
    /// Write what really happened to this file, as JSON lines.
    #[arg(long)]
    pub truth: Option<PathBuf>,
}

impl Simulate {
    /// Runs until the scenario or the recording ends, or the shutdown.
    ///
    /// # Errors
    /// If a file cannot be read or the broker not be reached.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let target = FleetTarget {
            host: self.host.clone(),
            port: self.port,
            prefix: self.prefix.clone(),
            login: match &self.secrets {
                Some(file) => Login::PerDevice(read_secrets(file)?),
                None => Login::Anonymous,
            },
            protocol: match self.protocol {
                Version::V5 => Protocol::V5,
                Version::V311 => Protocol::V311,
            },
        };
        let mut options = SimOptions::new(Arc::new(SystemClock), shutdown);
        options.truth = self.truth.clone().map(|path| TruthOptions { path, acknowledgements: true });
        if let (Some(mapping), Some(data)) = (&self.replay, &self.data) {
            return self.replay(mapping, data, &target, options.shutdown).await;
        }
        let scenario = Scenario::load(&self.scenario)?;
        if let Some(file) = &self.devices {
            return write_devices(file, &scenario.devices());
        }
        eprintln!("{}: {} ({} devices); Ctrl-C stops it", scenario.name, scenario.about, scenario.devices().len());
        let report = firmware_sim::simulate(&scenario, &target, options).await?;
        eprintln!(
            "{} devices sent {} reports; {} acknowledged, {} refused, {} dropped from full buffers.",
            report.devices, report.reports, report.acknowledged, report.refused, report.dropped
        );
        Ok(())
    }

    async fn replay(
        &self,
        mapping: &Path,
        data: &Path,
        target: &FleetTarget,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mapping = mapping.to_str().context("the mapping's path is not UTF-8")?;
        let plan = ReplayPlan::load(mapping, data, self.inventory.as_deref())?;
        if let Some(file) = &self.devices {
            return write_devices(file, plan.devices());
        }
        let options = ReplayOptions {
            speed: self.speed,
            rebase: self.rebase,
            connections: self.connections,
            ..ReplayOptions::new(Arc::new(SystemClock), shutdown)
        };
        let report = replay(&plan, target, options).await?;
        eprintln!("{} devices, {} messages, {} acknowledged.", report.devices, report.messages, report.acknowledged);
        if report.acknowledged < report.messages {
            bail!("the broker did not acknowledge {} messages", report.messages - report.acknowledged);
        }
        Ok(())
    }
}

/// Reads `device,secret` lines.
fn read_secrets(file: &Path) -> anyhow::Result<HashMap<DeviceId, String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let mut secrets = HashMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let Some((device, secret)) = line.split_once(',') else {
            bail!("{}:{}: not a line of device,secret", file.display(), index + 1);
        };
        secrets.insert(DeviceId::new(device)?, secret.to_owned());
    }
    Ok(secrets)
}

/// Writes devices as `liftline device import` reads them.
fn write_devices(file: &Path, devices: &[firmware_sim::SimDevice]) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_path(file).with_context(|| format!("writing {}", file.display()))?;
    csv.write_record(["device", "profile", "site", "name", "plate"])?;
    for device in devices {
        // An inventory may not say where a device stands or what it is called.
        let site = if device.site.is_empty() { "Unassigned" } else { &device.site };
        csv.write_record([
            device.id.as_str(),
            device.profile.as_str(),
            site,
            device.name.trim_end_matches([':', ' ']),
            device.plate.as_deref().unwrap_or_default(),
        ])?;
    }
    csv.flush()?;
    eprintln!("Wrote {} devices to {}.", devices.len(), file.display());
    Ok(())
}
