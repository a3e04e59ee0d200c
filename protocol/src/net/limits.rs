//! Every limit of a connection, with its unit.

use std::time::Duration;

/// How many connections a listener holds at once by default; one more is told so and closed.
pub const CONNECTIONS_MAX: usize = 4096;
/// How many bytes may be queued for a peer that does not read; beyond it the peer is disconnected.
pub const OUTBOX_BYTES_MAX: usize = 128 << 20;
/// From how many queued bytes on no further request of that peer is taken.
pub const OUTBOX_BYTES_PAUSE: usize = 16 << 20;
/// How many requests of one connection may be unanswered before no further one is taken.
pub const IN_FLIGHT_MAX: usize = 4096;
/// How many bytes the unanswered requests of one connection may hold before no further one is taken.
pub const IN_FLIGHT_BYTES_MAX: usize = 128 << 20;
/// How long a new connection may say nothing.
pub const FIRST_BYTE_MAX: Duration = Duration::from_secs(60);
/// How long a frame that has begun may stand still.
pub const READ_STALL_MAX: Duration = Duration::from_secs(30);
/// How long a peer may take nothing of what is being sent to it.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// How long replies are still sent to a peer that has closed its sending side.
pub const HALF_CLOSE_MAX: Duration = Duration::from_secs(5);
/// How long a stopping server waits for the replies that are under way.
pub const SHUTDOWN_FLUSH_MAX: Duration = Duration::from_millis(500);
/// How long a stopping server waits for its connections to end in all.
pub const SHUTDOWN_MAX: Duration = Duration::from_secs(2);
/// After a refusal that closes the connection, how long and how many bytes are still read and thrown
/// away, so that the refusal is not lost in a reset.
pub const LINGER: Duration = Duration::from_secs(1);
/// See [`LINGER`].
pub const LINGER_BYTES_MAX: usize = 1 << 20;
/// How long the accept loop rests when the process has run out of descriptors or memory.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection attempt may take by default.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// TCP keep-alive: the first probe after this long without traffic.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// TCP keep-alive: between probes.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// TCP keep-alive: how many unanswered probes end the connection.
pub const KEEP_ALIVE_PROBES: u32 = 3;
/// How long sent bytes may stay unacknowledged by the peer's machine.
pub const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);
/// How much is read from a socket at once, in bytes.
pub const READ_BYTES: usize = 64 << 10;
/// How many pieces one vectored write takes.
pub const WRITE_PIECES_MAX: usize = 128;
