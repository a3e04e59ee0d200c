use super::*;
use crate::delivery::{Buffer, Delivery};
use std::time::Duration;
use yak_protocol::batch::{RecordRef, verify};
use yak_protocol::ids::{LeaderEpoch, Offset, PartitionIndex};

struct Fixture {
    lane: Lane,
    buffer: Arc<Buffer>,
    place: Arc<str>,
    start: Instant,
}

impl Fixture {
    fn new(sequenced: bool) -> Self {
        let place: Arc<str> = "orders/2".into();
        let mut lane = Lane::new(Arc::clone(&place), sequenced, 5, false);
        lane.set_identity(ProducerId(9), ProducerEpoch(0));
        Self { lane, buffer: Buffer::new(1 << 20), place, start: Instant::now() }
    }

    /// Adds a batch of `records` records that is given up `seconds` after the start.
    fn add(&mut self, records: u32, seconds: u64) -> Delivery {
        let mut builder = BatchBuilder::new(Compression::None);
        let mut ticket = self.buffer.ticket(&self.place, PartitionIndex(2));
        let mut delivery = None;
        for _ in 0..records {
            builder.push(&RecordRef { timestamp_ms: 1, key: None, value: Some(b"v"), headers: &[] });
            delivery = Some(ticket.add(10));
        }
        self.lane.add(builder, ticket, self.start + Duration::from_secs(seconds));
        delivery.expect("at least one record")
    }

    /// Sends the next batch: its number, and epoch and base sequence of what went out.
    fn send(&mut self) -> (BatchNumber, (i16, i32)) {
        let (number, bytes) = self.lane.send_next().expect("a batch is due");
        let header = verify(&bytes).expect("a whole batch");
        (number, (header.producer_epoch.0, header.base_sequence))
    }

    fn rewind(&mut self, seconds: u64) {
        self.lane.rewind(self.start + Duration::from_secs(seconds));
    }
}

fn acked(offset: u64) -> Option<Acked> {
    Some(Acked {
        offset: Some(Offset(offset)),
        replicas: 3,
        durable: true,
        leader_epoch: LeaderEpoch(1),
        firsts: Vec::new(),
    })
}

fn refused(code: ErrorCode) -> AttemptFailure {
    AttemptFailure::refused(&WireError::new(code, "as the test says"))
}

fn lost() -> AttemptFailure {
    AttemptFailure::unanswered("the connection broke", false)
}

fn unknown(delivery: &Delivery) -> bool {
    delivery.get().expect("it is settled").expect_err("it is no success").is_outcome_unknown()
}

fn failed(delivery: &Delivery) -> bool {
    matches!(delivery.get(), Some(Err(ProduceError::Failed { .. })))
}

#[test]
fn sequence_numbers_count_records_and_are_given_when_first_sent() {
    let mut test = Fixture::new(true);
    let _ = (test.add(3, 30), test.add(2, 30));
    assert_eq!(test.send().1, (0, 0));
    assert_eq!(test.send().1, (0, 3));
    let _ = test.add(1, 30);
    assert_eq!(test.send().1, (0, 5));
    assert!(test.lane.send_next().is_none());
}

#[test]
fn after_a_lost_connection_everything_unacknowledged_goes_out_again_in_order_with_its_numbers() {
    let mut test = Fixture::new(true);
    let deliveries: Vec<_> = (0..4).map(|_| test.add(2, 30)).collect();
    let sent: Vec<_> = (0..4).map(|_| test.send()).collect();
    test.lane.acked(sent[0].0, acked(100));
    for (number, _) in &sent[1..] {
        test.lane.attempt_failed(*number, lost());
    }
    test.rewind(1);
    let again: Vec<_> = (0..3).map(|_| test.send()).collect();
    assert_eq!(again, sent[1..]);
    test.lane.acked(again[0].0, acked(102));
    assert_eq!(deliveries[0].get().expect("settled").expect("acked").offset, Some(Offset(101)));
    assert_eq!(deliveries[1].get().expect("settled").expect("acked").offset, Some(Offset(103)));
    assert!(deliveries[2].get().is_none());
}

