//! Who can be called for a ticket, and the names that messages need — looked up once within a transaction, however many
//! tickets it touches.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use desk::{Action, Actor, Contact, Event, Roster, Rota, Ticket};
use model::{Device, DeviceId, OrgId, PersonId, RescueLevel, Site, SiteId, Timestamp};
use uuid::Uuid;

use crate::{
    Result,
    db::{TextList, Tx, fetch_all, fetch_optional, name, statements},
    devices::{DeviceRow, device},
    orgs::{SiteRow, site},
    people, rotas,
};

statements! {
    // Those who want to know of the site, and those who want to know of one of its devices.
    SUBSCRIBERS = both("
        SELECT s.person, NULL FROM subscriptions s WHERE s.site = $1 AND s.org = $2
        UNION ALL
        SELECT s.person, s.device FROM subscriptions s JOIN devices d ON d.id = s.device
        WHERE d.site = $1 AND s.org = $2
        ORDER BY 1");
    DEVICE = both("SELECT id, org, site, profile, name, plate FROM devices WHERE id = $1");
    DEVICES = each(
        "SELECT id, org, site, profile, name, plate FROM devices WHERE id = ANY($1)",
        "SELECT id, org, site, profile, name, plate FROM devices WHERE id IN (SELECT value FROM json_each($1))");
    SITE = both("SELECT id, org, name, address, time_zone FROM sites WHERE id = $1");
}

/// Who wants to know: of the whole site, or of one device.
type Wanting = Vec<(PersonId, Option<DeviceId>)>;
type OnCall = Vec<(RescueLevel, Vec<PersonId>)>;

/// What was looked up so far in one transaction.
#[derive(Default)]
pub(crate) struct LookUps {
    rotas: HashMap<OrgId, Vec<Rota>>,
    on_call: HashMap<(OrgId, SiteId), OnCall>,
    subscribers: HashMap<(OrgId, SiteId), Wanting>,
    contacts: HashMap<PersonId, Option<Contact>>,
    devices: HashMap<DeviceId, Option<Device>>,
    sites: HashMap<SiteId, Option<Site>>,
}

impl LookUps {
    /// Who can be called when `event` happens to `ticket`, or (`ticket` is `None`) when one is opened there.
    pub(crate) async fn roster(
        &mut self,
        tx: &mut Tx,
        place: &Place<'_>,
        ticket: Option<&Ticket>,
        event: Option<&Event>,
        now: Timestamp,
    ) -> Result<Roster> {
        let on_call = self.on_call(tx, place.org, place.site, now).await?;
        let wanting = self.subscribers(tx, place.org, place.site).await?;
        let mut subscribers: Vec<PersonId> = wanting
            .into_iter()
            .filter(|(_, of)| of.as_ref().is_none_or(|device| Some(device) == place.device))
            .map(|(person, _)| person)
            .collect();
        subscribers.dedup();
        let known = named(ticket, event);
        let everyone = on_call.iter().flat_map(|(_, people)| people).chain(&subscribers).chain(&known);
        self.load_contacts(tx, place.org, everyone.copied().collect()).await?;
        Ok(Roster {
            on_call: on_call.iter().map(|(level, people)| (*level, self.reachable(people))).collect(),
            subscribers: self.reachable(&subscribers),
            known: known.iter().filter_map(|person| self.contacts.get(person).cloned().flatten()).collect(),
            ..Roster::default()
        })
    }

    /// Those of the people whom a message can reach at all.
    fn reachable(&self, people: &[PersonId]) -> Vec<Contact> {
        let contacts = people.iter().filter_map(|person| self.contacts.get(person)?.as_ref());
        contacts.filter(|contact| !contact.receivers.is_empty()).cloned().collect()
    }

    async fn on_call(&mut self, tx: &mut Tx, org: OrgId, site: SiteId, now: Timestamp) -> Result<OnCall> {
        if let Some(found) = self.on_call.get(&(org, site)) {
            return Ok(found.clone());
        }
        let rotas = match self.rotas.entry(org) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(missing) => missing.insert(rotas::of_org(tx, org).await?),
        };
        let found = rotas::on_call(rotas, site, now);
        self.on_call.insert((org, site), found.clone());
        Ok(found)
    }

    async fn subscribers(&mut self, tx: &mut Tx, org: OrgId, site: SiteId) -> Result<Wanting> {
        if let Some(found) = self.subscribers.get(&(org, site)) {
            return Ok(found.clone());
        }
        let rows: Vec<(Uuid, Option<String>)> = fetch_all!(tx, "reading subscriptions", SUBSCRIBERS, site.0, org.0)?;
        let found = rows
            .into_iter()
            .map(|(person, device)| Ok((PersonId(person), device.map(|id| name("device id", &id)).transpose()?)))
            .collect::<Result<Vec<_>>>()?;
        self.subscribers.insert((org, site), found.clone());
        Ok(found)
    }

    async fn load_contacts(&mut self, tx: &mut Tx, org: OrgId, people: HashSet<PersonId>) -> Result<()> {
        let missing: Vec<Uuid> =
            people.iter().filter(|person| !self.contacts.contains_key(person)).map(|person| person.0).collect();
        if missing.is_empty() {
            return Ok(());
        }
        for person in &missing {
            self.contacts.insert(PersonId(*person), None);
        }
        for person in people::by_ids_in(tx, org, missing).await? {
            let (id, name, language, receivers) = (person.id, person.name, person.language, person.receivers);
            self.contacts.insert(id, Some(Contact { person: id, name, language, receivers }));
        }
        Ok(())
    }

    /// Looks these devices up at once, for [`LookUps::device`] to find.
    pub(crate) async fn load_devices(&mut self, tx: &mut Tx, ids: HashSet<&DeviceId>) -> Result<()> {
        let list = TextList(ids.iter().map(ToString::to_string).collect());
        let rows: Vec<DeviceRow> = fetch_all!(tx, "reading devices", DEVICES, list)?;
        self.devices.extend(ids.into_iter().map(|id| (id.clone(), None)));
        for row in rows {
            let found = device(row)?;
            self.devices.insert(found.id.clone(), Some(found));
        }
        Ok(())
    }

    pub(crate) async fn device(&mut self, tx: &mut Tx, id: &DeviceId) -> Result<Option<Device>> {
        if let Some(found) = self.devices.get(id) {
            return Ok(found.clone());
        }
        let row: Option<DeviceRow> = fetch_optional!(tx, "reading a device", DEVICE, id.as_str())?;
        let found = row.map(device).transpose()?;
        self.devices.insert(id.clone(), found.clone());
        Ok(found)
    }

    pub(crate) async fn site(&mut self, tx: &mut Tx, id: SiteId) -> Result<Option<Site>> {
        if let Some(found) = self.sites.get(&id) {
            return Ok(found.clone());
        }
        let row: Option<SiteRow> = fetch_optional!(tx, "reading a site", SITE, id.0)?;
        let found = row.map(site);
        self.sites.insert(id, found.clone());
        Ok(found)
    }
}

/// Where something happens.
pub(crate) struct Place<'a> {
    pub(crate) org: OrgId,
    pub(crate) site: SiteId,
    pub(crate) device: Option<&'a DeviceId>,
}

/// The people that a ticket or an event names: who acts, who is assigned, who was called.
fn named(ticket: Option<&Ticket>, event: Option<&Event>) -> Vec<PersonId> {
    let mut people = Vec::new();
    if let Some(Event::Act { actor, action, .. }) = event {
        if let Actor::Person { person, .. } = actor {
            people.push(*person);
        }
        if let Action::Assign { person } = action {
            people.push(*person);
        }
    }
    if let Some(Event::Delivered { person, .. }) = event {
        people.push(*person);
    }
    if let Some(ticket) = ticket {
        people.extend(ticket.assignee);
        people.extend(ticket.responders.iter().map(|responder| responder.person));
    }
    let mut seen = HashSet::new();
    people.retain(|person| seen.insert(*person));
    people
}
