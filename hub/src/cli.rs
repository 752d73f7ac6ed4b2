//! The command line.

use std::{io::Write as _, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use clap::{Args, Parser, Subcommand};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use model::{Clock, DeviceId, Language, Timestamp};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    clock::SystemClock,
    config::Config,
    demo,
    server::Hub,
    tools::{
        self,
        backtest::Backtest,
        detect::Detect,
        models::{ModelsAction, Train},
        rul::Rul,
        rules::RulesAction,
        simulate::Simulate,
    },
};

/// Liftline: a proactive service hub for connected lifts.
#[derive(Debug, Parser)]
#[command(name = "liftline", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The configuration to use.
#[derive(Debug, Args)]
pub struct ConfigArg {
    /// The configuration file.
    #[arg(long, short, default_value = "liftline.toml", env = "LIFTLINE_CONFIG")]
    pub config: PathBuf,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole story in one process: broker, simulated lifts, pretend phones, board.
    Demo(demo::Options),
    /// Run the hub.
    Serve(ConfigArg),
    /// Check a configuration and its profiles, and say everything that is wrong.
    CheckConfig(ConfigArg),
    /// Simulate a fleet, or replay recorded data as one, against any broker.
    Simulate(Simulate),
    /// Score detectors, forecasts and failure models on recorded data, or on this hub's own history.
    Backtest(Backtest),
    /// Write an anomaly score beside every row of a time-stamped table.
    Detect(Detect),
    /// Estimate the remaining life of units from run-to-failure tables.
    Rul(Rul),
    /// Train failure models from this hub's own history, and say whether they are better than the naive rule.
    Train(Train),
    /// List, show, promote and roll back failure models.
    Models {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArg,
        /// What to do.
        #[command(subcommand)]
        action: ModelsAction,
    },
    /// Try changed rules on what was recorded.
    Rules {
        /// What to do.
        #[command(subcommand)]
        action: RulesAction,
    },
    /// Import an organisation: sites, people, rotas (TOML).
    Import {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArg,
        /// The file; see docs/operating.md.
        file: PathBuf,
    },
    /// Export readings or tickets as CSV to standard output.
    Export {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArg,
        /// The organisation; may be left out if there is only one.
        #[arg(long)]
        organisation: Option<String>,
        /// What to export.
        #[command(subcommand)]
        what: Export,
    },
    /// Show the code sets, or export events in a regulator's codes, as CSV to standard output.
    Codes {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArg,
        /// The organisation; may be left out if there is only one.
        #[arg(long)]
        organisation: Option<String>,
        /// The code set, such as cn_upload.
        #[arg(long)]
        set: String,
        /// Write the events of the devices instead of the table.
        #[arg(long)]
        events: bool,
        /// Only the events of this device.
        #[arg(long, requires = "events")]
        device: Option<DeviceId>,
    },
    /// Register and list devices.
    Device {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArg,
        /// The organisation; may be left out if there is only one.
        #[arg(long)]
        organisation: Option<String>,
        /// What to do.
        #[command(subcommand)]
        action: DeviceAction,
    },
    /// Add logins to the board.
    User {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArg,
        /// The organisation; may be left out if there is only one.
        #[arg(long)]
        organisation: Option<String>,
        /// What to do.
        #[command(subcommand)]
        action: UserAction,
    },
}

/// What can be exported.
#[derive(Debug, Subcommand)]
pub enum Export {
    /// The readings of one device.
    Readings {
        /// The device.
        #[arg(long)]
        device: DeviceId,
        /// From this time, RFC 3339.
        #[arg(long)]
        from: Timestamp,
        /// Up to this time, RFC 3339; default: now.
        #[arg(long)]
        to: Option<Timestamp>,
    },
    /// All tickets with their milestones.
    Tickets,
}

