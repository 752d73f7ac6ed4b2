//! `liftline demo`: the whole product in one process, on embedded defaults, with simulated lifts and pretend phones.

pub mod phones;
mod story;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use firmware_sim::{FleetTarget, Login, Protocol, Scenario, SimOptions};
use gateway::FrontDoorConfig;
use model::{Clock, Device, DeviceId, Language, OrgId};
use phones::{PhoneConfig, PhoneNetwork};
use store::{AuditActor, NewUser, Store, UserRole};
use story::Story;
use tokio::net::TcpListener;

use crate::{
    cli::{embedded_config, install_metrics, shutdown_on_signal},
    clock::SystemClock,
    config::Config,
    server::Hub,
    supervisor::Supervisor,
    tools::{
        desk_settings,
        devices::new_secret,
        organisation::{OrganisationFile, ensure_site, import_organisation},
    },
};

/// The number that the hub sends from.
const HUB_NUMBER: &str = "+15550100000";
const ACCOUNT: &str = "AC00000000000000000000000000000000";
/// Marks a folder as the demo's own, so that it may be emptied.
const MARKER: &str = "liftline-demo.txt";
/// The addresses tried first.
const WEB: u16 = 8080;
const MQTT: u16 = 1883;

/// Options of `liftline demo`.
#[derive(Debug, Args)]
pub struct Options {
    /// Run the three stories, print their milestones and end; the exit code is 0 only if all three were completed.
    #[arg(long)]
    pub once: bool,
    /// Where to keep the data; the folder is emptied at the start.
    #[arg(long, default_value = "liftline-demo")]
    pub data: PathBuf,
    /// The board's address; by default 127.0.0.1:8080, or a free port if that is taken.
    #[arg(long)]
    pub listen: Option<SocketAddr>,
    /// The language of the board.
    #[arg(long, default_value = "en")]
    pub language: Language,
    /// Another scenario to run; the story is told only for the usual one.
    #[arg(long, default_value = "demo")]
    pub scenario: String,
}

/// Runs the demo until Ctrl-C, or with `--once` until the stories are told.
///
/// # Errors
/// If something cannot be started, or with `--once` if a story was not completed.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let shutdown = shutdown_on_signal()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let scenario = Scenario::load(&options.scenario)?;
    empty_folder(&options.data)?;
    let listener = match options.listen {
        Some(address) => crate::cli::bind(address).await?,
        None => bind_or_any(WEB).await?,
    };
    let web = listener.local_addr().context("asking for the board's address")?;
    let token = new_secret()?;
    let phones = PhoneNetwork::bind(PhoneConfig {
        account_sid: ACCOUNT.to_owned(),
        auth_token: token.clone(),
        hub_number: HUB_NUMBER.to_owned(),
        pace: Duration::from_millis(400),
        patience: Some(Duration::from_secs(120)),
        clock: clock.clone(),
    })
    .await
    .context("opening the pretend phone network")?;
    let base = format!("http://{}", reachable(web));
    phones.set_hub_url(&base);
    let config = config(&options.data, &base, &token, phones.smtp_addr()).await?;

    let store = Store::attach(&config.store_config(), desk_settings(&config)).await.context("opening the database")?;
    let password = new_secret()?;
    let setup = set_up(&store, &scenario, &phones, &options, &password, clock.as_ref()).await?;
    store.close().await;

    let profiles = Config::profiles(&[]).map_err(crate::tools::all_problems)?;
    let hub =
        Hub::start(config, profiles, clock.clone(), install_metrics()?, listener, phones.router(), &shutdown).await?;
    let mqtt = hub.mqtt.context("the demo's hub has a front door")?;
    let link = hub.store.create_login_link(setup.user, Duration::from_secs(24 * 3600), clock.now()).await?;
    introduce(&options, &base, &link, &password, mqtt);

    let target = FleetTarget {
        host: reachable(mqtt).ip().to_string(),
        port: mqtt.port(),
        prefix: "liftline".to_owned(),
        login: Login::PerDevice(setup.secrets),
        protocol: Protocol::V5,
    };
    let (told, outcome) = tokio::sync::oneshot::channel();
    let story = Story::new(hub.store.clone(), setup.org, phones.clone(), clock.clone(), base);
    let mut supervisor = Supervisor::new(shutdown.clone());
    supervisor.add("hub", hub.run());
    supervisor.add("phones", phones.run(shutdown.child_token()));
    let stop = shutdown.child_token();
    supervisor.add("lifts", async move {
        let options = SimOptions::new(clock, stop.clone());
        firmware_sim::simulate(&scenario, &target, options).await.context("simulating the lifts")?;
        stop.cancelled().await;
        anyhow::Ok(())
    });
    let (once, stop) = (options.once, shutdown.clone());
    supervisor.add("story", async move {
        let completed = story.tell(once, stop.child_token()).await?;
        if once {
            stop.cancel();
        } else {
            stop.cancelled().await;
        }
        if told.send(completed).is_err() {
            tracing::debug!("the demo ended before its story");
        }
        anyhow::Ok(())
    });
    supervisor.run(Duration::from_secs(15)).await?;
    println!("Stopped. The data stays in {} until the next demo.", options.data.display());
    if options.once && !outcome.await.unwrap_or(false) {
        bail!("not every story was completed; the lines above say which");
    }
    Ok(())
}

