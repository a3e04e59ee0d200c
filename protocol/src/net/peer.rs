//! One connected client, as the server sees it.

use super::limits::{IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX, OUTBOX_BYTES_PAUSE};
use super::loss::{ConnectionLost, Loss};
use super::observe::{ConnectionInfo, Direction, Mode, Taps};
use super::outbox::{NotQueued, Outbox};
use crate::defaults::{FRAME_PREFIX_BYTES, PROTOCOL_VERSION};
use crate::envelope::{self, EncodeError, Encoded, Kind};
use crate::error::WireError;
use bytes::Bytes;
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// One connection of a listener. Clones share it.
#[derive(Clone)]
pub struct Peer(Arc<State>);

struct State {
    id: u64,
    address: SocketAddr,
    /// Where a proxy says that the connection comes from.
    proxied: OnceLock<SocketAddr>,
    opened: Instant,
    /// What it speaks, a [`Mode`].
    mode: AtomicU8,
    /// What it calls itself.
    client: OnceLock<String>,
    outbox: Outbox,
    taps: Option<Taps>,
    /// Requests that have come in all, and their bytes. Only the connection's reader changes them.
    requests_in: AtomicU64,
    bytes_in: AtomicU64,
    /// Requests taken and not answered yet, and their bytes.
    requests: AtomicUsize,
    request_bytes: AtomicUsize,
    answered: Notify,
    /// Cancelled when this side ends the connection at once, after `cut_why` is set.
    cut: CancellationToken,
    cut_why: OnceLock<Loss>,
    /// Cancelled when this side ends the connection after what is queued has been sent.
    closing: CancellationToken,
}

impl Peer {
    pub(crate) fn new(id: u64, address: SocketAddr, outbox_bytes_max: usize, taps: Option<Taps>) -> Self {
        Self(Arc::new(State {
            id,
            address,
            proxied: OnceLock::new(),
            opened: Instant::now(),
            mode: AtomicU8::new(Mode::Unknown as u8),
            client: OnceLock::new(),
            outbox: Outbox::new(outbox_bytes_max),
            taps,
            requests_in: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            request_bytes: AtomicUsize::new(0),
            answered: Notify::new(),
            cut: CancellationToken::new(),
            cut_why: OnceLock::new(),
            closing: CancellationToken::new(),
        }))
    }