/// What can be done with devices.
#[derive(Debug, Subcommand)]
pub enum DeviceAction {
    /// Register the devices of a CSV file (columns device, profile, site; optional name, plate, secret, address,
    /// time_zone). New secrets are printed to standard output.
    Import {
        /// The file.
        file: PathBuf,
    },
    /// List the registered devices.
    List,
}

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub enum UserAction {
    /// Add a user; the password is read from standard input.
    Add {
        /// The login name.
        username: String,
        /// Their name; default: the login name.
        #[arg(long)]
        name: Option<String>,
        /// What they may do.
        #[arg(long, default_value = "dispatcher")]
        role: String,
        /// The language of the board.
        #[arg(long, default_value = "en")]
        language: Language,
    },
    /// Print a link that logs a user in once.
    Link {
        /// The login name.
        username: String,
    },
}

/// How long a login link printed by the command line is good.
const LINK_LIFETIME: Duration = Duration::from_secs(3600);

/// Runs a command.
///
/// # Errors
/// What went wrong, with what to do next.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let clock = SystemClock;
    match cli.command {
        Command::Demo(options) => demo::run(options).await,
        Command::Serve(ConfigArg { config }) => serve(&config).await,
        Command::CheckConfig(ConfigArg { config }) => {
            let (parsed, profiles) = tools::load_config(&config)?;
            println!("{} is good.", config.display());
            for loaded in &profiles {
                let profile = &loaded.profile;
                println!(
                    "  profile {} version {}: {} channels, {} rules, {} detectors, {} forecasts ({})",
                    profile.id,
                    profile.version,
                    profile.channels.len(),
                    profile.rules.len(),
                    profile.detectors.len(),
                    profile.forecasts.len(),
                    profile.file.display()
                );
            }
            println!("  data folder {}, web {}", parsed.hub.data_dir.display(), parsed.hub.listen);
            Ok(())
        }
        Command::Simulate(options) => options.run(shutdown_on_signal()?).await,
        Command::Backtest(options) => options.run().await,
        Command::Detect(options) => options.run(),
        Command::Rul(options) => options.run(),
        Command::Train(train) => train.run(&mut std::io::stdout().lock()).await,
        Command::Models { config, action } => action.run(&config, &mut std::io::stdout().lock()).await,
        Command::Rules { action: RulesAction::Test(test) } => test.run().await,
        Command::Import { config, file } => {
            let (store, ..) = tools::attach(&config.config).await?;
            let (_, made) = tools::organisation::import(&store, &file, clock.now()).await?;
            store.close().await;
            println!("Imported {} sites, {} people, {} rotas.", made.sites, made.people, made.rotas);
            Ok(())
        }
        Command::Export { config, organisation, what } => {
            let (store, _, profiles) = tools::attach(&config.config).await?;
            let org = tools::export::organisation(&store, organisation.as_deref()).await?;
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            let written = match what {
                Export::Readings { device, from, to } => {
                    let known = store
                        .device(org, &device)
                        .await?
                        .ok_or_else(|| anyhow!("there is no device \"{device}\"; see `liftline device list`"))?;
                    let profile =
                        profiles.iter().find(|loaded| loaded.profile.id == known.device.profile).ok_or_else(|| {
                            anyhow!("the profile \"{}\" is not loaded; add it to hub.profiles", known.device.profile)
                        })?;
                    store.ensure_profile(&profile.profile).await?;
                    let span = (from, to.unwrap_or(clock.now()));
                    tools::export::readings(&store, &profile.profile, org, &device, span, &mut out).await?
                }
                Export::Tickets => tools::export::tickets(&store, org, &mut out).await?,
            };
            out.flush()?;
            store.close().await;
            eprintln!("Exported {written} rows.");
            Ok(())
        }
        Command::Codes { config, organisation, set, events, device } => {
            let out = &mut std::io::BufWriter::new(std::io::stdout().lock());
            if !events {
                let (loaded, _) = tools::load_config(&config.config)?;
                let tables = crate::codes::tables(&loaded.gateway.codes.files)?;
                tools::codes::show(crate::codes::find(&tables, &set)?.as_ref(), out)?;
                out.flush()?;
                return Ok(());
            }
            let (store, loaded, _) = tools::attach(&config.config).await?;
            let org = tools::export::organisation(&store, organisation.as_deref()).await?;
            let tables = crate::codes::tables(&loaded.gateway.codes.files)?;
            let table = crate::codes::find(&tables, &set)?;
            let exported = tools::codes::export(&store, &table, org, device.as_ref(), out).await?;
            out.flush()?;
            store.close().await;
            let (rows, without) = (exported.rows, exported.without_code);
            eprintln!("Exported {rows} events; {without} of them have no code in \"{set}\".");
            Ok(())
        }
        Command::Device { config, organisation, action } => {
            let (store, _, profiles) = tools::attach(&config.config).await?;
            let org = tools::export::organisation(&store, organisation.as_deref()).await?;
            match action {
                DeviceAction::Import { file } => {
                    let mut out = std::io::stdout().lock();
                    let made = tools::devices::import(&store, &profiles, org, &file, &mut out, clock.now()).await?;
                    eprintln!(
                        "Registered {} devices; {} new secrets are printed above as device,secret. They are not kept in clear.",
                        made.devices, made.secrets
                    );
                }
                DeviceAction::List => tools::devices::list(&store, org, &mut std::io::stdout().lock()).await?,
            }
            store.close().await;
            Ok(())
        }
        Command::User { config, organisation, action } => {
            let (store, parsed, _) = tools::attach(&config.config).await?;
            match action {
                UserAction::Add { username, name, role, language } => {
                    let org = tools::export::organisation(&store, organisation.as_deref()).await?;
                    let name = name.unwrap_or_else(|| username.clone());
                    let login =
                        tools::users::NewLogin { org, username, name, role: tools::users::role(&role)?, language };
                    let user = tools::users::add(&store, login, clock.now()).await?;
                    println!("Added {} ({}).", user.username, user.role.code());
                }
                UserAction::Link { username } => {
                    let user = store
                        .user_by_username(&username)
                        .await?
                        .ok_or_else(|| anyhow!("there is no user \"{username}\"; add one with `liftline user add`"))?;
                    let token = store.create_login_link(user.id, LINK_LIFETIME, clock.now()).await?;
                    println!("{}/login/{token}", parsed.board.public_url.trim_end_matches('/'));
                }
            }
            store.close().await;
            Ok(())
        }
    }
}

