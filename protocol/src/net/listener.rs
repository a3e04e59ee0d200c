//! Where a server listens.

use super::limits::{CONNECTIONS_MAX, OUTBOX_BYTES_MAX};
use super::observe::ProcessLog;
use super::roles::RoleSet;
use crate::defaults::{FRAME_BYTES_CEILING, FRAME_BYTES_MAX};
use crate::text::{Access, Settings, Sources, Word};
use std::fmt;
use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// What a listener takes.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// What its peers may do.
    pub roles: RoleSet,
    /// The longest frame, in bytes; at most [`FRAME_BYTES_CEILING`].
    pub max_frame_bytes: u32,
    /// Whether it may be reached from other machines though nobody has to prove who they are.
    pub insecure: bool,
    /// How many connections at once.
    pub connections_max: usize,
    /// How many bytes may be queued for one peer before it is disconnected.
    pub outbox_bytes_max: usize,
    /// What people may do by hand; by default what [`TextAccess::default_for`] says.
    pub text: Option<TextAccess>,
    /// Words (in lower case) and commands (in upper case) that are answered beyond what `text` allows.
    pub text_allow: Vec<String>,
    /// Whether every connection comes through a proxy and begins with a header of the PROXY protocol (1
    /// or 2) that says where it comes from.
    pub proxy_protocol: bool,
    /// What `LOG` shows and `LEVEL` changes; without it they are refused.
    pub log: Option<ProcessLog>,
}

/// What a listener lets people do by hand: in text, and in lines of JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TextAccess {
    /// Nothing; only `ruok` is answered.
    Off,
    /// The words (`ruok`, `stat`, ...).
    Words,
    /// Also commands and messages that look and change nothing.
    ReadOnly,
    /// Everything.
    Full,
}

impl TextAccess {
    const NAMES: [(Self, &str); 4] =
        [(Self::Off, "off"), (Self::Words, "words"), (Self::ReadOnly, "readonly"), (Self::Full, "full")];

    /// Without authentication: everything from the same machine, looking only from any other.
    #[must_use]
    pub fn default_for(address: SocketAddr) -> Self {
        if address.ip().to_canonical().is_loopback() { Self::Full } else { Self::ReadOnly }
    }

    /// Whether it lets people do this.
    #[must_use]
    pub fn allows(self, access: Access) -> bool {
        self >= Self::needed_for(access)
    }

    /// The least that lets people do this.
    pub(super) fn needed_for(access: Access) -> Self {
        if access == Access::Read { Self::ReadOnly } else { Self::Full }
    }
}

impl fmt::Display for TextAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES.iter().find(|(access, _)| access == self).map_or("?", |(_, name)| name))
    }
}

/// A name that is none of [`TextAccess`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("text is full, readonly, words or off, not `{0}`")]
pub struct UnknownTextAccess(String);

impl FromStr for TextAccess {
    type Err = UnknownTextAccess;

    fn from_str(text: &str) -> Result<Self, UnknownTextAccess> {
        let named = Self::NAMES.iter().find(|(_, name)| *name == text);
        named.map(|(access, _)| *access).ok_or_else(|| UnknownTextAccess(text.to_owned()))
    }
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self {
            roles: RoleSet::ALL,
            max_frame_bytes: FRAME_BYTES_MAX,
            insecure: false,
            connections_max: CONNECTIONS_MAX,
            outbox_bytes_max: OUTBOX_BYTES_MAX,
            text: None,
            text_allow: Vec::new(),
            proxy_protocol: false,
            log: None,
        }
    }
}

impl ListenerConfig {
    /// Whether a word or command is answered to whoever has `access` and may do what `needs` says.
    pub(super) fn answers(&self, name: &str, access: TextAccess, needs: TextAccess) -> bool {
        access >= needs || self.text_allow.iter().any(|allowed| allowed == name)
    }

