//! What a running command is given besides its own arguments.

use crate::arguments::{Global, Output};
use crate::config::Configured;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a running command is given besides its own arguments.
#[derive(Clone, Debug)]
pub struct Context {
    /// Options of every command.
    pub global: Global,
    /// Cancelled by Ctrl-C and SIGTERM; a second Ctrl-C ends the process at once.
    pub shutdown: CancellationToken,
    /// What the command was told, and by whom.
    pub configured: Arc<Configured>,
    interrupted: Arc<AtomicBool>,
}

impl Context {
    /// Starts to listen for signals.
    ///
    /// # Errors
    /// When the process may not handle signals.
    pub fn start(global: Global, configured: Arc<Configured>) -> anyhow::Result<Self> {
        let context = Self {
            global,
            shutdown: CancellationToken::new(),
            configured,
            interrupted: Arc::new(AtomicBool::new(false)),
        };
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (shutdown, interrupted) = (context.shutdown.clone(), Arc::clone(&context.interrupted));
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(()) = interrupt.recv() => {
                        if interrupted.swap(true, Ordering::SeqCst) {
                            std::process::exit(i32::from(crate::exit::INTERRUPTED));
                        }
                        shutdown.cancel();
                    }
                    Some(()) = terminate.recv() => shutdown.cancel(),
                    else => return,
                }
            }
        });
        Ok(context)
    }

    /// Whether the end was asked for by Ctrl-C (exit code 130 for commands that had more to do).
    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }

    /// Whether results are printed as JSON.
    #[must_use]
    pub fn json(&self) -> bool {
        self.global.output == Output::Json
    }
}
