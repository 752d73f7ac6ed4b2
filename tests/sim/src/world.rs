//! Who there is: an organisation, its sites and lifts, the people who are called, and one who wants to know.

use firmware_sim::SimSite;
use model::{Device, Language, MessageChannel, OrgId, Person, PersonRole, Receiver, RescueLevel};
use store::{AuditActor, NewPerson, NewRota, NewSite, Store, Subscription};

use crate::fleet::{Fleet, start};

/// The organisation's id and the responders.
pub struct World {
    /// The organisation.
    pub org: OrgId,
    /// Everybody who may be called.
    pub people: Vec<Person>,
}

/// Registers everything in an empty store.
pub async fn make(store: &Store, fleet: &Fleet) -> anyhow::Result<World> {
    let (now, cli) = (start(), AuditActor::CommandLine);
    let org = store.create_org("Sim", now).await?.id;
    let mut sites = Vec::new();
    for SimSite { name, address, time_zone, .. } in &fleet.sites {
        let new = NewSite { org, name: name.clone(), address: address.clone(), time_zone: time_zone.clone() };
        sites.push(store.create_site(&new, now).await?);
    }
    for voice in &fleet.voices {
        let found = &voice.device;
        let Some(site) = sites.iter().find(|site| site.name == found.site) else { continue };
        let device = Device {
            id: found.id.clone(),
            org,
            site: site.id,
            profile: found.profile.clone(),
            name: found.name.clone(),
            plate: found.plate.clone(),
        };
        store.upsert_device(&device, None, &cli, now).await?;
    }
    let ways = |ways: &[(MessageChannel, &str)]| {
        ways.iter().map(|(channel, address)| Receiver { channel: *channel, address: (*address).to_owned() }).collect()
    };
    let (sms, voice, email) = (MessageChannel::Sms, MessageChannel::Voice, MessageChannel::Email);
    let person =
        |name: &str, role, receivers| NewPerson { org, name: name.to_owned(), role, language: Language::En, receivers };
    let ann = person("Ann", PersonRole::Technician, ways(&[(sms, "+861380001"), (voice, "+861380001")]));
    let bo = person("Bo", PersonRole::Technician, ways(&[(sms, "+861380002"), (email, "bo@example.org")]));
    let station = person("Station 7", PersonRole::RescueStation, ways(&[(voice, "+861380003")]));
    let fire = person("Fire 119", PersonRole::FireService, ways(&[(sms, "+861380004")]));
    let mut people = Vec::new();
    for new in [ann, bo, station, fire] {
        people.push(store.create_person(&new, &cli, now).await?);
    }
    let manager = person("Mo", PersonRole::BuildingManager, ways(&[(email, "mo@example.org")]));
    let manager = store.create_person(&manager, &cli, now).await?;
    for site in &sites {
        store.subscribe(org, manager.id, &Subscription::Site(site.id)).await?;
    }
    let rotas = [
        (RescueLevel::Maintainer, vec![people[0].id, people[1].id], 2),
        (RescueLevel::Station, vec![people[2].id], 1),
        (RescueLevel::FireService, vec![people[3].id], 1),
    ];
    for (level, members, together) in rotas {
        let rota = NewRota {
            org,
            site: None,
            level,
            time_zone: "Asia/Shanghai".to_owned(),
            first_handover: "2026-01-05T08:00".to_owned(),
            shift_days: 7,
            members,
            together,
        };
        store.create_rota(&rota, &cli, now).await?;
    }
    Ok(World { org, people })
}
