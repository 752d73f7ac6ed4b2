//! Rotas and who is on duty.

use std::collections::HashMap;

use desk::Rota;
use model::{Language, OrgId, PersonId, Receiver, RescueLevel, RotaId, SiteId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::{
    AuditActor, Result, Store, StoreError, audit,
    db::{Tx, at, execute, fetch_all, new_id, statements, text, uint32},
    people,
};

statements! {
    INSERT = both("
        INSERT INTO rotas (id, org, site, level, time_zone, first_handover, shift_days, together, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    // Inserts nothing for a person of another organisation.
    INSERT_MEMBER = both("
        INSERT INTO rota_members (rota, position, person) SELECT $1, $2, p.id FROM people p WHERE p.id = $3 AND p.org = $4");
    SITE_EXISTS = both("SELECT 1 FROM sites WHERE org = $1 AND id = $2");
    LIST = both("
        SELECT id, org, site, level, time_zone, first_handover, shift_days, together FROM rotas WHERE org = $1
        ORDER BY level, id");
    MEMBERS = both("
        SELECT m.rota, m.person FROM rota_members m JOIN rotas r ON r.id = m.rota WHERE r.org = $1
        ORDER BY m.rota, m.position");
}

/// A rota to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRota {
    /// The organisation it belongs to.
    pub org: OrgId,
    /// The site it covers; `None`: every site without a rota of its own for this level.
    pub site: Option<SiteId>,
    /// The level it staffs.
    pub level: RescueLevel,
    /// IANA time zone of the handovers.
    pub time_zone: String,
    /// A past handover, as local date and time `2026-01-05T08:00`.
    pub first_handover: String,
    /// The length of a shift in days.
    pub shift_days: u32,
    /// The people, in the order of their shifts.
    pub members: Vec<PersonId>,
    /// How many are called together.
    pub together: u32,
}

/// Somebody to be called for a site when the database is away. The hub keeps these on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DutyContact {
    /// The organisation.
    pub org: OrgId,
    /// The site.
    pub site: SiteId,
    /// For which level.
    pub level: RescueLevel,
    /// Who.
    pub person: PersonId,
    /// Their name.
    pub name: String,
    /// Their language.
    pub language: Language,
    /// Ways to reach them, in the order to try.
    pub receivers: Vec<Receiver>,
}

type RotaRow = (Uuid, Uuid, Option<Uuid>, i64, String, String, i64, i64);

fn join(rows: Vec<RotaRow>, members: Vec<(Uuid, Uuid)>) -> Result<Vec<Rota>> {
    let mut by_rota: HashMap<Uuid, Vec<PersonId>> = HashMap::new();
    for (rota, person) in members {
        by_rota.entry(rota).or_default().push(PersonId(person));
    }
    rows.into_iter()
        .map(|(id, org, site, level, time_zone, first_handover, shift_days, together)| {
            let level = u8::try_from(level)
                .ok()
                .and_then(RescueLevel::from_number)
                .ok_or_else(|| StoreError::corrupt("rota", format!("level {level}")))?;
            Ok(Rota {
                id: RotaId(id),
                org: OrgId(org),
                site: site.map(SiteId),
                level,
                time_zone,
                first_handover,
                shift_days: uint32(shift_days),
                members: by_rota.remove(&id).unwrap_or_default(),
                together: uint32(together),
            })
        })
        .collect()
}

pub(crate) async fn of_org(tx: &mut Tx, org: OrgId) -> Result<Vec<Rota>> {
    let rows: Vec<RotaRow> = fetch_all!(tx, "reading rotas", LIST, org.0)?;
    let members: Vec<(Uuid, Uuid)> = fetch_all!(tx, "reading rotas", MEMBERS, org.0)?;
    join(rows, members)
}

/// The ids of who is on call for a site, by level: a level staffed by rotas of the site itself is theirs alone,
/// otherwise it falls to the organisation's rotas. A rota that cannot be read staffs nobody and is logged: it must not
/// keep the others from being called.
pub(crate) fn on_call(rotas: &[Rota], site: SiteId, now: Timestamp) -> Vec<(RescueLevel, Vec<PersonId>)> {
    RescueLevel::ALL
        .into_iter()
        .map(|level| {
            let of =
                |wanted: Option<SiteId>| rotas.iter().filter(move |rota| rota.level == level && rota.site == wanted);
            let own = of(Some(site)).next().is_some();
            let mut people = Vec::new();
            for rota in of(if own { Some(site) } else { None }) {
                match rota.on_call(now) {
                    Ok(members) => people.extend(members),
                    Err(error) => {
                        metrics::counter!("liftline_rotas_unreadable_total").increment(1);
                        tracing::error!(rota.id = %rota.id, %error, "a rota cannot be read; nobody is called from it");
                    }
                }
            }
            let mut seen = std::collections::HashSet::new();
            people.retain(|person| seen.insert(*person));
            (level, people)
        })
        .collect()
}

impl Store {
    /// Creates a rota.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if the site or a member is not the organisation's.
    pub async fn create_rota(&self, new: &NewRota, by: &AuditActor, now: Timestamp) -> Result<Rota> {
        let id = new_id(now);
        let (org, site, level) = (new.org.0, new.site.map(|site| site.0), i64::from(new.level.number()));
        let (zone, first) = (text(&new.time_zone), text(&new.first_handover));
        let (days, together) = (i64::from(new.shift_days), i64::from(new.together));
        let mut tx = self.db().begin().await?;
        if let Some(site) = new.site {
            let found: Option<(i32,)> =
                crate::db::fetch_optional!(&mut tx, "looking up a site", SITE_EXISTS, org, site.0)?;
            if found.is_none() {
                return Err(StoreError::Missing { kind: "site", name: site.to_string() });
            }
        }
        execute!(&mut tx, "creating a rota", INSERT, id, org, site, level, zone, first, days, together, at(now))?;
        for (position, member) in (0i64..).zip(&new.members) {
            if execute!(&mut tx, "staffing a rota", INSERT_MEMBER, id, position, member.0, org)? == 0 {
                return Err(StoreError::Missing { kind: "person", name: member.to_string() });
            }
        }
        let detail = json!({ "site": new.site, "level": level, "members": new.members });
        let subject = id.to_string();
        let line = audit::Line { org: Some(new.org), by, action: "rota.create", subject: &subject, detail: &detail };
        audit::write(&mut tx, line, now).await?;
        tx.commit().await?;
        let NewRota { org, site, level, time_zone, first_handover, shift_days, members, together } = new.clone();
        Ok(Rota { id: RotaId(id), org, site, level, time_zone, first_handover, shift_days, members, together })
    }

    /// The organisation's rotas, by level.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn rotas(&self, org: OrgId) -> Result<Vec<Rota>> {
        let rows: Vec<RotaRow> = fetch_all!(self.db().read, "listing rotas", LIST, org.0)?;
        let members: Vec<(Uuid, Uuid)> = fetch_all!(self.db().read, "listing rotas", MEMBERS, org.0)?;
        join(rows, members)
    }

    /// Who is on call now for every site of every organisation: what the emergency path needs when the database is
    /// away.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn duty_contacts(&self, now: Timestamp) -> Result<Vec<DutyContact>> {
        let mut contacts = Vec::new();
        for org in self.list_orgs().await? {
            let rotas = self.rotas(org.id).await?;
            let ids = rotas.iter().flat_map(|rota| rota.members.iter().map(|member| member.0)).collect();
            let people: HashMap<PersonId, _> = people::by_ids(&self.db().read, org.id, ids)
                .await?
                .into_iter()
                .map(|person| (person.id, person))
                .collect();
            for site in self.sites(org.id).await? {
                for (level, on_duty) in on_call(&rotas, site.id, now) {
                    contacts.extend(on_duty.iter().filter_map(|id| people.get(id)).map(|person| DutyContact {
                        org: org.id,
                        site: site.id,
                        level,
                        person: person.id,
                        name: person.name.clone(),
                        language: person.language,
                        receivers: person.receivers.clone(),
                    }));
                }
            }
        }
        Ok(contacts)
    }
}
