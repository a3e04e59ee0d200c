//! One typed line, taken apart.

use crate::error::WireError;
use crate::names::nearest;
use bytes::Bytes;
use std::str::FromStr;

/// A command: `VERB word word name=value name=value -- payload`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Command {
    /// In upper case.
    pub verb: String,
    /// What is neither an option nor payload, in order.
    pub words: Vec<String>,
    /// What was given as `name=value`, in order; the names as they were typed.
    pub options: Vec<(String, String)>,
    /// What follows ` -- `, as it is; or the counted bytes of `PUBN`.
    pub payload: Option<Bytes>,
}

/// A piece of a line between blanks.
struct Piece {
    text: String,
    /// Where an unquoted `=` ends an option's name.
    name_end: Option<usize>,
    /// Whether no part of it was quoted.
    bare: bool,
}

impl Command {
    /// Takes a line apart. `name=value` in the place of the verb is the verb `NAME` with the word `value`.
    ///
    /// # Errors
    /// `BAD_REQUEST`: a quote is not closed, or there is no verb. It names the column, from 1.
    pub fn parse(line: &str) -> Result<Self, WireError> {
        let mut command = Self::default();
        let mut rest = Rest { line, at: 0 };
        while let Some(piece) = rest.next()? {
            if piece.bare && piece.text == "--" {
                command.payload = Some(Bytes::copy_from_slice(rest.payload().as_bytes()));
                break;
            }
            let Piece { text, name_end, .. } = piece;
            let option = name_end.map(|end| (text[..end].to_owned(), text[end + 1..].to_owned()));
            match option {
                Some((name, value)) if command.verb.is_empty() => {
                    command.verb = name.to_ascii_uppercase();
                    command.words.push(value);
                }
                None if command.verb.is_empty() => command.verb = text.to_ascii_uppercase(),
                Some(option) => command.options.push(option),
                None => command.words.push(text),
            }
        }
        if command.verb.is_empty() {
            return Err(WireError::bad_request("a line without a command"));
        }
        Ok(command)
    }

    /// The value of the option `name`, in any case; the last one if it was given more than once.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        let given = self.options.iter().rev().find(|(given, _)| given.eq_ignore_ascii_case(name));
        given.map(|(_, value)| value.as_str())
    }

    /// The value of the option `name` as a number.
    ///
    /// # Errors
    /// `BAD_REQUEST` that names the option and what was found.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, WireError> {
        let Some(text) = self.option(name) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| WireError::bad_request(format!("{name}={text} is not a number that {name} can be")))
    }

    /// The value of the option `name` as `on` or `off` (`yes`, `no`, `true`, `false`, `1` and `0` as well).
    ///
    /// # Errors
    /// `BAD_REQUEST` that names the option and what was found.
    pub fn switch(&self, name: &str) -> Result<Option<bool>, WireError> {
        self.option(name).map(|text| switch(name, text)).transpose()
    }

    /// The word at `index`, from 0; `what` says what is missing if there is none.
    ///
    /// # Errors
    /// `BAD_REQUEST` with `what`.
    pub fn word(&self, index: usize, what: &str) -> Result<&str, WireError> {
        let missing = || {
            WireError::bad_request(format!("{} needs {what}", self.verb)).hint(format!("HELP {}", self.verb))
        };
        self.words.get(index).map(String::as_str).ok_or_else(missing)
    }

    /// Whether the bare word `name` is there, in any case: `FOLLOW`.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.words.iter().any(|word| word.eq_ignore_ascii_case(name))
    }

    /// Refuses every option that is not among `options`. An entry that ends in `*` allows all names that
    /// begin like it (`h.*`).
    ///
    /// # Errors
    /// `BAD_REQUEST` that names the option, and the one that was meant.
    pub fn allow(&self, options: &[&str]) -> Result<(), WireError> {
        let allowed = |name: &str, entry: &str| match entry.strip_suffix('*') {
            Some(start) => name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)),
            None => name.eq_ignore_ascii_case(entry),
        };
        for (name, _) in &self.options {
            if options.iter().any(|entry| allowed(name, entry)) {
                continue;
            }
            let error = WireError::bad_request(format!("{} has no option {name}", self.verb));
            return Err(match nearest(name, options.iter().copied()) {
                Some(meant) => error.hint(format!("did you mean {meant}=? HELP {}", self.verb)),
                None => error.hint(format!("HELP {}", self.verb)),
            });
        }
        Ok(())
    }

    /// Refuses options, and words beyond the first `most`.
    ///
    /// # Errors
    /// `BAD_REQUEST` that names what is too much.
    pub fn plain(&self, most: usize) -> Result<(), WireError> {
        self.allow(&[])?;
        self.at_most(most)
    }

    /// Refuses words beyond the first `most`.
    ///
    /// # Errors
    /// `BAD_REQUEST` that names the first one that is too much.
    pub fn at_most(&self, most: usize) -> Result<(), WireError> {
        let Some(word) = self.words.get(most) else { return Ok(()) };
        let error = WireError::bad_request(format!("{} does not take {word}", self.verb));
        Err(error.hint(format!("HELP {}", self.verb)))
    }

    /// With what the names that are shown are to begin: the first word, or nothing.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The option `name`, taken out of the command.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let value = self.option(name)?.to_owned();
        self.options.retain(|(given, _)| !given.eq_ignore_ascii_case(name));
        Some(value)
    }

    /// How many bytes follow the line, if this verb has counted ones: `PUBN topic 12`.
    ///
    /// # Errors
    /// `BAD_REQUEST`: it should have a length and has none. What follows cannot be told from commands, so
    /// the connection cannot go on.
    pub fn counted_bytes(&self) -> Result<Option<usize>, WireError> {
        if self.verb != "PUBN" {
            return Ok(None);
        }
        let count = self.word(1, "a topic and the number of bytes that follow the line")?;
        let number = count
            .parse()
            .map_err(|_| WireError::bad_request(format!("PUBN: {count} is not a number of bytes")))?;
        Ok(Some(number))
    }
}

