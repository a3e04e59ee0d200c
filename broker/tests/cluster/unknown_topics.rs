//! Rules R15 and R16: a coordinator from an old copy of its journal is not believed until its term is
//! newer, and what it does not know is kept.

use crate::harness::{Cluster, eventually, values_of};
use std::path::Path;

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_a_topic_that_the_coordinator_has_forgotten_is_set_aside_and_kept() {
    let mut cluster = Cluster::start(1).await;
    cluster.topic("kept", 1, 1).await;
    cluster.kill_coordinator().await;
    let old = cluster.coordinator_dir().with_file_name("old-copy");
    copy(&cluster.coordinator_dir(), &old);
    cluster.start_coordinator().await;
    eventually("the broker is back", || async {
        cluster.metadata(0, "").await.coordinator_lost.is_none().then_some(())
    })
    .await;
    cluster.topic("forgotten", 1, 1).await;
    let client = cluster.client(0).await;
    eventually("acknowledged", || async { client.publish("forgotten", 0, &["precious"]).await.ok() }).await;
    let topic = cluster.partition("forgotten", 0).await.id.topic.to_string();
    // The coordinator's disk is replaced by the old copy; two starts make its term newer than what the
    // broker has seen.
    cluster.kill_coordinator().await;
    copy(&old, &cluster.coordinator_dir());
    for _ in 0..2 {
        cluster.start_coordinator().await;
        cluster.kill_coordinator().await;
    }
    cluster.start_coordinator().await;
    let orphans = cluster.data_of(0).join("orphan");
    let orphan = eventually("the data is set aside", || async {
        let mut entries = std::fs::read_dir(&orphans).ok()?.flatten();
        entries
            .find(|entry| entry.file_name().to_string_lossy().starts_with(&topic))
            .map(|entry| entry.path())
    })
    .await;
    let kept = std::fs::read(orphan.join(format!("{:020}.log", 0))).expect("the segment is there");
    assert_eq!(values_of(&kept), [(0, "precious".to_owned())]);
    assert!(cluster.metadata(0, "forgotten").await.topics.is_empty());
    let client = cluster.leader_client("kept", 0).await;
    eventually("the other topic goes on", || async { client.publish("kept", 0, &["more"]).await.ok() }).await;
}
