//! The mailbox: an SMTP server that takes everything and shows it.

use std::{io, net::IpAddr, time::Duration};

use mail_parser::MessageParser;
use mailin::{Action, Handler, Response, SessionBuilder, response};
use model::Timestamp;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{Mail, PhoneNetwork};

/// The longest e-mail taken, in bytes.
const MAX_MAIL: usize = 1 << 20;

/// The longest line taken, in bytes; RFC 5321 allows 1,000.
const MAX_LINE: u64 = 16_384;

/// How long a sender may be silent.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// Serves one connection to its end. A connection that breaks loses only the mail it was sending.
pub(super) async fn serve(network: PhoneNetwork, stream: TcpStream, peer: IpAddr) {
    if let Err(error) = session(network, stream, peer).await {
        tracing::debug!(%error, "an e-mail connection to the pretend mailbox broke");
    }
}

async fn session(network: PhoneNetwork, stream: TcpStream, peer: IpAddr) -> io::Result<()> {
    let mut lines = BufReader::new(stream);
    let collector = Collector { network, from: String::new(), to: Vec::new(), data: Vec::new() };
    let mut session = SessionBuilder::new("liftline demo").build(peer, collector);
    let mut answer = session.greeting();
    loop {
        let mut out = Vec::new();
        answer.write_to(&mut out)?;
        lines.write_all(&out).await?;
        match answer.action {
            Action::Close => return Ok(()),
            // TLS is not offered, so the session never asks for it.
            Action::Reply | Action::NoReply | Action::UpgradeTls => {}
        }
        let mut line = Vec::new();
        let mut limited = (&mut lines).take(MAX_LINE);
        let read = tokio::time::timeout(MAX_SILENCE, limited.read_until(b'\n', &mut line)).await??;
        if read == 0 {
            return Ok(());
        }
        if !line.ends_with(b"\n") {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
        }
        answer = session.process(&line);
    }
}

struct Collector {
    network: PhoneNetwork,
    from: String,
    to: Vec<String>,
    data: Vec<u8>,
}

impl Handler for Collector {
    fn mail(&mut self, _: IpAddr, _: &str, from: &str) -> Response {
        let failing = self.network.change(|state| {
            let failing = state.mail_faults > 0;
            state.mail_faults = state.mail_faults.saturating_sub(1);
            failing
        });
        from.clone_into(&mut self.from);
        self.to.clear();
        self.data.clear();
        if failing { response::INTERNAL_ERROR } else { response::OK }
    }

    fn rcpt(&mut self, to: &str) -> Response {
        self.to.push(to.to_owned());
        response::OK
    }

    fn data(&mut self, line: &[u8]) -> io::Result<()> {
        // What is too long is counted, not kept.
        if self.data.len() <= MAX_MAIL {
            self.data.extend_from_slice(line);
        }
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        if self.data.len() > MAX_MAIL {
            return response::NO_STORAGE;
        }
        let now = self.network.config().clock.now();
        let mail = read(std::mem::take(&mut self.data), &self.from, &self.to, now);
        self.network.change(|state| state.add_mail(mail));
        response::OK
    }
}

fn read(raw: Vec<u8>, from: &str, to: &[String], at: Timestamp) -> Mail {
    let parsed = MessageParser::default().parse(&raw);
    let text = |part: Option<std::borrow::Cow<'_, str>>| part.map(|text| text.replace("\r\n", "\n"));
    Mail {
        from: from.to_owned(),
        to: to.to_vec(),
        subject: parsed.as_ref().and_then(|mail| mail.subject()).unwrap_or_default().to_owned(),
        message_id: parsed.as_ref().and_then(|mail| mail.message_id()).map(str::to_owned),
        text: text(parsed.as_ref().and_then(|mail| mail.body_text(0))).unwrap_or_default(),
        html: text(parsed.as_ref().and_then(|mail| mail.body_html(0))),
        at,
        raw,
    }
}
