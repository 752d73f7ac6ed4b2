//! What may hold pages back, looked up once within a transaction: silences, open alerts that inhibit others, and how
//! often conditions came lately.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use desk::{
    Policies, Policy, Silence, Surroundings,
    noise::{Flap, Noise, Source},
};
use model::{Alert, DeviceId, OrgId, RuleId, TicketId, Timestamp};
use uuid::Uuid;

use crate::{
    Result,
    bulk::{self, Column},
    db::{DbTime, TextList, Tx, at, fetch_all, from_document, name, statements},
    silences,
};

statements! {
    SOURCES = each(
        "SELECT body, ticket FROM alerts WHERE org = $1 AND cleared_at IS NULL AND rule = ANY($2) ORDER BY id LIMIT $3",
        "SELECT body, ticket FROM alerts WHERE org = $1 AND cleared_at IS NULL
            AND rule IN (SELECT value FROM json_each($2)) ORDER BY id LIMIT $3");
    FLAPS = each(
        "SELECT device, rule, score, at, flapping FROM flaps WHERE device = ANY($1)",
        "SELECT device, rule, score, at, flapping FROM flaps WHERE device IN (SELECT value FROM json_each($1))");
    KEEP_FLAPS = each("
        INSERT INTO flaps AS f (device, rule, score, at, flapping)
        SELECT * FROM unnest($1::text[], $2::text[], $3::double precision[], $4::timestamptz[], $5::boolean[])
        ON CONFLICT (device, rule) DO UPDATE SET score = excluded.score, at = excluded.at, flapping = excluded.flapping",
        "
        INSERT INTO flaps (device, rule, score, at, flapping)
        SELECT value->>0, value->>1, value->>2, value->>3, value->>4 FROM json_each($1) WHERE TRUE
        ON CONFLICT (device, rule) DO UPDATE SET score = excluded.score, at = excluded.at, flapping = excluded.flapping");
}

/// The most sources looked at: beyond so many open causes one more explains nothing new.
const MAX_SOURCES: i64 = 5000;

/// The settings that hold while the hub runs.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) noise: Arc<Noise>,
    pub(crate) rescue: Arc<Policy>,
}

impl Settings {
    pub(crate) fn of(policies: &Policies) -> Self {
        Self { noise: Arc::new(policies.noise.clone()), rescue: Arc::new(policies.entrapment.clone()) }
    }
}

/// What was looked up so far in one transaction.
pub(crate) struct Around {
    settings: Settings,
    silences: HashMap<OrgId, Arc<Vec<Silence>>>,
    sources: HashMap<OrgId, Arc<Vec<Source>>>,
    flaps: Arc<HashMap<(DeviceId, RuleId), Flap>>,
    flaps_of: HashSet<DeviceId>,
    changed: HashSet<(DeviceId, RuleId)>,
    /// Alerts that inhibited others and have cleared here.
    ended: HashSet<Uuid>,
}

impl Around {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            silences: HashMap::new(),
            sources: HashMap::new(),
            flaps: Arc::default(),
            flaps_of: HashSet::new(),
            changed: HashSet::new(),
            ended: HashSet::new(),
        }
    }

    pub(crate) fn noise(&self) -> &Noise {
        &self.settings.noise
    }

    /// The settings alone: all that counts for life safety, and for what people do.
    pub(crate) fn settings(&self) -> Surroundings {
        Surroundings {
            noise: self.settings.noise.clone(),
            rescue: self.settings.rescue.clone(),
            flaps: self.flaps.clone(),
            ..Surroundings::default()
        }
    }

    /// Everything that may hold the organisation's pages back at `now`.
    pub(crate) async fn of(&mut self, tx: &mut Tx, org: OrgId, now: Timestamp) -> Result<Surroundings> {
        self.load_sources(tx, org).await?;
        let silences = match self.silences.entry(org) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(missing) => missing.insert(Arc::new(silences::standing(tx, org, now).await?)).clone(),
        };
        Ok(Surroundings { silences, sources: self.sources.get(&org).cloned().unwrap_or_default(), ..self.settings() })
    }

    async fn load_sources(&mut self, tx: &mut Tx, org: OrgId) -> Result<()> {
        if self.sources.contains_key(&org) {
            return Ok(());
        }
        let rules = TextList(self.noise().sources().into_iter().map(ToString::to_string).collect());
        let rows: Vec<(String, Uuid)> =
            fetch_all!(tx, "looking for what inhibits", SOURCES, org.0, rules, MAX_SOURCES)?;
        let source = |(body, ticket): (String, Uuid)| {
            let alert: Alert = from_document("alert", &body)?;
            Ok(Source::new(&alert, TicketId(ticket)))
        };
        let mut sources = rows.into_iter().map(source).collect::<Result<Vec<_>>>()?;
        // What cleared here is not written yet.
        sources.retain(|source| !self.ended.contains(&source.alert.0));
        self.sources.insert(org, Arc::new(sources));
        Ok(())
    }

    /// Looks up how often conditions came lately on the devices of these alerts.
    pub(crate) async fn load_flaps(&mut self, tx: &mut Tx, alerts: impl Iterator<Item = &Alert>) -> Result<()> {
        let devices: HashSet<&DeviceId> =
            alerts.filter(|alert| !alert.life_safety).map(|alert| &alert.device).collect();
        let missing: Vec<DeviceId> = devices.into_iter().filter(|id| !self.flaps_of.contains(*id)).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let list = TextList(missing.iter().map(ToString::to_string).collect());
        let rows: Vec<(String, String, f64, DbTime, bool)> =
            fetch_all!(tx, "reading how often conditions came", FLAPS, list)?;
        let flaps = Arc::make_mut(&mut self.flaps);
        for (device, rule, score, at, flapping) in rows {
            let key = (name("device id", &device)?, name("rule id", &rule)?);
            flaps.insert(key, Flap { score, at: Some(at.into()), flapping });
        }
        self.flaps_of.extend(missing);
        Ok(())
    }

    /// Notes that an alert was raised. Life safety is never counted.
    pub(crate) fn count(&mut self, alert: &Alert) {
        if alert.life_safety {
            return;
        }
        let key = (alert.device.clone(), alert.rule.clone());
        let flap = Arc::make_mut(&mut self.flaps).entry(key.clone()).or_default();
        *flap = flap.raised(&self.settings.noise.flapping, alert.raised_at);
        self.changed.insert(key);
    }

    /// Notes that an alert is open: it may inhibit others from now on.
    pub(crate) async fn raised(&mut self, tx: &mut Tx, alert: &Alert, ticket: TicketId) -> Result<()> {
        if self.noise().sources().contains(&&alert.rule) {
            self.load_sources(tx, alert.org).await?;
            if let Some(sources) = self.sources.get_mut(&alert.org) {
                Arc::make_mut(sources).push(Source::new(alert, ticket));
            }
        }
        Ok(())
    }

    /// Notes that an alert has cleared.
    pub(crate) fn cleared(&mut self, alert: &Alert) {
        if self.noise().sources().contains(&&alert.rule) {
            self.ended.insert(alert.id.0);
            if let Some(sources) = self.sources.get_mut(&alert.org) {
                Arc::make_mut(sources).retain(|source| source.alert != alert.id);
            }
        }
    }

    /// What inhibited others and has cleared in this transaction.
    pub(crate) fn ended(&self) -> Vec<Uuid> {
        self.ended.iter().copied().collect()
    }

    /// Writes how often conditions came.
    pub(crate) async fn write(&mut self, tx: &mut Tx) -> Result<()> {
        let changed = std::mem::take(&mut self.changed);
        let rows: Vec<_> =
            changed.into_iter().filter_map(|key| self.flaps.get(&key).copied().map(|flap| (key, flap))).collect();
        let columns = [
            Column::Texts(rows.iter().map(|((device, _), _)| Some(device.to_string())).collect()),
            Column::Texts(rows.iter().map(|((_, rule), _)| Some(rule.to_string())).collect()),
            Column::Floats(rows.iter().map(|(_, flap)| flap.score).collect()),
            Column::Times(rows.iter().map(|(_, flap)| flap.at.map(at)).collect()),
            Column::Bools(rows.iter().map(|(_, flap)| flap.flapping).collect()),
        ];
        bulk::write(tx, "keeping how often conditions came", KEEP_FLAPS, rows.len(), &columns).await.map(drop)
    }
}
