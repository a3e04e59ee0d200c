//! One port, four ways in: what a connection speaks is told by how it begins, once, and stays so.
//!
//! A frame begins with a length below 128 MiB, so its first byte is 0x00 to 0x07. Nothing that people or
//! other protocols begin with is in that range:
//!
//! | first bytes | what it is | what happens |
//! |---|---|---|
//! | `00`-`07` | a frame | frames for good; the first one tells Kafka and `ZooKeeper` clients apart |
//! | TAB, LF, CR, `20`-`7E` | a line | text and JSON lines, or a word; HTTP if the line ends like a request's |
//! | `EF BB BF` | a byte order mark | passed over, then lines |
//! | `FF` | telnet | its negotiation is passed over, lines; `FF F4 FF FD` closes quietly |
//! | `16 03` | a TLS greeting | an alert, and the connection closes |
//! | `*` | Redis | `-ERR PROTO ...`, and the connection closes |
//! | `80`-`9F`, `DC`-`DF` | `MessagePack` without a length | the same |
//! | `0D 0A 0D 0A 00` | a PROXY header nobody asked for | the same |
//! | anything else | nothing | the same, and its first bytes go to the log |
//!
//! The server never speaks first: a greeting would break clients that speak frames. Whoever types gets a
//! banner for an empty line. What was recognised and is not spoken here is named in the reply, in the log
//! and among the events, instead of failing as a length of two billion.
//!
//! HTTP is never left again for text, and text lines are never HTTP: a web page that makes a browser post
//! to this port cannot have its body run as commands (see [`super::lines`] for the other half of that).

mod foreign;
mod http;
mod proxy;
mod sniff;

pub(super) use foreign::Foreign;
pub use http::HttpStream;

use super::limits::{FIRST_BYTE_MAX, LINGER, LINGER_BYTES_MAX, PROXY_HEADER_MAX};
use super::lines::{self, FirstLine, LineReader};
use super::listener::{ListenerConfig, TextAccess};
use super::observe::Mode;
use super::peer::Peer;
use super::service::Service;
use super::session;
use super::stream::{FrameReader, drain, prepare};
use sniff::{Sniff, sniff};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The two halves of a connection.
type Halves = (FrameReader<OwnedReadHalf>, OwnedWriteHalf);

/// Serves a connection from its first byte to its last.
pub(super) async fn run<S: Service>(
    stream: TcpStream,
    peer: Peer,
    config: Arc<ListenerConfig>,
    service: Arc<S>,
    shutdown: CancellationToken,
) {
    if let Err(error) = prepare(&stream) {
        tracing::debug!(peer = peer.id(), %error, "connection broken at once");
        return;
    }
    let (read, write) = stream.into_split();
    let mut halves = (FrameReader::new(read, config.max_frame_bytes), write);
    let spoken = tokio::select! {
        spoken = recognised(&mut halves.0, &peer, &config) => spoken,
        _ = peer.cut_off() => return,
        () = shutdown.cancelled() => return,
    };
    match spoken {
        Ok(Sniff::Frames) => session::run(peer, config, service, halves, shutdown).await,
        Ok(Sniff::Lines { skip }) => {
            halves.0.skip(skip);
            lines_or_http(peer, config, service, halves, shutdown).await;
        }
        Ok(Sniff::Foreign(foreign)) => refuse(foreign, &peer, &*service, halves).await,
        Ok(Sniff::More(_)) => {}
        Err(error) => tracing::debug!(peer = peer.id(), %error, "connection ended before it said anything"),
    }
}

/// What the connection speaks; [`Sniff::More`] if it ends before it says anything.
async fn recognised(
    reader: &mut FrameReader<OwnedReadHalf>,
    peer: &Peer,
    config: &ListenerConfig,
) -> std::io::Result<Sniff> {
    if config.proxy_protocol && !matches!(timeout(PROXY_HEADER_MAX, proxied(reader, peer)).await, Ok(Ok(())))
    {
        return Ok(Sniff::Foreign(Foreign::NotProxied));
    }
    match timeout(FIRST_BYTE_MAX, reader.first_byte()).await {
        Ok(first) => {
            if first?.is_none() {
                return Ok(Sniff::More(FIRST_BYTE_MAX));
            }
        }
        // Port scans and probes of load balancers do this all the time.
        Err(_) => return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "it said nothing")),
    }
    loop {
        let limit = match sniff(reader.buffered(), false) {
            Sniff::More(limit) => limit,
            told => return Ok(told),
        };
        if !matches!(timeout(limit, reader.more()).await, Ok(Ok(1..))) {
            return Ok(sniff(reader.buffered(), true));
        }
    }
}

/// Reads the header that a proxy puts in front.
async fn proxied(reader: &mut FrameReader<OwnedReadHalf>, peer: &Peer) -> Result<(), String> {
    loop {
        if let Some(header) = proxy::parse(reader.buffered())? {
            reader.skip(header.bytes);
            if let Some(address) = header.address {
                peer.set_proxied(address);
            }
            return Ok(());
        }
        match reader.more().await {
            Ok(0) => return Err("the connection ended within the header".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// A connection that begins with a line: of HTTP, a word, or of a session.
async fn lines_or_http<S: Service>(
    peer: Peer,
    config: Arc<ListenerConfig>,
    service: Arc<S>,
    (reader, write): Halves,
    shutdown: CancellationToken,
) {
    let (read, buffer) = reader.into_parts();
    let mut reader = LineReader::new(read, buffer);
    let first = tokio::select! {
        first = reader.first_line() => first,
        _ = peer.cut_off() => return,
        () = shutdown.cancelled() => return,
    };
    let access = config.text.unwrap_or_else(|| TextAccess::default_for(peer.address()));
    match first {
        FirstLine::Http => {
            peer.set_mode(Mode::Http);
            let (read, buffer) = reader.into_parts();
            let stream = HttpStream::new(peer.clone(), buffer.freeze(), read, write);
            tokio::select! {
                () = service.http(stream) => {}
                _ = peer.cut_off() => {}
                () = peer.closing() => {}
                () = shutdown.cancelled() => {}
            }
        }
        FirstLine::Word(word) => {
            peer.set_mode(Mode::Text);
            let answering = lines::answer_word(word, (&config, access), &*service, reader, write);
            tokio::select! {
                () = answering => {}
                _ = peer.cut_off() => {}
                () = shutdown.cancelled() => {}
            }
        }
        FirstLine::Other => lines::run(peer, config, access, service, (reader, write), shutdown).await,
    }
}

/// One answer that names what was recognised, then the end.
async fn refuse<S: Service>(foreign: Foreign, peer: &Peer, service: &S, (mut reader, mut write): Halves) {
    foreign.report(peer, service.observer(), reader.buffered());
    let _ = timeout(LINGER, async {
        write.write_all(&foreign.reply()).await?;
        write.shutdown().await?;
        reader.drain(LINGER_BYTES_MAX).await;
        std::io::Result::Ok(())
    })
    .await;
}

/// Ends a connection whose answer is complete: the peer gets all of it, even if it has sent more than was
/// read, which would otherwise turn the end into a reset.
pub(super) async fn end_politely(write: &mut OwnedWriteHalf, mut reader: LineReader<OwnedReadHalf>) {
    let _ = timeout(LINGER, async {
        write.shutdown().await?;
        let (io, buffer) = reader.parts_mut();
        drain(io, buffer, LINGER_BYTES_MAX).await;
        std::io::Result::Ok(())
    })
    .await;
}
