use super::error::BatchProblem;
use super::snappy;
use std::fmt;
use std::io::{self, BufRead, Read, Write};

/// How the records of a batch are compressed, as one block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in the framing of snappy-java; bare blocks are read as well.
    Snappy,
    /// LZ4 frames of independent blocks.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

/// Windows up to this are opened whatever the limit: what RFC 8878 asks of every decoder (8 MiB).
const ZSTD_WINDOW_LOG_MIN: u32 = 23;
/// The library's own bound on windows (128 MiB).
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

impl Compression {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Its number in a batch's attributes.
    pub(super) fn bits(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The compression with that number.
    pub(super) fn from_bits(bits: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.bits() == bits)
    }

    /// Its name, as on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Appends `plain`, compressed, to `out`.
    pub(super) fn compress(self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::None => out.extend_from_slice(plain),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
                encoder.write_all(plain)?;
                encoder.finish()?;
            }
            Self::Snappy => snappy::compress(plain, out)?,
            Self::Lz4 => {
                // As Kafka's own writer has it: readers elsewhere know no dependent blocks.
                let info = lz4_flex::frame::FrameInfo::new()
                    .block_mode(lz4_flex::frame::BlockMode::Independent)
                    .block_size(lz4_flex::frame::BlockSize::Max64KB);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
                encoder.write_all(plain)?;
                encoder.finish().map_err(io::Error::from)?;
            }
            Self::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                encoder.set_pledged_src_size(Some(plain.len() as u64))?;
                encoder.write_all(plain)?;
                encoder.finish()?;
            }
        }
        Ok(())
    }

    /// Opens a block. Memory grows with what comes out of it, never with what it claims.
    ///
    /// # Errors
    /// On bytes that are no such block, and on more than `limit` bytes of content.
    pub(super) fn decompress(self, block: &[u8], limit: usize) -> Result<Vec<u8>, BatchProblem> {
        let garbage = |what: String| BatchProblem::Compressed { codec: self, what };
        let opened = match self {
            Self::None => read_all(block, limit),
            Self::Gzip => read_all(flate2::bufread::MultiGzDecoder::new(block), limit),
            Self::Snappy => snappy::decompress(block, limit),
            Self::Lz4 if !block.starts_with(&LZ4_MAGIC) => {
                return Err(garbage("it does not begin with an lz4 frame".to_owned()));
            }
            Self::Lz4 => read_lz4(block, limit),
            Self::Zstd => read_zstd(block, limit),
        };
        match opened {
            Ok(Some(plain)) => Ok(plain),
            Ok(None) => Err(BatchProblem::TooLarge { limit }),
            Err(error) => Err(garbage(error.to_string())),
        }
    }
}

/// Everything that `from` holds; `None` when that is more than `limit` bytes.
fn read_all(from: impl Read, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut plain = Vec::new();
    from.take((limit as u64).saturating_add(1)).read_to_end(&mut plain)?;
    Ok((plain.len() <= limit).then_some(plain))
}

/// Bytes that remember whether more of them were wanted than there are.
struct Starving<'a> {
    rest: &'a [u8],
    starved: bool,
}

impl Read for Starving<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.starved |= self.rest.len() < out.len();
        self.rest.read(out)
    }
}

/// One frame. The decoder takes missing bytes between two blocks for an end; here they are an error.
fn read_lz4(block: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut decoder = lz4_flex::frame::FrameDecoder::new(Starving { rest: block, starved: false });
    let mut plain = Vec::new();
    loop {
        let chunk = decoder.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        if chunk.len() > limit - plain.len() {
            return Ok(None);
        }
        plain.extend_from_slice(chunk);
        let taken = chunk.len();
        decoder.consume(taken);
    }
    let from = decoder.get_ref();
    if from.starved || !from.rest.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not end where its frame ends"));
    }
    Ok(Some(plain))
}

fn read_zstd(block: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(block)?;
    // A window larger than all that may come out of it would be memory for nothing.
    let useful = usize::BITS - limit.leading_zeros();
    decoder.window_log_max(useful.clamp(ZSTD_WINDOW_LOG_MIN, ZSTD_WINDOW_LOG_MAX))?;
    read_all(decoder, limit)
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name() == text)
            .ok_or_else(|| format!("unknown compression {text:?}: none, gzip, snappy, lz4 or zstd"))
    }
}