/// What the demo needs to know of what it registered.
struct Setup {
    org: OrgId,
    user: model::UserId,
    secrets: HashMap<DeviceId, String>,
}

async fn set_up(
    store: &Store,
    scenario: &Scenario,
    phones: &PhoneNetwork,
    options: &Options,
    password: &str,
    clock: &dyn Clock,
) -> anyhow::Result<Setup> {
    let now = clock.now();
    let file: OrganisationFile =
        toml::from_str(include_str!("demo/organisation.toml")).context("the demo's organisation file")?;
    let org = match store.org_by_name(&file.organisation).await? {
        Some(org) => org.id,
        None => store.create_org(&file.organisation, now).await?.id,
    };
    let mut sites = HashMap::new();
    for site in &scenario.sites {
        let made = ensure_site(store, org, &site.name, &site.address, &site.time_zone, now).await?;
        sites.insert(site.name.clone(), made.id);
    }
    import_organisation(store, &file, now).await?;
    for person in &file.people {
        for number in [&person.sms, &person.voice].into_iter().flatten() {
            phones.name_phone(number, &person.name);
        }
    }
    phones.name_phone(story::TRAPPED, "Person in the lift · 被困乘客");
    let mut secrets = HashMap::new();
    let mut devices = Vec::new();
    for device in scenario.devices() {
        let secret = new_secret()?;
        let site = *sites.get(&device.site).context("every simulated lift has a site")?;
        let row = Device {
            id: device.id.clone(),
            org,
            site,
            profile: device.profile,
            name: device.name,
            plate: device.plate,
        };
        devices.push((row, Some(gateway::secret_hash(&secret))));
        secrets.insert(device.id, secret);
    }
    store.upsert_devices(&devices, &AuditActor::CommandLine, now).await?;
    let password = password.to_owned();
    let hash = tokio::task::spawn_blocking(move || board::hash_password(&password)).await.context("hashing")??;
    let user = NewUser {
        org,
        username: "demo".to_owned(),
        name: "Dora Dispatch".to_owned(),
        role: UserRole::Admin,
        language: options.language,
        password_hash: Some(hash),
    };
    let user = store.create_user(&user, &AuditActor::CommandLine, now).await?.id;
    Ok(Setup { org, user, secrets })
}

async fn config(data: &Path, base: &str, token: &str, smtp: SocketAddr) -> anyhow::Result<Config> {
    let mut config = embedded_config(data.to_owned());
    base.clone_into(&mut config.board.public_url);
    let mqtt = bind_or_any(MQTT).await?.local_addr().context("asking for the front door's address")?;
    config.gateway.front_door = Some(FrontDoorConfig { listen: mqtt, ..FrontDoorConfig::default() });
    config.notify = toml::from_str(&format!(
        "[twilio]\nbase_url = \"{base}\"\naccount_sid = \"{ACCOUNT}\"\nauth_token = \"{token}\"\nfrom = \"{HUB_NUMBER}\"\n\
         [smtp]\nhost = \"{}\"\nport = {}\nsecurity = \"none\"\nfrom = \"Liftline <lifts@example.org>\"\n",
        smtp.ip(),
        smtp.port()
    ))
    .context("the demo's message settings")?;
    base.clone_into(&mut config.notify.public_url);
    Ok(config)
}

/// The preferred port of this machine, or any free one.
async fn bind_or_any(port: u16) -> anyhow::Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on this machine"),
    }
}

/// The address as people on this machine reach it.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}

/// Makes an empty folder; refuses one that holds anything else.
fn empty_folder(folder: &Path) -> anyhow::Result<()> {
    let ours = folder.join(MARKER).exists();
    let taken = folder.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if taken && !ours {
        bail!("{} is not empty and not a demo's folder; name another with --data", folder.display());
    }
    if ours {
        std::fs::remove_dir_all(folder).with_context(|| format!("emptying {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    std::fs::write(folder.join(MARKER), "The data of `liftline demo`. It is removed when the demo starts again.\n")
        .with_context(|| format!("writing into {}", folder.display()))
}

fn introduce(options: &Options, base: &str, link: &str, password: &str, mqtt: SocketAddr) {
    println!(
        "Liftline demo. Data: {}. Ctrl-C stops it.

  Board           {base}/login/{link}
                  (the link works once; then user demo, password {password})
  Phones and mail {base}/demo/phones
  API             {base}/api/v1/openapi.json
  MQTT            {mqtt}

What to look at:
  1. The forecast ticket: a door operator has been wearing out for two weeks. Its page says when it will fail and why,
     and what to bring.
  2. The entrapment: a person is shut in a lift at Garden Court and texts the number on its plate. On the phones page
     read their SMS and open the care page; answer the technician's page with its number and a, or press 4 in the call.
     If you do nothing, the technician answers by herself after a while.
  3. The power cut at Harbour Tower: forty lifts, one ticket.
",
        options.data.display()
    );
}