    /// The connection's number, unique within the process' listener.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Where it comes from: behind a proxy that says so, where the proxy's client comes from.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.proxied.get().copied().unwrap_or(self.0.address)
    }

    /// What the peer calls itself, once it has said so.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.0.client.get().map(String::as_str)
    }

    /// What it speaks.
    #[must_use]
    pub fn mode(&self) -> Mode {
        Mode::from_number(self.0.mode.load(Ordering::Relaxed))
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.0.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// Behind a proxy: where the connection comes from.
    pub(crate) fn set_proxied(&self, address: SocketAddr) {
        let _ = self.0.proxied.set(address);
    }

    /// The first name that it gives itself stays.
    pub(crate) fn set_client(&self, name: String) {
        let _ = self.0.client.set(name);
    }

    /// The connection at this moment.
    pub(crate) fn info(&self) -> ConnectionInfo {
        ConnectionInfo {
            id: self.id(),
            address: self.address(),
            mode: self.mode(),
            client: self.client().map(str::to_owned),
            opened: self.opened(),
            requests: self.0.requests_in.load(Ordering::Relaxed),
            bytes_in: self.0.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.0.outbox.written(),
            unanswered: self.unanswered(),
            queued_bytes: self.queued_bytes(),
        }
    }

    /// When it was accepted.
    #[must_use]
    pub fn opened(&self) -> Instant {
        self.0.opened
    }

    /// Bytes queued for it or being written.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.0.outbox.bytes()
    }

    /// How many of its requests are not answered yet.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.0.requests.load(Ordering::Acquire)
    }

    /// Queues a frame behind all earlier ones. A peer that reads so slowly that too much is queued is
    /// disconnected.
    ///
    /// # Errors
    /// The connection is over, or the frame cannot be written; nothing was sent.
    pub fn send<B: Serialize>(
        &self,
        id: u64,
        kind: &str,
        body: &B,
        bin: Vec<Bytes>,
    ) -> Result<(), ConnectionLost> {
        let frame = envelope::encode(PROTOCOL_VERSION, id, kind, body, bin)
            .map_err(|error| ConnectionLost(Loss::other(format!("{kind}: {error}"))))?;
        self.queue(frame, id)
    }

    /// Ends the connection once what is queued has been sent (within a short limit).
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    /// Ends the connection at once.
    pub fn cut(&self, why: &str) {
        self.cut_for(Loss::other(why));
    }

    /// The first cause counts.
    pub(crate) fn cut_for(&self, why: Loss) {
        let _ = self.0.cut_why.set(why);
        self.0.cut.cancel();
    }

    fn queue(&self, frame: Encoded, id: u64) -> Result<(), ConnectionLost> {
        self.tap_out(&frame);
        self.pushed(self.0.outbox.push(frame, id))
    }

    /// Queues lines for somebody who types.
    pub(crate) fn say(&self, lines: Bytes) -> Result<(), ConnectionLost> {
        self.pushed(self.0.outbox.push_text(lines))
    }

    fn pushed(&self, pushed: Result<(), NotQueued>) -> Result<(), ConnectionLost> {
        match pushed {
            Ok(()) => Ok(()),
            Err(NotQueued::Closed) => Err(ConnectionLost(Loss::other("the connection is closed"))),
            Err(NotQueued::Full(bytes)) => {
                let why = format!("the peer reads too slowly: {bytes} bytes are queued for it");
                self.cut(&why);
                Err(ConnectionLost(Loss::other(why)))
            }
        }
    }

    pub(crate) fn answer<R: Serialize>(
        &self,
        id: u64,
        kind: &Kind,
        outcome: Result<&R, &WireError>,
        bin: Vec<Bytes>,
    ) -> Result<(), EncodeError> {
        let frame = envelope::encode_reply(id, kind, outcome, bin)?;
        let _ = self.queue(frame, id);
        Ok(())
    }

    /// Shows a frame that goes out to whoever watches.
    pub(crate) fn tap_out(&self, frame: &Encoded) {
        if let Some(taps) = self.0.taps.as_ref().filter(|taps| taps.active()) {
            taps.show(self.0.id, Direction::Out, &frame.to_bytes().slice(FRAME_PREFIX_BYTES..));
        }
    }

    /// Counts a frame that has come, without its length, and shows it to whoever watches.
    pub(crate) fn arrived(&self, frame: &Bytes) {
        let state = &self.0;
        // One writer: no read-modify-write is needed.
        state.requests_in.store(state.requests_in.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let bytes = (FRAME_PREFIX_BYTES + frame.len()) as u64;
        state.bytes_in.store(state.bytes_in.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
        if let Some(taps) = state.taps.as_ref().filter(|taps| taps.active()) {
            taps.show(state.id, Direction::In, frame);
        }
    }

    /// How many frames have come.
    pub(crate) fn arrivals(&self) -> u64 {
        self.0.requests_in.load(Ordering::Relaxed)
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.0.outbox
    }

    /// Counts a request of so many bytes until it is answered.
    pub(crate) fn take_in(&self, bytes: usize) -> InFlight {
        self.0.requests.fetch_add(1, Ordering::AcqRel);
        self.0.request_bytes.fetch_add(bytes, Ordering::AcqRel);
        InFlight { peer: self.clone(), bytes }
    }

    fn may_ask(&self) -> bool {
        self.0.requests.load(Ordering::Acquire) < IN_FLIGHT_MAX
            && self.0.request_bytes.load(Ordering::Acquire) < IN_FLIGHT_BYTES_MAX
    }

    /// Whether [`Self::room`] would not wait.
    pub(crate) fn has_room(&self) -> bool {
        self.may_ask() && self.0.outbox.bytes() < OUTBOX_BYTES_PAUSE
    }

    /// Waits until the peer's unanswered requests and unread answers leave room for one more request.
    pub(crate) async fn room(&self) {
        loop {
            let answered = self.0.answered.notified();
            if self.may_ask() {
                break;
            }
            answered.await;
        }
        self.0.outbox.below(OUTBOX_BYTES_PAUSE).await;
    }

    /// Waits until every request has been answered.
    pub(crate) async fn all_answered(&self) {
        loop {
            let answered = self.0.answered.notified();
            if self.unanswered() == 0 {
                return;
            }
            answered.await;
        }
    }

    /// Waits until this side ends the connection, and says why.
    pub(crate) async fn cut_off(&self) -> Loss {
        self.0.cut.cancelled().await;
        self.0.cut_why.get().cloned().unwrap_or_else(|| Loss::other("closed by the server"))
    }

    /// Waits for [`Self::close`].
    pub(crate) async fn closing(&self) {
        self.0.closing.cancelled().await;
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {} at {}", self.0.id, self.0.address)
    }
}

/// A request that is being worked on; counted until it is dropped.
pub(crate) struct InFlight {
    peer: Peer,
    bytes: usize,
}

impl InFlight {
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let state = &self.peer.0;
        state.request_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        state.requests.fetch_sub(1, Ordering::AcqRel);
        state.answered.notify_waiters();
    }
}
