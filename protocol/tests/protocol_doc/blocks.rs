//! The page taken apart: sections, and the fenced blocks in them.

use crate::PAGE;

/// A fenced block.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// What stands behind the opening fence: `json request`.
    pub label: &'static str,
    /// What stands between the fences.
    pub text: &'static str,
    /// The line of the opening fence, from 1.
    pub line: usize,
    /// Whether nothing stands between this block and the one before.
    pub follows: bool,
}

/// All blocks of the page, in order.
pub fn blocks() -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<(&str, usize, usize, bool)> = None;
    let (mut offset, mut closed_at) = (0, 0);
    for (index, line) in PAGE.split_inclusive('\n').enumerate() {
        let number = index + 1;
        if let Some(label) = line.trim_end().strip_prefix("```") {
            open = match open {
                None => Some((label, offset + line.len(), number, closed_at + 1 == number)),
                Some((label, start, line, follows)) => {
                    found.push(Block { label, text: &PAGE[start..offset], line, follows });
                    closed_at = number;
                    None
                }
            };
        }
        offset += line.len();
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

/// The bytes of a block of hex digits; `#` begins a comment.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: String = text
        .lines()
        .flat_map(|line| line.split('#').next().unwrap_or_default().chars())
        .filter(|c| !c.is_whitespace())
        .collect();
    let bytes = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("{pair:?} is not a byte"))
    });
    bytes.collect()
}

/// The text from the heading of this kind to the next heading.
pub fn section(kind: &str) -> &'static str {
    let heading = format!("\n### `{kind}`\n");
    let start = PAGE.find(&heading).unwrap_or_else(|| panic!("no section for {kind}")) + heading.len();
    let rest = &PAGE[start..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len()).min(rest.find("\n### ").unwrap_or(rest.len()))]
}

/// The cells of every table row of the page, without their spaces.
pub fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    PAGE.lines()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'))
        .map(|row| row.split('|').map(str::trim).collect())
}