async fn serve(file: &std::path::Path) -> anyhow::Result<()> {
    let (config, profiles) = tools::load_config(file)?;
    let shutdown = shutdown_on_signal()?;
    let listener = bind(config.hub.listen).await?;
    let hub = Hub::start(
        config,
        profiles,
        Arc::new(SystemClock),
        install_metrics()?,
        listener,
        axum::Router::new(),
        &shutdown,
    )
    .await?;
    if let Err(failure) = announce(&hub) {
        tracing::warn!("where the hub listens could not be printed: {failure}");
    }
    hub.run().await
}

/// Prints where a hub listens. One that cannot tell (standard output is on a full disk) serves all the same.
fn announce(hub: &Hub) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if let Some(mqtt) = hub.mqtt {
        writeln!(out, "mqtt: {mqtt}")?;
    }
    writeln!(out, "web: http://{}", hub.web)
}

/// Binds the web server's address.
///
/// # Errors
/// If it is taken; says which setting to change.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; stop what is there or set hub.listen to a free address"))
}

/// Installs the metrics recorder of the process.
///
/// # Errors
/// If one is installed already.
pub fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    PrometheusBuilder::new().install_recorder().context("installing the metrics recorder")
}

/// A token that is cancelled by Ctrl-C or SIGTERM; the second signal ends the process at once.
///
/// # Errors
/// If the signal handlers cannot be installed.
pub fn shutdown_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let token = CancellationToken::new();
    let cancel = token.clone();
    let mut interrupt = signal(SignalKind::interrupt()).context("installing the handler for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("installing the handler for SIGTERM")?;
    #[expect(clippy::disallowed_methods, reason = "it must outlive every supervisor, and ends with the process")]
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                info!("stopping; once more to stop at once");
                cancel.cancel();
            } else {
                std::process::exit(130);
            }
        }
    });
    Ok(token)
}

/// The configuration of a hub on embedded defaults in one folder.
#[must_use]
pub fn embedded_config(data_dir: PathBuf) -> Config {
    let mut config = Config::default();
    config.hub.data_dir = data_dir;
    config
}
