//! A failover as it went over the wire.

use crate::harness::{Cluster, Publisher, check_kept, yak};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn a_capture_of_a_failover_decodes_without_an_unknown_byte() {
    let mut cluster = Cluster::start("1");
    let pcap = cluster.dir("failover.pcap");
    let pcap = pcap.to_str().expect("a plain name").to_owned();
    let proxy = cluster.behind_proxy(&["--pcap", &pcap, "--filter", "kind=none"]);
    cluster.create_topic("orders", 3, 3);
    let publisher = Publisher::start(&cluster, "orders");
    publisher.goes_on(50);
    let leader = cluster.describe("orders")[0].leader.expect("it has a leader");
    cluster.kill_broker(leader);
    cluster.new_leader(&cluster.all_but(leader), "orders", 0, leader);
    publisher.goes_on(50);
    cluster.start_broker(leader);
    cluster.in_sync("orders", 3, 3);
    check_kept(&cluster, "orders", &publisher.finish());
    proxy.signal(Signal::INT);
    let proxy = proxy.finish().expect_code(0);

    let decoded = yak(&["decode", "--json", "--bodies", &pcap], "");
    let lines: Vec<Value> =
        decoded.stdout.iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let (mut kinds, mut records, mut epochs) = (BTreeSet::new(), 0, BTreeSet::new());
    for line in &lines {
        let problems = line["problems"].as_array().map_or(&[][..], Vec::as_slice);
        for problem in problems {
            // What the killed broker was saying when it died is cut off; nothing is unknown.
            assert!(problem["what"].as_str().is_some_and(|what| what.starts_with("truncated: ")), "{line}");
        }
        if problems.is_empty() {
            kinds.insert(line["kind"].as_str().unwrap_or_else(|| panic!("no frame: {line}")));
        }
        for batch in line["batches"].as_array().into_iter().flatten() {
            assert_eq!(batch["crc"], "ok", "{line}");
            records += batch["records"].as_array().expect("it is sound").len();
            if line["kind"] == "replicate" {
                epochs.insert(batch["leader_epoch"].as_u64().expect("a number"));
            }
        }
    }
    for kind in
        ["register_broker", "heartbeat", "leader_info", "metadata", "publish", "replicate", "propose_isr"]
    {
        assert!(kinds.contains(kind), "{kind} is not among {kinds:?}");
    }
    assert!(records > 100 && epochs.len() > 1, "{records} records of the epochs {epochs:?}");
    let expected = if lines.iter().any(|line| !line["problems"].is_null()) { 3 } else { 0 };
    assert_eq!(decoded.code, Some(expected), "{}{}", decoded.stderr, proxy.stderr);
}
