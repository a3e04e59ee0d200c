//! Bytes as text: hex in the forms in which people paste it, and base64.

use super::packet::{Link, Packet};
use super::{Form, Input, InputError};
use crate::defaults::FRAME_BYTES_CEILING;
use data_encoding::BASE64_NOPAD;

/// Fewer characters than a frame's length and envelope take are no base64.
const BASE64_CHARS_MIN: usize = 12;

/// Whether text is a dump, and of which form.
pub(super) fn form_of(text: &str) -> Form {
    let mut lines = text.lines().filter(|line| !plain_part(line).is_empty());
    let first = lines.next().map(Line::of);
    let dumped = match first {
        // Digits alone could be words; all of it must be digits.
        Some(Line::Plain(_)) => read_hex(text).is_ok(),
        Some(Line::Other) => text.lines().any(|line| matches!(Line::of(line), Line::Tcpdump(..))),
        Some(_) => true,
        None => false,
    };
    if dumped {
        return Form::Hex;
    }
    // A frame, or it would be no more likely base64 than a word.
    match read_base64(text) {
        Ok(bytes) if bytes.first().is_some_and(|first| *first <= FRAME_BYTES_CEILING.to_be_bytes()[0]) => {
            Form::Base64
        }
        _ => Form::Raw,
    }
}

/// One line of a dump.
enum Line<'a> {
    /// Digits and what may stand between them; comments are cut off.
    Plain(&'a str),
    /// `xxd`: an offset, a colon, digits, text.
    Xxd(usize, &'a str),
    /// `tcpdump -X`: the same, with 0x before the offset.
    Tcpdump(usize, &'a str),
    /// `hexdump -C`: an offset, digits, text between bars; nothing after the offset in the last line.
    Hexdump(usize, &'a str),
    /// `*`: lines that were left out.
    LeftOut,
    /// Anything else.
    Other,
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        let trimmed = line.trim();
        if trimmed == "*" {
            return Self::LeftOut;
        }
        let (offset, rest) = trimmed.split_at(trimmed.find([':', ' ']).unwrap_or(trimmed.len()));
        let number = |digits: &str| usize::from_str_radix(digits, 16).ok().filter(|_| digits.len() >= 4);
        if let Some(rest) = rest.strip_prefix(':').filter(|rest| rest.starts_with(' ')) {
            let tcpdump = offset.strip_prefix("0x").and_then(number);
            return match tcpdump {
                Some(offset) => Self::Tcpdump(offset, columns(rest)),
                None => number(offset).map_or(Self::Other, |offset| Self::Xxd(offset, columns(rest))),
            };
        }
        if offset.len() >= 7
            && let Some(number) = number(offset)
            && (rest.is_empty() || (rest.starts_with("  ") && rest.ends_with('|')))
        {
            if rest.is_empty() && offset.len() != 8 {
                return Self::Plain(plain_part(line));
            }
            return Self::Hexdump(number, rest.split('|').next().unwrap_or_default());
        }
        let plain = plain_part(line);
        let digits = plain.chars().all(|c| c.is_ascii_hexdigit() || is_separator(c) || c == 'x');
        if digits { Self::Plain(plain) } else { Self::Other }
    }
}

/// The digits before the text: columns have one blank between them, the text has two before it.
fn columns(rest: &str) -> &str {
    let rest = rest.trim_start();
    rest.split("  ").next().unwrap_or_default()
}

fn plain_part(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

fn is_separator(c: char) -> bool {
    c.is_ascii_whitespace() || matches!(c, ':' | ',' | '-')
}

/// Reads hex in any of the forms; pasted packets come out as packets.
pub(super) fn read_hex(text: &str) -> Result<Input, InputError> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut packets: Vec<Vec<u8>> = Vec::new();
    let pasted = text.lines().any(|line| matches!(Line::of(line), Line::Tcpdump(..)));
    for (index, line) in text.lines().enumerate() {
        let wrong = |what: String| InputError(format!("line {}: {what}", index + 1));
        let at = |offset: usize, there: usize| match offset == there {
            true => Ok(()),
            false => Err(wrong(format!(
                "it begins at 0x{offset:x} where 0x{there:x} should be: lines are missing"
            ))),
        };
        match Line::of(line) {
            Line::Tcpdump(offset, digits) => {
                if offset == 0 || packets.is_empty() {
                    packets.push(Vec::new());
                }
                let packet = packets.last_mut().expect("one was pushed");
                at(offset, packet.len())?;
                digits_into(packet, digits).map_err(wrong)?;
            }
            // The lines of tcpdump that say what the packet is.
            _ if pasted => {}
            // A lone offset of eight digits is the end of a dump, or the beginning of plain digits.
            Line::Hexdump(offset, "") if offset != bytes.len() || bytes.is_empty() => {
                digits_into(&mut bytes, plain_part(line)).map_err(wrong)?;
            }
            Line::Xxd(offset, digits) | Line::Hexdump(offset, digits) => {
                at(offset, bytes.len())?;
                digits_into(&mut bytes, digits).map_err(wrong)?;
            }
            Line::Plain(digits) => digits_into(&mut bytes, digits).map_err(wrong)?,
            Line::LeftOut => {
                return Err(wrong(
                    "`*` stands for lines that were left out; dump all of them (-v)".to_owned(),
                ));
            }
            Line::Other => return Err(wrong(format!("no hex digits: {:?}", plain_part(line)))),
        }
    }
    if !pasted {
        return Ok(Input::Stream(bytes));
    }
    let packet = |bytes: Vec<u8>| {
        // With -X they begin with IP, with -XX with what the link has before it.
        let ip = bytes.first().is_some_and(|first| matches!(first >> 4, 4 | 6));
        Packet { time: None, link: if ip { Link::Ip(0) } else { Link::Ethernet }, bytes, missing: 0 }
    };
    Ok(Input::Packets { packets: packets.into_iter().map(packet).collect(), cut_off: None })
}

/// Appends digits, two to a byte; `0x` before them and separators between them are fine.
fn digits_into(out: &mut Vec<u8>, digits: &str) -> Result<(), String> {
    for word in digits.split(is_separator).filter(|word| !word.is_empty()) {
        let word = word.strip_prefix("0x").unwrap_or(word);
        if !word.len().is_multiple_of(2) {
            return Err(format!("{word:?} has an odd number of hex digits"));
        }
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(word.as_bytes());
        out.extend(bytes.map_err(|_| format!("{word:?} are no hex digits"))?);
    }
    Ok(())
}

/// Reads base64, with padding or without, on any number of lines.
pub(super) fn read_base64(text: &str) -> Result<Vec<u8>, InputError> {
    let digits: String = text.split_ascii_whitespace().collect();
    if digits.len() < BASE64_CHARS_MIN {
        return Err(InputError("too short for base64".to_owned()));
    }
    let bytes = BASE64_NOPAD.decode(digits.trim_end_matches('=').as_bytes());
    bytes.map_err(|error| InputError(format!("no base64: {error} (line breaks not counted)")))
}