    /// Adds what it was told to the settings of its process.
    pub fn show(&self, sources: &Sources, settings: &mut Settings) {
        let usual = Self::default();
        let text = self.text.map_or_else(|| "by address".to_owned(), |text| text.to_string());
        settings.given(sources, "text", text);
        settings.given(sources, "text_allow", self.text_allow.join(","));
        settings.given(sources, "proxy_protocol", self.proxy_protocol);
        settings.by_program("listener.roles", self.roles.to_string(), usual.roles.to_string());
        settings.by_program("listener.max_frame_bytes", self.max_frame_bytes, usual.max_frame_bytes);
        settings.by_program("listener.connections_max", self.connections_max, usual.connections_max);
    }
}

/// The name of a word or command, as [`ListenerConfig::text_allow`] has it.
///
/// # Errors
/// It can be neither.
pub fn allowed_by_hand(name: &str) -> Result<String, String> {
    if Word::parse(name.as_bytes()).is_some() {
        return Ok(name.to_owned());
    }
    if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_alphabetic()) {
        return Err(format!("`{name}` is no word and no command, such as mntr or TOPICS"));
    }
    Ok(name.to_ascii_uppercase())
}

/// Why there is no listener.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BindError {
    /// The address means nothing here.
    #[error("cannot listen on {0}: {1}; an address is host:port, as in 127.0.0.1:9701")]
    BadAddress(String, String),
    /// Other machines could reach it.
    #[error(
        "{0} can be reached from other machines, and there is no authentication: listen on 127.0.0.1, or \
         say --insecure if everybody who can reach it may do everything"
    )]
    BeyondLoopback(String),
    /// Somebody listens there already.
    #[error("{0} is in use by another process: stop it, or listen on another port")]
    InUse(String),
    /// The machine has no such address.
    #[error("{0} is not an address of this machine")]
    NotOurs(String),
    /// The port is for privileged processes.
    #[error("no permission to listen on {0}: ports below 1024 need privileges, take a higher one")]
    NoPermission(String),
    /// The frame limit is above the ceiling.
    #[error("max_frame_bytes is {0}, the most is {FRAME_BYTES_CEILING}")]
    FrameLimit(u32),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Failed(String, String),
}

/// A bound socket; [`super::serve`] answers on it.
#[derive(Debug)]
pub struct Listener {
    pub(crate) socket: tokio::net::TcpListener,
    pub(crate) config: ListenerConfig,
    local: SocketAddr,
}

impl Listener {
    /// Listens on `host:port` (port 0 = any free one). Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`], which names the address and what to do about it.
    pub fn bind(address: &str, config: ListenerConfig) -> Result<Self, BindError> {
        let named = || address.to_owned();
        if config.max_frame_bytes > FRAME_BYTES_CEILING || config.max_frame_bytes == 0 {
            return Err(BindError::FrameLimit(config.max_frame_bytes));
        }
        let resolved: Vec<SocketAddr> = address
            .to_socket_addrs()
            .map_err(|error| BindError::BadAddress(named(), error.to_string()))?
            .collect();
        if !config.insecure && resolved.iter().any(|address| !address.ip().is_loopback()) {
            return Err(BindError::BeyondLoopback(named()));
        }
        let socket =
            std::net::TcpListener::bind(&resolved[..]).map_err(|error| bind_error(address, &error))?;
        let failed = |error: Error| BindError::Failed(named(), error.to_string());
        socket.set_nonblocking(true).map_err(failed)?;
        let socket = tokio::net::TcpListener::from_std(socket).map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, config, local })
    }

    /// Where it listens: the port is the real one.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What its peers may do.
    #[must_use]
    pub fn roles(&self) -> RoleSet {
        self.config.roles
    }

    /// What it takes.
    #[must_use]
    pub fn config(&self) -> &ListenerConfig {
        &self.config
    }

    /// Whether it answers beyond loopback without authentication.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        !self.local.ip().is_loopback()
    }
}

fn bind_error(address: &str, error: &Error) -> BindError {
    let address = address.to_owned();
    match error.kind() {
        ErrorKind::AddrInUse => BindError::InUse(address),
        ErrorKind::AddrNotAvailable => BindError::NotOurs(address),
        ErrorKind::PermissionDenied => BindError::NoPermission(address),
        ErrorKind::InvalidInput => BindError::BadAddress(address, error.to_string()),
        _ => BindError::Failed(address, error.to_string()),
    }
}
