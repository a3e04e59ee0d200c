//! Who a broker is: names, data dirs, clusters.

use crate::harness::Cluster;
use yak_broker::BrokerError;
use yak_protocol::error::ErrorCode;
use yak_storage::OpenError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_live_broker_with_a_used_name_is_refused_and_told_who_has_it() {
    let mut cluster = Cluster::start_with(2, |number, mut config| {
        if number == 1 {
            config.data = config.data.with_file_name("another-disk");
        }
        config
    })
    .await;
    // The same name as broker 0, on another data dir.
    let mut second = Cluster::without_coordinator(1, |_, config| config);
    second.coordinator_address = cluster.coordinator_address.clone();
    second.launch_broker(0);
    let error = second.broker_ends(0).await;
    let BrokerError::Refused(refused) = &error else { panic!("{error}") };
    assert_eq!(refused.code, ErrorCode::DuplicateBroker);
    assert!(error.to_string().contains(&cluster.brokers[0].address), "{error}");
    assert!(cluster.runs(0));
    cluster.stop_broker(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_dir_of_another_cluster_is_refused() {
    let mut one = Cluster::start(1).await;
    one.kill_broker(0).await;
    let data = one.data_of(0).to_owned();
    let mut other = Cluster::without_coordinator(1, move |_, mut config| {
        config.data.clone_from(&data);
        config
    });
    other.start_coordinator().await;
    other.launch_broker(0);
    let error = other.broker_ends(0).await;
    let BrokerError::Refused(refused) = &error else { panic!("{error}") };
    assert_eq!(refused.code, ErrorCode::WrongCluster, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_keeps_its_number_and_gets_a_new_epoch_when_it_restarts() {
    let mut cluster = Cluster::start(2).await;
    let before = cluster.metadata(0, "").await.brokers;
    cluster.stop_broker(1).await;
    cluster.start_broker(1).await;
    let after = cluster.metadata(1, "").await.brokers;
    assert_eq!(before.len(), after.len());
    assert_eq!((before[1].id, &before[1].name), (after[1].id, &after[1].name));
    assert!(after[1].broker_epoch > before[1].broker_epoch);
    assert_eq!(after[0].broker_epoch, before[0].broker_epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_dir_in_use_is_refused_and_the_one_who_uses_it_goes_on() {
    let cluster = Cluster::start(1).await;
    let data = cluster.data_of(0).to_owned();
    let mut second = Cluster::without_coordinator(1, move |_, mut config| {
        config.data.clone_from(&data);
        config
    });
    second.launch_broker(0);
    let error = second.broker_ends(0).await;
    assert!(matches!(error, BrokerError::Open(OpenError::Locked { .. })), "{error}");
    assert!(error.to_string().contains("in use"), "{error}");
    assert!(cluster.runs(0));
    cluster.topic("orders", 1, 1).await;
}
