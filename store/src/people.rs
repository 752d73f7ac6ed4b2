//! People who can be contacted, and what they want to be told of.

use std::collections::HashMap;

use model::{DeviceId, Language, MessageChannel, OrgId, Person, PersonId, PersonRole, Receiver, SiteId, Timestamp};
use serde_json::json;
use uuid::Uuid;

use crate::{
    AuditActor, Result, Store, StoreError, audit,
    db::{Pool, Tx, UuidList, at, execute, fetch_all, fetch_optional, from_code, new_id, statements, text},
};

statements! {
    INSERT = both("INSERT INTO people (id, org, name, role, language, created_at) VALUES ($1, $2, $3, $4, $5, $6)");
    INSERT_RECEIVER = both("INSERT INTO receivers (person, position, channel, address) VALUES ($1, $2, $3, $4)");
    LIST = both("SELECT id, org, name, role, language FROM people WHERE org = $1 ORDER BY name, id");
    RECEIVERS_OF_ORG = both("
        SELECT r.person, r.channel, r.address FROM receivers r JOIN people p ON p.id = r.person
        WHERE p.org = $1 ORDER BY r.person, r.position");
    BY_IDS = each(
        "SELECT id, org, name, role, language FROM people WHERE org = $1 AND id = ANY($2)",
        "SELECT id, org, name, role, language FROM people WHERE org = $1 AND id IN (SELECT unhex(value) FROM json_each($2))");
    RECEIVERS_BY_IDS = each(
        "SELECT person, channel, address FROM receivers WHERE person = ANY($1) ORDER BY person, position",
        "SELECT person, channel, address FROM receivers WHERE person IN (SELECT unhex(value) FROM json_each($1))
            ORDER BY person, position");
    // A number that takes text messages takes calls: a reply by either way is its owner's.
    BY_ADDRESS = both("
        SELECT p.id, p.org FROM receivers r JOIN people p ON p.id = r.person
        WHERE r.address = $1 AND r.channel IN ($2, $3) ORDER BY p.created_at, p.id LIMIT 1");
    BY_NAME = both("SELECT id FROM people WHERE org = $1 AND name = $2 ORDER BY created_at, id LIMIT 1");
    SUBSCRIBE_SITE = both("
        INSERT INTO subscriptions (org, person, site)
        SELECT p.org, p.id, s.id FROM people p JOIN sites s ON s.org = p.org
        WHERE p.org = $1 AND p.id = $2 AND s.id = $3 ON CONFLICT DO NOTHING");
    SUBSCRIBE_DEVICE = both("
        INSERT INTO subscriptions (org, person, device)
        SELECT p.org, p.id, d.id FROM people p JOIN devices d ON d.org = p.org
        WHERE p.org = $1 AND p.id = $2 AND d.id = $3 ON CONFLICT DO NOTHING");
    SITE_TARGET = both("SELECT 1 FROM people p JOIN sites s ON s.org = p.org WHERE p.org = $1 AND p.id = $2 AND s.id = $3");
    DEVICE_TARGET =
        both("SELECT 1 FROM people p JOIN devices d ON d.org = p.org WHERE p.org = $1 AND p.id = $2 AND d.id = $3");
}

/// A person to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPerson {
    /// The organisation they belong to.
    pub org: OrgId,
    /// Their name.
    pub name: String,
    /// What they do.
    pub role: PersonRole,
    /// The language of messages to them.
    pub language: Language,
    /// How to reach them, in the order to try.
    pub receivers: Vec<Receiver>,
}

/// What a person wants to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscription {
    /// Everything at a site.
    Site(SiteId),
    /// One device.
    Device(DeviceId),
}

type PersonRow = (Uuid, Uuid, String, String, String);
type ReceiverRow = (Uuid, String, String);

fn receivers(rows: Vec<ReceiverRow>) -> Result<HashMap<Uuid, Vec<Receiver>>> {
    let mut by_person: HashMap<Uuid, Vec<Receiver>> = HashMap::new();
    for (person, channel, address) in rows {
        let channel = from_code("message channel", &channel)?;
        by_person.entry(person).or_default().push(Receiver { channel, address });
    }
    Ok(by_person)
}

fn join(people: Vec<PersonRow>, mut receivers: HashMap<Uuid, Vec<Receiver>>) -> Result<Vec<Person>> {
    people
        .into_iter()
        .map(|(id, org, name, role, language)| {
            Ok(Person {
                id: PersonId(id),
                org: OrgId(org),
                name,
                role: from_code("person's role", &role)?,
                language: from_code("language", &language)?,
                receivers: receivers.remove(&id).unwrap_or_default(),
            })
        })
        .collect()
}

/// The people with these ids, in no particular order.
pub(crate) async fn by_ids(pool: &Pool, org: OrgId, ids: Vec<Uuid>) -> Result<Vec<Person>> {
    let ids = UuidList(ids);
    let people: Vec<PersonRow> = fetch_all!(pool, "reading people", BY_IDS, org.0, ids.clone())?;
    let rows: Vec<ReceiverRow> = fetch_all!(pool, "reading receivers", RECEIVERS_BY_IDS, ids)?;
    join(people, receivers(rows)?)
}

/// The same inside a transaction.
pub(crate) async fn by_ids_in(tx: &mut Tx, org: OrgId, ids: Vec<Uuid>) -> Result<Vec<Person>> {
    let ids = UuidList(ids);
    let people: Vec<PersonRow> = fetch_all!(tx, "reading people", BY_IDS, org.0, ids.clone())?;
    let rows: Vec<ReceiverRow> = fetch_all!(tx, "reading receivers", RECEIVERS_BY_IDS, ids)?;
    join(people, receivers(rows)?)
}

impl Store {
    /// Registers a person.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn create_person(&self, new: &NewPerson, by: &AuditActor, now: Timestamp) -> Result<Person> {
        let id = new_id(now);
        let (role, language) = (new.role.code(), new.language.to_string());
        let mut tx = self.db().begin().await?;
        execute!(&mut tx, "registering a person", INSERT, id, new.org.0, text(&new.name), role, language, at(now))?;
        for (position, receiver) in (0i64..).zip(&new.receivers) {
            let (channel, address) = (receiver.channel.code(), text(&receiver.address));
            execute!(&mut tx, "registering a receiver", INSERT_RECEIVER, id, position, channel, address)?;
        }
        let detail = json!({ "name": new.name, "role": role, "receivers": new.receivers.len() });
        let subject = id.to_string();
        let line = audit::Line { org: Some(new.org), by, action: "person.create", subject: &subject, detail: &detail };
        audit::write(&mut tx, line, now).await?;
        tx.commit().await?;
        let NewPerson { org, name, role, language, receivers } = new.clone();
        Ok(Person { id: PersonId(id), org, name, role, language, receivers })
    }

    /// One of the organisation's people.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn person(&self, org: OrgId, id: PersonId) -> Result<Option<Person>> {
        Ok(by_ids(&self.db().read, org, vec![id.0]).await?.pop())
    }

    /// The organisation's people, by name.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn people(&self, org: OrgId) -> Result<Vec<Person>> {
        let people: Vec<PersonRow> = fetch_all!(self.db().read, "listing people", LIST, org.0)?;
        let rows: Vec<ReceiverRow> = fetch_all!(self.db().read, "listing receivers", RECEIVERS_OF_ORG, org.0)?;
        join(people, receivers(rows)?)
    }

    /// Whose address this is, in whichever organisation: for a reply, which names nothing else. The person who was
    /// registered first, if several share it. Text messages and calls count as one way.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn person_by_address(&self, channel: MessageChannel, address: &str) -> Result<Option<Person>> {
        let other = match channel {
            MessageChannel::Sms => MessageChannel::Voice,
            MessageChannel::Voice => MessageChannel::Sms,
            MessageChannel::Email | MessageChannel::Webhook => channel,
        };
        let (channel, other) = (channel.code(), other.code());
        let row: Option<(Uuid, Uuid)> =
            fetch_optional!(self.db().read, "looking up an address", BY_ADDRESS, text(address), channel, other)?;
        match row {
            Some((id, org)) => self.person(OrgId(org), PersonId(id)).await,
            None => Ok(None),
        }
    }

    /// The organisation's person of this name; the one registered first, if there are several.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn person_by_name(&self, org: OrgId, name: &str) -> Result<Option<Person>> {
        let row: Option<(Uuid,)> = fetch_optional!(self.db().read, "looking up a person", BY_NAME, org.0, text(name))?;
        match row {
            Some((id,)) => self.person(org, PersonId(id)).await,
            None => Ok(None),
        }
    }

    /// Tells a person of tickets of a site or a device from now on. Doing it twice changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if the person, site or device is not the organisation's.
    pub async fn subscribe(&self, org: OrgId, person: PersonId, target: &Subscription) -> Result<()> {
        let what = "subscribing a person";
        let mut tx = self.db().begin().await?;
        let (found, name): (Option<(i32,)>, String) = match target {
            Subscription::Site(site) => {
                execute!(&mut tx, what, SUBSCRIBE_SITE, org.0, person.0, site.0)?;
                (fetch_optional!(&mut tx, what, SITE_TARGET, org.0, person.0, site.0)?, site.to_string())
            }
            Subscription::Device(device) => {
                execute!(&mut tx, what, SUBSCRIBE_DEVICE, org.0, person.0, device.as_str())?;
                (fetch_optional!(&mut tx, what, DEVICE_TARGET, org.0, person.0, device.as_str())?, device.to_string())
            }
        };
        if found.is_none() {
            return Err(StoreError::Missing { kind: "person, site or device", name: format!("{person}, {name}") });
        }
        tx.commit().await
    }
}
