use super::*;
use yak_protocol::batch::{BatchBuilder, Compression, RecordRef, patch};
use yak_protocol::error::LeaderHint;
use yak_protocol::ids::BrokerId;

fn batch(base: u64, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        builder.push(&RecordRef { timestamp_ms: 1, key: None, value: Some(value.as_bytes()), headers: &[] });
    }
    let mut bytes = builder.build().expect("it has records").to_vec();
    patch(&mut bytes, Offset(base), LeaderEpoch(1));
    bytes
}

fn position(at: u64) -> Position {
    Position::new("orders".into(), PartitionIndex(2), Offset(at))
}

fn answer(high_watermark: u64) -> Consumed {
    Consumed {
        topic: "orders".to_owned(),
        partition: PartitionIndex(2),
        log_start: Offset(5),
        high_watermark: Offset(high_watermark),
        leader_epoch: LeaderEpoch(1),
        bytes: 0,
        records: Vec::new(),
        next: None,
        error: None,
    }
}

fn refusal(error: WireError) -> Consumed {
    Consumed { error: Some(error), ..answer(20) }
}

fn values(batch: &Batch) -> Vec<(u64, String)> {
    batch
        .records()
        .map(|record| record.expect("whole"))
        .map(|record| (record.offset.0, String::from_utf8_lossy(record.value.expect("set")).into_owned()))
        .collect()
}

fn give(position: &mut Position, asked: u64, high_watermark: u64, bytes: &[u8]) -> Verdict {
    position.answered(
        Offset(asked),
        &answer(high_watermark),
        Bytes::copy_from_slice(bytes),
        &ConsumerConfig::default(),
    )
}

fn hand_out(position: &mut Position) -> Option<Result<Batch, ConsumeError>> {
    position.hand_out(&ConsumerConfig::default())
}

#[test]
fn the_batch_around_the_position_is_handed_out_from_the_position_on() {
    let mut position = position(11);
    give(&mut position, 11, 13, &batch(10, &["a", "b", "c"]));
    let found = hand_out(&mut position).expect("records").expect("whole");
    assert_eq!(values(&found), [(11, "b".to_owned()), (12, "c".to_owned())]);
    assert_eq!(position.position(), Offset(13));
    assert_eq!(position.ask_from(), Offset(13));
}

#[test]
fn batches_below_the_position_are_skipped() {
    let mut position = position(12);
    give(&mut position, 12, 14, &[batch(10, &["a", "b"]), batch(12, &["c"]), batch(13, &["d"])].concat());
    let first = hand_out(&mut position).expect("records").expect("whole");
    assert_eq!(values(&first), [(12, "c".to_owned())]);
    let second = hand_out(&mut position).expect("records").expect("whole");
    assert_eq!(values(&second), [(13, "d".to_owned())]);
    assert!(hand_out(&mut position).is_none());
}

#[test]
fn an_answer_to_an_older_question_changes_nothing() {
    let mut position = position(10);
    give(&mut position, 10, 11, &batch(10, &["a"]));
    give(&mut position, 10, 11, &batch(10, &["a"]));
    assert!(hand_out(&mut position).expect("records").is_ok());
    assert!(hand_out(&mut position).is_none());
}

#[test]
fn the_end_is_told_once_until_more_comes() {
    let mut position = position(10);
    assert_eq!(position.reached_end(), None);
    give(&mut position, 10, 11, &batch(10, &["a"]));
    assert_eq!(position.reached_end(), None);
    assert!(hand_out(&mut position).is_some());
    assert_eq!(position.reached_end(), Some(Offset(11)));
    give(&mut position, 11, 11, &[]);
    assert_eq!(position.reached_end(), None);
    give(&mut position, 11, 12, &batch(11, &["b"]));
    assert!(hand_out(&mut position).is_some());
    assert_eq!(position.reached_end(), Some(Offset(12)));
}

#[test]
fn a_flipped_bit_is_named_with_its_offset_behind_what_is_whole() {
    let mut position = position(10);
    let mut damaged = batch(12, &["c", "d"]);
    *damaged.last_mut().expect("it has bytes") ^= 1;
    give(&mut position, 10, 20, &[batch(10, &["a", "b"]), damaged, batch(14, &["e"])].concat());
    assert!(hand_out(&mut position).expect("records").is_ok());
    let error = hand_out(&mut position).expect("the error").expect_err("damaged");
    assert!(matches!(&error, ConsumeError::Poison { offset: Offset(12), next: Offset(14), .. }), "{error}");
    assert!(error.to_string().contains("orders/2"), "{error}");
    assert!(hand_out(&mut position).is_none(), "what lies behind is not handed out");
    assert_eq!(position.position(), Offset(12));
    assert!(!position.wants_more(&ConsumerConfig::default()));
}

