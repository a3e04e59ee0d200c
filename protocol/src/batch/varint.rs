//! Zig-zag varints as protobuf and Kafka have them: seven bits a byte, the low ones first.

/// Appends `value` in 1 to 10 bytes.
pub(super) fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = zig_zag(value);
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}

/// How many bytes [`put`] takes for `value`.
pub(super) fn size(value: i64) -> usize {
    // One byte for each seven bits that are begun; 0 takes one as well.
    let bits = 64 - (zig_zag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn zig_zag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Reads from the front of bytes without ever going beyond their end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    /// One byte.
    #[inline]
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// `count` bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A varint of at most 5 bytes that fits 32 bits.
    #[inline]
    pub fn varint(&mut self) -> Option<i32> {
        i32::try_from(self.zig_zag(5)?).ok()
    }

    /// A varint of at most 10 bytes.
    #[inline]
    pub fn varlong(&mut self) -> Option<i64> {
        self.zig_zag(10)
    }

    /// A length and as many bytes; `Some(None)` for the length -1.
    #[inline]
    pub fn sized(&mut self) -> Option<Option<&'a [u8]>> {
        match self.varint()? {
            -1 => Some(None),
            length => Some(Some(self.take(usize::try_from(length).ok()?)?)),
        }
    }

    #[inline]
    fn zig_zag(&mut self, bytes_max: u32) -> Option<i64> {
        let mut value = 0u64;
        for index in 0..bytes_max {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit only.
            if index == 9 && bits > 1 {
                return None;
            }
            value |= bits << (7 * index);
            if byte < 0x80 {
                return Some(((value >> 1) as i64) ^ -((value & 1) as i64));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_bytes() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out, bytes, "{value}");
            assert_eq!(size(value), bytes.len(), "{value}");
            assert_eq!(Cursor(bytes).varlong(), Some(value));
        }
    }

    #[test]
    fn too_long_and_too_short_are_refused() {
        assert_eq!(Cursor(&[]).varlong(), None);
        assert_eq!(Cursor(&[0x80]).varlong(), None);
        assert_eq!(Cursor(&[0x80; 11]).varlong(), None);
        // 2^31 does not fit 32 bits; six bytes are too many even for zero.
        assert_eq!(Cursor(&[0x80, 0x80, 0x80, 0x80, 0x10]).varint(), None);
        assert_eq!(Cursor(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).varint(), None);
        assert_eq!(Cursor(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).varlong(), None);
        // Lengths below -1, and lengths beyond the end.
        assert_eq!(Cursor(&[0x03]).sized(), None);
        assert_eq!(Cursor(&[0x04, 0x00]).sized(), None);
        assert_eq!(Cursor(&[0x01]).sized(), Some(None));
    }

    proptest! {
        #[test]
        fn round_trip(value: i64) {
            let mut out = Vec::new();
            put(&mut out, value);
            prop_assert_eq!(size(value), out.len());
            let mut cursor = Cursor(&out);
            prop_assert_eq!(cursor.varlong(), Some(value));
            prop_assert!(cursor.0.is_empty());
            prop_assert_eq!(Cursor(&out).varint(), i32::try_from(value).ok());
        }
    }
}
