//! The whole flow, in the order in which a message travels.
//!
//! ```text
//!  lifts ──MQTT──▶ gateway ──▶ journal ──┬──▶ recorder ──▶ store: readings
//!                     ▲  ack after append │
//!                     │ commands          └──▶ watch: rules, predict ──▶ alerts ──▶ desk ──▶ store: tickets + outbox
//!                     └───────────── board, callbacks ◀── people ◀── deliver ◀──────────────────────┘
//! ```

use std::sync::Mutex;

use gateway::{Downlink, FrontDoor, Inbound, Inlet};
use store::{Store, Via};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    formats::Formats,
    health,
    intake::Intake,
    passes::{
        self, Reconciler,
        commands::{Progress, SendCommands},
        deliver::Deliver,
        escalate::Escalate,
        prune::Prune,
        settle::Settle,
        uptime::NoteUptime,
    },
    recorder::Recorder,
    server::Parts,
    supervisor::Supervisor,
};

/// How many received messages may wait for intake, over all links, in each of its two queues.
const INBOUND: usize = 4096;
/// How many commands may wait for a link.
const DOWNLINKS: usize = 256;

/// Starts every task of the hub.
pub fn start(supervisor: &mut Supervisor, parts: Parts, shutdown: &CancellationToken) {
    let Parts {
        config,
        clock,
        journal,
        store,
        notifier,
        directory,
        watch,
        refresh,
        duty,
        cases,
        emergency,
        forecasts,
        enrolment,
        front_door,
        web,
        mut status,
    } = parts;
    let stop = || shutdown.child_token();
    let (events, events_arrived) = mpsc::channel::<Inbound>(INBOUND);
    let (telemetry, telemetry_arrived) = mpsc::channel::<Inbound>(INBOUND);
    let inlet = Inlet { events, telemetry };
    let mut downlinks = Vec::new();

    // 1. Devices speak: through an external broker, or straight to the front door.
    if let Some(broker) = config.gateway.broker.clone() {
        let (sender, commands) = mpsc::channel::<Downlink>(DOWNLINKS);
        downlinks.push(sender);
        let link = gateway::BrokerLink::new(broker, &config.gateway, clock.clone());
        status.add_link("broker", link.state());
        supervisor.add("broker link", link.run(inlet.clone(), commands, stop()));
    }
    let progress = Mutex::new(Progress::new(front_door.is_some()));
    let lost = front_door.as_ref().map(FrontDoor::lost_commands);
    if let Some(front_door) = front_door {
        let (sender, commands) = mpsc::channel::<Downlink>(DOWNLINKS);
        downlinks.push(sender);
        supervisor.add("front door", front_door.run(inlet.clone(), commands, stop()));
    }
    drop(inlet);

    // 2. Intake: decode, journal, and only then acknowledge.
    let formats = Formats::open(&config, downlinks.clone(), clock.clone());
    let routes = formats.decoder.routes();
    let intake = Intake {
        events: events_arrived,
        telemetry: telemetry_arrived,
        formats,
        directory: directory.clone(),
        enrolment,
        journal: journal.clone(),
    };
    supervisor.add("intake", intake.run(stop()));

    // 3. Recorder: the journal's readings, events and rejects into the store.
    let rejects_per_minute = config.hub.rejects_per_minute;
    let recorder = Recorder::new(journal.clone(), store.clone(), directory, clock.clone(), rejects_per_minute);
    supervisor.add("recorder", recorder.run(stop()));

    // 4. Watch: rules and forecasts; alerts, tickets and owed messages in one transaction.
    //    While the database is away, people in danger are helped without it.
    let (watch, state) = watch;
    supervisor.add("watch", watch.run(state, stop()));
    let line = emergency.line();
    supervisor.add("emergency", emergency.run(stop()));

    // 5. The desk's reconcilers: timers, messages to people, commands to devices, housekeeping.
    let escalate = Escalate { store: store.clone(), clock: clock.clone(), emergency: Some(line) };
    reconcile(supervisor, escalate, &store, stop());
    for via in [Via::Phone, Via::Network] {
        let deliver = Deliver { store: store.clone(), notifier: notifier.clone(), clock: clock.clone(), via };
        reconcile(supervisor, deliver, &store, stop());
    }
    reconcile(supervisor, Settle { store: store.clone(), notifier, clock: clock.clone() }, &store, stop());
    let prefix = config.gateway.prefix.clone();
    let send = SendCommands { store: store.clone(), downlinks, lost, routes, prefix, clock: clock.clone(), progress };
    reconcile(supervisor, send, &store, stop());
    reconcile(supervisor, refresh, &store, stop());
    reconcile(supervisor, duty, &store, stop());
    reconcile(supervisor, cases, &store, stop());
    //    At night: failure models are trained, every unit is forecast, and alerts follow as from the watch.
    reconcile(supervisor, forecasts, &store, stop());
    reconcile(supervisor, NoteUptime { store: store.clone(), clock: clock.clone() }, &store, stop());
    let retention = config.hub.retention();
    reconcile(supervisor, Prune { journal, store: store.clone(), retention, clock }, &store, stop());

    // 6. What people see: board, API, care pages, providers' callbacks; and the hub's own health.
    supervisor.add("web", web.serve(stop()));
    supervisor.add("status", health::run(status, stop()));
    supervisor.add("lock", health::guard_lock(store, stop()));
}

fn reconcile<R: Reconciler>(supervisor: &mut Supervisor, reconciler: R, store: &Store, stop: CancellationToken) {
    supervisor.add(R::NAME, passes::run(reconciler, store.changes(), stop));
}
