//! `liftline rules test`: replays what was recorded through changed rules and prints what they would have raised and
//! cleared, and the difference to the rules as they are.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use firmware_sim::{replay::ReplayPlan, wire::Report};
use journal::{Journal, Offset};
use model::{Alert, Body, ChannelId, Device, DeviceId, Entry, Event, Lane, OrgId, Sample, SiteId, Timestamp};
use rules::trial::{self, Difference};

use crate::{
    config::{Config, LoadedProfile},
    tools::{all_problems, attach, export, load_config},
};

/// How many entries of the journal, or rows of the store, are read at once.
const PAGE: u32 = 5000;

/// What can be done with rules.
#[derive(Debug, Subcommand)]
pub enum RulesAction {
    /// Replay a recorded span through a changed profile, and compare it with the profile as it is.
    Test(Test),
}

/// Options of `liftline rules test`. One source: --data, or --config with --device, or --config with --journal.
#[derive(Debug, Args)]
pub struct Test {
    /// The changed profile.
    #[arg(long)]
    pub profile: PathBuf,
    /// The profile to compare with; if absent, the loaded one of the same id.
    #[arg(long)]
    pub against: Option<PathBuf>,
    /// A recording (CSV or .csv.gz).
    #[arg(long, conflicts_with_all = ["config", "journal", "device"])]
    pub data: Option<PathBuf>,
    /// How the recording is read: a mapping TOML file, or the name of one that comes with the simulator.
    #[arg(long, default_value = "ims_bearing", requires = "data")]
    pub mapping: String,
    /// The devices of the recording (CSV), where its mapping needs them.
    #[arg(long, requires = "data")]
    pub inventory: Option<PathBuf>,
    /// The configuration of the hub whose store or journal is read.
    #[arg(long, env = "LIFTLINE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The device whose readings and events are read from the store.
    #[arg(long)]
    pub device: Option<DeviceId>,
    /// The organisation; may be left out if there is only one.
    #[arg(long)]
    pub organisation: Option<String>,
    /// Read the journal instead of the store; the hub must be stopped.
    #[arg(long, conflicts_with = "device")]
    pub journal: bool,
    /// The start of the span.
    #[arg(long)]
    pub from: Option<Timestamp>,
    /// The end of the span.
    #[arg(long)]
    pub to: Option<Timestamp>,
    /// Print only what differs.
    #[arg(long)]
    pub changes_only: bool,
}

/// A device and what was heard of it, in the order it was received.
type Recorded = Vec<(Arc<Device>, Entry)>;

impl Test {
    /// Prints the comparison.
    ///
    /// # Errors
    /// If a profile or the source cannot be read.
    pub async fn run(self) -> anyhow::Result<()> {
        let tried = only(&self.profile)?;
        let before = match &self.against {
            Some(file) => only(file)?,
            None => self.as_it_is(&tried)?,
        };
        let mut recorded = self.recorded(&tried).await?;
        let inside = |entry: &Entry| {
            self.from.is_none_or(|from| entry.received_at >= from) && self.to.is_none_or(|to| entry.received_at < to)
        };
        recorded.retain(|(device, entry)| device.profile == tried.profile.id && inside(entry));
        recorded.sort_by_key(|(_, entry)| (entry.received_at, entry.lane()));
        if recorded.is_empty() {
            bail!(
                "nothing was recorded of a device with the profile \"{}\" in this span; widen --from and --to, or choose another source",
                tried.profile.id
            );
        }
        let entries = || recorded.iter().map(|(device, entry)| (&**device, entry));
        let differences = trial::compare(trial::run(&before.rules, entries()), trial::run(&tried.rules, entries()));
        println!(
            "{} entries from {} to {}; profile \"{}\" version {} beside version {}",
            recorded.len(),
            recorded[0].1.received_at,
            recorded[recorded.len() - 1].1.received_at,
            tried.profile.id,
            tried.profile.version,
            before.profile.version
        );
        print(&differences, self.changes_only);
        Ok(())
    }

    /// The loaded profile with the id of the changed one.
    fn as_it_is(&self, tried: &LoadedProfile) -> anyhow::Result<LoadedProfile> {
        let loaded = match &self.config {
            Some(config) => load_config(config)?.1,
            None => Config::profiles(&[]).map_err(all_problems)?,
        };
        loaded.into_iter().find(|loaded| loaded.profile.id == tried.profile.id).with_context(|| {
            format!("no profile \"{}\" is loaded to compare with; name one with --against", tried.profile.id)
        })
    }

    async fn recorded(&self, tried: &LoadedProfile) -> anyhow::Result<Recorded> {
        match (&self.data, &self.config, &self.device) {
            (Some(data), ..) => {
                let plan = ReplayPlan::load(&self.mapping, data, self.inventory.as_deref())?;
                Ok(from_plan(&plan))
            }
            (None, Some(config), Some(device)) => self.stored(config, device, tried).await,
            (None, Some(config), None) if self.journal => from_journal(config, tried).await,
            (None, _, _) => {
                bail!("name what to replay: --data FILE, or --config FILE with --device ID or --journal")
            }
        }
    }