/// `on` or `off`, and what else people type for them.
pub(crate) fn switch(name: &str, text: &str) -> Result<bool, WireError> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "yes" | "true" | "1" => Ok(true),
        "off" | "no" | "false" | "0" => Ok(false),
        _ => Err(WireError::bad_request(format!("{name} is on or off, not {text}"))),
    }
}

/// A character of UTF-8 has at most so many bytes.
const CHAR_BYTES_MAX: usize = 4;

/// What is left of a line.
struct Rest<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    /// Everything after the `--` that was just read and one blank.
    fn payload(&self) -> &'a str {
        let rest = &self.line[self.at..];
        rest.strip_prefix([' ', '\t']).unwrap_or(rest)
    }

    fn next(&mut self) -> Result<Option<Piece>, WireError> {
        let rest = &self.line[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
        if self.at == self.line.len() {
            return Ok(None);
        }
        let mut piece = Piece { text: String::new(), name_end: None, bare: true };
        let mut quote: Option<(char, usize)> = None;
        while let Some(char) = self.line[self.at..].chars().next() {
            let column = self.at;
            match (char, quote) {
                (' ' | '\t', None) => break,
                ('"' | '\'', None) => (quote, piece.bare) = (Some((char, column)), false),
                (_, Some((open, _))) if char == open => quote = None,
                ('\\', None | Some(('"', _))) => {
                    self.at += 1;
                    piece.bare = false;
                    piece.text.push(self.unescaped(column)?);
                    continue;
                }
                ('=', None) if piece.bare && piece.name_end.is_none() && is_name(&piece.text) => {
                    piece.name_end = Some(piece.text.len());
                    piece.text.push('=');
                }
                _ => piece.text.push(char),
            }
            self.at += char.len_utf8();
        }
        match quote {
            Some((quote, column)) => {
                Err(WireError::bad_request(format!("the {quote} at column {} is not closed", column + 1)))
            }
            None => Ok(Some(piece)),
        }
    }

    /// The character after a backslash: `\n`, `\r`, `\t`, `\xNN` (as many as its UTF-8 has bytes), or the
    /// character itself.
    fn unescaped(&mut self, column: usize) -> Result<char, WireError> {
        let rest = &self.line[self.at..];
        let Some(char) = rest.chars().next() else {
            return Err(WireError::bad_request(format!("nothing follows the \\ at column {}", column + 1)));
        };
        self.at += char.len_utf8();
        Ok(match char {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'x' => self.hex_char(column)?,
            other => other,
        })
    }

    /// The character of which the first byte's digits follow, and then `\xNN` for each further one.
    fn hex_char(&mut self, column: usize) -> Result<char, WireError> {
        let mut bytes = Vec::with_capacity(CHAR_BYTES_MAX);
        loop {
            let digits =
                self.line[self.at..].get(..2).filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
            let Some(byte) = digits.and_then(|two| u8::from_str_radix(two, 16).ok()) else {
                return Err(WireError::bad_request(format!(
                    "the \\x at column {} needs two hexadecimal digits",
                    column + 1
                )));
            };
            self.at += 2;
            bytes.push(byte);
            if let Some(char) = std::str::from_utf8(&bytes).ok().and_then(|text| text.chars().next()) {
                return Ok(char);
            }
            let more = self.line[self.at..].starts_with("\\x") && bytes.len() < CHAR_BYTES_MAX;
            if !more {
                return Err(WireError::bad_request(format!(
                    "the \\x at column {} begins no character of UTF-8",
                    column + 1
                )));
            }
            self.at += 2;
        }
    }
}

