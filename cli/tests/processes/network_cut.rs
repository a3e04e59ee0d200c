//! The active coordinator is cut off from everybody else by the network, in each arrangement, while records are
//! published: it runs on and knows of nothing. Whatever it sends arrives when the network is whole again.

use crate::harness::{
    Cluster, EMBEDDED, Network, PATIENCE, Process, Publisher, Redis, check_kept, free_ports, until, yak,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Instant;
use tempfile::TempDir;

/// A cluster in a network that can be cut.
struct Arrangement {
    network: Network,
    cluster: Cluster,
    coordinators: Vec<Coordinator>,
    /// How many replicas each partition has.
    replicas: usize,
    _redis: Option<Redis>,
    _data: TempDir,
}

struct Coordinator {
    /// Where it stands.
    place: String,
    /// Where it listens: what the test asks here passes no network.
    listen: String,
    /// Where others reach it.
    address: String,
    /// `None` = it is inside the broker of that place.
    process: Option<Process>,
}

impl Arrangement {
    /// So many coordinators of their own, and three brokers.
    fn apart(coordinators: usize) -> Self {
        let (network, data) = (Network::default(), tempfile::tempdir().expect("a folder"));
        let places = (1..=coordinators).map(|n| format!("c{n}"));
        let mut coordinators: Vec<_> = places.map(|place| Coordinator::placed(&network, place)).collect();
        let peers = addresses(&coordinators);
        for one in &mut coordinators {
            let dir = data.path().join(&one.place);
            let dir = dir.to_str().expect("a temporary folder has a plain name");
            let mut arguments =
                vec!["coordinator", "--listen", &one.listen, "--advertise", &one.address, "--data", dir];
            if peers.contains(',') {
                arguments.extend(["--peers", &peers]);
            }
            let process = Process::start(&arguments);
            network.stands(process.id(), &one.place);
            one.process = Some(process);
        }
        coordinators.iter_mut().filter_map(|one| one.process.as_mut()).for_each(|one| drop(one.ready()));
        let cluster = Cluster::start_within(&network, &peers, vec![Vec::new(); 3], None);
        Self { network, cluster, coordinators, replicas: 3, _redis: None, _data: data }
    }

    /// Three brokers, each with a coordinator inside; or two with a Redis, if there is one.
    fn inside(redis: Option<Redis>) -> Self {
        let network = Network::default();
        let brokers = if redis.is_some() { 2 } else { 3 };
        let places = (1..=brokers).map(|n| format!("b{n}"));
        let coordinators: Vec<_> = places.map(|place| Coordinator::placed(&network, place)).collect();
        let backend = match &redis {
            Some(redis) => {
                ["--lease-backend".to_owned(), format!("redis://{}", network.front("redis", redis.address()))]
            }
            None => ["--peers".to_owned(), addresses(&coordinators)],
        };
        let options = |one: &Coordinator| {
            let own = [("--coordinator-listen", &one.listen), ("--coordinator-advertise", &one.address)];
            let own = own.into_iter().flat_map(|(flag, address)| [flag.to_owned(), address.clone()]);
            own.chain(backend.clone()).collect::<Vec<_>>()
        };
        let options = coordinators.iter().map(options).collect();
        let cluster = Cluster::start_within(&network, EMBEDDED, options, None);
        let data = tempfile::tempdir().expect("a folder");
        Self { network, cluster, coordinators, replicas: brokers, _redis: redis, _data: data }
    }

    /// The coordinator that is active, as these brokers see it.
    fn active(&self, brokers: &str) -> Option<&Coordinator> {
        let said = yak(&["cluster", "info", "--output", "json", "-b", brokers], "");
        let said: Value = serde_json::from_str(&said.stdout.join("\n")).ok()?;
        let found = self.coordinators.iter().find(|one| said["coordinator"] == one.address.as_str());
        found.filter(|_| said["coordinator_lost"].is_null())
    }

    /// The brokers that stand elsewhere, for `-b`.
    fn brokers_not_in(&self, place: &str) -> String {
        match place.strip_prefix('b').and_then(|n| n.parse().ok()) {
            Some(n) => self.cluster.all_but(n),
            None => self.cluster.all(),
        }
    }

    /// What each process has logged.
    fn logs(&self) -> Vec<(String, Vec<String>)> {
        let apart =
            self.coordinators.iter().filter_map(|one| Some((one.place.clone(), one.process.as_ref()?)));
        let apart = apart.map(|(place, process)| (place, process.stderr.all()));
        apart.chain(self.cluster.logs()).collect()
    }

    /// Which coordinator was active in which term, as their logs say; panics if two were in one.
    fn terms(&self) -> BTreeMap<u64, String> {
        let mut terms = BTreeMap::new();
        for (place, lines) in self.logs() {
            for line in lines {
                let Some(fields) = line.split_once(" active cluster_id=") else { continue };
                let epoch = fields.1.split_once(" coordinator_epoch=").expect("it names its term").1;
                let epoch: u64 = epoch.split(' ').next().and_then(|it| it.parse().ok()).expect("a number");
                let other = terms.insert(epoch, place.clone());
                assert_eq!(other, None, "two were active in term {epoch}, {place} among them");
            }
        }
        terms
    }
}

impl Drop for Arrangement {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (name, lines) in self.logs() {
                eprintln!("--- {name}\n{}", lines.join("\n"));
            }
        }
    }
}

