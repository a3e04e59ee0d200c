//! What goes out where people type: text as it is, and every message as one line of JSON.

use crate::defaults::FRAME_PREFIX_BYTES;
use crate::envelope::Encoded;
use crate::json;
use crate::net::limits::{READ_BYTES, WRITE_STALL_MAX};
use crate::net::loss::Loss;
use crate::net::outbox::Parcel;
use crate::net::peer::Peer;
use crate::net::stream::unless_stalled;
use std::io::ErrorKind;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;

/// Writes what the peer's outbox holds until it ends.
pub(super) async fn write_out(peer: Peer, mut write: OwnedWriteHalf) {
    if let Err(error) = write_lines(&peer, &mut write).await {
        peer.cut_for(Loss::from_io(&error, "write"));
    }
}

async fn write_lines<W: AsyncWrite + Unpin>(peer: &Peer, io: &mut W) -> std::io::Result<()> {
    let outbox = peer.outbox();
    while let Some(batch) = outbox.take().await {
        // Bytes that are ready, and how much of the outbox they stand for.
        let (mut ready, mut held) = (Vec::new(), 0);
        for queued in batch {
            held += queued.parcel.size_bytes();
            match queued.parcel {
                Parcel::Text(text) => ready.extend_from_slice(&text),
                Parcel::Frame(frame) => {
                    ready.extend_from_slice(message(&frame).as_bytes());
                    ready.push(b'\n');
                }
            }
            if ready.len() >= READ_BYTES {
                write_all(io, &ready).await?;
                ready.clear();
                outbox.release(std::mem::take(&mut held));
            }
        }
        write_all(io, &ready).await?;
        outbox.release(held);
    }
    io.shutdown().await
}

/// The message of a frame as a line of JSON.
fn message(frame: &Encoded) -> String {
    // What this process encoded can be read; should that ever fail, it is said in place of the message.
    json::write_message(&frame.to_bytes()[FRAME_PREFIX_BYTES..]).unwrap_or_else(|error| {
        serde_json::json!({"id": 0, "kind": "error", "message": error.to_string()}).to_string()
    })
}

async fn write_all<W: AsyncWrite + Unpin>(io: &mut W, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match unless_stalled(WRITE_STALL_MAX, io.write(bytes)).await? {
            0 => return Err(ErrorKind::WriteZero.into()),
            count => bytes = &bytes[count..],
        }
    }
    Ok(())
}
