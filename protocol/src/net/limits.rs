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
/// How long the first bytes of another protocol may take to be told apart.
pub const SNIFF_MAX: Duration = Duration::from_secs(5);
/// How long a PROXY protocol header may take in all.
pub const PROXY_HEADER_MAX: Duration = Duration::from_secs(5);
/// After how much silence bytes that could go on are taken as all there is: a word without an end of
/// line (`echo -n ruok`), an empty line that could begin a PROXY header.
pub const SILENCE: Duration = Duration::from_millis(200);
/// After how much silence a connection that said `ONESHOT` is over.
pub const ONESHOT_SILENCE: Duration = Duration::from_millis(200);
/// How long somebody who types may think.
pub const TEXT_IDLE_MAX: Duration = Duration::from_secs(600);
/// The longest line of text, in bytes, its end not counted.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// The longest line of JSON, in bytes, its end not counted: room for a batch of the largest default size.
pub const JSON_LINE_BYTES_MAX: usize = 4 << 20;
/// How much room is made at once for lines, in bytes.
pub const LINE_READ_BYTES: usize = 8 << 10;
/// How long a command may go on without a line of data before it is ended. `FOLLOW` may for ever.
pub const COMMAND_STALL_MAX: Duration = Duration::from_secs(60);
/// How many lines of data a command may answer, unless it was asked for more with `max=` or `FOLLOW`.
pub const ROWS_MAX: usize = 100_000;
/// The longest `LINGER`.
pub const LINGER_COMMAND_MAX: Duration = Duration::from_secs(24 * 3600);
/// From how many queued bytes on a command waits for its reader.
pub const TEXT_BYTES_PAUSE: usize = 256 << 10;
/// How many events are remembered.
pub const EVENTS_MAX: usize = 1000;
/// How much of a line of the log is remembered, in bytes; [`EVENTS_MAX`] lines are.
pub const LOG_LINE_BYTES_MAX: usize = 2 << 10;
/// How many frames wait for one tap; more are dropped and counted.
pub const TAP_FRAMES_MAX: usize = 1024;
/// How many bytes wait for one tap; more are dropped and counted.
pub const TAP_BYTES_MAX: usize = 16 << 20;
/// How many requests of a topic a tap remembers, to know their answers.
pub const TAP_REQUESTS_MAX: usize = 4096;
/// How many frames a second `TAP` prints unless it is told.
pub const TAP_RATE: u32 = 100;
/// How many bytes of what is not understood go to the log.
pub const DUMP_BYTES_MAX: usize = 64;
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
