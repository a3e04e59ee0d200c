//! What stands in the messages: defaults, ids, forms of values, errors and their table.

use crate::check::check;
use crate::samples::error;
use crate::tree::Tree;
use serde_bytes::ByteBuf;
use std::collections::BTreeSet;
use yak_protocol::error::{Action, ErrorCode, WireError};
use yak_protocol::ids::*;
use yak_protocol::message::*;

#[test]
fn defaults_are_the_careful_ones() {
    let empty = Tree::Map(Vec::new());
    let publish: Publish = empty.typed().expect("nothing is required");
    assert_eq!(publish, Publish::default());
    assert_eq!(publish.acks, Acks::All);
    assert!(!publish.forward);
    let partitions = Tree::Map(vec![("partitions".to_owned(), Tree::List(Vec::new()))]);
    let consume: Consume = partitions.typed().expect("nothing else is required");
    assert_eq!(consume.format, Format::Records);
    let config: TopicConfig = empty.typed().expect("all have defaults");
    assert_eq!(config, TopicConfig::default());
    assert_eq!(config.durability, Durability::Fsync);
    assert_eq!(config.batch_bytes_max, yak_protocol::defaults::BATCH_BYTES_MAX);
    assert_eq!(yak_protocol::defaults::min_isr(3), 2);
    assert_eq!(yak_protocol::defaults::min_isr(2), 1);
}

#[test]
fn acks_in_all_their_forms() {
    for (form, acks) in [
        (Tree::Str("all".to_owned()), Some(Acks::All)),
        (Tree::Str("-1".to_owned()), Some(Acks::All)),
        (Tree::Int(-1), Some(Acks::All)),
        (Tree::Int(1), Some(Acks::Leader)),
        (Tree::Str("1".to_owned()), Some(Acks::Leader)),
        (Tree::Int(0), Some(Acks::None)),
        (Tree::Str("0".to_owned()), Some(Acks::None)),
        (Tree::Int(2), None),
        (Tree::Int(-2), None),
        (Tree::Str("quorum".to_owned()), None),
        (Tree::Bool(true), None),
        (Tree::Nil, None),
    ] {
        assert_eq!(form.typed::<Acks>().ok(), acks, "{form:?}");
        let json = match &form {
            Tree::Str(text) => format!("{text:?}"),
            Tree::Int(number) => number.to_string(),
            other => format!("{other:?}").to_lowercase(),
        };
        assert_eq!(serde_json::from_str::<Acks>(&json).ok(), acks, "{json}");
    }
    assert_eq!(Tree::of(&Acks::All), Tree::Str("all".to_owned()));
    assert_eq!(Tree::of(&Acks::Leader), Tree::Int(1));
    assert_eq!(Tree::of(&Acks::None), Tree::Int(0));
}

#[test]
fn ids_are_plain_numbers_and_strings() {
    assert_eq!(Tree::of(&Offset(u64::MAX)), Tree::Int(u64::MAX.into()));
    assert_eq!(Tree::of(&ProducerId::NONE), Tree::Int(-1));
    let topic = TopicId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    assert_eq!(Tree::of(&topic), Tree::Str("01234567-89ab-cdef-0123-456789abcdef".to_owned()));
    assert_eq!("0123456789abcdef0123456789abcdef".parse(), Ok(topic));
    assert!(Tree::Str("orders".to_owned()).typed::<TopicId>().is_err());
    assert!(Tree::Int(5).typed::<TopicId>().is_err());
    assert!(Tree::Int(-5).typed::<Offset>().is_err());
    assert!(Tree::Int(1 << 32).typed::<BrokerId>().is_err());
    let batch = BatchRef("t".to_owned(), PartitionIndex(0), 61);
    let items = vec![Tree::Str("t".to_owned()), Tree::Int(0), Tree::Int(61)];
    assert_eq!(Tree::of(&batch), Tree::List(items));
    // Bytes may be sent as strings: that is all that some languages have.
    let record = Tree::Map(vec![("value".to_owned(), Tree::Str("hi".to_owned()))]);
    assert_eq!(record.typed::<PlainRecord>().expect("a string").value, Some(ByteBuf::from("hi")));
    let record = PlainRecord { value: Some(ByteBuf::from([0xff, 0x00])), ..PlainRecord::default() };
    assert_eq!(Tree::of(&record), Tree::Map(vec![("value".to_owned(), Tree::Bin(vec![0xff, 0x00]))]));
}

#[test]
fn the_error_table() {
    let numbers: BTreeSet<u16> = ErrorCode::ALL.iter().map(|code| code.number()).collect();
    let names: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(numbers.len(), ErrorCode::ALL.len(), "numbers are unique");
    assert_eq!(names.len(), ErrorCode::ALL.len(), "names are unique");
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
        assert!(code.name().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{code:?}");
    }
    assert_eq!(ErrorCode::from_number(0), None);
    assert_eq!(ErrorCode::from_number(u16::MAX), None);
    // These numbers are part of the wire format for ever; this list only grows.
    for (number, name) in [
        (1, "BAD_FRAME"),
        (5, "BAD_REQUEST"),
        (6, "NOT_LEADER"),
        (8, "UNKNOWN_TOPIC"),
        (12, "BAD_BATCH"),
        (14, "NOT_ENOUGH_REPLICAS"),
        (15, "STORAGE_FULL"),
        (16, "OUTCOME_UNKNOWN"),
        (20, "FENCED"),
        (38, "INTERNAL"),
        (40, "RECOVERING"),
    ] {
        assert_eq!(ErrorCode::from_number(number).map(ErrorCode::name), Some(name));
    }
    // Whether an outcome is open may never be guessed from another action.
    let open: Vec<_> = ErrorCode::ALL.iter().filter(|code| code.action() == Action::Unknown).collect();
    assert_eq!(open, [&ErrorCode::OutcomeUnknown, &ErrorCode::Internal]);
}

#[test]
fn errors_travel() {
    check(&error(), &["code"]);
    let plain = WireError::new(ErrorCode::StorageFull, "no space");
    check(&plain, &["code"]);
    let mut tree = Tree::of(&plain);
    let keys: Vec<_> = tree.entries().iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["code", "error", "message"]);
    assert_eq!(tree.entries()[1].1, Tree::Str("STORAGE_FULL".to_owned()));
    assert_eq!(plain.to_string(), "STORAGE_FULL: no space");
    // A code of a newer version: nothing can be said about the outcome.
    tree.entries()[0].1 = Tree::Int(60_000);
    assert_eq!(tree.typed::<WireError>().expect("readable").code, ErrorCode::Internal);
}