#[test]
fn one_that_was_acknowledged_behind_a_failure_is_not_sent_again() {
    let mut test = Fixture::new(true);
    let deliveries = [test.add(1, 30), test.add(1, 30), test.add(1, 30)];
    let sent = [test.send(), test.send(), test.send()];
    test.lane.attempt_failed(sent[0].0, refused(ErrorCode::OutcomeUnknown));
    test.lane.acked(sent[1].0, acked(7));
    test.lane.attempt_failed(sent[2].0, lost());
    test.rewind(1);
    assert!(deliveries[1].get().expect("settled").is_ok());
    assert_eq!(test.send(), sent[0]);
    assert_eq!(test.send(), sent[2]);
}

#[test]
fn failed_means_that_every_attempt_was_definitely_refused() {
    let mut test = Fixture::new(true);
    let delivery = test.add(1, 30);
    for second in [1, 2, 31] {
        let (number, _) = test.send();
        test.lane.attempt_failed(number, refused(ErrorCode::NotEnoughReplicas));
        test.rewind(second);
    }
    assert!(failed(&delivery));
    let text = delivery.get().expect("settled").expect_err("failed").to_string();
    assert!(text.contains("NOT_ENOUGH_REPLICAS"), "{text}");
}

#[test]
fn one_attempt_of_unknown_fate_makes_the_outcome_unknown() {
    for indefinite in [
        lost(),
        refused(ErrorCode::OutcomeUnknown),
        refused(ErrorCode::Timeout),
        refused(ErrorCode::Internal),
    ] {
        let mut test = Fixture::new(true);
        let delivery = test.add(1, 30);
        let (number, _) = test.send();
        test.lane.attempt_failed(number, indefinite);
        test.rewind(1);
        let (number, _) = test.send();
        test.lane.attempt_failed(number, refused(ErrorCode::NotLeader));
        test.rewind(31);
        assert!(unknown(&delivery));
    }
}

#[test]
fn never_sent_until_its_deadline_is_a_definite_failure_that_names_the_cause_and_leaves_no_gap() {
    let mut test = Fixture::new(true);
    let first = test.add(4, 30);
    let second = test.add(1, 90);
    test.lane.not_sent(&"no leader since 30.0 s".into());
    test.rewind(31);
    assert!(failed(&first));
    assert!(
        first.get().expect("settled").expect_err("failed").to_string().contains("no leader since 30.0 s")
    );
    assert_eq!(test.send().1, (0, 0));
    assert!(second.get().is_none());
}

#[test]
fn a_batch_that_is_refused_for_ever_fails_and_the_rest_begins_a_new_epoch() {
    let mut test = Fixture::new(true);
    let deliveries = [test.add(2, 30), test.add(1, 30), test.add(1, 30)];
    let sent = [test.send(), test.send(), test.send()];
    test.lane.attempt_failed(sent[0].0, refused(ErrorCode::BadBatch));
    test.lane.attempt_failed(sent[1].0, refused(ErrorCode::OutOfOrderSequence));
    test.lane.attempt_failed(sent[2].0, refused(ErrorCode::OutOfOrderSequence));
    test.rewind(1);
    assert!(failed(&deliveries[0]));
    assert_eq!(deliveries[0].get().expect("settled").expect_err("failed").code(), Some(ErrorCode::BadBatch));
    assert_eq!([test.send().1, test.send().1], [(1, 0), (1, 1)]);
}

#[test]
fn out_of_order_behind_a_failure_is_only_sent_again() {
    let mut test = Fixture::new(true);
    let _deliveries = [test.add(2, 30), test.add(1, 30)];
    let sent = [test.send(), test.send()];
    test.lane.attempt_failed(sent[0].0, refused(ErrorCode::NotEnoughReplicas));
    test.lane.attempt_failed(sent[1].0, refused(ErrorCode::OutOfOrderSequence));
    test.rewind(1);
    assert_eq!([test.send(), test.send()], sent);
}

#[test]
fn a_forgotten_producer_goes_on_in_a_new_epoch_if_nothing_can_have_been_written() {
    let mut test = Fixture::new(true);
    let first = test.add(1, 30);
    let (number, _) = test.send();
    test.lane.acked(number, acked(0));
    assert!(first.get().is_some());
    let second = test.add(1, 30);
    let (number, stamp) = test.send();
    assert_eq!(stamp, (0, 1));
    test.lane.attempt_failed(number, refused(ErrorCode::UnknownProducerId));
    test.rewind(1);
    assert_eq!(test.send().1, (1, 0));
    assert!(second.get().is_none());
}

