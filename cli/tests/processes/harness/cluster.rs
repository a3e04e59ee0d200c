//! A coordinator and brokers, each a process.

use super::{Clocks, Finished, Network, Process, free_ports, until, yak};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// For `--coordinator`: inside the brokers.
pub const EMBEDDED: &str = "embedded";

/// One partition as `yak topic describe` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Which broker leads, from 1; brokers are numbered in the order in which they were started.
    pub leader: Option<usize>,
    pub epoch: u64,
    pub in_sync: usize,
}

/// One record as `yak consume -J` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub partition: u64,
    pub offset: u64,
    pub key: Option<String>,
    pub payload: String,
}

struct Slot {
    address: String,
    /// Where others reach it, if that is another address.
    advertise: Option<String>,
    /// What else it is started with.
    options: Vec<String>,
    process: Option<Process>,
}

impl Slot {
    fn new() -> Self {
        Self { address: "127.0.0.1:0".to_owned(), advertise: None, options: Vec::new(), process: None }
    }

    /// Where others reach it.
    fn reached_at(&self) -> &str {
        self.advertise.as_ref().unwrap_or(&self.address)
    }
}

/// A coordinator and brokers, each a process.
pub struct Cluster {
    options: Vec<String>,
    coordinator_address: String,
    /// Where the brokers reach the coordinator, if that is another address.
    coordinator_proxy: Option<String>,
    coordinator: Option<Process>,
    brokers: Vec<Slot>,
    clocks: Option<Clocks>,
    network: Option<Network>,
    /// The last field: what the processes use goes after them.
    data: TempDir,
}

impl Cluster {
    /// Three brokers with leases of `lease` seconds.
    pub fn start(lease: &str) -> Self {
        Self::start_with(3, lease)
    }

    /// So many brokers with leases of `lease` seconds.
    pub fn start_with(brokers: usize, lease: &str) -> Self {
        Self::start_all(brokers, lease, None)
    }

    /// The same, where each process has a clock of its own.
    pub fn start_with_clocks(brokers: usize, lease: &str, clocks: Clocks) -> Self {
        Self::start_all(brokers, lease, Some(clocks))
    }

    fn start_all(brokers: usize, lease: &str, clocks: Option<Clocks>) -> Self {
        let renew = (lease.parse::<f64>().expect("seconds") / 6.0).to_string();
        let options = ["--lease-time-seconds", lease, "--renew-interval-seconds", &renew];
        let mut cluster = Self::without_brokers("127.0.0.1:0");
        cluster.options = options.map(str::to_owned).to_vec();
        cluster.clocks = clocks;
        cluster.start_coordinator();
        cluster.add_brokers(brokers);
        cluster
    }

    /// So many brokers under coordinators that the test has started.
    pub fn start_under(coordinators: &str, brokers: usize) -> Self {
        let mut cluster = Self::without_brokers(coordinators);
        cluster.add_brokers(brokers);
        cluster
    }

    fn without_brokers(coordinators: &str) -> Self {
        Self {
            data: tempfile::tempdir().expect("a folder for data"),
            options: Vec::new(),
            coordinator_address: coordinators.to_owned(),
            coordinator_proxy: None,
            coordinator: None,
            brokers: Vec::new(),
            clocks: None,
            network: None,
        }
    }

    /// The same in a network that can be cut, each broker in a place of its name: `b1` and so on. The first one is
    /// started with the first of these options, and so on; their coordinators may be inside.
    pub fn start_within(
        network: &Network,
        coordinators: &str,
        options: Vec<Vec<String>>,
        clocks: Option<Clocks>,
    ) -> Self {
        let mut cluster = Self::without_brokers(coordinators);
        cluster.clocks = clocks;
        cluster.network = Some(network.clone());
        for (n, options) in (1..).zip(options) {
            let address = free_ports(1).remove(0);
            let advertise = Some(network.front(&format!("b{n}"), &address));
            cluster.brokers.push(Slot { address, advertise, options, process: None });
            cluster.launch_broker(n);
            // Those that coordinate themselves are ready only together, and registered in any order.
            if coordinators != EMBEDDED {
                cluster.broker_ready(n);
            }
        }
        (1..=cluster.brokers.len()).for_each(|n| cluster.broker_ready(n));
        cluster
    }

    fn add_brokers(&mut self, brokers: usize) {
        for n in 1..=brokers {
            self.brokers.push(Slot::new());
            self.launch_broker(n);
            self.broker_ready(n);
        }
    }

