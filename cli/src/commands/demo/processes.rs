//! The demo's cluster: a coordinator and brokers as separate processes of this very binary.

use anyhow::{Context as _, bail};
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
pub struct Process {
    name: String,
    address: String,
    child: Child,
}

impl Process {
    /// Starts `yak <arguments>` and waits for its `ready <address>`; its notes go to `log`.
    async fn start(name: &str, arguments: &[&str], log: &Path) -> anyhow::Result<Self> {
        let notes = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .env_remove("YAK_BROKERS")
            .env_remove("BROKER_ID")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(notes)
            // Ctrl-C at the terminal is for the demo; it passes it on as it needs.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(address) = line.strip_prefix("ready ") {
                    return Ok(address.to_owned());
                }
            }
            bail!("it ended before it was ready")
        };
        let address = match tokio::time::timeout(READY_TIMEOUT, ready).await {
            Ok(Ok(address)) => address,
            failed => {
                let why = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => format!("not ready within {} s", READY_TIMEOUT.as_secs()),
                };
                let notes = std::fs::read_to_string(log).unwrap_or_default();
                bail!("starting {name}: {why}; its notes:\n{notes}");
            }
        };
        // Keep reading, so that the process never blocks on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { name: name.to_owned(), address, child })
    }

    /// `kill -9`.
    async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("killing {}", self.name))
    }

    /// Ctrl-C, then waits for the end.
    async fn interrupt(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.with_context(|| format!("{} has ended already", self.name))?;
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        match tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(status) => {
                let status = status?;
                if !status.success() {
                    bail!("{} ended with {status} after Ctrl-C", self.name);
                }
                Ok(())
            }
            Err(_) => bail!("{} did not end within {} s of Ctrl-C", self.name, STOP_TIMEOUT.as_secs()),
        }
    }
}

/// One coordinator and some brokers, each a process.
pub struct Processes {
    data: PathBuf,
    coordinator: Process,
    brokers: Vec<(String, Option<Process>)>,
}

impl Processes {
    /// Starts them on free ports, with their data and notes below `data`.
    pub async fn start(data: &Path, brokers: usize) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data).with_context(|| format!("creating {}", data.display()))?;
        let dir = data.join("coordinator").display().to_string();
        let coordinator = Process::start(
            "the coordinator",
            &["coordinator", "--listen", "127.0.0.1:0", "--data", &dir],
            &data.join("coordinator.log"),
        )
        .await?;
        let mut cluster = Self { data: data.to_owned(), coordinator, brokers: Vec::new() };
        for n in 1..=brokers {
            cluster.brokers.push(("127.0.0.1:0".to_owned(), None));
            cluster.launch(n).await?;
        }
        Ok(cluster)
    }

    /// Where the brokers listen, broker 1 first; it does not change when one is restarted.
    pub fn addresses(&self) -> Vec<String> {
        self.brokers.iter().map(|(address, _)| address.clone()).collect()
    }

    /// Which broker (from 1) listens there.
    pub fn number_at(&self, address: &str) -> Option<usize> {
        self.brokers.iter().position(|(listens, _)| listens == address).map(|index| index + 1)
    }

    /// Starts broker `n` on the data and address that it had.
    pub async fn launch(&mut self, n: usize) -> anyhow::Result<()> {
        let (name, dir) = (format!("b{n}"), self.data.join(format!("b{n}")).display().to_string());
        let log = self.data.join(format!("b{n}.log"));
        let (address, process) = self.brokers.get_mut(n - 1).context("no such broker")?;
        let arguments = [
            "broker",
            "--name",
            &name,
            "--coordinator",
            &self.coordinator.address,
            "--listen",
            address,
            "--data",
            &dir,
        ];
        let started = Process::start(&format!("broker {n}"), &arguments, &log).await?;
        *address = started.address.clone();
        *process = Some(started);
        Ok(())
    }

    /// Ends broker `n` by `kill -9`.
    pub async fn kill(&mut self, n: usize) -> anyhow::Result<()> {
        self.take(n)?.kill().await
    }

    /// Ends broker `n` by Ctrl-C: it hands over what it leads.
    pub async fn interrupt(&mut self, n: usize) -> anyhow::Result<()> {
        self.take(n)?.interrupt().await
    }

    /// Ends everything.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        for (_, process) in &mut self.brokers {
            if let Some(process) = process.take() {
                process.interrupt().await?;
            }
        }
        self.coordinator.interrupt().await
    }

    fn take(&mut self, n: usize) -> anyhow::Result<Process> {
        let process = self.brokers.get_mut(n - 1).and_then(|(_, process)| process.take());
        process.with_context(|| format!("broker {n} does not run"))
    }
}
