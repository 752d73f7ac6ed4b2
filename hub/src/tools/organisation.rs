//! `liftline import FILE.toml`: an organisation with its sites, people, rotas and users. What is already there by name
//! stays as it is, but for who uses a site, so a file can be imported again after it grew.

use std::{collections::HashMap, path::Path};

use anyhow::{Context as _, anyhow, bail};
use model::{
    Language, MessageChannel, OrgId, PersonId, PersonRole, Receiver, RescueLevel, Site, SiteId, SiteUse, Timestamp,
    Traffic,
};
use serde::Deserialize;
use store::{AuditActor, NewPerson, NewRota, NewSite, Store, Subscription};

/// An organisation as written in a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganisationFile {
    /// Its name.
    pub organisation: String,
    /// Its sites.
    #[serde(default)]
    pub sites: Vec<SiteEntry>,
    /// The people who can be contacted.
    #[serde(default)]
    pub people: Vec<PersonEntry>,
    /// Who is on call.
    #[serde(default)]
    pub rotas: Vec<RotaEntry>,
}

/// A site.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteEntry {
    /// Its name.
    pub name: String,
    /// Its postal address.
    pub address: String,
    /// IANA time zone.
    pub time_zone: String,
    /// How many people live or work there; together with `traffic`.
    pub population: Option<u32>,
    /// When they come and go.
    pub traffic: Option<Traffic>,
    /// How many of them cannot do without the devices.
    pub vulnerable: Option<u32>,
}

impl SiteEntry {
    /// Who uses the site's devices, if the file says so.
    fn used(&self) -> anyhow::Result<Option<SiteUse>> {
        let used = match (self.population, self.traffic, self.vulnerable) {
            (None, None, None) => return Ok(None),
            (Some(population), Some(traffic), vulnerable) => {
                SiteUse { population, traffic, vulnerable: vulnerable.unwrap_or(0) }
            }
            (None, _, _) | (_, None, _) => bail!(
                "the site \"{}\" says only in part who uses it; write both population and traffic (office, residential or \
                 hospital)",
                self.name
            ),
        };
        Ok(Some(used.check().with_context(|| format!("the site \"{}\"", self.name))?))
    }
}

/// A person and how to reach them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonEntry {
    /// Their name.
    pub name: String,
    /// What they do.
    pub role: PersonRole,
    /// The language of messages to them.
    #[serde(default)]
    pub language: Language,
    /// A number for text messages, E.164.
    pub sms: Option<String>,
    /// A number for calls, E.164.
    pub voice: Option<String>,
    /// An e-mail address.
    pub email: Option<String>,
    /// A URL for signed webhooks.
    pub webhook: Option<String>,
    /// Sites whose tickets they are told of.
    #[serde(default)]
    pub watches: Vec<String>,
}

/// A rota.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotaEntry {
    /// The level it staffs.
    pub level: RescueLevel,
    /// The site it covers; none: all.
    pub site: Option<String>,
    /// IANA time zone of the handovers.
    pub time_zone: String,
    /// A past handover in local time, `2026-01-05T08:00`.
    pub first_handover: String,
    /// Days a shift.
    #[serde(default = "one_week")]
    pub shift_days: u32,
    /// How many are called together.
    #[serde(default = "one")]
    pub together: u32,
    /// Names of people, in the order of their shifts.
    pub members: Vec<String>,
}

fn one_week() -> u32 {
    7
}

fn one() -> u32 {
    1
}

/// What an import made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// New sites.
    pub sites: usize,
    /// New people.
    pub people: usize,
    /// New rotas.
    pub rotas: usize,
}

/// Reads and imports a file.
///
/// # Errors
/// If the file cannot be read or names something that is not there.
pub async fn import(store: &Store, file: &Path, now: Timestamp) -> anyhow::Result<(OrgId, Imported)> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let parsed: OrganisationFile =
        toml::from_str(&text).with_context(|| format!("{} is not an organisation file", file.display()))?;
    import_organisation(store, &parsed, now).await
}

