use yak_protocol::text::{
    Command, Format, Status, Table, Value, Word, escaped, moment, quoted, quoted_value, rfc3339,
};

/// Lines as people type them.
pub fn text(data: &[u8]) {
    let _ = (Word::parse(data), escaped(data));
    let text = String::from_utf8_lossy(data);
    for line in text.split('\n') {
        if let Ok(command) = Command::parse(line) {
            assert_eq!(Command::parse(&write(&command)).as_ref(), Ok(&command), "{line:?}");
            let _ = (command.counted_bytes(), command.number::<u64>("max"), command.switch("forward"));
            let _ = (command.flag("follow"), command.allow(&["key", "h.*"]), command.word(0, "a word"));
        }
        assert!(moment(line, i64::MAX).is_none_or(|ms| !rfc3339(ms).is_empty()));
        let _ = (moment(line, 0), line.parse::<Format>());
    }
    written(&text);
}

/// A command as it could have been typed.
fn write(command: &Command) -> String {
    let mut line = quoted(&command.verb);
    command.words.iter().for_each(|word| line += &format!(" {}", quoted(word)));
    command.options.iter().for_each(|(name, value)| line += &format!(" {name}={}", quoted_value(value)));
    if let Some(payload) = &command.payload {
        line += &format!(" -- {}", std::str::from_utf8(payload).expect("a part of a line"));
    }
    line
}

/// Any text survives as a word, as a value, and in what is answered.
fn written(text: &str) {
    let command =
        Command::parse(&format!("A {} k={}", quoted(text), quoted_value(text))).expect("it was quoted");
    assert_eq!(command.words, [text]);
    assert_eq!(command.option("k"), Some(text));
    let status = Status::said(text).with("k", text);
    let table = Table::new(&["NAME", "VALUE"]).row([Value::from(text), vec![text].into()]);
    for format in [Format::Table, Format::Kv, Format::Json] {
        for line in table.lines(format).iter().chain([&status.line(format)]) {
            assert!(!line.contains(['\n', '\r']) && line != ".", "{line:?}");
        }
    }
    let line: serde_json::Value = serde_json::from_str(&status.line(Format::Json)).expect("an object");
    assert_eq!(line["k"], text);
}
