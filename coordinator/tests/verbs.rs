//! What people type to a coordinator, over real sockets.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod harness;

use harness::{Broker, Harness, Typist, eventually};
use std::time::Duration;
use yak_protocol::message::{IsrProposal, ProposeIsr, RegisterConsumer, RegisterProducer};

/// A third broker comes, and the partition goes there and back; and one of the first two goes for good.
#[tokio::test]
async fn partitions_move_and_brokers_go_by_typed_lines() {
    let (coordinator, _one, _two, mut typist) = two_brokers().await;
    let mut three = Broker::new("three", 3);
    three.join(&coordinator).await;
    let would = typist.status("MOVE orders/0 to=three,2 dry").await;
    contains(&would, &["+OK partition=orders/0", "to=3,2 changed=yes", "waits for broker 3 to be in sync"]);
    assert_eq!(typist.rows("MOVES").await, Vec::<String>::new());
    contains(&typist.status("MOVE orders/0 to=3,2 rate=1000").await, &["replicas=1,2,3 to=3,2 changed=yes"]);
    contains(&typist.status("MOVE orders/0 to=3,2 rate=1000").await, &["changed=no"]);
    contains(
        &typist.rows("MOVES").await[0],
        &["partition=orders/0 from=1,2 to=3,2", "1000", "waits for broker 3"],
    );
    contains(
        &typist.says("WHY orders/0 forward=off").await[0],
        &["moves from brokers 1 and 2 to brokers 3 and 2"],
    );
    contains(&typist.status("MOVE orders/0 back").await, &["replicas=1,2 to=1,2 changed=yes"]);
    contains(&typist.status("MOVE orders/0").await, &["-ERR BAD_REQUEST", "MOVE needs to="]);
    contains(&typist.status("MOVE orders/0 to=3,2 fast").await, &["MOVE does not take fast", "HELP MOVE"]);
    contains(
        &typist.status("MOVE orders/0 to=3").await,
        &["-ERR BAD_REQUEST", "keeps the number of replicas"],
    );
    contains(&typist.status("REPLACE 1 by=3").await, &["-ERR NOT_APPLIED", "broker 1 is alive"]);
    contains(&typist.status("REPLACE 1").await, &["-ERR BAD_REQUEST", "REPLACE needs by="]);
    typist.status("ELECT orders/0 to=2").await;
    contains(&typist.rows("PREFERRED orders dry").await[0], &["partition=orders/0 from=2 to=1", "moved=yes"]);
    contains(&typist.rows("PREFERRED").await[0], &["partition=orders/0 from=2 to=1", "moved=yes"]);
    assert_eq!(typist.rows("PREFERRED orders/0").await, Vec::<String>::new());
    contains(&typist.status("DECOMMISSION 2 dry").await, &["+OK broker=2 decommissioning=no done=no left=1"]);
    contains(
        &typist.status("DECOMMISSION two").await,
        &["decommissioning=yes done=no left=1 of=1", "broker 3"],
    );
    contains(&typist.status("UNDRAIN 2").await, &["-ERR NOT_APPLIED", "broker 2 is decommissioned"]);
    contains(&typist.status("DECOMMISSION 2 stay").await, &["decommissioning=no done=no left=1"]);
    contains(&typist.status("DECOMMISSION 3").await, &["+OK broker=3", "done=yes"]);
    contains(&typist.status("DECOMMISSION 3 stay").await, &["-ERR DECOMMISSIONED", "gone for good"]);
}

/// Two brokers, and `orders` with one partition on both, led by the first.
async fn two_brokers() -> (Harness, Broker, Broker, Typist) {
    let coordinator = Harness::start().await;
    let (mut one, mut two) = (Broker::new("one", 1), Broker::new("two", 2));
    one.join(&coordinator).await;
    two.join(&coordinator).await;
    let mut typist = coordinator.typist().await;
    let made = typist.status("CREATE orders parts=1 rf=2").await;
    assert!(made.starts_with("+OK topic=orders partitions=1 rf=2"), "{made}");
    (coordinator, one, two, typist)
}

fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}

