//! The lines: carries messages and calls to their end, reports to the hub, and does what people do on telephones.

use std::time::Duration;

use notify::{config::is_e164, twilio::signature};
use tokio::sync::mpsc;

use super::{
    Call, CallState, Direction, Line, PhoneError, PhoneNetwork, Reports, Sms, SmsState,
    state::{Job, Start},
    twiml::{self, Verb},
};

/// How many documents one answer may lead through.
const MAX_REDIRECTS: usize = 5;

/// How long the hub may take to say how a call goes on, over all documents.
const MAX_THINKING: Duration = Duration::from_secs(60);

/// The longest SMS a person can send here, in characters.
const MAX_SMS: usize = 1600;

type Params = Vec<(String, String)>;

fn pair(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

impl PhoneNetwork {
    /// Carries one message or call to its end.
    pub(super) async fn carry(&self, job: Job) {
        match job {
            Job::Sms(sid) => self.carry_sms(&sid).await,
            Job::Call(sid) => self.carry_call(&sid).await,
        }
    }

    async fn carry_sms(&self, sid: &str) {
        let Some((sms, line, reports)) = self.change(|state| {
            let sms = state.sms_mut(sid)?.clone();
            let line = state.line(&sms.to);
            Some((sms, line, state.reports))
        }) else {
            return;
        };
        let end = match line {
            Line::Normal | Line::Busy | Line::Machine => SmsState::Delivered,
            Line::Unreachable => SmsState::Undelivered,
        };
        let mut steps = vec![SmsState::Sent, end];
        match reports {
            Reports::Normal | Reports::Twice | Reports::Lost => {}
            Reports::Reversed => steps.reverse(),
        }
        let times = match reports {
            Reports::Normal | Reports::Reversed => 1,
            Reports::Twice => 2,
            Reports::Lost => 0,
        };
        // The message does not wait for whoever listens to its reports; these go in order.
        let (report, mut owed) = mpsc::channel(steps.len());
        let carrying = async move {
            for step in steps {
                self.pause().await;
                self.change(|state| {
                    // A report that comes late does not take back what happened.
                    if let Some(sms) = state.sms_mut(sid)
                        && !matches!(sms.state, SmsState::Delivered | SmsState::Undelivered)
                    {
                        sms.state = step;
                    }
                });
                // There is room for all of them.
                report.try_send(step).ok();
            }
        };
        let reporting = async {
            while let Some(step) = owed.recv().await {
                for _ in 0..times {
                    self.report_sms(&sms, step).await;
                }
            }
        };
        tokio::join!(carrying, reporting);
    }

    async fn report_sms(&self, sms: &Sms, step: SmsState) {
        let Some(url) = &sms.callback else { return };
        let mut params = vec![
            pair("AccountSid", self.config().account_sid.clone()),
            pair("ApiVersion", "2010-04-01"),
            pair("From", sms.from.clone()),
            pair("MessageSid", sms.sid.clone()),
            pair("MessageStatus", step.code()),
            pair("SmsSid", sms.sid.clone()),
            pair("SmsStatus", step.code()),
            pair("To", sms.to.clone()),
        ];
        if step == SmsState::Undelivered {
            params.push(pair("ErrorCode", "30003"));
        }
        self.tell(url, &params).await;
    }

    async fn carry_call(&self, sid: &str) {
        let Some(call) = self.call(sid) else { return };
        self.report_call(sid, "initiated", "initiated").await;
        self.pause().await;
        let line = self.state().line(&call.to);
        if line == Line::Busy {
            self.end(sid, CallState::Busy);
        }
        if !self.is_over(sid) {
            self.change(|state| {
                if let Some(call) = state.call_mut(sid).filter(|call| call.state == CallState::Queued) {
                    call.state = CallState::Ringing;
                }
            });
            self.report_call(sid, "ringing", "ringing").await;
            if line == Line::Machine {
                self.pause().await;
                self.log(self.take(sid, "machine_start").await);
                self.run_to_the_end(sid).await;
            }
            let ring = Duration::from_secs(call.program.ring_s);
            let taken =
                |network: &Self| network.call(sid).is_none_or(|call| call.state != CallState::Ringing).then_some(());
            if self.wait_for(ring, taken).await.is_none() {
                self.end_if(sid, CallState::Ringing, CallState::NoAnswer);
            }
            self.wait_for_the_end(sid).await;
        }
        if let Some(call) = self.call(sid) {
            self.report_call(sid, "completed", call.state.code()).await;
        }
    }

    /// Waits until the call is over; a question that nobody answers in time is passed over.
    async fn wait_for_the_end(&self, sid: &str) {
        while let Some(call) = self.call(sid).filter(|call| !call.state.is_over()) {
            let turn = call.program.turn;
            // Without an open question the hub is being asked how to go on.
            let patience = match &call.program.gather {
                Some(gather) => self.config().patience.unwrap_or(Duration::from_secs(gather.timeout_s)),
                None => MAX_THINKING,
            };
            let moved = |network: &Self| {
                let moved = network.call(sid).is_none_or(|call| call.state.is_over() || call.program.turn != turn);
                moved.then_some(())
            };
            if self.wait_for(patience, moved).await.is_none() {
                self.change(|state| {
                    if let Some(call) = state.call_mut(sid).filter(|call| call.program.turn == turn) {
                        step(call);
                    }
                });
                self.log(self.follow(sid).await);
            }
        }
    }

    /// A machine hears the document to its end and presses nothing.
    async fn run_to_the_end(&self, sid: &str) {
        while !self.is_over(sid) {
            self.change(|state| {
                if let Some(call) = state.call_mut(sid) {
                    step(call);
                }
            });
            self.log(self.follow(sid).await);
        }
    }

    fn is_over(&self, sid: &str) -> bool {
        self.call(sid).is_none_or(|call| call.state.is_over())
    }

    fn end(&self, sid: &str, how: CallState) {
        self.change(|state| {
            if let Some(call) = state.call_mut(sid).filter(|call| !call.state.is_over()) {
                end(call, how);
            }
        });
    }

    fn end_if(&self, sid: &str, now: CallState, how: CallState) {
        self.change(|state| {
            if let Some(call) = state.call_mut(sid).filter(|call| call.state == now) {
                end(call, how);
            }
        });
    }

    /// Takes a call, as a human or a machine: reports it and starts its document.
    async fn take(&self, sid: &str, by: &'static str) -> Result<(), PhoneError> {
        let start = self.change(|state| {
            let call = state.call_mut(sid).ok_or_else(|| PhoneError::NoCall(sid.to_owned()))?;
            match call.state {
                CallState::Queued | CallState::Ringing => {
                    call.state = CallState::InProgress;
                    if call.program.detect {
                        call.program.answered_by = Some(by);
                    }
                    Ok(Some((call.program.start.clone(), call.program.amd_callback.clone(), call.program.detect)))
                }
                CallState::InProgress => Ok(None),
                CallState::Completed | CallState::Busy | CallState::NoAnswer => {
                    Err(PhoneError::NotWaiting(sid.to_owned()))
                }
            }
        })?;
        let Some((start, amd_callback, detect)) = start else { return Ok(()) };
        self.report_call(sid, "answered", "in-progress").await;
        if let Some(url) = amd_callback.filter(|_| detect) {
            let params = [
                pair("AccountSid", self.config().account_sid.clone()),
                pair("AnsweredBy", by),
                pair("CallSid", sid),
                pair("MachineDetectionDuration", "2100"),
            ];
            self.tell(&url, &params).await;
        }
        let document = match start {
            Start::Twiml(document) => Ok(document),
            Start::Url(url) => self.fetch(sid, &url, Vec::new()).await,
        };
        self.load(sid, document)?;
        self.follow(sid).await
    }

    /// Picks up.
    ///
    /// # Errors
    /// [`PhoneError`] if there is no such call or it is over.
    pub async fn answer(&self, sid: &str) -> Result<(), PhoneError> {
        self.take(sid, "human").await
    }

    /// Hangs up; a call that still rings is rejected.
    ///
    /// # Errors
    /// [`PhoneError::NoCall`] if there is no such call.
    pub fn hang_up(&self, sid: &str) -> Result<(), PhoneError> {
        self.change(|state| {
            let call = state.call_mut(sid).ok_or_else(|| PhoneError::NoCall(sid.to_owned()))?;
            match call.state {
                CallState::Queued | CallState::Ringing => end(call, CallState::Busy),
                CallState::InProgress => end(call, CallState::Completed),
                CallState::Completed | CallState::Busy | CallState::NoAnswer => {}
            }
            Ok(())
        })
    }

    /// Presses a key (a call that rings is picked up first) and returns what is said in answer.
    ///
    /// # Errors
    /// [`PhoneError`] if the call waits for no key, or the hub cannot be reached or refuses.
    pub async fn press(&self, sid: &str, key: char) -> Result<String, PhoneError> {
        self.take(sid, "human").await?;
        let (action, digits, before) = self.change(|state| {
            let call = state.call_mut(sid).ok_or_else(|| PhoneError::NoCall(sid.to_owned()))?;
            let not_waiting = || PhoneError::NotWaiting(sid.to_owned());
            let gather = call.program.gather.clone().ok_or_else(not_waiting)?;
            call.keys.push(key);
            call.program.turn += 1;
            let finished = gather.finish == Some(key);
            if !finished {
                call.program.digits.push(key);
            }
            if !finished && call.program.digits.chars().count() < gather.digits {
                return Ok((None, String::new(), call.said.len()));
            }
            // The answer is given: the question is closed until the hub says how to go on.
            let digits = std::mem::take(&mut call.program.digits);
            call.program.gather = None;
            call.waiting = false;
            Ok((Some(gather.action), digits, call.said.len()))
        })?;
        let Some(action) = action else { return Ok(String::new()) };
        let document = self.fetch(sid, &action, vec![pair("Digits", digits)]).await;
        self.load(sid, document)?;
        self.follow(sid).await?;
        let said = self.call(sid).map(|call| call.said[before.min(call.said.len())..].join(" "));
        Ok(said.unwrap_or_default())
    }

    /// Sends an SMS to the hub from a telephone; the hub's answer, if it gives one, arrives on that telephone.
    ///
    /// # Errors
    /// [`PhoneError`] if the hub cannot be reached or refuses.
    pub async fn send_sms(&self, from: &str, to: &str, body: &str) -> Result<(), PhoneError> {
        let bad = [from, to].into_iter().find(|number| !is_e164(number));
        if let Some(number) = bad {
            return Err(PhoneError::BadNumber(number.to_owned()));
        }
        let body: String = body.chars().take(MAX_SMS).collect();
        let now = self.config().clock.now();
        let keyword = match body.trim().to_ascii_uppercase().as_str() {
            "STOP" | "STOPALL" | "UNSUBSCRIBE" | "CANCEL" | "END" | "QUIT" => Some("STOP"),
            "START" | "UNSTOP" => Some("START"),
            _ => None,
        };
        let (sid, hub_url) = self.change(|state| {
            match keyword {
                Some("STOP") => drop(state.stopped.insert(from.to_owned())),
                Some(_) => drop(state.stopped.remove(from)),
                None => {}
            }
            let sid = state.sid("SM");
            state.add_sms(Sms {
                sid: sid.clone(),
                direction: Direction::ToHub,
                from: from.to_owned(),
                to: to.to_owned(),
                body: body.clone(),
                state: SmsState::Sent,
                at: now,
                callback: None,
            });
            (sid, state.hub_url.clone())
        });
        let url = format!("{}/callbacks/twilio/sms", hub_url.ok_or(PhoneError::NoHub)?);
        let mut params = vec![
            pair("AccountSid", self.config().account_sid.clone()),
            pair("ApiVersion", "2010-04-01"),
            pair("Body", body),
            pair("From", from),
            pair("MessageSid", sid.clone()),
            pair("NumMedia", "0"),
            pair("SmsStatus", "received"),
            pair("To", to),
        ];
        params.extend(keyword.map(|keyword| pair("OptOutType", keyword)));
        let answer = self.post(&url, &params).await?;
        self.change(|state| {
            if let Some(sms) = state.sms_mut(&sid) {
                sms.state = SmsState::Delivered;
            }
        });
        // A hub may also answer 204 without a document.
        if answer.trim().is_empty() {
            return Ok(());
        }
        for verb in twiml::parse(&answer).map_err(PhoneError::Document)? {
            if let Verb::Message(body) = verb {
                self.change(|state| {
                    let sid = state.sid("SM");
                    state.add_sms(Sms {
                        sid,
                        direction: Direction::ToPhone,
                        from: to.to_owned(),
                        to: from.to_owned(),
                        body,
                        state: SmsState::Delivered,
                        at: now,
                        callback: None,
                    });
                });
            }
        }
        Ok(())
    }

    /// Puts a document in place of what the call had to do, and begins it.
    fn load(&self, sid: &str, document: Result<String, PhoneError>) -> Result<(), PhoneError> {
        let verbs = document.and_then(|text| twiml::parse(&text).map_err(PhoneError::Document));
        self.change(|state| {
            let call = state.call_mut(sid).ok_or_else(|| PhoneError::NoCall(sid.to_owned()))?;
            match verbs {
                Ok(verbs) => {
                    call.program.next = verbs;
                    step(call);
                    Ok(())
                }
                Err(error) => {
                    call.problem = Some(error.to_string());
                    end(call, CallState::Completed);
                    Err(error)
                }
            }
        })
    }

    /// Follows redirects until the call waits or is over.
    async fn follow(&self, sid: &str) -> Result<(), PhoneError> {
        for _ in 0..MAX_REDIRECTS {
            let redirect = self.change(|state| match state.call_mut(sid)?.program.next.pop_front()? {
                Verb::Redirect(url) => Some(url),
                other => {
                    state.call_mut(sid)?.program.next.push_front(other);
                    None
                }
            });
            let Some(url) = redirect else { return Ok(()) };
            let document = self.fetch(sid, &url, Vec::new()).await;
            self.load(sid, document)?;
        }
        self.load(sid, Err(PhoneError::Document("it redirects too often".to_owned())))
    }

    /// Asks the hub for a document of a call.
    async fn fetch(&self, sid: &str, url: &str, more: Params) -> Result<String, PhoneError> {
        let call = self.call(sid).ok_or_else(|| PhoneError::NoCall(sid.to_owned()))?;
        let mut params = self.call_params(&call, call.state.code());
        params.extend(more);
        self.post(url, &params).await
    }

    fn call_params(&self, call: &Call, status: &str) -> Params {
        let mut params = vec![
            pair("AccountSid", self.config().account_sid.clone()),
            pair("ApiVersion", "2010-04-01"),
            pair("CallSid", call.sid.clone()),
            pair("CallStatus", status),
            pair("Direction", "outbound-api"),
            pair("From", call.from.clone()),
            pair("To", call.to.clone()),
        ];
        params.extend(call.program.answered_by.map(|by| pair("AnsweredBy", by)));
        params
    }

    /// Reports an event of a call if the hub asked for it.
    async fn report_call(&self, sid: &str, event: &str, status: &str) {
        let call = self.change(|state| {
            let call = state.call_mut(sid)?;
            call.program.sequence += 1;
            Some(call.clone())
        });
        let Some(call) = call else { return };
        let Some(url) = call.program.callback.as_ref().filter(|_| call.program.events.iter().any(|e| e == event))
        else {
            return;
        };
        let mut params = self.call_params(&call, status);
        params.push(pair("SequenceNumber", (call.program.sequence - 1).to_string()));
        self.tell(url, &params).await;
    }

    /// A callback whose answer does not matter; like the real network it is tried again once.
    async fn tell(&self, url: &str, params: &[(String, String)]) {
        if self.post(url, params).await.is_err() {
            self.log(self.post(url, params).await);
        }
    }

    /// Posts a signed form.
    async fn post(&self, url: &str, params: &[(String, String)]) -> Result<String, PhoneError> {
        let unreachable = |source| PhoneError::Unreachable { url: url.to_owned(), source };
        let response = self
            .shared
            .http
            .post(url)
            .header("X-Twilio-Signature", signature(&self.config().auth_token, url, params))
            .form(params)
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        if !status.is_success() {
            return Err(PhoneError::Refused { url: url.to_owned(), status: status.as_u16() });
        }
        response.text().await.map_err(unreachable)
    }

    async fn pause(&self) {
        tokio::time::sleep(self.config().pace).await;
    }

    fn log<T>(&self, result: Result<T, PhoneError>) {
        if let Err(error) = result {
            tracing::warn!(%error, "the pretend telephone network and the hub do not understand each other");
        }
    }
}

/// Does what the call's document says until it asks, redirects or ends.
fn step(call: &mut Call) {
    if call.state != CallState::InProgress {
        return;
    }
    call.program.turn += 1;
    call.program.gather = None;
    call.program.digits.clear();
    call.waiting = false;
    while let Some(verb) = call.program.next.pop_front() {
        match verb {
            Verb::Say(text) => call.said.push(text),
            Verb::Pause => {}
            Verb::Gather(gather) => {
                call.said.extend(gather.said.iter().cloned());
                call.program.gather = Some(gather);
                call.waiting = true;
                return;
            }
            Verb::Redirect(url) => {
                // `follow` fetches it.
                call.program.next.push_front(Verb::Redirect(url));
                return;
            }
            Verb::Hangup => break,
            Verb::Message(_) => call.problem = Some("a call cannot send an SMS".to_owned()),
        }
    }
    end(call, CallState::Completed);
}

fn end(call: &mut Call, how: CallState) {
    call.state = how;
    call.waiting = false;
    call.program.gather = None;
    call.program.next.clear();
    call.program.turn += 1;
}
