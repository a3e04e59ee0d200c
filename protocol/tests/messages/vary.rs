//! decode(encode(x)) = x for bodies like the samples, with other values in them.

use crate::tree::Tree;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use yak_protocol::decode::Frame;
use yak_protocol::envelope::{self, Encoded};
use yak_protocol::json::{read_message, write_message};
use yak_protocol::message::Message;

/// How many bodies are made of each sample.
const CASES: u32 = 48;
/// How many values of each are changed.
const CHANGES: usize = 6;

/// Changes the value that comes up after `place` others, if the body is still one.
fn change(tree: &mut Tree, place: &mut usize, dice: u64, text: &str) -> bool {
    if *place == 0 {
        *tree = match tree {
            Tree::Nil | Tree::Bool(_) => Tree::Bool(dice.is_multiple_of(2)),
            Tree::Int(_) => match dice % 4 {
                0 => Tree::Int(i128::from(dice)),
                1 => Tree::Int(i128::from(dice >> 40)),
                2 => Tree::Int(-i128::from(dice >> 60)),
                _ => Tree::Nil,
            },
            Tree::Str(_) => Tree::Str(text.to_owned()),
            Tree::Bin(_) => Tree::Bin(dice.to_be_bytes()[..(dice % 9) as usize].to_vec()),
            Tree::List(items) => {
                let mut items = items.clone();
                match items.first().cloned() {
                    Some(first) if dice.is_multiple_of(2) => items.resize((dice % 40) as usize, first),
                    _ => items.clear(),
                }
                Tree::List(items)
            }
            Tree::Map(entries) => {
                let mut entries = entries.clone();
                if !entries.is_empty() {
                    entries.remove(usize::try_from(dice % entries.len() as u64).expect("less than a length"));
                }
                Tree::Map(entries)
            }
        };
        return true;
    }
    *place -= 1;
    match tree {
        Tree::List(items) => items.iter_mut().any(|item| change(item, place, dice, text)),
        Tree::Map(entries) => entries.iter_mut().any(|(_, value)| change(value, place, dice, text)),
        _ => false,
    }
}

fn check<T>(sample: &T, encode: impl Fn(&T) -> Encoded, decode: impl Fn(&[u8]) -> T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let dice = prop::collection::vec((0..60usize, any::<u64>(), any::<String>()), CHANGES);
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&dice, |dice| {
        let mut tree = Tree::of(sample);
        for (mut place, dice, text) in dice {
            let mut changed = tree.clone();
            if change(&mut changed, &mut place, dice, &text) && changed.typed::<T>().is_ok() {
                tree = changed;
            }
        }
        let body: T = tree.typed().expect("only changes that leave it a body were kept");
        let whole = encode(&body).to_bytes();
        let frame = Frame::decode(0, whole.slice(4..));
        prop_assert_eq!(&frame.problems, &[]);
        let envelope = frame.envelope.expect("it has no problems");
        prop_assert_eq!(decode(&envelope.body), body);
        let line = write_message(&whole[4..]).expect("it is sound");
        let again = read_message(line.as_bytes()).expect("it was just written").to_frame();
        prop_assert_eq!(again.expect("it is typed").to_bytes(), whole);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

pub fn check_kind<M>(request: &M, reply: &M::Reply)
where
    M: Message + PartialEq + Debug,
    M::Reply: PartialEq + Debug,
{
    let bin = || vec![Bytes::from_static(b"\xff\x00text")];
    check(
        request,
        |request| envelope::encode(1, 7, M::KIND, request, bin()).expect("it can be encoded"),
        |body| envelope::body(body).expect("a request"),
    );
    check(
        reply,
        |reply| envelope::encode_reply(7, M::KIND, Ok(reply), bin()).expect("it can be encoded"),
        |body| envelope::outcome::<M::Reply>(body).expect("a reply"),
    );
}
