use super::disk::disk;
use std::path::Path;
use yak_protocol::batch::verify;
use yak_storage::inspect::{self, Piece, Pieces};

const LOG: &str = "/log/00000000000000000000.log";

/// A segment with arbitrary bytes, and index files that are no better.
pub fn segment(data: &[u8]) {
    let index = &data[data.len() - data.len().min(64)..];
    let io = disk(&[
        (LOG, data),
        ("/log/00000000000000000000.index", index),
        ("/log/00000000000000000000.timeindex", data),
    ]);
    let path = Path::new(LOG);
    for counted in [None, Some(data.len() as u64), Some(data.len() as u64 / 2)] {
        let pieces = match counted {
            Some(bytes) => Pieces::counted(&io, path, bytes),
            None => Pieces::of_file(&io, path),
        };
        let mut pieces = pieces.expect("the file is there");
        let mut at = 0;
        while let Some(piece) = pieces.next_piece().expect("it can be read") {
            let length = match piece {
                Piece::Batch(batch) => {
                    let from = usize::try_from(batch.at).expect("within the file");
                    assert_eq!(data[from..from + batch.bytes.len()], batch.bytes);
                    assert_eq!(batch.problem.is_none(), verify(&batch.bytes).is_ok());
                    assert_eq!(batch.at, at);
                    batch.bytes.len() as u64
                }
                Piece::Bad(bad) => {
                    assert_eq!(bad.at, at);
                    assert!(bad.length > 0 && !(bad.torn && counted.is_some()));
                    bad.length
                }
            };
            at += length;
        }
        assert_eq!(at, counted.unwrap_or(data.len() as u64), "together the pieces are the file");
    }
    for path in [LOG, "/log"] {
        for deep in [false, true] {
            let report = inspect::verify(&io, Path::new(path), deep).expect("it can be looked through");
            assert!(
                report.findings.iter().all(|found| found.at <= data.len() as u64 && !found.what.is_empty())
            );
        }
    }
    let difference = inspect::diff(&io, path, path).expect("it can be compared");
    if let Some((_, a, b)) = difference.diverge {
        assert_eq!(a, b, "it parts from itself only where it is damaged");
    }
}
