//! Connections to the other coordinators: one for each, shared by everything that is asked of it, opened
//! again after a pause when it breaks. What cannot be sent fails at once; nobody waits for the dead.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use yak_protocol::error::WireError;
use yak_protocol::message::Message;
use yak_protocol::net::{Answer, ConnectOptions, Connection, RequestError};

/// How long a broken link is left alone.
const PAUSE: Duration = Duration::from_millis(100);
/// After how many requests without an answer a connection is given up: it may lead nowhere.
const UNANSWERED_MAX: u32 = 20;

/// After which silence that is said.
const MISSED_AFTER: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// The other side says no.
    #[error("{0}")]
    Refused(WireError),
    /// Nobody is there, or is heard.
    #[error("{0}")]
    Unreachable(String),
}

/// All links of a coordinator, by address.
#[derive(Default)]
pub(crate) struct Links(Mutex<HashMap<String, Arc<Link>>>);

impl Links {
    pub(crate) fn to(&self, address: &str) -> Arc<Link> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.entry(address.to_owned()).or_insert_with(|| Arc::new(Link::new(address))).clone()
    }

    /// Ends all of them.
    pub(crate) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A link to one address.
pub(crate) struct Link {
    address: String,
    state: watch::Sender<State>,
    unanswered: AtomicU32,
    heard: Mutex<Heard>,
}

/// What is known of the other side.
#[derive(Clone, Default)]
pub(crate) struct Heard {
    /// When it last answered.
    pub(crate) at: Option<Instant>,
    /// Why it last did not, since then.
    pub(crate) trouble: Option<String>,
    silence: Silence,
}

/// Whether the other side is missed.
#[derive(Clone, Copy, Default)]
enum Silence {
    #[default]
    None,
    Since(Instant),
    Said,
}

enum State {
    Idle,
    Connecting,
    Open(Connection),
    Broken { at: Instant, why: String },
}

impl Link {
    fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            state: watch::Sender::new(State::Idle),
            unanswered: AtomicU32::new(0),
            heard: Mutex::default(),
        }
    }

    pub(crate) fn heard(&self) -> Heard {
        self.lock_heard().clone()
    }

    fn lock_heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks. May be dropped at any await.
    pub(crate) async fn request<M: Message>(
        self: &Arc<Self>,
        message: &M,
        bin: Vec<bytes::Bytes>,
        limit: Duration,
    ) -> Result<Answer<M::Reply>, NoAnswer> {
        let mut asked = Asked { link: self, connection: None, answered: false };
        let answer = tokio::time::timeout(limit, async {
            let connection = self.connection().await.map_err(NoAnswer::Unreachable)?;
            asked.connection = Some(connection.clone());
            connection.request(message, bin).await.map_err(|error| match error {
                RequestError::Refused(error) => NoAnswer::Refused(error),
                other => NoAnswer::Unreachable(other.to_string()),
            })
        });
        let answer = answer.await.unwrap_or_else(|_| {
            Err(NoAnswer::Unreachable(format!("no answer from {} within {limit:?}", self.address)))
        });
        let mut heard = self.lock_heard();
        match &answer {
            Err(NoAnswer::Unreachable(why)) => {
                heard.trouble = Some(why.clone());
                heard.silence = self.missed(heard.silence, why);
            }
            Err(NoAnswer::Refused(error)) => {
                asked.answered = true;
                heard.trouble = Some(error.to_string());
                heard.silence = self.back(heard.silence);
            }
            Ok(_) => {
                asked.answered = true;
                let silence = self.back(heard.silence);
                *heard = Heard { at: Some(Instant::now()), trouble: None, silence };
            }
        }
        drop(heard);
        answer
    }

    /// Says once that it is silent: many requests a second are in vain then.
    fn missed(&self, silence: Silence, why: &str) -> Silence {
        match silence {
            Silence::None => Silence::Since(Instant::now()),
            Silence::Since(at) if at.elapsed() >= MISSED_AFTER => {
                tracing::warn!(peer = self.address, "a coordinator does not answer: {why}");
                Silence::Said
            }
            known => known,
        }
    }

    fn back(&self, silence: Silence) -> Silence {
        if matches!(silence, Silence::Said) {
            tracing::info!(peer = self.address, "a coordinator answers again");
        }
        Silence::None
    }

    /// The open connection, or the one that is being opened; an error while the link is left alone.
    async fn connection(self: &Arc<Self>) -> Result<Connection, String> {
        let mut states = self.state.subscribe();
        loop {
            let mut connect = false;
            self.state.send_if_modified(|state| {
                connect = match &*state {
                    State::Idle => true,
                    State::Connecting => false,
                    State::Open(connection) => connection.closed(),
                    State::Broken { at, .. } => at.elapsed() >= PAUSE,
                };
                if connect {
                    *state = State::Connecting;
                }
                connect
            });
            if connect {
                tokio::spawn(self.clone().connect());
            }
            match &*states.borrow_and_update() {
                State::Open(connection) => return Ok(connection.clone()),
                State::Broken { why, .. } => return Err(why.clone()),
                State::Idle | State::Connecting => {}
            }
            if states.changed().await.is_err() {
                return Err("closed".to_owned());
            }
        }
    }

    async fn connect(self: Arc<Self>) {
        let connected = Connection::connect(&self.address, &ConnectOptions::default()).await;
        self.unanswered.store(0, Ordering::Relaxed);
        self.state.send_replace(match connected {
            Ok((connection, _)) => State::Open(connection),
            Err(error) => State::Broken { at: Instant::now(), why: error.to_string() },
        });
    }
}

/// A request under way; dropped without an answer it counts against its connection.
struct Asked<'a> {
    link: &'a Link,
    connection: Option<Connection>,
    answered: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let unanswered = &self.link.unanswered;
        if self.answered {
            unanswered.store(0, Ordering::Relaxed);
        } else if unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= UNANSWERED_MAX
            && let Some(connection) = &self.connection
        {
            connection.close();
        }
    }
}
