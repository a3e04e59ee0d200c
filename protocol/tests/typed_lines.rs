//! What is written as a typed line is read back as it was meant, whatever is in it.
#![allow(missing_docs, clippy::unwrap_used)]

use proptest::prelude::*;
use yak_protocol::text::{Command, Value, quoted, quoted_value};

/// Text that means something to the parser, and text that does not.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("--"),
        Just("="),
        Just("forward=off"),
        Just("-"),
        Just(" "),
        Just("\t"),
        Just("\r\n"),
        Just("\0"),
        Just("\u{7f}"),
        Just("\u{85}"),
        Just("\u{2028}"),
        Just("\""),
        Just("'"),
        Just("\\"),
        Just("\\x41"),
        Just("#"),
        Just("."),
        Just("ä"),
        Just("k"),
    ];
    prop_oneof![proptest::collection::vec(part, 0..5).prop_map(|parts| parts.concat()), any::<String>()]
}

proptest! {
    #[test]
    fn words_and_values_are_read_back(words in proptest::collection::vec(text(), 0..5), value in text(),
                                      payload in "[^\\r\\n]*") {
        let typed: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        let line = format!("pub {} key={} -- {payload}", typed.join(" "), quoted_value(&value));
        prop_assert!(!line.split(" -- ").next().unwrap().contains(|char: char| char.is_control()), "{line:?}");
        let command = Command::parse(&line).unwrap();
        prop_assert_eq!(&command.verb, "PUB");
        prop_assert_eq!(command.words, words);
        prop_assert_eq!(command.options, [("key".to_owned(), value.clone())]);
        prop_assert_eq!(command.payload.unwrap(), payload.as_bytes());
        // The fields of an answer are read as they were written, too.
        let field = format!("A key={}", Value::from(value.as_str()).field());
        let command = Command::parse(&field).unwrap();
        prop_assert_eq!(command.option("key"), Some(value.as_str()));
    }

    #[test]
    fn no_line_makes_the_parser_panic_and_what_it_reads_can_be_written(line in "\\PC*") {
        let Ok(command) = Command::parse(&line) else { return Ok(()) };
        let mut again = quoted(&command.verb);
        command.words.iter().for_each(|word| again += &format!(" {}", quoted(word)));
        command.options.iter().for_each(|(name, value)| again += &format!(" {name}={}", quoted_value(value)));
        if let Some(payload) = &command.payload {
            again += &format!(" -- {}", std::str::from_utf8(payload).unwrap());
        }
        prop_assert_eq!(Command::parse(&again).unwrap(), command);
    }
}

#[test]
fn what_looks_like_something_else_is_a_word() {
    for text in
        ["forward=off", "--", "", "-", "two words", "a\"b'c\\d", "tab\there\n", "ä=ö", "\u{85}", "a\0"]
    {
        assert_eq!(Command::parse(&format!("A {}", quoted(text))).unwrap().words, [text]);
    }
}
