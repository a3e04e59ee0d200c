//! Text for people: escapes, numbers with separators.

pub use yak_protocol::text::{count, thousands};

/// Replaces `\n`, `\r`, `\t`, `\0`, `\\` and `\xNN`; anything else stays as it is.
///
/// # Errors
/// On `\x` without two hex digits.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some((&escape, tail)) = rest.split_first() else {
            out.push(b'\\');
            break;
        };
        rest = tail;
        match escape {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'\\' => out.push(b'\\'),
            b'x' => {
                let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                out.push(byte.ok_or_else(|| format!("{text:?}: \\x needs two hex digits"))?);
                rest = &rest[2..];
            }
            other => out.extend([b'\\', other]),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(unescape(r"a\n\t\x41\\z\q\").expect("legal"), b"a\n\tA\\z\\q\\");
        assert!(unescape(r"\x4").expect_err("one digit").contains("two hex digits"));
        assert!(unescape(r"\xzz").is_err());
        assert_eq!(unescape("\u{e4}").expect("legal"), "\u{e4}".as_bytes());
    }
}
