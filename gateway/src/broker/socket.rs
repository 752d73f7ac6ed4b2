//! The socket of a connection to the broker: bytes in and bytes out, encrypted or not. The TLS is the client library's.

use std::{
    future::{Future as _, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use rumqttc_core::{DynAsyncReadWrite, TlsConfiguration, tls_connect};
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{GatewayError, config::BrokerConfig};

/// How many bytes are read at once, at least and at most.
const READ: usize = 4 * 1024;
const MAX_READ: usize = 64 * 1024;
/// How many bytes are made room for at once, however large a packet is said to be.
const MAX_ROOM: usize = 1 << 20;

/// What a connection needs beside the configuration, read once.
pub(super) struct Access {
    pub(super) password: String,
    tls: Option<TlsConfiguration>,
}

impl Access {
    /// Reads the password and the certificates.
    pub(super) fn new(config: &BrokerConfig) -> Result<Self, GatewayError> {
        let password = match &config.password_file {
            Some(file) => std::fs::read_to_string(file).map_err(|error| crate::ConfigError {
                key: "broker.password_file",
                message: format!("{} cannot be read ({error})", file.display()),
                remedy: "put the password into that file and let the hub's user read it",
            })?,
            None => String::new(),
        };
        Ok(Self { password: password.trim_end_matches(['\r', '\n']).to_owned(), tls: tls(config)? })
    }
}

fn tls(config: &BrokerConfig) -> Result<Option<TlsConfiguration>, GatewayError> {
    if !config.tls {
        return Ok(None);
    }
    let failed = |source| GatewayError::Tls { host: config.host.clone(), source };
    match &config.ca_file {
        Some(file) => {
            let ca = std::fs::read(file).map_err(|error| failed(Box::new(error)))?;
            Ok(Some(TlsConfiguration::Simple { ca, alpn: None, client_auth: None }))
        }
        None => TlsConfiguration::try_default_rustls().map(Some).map_err(|error| failed(Box::new(error))),
    }
}

/// A socket with what was read from it and what is to be written to it.
pub(super) struct Socket {
    stream: DynAsyncReadWrite,
    pub(super) input: BytesMut,
    pub(super) output: BytesMut,
    /// True while something written may still stand in the encryption's buffer.
    unflushed: bool,
    /// How many bytes the packet being read still lacks, at least.
    pub(super) missing: usize,
    /// When something was last written and read.
    pub(super) sent_at: Instant,
    pub(super) heard_at: Instant,
    /// How much to read next time.
    read: usize,
}

impl Socket {
    /// Connects to the broker.
    pub(super) async fn connect(config: &BrokerConfig, access: &Access) -> io::Result<Self> {
        let tcp = TcpStream::connect((config.host.as_str(), config.port)).await?;
        // Acknowledgements go out many at once, and none of them may wait for the answer to those before.
        tcp.set_nodelay(true)?;
        let stream: DynAsyncReadWrite = match &access.tls {
            Some(tls) => tls_connect(&config.host, config.port, tls, Box::new(tcp)).await.map_err(io::Error::other)?,
            None => Box::new(tcp),
        };
        let now = Instant::now();
        Ok(Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            unflushed: false,
            missing: 0,
            sent_at: now,
            heard_at: now,
            read: READ,
        })
    }

    /// Writes what is to be written and, if `listening`, reads; ends once something was read, or else once all is written. May be
    /// dropped at any time.
    pub(super) async fn exchange(&mut self, listening: bool) -> io::Result<()> {
        poll_fn(|cx| self.poll_exchange(cx, listening)).await
    }

    fn poll_exchange(&mut self, cx: &mut Context<'_>, listening: bool) -> Poll<io::Result<()>> {
        let writing = !self.output.is_empty();
        // If the broker takes nothing now, it is read from all the same: the waker is set for both.
        let written = self.poll_write(cx);
        if let Poll::Ready(Err(error)) = written {
            return Poll::Ready(Err(error));
        }
        if !listening {
            // Room for what is to be said may be what was waited for.
            return if writing && written.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        // What is left of the buffer is used first: messages that wait for the journal hold all of it.
        if self.input.capacity() - self.input.len() < self.missing.min(MAX_ROOM).max(self.read / 4) {
            self.input.reserve(self.missing.min(MAX_ROOM).max(self.read));
        }
        let room = self.input.capacity() - self.input.len();
        let read = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx))?;
        if read == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.heard_at = Instant::now();
        // A broker that sends much gets a larger buffer.
        self.read = if read == room { self.read * 2 } else { self.read.max(2 * READ) / 2 }.min(MAX_READ);
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(written);
            self.unflushed = true;
            self.sent_at = Instant::now();
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the rest and closes the connection, so that the broker reads all of it: closed before everything that the broker
    /// has sent was read, it would be reset, and what was written last might be lost.
    pub(super) async fn close(mut self, time: Duration) -> io::Result<()> {
        let closing = async {
            poll_fn(|cx| {
                // A broker that writes and is not read might not read either.
                while let Poll::Ready(read) = pin!(self.stream.read_buf(&mut self.input)).poll(cx)? {
                    if read == 0 {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    self.input.clear();
                }
                self.poll_write(cx)
            })
            .await?;
            self.stream.shutdown().await?;
            while self.stream.read_buf(&mut self.input).await? > 0 {
                self.input.clear();
            }
            Ok(())
        };
        timeout(time, closing).await?
    }
}