#[test]
fn a_forgotten_producer_never_resets_silently_after_an_attempt_of_unknown_fate() {
    for code in [ErrorCode::UnknownProducerId, ErrorCode::OutOfOrderSequence] {
        let mut test = Fixture::new(true);
        let _ = test.add(1, 30);
        let (number, _) = test.send();
        test.lane.acked(number, acked(0));
        let deliveries = [test.add(1, 30), test.add(1, 30), test.add(1, 30)];
        let sent = [test.send(), test.send()];
        test.lane.attempt_failed(sent[0].0, lost());
        test.lane.attempt_failed(sent[1].0, lost());
        test.rewind(1);
        let sent = [test.send(), test.send(), test.send()];
        for (number, _) in sent {
            test.lane.attempt_failed(number, refused(code));
        }
        test.rewind(2);
        assert!(unknown(&deliveries[0]));
        assert!(unknown(&deliveries[1]), "it could be written twice under a new number");
        assert!(deliveries[2].get().is_none());
        assert_eq!(test.send().1, (1, 0));
    }
}

#[test]
fn a_numbered_batch_given_up_as_never_written_begins_a_new_epoch_for_the_rest() {
    let mut test = Fixture::new(true);
    let deliveries = [test.add(1, 10), test.add(1, 30)];
    let sent = [test.send(), test.send()];
    for (number, _) in sent {
        test.lane.attempt_failed(number, refused(ErrorCode::NotEnoughReplicas));
    }
    test.rewind(11);
    assert!(failed(&deliveries[0]));
    assert_eq!(test.send().1, (1, 0));
}

#[test]
fn without_sequence_numbers_a_batch_of_unknown_fate_is_not_sent_again() {
    let mut test = Fixture::new(false);
    let deliveries = [test.add(1, 30), test.add(1, 30)];
    let sent = [test.send(), test.send()];
    assert_eq!(sent[0].1.1, -1);
    test.lane.attempt_failed(sent[0].0, lost());
    test.lane.attempt_failed(sent[1].0, refused(ErrorCode::NotLeader));
    test.rewind(1);
    assert!(unknown(&deliveries[0]));
    assert_eq!(test.send().0, sent[1].0);
}

#[test]
fn used_up_sequence_numbers_begin_a_new_epoch_when_nothing_is_outstanding() {
    let mut test = Fixture::new(true);
    test.lane.next_sequence = i32::MAX - 1;
    let _deliveries = [test.add(1, 30), test.add(2, 30)];
    let (first, stamp) = test.send();
    assert_eq!(stamp, (0, i32::MAX - 1));
    assert!(test.lane.send_next().is_none());
    test.lane.acked(first, acked(0));
    assert_eq!(test.send().1, (1, 0));
}

#[test]
fn used_up_epochs_ask_for_a_new_producer_id() {
    let mut test = Fixture::new(true);
    test.lane.set_identity(ProducerId(9), ProducerEpoch(i16::MAX));
    test.lane.next_sequence = i32::MAX;
    let _delivery = test.add(1, 30);
    assert!(test.lane.send_next().is_none());
    assert!(test.lane.wants_identity());
    test.lane.set_identity(ProducerId(10), ProducerEpoch(0));
    assert_eq!(test.send().1, (0, 0));
}

#[test]
fn a_lane_that_is_dropped_tells_what_was_sent_from_what_was_not() {
    let mut test = Fixture::new(true);
    let deliveries = [test.add(1, 30), test.add(1, 30), test.add(1, 30)];
    let (number, _) = test.send();
    let _unanswered = test.send();
    test.lane.attempt_failed(number, lost());
    drop(test.lane);
    assert!(unknown(&deliveries[0]));
    assert!(unknown(&deliveries[1]));
    assert!(matches!(deliveries[2].get(), Some(Err(ProduceError::Closed { .. }))));
}

#[test]
fn the_buffer_gets_its_bytes_back_with_the_outcome() {
    let mut test = Fixture::new(true);
    let _delivery = test.add(3, 30);
    assert_eq!(test.buffer.outstanding().len(), 1);
    let (number, _) = test.send();
    test.lane.acked(number, acked(0));
    assert!(test.buffer.outstanding().is_empty());
}
