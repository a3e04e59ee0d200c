//! What is checked of every body.

use crate::tree::Tree;
use crate::{golden, vary};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use yak_protocol::message::{Message, Role, role_of};

/// Adds a key that no version knows to every map that stands for a struct.
fn add_unknown_keys(tree: &mut Tree) {
    match tree {
        Tree::List(items) => items.iter_mut().for_each(add_unknown_keys),
        Tree::Map(entries) => {
            // The answer to an open is a variant: its map has its one key by definition.
            entries.iter_mut().filter(|(key, _)| key != "answer").for_each(|(_, v)| add_unknown_keys(v));
            let nested = Tree::Map(vec![("deep".to_owned(), Tree::List(vec![Tree::Nil]))]);
            entries.insert(0, ("from the future".to_owned(), nested));
            entries.push(("another".to_owned(), Tree::Bin(vec![1, 2, 3])));
        }
        _ => {}
    }
}

/// Checks one body; `required` are the keys of the map that it cannot be read without.
pub fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &T, required: &[&str]) {
    let tree = Tree::of(body);
    assert_eq!(&tree.typed::<T>().expect("itself"), body);
    assert_eq!(Tree::of(&tree.typed::<T>().expect("itself")), tree);

    let mut newer = tree.clone();
    add_unknown_keys(&mut newer);
    assert_eq!(&newer.typed::<T>().expect("with unknown keys"), body);

    let mut needed = BTreeSet::new();
    let count = tree.clone().entries().len();
    for index in 0..count {
        let mut without = tree.clone();
        let (key, _) = without.entries().remove(index);
        match without.typed::<T>() {
            Ok(_) => {}
            Err(error) => {
                assert!(error.to_string().contains(&key), "the error names the key: {error}");
                needed.insert(key);
            }
        }
    }
    assert_eq!(needed, required.iter().map(|key| (*key).to_owned()).collect(), "{body:?}");

    // A body is a map; anything else is no message.
    if count > 0 {
        for other in [Tree::Nil, Tree::Int(1), Tree::Str("x".to_owned()), Tree::Bool(true)] {
            assert!(other.typed::<T>().is_err(), "{other:?}");
        }
    }
}

/// What docs/PROTOCOL.md says about the kind.
fn described(kind: &str) -> &'static str {
    const PAGE: &str = include_str!("../../../docs/PROTOCOL.md");
    let after = PAGE.split_once(&format!("\n### `{kind}`\n")).expect("every kind has a section").1;
    after.split("\n## ").next().and_then(|rest| rest.split("\n### ").next()).expect("text")
}

pub fn check_kind<M>(
    kind: &str,
    role: Role,
    request: &M,
    required: &[&str],
    reply: &M::Reply,
    in_reply: &[&str],
) where
    M: Message + PartialEq + Debug,
    M::Reply: PartialEq + Debug,
{
    assert_eq!(M::KIND, kind);
    assert_eq!(role_of(kind), Some(role), "{kind}");
    for mut body in [Tree::of(request), Tree::of(reply)] {
        for (key, _) in body.entries() {
            // In the JSON form these stand beside the body's own keys.
            assert!(!["id", "kind", "ok", "v", "bin"].contains(&key.as_str()), "{kind}: {key}");
            assert!(described(kind).contains(&format!("`{key}`")), "docs/PROTOCOL.md: {kind} lacks `{key}`");
        }
    }
    check(request, required);
    check(reply, in_reply);
    golden::check(request, reply);
    vary::check_kind(request, reply);
}
