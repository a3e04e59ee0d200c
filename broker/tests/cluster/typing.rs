//! What people type: the same way as every client's, and the truth about the process.

use crate::harness::{Cluster, Kept, Typist, eventually, word};
use std::time::Duration;
use yak_broker::BrokerConfig;
use yak_protocol::ids::{Offset, PartitionIndex};
use yak_protocol::message::{Acks, CreateTopic, Offsets, RegisterProducer};
use yak_storage::io::sim::SimDisk;

async fn typist(cluster: &Cluster, number: usize) -> Typist {
    Typist::to(&cluster.brokers[number].address).await
}

/// The value of a field of a status line or row.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let found = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name} in {line}"))
}

/// The value of a metric.
async fn metric(typist: &mut Typist, key: &str) -> u64 {
    let rows = typist.rows(&format!("METRICS {}", key.split('{').next().unwrap_or(key))).await;
    let begin = format!("metric={} ", if key.contains('{') { format!("{key:?}") } else { key.to_owned() });
    let row =
        rows.iter().find(|row| row.starts_with(&begin)).unwrap_or_else(|| panic!("{begin} in {rows:#?}"));
    field(row, "value").parse().expect("a whole number")
}

/// Waits until the events of a broker hold one of this kind whose text begins so.
async fn event(cluster: &Cluster, number: usize, kind: &str, begin: &str) {
    let wanted = format!(" {kind} {begin}");
    eventually(&format!("there is an event{wanted}"), || async {
        let (events, _) = typist(cluster, number).await.says("EVENTS 1000").await;
        events.iter().any(|line| line.contains(&wanted)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typed_publish_is_one_like_any_other() {
    let cluster = Cluster::start(3).await;
    cluster.topic("orders", 3, 3).await;
    let mut typist = typist(&cluster, 0).await;
    let made = typist.done("PUB orders/1 key=u1 h.trace=\"7 8\" -- hello -- world ").await;
    assert!(made.starts_with("+OK topic=orders partition=1 offset=0 replicas="), "{made}");
    assert!(made.contains("/3 durable=yes leader_epoch="), "{made}");
    assert_eq!(field(&typist.done("PUB orders part=1 acks=1 -- second").await, "offset"), "1");
    assert_eq!(typist.done("PUB orders/1 acks=0 -- third").await, "+OK topic=orders acks=0");
    let leader = cluster.leader_client("orders", 1).await;
    leader.committed("orders", 1, 3).await;
    let read: Vec<String> = leader.read_all("orders", 1).await.into_iter().map(|(_, value)| value).collect();
    assert_eq!(read, ["hello -- world ", "second", "third"]);

    // The same record sent twice is there once.
    let id =
        cluster.client(0).await.request(&RegisterProducer::default()).await.expect("an id").producer_id.0;
    for _ in 0..2 {
        let line = format!("PUB orders/1 id={id}/0 -- once");
        assert_eq!(field(&typist.done(&line).await, "offset"), "3");
    }
    assert_eq!(field(&typist.done(&format!("PUB orders/1 id={id}/1 -- next")).await, "offset"), "4");
    let refused = typist.refused(&format!("PUB orders/1 id={id}/9 -- too far")).await;
    assert!(refused.starts_with("-ERR OUT_OF_ORDER_SEQUENCE"), "{refused}");

    for (line, begin) in [
        ("PUB orders", "-ERR BAD_REQUEST PUB needs a value"),
        ("PUB orders keyy=1 -- x", "-ERR BAD_REQUEST PUB has no option keyy | hint: did you mean key=?"),
        ("PUB orders acks=2 -- x", "-ERR BAD_REQUEST acks is all, 1 or 0"),
        ("PUB orders/9 -- x", "-ERR UNKNOWN_PARTITION"),
        ("PUB orders/1 part=2 -- x", "-ERR BAD_REQUEST part=2"),
        ("PUB a!b -- x", "-ERR ILLEGAL_TOPIC_NAME"),
        ("PUB orders id=1/2 -- x", "-ERR BAD_REQUEST id= needs to know the partition"),
    ] {
        let refused = typist.refused(line).await;
        assert!(refused.starts_with(begin), "{line}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_broker_passes_on_once_unless_it_is_told_not_to() {
    let cluster = Cluster::start(2).await;
    cluster.topic("orders", 1, 1).await;
    let leader = cluster.leader("orders", 0).await;
    let mut other = typist(&cluster, 1 - leader).await;
    assert_eq!(field(&other.done("PUB orders -- here").await, "offset"), "0");
    let rows = other.rows("OFFSETS orders").await;
    assert_eq!((field(&rows[0], "high_watermark"), field(&rows[0], "error")), ("1", "-"));
    assert_eq!(other.says("SUB orders").await.1, "+OK count=1 next=0:1");
    for line in ["PUB orders forward=off -- x", "OFFSETS orders forward=off", "SUB orders forward=off"] {
        let refused = other.refused(line).await;
        let address = &cluster.brokers[leader].address;
        assert!(refused.starts_with("-ERR NOT_LEADER leader="), "{line}: {refused}");
        assert_eq!(field(&refused, "addr"), address, "{line}");
    }
    // What frames ask is passed on only if they say so.
    let asked = |forward| Offsets {
        topic: "orders".to_owned(),
        partition: PartitionIndex(0),
        at_ms: None,
        stale_ok: false,
        forward,
    };
    let client = cluster.client(1 - leader).await;
    assert_eq!(client.request(&asked(true)).await.expect("passed on").high_watermark, Offset(1));
    client.request(&asked(false)).await.expect_err("not passed on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_begins_where_it_is_told_and_follows_until_the_next_line() {
    let cluster = Cluster::start(1).await;
    cluster.topic("orders", 1, 1).await;
    let mut typist = typist(&cluster, 0).await;
    for value in ["a", "b", "c"] {
        typist.done(&format!("PUB orders -- {value}")).await;
    }
    for (line, values) in [
        ("SUB orders", "a b c"),
        ("SUB orders from=1", "b c"),
        ("SUB orders/0 from=-1", "c"),
        ("SUB orders from=@-1h max=2", "a b"),
        ("SUB orders from=latest", ""),
    ] {
        // With RAW on nothing but values is shown.
        typist.types("RAW on").await;
        typist.types(line).await;
        let (shown, _) = typist.says("RAW off").await;
        assert_eq!(shown.join(" "), values, "{line}");
    }
    let refused = typist.refused("SUB orders from=4").await;
    assert!(refused.starts_with("-ERR OFFSET_OUT_OF_RANGE"), "{refused}");

    let mut follower = Typist::to(&cluster.brokers[0].address).await;
    follower.types("SUB orders from=2 FOLLOW").await;
    assert!(follower.sees().await.starts_with("MSG orders 0 2 "));
    assert_eq!(follower.sees().await, "c");
    typist.done("PUB orders key=k -- later").await;
    let line = follower.sees().await;
    assert!(line.starts_with("MSG orders 0 3 ") && line.ends_with(" k 5"), "{line}");
    assert_eq!(follower.sees().await, "later");
    follower.types("PING").await;
    assert_eq!(follower.sees().await, ".");
    assert_eq!(follower.sees().await, "+OK count=2 next=0:4");
    assert_eq!(follower.sees().await, "+OK pong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_committed_is_seen_by_peek_only() {
    let mut cluster = Cluster::start(2).await;
    let min_isr = Some(2);
    let topic = "orders".to_owned();
    let create =
        CreateTopic { topic, partitions: Some(1), replicas: Some(2), min_isr, ..CreateTopic::default() };
    cluster.topic_with(create).await;
    let leader = cluster.leader("orders", 0).await;
    let mut typist = typist(&cluster, leader).await;
    typist.done("PUB orders -- committed").await;
    cluster.kill_broker(1 - leader).await;
    cluster.partition_when("it left the ISR", "orders", 0, |info| info.isr.len() == 1).await;
    assert_eq!(field(&typist.done("PUB orders acks=1 -- not").await, "replicas"), "1/2");
    let rows = typist.rows("PEEK orders/0 0").await;
    let seen: Vec<_> = rows.iter().map(|row| (field(row, "committed"), field(row, "value"))).collect();
    assert_eq!(seen, [("yes", "committed"), ("no", "not")]);
    assert_eq!(typist.rows("PEEK orders/0 -1").await.len(), 1);
    assert_eq!(typist.says("SUB orders").await.1, "+OK count=1 next=0:1");
    event(&cluster, leader, "isr", "orders/0: ").await;
    let refused = typist.refused("PUB orders -- refused").await;
    assert!(refused.starts_with("-ERR NOT_ENOUGH_REPLICAS"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_those_of_what_happened() {
    let cluster = Cluster::start(1).await;
    cluster.topic("orders", 1, 1).await;
    let client = cluster.client(0).await;
    for _ in 0..3 {
        client.publish_acks("orders", 0, &["a", "b"], Acks::All).await.expect("acknowledged");
    }
    client.read_all("orders", 0).await;
    let mut typist = typist(&cluster, 0).await;
    for (key, value) in [
        ("yak_published_records_total", 6),
        ("yak_consumed_records_total", 6),
        ("yak_requests_total{kind=\"publish\"}", 3),
        ("yak_partition_log_end{topic=\"orders\",partition=\"0\"}", 6),
        ("yak_partition_high_watermark{topic=\"orders\",partition=\"0\"}", 6),
        ("yak_partition_isr{topic=\"orders\",partition=\"0\"}", 1),
        ("yak_partitions_led", 1),
        ("yak_elections_total", 1),
        ("yak_healthy", 1),
        ("yak_disk_full", 0),
    ] {
        assert_eq!(metric(&mut typist, key).await, value, "{key}");
    }
    for key in ["yak_published_bytes_total", "yak_consumed_bytes_total", "yak_received_bytes_total"] {
        assert!(metric(&mut typist, key).await > 0, "{key}");
    }
    // Each publish waited for a sync; what else is synced comes on top.
    assert!(metric(&mut typist, "yak_wal_syncs_total").await >= 3);
    assert!(metric(&mut typist, "yak_disk_free_bytes").await > 0);
    let mntr = word(&cluster.brokers[0].address, "mntr").await;
    assert!(mntr.lines().any(|line| line == "yak_published_records_total\t6"), "{mntr}");
    assert!(mntr.lines().all(|line| line.split('\t').count() == 2), "{mntr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ruok_says_imok_only_if_the_broker_can_do_its_job() {
    let disk = SimDisk::new();
    let mut cluster = Cluster::on_disks(1, std::slice::from_ref(&disk)).await;
    cluster.topic("orders", 1, 1).await;
    let address = cluster.brokers[0].address.clone();
    assert_eq!((word(&address, "ruok").await, word(&address, "isro").await), ("imok".into(), "rw".into()));

    let client = cluster.client(0).await;
    disk.set_capacity(Some(disk.used()));
    let large = "x".repeat(200_000);
    eventually("the disk is full", || async { client.publish("orders", 0, &[&large]).await.err() }).await;
    let said = word(&address, "ruok").await;
    assert!(said.starts_with("imno: the disk is full"), "{said}");
    assert_eq!(word(&address, "isro").await, "ro");
    event(&cluster, 0, "disk", "full").await;
    disk.set_capacity(None);
    eventually("there is room again", || async { (word(&address, "ruok").await == "imok").then_some(()) })
        .await;
    event(&cluster, 0, "disk", "has room again").await;

    cluster.kill_coordinator().await;
    eventually("the coordinator is missed", || async {
        word(&address, "ruok").await.starts_with("imno: the coordinator cannot be reached").then_some(())
    })
    .await;
    event(&cluster, 0, "coordinator", "lost: ").await;
    cluster.start_coordinator().await;
    eventually("it is found again", || async { (word(&address, "ruok").await == "imok").then_some(()) })
        .await;
    event(&cluster, 0, "coordinator", "found").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_tells_what_it_was_told_what_it_found_and_what_happened() {
    let lag = Duration::from_secs(7);
    let configure = move |_, config| BrokerConfig {
        replica_lag_max: lag,
        sources: [("name".to_owned(), "command line".to_owned())].into(),
        ..config
    };
    let mut cluster = Cluster::start_with(2, configure).await;
    cluster.topic("orders", 1, 2).await;
    let leader = cluster.leader("orders", 0).await;
    event(&cluster, leader, "leader", "leads orders/0 in epoch 1").await;
    event(&cluster, leader, "fence", "unfenced").await;
    let mut kept = Kept::default();
    let acked = cluster.client(leader).await.publish("orders", 0, &["a"]).await.expect("acknowledged");
    kept.add(&acked, &["a"]);

    let mut at = typist(&cluster, leader).await;
    let rows = at.rows("CONF").await;
    let of = |name: &str| {
        let begin = format!("setting={name} ");
        rows.iter().find(|row| row.starts_with(&begin)).expect("it is a setting").clone()
    };
    assert_eq!(of("name"), format!("setting=name value=broker-{leader} source=\"command line\""));
    assert_eq!(of("replica_lag_max_ms"), "setting=replica_lag_max_ms value=7000 source=program");
    assert!(of("store.segment_bytes").ends_with(" source=default"));
    assert!(of("limit.line_bytes").ends_with(" source=\"built in\""));
    let row = at.rows("ROLE").await.remove(0);
    assert_eq!((field(&row, "partition"), field(&row, "role")), ("orders/0", "leader"));
    let info = at.rows("INFO").await;
    assert!(info.contains(&"name=healthy value=yes".to_owned()), "{info:#?}");
    assert_eq!(word(&cluster.brokers[leader].address, "role").await, "leader");

    cluster.kill_broker(leader).await;
    let old = leader;
    let new = 1 - old;
    event(&cluster, new, "leader", "leads orders/0 in epoch 2").await;
    cluster.start_broker(old).await;
    let (rows, status) = typist(&cluster, old).await.says("RECOVERY format=kv").await;
    assert!(rows[0].starts_with("partition=orders/0 log_start=0 log_end=1 "), "{rows:#?}");
    assert_eq!((field(&status, "clean_shutdown"), field(&status, "partitions")), ("no", "1"));
    event(&cluster, old, "recovery", "the data dir was not closed").await;
    let client = cluster.leader_client("orders", 0).await;
    client.committed("orders", 0, kept.next().0).await;
    kept.check(&client.read_all("orders", 0).await);
    for name in ["stat", "srvr", "conf", "cons", "dump", "envi", "dirs", "tops", "isrs", "lead", "evnt"] {
        let said = word(&cluster.brokers[new].address, name).await;
        assert!(!said.is_empty() && !said.contains("not answered"), "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_made_shown_and_dropped_by_hand() {
    let cluster = Cluster::start(1).await;
    let mut typist = typist(&cluster, 0).await;
    let made = typist.done("CREATE orders parts=2 rf=1 durability=replicated").await;
    assert_eq!(made, "+OK topic=orders partitions=2 rf=1 epoch=1");
    assert!(typist.refused("CREATE orders").await.starts_with("-ERR TOPIC_EXISTS"));
    assert!(typist.done("CREATE orders if_not_exists=on").await.ends_with(" created=no"));
    assert_eq!(
        typist.done("CREATE wide parts=1 rf=3").await,
        "+OK topic=wide partitions=1 rf=1 epoch=1 wanted=3"
    );
    let (rows, status) = typist.says("TOPIC orders format=kv").await;
    assert_eq!((rows.len(), field(&status, "durability")), (3, "replicated"));
    assert_eq!(typist.rows("TOPICS").await.len(), 2);
    for verb in ["TOPIC", "ISR", "LEADER", "DROP", "SUB", "OFFSETS", "PEEK", "ALTER"] {
        let refused = typist.refused(&format!("{verb} ordres")).await;
        let hint =
            format!("-ERR UNKNOWN_TOPIC ordres | hint: did you mean orders? CREATE ordres, or {verb} orders");
        assert_eq!(refused, hint);
    }
    let altered = typist.done("ALTER orders retention_ms=1h parts=4 dry").await;
    assert_eq!(altered, "+OK topic=orders retention_ms=3600000 partitions=4 dry=yes");
    typist.done("ALTER orders retention_ms=1h parts=4").await;
    let (rows, status) = typist.says("TOPIC orders format=kv").await;
    assert_eq!((rows.len(), field(&status, "retention_ms")), (5, "3600000"));
    assert_eq!(
        typist.done("ALTER orders retention_ms=default").await,
        "+OK topic=orders retention_ms=604800000"
    );
    let refused = typist.refused("ALTER orders retention.ms=1").await;
    assert!(refused.contains("did you mean retention_ms=?"), "{refused}");
    for value in ["one", "two"] {
        typist.done(&format!("PUB orders/0 -- {value}")).await;
    }
    let refused = typist.refused("TRIM orders/0 end").await;
    assert!(refused.contains("this would delete 2 offsets of orders/0 for ever"), "{refused}");
    assert!(refused.ends_with("| hint: TRIM orders/0 end CONFIRM"), "{refused}");
    let trimmed = "+OK topic=orders partition=0 was=0 log_start=1 deleted=1";
    assert_eq!(typist.done("TRIM orders/0 1 CONFIRM").await, trimmed);
    let refused = typist.refused("TRIM orders 1 CONFIRM").await;
    assert!(refused.ends_with("| hint: one at a time: TRIM orders/0 1"), "{refused}");
    let refused = typist.refused("DROP orders").await;
    assert!(refused.ends_with("| hint: DROP orders CONFIRM"), "{refused}");
    assert!(typist.done("DROP orders CONFIRM").await.ends_with(" deleted=yes"));
    assert_eq!(typist.rows("TOPICS").await.len(), 1);
    assert_eq!(typist.rows("BROKERS").await.len(), 1);
}