#[tokio::test]
async fn brokers_leases_and_epochs_are_shown() {
    let (_coordinator, _one, _two, mut typist) = two_brokers().await;
    let brokers = typist.rows("BROKERS").await;
    assert_eq!(brokers.len(), 2);
    contains(&brokers[0], &["id=1 name=one address=127.0.0.1:20001", "state=alive leads=1", "heartbeat_ms="]);
    assert!(!brokers[0].contains("lease_ms=-"), "its lease runs: {}", brokers[0]);
    let leases = typist.rows("leases").await;
    contains(&leases[1], &["broker=2 name=two", "link=connected", "probed=no"]);
    let epoch = typist.status("EPOCH").await;
    contains(&epoch, &["+OK coordinator_epoch=1 metadata_version=", "last_broker_epoch=2 cluster_id="]);
    // The shared verbs work here, too, and HELP shows each once.
    contains(&typist.rows("LEADER orders").await[0], &["partition=orders/0 leader=1"]);
    let help = typist.says("HELP").await;
    assert_eq!(help.iter().filter(|line| line.starts_with("BROKERS ")).count(), 1, "{help:?}");
    contains(&typist.status("EPCH").await, &["-ERR UNKNOWN_KIND", "did you mean EPOCH?"]);
}

#[tokio::test]
async fn leadership_is_moved_by_hand_within_the_isr_only() {
    let (_coordinator, one, _two, mut typist) = two_brokers().await;
    assert_eq!(
        typist.status("ELECT orders/0 to=2").await,
        "+OK partition=orders/0 leader=2 epoch=2 moved=yes"
    );
    assert_eq!(
        typist.status("ELECT orders/0 to=two").await,
        "+OK partition=orders/0 leader=2 epoch=2 moved=no"
    );
    assert_eq!(typist.status("ELECT orders/0").await, "+OK partition=orders/0 leader=1 epoch=3 moved=yes");
    contains(&typist.status("ELECT orders to=2").await, &["-ERR BAD_REQUEST", "ELECT orders/0"]);
    contains(&typist.status("ELECT ordrs/0").await, &["-ERR UNKNOWN_TOPIC", "did you mean \"orders\"?"]);
    contains(&typist.status("ELECT orders/7").await, &["-ERR UNKNOWN_PARTITION", "from 0 to 0"]);
    contains(&typist.status("ELECT orders/0 to=tow").await, &["there is no broker tow", "did you mean two?"]);
    contains(&typist.status("ELECT orders/0 too=2").await, &["did you mean to=?"]);
    // The leader says that the other one is out; from then on it may lack what is acknowledged.
    leave_isr(&one, &mut typist).await;
    let refused = typist.status("ELECT orders/0 to=2").await;
    contains(
        &refused,
        &["-ERR NOT_APPLIED", "broker 2 is not in sync", "which would be lost", "WHY orders/0"],
    );
}