impl Coordinator {
    fn placed(network: &Network, place: String) -> Self {
        let listen = free_ports(1).remove(0);
        let address = network.front(&place, &listen);
        Self { place, listen, address, process: None }
    }

    /// Asks it, past the network, to make a topic; what it answers, if it answers.
    fn make(&self, topic: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(&self.listen).expect("it runs");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        let request =
            json!({"kind": "create_topic", "id": 1, "topic": topic, "partitions": 1, "replicas": 1});
        writeln!(stream, "{request}").expect("it reads");
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).ok()?;
        serde_json::from_str(&answer).ok()
    }
}

/// As `--peers` takes them.
fn addresses(coordinators: &[Coordinator]) -> String {
    coordinators.iter().map(|one| one.address.as_str()).collect::<Vec<_>>().join(",")
}

/// The names of the topics that this broker knows.
fn topics(broker: &str) -> BTreeSet<String> {
    let said = yak(&["topic", "list", "--output", "json", "-b", broker], "").expect_code(0);
    let said: Value = serde_json::from_str(&said.stdout.join("\n")).expect("it prints JSON");
    let topics = said.as_array().expect("a list").iter();
    topics.map(|topic| topic["topic"].as_str().expect("a name").to_owned()).collect()
}

/// Cuts the active coordinator off; another one takes over, and nothing that the one before does counts.
fn another_takes_over(mut all: Arrangement) {
    let replicas = all.replicas;
    all.cluster.create_topic("orders", 3, replicas);
    let publisher = Publisher::start(&all.cluster, "orders");
    let old = until("one to be active", || all.active(&all.cluster.all()));
    let (place, address) = (old.place.clone(), old.address.clone());
    all.network.cut(&[&place]);
    let cut = Instant::now();
    // It has not noticed, and begins to decide; but nobody keeps that.
    let answer = old.make("ghost").expect("it answers once it is deposed");
    assert_eq!(answer["error"], "OUTCOME_UNKNOWN", "{answer}");

    let others = all.brokers_not_in(&place);
    until("another one to be active", || all.active(&others).filter(|one| one.address != address));
    eprintln!("{place} cut off: another one is active after {:?}", cut.elapsed());
    publisher.goes_on(50);
    until("a topic to be made", || {
        let made =
            yak(&["topic", "create", "during", "-p", "1", "-r", "1", "--if-not-exists", "-b", &others], "");
        (made.code == Some(0)).then_some(())
    });
    // With coordinators of their own there are brokers to spare: an election, and the ISR changes twice.
    if place.starts_with('c') {
        let leader = all.cluster.describe("orders")[0].leader.expect("it is led");
        all.cluster.kill_broker(leader);
        all.cluster.new_leader(&all.cluster.all_but(leader), "orders", 0, leader);
        publisher.goes_on(50);
        all.cluster.start_broker(leader);
        all.cluster.in_sync("orders", 3, replicas);
    }

    all.network.heal();
    all.cluster.in_sync("orders", 3, replicas);
    publisher.goes_on(50);
    check_kept(&all.cluster, "orders", &publisher.finish());
    // Every broker hears of everything, and nobody of what was decided alone.
    for broker in all.cluster.all().split(',') {
        let known =
            until("the topic to be known", || Some(topics(broker)).filter(|all| all.contains("during")));
        assert_eq!(known, BTreeSet::from(["during".to_owned(), "orders".to_owned()]), "{broker}");
    }
    let terms = all.terms();
    assert!(terms.values().any(|one| *one != place), "{terms:?}");
}

#[test]
fn of_three_another_takes_over() {
    another_takes_over(Arrangement::apart(3));
}

#[test]
fn inside_three_brokers_another_takes_over() {
    another_takes_over(Arrangement::inside(None));
}

#[test]
fn inside_two_brokers_with_a_redis_the_other_takes_over() {
    let Some(redis) = Redis::start(&[]) else { return };
    another_takes_over(Arrangement::inside(Some(redis)));
}

#[test]
fn one_that_is_alone_is_waited_for_while_publishing_goes_on() {
    let all = Arrangement::apart(1);
    all.cluster.create_topic("orders", 3, 3);
    let publisher = Publisher::start(&all.cluster, "orders");
    all.network.cut(&["c1"]);
    until("the brokers to miss it", || all.active(&all.cluster.all()).is_none().then_some(()));
    publisher.goes_on(500);
    let refused = all.cluster.yak(&["topic", "create", "during", "-X", "timeout_ms=1000"], "");
    assert_ne!(refused.code, Some(0), "{refused:?}");
    all.network.heal();
    all.cluster.coordinator_found();
    all.cluster.create_topic("after", 1, 3);
    all.cluster.in_sync("orders", 3, 3);
    publisher.goes_on(50);
    check_kept(&all.cluster, "orders", &publisher.finish());
    assert_eq!(all.terms().len(), 1, "it was never anybody else's turn");
}
