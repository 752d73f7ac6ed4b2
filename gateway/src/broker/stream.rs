//! The connection below the client library: acknowledgements gather until the client waits for the broker again, and nothing
//! is read while too many messages await theirs.
//!
//! The library writes and flushes every acknowledgement by itself. At 40,000 messages a second these writes cost the hub
//! a sixth of its processor time, and the broker as much to read them. The library looks for something to read once it
//! has nothing left to send, so that is when they go out: nothing waits longer than that, or for more than
//! [`GATHERED`] bytes.
//!
//! Mosquitto 2.0.11 does not keep to the receive maximum, and takes one packet from each connection in turn: while many devices
//! publish as fast as they can, the hub's acknowledgements wait. A packet id that comes again while its first message is not
//! acknowledged is an error that ends the connection, so reading stops before there can be one.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes of acknowledgements may gather: some thousands of them.
const GATHERED: usize = 16 * 1024;
/// With so many messages that await their acknowledgement, nothing more is read. There are 65,535 packet ids; the rest is for what
/// the library has read already.
const MOST_OWED: usize = 61_000;
/// The first byte of a PUBACK (MQTT 5.0, section 3.4.1).
const PUBACK: u8 = 0x40;

/// A stream to the broker.
pub(super) struct Gathering<S> {
    inner: S,
    waiting: BytesMut,
    /// How many messages await their acknowledgement.
    owed: Arc<AtomicUsize>,
}

impl<S> Gathering<S> {
    pub(super) fn new(inner: S, owed: Arc<AtomicUsize>) -> Self {
        Self { inner, waiting: BytesMut::new(), owed }
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    /// Hands everything that waits to the system.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.waiting.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // If the broker takes nothing now, it is read from all the same: the waker is set for both.
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        if self.owed.load(Ordering::Relaxed) >= MOST_OWED {
            // No waker is needed: the library looks here again after each acknowledgement that it is given.
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let may_wait = are_acknowledgements(bytes);
        if !may_wait || self.waiting.len() + bytes.len() > GATHERED {
            ready!(self.poll_send(cx))?;
        }
        if !may_wait {
            return Pin::new(&mut self.inner).poll_write(cx, bytes);
        }
        self.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.waiting.is_empty() {
            return Poll::Ready(Ok(())); // Only acknowledgements; see `poll_read`.
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Whether there is nothing but whole acknowledgements: the library may write other packets with them.
fn are_acknowledgements(mut bytes: &[u8]) -> bool {
    while let [PUBACK, length, rest @ ..] = bytes {
        match rest.get(usize::from(*length)..) {
            Some(next) => bytes = next,
            None => return false,
        }
    }
    bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const ACK: [u8; 4] = [PUBACK, 2, 0, 7];

    #[tokio::test]
    async fn acknowledgements_go_out_when_the_client_reads() {
        let (near, mut far) = duplex(64);
        let mut near = Gathering::new(near, Arc::default());
        for _ in 0..3 {
            near.write_all(&ACK).await.unwrap();
            near.flush().await.unwrap();
        }
        let mut read = [0; 16];
        assert!(futures::poll!(Box::pin(far.read(&mut read))).is_pending(), "they wait for one another");
        let mut answer = [0; 1];
        assert!(futures::poll!(Box::pin(near.read(&mut answer))).is_pending());
        assert_eq!(far.read(&mut read).await.unwrap(), 12);
    }

    #[tokio::test]
    async fn nothing_is_read_while_too_many_messages_await_their_acknowledgement() {
        let (near, mut far) = duplex(64);
        let owed = Arc::new(AtomicUsize::new(MOST_OWED));
        let mut near = Gathering::new(near, owed.clone());
        far.write_all(b"more").await.unwrap();
        let mut read = [0; 4];
        assert!(futures::poll!(Box::pin(near.read_exact(&mut read))).is_pending());
        near.write_all(&ACK).await.unwrap();
        assert!(futures::poll!(Box::pin(near.read_exact(&mut read))).is_pending());
        let mut sent = [0; 4];
        far.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent, ACK, "acknowledgements still go out");
        owed.store(MOST_OWED - 1, Ordering::Relaxed);
        near.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"more");
    }

    #[tokio::test]
    async fn other_packets_go_out_at_once_and_behind_what_waited() {
        let (near, mut far) = duplex(64);
        let mut near = Gathering::new(near, Arc::default());
        near.write_all(&ACK).await.unwrap();
        near.write_all(&[0xC0, 0]).await.unwrap();
        let mut read = [0; 6];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(read, [PUBACK, 2, 0, 7, 0xC0, 0]);
    }

    #[tokio::test]
    async fn a_packet_that_is_written_with_acknowledgements_goes_out_at_once() {
        let (near, mut far) = duplex(64);
        let mut near = Gathering::new(near, Arc::default());
        near.write_all(&[PUBACK, 2, 0, 7, PUBACK, 2, 0, 8, 0xE0, 0]).await.unwrap();
        near.flush().await.unwrap();
        let mut read = [0; 10];
        assert!(
            futures::poll!(Box::pin(far.read_exact(&mut read))).is_ready(),
            "the farewell is the last that is written"
        );
        assert_eq!(read[8..], [0xE0, 0]);
    }

    #[tokio::test]
    async fn what_gathers_is_bounded_and_nothing_is_lost_at_the_end() {
        let (near, mut far) = duplex(1 << 20);
        let mut near = Gathering::new(near, Arc::default());
        for _ in 0..=GATHERED / ACK.len() {
            near.write_all(&ACK).await.unwrap();
        }
        assert_eq!(near.waiting.len(), ACK.len());
        near.shutdown().await.unwrap();
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), GATHERED + ACK.len());
    }
}
