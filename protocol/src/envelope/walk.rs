//! A walk over MessagePack bytes that trusts nothing: no recursion, no allocation.

use crate::defaults::{FRAME_VALUES_MAX, NESTING_MAX};
use crate::frame::FrameError;
use rmp::Marker;

/// Reads forward through one frame; every length and count is checked against the bytes that are left.
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What stands at one place of the frame.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Value<'a> {
    /// Nothing.
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number in an unsigned form.
    Unsigned(u64),
    /// A whole number in a signed form.
    Signed(i64),
    /// A floating point number.
    Float(f64),
    /// A string; whether it is UTF-8 has not been checked.
    Str(&'a [u8]),
    /// A byte string.
    Bin(&'a [u8]),
    /// An extension: its type, its bytes.
    Extension(i8, &'a [u8]),
    /// The head of an array of so many values.
    Array(u64),
    /// The head of a map of so many pairs.
    Map(u64),
}

impl<'a> Walk<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where the walk stands.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
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
    pub(crate) fn peek(&self) -> Option<Marker> {
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
    pub(crate) fn array(&mut self, wanted: &str) -> Result<u64, FrameError> {
        let (marker, start) = self.marker(wanted)?;
        match marker {
            Marker::FixArray(count) => Ok(u64::from(count)),
            Marker::Array16 => self.number(2, start),
            Marker::Array32 => self.number(4, start),
            other => Err(Self::malformed(start, format!("{} where {wanted} should be", name(other)))),
        }
    }

    /// The count of a map's pairs.
    pub(crate) fn map(&mut self, wanted: &str) -> Result<u64, FrameError> {
        let (marker, start) = self.marker(wanted)?;
        match marker {
            Marker::FixMap(count) => Ok(u64::from(count)),
            Marker::Map16 => self.number(2, start),
            Marker::Map32 => self.number(4, start),
            other => Err(Self::malformed(start, format!("{} where {wanted} should be", name(other)))),
        }
    }

    /// A whole number from 0 up, in any of MessagePack's widths.
    pub(crate) fn unsigned(&mut self, wanted: &str) -> Result<u64, FrameError> {
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
    pub(crate) fn text(&mut self, wanted: &str) -> Result<&'a str, FrameError> {
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
    pub(crate) fn binary(&mut self, wanted: &str) -> Result<&'a [u8], FrameError> {
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
    pub(crate) fn skip(&mut self, outer: usize) -> Result<(), FrameError> {
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
            let holds = match self.value()? {
                Value::Array(count) => Some(count),
                Value::Map(pairs) => Some(2 * pairs),
                _ => None,
            };
            if let Some(count) = holds {
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

    /// One value; of an array or a map its head only.
    pub(crate) fn value(&mut self) -> Result<Value<'a>, FrameError> {
        let (marker, start) = self.marker("a value")?;
        let what = name(marker);
        Ok(match marker {
            Marker::Null => Value::Nil,
            Marker::False => Value::Bool(false),
            Marker::True => Value::Bool(true),
            Marker::FixPos(number) => Value::Unsigned(u64::from(number)),
            Marker::FixNeg(number) => Value::Signed(i64::from(number)),
            Marker::U8 => Value::Unsigned(u64::from(self.fixed::<1>(start, what)?[0])),
            Marker::U16 => Value::Unsigned(u64::from(u16::from_be_bytes(self.fixed(start, what)?))),
            Marker::U32 => Value::Unsigned(u64::from(u32::from_be_bytes(self.fixed(start, what)?))),
            Marker::U64 => Value::Unsigned(u64::from_be_bytes(self.fixed(start, what)?)),
            Marker::I8 => Value::Signed(i64::from(i8::from_be_bytes(self.fixed(start, what)?))),
            Marker::I16 => Value::Signed(i64::from(i16::from_be_bytes(self.fixed(start, what)?))),
            Marker::I32 => Value::Signed(i64::from(i32::from_be_bytes(self.fixed(start, what)?))),
            Marker::I64 => Value::Signed(i64::from_be_bytes(self.fixed(start, what)?)),
            Marker::F32 => Value::Float(f64::from(f32::from_be_bytes(self.fixed(start, what)?))),
            Marker::F64 => Value::Float(f64::from_be_bytes(self.fixed(start, what)?)),
            Marker::FixStr(count) => Value::Str(self.take(u64::from(count), start, what)?),
            Marker::Str8 => Value::Str(self.sized(1, start, what)?),
            Marker::Str16 => Value::Str(self.sized(2, start, what)?),
            Marker::Str32 => Value::Str(self.sized(4, start, what)?),
            Marker::Bin8 => Value::Bin(self.sized(1, start, what)?),
            Marker::Bin16 => Value::Bin(self.sized(2, start, what)?),
            Marker::Bin32 => Value::Bin(self.sized(4, start, what)?),
            Marker::FixArray(count) => Value::Array(u64::from(count)),
            Marker::Array16 => Value::Array(self.number(2, start)?),
            Marker::Array32 => Value::Array(self.number(4, start)?),
            Marker::FixMap(count) => Value::Map(u64::from(count)),
            Marker::Map16 => Value::Map(self.number(2, start)?),
            Marker::Map32 => Value::Map(self.number(4, start)?),
            Marker::FixExt1 => self.extension(1, start)?,
            Marker::FixExt2 => self.extension(2, start)?,
            Marker::FixExt4 => self.extension(4, start)?,
            Marker::FixExt8 => self.extension(8, start)?,
            Marker::FixExt16 => self.extension(16, start)?,
            Marker::Ext8 => {
                let count = self.number(1, start)?;
                self.extension(count, start)?
            }
            Marker::Ext16 => {
                let count = self.number(2, start)?;
                self.extension(count, start)?
            }
            Marker::Ext32 => {
                let count = self.number(4, start)?;
                self.extension(count, start)?
            }
            Marker::Reserved => return Err(Self::malformed(start, "0xc1 is not MessagePack")),
        })
    }

    fn fixed<const N: usize>(&mut self, start: usize, what: &str) -> Result<[u8; N], FrameError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N as u64, start, what)?);
        Ok(bytes)
    }

    fn sized(&mut self, width: usize, start: usize, what: &str) -> Result<&'a [u8], FrameError> {
        let count = self.number(width, start)?;
        self.take(count, start, what)
    }

    fn extension(&mut self, count: u64, start: usize) -> Result<Value<'a>, FrameError> {
        let bytes = self.take(count + 1, start, "an extension value")?;
        Ok(Value::Extension(bytes[0].cast_signed(), &bytes[1..]))
    }
}

/// What a marker begins, for people.
pub(crate) fn name(marker: Marker) -> &'static str {
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
