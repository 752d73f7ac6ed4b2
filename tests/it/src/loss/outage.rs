//! PostgreSQL is away for minutes while devices publish and people are shut in: nothing is lost, people are called.

use std::{
    fmt,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{
    Told, Way,
    bed::{Bed, Fault},
    publisher::Publisher,
    stored,
};
use crate::{
    database::Engine,
    hub::SECRET,
    phones::Phones,
    raw::{Answer, RawClient},
    stories,
};

const TOM: &str = "+15550100001";
/// The lifts in which people are shut in, one after the other.
const LIFTS: [&str; 3] = ["lift-1", "lift-2", "lift-3"];
/// How long it may take until somebody is called.
const PROMISE: Duration = Duration::from_secs(10);
/// How long the hub may need to write what it kept.
const CATCH_UP: Duration = Duration::from_secs(600);

/// What came of it.
pub struct Report {
    /// How long the database was away.
    pub outage: Duration,
    /// From the alarm to the text message, for each person shut in meanwhile.
    pub called_after: Vec<Duration>,
    /// Messages whose acknowledgement a device has seen.
    pub acknowledged: usize,
    /// Rows that the store has of them, and of those each once.
    pub stored: usize,
    /// Rows beyond the first of a message.
    pub duplicate: usize,
    /// Messages that waited when the database came back.
    pub waiting: usize,
    /// How long they took.
    pub caught_up_after: Duration,
    /// Tickets of the people shut in.
    pub tickets: usize,
}

impl Report {
    /// Acknowledged messages that the store does not have.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.acknowledged - self.stored
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "a count of messages is far below 2^52")]
        let rate = self.waiting as f64 / self.caught_up_after.as_secs_f64();
        writeln!(f, "PostgreSQL away for {:.0?} under load", self.outage)?;
        writeln!(f, "  people shut in were called after {:.1?}; {} tickets", self.called_after, self.tickets)?;
        write!(
            f,
            "  acknowledged {}, stored {}, duplicate {}, lost {}; {} waited and took {:.1?} ({rate:.0} a second)",
            self.acknowledged,
            self.stored,
            self.duplicate,
            self.lost(),
            self.waiting,
            self.caught_up_after
        )
    }
}

/// Kills PostgreSQL, keeps it away for so long, and starts it again, under the load of `devices`.
///
/// # Panics
/// If something does not start, or nobody is called in time.
pub async fn run(outage: Duration, devices: usize) -> Report {
    let phones = Phones::start().await;
    let names: Vec<String> = (1..=devices).map(|n| format!("count-{n}")).collect();
    let mut bed = Bed::start(Engine::Postgres, Way::FrontDoor, &names, &phones.config()).await;
    phones.network.set_hub_url(&format!("http://{}", bed.hub.web));
    let mut tasks = JoinSet::new();
    let base_ms = stories::now_ms() - 12 * 3_600_000;
    let start = |name: &String| {
        let secret = Some(SECRET.to_owned());
        let publisher = Publisher { device: name.clone(), secret, address: bed.door, base_ms };
        (name.clone(), publisher.start(&mut tasks))
    };
    let told: Vec<Told> = names.iter().map(start).collect();
    tokio::time::sleep(Duration::from_secs(2)).await;

    bed.break_it(Fault::DatabaseKilled).await;
    let began = Instant::now();
    let before = acknowledged(&told);
    let mut called_after = Vec::new();
    for (lift, nth) in LIFTS.into_iter().zip(1u32..) {
        let at = began + outage * nth / 4;
        tokio::time::sleep_until(at.into()).await;
        called_after.push(shut_in(&bed, &phones, lift).await);
    }
    tokio::time::sleep_until((began + outage).into()).await;
    bed.mend(Fault::DatabaseKilled).await;
    let (back, outage) = (Instant::now(), began.elapsed());
    let waiting = acknowledged(&told) - before;

    told.iter().for_each(|(_, book)| book.stop());
    while tasks.join_next().await.is_some() {}
    let acknowledged = acknowledged(&told);
    while bed.hub.metric("liftline_recorder_lag_entries{lane=\"telemetry\"}").await > 0 && back.elapsed() < CATCH_UP {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let caught_up_after = back.elapsed();
    let rows: Vec<(usize, usize)> =
        names.iter().map(|name| stored(&bed, name)).map(|(once, all)| (once.len(), all)).collect();
    let (stored, all) = rows.iter().fold((0, 0), |(stored, all), (once, rows)| (stored + once, all + rows));
    let tickets = bed.hub.api().await.tickets("all", "entrapment").await.len();
    Report { outage, called_after, acknowledged, stored, duplicate: all - stored, waiting, caught_up_after, tickets }
}

fn acknowledged(told: &[Told]) -> usize {
    told.iter().map(|(_, book)| book.acknowledged().len()).sum()
}

/// Somebody is shut in; returns how long it takes until the technician is texted.
async fn shut_in(bed: &Bed, phones: &Phones, lift: &str) -> Duration {
    let mut client = RawClient::connect(bed.door, Some((lift, SECRET))).await;
    for ((topic, payload), id) in stories::shut_in(lift).into_iter().zip(1..) {
        assert_eq!(client.publish(topic.as_bytes(), id, false, payload.as_bytes()).await, Answer::Acknowledged);
    }
    let alarm = Instant::now();
    phones.sms(TOM, &lift.replace("lift-", "Lift "), PROMISE).await;
    alarm.elapsed()
}
