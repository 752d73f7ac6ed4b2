//! A witness on the line between the hub and its broker: which messages the hub has taken over, by the hub's own
//! acknowledgement. What it took over is the hub's to keep; what it never took over, a killed broker has lost.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A device's message, by its count.
type Counted = (String, u64);

/// What was seen on every connection.
#[derive(Default)]
pub struct Witness(Mutex<HashSet<Counted>>);

impl Witness {
    /// True if the hub has acknowledged this message to the broker.
    #[must_use]
    pub fn saw_taken_over(&self, device: &str, seq: u64) -> bool {
        lock(&self.0).contains(&(device.to_owned(), seq))
    }

    /// Both sides of a new connection: what the hub says, and what the broker says.
    pub(crate) fn listen(self: &Arc<Self>) -> (Ear, Ear) {
        let handed = Arc::new(Mutex::new(HashMap::new()));
        let ear = || Ear { witness: self.clone(), handed: handed.clone(), heard: Vec::new() };
        (ear(), ear())
    }
}

/// One direction of a connection.
pub(crate) struct Ear {
    witness: Arc<Witness>,
    /// What the broker has handed to the hub on this connection, by packet id.
    handed: Arc<Mutex<HashMap<u16, Counted>>>,
    /// The beginning of a packet that has not ended yet.
    heard: Vec<u8>,
}

impl Ear {
    /// Takes what was said, in pieces as they come.
    pub(crate) fn hear(&mut self, said: &[u8]) {
        self.heard.extend_from_slice(said);
        let mut heard = std::mem::take(&mut self.heard);
        let mut at = 0;
        while let Some((header, body)) = frame(&heard[at..]) {
            self.understand(heard[at], &heard[at + header..at + header + body]);
            at += header + body;
        }
        heard.drain(..at);
        self.heard = heard;
    }

    fn understand(&self, kind: u8, body: &[u8]) {
        match kind >> 4 {
            3 if kind & 0b110 != 0 => {
                if let Some((id, counted)) = published(body) {
                    lock(&self.handed).insert(id, counted);
                }
            }
            4 => {
                let id = body.first_chunk().map(|id| u16::from_be_bytes(*id));
                if let Some(counted) = id.and_then(|id| lock(&self.handed).remove(&id)) {
                    lock(&self.witness.0).insert(counted);
                }
            }
            _ => {}
        }
    }
}

/// The lengths of the header and the body of a packet that is there to its end.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut body = 0;
    for (n, byte) in bytes.iter().skip(1).take(4).enumerate() {
        body |= usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            let header = n + 2;
            return (bytes.len() >= header + body).then_some((header, body));
        }
    }
    None
}

/// Packet id, device and count of a published message; nothing for one without a count.
fn published(body: &[u8]) -> Option<(u16, Counted)> {
    const SEQ: &[u8] = b"\"seq\":";
    let (len, rest) = body.split_first_chunk()?;
    let (topic, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    let (id, rest) = rest.split_first_chunk()?;
    let device = std::str::from_utf8(topic).ok()?.split('/').nth(1)?;
    let digits = &rest[rest.windows(SEQ.len()).position(|window| window == SEQ)? + SEQ.len()..];
    let digits = digits.iter().take_while(|digit| digit.is_ascii_digit());
    let seq = digits.fold(0, |seq, digit| seq * 10 + u64::from(digit - b'0'));
    Some((u16::from_be_bytes(*id), (device.to_owned(), seq)))
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_over_once_the_hub_says_so() {
        let witness = Arc::new(Witness::default());
        let (mut hub, mut broker) = witness.listen();
        let body =
            [&[0, 25][..], b"liftline/count-1/telemetr", &[0, 7, 0], b"{\"ts\":1,\"seq\":41,\"values\":{}}"].concat();
        let packet = [&[0x32, u8::try_from(body.len()).unwrap()][..], &body].concat();
        // In two pieces, after a PINGRESP.
        broker.hear(&[&[0xd0, 0][..], &packet[..20]].concat());
        broker.hear(&packet[20..]);
        assert!(!witness.saw_taken_over("count-1", 41));
        hub.hear(&[0x40, 2, 0, 6]);
        assert!(!witness.saw_taken_over("count-1", 41));
        hub.hear(&[0x40, 2, 0]);
        hub.hear(&[7]);
        assert!(witness.saw_taken_over("count-1", 41));
    }
}
