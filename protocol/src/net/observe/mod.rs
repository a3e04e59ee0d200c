//! What can be watched in a running process: its connections, copies of its frames, and its events.

mod connections;
mod events;
mod log;
mod taps;

pub use connections::{ConnectionInfo, ConnectionTotals, Connections, Mode};
pub use events::{Event, Events};
pub use log::{Levels, ProcessLog};
pub use taps::{Direction, Tap, TapFilter, Tapped, Taps};

/// One per process, made before its listeners serve and owned by its service. Clones share it.
#[derive(Clone, Default)]
pub struct Observer {
    /// Who is connected.
    pub connections: Connections,
    /// Who is shown copies of frames.
    pub taps: Taps,
    /// What happened.
    pub events: Events,
}
