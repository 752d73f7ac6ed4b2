//! `liftline backtest`: replays recorded data through the shipped detectors and forecasts, or through failure models by
//! a protocol, or a hub's own history through its failure models, and prints a scorecard.

pub mod own;
pub mod wmata;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};
use firmware_sim::{replay::ReplayPlan, wire::Report};
use model::{Body, ChannelId, Device, DeviceId, Entry, OrgId, Sample, SiteId, Timestamp};
use predict::backtest::{self, Failure, Options};

use crate::{
    config::Config,
    tools::{all_problems, benchmarks, lab, quiet},
};

/// Options of `liftline backtest`.
#[derive(Debug, Args)]
pub struct Backtest {
    /// A benchmark's own protocol; --data is then its folder.
    #[arg(long)]
    pub protocol: Option<Protocol>,
    /// How the recording is read: a mapping TOML file, or the name of one that comes with the simulator.
    #[arg(long, default_value = "ims_bearing")]
    pub mapping: String,
    /// The CSV (or .csv.gz) file of the recording, or the folder of a protocol.
    #[arg(long, required_unless_present_any = ["protocol", "profile"])]
    pub data: Option<PathBuf>,
    /// Profile files or folders beside the shipped ones.
    #[arg(long)]
    pub profiles: Vec<PathBuf>,
    /// A device that failed and when, such as bearing-1=2004-02-19T06:02:39Z; as often as needed.
    #[arg(long, value_name = "DEVICE=TIME")]
    pub failed: Vec<FailedAt>,
    /// A detection counts if it came within this time before the failure.
    #[arg(long, value_parser = model::duration::parse)]
    pub horizon: Option<std::time::Duration>,
    /// A hub's own history.
    #[command(flatten)]
    pub own: own::OwnOptions,
    /// The laboratory of --protocol sim.
    #[command(flatten)]
    pub lab: lab::LabOptions,
    /// The lifts of --protocol quiet.
    #[command(flatten)]
    pub quiet: quiet::QuietOptions,
    /// The spans of --protocol wmata.
    #[command(flatten)]
    pub outages: wmata::OutageOptions,
}

/// Whose rules a backtest follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// The Numenta Anomaly Benchmark: a folder with combined_windows.json and data/.
    Nab,
    /// The Skoltech Anomaly Benchmark: a folder of tables with the columns anomaly and changepoint.
    Skab,
    /// Simulated failures of lifts; no --data.
    Sim,
    /// Healthy lifts in their daily traffic: every alert of a rule is a false one; no --data.
    Quiet,
    /// Failures from an outage log: a folder with units.csv and unit_statuses*.csv.
    Wmata,
    /// Failures of simulated machines from their errors and replacements: a folder with PdM_*.csv.
    AzurePdm,
}

/// What --protocol foresees unless told otherwise.
const DAY_AHEAD: std::time::Duration = std::time::Duration::from_hours(24);

/// A device and the time it failed.
#[derive(Debug, Clone)]
pub struct FailedAt(Failure);

impl FromStr for FailedAt {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (device, at) =
            text.split_once('=').ok_or_else(|| anyhow!("write DEVICE=TIME, such as bearing-1=2004-02-19T06:02:39Z"))?;
        Ok(Self(Failure { device: DeviceId::new(device)?, at: at.parse::<Timestamp>()? }))
    }
}

impl Backtest {
    /// Prints one scorecard a profile.
    ///
    /// # Errors
    /// If the recording cannot be read or names a profile that is not there.
    pub async fn run(self) -> anyhow::Result<()> {
        if let Some(profile) = &self.own.profile {
            return self.own.run(profile, self.horizon, &self.outages).await;
        }
        match self.protocol {
            Some(Protocol::Nab) => benchmarks::nab(self.folder()?),
            Some(Protocol::Skab) => benchmarks::skab(self.folder()?),
            Some(Protocol::Sim) => lab::run(&Config::profiles(&self.profiles).map_err(all_problems)?, &self.lab),
            Some(Protocol::Quiet) => quiet::run(&Config::profiles(&self.profiles).map_err(all_problems)?, &self.quiet),
            Some(Protocol::Wmata) => self.outages.wmata(self.folder()?, self.horizon.unwrap_or(DAY_AHEAD)),
            Some(Protocol::AzurePdm) => self.outages.azure_pdm(self.folder()?, self.horizon.unwrap_or(DAY_AHEAD)),
            None => self.replay(),
        }
    }

    fn folder(&self) -> anyhow::Result<&Path> {
        self.data.as_deref().context("name the folder of the benchmark with --data")
    }

    fn replay(self) -> anyhow::Result<()> {
        let profiles = Config::profiles(&self.profiles).map_err(all_problems)?;
        let data = self.data.as_deref().context("name the recording with --data")?;
        let plan = ReplayPlan::load(&self.mapping, data, None)?;
        let failures: Vec<Failure> = self.failed.into_iter().map(|failed| failed.0).collect();
        if let Some(stranger) =
            failures.iter().find(|failure| !plan.devices().iter().any(|device| device.id == failure.device))
        {
            bail!("the recording has no device \"{}\"; --failed must name one of its devices", stranger.device);
        }
        let options = Options { horizon: self.horizon.unwrap_or(Options::default().horizon), ..Options::default() };
        let mut devices: BTreeMap<_, Vec<(usize, Device)>> = BTreeMap::new();
        for (index, device) in plan.devices().iter().enumerate() {
            let row = Device {
                id: device.id.clone(),
                org: OrgId(uuid::Uuid::nil()),
                site: SiteId(uuid::Uuid::nil()),
                profile: device.profile.clone(),
                name: device.name.clone(),
                plate: None,
            };
            devices.entry(device.profile.clone()).or_default().push((index, row));
        }
        for (profile, members) in devices {
            let loaded = profiles
                .iter()
                .find(|loaded| loaded.profile.id == profile)
                .with_context(|| format!("there is no profile \"{profile}\"; add its file with --profiles"))?;
            let members: BTreeMap<usize, Device> = members.into_iter().collect();
            let entries = plan.rows().iter().filter_map(|(index, report)| {
                let device = members.get(index)?;
                Some((device, entry(device, report)?))
            });
            let failures: Vec<Failure> = failures
                .iter()
                .filter(|failure| members.values().any(|device| device.id == failure.device))
                .cloned()
                .collect();
            println!("{}", backtest::run(&Arc::clone(&loaded.profile), entries, &failures, &options));
        }
        Ok(())
    }
}

fn entry(device: &Device, report: &Report) -> Option<Entry> {
    match report {
        Report::Telemetry { time, values } => Some(Entry {
            device: Some(device.id.clone()),
            received_at: *time,
            body: Body::Sample(Sample {
                time: *time,
                seq: None,
                values: values
                    .iter()
                    .filter_map(|(channel, value)| Some((ChannelId::new(channel).ok()?, value.clone())))
                    .collect(),
            }),
        }),
        Report::Event { .. } | Report::CommandResult { .. } => None,
    }
}
