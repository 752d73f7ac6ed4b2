//! Who is on duty and where the sites are, as last known: kept in memory for when the database is away.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use desk::{Contact, Roster};
use model::{Clock, RescueLevel, Site, SiteId};
use store::{Change, DutyContact, Store};
use tokio::sync::watch;

use crate::passes::Reconciler;

/// Who can be called for each site.
#[derive(Debug, Clone, Default)]
pub struct DutyBook {
    contacts: HashMap<SiteId, Vec<(RescueLevel, Vec<Contact>)>>,
    sites: HashMap<SiteId, Site>,
}

impl DutyBook {
    /// A book of these contacts, in the order to call them.
    #[must_use]
    pub fn new(contacts: Vec<DutyContact>, sites: Vec<Site>) -> Self {
        let mut by_site: HashMap<SiteId, Vec<(RescueLevel, Vec<Contact>)>> = HashMap::new();
        for DutyContact { site, level, person, name, language, receivers, .. } in contacts {
            let levels = by_site.entry(site).or_default();
            let contact = Contact { person, name, language, receivers };
            match levels.iter_mut().find(|(known, _)| *known == level) {
                Some((_, people)) => people.push(contact),
                None => levels.push((level, vec![contact])),
            }
        }
        Self { contacts: by_site, sites: sites.into_iter().map(|site| (site.id, site)).collect() }
    }

    /// Who is on call at a site. Subscribers are told when the database is back.
    #[must_use]
    pub fn roster(&self, site: SiteId) -> Roster {
        let on_call = self.contacts.get(&site).cloned().unwrap_or_default();
        let known = on_call.iter().flat_map(|(_, people)| people).cloned().collect();
        Roster { on_call, known, ..Roster::default() }
    }

    /// The site.
    #[must_use]
    pub fn site(&self, site: SiteId) -> Option<&Site> {
        self.sites.get(&site)
    }
}

/// Keeps the book up to date while all is well.
pub struct RefreshDuty {
    /// Where rotas and people are.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who needs the book.
    pub book: watch::Sender<Arc<DutyBook>>,
}

impl Reconciler for RefreshDuty {
    const NAME: &'static str = "duty";
    const INTERVAL: Duration = Duration::from_secs(30);

    fn wakes(change: &Change) -> bool {
        matches!(change, Change::Directory)
    }

    /// Reads who is on duty now; if the store fails the old book stays.
    async fn pass(&self) -> anyhow::Result<()> {
        let contacts = self.store.duty_contacts(self.clock.now()).await.context("reading who is on duty")?;
        let mut sites = Vec::new();
        for org in self.store.list_orgs().await.context("listing organisations")? {
            sites.extend(self.store.sites(org.id).await.context("listing sites")?);
        }
        self.book.send_replace(Arc::new(DutyBook::new(contacts, sites)));
        Ok(())
    }
}