    /// Where a process of this name keeps its data: `coordinator`, `b1` and so on.
    pub fn dir(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    /// Sets the clock of the process of this name to so many seconds beside the machine's.
    pub fn set_clock(&self, name: &str, seconds: i64) {
        self.clocks.as_ref().expect("started with clocks").set(name, seconds);
    }

    fn environment(&self, name: &str) -> Vec<(String, String)> {
        self.clocks.as_ref().map(|clocks| clocks.environment(name)).unwrap_or_default()
    }

    /// Where the coordinator listens.
    pub fn coordinator_address(&self) -> &str {
        &self.coordinator_address
    }

    /// The coordinator, which must run.
    pub fn coordinator(&mut self) -> &mut Process {
        self.coordinator.as_mut().expect("the coordinator runs")
    }

    /// Starts the coordinator on the data and address that it had.
    pub fn start_coordinator(&mut self) {
        let dir = self.dir("coordinator");
        let mut arguments = vec!["coordinator", "--listen", &self.coordinator_address, "--data", text(&dir)];
        arguments.extend(self.options.iter().map(String::as_str));
        let mut process = Process::start_with(&arguments, &self.environment("coordinator"));
        self.coordinator_address = process.ready();
        self.coordinator = Some(process);
    }

    /// `kill -9`.
    pub fn kill_coordinator(&mut self) {
        self.coordinator.take().expect("the coordinator runs").kill();
    }

    /// Broker `n`, which must run.
    pub fn broker(&mut self, n: usize) -> &mut Process {
        self.brokers[n - 1].process.as_mut().expect("the broker runs")
    }

    /// What each broker that runs has logged, with its name.
    pub fn logs(&self) -> Vec<(String, Vec<String>)> {
        let running = (1..).zip(&self.brokers).filter_map(|(n, slot)| Some((n, slot.process.as_ref()?)));
        running.map(|(n, process): (usize, _)| (format!("b{n}"), process.stderr.all())).collect()
    }

    /// Where broker `n` listens.
    pub fn address(&self, n: usize) -> &str {
        &self.brokers[n - 1].address
    }

    /// Starts broker `n` on the data and address that it had, without waiting for it.
    pub fn launch_broker(&mut self, n: usize) {
        let (dir, name) = (self.dir(&format!("b{n}")), format!("b{n}"));
        let environment = self.environment(&name);
        let slot = &mut self.brokers[n - 1];
        let coordinator = self.coordinator_proxy.as_ref().unwrap_or(&self.coordinator_address);
        let mut arguments = vec!["broker", "--name", &name, "--coordinator", coordinator];
        arguments.extend(["--listen", &slot.address, "--data", text(&dir)]);
        if let Some(advertise) = &slot.advertise {
            arguments.extend(["--advertise", advertise]);
        }
        arguments.extend(slot.options.iter().map(String::as_str));
        let process = Process::start_with(&arguments, &environment);
        if let Some(network) = &self.network {
            network.stands(process.id(), &name);
        }
        slot.process = Some(process);
    }

    /// Waits until broker `n` is ready.
    pub fn broker_ready(&mut self, n: usize) {
        let slot = &mut self.brokers[n - 1];
        slot.address = slot.process.as_mut().expect("the broker runs").ready();
    }

    /// Starts broker `n` on the data and address that it had.
    pub fn start_broker(&mut self, n: usize) {
        self.launch_broker(n);
        self.broker_ready(n);
    }

    /// `kill -9`.
    pub fn kill_broker(&mut self, n: usize) {
        self.take_broker(n).kill();
    }

    /// Broker `n`, to be ended by the caller.
    pub fn take_broker(&mut self, n: usize) -> Process {
        self.brokers[n - 1].process.take().expect("the broker runs")
    }

    /// Addresses for `-b`: all brokers.
    pub fn all(&self) -> String {
        let addresses: Vec<_> = self.brokers.iter().map(Slot::reached_at).collect();
        addresses.join(",")
    }

    /// Addresses for `-b`: all brokers but `n`.
    pub fn all_but(&self, n: usize) -> String {
        let others = self.brokers.iter().enumerate().filter(|(index, _)| index + 1 != n);
        others.map(|(_, slot)| slot.reached_at()).collect::<Vec<_>>().join(",")
    }

    /// Starts the brokers again so that whatever processes say to each other goes through the returned
    /// `yak proxy` with these options.
    pub fn behind_proxy(&mut self, options: &[&str]) -> Process {
        let addresses: Vec<_> = std::iter::once(self.coordinator_address.clone())
            .chain(self.brokers.iter().map(|slot| slot.address.clone()))
            .collect();
        let mut arguments = vec!["proxy"];
        for address in &addresses {
            arguments.extend(["--listen", "127.0.0.1:0", "--to", address]);
        }
        arguments.extend(options);
        let proxy = Process::start(&arguments);
        let mut proxied = addresses.iter().map(|address| {
            let line =
                proxy.stderr.wait("the proxy to be ready", |line| line.ends_with(&format!(" -> {address}")));
            line.split(' ').nth(1).expect("`ready A -> B`").to_owned()
        });
        self.coordinator_proxy = proxied.next();
        for (slot, address) in self.brokers.iter_mut().zip(proxied) {
            slot.advertise = Some(address);
        }
        for n in 1..=self.brokers.len() {
            self.kill_broker(n);
            self.start_broker(n);
        }
        proxy
    }

    /// Runs a client command against all brokers.
    pub fn yak(&self, arguments: &[&str], stdin: &str) -> Finished {
        let all = self.all();
        yak(&[arguments, &["-b", &all]].concat(), stdin)
    }

    /// Makes a topic and waits until all its replicas are in sync.
    pub fn create_topic(&self, topic: &str, partitions: usize, replicas: usize) {
        let (wanted, copies) = (partitions.to_string(), replicas.to_string());
        self.yak(&["topic", "create", topic, "-p", &wanted, "-r", &copies], "").expect_code(0);
        self.in_sync(topic, partitions, replicas);
    }

    /// The partitions of a topic as the brokers at `brokers` know them; `None` if they do not say.
    pub fn describe_by(&self, brokers: &str, topic: &str) -> Option<Vec<Partition>> {
        let said = yak(&["topic", "describe", topic, "--output", "json", "-b", brokers], "");
        if said.code != Some(0) {
            return None;
        }
        let said: Value = serde_json::from_str(&said.stdout.join("\n")).expect("it prints JSON");
        let partitions = said[0]["partitions"].as_array().expect("a list");
        let of = |row: &Value| Partition {
            leader: row["leader"].as_u64().map(|id| usize::try_from(id).expect("a small number")),
            epoch: row["leader_epoch"].as_u64().expect("a number"),
            in_sync: row["in_sync"].as_array().expect("a list").len(),
        };
        Some(partitions.iter().map(of).collect())
    }

    /// The partitions of a topic.
    pub fn describe(&self, topic: &str) -> Vec<Partition> {
        until("the topic to be described", || self.describe_by(&self.all(), topic))
    }

    /// Waits until every partition of the topic has a leader and all its replicas in sync.
    pub fn in_sync(&self, topic: &str, partitions: usize, replicas: usize) -> Vec<Partition> {
        until("all replicas to be in sync", || {
            let found = self.describe_by(&self.all(), topic)?;
            let whole = found.iter().filter(|p| p.leader.is_some() && p.in_sync == replicas).count();
            (whole == partitions && found.len() == partitions).then_some(found)
        })
    }

    /// Waits until `brokers` see another leader than `old` for a partition; returns it.
    pub fn new_leader(&self, brokers: &str, topic: &str, partition: usize, old: usize) -> Partition {
        until("another leader", || {
            let found = self.describe_by(brokers, topic)?.get(partition)?.clone();
            found.leader.is_some_and(|leader| leader != old).then_some(found)
        })
    }

    /// Waits until every broker has its coordinator again.
    pub fn coordinator_found(&self) {
        for slot in self.brokers.iter().filter(|slot| slot.process.is_some()) {
            until("a broker to have its coordinator again", || {
                let said = yak(&["cluster", "info", "--output", "json", "-b", &slot.address], "");
                let said: Value = serde_json::from_str(&said.stdout.join("\n")).ok()?;
                said["coordinator_lost"].is_null().then_some(())
            });
        }
    }

    /// Every record of a topic, in the order in which they were read.
    pub fn read(&self, topic: &str) -> Vec<Record> {
        records(&self.yak(&["consume", topic, "--from-beginning", "-e", "-J"], "").expect_code(0).stdout)
    }
}

/// Lines of `yak consume -J`.
pub fn records(lines: &[String]) -> Vec<Record> {
    let of = |line: &String| {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        Record {
            partition: line["partition"].as_u64().expect("a number"),
            offset: line["offset"].as_u64().expect("a number"),
            key: line["key"].as_str().map(str::to_owned),
            payload: line["payload"].as_str().expect("text").to_owned(),
        }
    };
    lines.iter().map(of).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder has a plain name")
}
