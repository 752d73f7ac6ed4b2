//! Tells what happens in the demo, and plays the people who would act: the person in the lift and the technician.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use desk::{Status, Ticket};
use model::{Clock, MilestoneKind, OrgId, TicketId, TicketKind, Timestamp};
use store::{ReplyCode, Store, TicketFilter, TicketState, TicketView};
use tokio_util::sync::CancellationToken;

use super::{HUB_NUMBER, phones::PhoneNetwork};

/// The telephone of the person in the lift.
pub const TRAPPED: &str = "+15550100200";
/// The technicians' telephones.
const TECHNICIANS: [&str; 2] = ["+15550100101", "+15550100102"];
/// How long the story may take with `--once`.
const LIMIT: Duration = Duration::from_secs(180);
/// How often the tickets are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// What the technician does if nobody else does, and when after the page came.
const ANSWERS: [(Duration, char); 3] =
    [(Duration::from_secs(14), 'a'), (Duration::from_secs(22), 'g'), (Duration::from_secs(34), 'h')];
/// The site of the power cut and how many lifts it has.
const DARK_SITE: &str = "Harbour Tower";
const DARK_LIFTS: usize = 40;

/// The demo's narrator.
pub struct Story {
    store: Store,
    org: OrgId,
    phones: PhoneNetwork,
    clock: Arc<dyn Clock>,
    base: String,
    http: reqwest::Client,
    began: Timestamp,
}

/// How far the story has come.
#[derive(Default)]
struct Progress {
    told: HashSet<(TicketId, MilestoneKind)>,
    reasons: HashSet<TicketId>,
    texted: bool,
    care_link: Option<String>,
    care_page_seen: bool,
    page: Option<(Timestamp, String, u32)>,
    answered: usize,
}

impl Story {
    /// A narrator of this hub's tickets.
    #[must_use]
    pub fn new(store: Store, org: OrgId, phones: PhoneNetwork, clock: Arc<dyn Clock>, base: String) -> Self {
        let began = clock.now();
        Self { store, org, phones, clock, base, http: reqwest::Client::new(), began }
    }