/// Broker 1 leads and takes broker 2 out of the ISR.
async fn leave_isr(one: &Broker, typist: &mut Typist) {
    let answer = typist.json(r#"{"kind":"leader_info","topic":"orders"}"#).await;
    let info: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let partition: yak_protocol::message::PartitionInfo =
        serde_json::from_value(info["partitions"][0].clone()).unwrap();
    let (broker_id, broker_epoch) = one.identity();
    let change = IsrProposal {
        id: partition.id,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        isr: vec![(broker_id, broker_epoch)],
    };
    let proposal = ProposeIsr { broker_id, broker_epoch, changes: vec![change] };
    assert_eq!(one.request(&proposal).await.unwrap().outcomes, [None]);
}

#[tokio::test]
async fn a_drained_broker_leads_nothing_until_it_is_undrained() {
    let (_coordinator, mut one, mut two, mut typist) = two_brokers().await;
    assert_eq!(typist.status("DRAIN one").await, "+OK broker=1 draining=yes leads=0 needed=0");
    contains(&typist.rows("LEADER orders/0").await[0], &["leader=2"]);
    // A heartbeat that knows nothing of it does not end it, nor does the loss of the other one.
    assert!(!one.heartbeat().await.unwrap().fenced);
    contains(&typist.rows("BROKERS").await[0], &["state=draining"]);
    contains(
        &typist.status("ELECT orders/0 to=1").await,
        &["-ERR NOT_APPLIED", "broker 1 drains", "UNDRAIN 1"],
    );
    contains(&typist.says("WHY broker 1 forward=off").await[0], &["broker 1 drains by request", "UNDRAIN 1"]);
    two.restart_process();
    eventually_leads(&mut typist, 1).await;
    assert_eq!(typist.status("UNDRAIN 1").await, "+OK broker=1 draining=no leads=1 needed=1");
    contains(&typist.status("DRAIN 9").await, &["-ERR BAD_REQUEST", "there is no broker 9", "brokers 1, 2"]);
}

async fn eventually_leads(typist: &mut Typist, broker: u32) {
    let deadline = tokio::time::Instant::now() + harness::PATIENCE;
    while !typist.rows("LEADER orders/0").await[0].contains(&format!("leader={broker} ")) {
        assert!(tokio::time::Instant::now() < deadline, "broker {broker} does not lead in time");
    }
}

#[tokio::test]
async fn registered_clients_are_listed_while_they_are_connected() {
    let coordinator = Harness::start().await;
    let mut typist = coordinator.typist().await;
    let client = coordinator.client().await;
    let producer = RegisterProducer { client: "shop/1".to_owned(), ..RegisterProducer::default() };
    let id = client.request(&producer, Vec::new()).await.unwrap().body.producer_id.0;
    let consumer = RegisterConsumer { client: "stock/2".to_owned() };
    client.request(&consumer, Vec::new()).await.unwrap();
    let clients = typist.rows("CLIENTS").await;
    assert_eq!(clients.len(), 2);
    contains(&clients[0], &[&format!("kind=producer number={id} client=shop/1"), "address=127.0.0.1:"]);
    contains(&clients[1], &["kind=consumer number=1 client=stock/2"]);
    contains(&coordinator.word("dump").await, &["leases:", "sessions:", "shop/1"]);
    client.close();
    eventually("the client is gone", || async {
        coordinator.typist().await.rows("CLIENTS").await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn history_tells_elections_and_isr_changes_with_their_reason() {
    let (_coordinator, one, two, mut typist) = two_brokers().await;
    assert!(typist.rows("HISTORY").await.is_empty());
    typist.status("ELECT orders/0 to=2").await;
    typist.status("ELECT orders/0 to=1").await;
    leave_isr(&one, &mut typist).await;
    drop(two);
    let history = typist.rows("HISTORY").await;
    assert_eq!(history.len(), 3, "{history:?}");
    contains(
        &history[0],
        &["partition=orders/0 what=election leader=2 epoch=2 isr=1,2 was=1", "why=\"asked for by hand\""],
    );
    contains(&history[2], &["what=isr leader=1", "isr=1 was=1,2", "why=\"its leader proposed it\""]);
    assert_eq!(typist.rows("HISTORY 1").await, history[2..]);
    contains(&typist.status("HISTORY x").await, &["-ERR BAD_REQUEST", "x is not a number of changes"]);
    let events = typist.says("EVENTS 50").await.join("\n");
    contains(
        &events,
        &["election orders/0: leadership goes from broker 1 to broker 2", "topic", "session broker 1"],
    );
}

#[tokio::test]
async fn the_process_shows_its_backend_settings_and_numbers() {
    let (coordinator, _one, _two, mut typist) = two_brokers().await;
    let backend = typist.rows("BACKEND").await.join("\n");
    contains(&backend, &["name=backend value=quorum", "name=role value=leading", &coordinator.address]);
    let info = typist.rows("INFO").await.join("\n");
    contains(
        &info,
        &["name=process value=coordinator", "name=brokers_alive value=2", "name=partitions value=1"],
    );
    let conf = typist.rows("CONF lease").await;
    let backend = "setting=lease_backend value=\"\" source=default";
    assert_eq!(conf, [backend, "setting=lease_time_seconds value=3 source=default"]);
    contains(
        &typist.rows("METRICS brokers_alive").await[0],
        &["metric=yak_brokers_alive value=2 kind=gauge"],
    );
    contains(&typist.status("BACKEND now").await, &["-ERR BAD_REQUEST BACKEND does not take now"]);
}

#[tokio::test]
async fn words_are_answered_and_ruok_looks_at_the_log() {
    let (coordinator, _one, _two, _typist) = two_brokers().await;
    assert_eq!(coordinator.word("ruok").await, "imok\n");
    assert_eq!(coordinator.word("isro").await, "rw\n");
    assert_eq!(coordinator.word("role").await, "coordinator\n");
    contains(&coordinator.word("srvr").await, &["yak coordinator, version", "Brokers: 2 of 2 alive"]);
    contains(&coordinator.word("stat").await, &["Clients:\n 127.0.0.1:"]);
    contains(&coordinator.word("mntr").await, &["yak_brokers_alive\t2", "yak_partitions_without_leader\t0"]);
    contains(&coordinator.word("conf").await, &["lease_time_seconds=3", "data="]);
    contains(&coordinator.word("cons").await, &["frames", "text"]);
    contains(&coordinator.word("envi").await, &["yak.version=", "process.id="]);
    contains(&coordinator.word("dump").await, &["leases:\nBROKER", "connected"]);
    // The next entry would go to a file that nobody will find again.
    std::fs::remove_file(coordinator.log_path()).unwrap();
    contains(&coordinator.word("ruok").await, &["imno: the quorum's log"]);
}

#[tokio::test]
async fn a_broker_typed_by_hand_shows_up_and_expires_by_itself() {
    let coordinator = Harness::start_with(|config| {
        config.heartbeat = Duration::from_millis(100);
        config.lease = Duration::from_secs(3);
    })
    .await;
    let mut hand = coordinator.typist().await;
    let registered = hand
        .json(
            r#"{"kind":"register_broker","id":1,"name":"hand","advertise":"127.0.0.1:9999","incarnation":"00000000-0000-4000-8000-000000000001","data_dir":"00000000-0000-4000-8000-000000000002"}"#,
        )
        .await;
    contains(&registered, &["\"ok\":true", "\"broker_id\":1", "\"broker_epoch\":1"]);
    let beat =
        hand.json(r#"{"kind":"heartbeat","id":2,"broker_id":1,"broker_epoch":1,"metadata_version":1}"#).await;
    contains(&beat, &["\"ok\":true", "\"fenced\":false"]);
    let mut typist = coordinator.typist().await;
    eventually("the lease has run out", || async {
        let brokers = coordinator.typist().await.rows("BROKERS").await;
        contains(&brokers[0], &["id=1 name=hand address=127.0.0.1:9999"]);
        (brokers[0].contains("state=fenced") && brokers[0].ends_with("lease_ms=-")).then_some(())
    })
    .await;
    let why = typist.says("WHY broker hand").await;
    contains(
        &why[0],
        &["broker 1 (hand at 127.0.0.1:9999) is fenced since", "its lease has run out", "start broker 1"],
    );
}

#[tokio::test]
async fn why_tells_what_is_wrong_from_the_real_state() {
    let (coordinator, mut one, mut two, mut typist) = two_brokers().await;
    let well = typist.says("WHY").await;
    contains(&well[0], &["the cluster is well: 2 brokers are alive"]);
    assert_eq!(well.last().unwrap(), "+OK well=yes causes=0");
    contains(&typist.says("WHY orders forward=off").await[0], &["orders is well"]);
    // What names a broker and cannot be reached from here is said, and what is known is told all the same.
    let unreachable = typist.says("WHY orders/0").await;
    contains(
        &unreachable[0],
        &["broker 1 knows more and cannot be asked from the coordinator", "127.0.0.1:20001"],
    );
    contains(&typist.status("WHY ordrs/0").await, &["-ERR UNKNOWN_TOPIC", "did you mean \"orders\"?"]);
    contains(&typist.status("WHY orders/3").await, &["-ERR UNKNOWN_PARTITION", "from 0 to 0"]);
    contains(&typist.status("WHY broker 7").await, &["-ERR BAD_REQUEST", "there are 1 (one), 2 (two)"]);
    contains(&typist.status("WHY broker twp").await, &["did you mean two?"]);

    two.hang_up();
    eventually("the follower is fenced", || async {
        let why = coordinator.typist().await.says("WHY orders/0 forward=off").await;
        why[0].contains("broker 2 (two at 127.0.0.1:20002) is fenced since").then_some(())
    })
    .await;
    one.hang_up();
    let why = eventually("nobody leads", || async {
        let why = coordinator.typist().await.says("WHY orders/0").await;
        why[0].contains("has no leader").then_some(why)
    })
    .await;
    contains(
        &why[0],
        &["orders/0 has no leader since", "broker 1 is fenced: its process closed the connection"],
    );
    contains(&why[0], &["only broker 1 may lead", "Next: start broker 1"]);
    let rows = typist.rows("WHY").await;
    contains(&rows[0], &["cause=no_leader subject=orders/0"]);
    assert!(rows.iter().any(|row| row.contains("cause=fenced subject=\"broker 2\"")), "{rows:?}");
}
