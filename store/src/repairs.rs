//! What was learnt of tickets when they were closed: what had failed or that nothing had, and how long it was out.

use std::time::Duration;

use desk::{Ticket, parts::Usage};
use model::{CauseId, MilestoneKind, OrgId, ProfileId, RuleId, TicketKind, Timestamp};

use crate::{
    Result, Store,
    db::{DbTime, Tx, at, execute, fetch_all, name, statements, text, uint32},
};

/// The most pairs of a cause and a part that are counted, those used most often: people write what they like.
const MAX_USED: i64 = 2_000;

statements! {
    INSERT = both("
        INSERT INTO repairs (ticket, org, profile, rule, kind, cause, opened_at, restored_at, closed_at, parts_told, said_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (ticket) DO UPDATE SET cause = excluded.cause, parts_told = excluded.parts_told,
            said_at = CASE WHEN repairs.cause = excluded.cause THEN repairs.said_at ELSE excluded.said_at END");
    FORGET_PARTS = both("DELETE FROM repair_parts WHERE ticket = $1");
    PART = both("INSERT INTO repair_parts (ticket, part) VALUES ($1, $2) ON CONFLICT DO NOTHING");
    TOLD = both("
        SELECT cause, count(*) FROM repairs
        WHERE org = $1 AND profile = $2 AND cause IS NOT NULL AND parts_told GROUP BY cause ORDER BY cause");
    USED = both("
        SELECT r.cause, p.part, count(*) FROM repairs r JOIN repair_parts p ON p.ticket = r.ticket
        WHERE r.org = $1 AND r.profile = $2 AND r.cause IS NOT NULL AND r.parts_told
        GROUP BY r.cause, p.part ORDER BY 3 DESC, r.cause, p.part LIMIT $3");
    CAUSES = both("
        SELECT cause, count(*) FROM repairs
        WHERE org = $1 AND profile = $2 AND rule = $3 AND cause IS NOT NULL GROUP BY cause ORDER BY cause");
    OUT = both("
        SELECT opened_at, restored_at FROM repairs
        WHERE org = $1 AND profile = $2 AND kind = $3 AND restored_at IS NOT NULL AND (cause IS NULL OR cause <> $5)
        ORDER BY closed_at DESC LIMIT $4");
}

/// Notes what was learnt of a closed ticket by now. Its cause may be said, and corrected, later.
pub(crate) async fn note(tx: &mut Tx, ticket: &Ticket, now: Timestamp) -> Result<()> {
    // Alerts open tickets: one without any teaches nothing.
    let (Some(rule), Some(closed)) = (ticket.rule(), ticket.closed_at) else { return Ok(()) };
    let restored = ticket.milestone(MilestoneKind::Restored).map(|milestone| at(milestone.at));
    execute!(
        tx,
        "noting what was learnt of a ticket",
        INSERT,
        ticket.id.0,
        ticket.org.0,
        ticket.profile.as_str(),
        rule.as_str(),
        ticket.kind.code(),
        ticket.cause.as_ref().map(|cause| cause.id.as_str()),
        at(ticket.opened_at),
        restored,
        at(closed),
        ticket.parts.is_some(),
        ticket.cause.as_ref().map(|_| at(now)),
    )?;
    execute!(tx, "noting which parts were used", FORGET_PARTS, ticket.id.0)?;
    for part in ticket.parts.iter().flatten() {
        execute!(tx, "noting which parts were used", PART, ticket.id.0, text(&part.en))?;
    }
    Ok(())
}

impl Store {
    /// How often each cause was confirmed when the organisation's tickets of this profile were closed that this rule had
    /// opened; also how often nothing was found ([`CauseId::is_nothing_found`]).
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn confirmed_causes(
        &self,
        org: OrgId,
        profile: &ProfileId,
        rule: &RuleId,
    ) -> Result<Vec<(CauseId, u32)>> {
        let (profile, rule) = (profile.as_str(), rule.as_str());
        let rows: Vec<(String, i64)> =
            fetch_all!(self.db().read, "counting confirmed causes", CAUSES, org.0, profile, rule)?;
        rows.into_iter().map(|(cause, count)| Ok((name("cause", &cause)?, uint32(count)))).collect()
    }

    /// Which parts the organisation's closed repairs of this profile took, by the cause that was confirmed.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn parts_used(&self, org: OrgId, profile: &ProfileId) -> Result<Usage> {
        let (read, what, profile) = (&self.db().read, "counting the parts that were used", profile.as_str());
        let told: Vec<(String, i64)> = fetch_all!(read, what, TOLD, org.0, profile)?;
        let used: Vec<(String, String, i64)> = fetch_all!(read, what, USED, org.0, profile, MAX_USED)?;
        let told = told.into_iter().map(|(cause, count)| Ok((name("cause", &cause)?, uint32(count))));
        let used = used.into_iter().map(|(cause, part, count)| Ok((name("cause", &cause)?, part, uint32(count))));
        Ok(Usage { told: told.collect::<Result<_>>()?, used: used.collect::<Result<_>>()? })
    }

    /// How long the organisation's devices of this profile were out in the last closed tickets of this kind, from when
    /// they were opened until they were restored; the newest first. False alarms are left out: nothing was out.
    ///
    /// # Errors
    /// [`crate::StoreError`] if the database fails.
    pub async fn times_out(
        &self,
        org: OrgId,
        profile: &ProfileId,
        kind: TicketKind,
        limit: u32,
    ) -> Result<Vec<Duration>> {
        let (profile, kind, limit) = (profile.as_str(), kind.code(), i64::from(limit));
        let (read, what) = (&self.db().read, "reading how long devices were out");
        let rows: Vec<(DbTime, DbTime)> =
            fetch_all!(read, what, OUT, org.0, profile, kind, limit, CauseId::NOTHING_FOUND)?;
        let out = |(opened, restored): (DbTime, DbTime)| Timestamp::from(restored).since(Timestamp::from(opened));
        Ok(rows.into_iter().map(out).collect())
    }
}
