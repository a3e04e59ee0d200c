//! One shared connection to each process, made again when it is lost.

use super::backoff::Backoff;
use crate::net::connection::{ConnectError, ConnectOptions, Connection};
use dashmap::DashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

pub(super) struct Links {
    options: ConnectOptions,
    by_address: DashMap<String, Arc<Link>>,
}

impl Links {
    pub(super) fn new(options: ConnectOptions) -> Self {
        // A client talks to a handful of processes: few shards.
        Self { options, by_address: DashMap::with_shard_amount(4) }
    }

    pub(super) fn to(&self, address: &str) -> Arc<Link> {
        if let Some(link) = self.by_address.get(address) {
            return link.clone();
        }
        let new = || {
            Arc::new(Link {
                address: address.to_owned(),
                options: self.options.clone(),
                current: Mutex::default(),
                connecting: tokio::sync::Mutex::default(),
            })
        };
        self.by_address.entry(address.to_owned()).or_insert_with(new).clone()
    }

    pub(super) fn is_open(&self, address: &str) -> bool {
        self.by_address.get(address).is_some_and(|link| link.open().is_some())
    }

    pub(super) fn close(&self) {
        for link in &self.by_address {
            if let Some(connection) = link.current.lock().unwrap_or_else(PoisonError::into_inner).take() {
                connection.close();
            }
        }
    }
}

pub(super) struct Link {
    address: String,
    options: ConnectOptions,
    current: Mutex<Option<Connection>>,
    /// Held by the one task that connects while the others wait for what it gets.
    connecting: tokio::sync::Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    backoff: Backoff,
    /// Why the last attempt failed, and when the next may be made.
    failed: Option<(ConnectError, Instant)>,
}

impl Link {
    pub(super) fn open(&self) -> Option<Connection> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|connection| !connection.closed()).cloned()
    }

    pub(super) async fn connect(&self) -> Result<Connection, ConnectError> {
        if let Some(connection) = self.open() {
            return Ok(connection);
        }
        let mut attempts = self.connecting.lock().await;
        if let Some(connection) = self.open() {
            return Ok(connection);
        }
        if let Some((error, not_before)) = &attempts.failed
            && Instant::now() < *not_before
        {
            return Err(error.clone());
        }
        match Connection::connect(&self.address, &self.options).await {
            // What a server sends on its own is not for this client: nobody receives it.
            Ok((connection, _)) => {
                *attempts = Attempts::default();
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                let pause = attempts.backoff.next();
                attempts.failed = Some((error.clone(), Instant::now() + pause));
                Err(error)
            }
        }
    }
}