#[test]
fn bytes_that_are_no_batch_are_named_with_the_offset_that_was_wanted() {
    let mut position = position(10);
    give(&mut position, 10, 20, &[batch(10, &["a"]), vec![0; 100]].concat());
    assert!(hand_out(&mut position).expect("records").is_ok());
    let error = hand_out(&mut position).expect("the error").expect_err("no batch");
    assert!(matches!(&error, ConsumeError::Poison { offset: Offset(11), .. }), "{error}");
}

#[test]
fn out_of_range_names_the_gap_or_moves() {
    let out = || refusal(WireError::new(ErrorCode::OffsetOutOfRange, "gone"));
    let mut failing = position(3);
    failing.answered(Offset(3), &out(), Bytes::new(), &ConsumerConfig::default());
    let error = hand_out(&mut failing).expect("the error").expect_err("out of range").to_string();
    assert!(error.contains("5 to 20") && error.contains("2 records are gone"), "{error}");

    for (choice, to) in [(OnOutOfRange::Earliest, 5), (OnOutOfRange::Latest, 20)] {
        let config = ConsumerConfig { on_out_of_range: choice, ..ConsumerConfig::default() };
        let mut moving = position(3);
        let verdict = moving.answered(Offset(3), &out(), Bytes::new(), &config);
        assert_eq!(verdict, Verdict::Moved(Offset(3)));
        assert_eq!((moving.position(), moving.ask_from()), (Offset(to), Offset(to)));
    }
}

#[test]
fn refusals_say_whether_the_leader_is_in_doubt() {
    let mut position = position(10);
    let hint = LeaderHint { leader: BrokerId(2), address: "b:1".to_owned(), leader_epoch: LeaderEpoch(2) };
    let mut doubt = |error: WireError| match position.answered(
        Offset(10),
        &refusal(error),
        Bytes::new(),
        &ConsumerConfig::default(),
    ) {
        Verdict::Later { leader, .. } => Some(leader),
        _ => None,
    };
    let not_leader = WireError::new(ErrorCode::NotLeader, "not me").leader(hint.clone());
    assert_eq!(doubt(not_leader), Some(LeaderDoubt::NotLeader(Some(hint))));
    assert_eq!(doubt(WireError::new(ErrorCode::HwUnknown, "soon")), Some(LeaderDoubt::None));
    assert_eq!(doubt(WireError::new(ErrorCode::NoLeader, "nobody")), Some(LeaderDoubt::Ask));
    assert_eq!(doubt(WireError::new(ErrorCode::BadRequest, "never")), None);
    assert!(matches!(hand_out(&mut position), Some(Err(ConsumeError::Refused { .. }))));
}

#[test]
fn a_leader_that_has_been_replaced_does_not_know_the_end() {
    let config = ConsumerConfig { on_out_of_range: OnOutOfRange::Earliest, ..ConsumerConfig::default() };
    let in_epoch = |epoch, answer| Consumed { leader_epoch: LeaderEpoch(epoch), ..answer };
    let mut position = position(10);
    let found = Bytes::from(batch(10, &["a", "b"]));
    position.answered(Offset(10), &in_epoch(4, answer(30)), found, &config);
    assert!(hand_out(&mut position).expect("records").is_ok());
    let out = refusal(WireError::new(ErrorCode::OffsetOutOfRange, "beyond the end"));
    let verdict = position.answered(Offset(12), &in_epoch(3, out.clone()), Bytes::new(), &config);
    assert!(matches!(verdict, Verdict::Later { leader: LeaderDoubt::Ask, .. }), "{verdict:?}");
    position.answered(Offset(12), &in_epoch(3, answer(12)), Bytes::new(), &config);
    assert_eq!(position.reached_end(), None, "the older end is not the end");
    assert_eq!(position.ask_from(), Offset(12));
    position.start_over_in(LeaderEpoch(3));
    let verdict = position.answered(Offset(12), &in_epoch(3, out), Bytes::new(), &config);
    assert_eq!(verdict, Verdict::Moved(Offset(12)));
}