    async fn stored(&self, config: &Path, id: &DeviceId, tried: &LoadedProfile) -> anyhow::Result<Recorded> {
        let (store, ..) = attach(config).await?;
        let org = export::organisation(&store, self.organisation.as_deref()).await?;
        let found = store.device(org, id).await?;
        let device = Arc::new(found.with_context(|| format!("there is no device \"{id}\""))?.device);
        store.ensure_profile(&tried.profile).await?;
        let mut from = self.from.unwrap_or(Timestamp::from_micros(0));
        let to = self.to.unwrap_or(Timestamp::from_micros(i64::MAX / 2));
        let mut recorded = Vec::new();
        for event in store.device_events(org, id, 100_000).await? {
            let body = Body::Event(Event { time: event.time, code: event.code, seq: event.seq, values: event.values });
            recorded.push((device.clone(), Entry { device: Some(id.clone()), received_at: event.received_at, body }));
        }
        loop {
            let rows = store.readings(org, id, from, to, PAGE).await.context("reading the readings")?;
            let Some(last) = rows.last() else { break };
            from = last.time + std::time::Duration::from_micros(1);
            for row in rows {
                let body = Body::Sample(Sample { time: row.time, seq: row.seq, values: row.values.to_vec() });
                recorded.push((device.clone(), Entry { device: Some(id.clone()), received_at: row.time, body }));
            }
        }
        store.close().await;
        Ok(recorded)
    }
}

/// The one profile of a file.
fn only(file: &std::path::Path) -> anyhow::Result<LoadedProfile> {
    crate::config::profile(file).with_context(|| format!("reading {}", file.display()))
}

fn unplaced(id: &DeviceId, profile: &model::ProfileId, name: &str) -> Arc<Device> {
    let nobody = uuid::Uuid::nil();
    Arc::new(Device {
        id: id.clone(),
        org: OrgId(nobody),
        site: SiteId(nobody),
        profile: profile.clone(),
        name: name.to_owned(),
        plate: None,
    })
}

fn from_plan(plan: &ReplayPlan) -> Recorded {
    let devices: Vec<_> =
        plan.devices().iter().map(|device| unplaced(&device.id, &device.profile, &device.name)).collect();
    let named = |values: &[(std::borrow::Cow<'_, str>, model::Value)]| -> Vec<(ChannelId, model::Value)> {
        values.iter().filter_map(|(id, value)| Some((ChannelId::new(id).ok()?, value.clone()))).collect()
    };
    let entries = plan.rows().iter().filter_map(|(index, report)| {
        let device = devices.get(*index)?.clone();
        let (time, body) = match report {
            Report::Telemetry { time, values } => {
                (*time, Body::Sample(Sample { time: *time, seq: None, values: named(values) }))
            }
            Report::Event { .. } | Report::CommandResult { .. } => return None,
        };
        Some((device.clone(), Entry { device: Some(device.id.clone()), received_at: time, body }))
    });
    entries.collect()
}

async fn from_journal(config: &std::path::Path, tried: &LoadedProfile) -> anyhow::Result<Recorded> {
    let (config, _) = load_config(config)?;
    let journal = Journal::open(&config.hub.data_dir.join("journal"), &config.journal)
        .context("opening the journal; stop the hub first, or test on its store with --device")?;
    let mut recorded = Vec::new();
    for lane in Lane::ALL {
        let mut after = Offset::default();
        loop {
            let page = journal.read(lane, after, PAGE as usize)?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            for (_, entry) in page {
                // The journal knows no profiles: every device is taken to have the one that is tried.
                if let Some(id) = &entry.device {
                    recorded.push((unplaced(id, &tried.profile.id, id.as_str()), Entry::clone(&entry)));
                }
            }
        }
    }
    journal.close().await?;
    Ok(recorded)
}

fn print(differences: &[Difference], changes_only: bool) {
    let (mut same, mut added, mut gone, mut ends) = (0_u64, 0_u64, 0_u64, 0_u64);
    for difference in differences {
        let (mark, count) = match difference {
            Difference::Same(_) => (' ', &mut same),
            Difference::Added(_) => ('+', &mut added),
            Difference::Gone(_) => ('-', &mut gone),
            Difference::Ends(..) => ('~', &mut ends),
        };
        *count += 1;
        if changes_only && mark == ' ' {
            continue;
        }
        let alert = difference.alert();
        println!("{mark} {} {} {}  {}", alert.raised_at, alert.device, alert.rule, until(alert));
        if let Difference::Ends(before, _) = difference {
            println!("    before: {}", until(before));
        }
        if mark != ' ' {
            println!("    {}", alert.evidence.summary.en);
        }
    }
    println!("{same} the same, {added} new (+), {gone} no longer raised (-), {ends} that end at another time (~)");
}

fn until(alert: &Alert) -> String {
    alert.cleared_at.map_or_else(|| "still open at the end".to_owned(), |at| format!("until {at}"))
}
