//! A walk over MessagePack bytes that trusts nothing: no recursion, no allocation.

use crate::defaults::{FRAME_VALUES_MAX, NESTING_MAX};
use crate::frame::FrameError;
use rmp::Marker;

/// Reads forward through one frame; every length and count is checked against the bytes that are left.
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What stands at one place of the frame.
enum Step {
    /// A value without values inside; it has been passed.
    Leaf,
    /// An array or a map of so many values (keys count); its head has been passed.
    Holds(u64),
}

impl<'a> Walk<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where the walk stands.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn malformed(at: usize, what: impl Into<String>) -> FrameError {
        FrameError::Malformed { at, what: what.into() }
    }

    fn take(&mut self, count: u64, start: usize, name: &str) -> Result<&'a [u8], FrameError> {
        let left = self.left();
        match usize::try_from(count).ok().filter(|count| *count <= left) {
            Some(count) => {
                let taken = &self.bytes[self.at..self.at + count];
                self.at += count;
                Ok(taken)
            }
            None => Err(Self::malformed(start, format!("{name} of {count} bytes, but only {left} are left"))),
        }
    }

    fn number(&mut self, width: usize, start: usize) -> Result<u64, FrameError> {
        let left = self.left();
        if left < width {
            return Err(Self::malformed(start, format!("the value is cut off: {left} of {width} bytes")));
        }
        let number = self.bytes[self.at..self.at + width].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        self.at += width;
        Ok(number)
    }

    /// The marker at this place, without passing it; `None` at the end.
    pub(super) fn peek(&self) -> Option<Marker> {
        self.bytes.get(self.at).map(|byte| Marker::from_u8(*byte))
    }

    fn marker(&mut self, wanted: &str) -> Result<(Marker, usize), FrameError> {
        let start = self.at;
        let Some(marker) = self.peek() else {
            return Err(Self::malformed(start, format!("the frame ends where {wanted} should be")));
        };
        self.at += 1;
        Ok((marker, start))
    }

    /// The count of an array.
    pub(super) fn array(&mut self, wanted: &str) -> Result<u64, FrameError> {
        let (marker, start) = self.marker(wanted)?;
        match marker {
            Marker::FixArray(count) => Ok(u64::from(count)),
            Marker::Array16 => self.number(2, start),
            Marker::Array32 => self.number(4, start),
            other => Err(Self::malformed(start, format!("{} where {wanted} should be", name(other)))),
        }
    }

    /// The count of a map's pairs.
    pub(super) fn map(&mut self, wanted: &str) -> Result<u64, FrameError> {
        let (marker, start) = self.marker(wanted)?;
        match marker {
            Marker::FixMap(count) => Ok(u64::from(count)),
            Marker::Map16 => self.number(2, start),
            Marker::Map32 => self.number(4, start),
            other => Err(Self::malformed(start, format!("{} where {wanted} should be", name(other)))),
        }
    }

    /// A whole number from 0 up, in any of MessagePack's widths.
    pub(super) fn unsigned(&mut self, wanted: &str) -> Result<u64, FrameError> {
        let (marker, start) = self.marker(wanted)?;
        // A non-negative number in a signed form is what some libraries write.
        let signed = |number: u64, width: u32| (number >> (width - 1) == 0).then_some(number);
        let number = match marker {
            Marker::FixPos(number) => Some(u64::from(number)),
            Marker::U8 => Some(self.number(1, start)?),
            Marker::U16 => Some(self.number(2, start)?),
            Marker::U32 => Some(self.number(4, start)?),
            Marker::U64 => Some(self.number(8, start)?),
            Marker::I8 => signed(self.number(1, start)?, 8),
            Marker::I16 => signed(self.number(2, start)?, 16),
            Marker::I32 => signed(self.number(4, start)?, 32),
            Marker::I64 => signed(self.number(8, start)?, 64),
            Marker::FixNeg(_) => None,
            other => return Err(Self::malformed(start, format!("{} where {wanted} should be", name(other)))),
        };
        number.ok_or_else(|| Self::malformed(start, format!("a negative number where {wanted} should be")))
    }

    /// A text.
    pub(super) fn text(&mut self, wanted: &str) -> Result<&'a str, FrameError> {
        let (marker, start) = self.marker(wanted)?;
        let count = match marker {
            Marker::FixStr(count) => u64::from(count),
            Marker::Str8 => self.number(1, start)?,
            Marker::Str16 => self.number(2, start)?,
            Marker::Str32 => self.number(4, start)?,
            other => return Err(Self::malformed(start, format!("{} where {wanted} should be", name(other)))),
        };
        let bytes = self.take(count, start, "a string")?;
        std::str::from_utf8(bytes).map_err(|_| Self::malformed(start, format!("{wanted} is not UTF-8")))
    }

    /// A byte string.
    pub(super) fn binary(&mut self, wanted: &str) -> Result<&'a [u8], FrameError> {
        let (marker, start) = self.marker(wanted)?;
        let count = match marker {
            Marker::Bin8 => self.number(1, start)?,
            Marker::Bin16 => self.number(2, start)?,
            Marker::Bin32 => self.number(4, start)?,
            other => return Err(Self::malformed(start, format!("{} where {wanted} should be", name(other)))),
        };
        self.take(count, start, "a byte string")
    }

    /// Passes one value and everything in it. `outer` is how many containers it stands in.
    pub(super) fn skip(&mut self, outer: usize) -> Result<(), FrameError> {
        let mut pending = [0u64; NESTING_MAX + 1];
        let mut depth = 0;
        let mut values = 0;
        pending[0] = 1;
        loop {
            while pending[depth] == 0 {
                if depth == 0 {
                    return Ok(());
                }
                depth -= 1;
            }
            pending[depth] -= 1;
            let start = self.at;
            values += 1;
            if values > FRAME_VALUES_MAX {
                return Err(Self::malformed(start, format!("more than {FRAME_VALUES_MAX} values")));
            }
            if let Step::Holds(count) = self.step()? {
                if count > self.left() as u64 {
                    let left = self.left();
                    let what = format!("a container of {count} values, but only {left} bytes are left");
                    return Err(Self::malformed(start, what));
                }
                if outer + depth + 1 > NESTING_MAX {
                    return Err(Self::malformed(start, format!("nested more than {NESTING_MAX} deep")));
                }
                depth += 1;
                pending[depth] = count;
            }
        }
    }

    fn step(&mut self) -> Result<Step, FrameError> {
        let (marker, start) = self.marker("a value")?;
        let bytes = match marker {
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::False | Marker::True => 0,
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 => 2,
            Marker::U32 | Marker::I32 | Marker::F32 => 4,
            Marker::U64 | Marker::I64 | Marker::F64 => 8,
            Marker::FixExt1 => 2,
            Marker::FixExt2 => 3,
            Marker::FixExt4 => 5,
            Marker::FixExt8 => 9,
            Marker::FixExt16 => 17,
            Marker::Ext8 => self.number(1, start)? + 1,
            Marker::Ext16 => self.number(2, start)? + 1,
            Marker::Ext32 => self.number(4, start)? + 1,
            Marker::FixStr(count) => u64::from(count),
            Marker::Str8 | Marker::Bin8 => self.number(1, start)?,
            Marker::Str16 | Marker::Bin16 => self.number(2, start)?,
            Marker::Str32 | Marker::Bin32 => self.number(4, start)?,
            Marker::FixArray(count) => return Ok(Step::Holds(u64::from(count))),
            Marker::Array16 => return Ok(Step::Holds(self.number(2, start)?)),
            Marker::Array32 => return Ok(Step::Holds(self.number(4, start)?)),
            Marker::FixMap(count) => return Ok(Step::Holds(2 * u64::from(count))),
            Marker::Map16 => return Ok(Step::Holds(2 * self.number(2, start)?)),
            Marker::Map32 => return Ok(Step::Holds(2 * self.number(4, start)?)),
            Marker::Reserved => return Err(Self::malformed(start, "0xc1 is not MessagePack")),
        };
        self.take(bytes, start, name(marker))?;
        Ok(Step::Leaf)
    }
}

/// What a marker begins, for people.
pub(super) fn name(marker: Marker) -> &'static str {
    match marker {
        Marker::Null => "nil",
        Marker::False | Marker::True => "a boolean",
        Marker::F32 | Marker::F64 => "a float",
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => "a string",
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => "a byte string",
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => "an array",
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => "a map",
        Marker::Reserved => "0xc1, which is not MessagePack,",
        Marker::FixPos(_) | Marker::FixNeg(_) => "a whole number",
        Marker::U8 | Marker::U16 | Marker::U32 | Marker::U64 => "a whole number",
        Marker::I8 | Marker::I16 | Marker::I32 | Marker::I64 => "a whole number",
        _ => "an extension value",
    }
}
