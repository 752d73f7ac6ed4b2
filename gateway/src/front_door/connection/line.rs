//! The socket of a connection: bytes in and bytes out, never waiting for either.

use std::{io, time::Duration};

use bytes::BytesMut;
use tokio::{net::TcpStream, time::timeout};
use tracing::debug;

use super::{End, MAX_READ, READ};
use crate::{
    front_door::wire::{self, Hello},
    wire::{Frame, frame},
};

/// A socket with what was read from it and what is to be written to it.
pub(super) struct Line {
    pub(super) stream: TcpStream,
    pub(super) input: BytesMut,
    pub(super) output: BytesMut,
    /// How much to read next time.
    pub(super) read: usize,
}

impl Line {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, input: BytesMut::new(), output: BytesMut::new(), read: READ }
    }

    pub(super) async fn hello(&mut self) -> Result<Hello, End> {
        loop {
            if let Frame::Whole = frame(&self.input, wire::MAX_CONNECT)? {
                return Ok(wire::read_hello(&mut self.input)?);
            }
            self.stream.readable().await?;
            self.receive(0)?;
        }
    }

    /// Reads what is there; `wanted` says how much is known to come.
    pub(super) fn receive(&mut self, wanted: usize) -> Result<(), End> {
        self.input.reserve(self.read.max(wanted));
        match self.stream.try_read_buf(&mut self.input) {
            Ok(0) => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
            Ok(read) => {
                // A device that sends much gets a larger buffer, one that sends little a smaller.
                self.read = if read >= self.read { self.read * 2 } else { self.read.max(2 * READ) / 2 }.min(MAX_READ);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what goes without waiting; true if anything went.
    pub(super) fn flush(&mut self) -> Result<bool, End> {
        let mut any = false;
        while !self.output.is_empty() {
            match self.stream.try_write(&self.output) {
                Ok(written) => {
                    any = true;
                    bytes::Buf::advance(&mut self.output, written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(any),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(any)
    }

    /// Writes what it can within a time; whoever does not read it goes without.
    pub(super) async fn flush_for(&mut self, time: Duration) {
        let writing = async {
            while self.flush().is_ok() && !self.output.is_empty() {
                if self.stream.writable().await.is_err() {
                    break;
                }
            }
        };
        if timeout(time, writing).await.is_err() {
            debug!("a device did not read the farewell");
        }
    }
}
