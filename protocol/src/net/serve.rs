//! The accept loop.

use super::front;
use super::limits::{ACCEPT_PAUSE, SHUTDOWN_MAX};
use super::listener::{Listener, ListenerConfig};
use super::peer::Peer;
use super::service::Service;
use super::verbs;
use crate::envelope::{self, ERROR_KIND};
use crate::error::{ErrorCode, WireError};
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Answers on the listener until `shutdown`, then stops accepting, lets the replies that are under way
/// out for a short while and returns when every connection is closed.
///
/// Dropping the future closes everything at once, with nothing sent any more and no [`Service::closed`].
pub async fn serve<S: Service>(listener: Listener, service: Arc<S>, shutdown: CancellationToken) {
    let Listener { socket, config, .. } = listener;
    let config = Arc::new(config);
    verbs::check_allowed(&config.text_allow, &*service);
    let observer = service.observer().cloned();
    let mut connections = JoinSet::new();
    let mut next_id = 0;
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            () = shutdown.cancelled() => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(pause) = pause_after(&error) {
                    tracing::warn!(%error, "cannot accept a connection, resting");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = shutdown.cancelled() => break,
                    }
                }
                continue;
            }
        };
        if connections.len() >= config.connections_max {
            turn_away(&stream, address, &config);
            continue;
        }
        // Several listeners of a process number their connections together, if somebody watches them.
        next_id = observer.as_ref().map_or(next_id + 1, |observer| observer.connections.next_id());
        let taps = observer.as_ref().map(|observer| observer.taps.clone());
        let peer = Peer::new(next_id, address, config.outbox_bytes_max, taps);
        let listed = observer.as_ref().map(|observer| observer.connections.enter(&peer));
        let session = front::run(stream, peer, config.clone(), service.clone(), shutdown.clone());
        connections.spawn(async move {
            session.await;
            drop(listed);
        });
    }
    drop(socket);
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(SHUTDOWN_MAX, all_ended).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections did not end in time and are cut");
        connections.shutdown().await;
    }
}

/// How long to rest after a failed accept. An error of the one connection that was to be accepted says
/// nothing about the next; everything else (no descriptors, no memory) would only spin.
fn pause_after(error: &Error) -> Option<Duration> {
    match error.kind() {
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted => None,
        _ => Some(ACCEPT_PAUSE),
    }
}

/// One connection too many is told so, as far as that is possible without waiting for it.
fn turn_away(stream: &TcpStream, address: SocketAddr, config: &ListenerConfig) {
    let what =
        format!("{} connections are open, the most is {}", config.connections_max, config.connections_max);
    tracing::warn!(%address, "connection turned away: {what}");
    let error = WireError::new(ErrorCode::Overloaded, what);
    if let Ok(frame) = envelope::encode_reply::<()>(0, ERROR_KIND, Err(&error), Vec::new()) {
        let _ = stream.try_write(&frame.to_bytes());
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_only_when_the_process_is_short_of_something() {
        assert_eq!(pause_after(&ErrorKind::ConnectionAborted.into()), None);
        const EMFILE: i32 = 24;
        assert_eq!(pause_after(&Error::from_raw_os_error(EMFILE)), Some(ACCEPT_PAUSE));
    }
}
