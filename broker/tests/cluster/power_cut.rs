//! Power cuts: what was acknowledged is on disk, so it survives the loss of everything that was not.

use crate::harness::{Cluster, Kept, batch, eventually};
use yak_broker::BrokerError;
use yak_protocol::error::Action;
use yak_protocol::message::Publish;
use yak_storage::io::sim::{Crash, Fault, SimDisk};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_brokers_lose_power_at_once_and_no_acknowledged_record_is_lost() {
    let disks = [SimDisk::new(), SimDisk::new(), SimDisk::new()];
    let mut cluster = Cluster::on_disks(3, &disks).await;
    cluster.topic("orders", 1, 3).await;
    let mut kept = Kept::default();
    for round in 0..3 {
        cluster.partition_when("all are in sync", "orders", 0, |info| info.isr.len() == 3).await;
        let client = cluster.leader_client("orders", 0).await;
        eventually("the leader leads", || async { client.offsets("orders", 0).await.ok() }).await;
        let (count, mut counted) = tokio::sync::watch::channel(0);
        let publishing = tokio::spawn(async move {
            let mut acked = Vec::new();
            for number in 0.. {
                let value = format!("{round}-{number}");
                let batches = vec![("orders", 0, batch(&[&value]))];
                let Ok(results) = client.publish_with(Publish::default(), batches).await else { break };
                match (results[0].ack.clone(), &results[0].error) {
                    (Some(ack), _) => acked.push((ack, value)),
                    (None, Some(error)) => assert_ne!(error.code.action(), Action::GiveUp, "{error}"),
                    other => panic!("a result says either: {other:?}"),
                }
                count.send_replace(acked.len());
            }
            acked
        });
        counted.wait_for(|count| *count >= 20).await.expect("it publishes");
        for (number, disk) in disks.iter().enumerate() {
            cluster.kill_broker(number).await;
            disk.crash(Crash::LoseUnsynced);
        }
        for (ack, value) in publishing.await.expect("no panic") {
            kept.add(&ack, &[&value]);
        }
        for number in 0..3 {
            cluster.start_broker(number).await;
        }
        let client = cluster.leader_client("orders", 0).await;
        client.committed("orders", 0, kept.next().0).await;
        kept.check(&client.read_all("orders", 0).await);
    }
    assert!(kept.len() >= 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_that_broker_only_and_its_partitions_go_on_elsewhere() {
    let disks = [SimDisk::new(), SimDisk::new(), SimDisk::new()];
    let mut cluster = Cluster::on_disks(3, &disks).await;
    cluster.topic("orders", 1, 3).await;
    cluster.partition_when("all are in sync", "orders", 0, |info| info.isr.len() == 3).await;
    let bad = cluster.leader("orders", 0).await;
    let client = cluster.client(bad).await;
    let mut kept = Kept::default();
    let acked =
        eventually("acknowledged", || async { client.publish("orders", 0, &["good"]).await.ok() }).await;
    kept.add(&acked, &["good"]);
    // Every call from now on fails, so the next round's write or sync does.
    disks[bad].fault(disks[bad].calls()..u64::MAX, Fault::Death);
    let outcome = client.publish_with(Publish::default(), vec![("orders", 0, batch(&["lost?"]))]).await;
    if let Ok(results) = outcome {
        let error = results[0].error.as_ref().expect("it was not acknowledged");
        assert_ne!(error.code.action(), Action::GiveUp, "{error}");
    }
    let ended = cluster.broker_ends(bad).await;
    assert!(matches!(ended, BrokerError::Crashed), "{ended}");
    let client = cluster.leader_client("orders", 0).await;
    client.committed("orders", 0, kept.next().0).await;
    kept.check(&client.read_all("orders", 0).await);
    let acked =
        eventually("it goes on", || async { client.publish("orders", 0, &["more"]).await.ok() }).await;
    assert!(acked.offset >= Some(kept.next()));
}
