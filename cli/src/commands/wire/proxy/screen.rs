use super::super::events::Ends;
use super::super::printer::{Printer, Tally};
use std::fs::File;
use std::io::{self, Stdout};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;
use yak_protocol::decode::capture::{CaptureWriter, Written};
use yak_protocol::decode::{Conversation, Direction, Event, Filter};

/// Where all connections are shown and written down.
pub(super) struct Screen {
    outputs: Mutex<Outputs>,
    filter: Filter,
    connections: AtomicUsize,
    /// Cancelled once an output takes nothing more.
    failed: CancellationToken,
}

struct Outputs {
    printer: Printer<Stdout>,
    capture: Option<CaptureWriter<File>>,
    error: Option<io::Error>,
}

impl Screen {
    pub(super) fn new(
        printer: Printer<Stdout>,
        capture: Option<CaptureWriter<File>>,
        filter: Filter,
    ) -> Self {
        let outputs = Mutex::new(Outputs { printer, capture, error: None });
        Self { outputs, filter, connections: AtomicUsize::new(0), failed: CancellationToken::new() }
    }

    /// The number of a new connection, from 1.
    pub(super) fn next_connection(&self) -> usize {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Waits until an output takes nothing more.
    pub(super) async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// What was seen in all.
    ///
    /// # Errors
    /// Why an output took nothing more.
    pub(super) fn close(&self) -> io::Result<Tally> {
        let mut outputs = self.outputs();
        match outputs.error.take() {
            Some(error) => Err(error),
            None => Ok(outputs.printer.tally()),
        }
    }

    fn outputs(&self) -> MutexGuard<'_, Outputs> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, write: impl FnOnce(&mut Outputs, Duration) -> io::Result<()>) {
        let mut outputs = self.outputs();
        // Taken under the lock: the times of a capture go up.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if outputs.error.is_none()
            && let Err(error) = write(&mut outputs, now)
        {
            outputs.error = Some(error);
            self.failed.cancel();
        }
    }
}

/// One connection on the screen.
pub(super) struct Link {
    ends: Ends,
    screen: Arc<Screen>,
    state: Mutex<State>,
}

struct State {
    conversation: Conversation,
    written: Option<Written>,
    /// Whether its end has been written.
    closed: bool,
}

impl Link {
    pub(super) fn open(ends: Ends, screen: Arc<Screen>) -> Self {
        let mut written = None;
        screen.write(|outputs, now| {
            if let Some(capture) = &mut outputs.capture {
                written = Some(capture.open(now, ends.client, ends.server)?);
            }
            Ok(())
        });
        let conversation = Conversation::new(screen.filter.clone());
        Self { ends, screen, state: Mutex::new(State { conversation, written, closed: false }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes came in, and this is their fate.
    pub(super) fn saw(&self, direction: Direction, bytes: &[u8], fault: Option<&str>) {
        let mut state = self.state();
        self.screen.write(|outputs, now| {
            let events = state.conversation.push(direction, Some(now), bytes);
            self.show(outputs, &events, fault)
        });
    }

    /// One way came to its end.
    pub(super) fn saw_end(&self, direction: Direction, fault: Option<&str>) {
        let mut state = self.state();
        self.screen.write(|outputs, now| {
            let events = state.conversation.end(direction, Some(now));
            self.show(outputs, &events, None)?;
            match fault {
                Some(fault) => outputs.printer.note(&self.ends, direction, fault),
                None => Ok(()),
            }
        });
    }

    fn show(&self, outputs: &mut Outputs, events: &[Event], fault: Option<&str>) -> io::Result<()> {
        events.iter().try_for_each(|event| outputs.printer.show(Some(&self.ends), event, fault))?;
        outputs.printer.flush()
    }

    /// Bytes went on.
    pub(super) fn passed(&self, direction: Direction, bytes: &[u8]) {
        self.capture(|capture, now, written| capture.data(now, written, direction, bytes));
    }

    /// The end of one way went on.
    pub(super) fn passed_end(&self, direction: Direction) {
        self.capture(|capture, now, written| capture.end(now, written, direction, false));
    }

    /// The connection is over; `cut` if not both ways had ended by themselves.
    pub(super) fn close(&self, cut: bool) {
        if cut {
            self.capture(|capture, now, written| capture.end(now, written, Direction::ToClient, true));
        }
        self.state().closed = true;
    }

    fn capture(
        &self,
        write: impl FnOnce(&mut CaptureWriter<File>, Duration, &mut Written) -> io::Result<()>,
    ) {
        let mut state = self.state();
        let State { written: Some(written), closed: false, .. } = &mut *state else { return };
        self.screen.write(|outputs, now| match &mut outputs.capture {
            Some(capture) => write(capture, now, written),
            None => Ok(()),
        });
    }
}