/// Imports an organisation.
///
/// # Errors
/// If it names a person or site that is not there, or the store fails.
pub async fn import_organisation(
    store: &Store,
    file: &OrganisationFile,
    now: Timestamp,
) -> anyhow::Result<(OrgId, Imported)> {
    // Before anything is written.
    let uses = file.sites.iter().map(|entry| Ok(entry.used()?.map(|used| (entry, used))));
    let uses: Vec<(&SiteEntry, SiteUse)> = uses.filter_map(Result::transpose).collect::<anyhow::Result<_>>()?;
    let org = match store.org_by_name(&file.organisation).await? {
        Some(org) => org.id,
        None => store.create_org(&file.organisation, now).await?.id,
    };
    let mut imported = Imported::default();
    for entry in &file.sites {
        if store.site_by_name(org, &entry.name).await?.is_none() {
            ensure_site(store, org, &entry.name, &entry.address, &entry.time_zone, now).await?;
            imported.sites += 1;
        }
    }
    for (entry, used) in uses {
        if let Some(site) = store.site_by_name(org, &entry.name).await? {
            store.set_site_use(org, site.id, &used).await.with_context(|| format!("the site \"{}\"", entry.name))?;
        }
    }
    let sites: HashMap<String, SiteId> = store.sites(org).await?.into_iter().map(|site| (site.name, site.id)).collect();
    let site = |name: &str| {
        sites.get(name).copied().ok_or_else(|| anyhow!("there is no site \"{name}\"; add it under [[sites]] first"))
    };
    for entry in &file.people {
        if store.person_by_name(org, &entry.name).await?.is_some() {
            continue;
        }
        let person = NewPerson {
            org,
            name: entry.name.clone(),
            role: entry.role,
            language: entry.language,
            receivers: receivers(entry),
        };
        let person = store
            .create_person(&person, &AuditActor::CommandLine, now)
            .await
            .with_context(|| format!("registering {}", entry.name))?;
        for name in &entry.watches {
            store.subscribe(org, person.id, &Subscription::Site(site(name)?)).await?;
        }
        imported.people += 1;
    }
    let people: HashMap<String, PersonId> =
        store.people(org).await?.into_iter().map(|person| (person.name, person.id)).collect();
    let known = store.rotas(org).await?;
    for entry in &file.rotas {
        let at = entry.site.as_deref().map(site).transpose()?;
        if known.iter().any(|rota| rota.level == entry.level && rota.site == at) {
            continue;
        }
        let members = entry
            .members
            .iter()
            .map(|name| {
                people
                    .get(name)
                    .copied()
                    .ok_or_else(|| anyhow!("the rota names \"{name}\", who is not under [[people]]"))
            })
            .collect::<Result<_, _>>()?;
        let rota = NewRota {
            org,
            site: at,
            level: entry.level,
            time_zone: entry.time_zone.clone(),
            first_handover: entry.first_handover.clone(),
            shift_days: entry.shift_days,
            members,
            together: entry.together,
        };
        store.create_rota(&rota, &AuditActor::CommandLine, now).await.context("making a rota")?;
        imported.rotas += 1;
    }
    Ok((org, imported))
}

/// The site with this name, made if it is not there.
///
/// # Errors
/// If the store fails.
pub async fn ensure_site(
    store: &Store,
    org: OrgId,
    name: &str,
    address: &str,
    time_zone: &str,
    now: Timestamp,
) -> anyhow::Result<Site> {
    if let Some(site) = store.site_by_name(org, name).await? {
        return Ok(site);
    }
    let site = NewSite { org, name: name.to_owned(), address: address.to_owned(), time_zone: time_zone.to_owned() };
    store.create_site(&site, now).await.with_context(|| format!("registering the site {name}"))
}

fn receivers(entry: &PersonEntry) -> Vec<Receiver> {
    let ways = [
        (MessageChannel::Sms, &entry.sms),
        (MessageChannel::Voice, &entry.voice),
        (MessageChannel::Email, &entry.email),
        (MessageChannel::Webhook, &entry.webhook),
    ];
    ways.into_iter()
        .filter_map(|(channel, address)| address.clone().map(|address| Receiver { channel, address }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_uses_a_site_is_said_whole_or_not_at_all() {
        let used = |text: &str| {
            let site = format!("name = \"Tower\"\naddress = \"\"\ntime_zone = \"UTC\"\n{text}");
            let entry: SiteEntry = toml::from_str(&site).map_err(|error| error.message().to_owned())?;
            entry.used().map_err(|error| format!("{error:#}"))
        };
        assert_eq!(used(""), Ok(None));
        let office = SiteUse { population: 900, traffic: Traffic::Office, vulnerable: 0 };
        assert_eq!(used("population = 900\ntraffic = \"office\""), Ok(Some(office)));
        let some = SiteUse { vulnerable: 12, ..office };
        assert_eq!(used("population = 900\ntraffic = \"office\"\nvulnerable = 12"), Ok(Some(some)));
        for text in ["population = 900", "traffic = \"office\"", "vulnerable = 3"] {
            assert!(used(text).unwrap_err().contains("write both population and traffic"), "{text}");
        }
        let wrong = |text: &str| used(&format!("traffic = \"office\"\n{text}")).unwrap_err();
        assert_eq!(
            wrong("population = 0"),
            "the site \"Tower\": the population 0 cannot be; write how many people live or work there, 1 to 1000000"
        );
        assert!(wrong("population = 9\nvulnerable = 10").contains("write at most the population"));
        assert!(used("population = 9\ntraffic = \"prison\"").unwrap_err().contains("unknown variant"));
    }
}
