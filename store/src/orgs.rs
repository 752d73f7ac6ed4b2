//! Organisations and their sites.

use model::{OrgId, Organisation, Site, SiteId, SiteUse, Timestamp, Traffic};
use serde_json::json;
use uuid::Uuid;

use crate::{
    AuditActor, Change, Result, Store, StoreError, audit,
    db::{at, execute, fetch_all, fetch_optional, new_id, statements, text, uint32},
};

statements! {
    INSERT_ORG = both("INSERT INTO organisations (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING");
    ORG = both("SELECT id, name FROM organisations WHERE id = $1");
    ORG_BY_NAME = both("SELECT id, name FROM organisations WHERE name = $1");
    ORGS = both("SELECT id, name FROM organisations ORDER BY name");
    INSERT_SITE = both("
        INSERT INTO sites (id, org, name, address, time_zone, created_at) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (org, name) DO NOTHING");
    SITE = both("SELECT id, org, name, address, time_zone FROM sites WHERE org = $1 AND id = $2");
    SITE_BY_NAME = both("SELECT id, org, name, address, time_zone FROM sites WHERE org = $1 AND name = $2");
    // Another organisation's site stays as it is.
    SET_USE = both("
        INSERT INTO site_use (site, population, traffic, vulnerable)
        SELECT id, $3, $4, $5 FROM sites WHERE org = $1 AND id = $2
        ON CONFLICT (site) DO UPDATE SET population = excluded.population, traffic = excluded.traffic,
            vulnerable = excluded.vulnerable");
    USE = both("
        SELECT u.population, u.traffic, u.vulnerable FROM site_use u JOIN sites s ON s.id = u.site
        WHERE s.org = $1 AND u.site = $2");
    SITES = both("SELECT id, org, name, address, time_zone FROM sites WHERE org = $1 ORDER BY name");
}

/// A site to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSite {
    /// The organisation it belongs to.
    pub org: OrgId,
    /// Its name; unique within the organisation.
    pub name: String,
    /// Its postal address.
    pub address: String,
    /// IANA time zone, such as `Asia/Shanghai`.
    pub time_zone: String,
}

pub(crate) type SiteRow = (Uuid, Uuid, String, String, String);

pub(crate) fn site((id, org, name, address, time_zone): SiteRow) -> Site {
    Site { id: SiteId(id), org: OrgId(org), name, address, time_zone }
}

fn org((id, name): (Uuid, String)) -> Organisation {
    Organisation { id: OrgId(id), name }
}

impl Store {
    /// Creates an organisation.
    ///
    /// # Errors
    /// [`StoreError::Taken`] if there is one of this name.
    pub async fn create_org(&self, name: &str, now: Timestamp) -> Result<Organisation> {
        let id = new_id(now);
        let mut tx = self.db().begin().await?;
        if execute!(tx, "creating an organisation", INSERT_ORG, id, text(name), at(now))? == 0 {
            return Err(StoreError::Taken { kind: "organisation", name: name.to_owned() });
        }
        let line = audit::Line {
            org: Some(OrgId(id)),
            by: &AuditActor::CommandLine,
            action: "organisation.create",
            subject: name,
            detail: &json!({}),
        };
        audit::write(&mut tx, line, now).await?;
        tx.commit().await?;
        self.announce(Change::Directory);
        Ok(Organisation { id: OrgId(id), name: name.to_owned() })
    }

    /// The organisation with this id.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn org(&self, id: OrgId) -> Result<Option<Organisation>> {
        let row: Option<_> = fetch_optional!(self.db().read, "reading an organisation", ORG, id.0)?;
        Ok(row.map(org))
    }

    /// The organisation with this name.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn org_by_name(&self, name: &str) -> Result<Option<Organisation>> {
        let row: Option<_> = fetch_optional!(self.db().read, "reading an organisation", ORG_BY_NAME, text(name))?;
        Ok(row.map(org))
    }

    /// Every organisation, by name.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn list_orgs(&self) -> Result<Vec<Organisation>> {
        let rows: Vec<_> = fetch_all!(self.db().read, "listing organisations", ORGS)?;
        Ok(rows.into_iter().map(org).collect())
    }

    /// Creates a site.
    ///
    /// # Errors
    /// [`StoreError::Taken`] if the organisation has one of this name.
    pub async fn create_site(&self, new: &NewSite, now: Timestamp) -> Result<Site> {
        let id = new_id(now);
        let (name, address, zone) = (text(&new.name), text(&new.address), text(&new.time_zone));
        let write = &self.db().write;
        if execute!(write, "creating a site", INSERT_SITE, id, new.org.0, name, address, zone, at(now))? == 0 {
            return Err(StoreError::Taken { kind: "site", name: new.name.clone() });
        }
        self.announce(Change::Directory);
        let NewSite { org, name, address, time_zone } = new.clone();
        Ok(Site { id: SiteId(id), org, name, address, time_zone })
    }

    /// One of the organisation's sites.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn site(&self, org: OrgId, id: SiteId) -> Result<Option<Site>> {
        let row: Option<SiteRow> = fetch_optional!(self.db().read, "reading a site", SITE, org.0, id.0)?;
        Ok(row.map(site))
    }

    /// The organisation's site with this name.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn site_by_name(&self, org: OrgId, name: &str) -> Result<Option<Site>> {
        let row: Option<SiteRow> = fetch_optional!(self.db().read, "reading a site", SITE_BY_NAME, org.0, text(name))?;
        Ok(row.map(site))
    }

    /// The organisation's sites, by name.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn sites(&self, org: OrgId) -> Result<Vec<Site>> {
        let rows: Vec<SiteRow> = fetch_all!(self.db().read, "listing sites", SITES, org.0)?;
        Ok(rows.into_iter().map(site).collect())
    }

    /// Says who uses the devices of one of the organisation's sites. False if it has no such site.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn set_site_use(&self, org: OrgId, site: SiteId, used: &SiteUse) -> Result<bool> {
        let (population, traffic, vulnerable) = (count(used.population), used.traffic.code(), count(used.vulnerable));
        let write = &self.db().write;
        let written =
            execute!(write, "saying who uses a site", SET_USE, org.0, site.0, population, traffic, vulnerable)?;
        Ok(written == 1)
    }

    /// Who uses the devices of one of the organisation's sites, if somebody said so.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub async fn site_use(&self, org: OrgId, site: SiteId) -> Result<Option<SiteUse>> {
        let row: Option<(i32, String, i32)> =
            fetch_optional!(self.db().read, "reading who uses a site", USE, org.0, site.0)?;
        let Some((population, traffic, vulnerable)) = row else { return Ok(None) };
        let found = Traffic::ALL.into_iter().find(|known| known.code() == traffic);
        let traffic = found.ok_or_else(|| StoreError::corrupt("traffic", format!("\"{traffic}\" is none")))?;
        let (population, vulnerable) = (uint32(population.into()), uint32(vulnerable.into()));
        Ok(Some(SiteUse { population, traffic, vulnerable }))
    }
}

/// A number of people for a column.
fn count(people: u32) -> i32 {
    i32::try_from(people).unwrap_or(i32::MAX)
}