    /// Tells the story until the shutdown, or with `once` until it is complete or takes too long; true if complete.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn tell(self, once: bool, shutdown: CancellationToken) -> anyhow::Result<bool> {
        let mut progress = Progress::default();
        loop {
            let tickets = self.tickets().await?;
            for view in tickets.iter().rev() {
                self.narrate(view, &mut progress);
            }
            self.play(&tickets, &mut progress).await?;
            let missing = missing(&tickets, &progress);
            if once && missing.is_empty() {
                self.say("All three stories are complete.");
                return Ok(true);
            }
            if once && self.clock.now().since(self.began) > LIMIT {
                for missing in missing {
                    self.say(&format!("MISSING: {missing}"));
                }
                return Ok(false);
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(missing.is_empty()),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn tickets(&self) -> anyhow::Result<Vec<TicketView>> {
        let filter = TicketFilter { state: TicketState::All, limit: 100, ..TicketFilter::default() };
        Ok(self.store.tickets(self.org, &filter).await.context("reading the tickets")?.tickets)
    }

    fn say(&self, line: &str) {
        println!("{:6.1} s  {line}", self.clock.now().seconds_after(self.began));
    }

    /// Prints milestones that were earned since the last look.
    fn narrate(&self, view: &TicketView, progress: &mut Progress) {
        let ticket = &view.ticket;
        let site = view.site.as_ref().map_or("", |site| site.name.as_str());
        let place = match &view.device {
            Some(device) => format!("{}, {site}", device.name),
            None => format!("{site} ({} lifts)", devices(ticket)),
        };
        for milestone in &ticket.milestones {
            if progress.told.insert((ticket.id, milestone.kind)) {
                self.say(&format!(
                    "#{} {} · {place} · {} · {}",
                    ticket.number, ticket.kind, milestone.kind, milestone.proof.en
                ));
            }
        }
        if ticket.kind == TicketKind::Forecast
            && progress.reasons.insert(ticket.id)
            && let Some(alert) = ticket.alerts.first()
        {
            self.say(&format!("#{} because: {}", ticket.number, alert.reason.en));
        }
    }

    /// Does what the person in the lift and the technician do.
    async fn play(&self, tickets: &[TicketView], progress: &mut Progress) -> anyhow::Result<()> {
        let now = self.clock.now();
        let Some(view) = story_entrapment(tickets) else { return Ok(()) };
        if !progress.texted
            && let Some(plate) = view.device.as_ref().and_then(|device| device.plate.as_deref())
        {
            self.say(&format!("The person in the lift texts its plate, {plate}, to {HUB_NUMBER}."));
            self.phones.send_sms(TRAPPED, HUB_NUMBER, plate).await.context("texting the plate")?;
            progress.texted = true;
        }
        if progress.care_link.is_none()
            && let Some(link) = self.phones.inbox(TRAPPED).iter().find_map(|sms| link(&sms.body))
        {
            self.say(&format!("They receive an SMS with their care page: {link}"));
            progress.care_link = Some(link);
        }
        if !progress.care_page_seen
            && let Some(link) = &progress.care_link
            && link.starts_with(&self.base)
            && let Ok(answer) = self.http.get(link).send().await
        {
            progress.care_page_seen = answer.status().is_success();
        }
        self.answer_page(view, progress, now).await
    }

    /// The technician's telephone that has the page of a ticket, and the number by which the page names it.
    async fn find_page(&self, ticket: TicketId, now: Timestamp) -> anyhow::Result<Option<(Timestamp, String, u32)>> {
        for number in TECHNICIANS {
            for sms in self.phones.inbox(number) {
                let Some(code) = reply_code(&sms.body) else { continue };
                let named = self.store.ticket_by_reply_code(number, ReplyCode::Code(code)).await?;
                if named.is_some_and(|named| named.ticket == ticket) {
                    return Ok(Some((now, number.to_owned(), code)));
                }
            }
        }
        Ok(None)
    }

    async fn answer_page(&self, view: &TicketView, progress: &mut Progress, now: Timestamp) -> anyhow::Result<()> {
        if progress.page.is_none() {
            progress.page = self.find_page(view.ticket.id, now).await?;
            if let Some((_, number, code)) = &progress.page {
                self.say(&format!("The technician's phone {number} has the page; {code}a accepts it."));
            }
        }
        let Some((paged, number, code)) = &progress.page else { return Ok(()) };
        let Some((after, letter)) = ANSWERS.get(progress.answered) else { return Ok(()) };
        if now.since(*paged) < *after {
            return Ok(());
        }
        progress.answered += 1;
        let done = |kind| view.ticket.milestone(kind).is_some();
        let needless = view.ticket.status == Status::Closed
            || match letter {
                'a' => done(MilestoneKind::Acknowledged),
                'g' => done(MilestoneKind::EnRoute) || done(MilestoneKind::Arrived),
                _ => done(MilestoneKind::Arrived),
            };
        if !needless {
            let body = format!("{code}{letter}");
            self.say(&format!("The technician answers {body}."));
            self.phones.send_sms(number, HUB_NUMBER, &body).await.context("answering the page")?;
        }
        Ok(())
    }
}

/// The entrapment that the story is about: the first one away from the power cut.
fn story_entrapment(tickets: &[TicketView]) -> Option<&TicketView> {
    tickets.iter().rev().find(|view| {
        view.ticket.kind == TicketKind::Entrapment && view.site.as_ref().is_none_or(|site| site.name != DARK_SITE)
    })
}

fn devices(ticket: &Ticket) -> usize {
    ticket.alerts.iter().map(|alert| &alert.device).collect::<HashSet<_>>().len()
}

/// What the three stories still lack.
fn missing(tickets: &[TicketView], progress: &Progress) -> Vec<String> {
    let mut missing = Vec::new();
    let forecast = tickets.iter().any(|view| {
        view.ticket.kind == TicketKind::Forecast
            && view.ticket.alerts.first().is_some_and(|alert| !alert.reason.en.is_empty())
    });
    if !forecast {
        missing.push("a forecast ticket with its reason".to_owned());
    }
    match story_entrapment(tickets) {
        None => missing.push("an entrapment ticket".to_owned()),
        Some(view) => {
            use MilestoneKind::{Acknowledged, Closed, Contacted, Detected, Released, Restored};
            for kind in [Detected, Contacted, Acknowledged, Released, Restored, Closed] {
                if view.ticket.milestone(kind).is_none() {
                    missing.push(format!("the entrapment's milestone {kind}"));
                }
            }
        }
    }
    if progress.care_link.is_none() {
        missing.push("the trapped person's SMS".to_owned());
    } else if !progress.care_page_seen {
        missing.push("the care page".to_owned());
    }
    // One cause, one ticket: whatever else is open at the dark site is a person shut in.
    let mut dark: HashMap<TicketKind, Vec<&TicketView>> = HashMap::new();
    for view in tickets.iter().filter(|view| view.site.as_ref().is_some_and(|site| site.name == DARK_SITE)) {
        dark.entry(view.ticket.kind).or_default().push(view);
    }
    match dark.get(&TicketKind::Outage).map(Vec::as_slice) {
        Some([outage]) => {
            let lifts = devices(&outage.ticket);
            if lifts < DARK_LIFTS {
                missing.push(format!("the power cut's ticket holds {lifts} of {DARK_LIFTS} lifts"));
            }
            if outage.ticket.milestone(MilestoneKind::Restored).is_none() {
                missing.push("the power cut's milestone restored".to_owned());
            }
        }
        Some(several) => missing.push(format!("the power cut became {} tickets instead of one", several.len())),
        None => missing.push("the power cut's ticket".to_owned()),
    }
    if let Some(breakdowns) = dark.get(&TicketKind::Breakdown) {
        missing
            .push(format!("{} breakdown tickets at the dark site are the power cut counted again", breakdowns.len()));
    }
    missing
}

/// The first link in a text.
fn link(text: &str) -> Option<String> {
    let start = text.find("http://").or_else(|| text.find("https://"))?;
    let rest = &text[start..];
    let end = rest.find(|c: char| c.is_whitespace() || !c.is_ascii()).unwrap_or(rest.len());
    Some(rest[..end].trim_end_matches(['.', ',']).to_owned())
}

/// The number by which a page names its ticket: the digits before the letter a.
fn reply_code(text: &str) -> Option<u32> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .find_map(|word| word.strip_suffix('a').and_then(|digits| digits.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_a_person_would() {
        let page = "URGENT Lift 4, plate 310104. Reply 2a to accept, 2e to pass on. http://127.0.0.1:8080/tickets/x";
        assert_eq!(reply_code(page), Some(2));
        assert_eq!(link(page).as_deref(), Some("http://127.0.0.1:8080/tickets/x"));
        assert_eq!(link("看这里 http://a/c/b。谢谢").as_deref(), Some("http://a/c/b"));
        assert_eq!(reply_code("no code here"), None);
    }
}
