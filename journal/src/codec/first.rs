//! Entries as the first version wrote them: a reject spoke of one part of a message.

use model::{Body, CommandResult, DeviceId, Entry, Event, Reject, RejectReason, Sample, Status, Timestamp};
use serde::Deserialize;

pub(super) const VERSION: u8 = 1;

#[derive(Deserialize)]
struct FirstEntry {
    device: Option<DeviceId>,
    received_at: Timestamp,
    body: FirstBody,
}

#[derive(Deserialize)]
enum FirstBody {
    Sample(Sample),
    Event(Event),
    Status(Status),
    CommandResult(CommandResult),
    Reject(FirstReject),
    Emergency(String),
}

#[derive(Deserialize)]
struct FirstReject {
    topic: String,
    reason: RejectReason,
    detail: String,
    payload: Vec<u8>,
}

pub(super) fn decode(payload: &[u8]) -> Result<Entry, postcard::Error> {
    let FirstEntry { device, received_at, body } = postcard::from_bytes(payload)?;
    let body = match body {
        FirstBody::Sample(sample) => Body::Sample(sample),
        FirstBody::Event(event) => Body::Event(event),
        FirstBody::Status(status) => Body::Status(status),
        FirstBody::CommandResult(result) => Body::CommandResult(result),
        FirstBody::Reject(FirstReject { topic, reason, detail, payload }) => {
            Body::Reject(Reject { topic, reason, detail, payload, parts: 1 })
        }
        FirstBody::Emergency(note) => Body::Emergency(note),
    };
    Ok(Entry { device, received_at, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as a hub of the first version wrote it: "lift-1", 2 s after 1970, a reject of the class `wrong_type`.
    #[test]
    fn what_the_first_version_wrote_is_read() {
        let mut written = vec![1, 6];
        written.extend(b"lift-1");
        written.extend(postcard::to_stdvec(&Timestamp::from_secs(2)).unwrap());
        written.extend([4, 1, b't', 2, 1, b'd', 2, b'{', b'}']);
        let Entry { device, received_at, body } = decode(&written).unwrap();
        assert_eq!((device, received_at), (DeviceId::new("lift-1").ok(), Timestamp::from_secs(2)));
        let (topic, detail, payload) = ("t".to_owned(), "d".to_owned(), b"{}".to_vec());
        assert_eq!(body, Body::Reject(Reject { topic, reason: RejectReason::WrongType, detail, payload, parts: 1 }));
    }
}
