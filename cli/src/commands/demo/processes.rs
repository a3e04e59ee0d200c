//! The demo's cluster: coordinators and brokers as separate processes of this very binary.

use super::layout::{Coordinators, Layout};
use super::redis::Redis;
use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// How long a process may take to say `ready`.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a process may take to end after Ctrl-C.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A running process of the cluster. Dropping it kills it: the demo leaves none behind.
struct Process {
    child: Child,
}

impl Process {
    /// Starts `yak <arguments>`; its notes go to `log`.
    fn spawn(arguments: &[String], log: &Path) -> anyhow::Result<Self> {
        let notes = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(std::env::current_exe()?);
        // What tells the user's own cluster something is not for this one.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(crate::config::is_ours) {
                command.env_remove(name);
            }
        }
        let child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(notes)
            // Ctrl-C at the terminal is for the demo; it passes it on as it needs.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child })
    }

    /// Waits for its line `ready <address>`.
    async fn ready(&mut self) -> anyhow::Result<()> {
        let stdout = self.child.stdout.take().context("no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if line.starts_with("ready ") {
                    return Ok(());
                }
            }
            bail!("it ended before it was ready")
        };
        match tokio::time::timeout(READY_TIMEOUT, ready).await {
            Ok(outcome) => outcome?,
            Err(_) => bail!("not ready within {} s", READY_TIMEOUT.as_secs()),
        }
        // Keep reading, so that the process never blocks on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(kill_process(pid.context("it has ended already")?, signal)?)
    }

    /// Waits for its end after Ctrl-C.
    async fn ended(mut self) -> anyhow::Result<()> {
        match tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(status) => {
                let status = status?;
                if !status.success() {
                    bail!("it ended with {status} after Ctrl-C");
                }
                Ok(())
            }
            Err(_) => bail!("it did not end within {} s of Ctrl-C", STOP_TIMEOUT.as_secs()),
        }
    }
}

/// A place for a process, which runs or does not; it keeps its data and addresses.
pub struct Place {
    /// Its name, as people read it.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Where a coordinator that runs inside it listens.
    pub coordinator: Option<String>,
    arguments: Vec<String>,
    /// Where its notes go.
    log: PathBuf,
    process: Option<Process>,
}

impl Place {
    /// Nothing runs there yet.
    pub fn new(name: String, address: String, arguments: Vec<String>, log: PathBuf) -> Self {
        Self { name, address, coordinator: None, arguments, log, process: None }
    }

    /// With a coordinator inside.
    pub fn coordinating(self, address: &str) -> Self {
        Self { coordinator: Some(address.to_owned()), ..self }
    }

    fn spawn(&mut self) -> anyhow::Result<()> {
        let started = Process::spawn(&self.arguments, &self.log);
        self.process = Some(started.with_context(|| format!("starting {}", self.name))?);
        Ok(())
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let ready = self.running()?.ready().await;
        ready.with_context(|| {
            let notes = std::fs::read_to_string(&self.log).unwrap_or_default();
            format!("starting {}; its notes:\n{notes}", self.name)
        })
    }

    /// Starts it on the data and addresses that it had, and waits until it is ready.
    pub async fn launch(&mut self) -> anyhow::Result<()> {
        self.spawn()?;
        self.ready().await
    }

    /// Ends it by `kill -9`.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        let mut process = self.take()?;
        process.child.kill().await.with_context(|| format!("killing {}", self.name))
    }

    /// Ends it by Ctrl-C: a broker hands over what it leads.
    pub async fn interrupt(&mut self) -> anyhow::Result<()> {
        self.running()?.signal(Signal::INT)?;
        self.take()?.ended().await.with_context(|| format!("stopping {}", self.name))
    }

    /// Stops it in the middle of whatever it does, as SIGSTOP does.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.running()?.signal(Signal::STOP)
    }

    /// Lets it go on as if nothing had been.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.running()?.signal(Signal::CONT)
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    fn running(&mut self) -> anyhow::Result<&mut Process> {
        self.process.as_mut().with_context(|| format!("{} does not run", self.name))
    }

    fn take(&mut self) -> anyhow::Result<Process> {
        self.process.take().with_context(|| format!("{} does not run", self.name))
    }
}

/// The processes of a cluster.
pub struct Processes {
    /// Coordinators of their own; none where brokers run them.
    pub coordinators: Vec<Place>,
    /// Brokers.
    pub brokers: Vec<Place>,
    redis: Option<Redis>,
}

impl Processes {
    /// Starts what the arrangement needs on free ports of loopback, with data and notes below `data`.
    pub async fn start(data: &Path, how: Coordinators) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data).with_context(|| format!("creating {}", data.display()))?;
        let redis = if how == Coordinators::Redis { Some(Redis::start(data).await?) } else { None };
        let Layout { coordinators, brokers } =
            Layout::new(how, data, redis.as_ref().map(Redis::url).as_deref())?;
        let mut cluster = Self { coordinators, brokers, redis };
        // Coordinators of a quorum wait for each other, and so do brokers that run them.
        for places in [&mut cluster.coordinators, &mut cluster.brokers] {
            for place in places.iter_mut() {
                place.spawn()?;
            }
            for place in places.iter_mut() {
                place.ready().await?;
            }
        }
        Ok(cluster)
    }

    /// Where the brokers listen, broker 1 first.
    pub fn addresses(&self) -> Vec<String> {
        self.brokers.iter().map(|place| place.address.clone()).collect()
    }

    /// Ends everything: brokers first, all at once, since the last ones have nobody to hand over to.
    pub async fn stop(self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        for mut places in [self.brokers, self.coordinators] {
            places.retain(Place::runs);
            for place in &mut places {
                // It may have been paused.
                place.running()?.signal(Signal::CONT)?;
                place.running()?.signal(Signal::INT)?;
            }
            for mut place in places {
                let ended = place.take()?.ended().await;
                outcome = outcome.and(ended.with_context(|| format!("stopping {}", place.name)));
            }
        }
        drop(self.redis);
        outcome
    }
}
