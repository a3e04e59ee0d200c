//! Bytes as printable text, and text that may stand in a line of fields.

use super::command::is_name;
use std::fmt::Write;

/// The bytes as printable text: what is no printable UTF-8 becomes `\xNN`, and a backslash is doubled, so
/// that nothing is ambiguous.
#[must_use]
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\\' => text.push_str("\\\\"),
                char if char.is_control() => {
                    let mut units = [0; 4];
                    hex(&mut text, char.encode_utf8(&mut units).as_bytes());
                }
                char => text.push(char),
            }
        }
        hex(&mut text, chunk.invalid());
    }
    text
}

fn hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// The text as one word of a line: as it is if nothing in it means something to [`super::Command::parse`],
/// otherwise in double quotes in which `"` and `\` have a backslash before them and control characters are
/// `\xNN`. The parser reads it back as this one word: what would be an option (`forward=off`) or the sign
/// before the payload (`--`) is quoted, too.
#[must_use]
pub fn quoted(text: &str) -> String {
    let option = text.split_once('=').is_some_and(|(name, _)| is_name(name));
    if option || text == "--" { in_quotes(text) } else { quoted_value(text) }
}

/// The text as what follows the `=` of `name=value`, where only blanks, quotes, backslashes and control
/// characters mean something.
#[must_use]
pub fn quoted_value(text: &str) -> String {
    let plain =
        |char: char| !char.is_whitespace() && !char.is_control() && !matches!(char, '"' | '\'' | '\\');
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { in_quotes(text) }
}

fn in_quotes(text: &str) -> String {
    format!("\"{}\"", escaped(text.as_bytes()).replace('"', "\\\""))
}

/// A data line as it travels: one that begins with `.` has it doubled, so that it is not the end.
#[must_use]
pub fn undotted(line: &str) -> String {
    if line.starts_with('.') { format!(".{line}") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_printed_is_hexadecimal() {
        assert_eq!(escaped(b"plain \xc3\xa4"), "plain ä");
        assert_eq!(escaped(b"a\nb\0\xff\xc3"), r"a\x0ab\x00\xff\xc3");
        assert_eq!(escaped(br"C:\x41"), r"C:\\x41");
        assert_eq!(escaped("\u{85}".as_bytes()), r"\xc2\x85");
    }

    #[test]
    fn a_field_is_quoted_only_if_it_has_to_be() {
        assert_eq!(quoted("orders/2"), "orders/2");
        assert_eq!(quoted(""), "\"\"");
        assert_eq!(quoted("two words"), "\"two words\"");
        assert_eq!(quoted("--"), "\"--\"");
        assert_eq!(quoted("forward=off"), "\"forward=off\"");
        assert_eq!(quoted("=off"), "=off");
        assert_eq!(quoted_value("a=b"), "a=b");
        assert_eq!(quoted("a\"b\\c\nd"), r#""a\"b\\c\x0ad""#);
    }

    #[test]
    fn a_dot_is_doubled() {
        assert_eq!(undotted("."), "..");
        assert_eq!(undotted("a."), "a.");
    }
}