/// Whether this may be an option's name.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
        && text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Command {
        Command::parse(line).expect(line)
    }

    fn refused(line: &str) -> String {
        Command::parse(line).expect_err(line).message
    }

    #[test]
    fn a_line_in_its_parts() {
        let command = parse("  pub\torders/2 key=u1 h.trace=\"a b\" FOLLOW --  hello -- 'world\\ ");
        assert_eq!(command.verb, "PUB");
        assert_eq!(command.words, ["orders/2", "FOLLOW"]);
        assert_eq!(command.option("KEY"), Some("u1"));
        assert_eq!(command.option("h.trace"), Some("a b"));
        assert!(command.flag("follow") && !command.flag("key"));
        assert_eq!(command.payload.as_deref(), Some(&b" hello -- 'world\\ "[..]));
        assert_eq!(parse("PUB t --").payload, Some(Bytes::new()));
        assert_eq!(parse("PUB t '--' x").words, ["t", "--", "x"]);
    }

    #[test]
    fn quoting_is_that_of_a_shell() {
        assert_eq!(parse(r#"A 'x "y' "x 'y" x\ y "" a"b c"d"#).words, ["x \"y", "x 'y", "x y", "", "ab cd"]);
        assert_eq!(parse(r#"A "\x41\n\"\\" '\n'"#).words, ["A\n\"\\", "\\n"]);
        // Only an unquoted name makes an option.
        let command = parse(r#"A "x=1" y="2 3" =z 1=2 a/b=c"#);
        assert_eq!(command.words, ["x=1", "=z", "1=2", "a/b=c"]);
        assert_eq!(command.options, [("y".to_owned(), "2 3".to_owned())]);
        assert_eq!(refused("A 'x"), "the ' at column 3 is not closed");
        assert_eq!(refused("A \\"), "nothing follows the \\ at column 3");
        assert!(refused("A \\xzz").contains("column 3"));
        assert!(refused("A \\x+1").contains("two hexadecimal digits"));
        assert_eq!(parse("A \\xc2\\x85").words, ["\u{85}"]);
        for text in ["A \\xff", "A \\xc2", "A \\xc2\\x20", "A \\xc2x"] {
            assert!(refused(text).contains("column 3 begins no character"), "{text}");
        }
        assert_eq!(refused("  "), "a line without a command");
        assert_eq!(refused("''"), "a line without a command");
    }

    #[test]
    fn a_setting_is_a_command() {
        let command = parse("forward=off");
        assert_eq!((command.verb.as_str(), &command.words[..]), ("FORWARD", &["off".to_owned()][..]));
    }

    #[test]
    fn options_are_read_and_checked() {
        let mut command = parse("SUB t max=5 max=7 from=latest h.a=1 on=maybe");
        assert_eq!(command.number::<u32>("max"), Ok(Some(7)));
        assert_eq!(command.number::<u32>("part"), Ok(None));
        assert!(command.number::<u32>("from").expect_err("no number").message.contains("from=latest"));
        assert!(command.switch("on").expect_err("no switch").message.contains("maybe"));
        assert_eq!(command.allow(&["max", "from", "h.*", "on"]), Ok(()));
        let error = command.allow(&["maxx", "from", "h.*", "on"]).expect_err("max is not allowed");
        assert!(error.hint.expect("a hint").contains("maxx="));
        assert_eq!(command.take("MAX").as_deref(), Some("7"));
        assert_eq!(command.take("max"), None);
        assert!(command.word(3, "a fourth").expect_err("none").message.contains("SUB needs a fourth"));
    }

    #[test]
    fn counted_bytes_are_those_of_pubn() {
        assert_eq!(parse("PUB t 5").counted_bytes(), Ok(None));
        assert_eq!(parse("pubn t 5 key=x").counted_bytes(), Ok(Some(5)));
        for line in ["PUBN t", "PUBN t -1", "PUBN t five", "PUBN t 99999999999999999999999"] {
            assert!(parse(line).counted_bytes().is_err(), "{line}");
        }
    }
}
