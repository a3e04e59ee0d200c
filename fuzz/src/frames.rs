use bytes::{Bytes, BytesMut};
use yak_protocol::envelope;
use yak_protocol::frame::FrameCodec;
use yak_protocol::json;
use yak_protocol::message::{role_of, typed};

/// The most that a listener takes, small enough that arbitrary lengths are often above it.
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// A stream of frames: cut, taken apart, read as the type of its kind, written again.
pub fn frames(data: &[u8]) {
    let whole = cut(data, data.len().max(1));
    // How the bytes arrive makes no difference.
    assert_eq!(whole, cut(data, 1 + data.len() % 7));
    whole.0.into_iter().for_each(one);
}

/// The frames of a stream that arrives in pieces of so many bytes, and what was wrong with it.
fn cut(data: &[u8], piece: usize) -> (Vec<Bytes>, Option<String>) {
    let (mut codec, mut buffer, mut frames) = (FrameCodec::new(FRAME_BYTES_MAX), BytesMut::new(), Vec::new());
    for bytes in data.chunks(piece) {
        buffer.extend_from_slice(bytes);
        loop {
            match codec.next_frame(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
    }
    let end = codec.end(&buffer).map(|error| error.to_string());
    (frames, end)
}

fn one(frame: Bytes) {
    let Ok(head) = envelope::decode_head(&frame) else {
        assert!(envelope::decode(frame).is_err());
        return;
    };
    let Ok(opened) = head.open(&frame) else {
        assert!(json::write_message(&frame).is_err());
        return;
    };
    assert!(head.body_at() + opened.body.len() + opened.bin.len() <= frame.len());
    let _ = role_of(&opened.kind);
    let _ = (envelope::says_ok(&opened.body), envelope::refusal(&opened.body));
    let _ = json::write_masked(&frame);
    let _ = json::write_body(&opened.body);
    // What is written as JSON is read back, and is then written in the same way.
    if let Ok(line) = json::write_message(&frame)
        && let Ok(message) = json::read_message(line.as_bytes())
        && let Ok(again) = message.to_frame_as_it_is()
    {
        let again = again.to_bytes();
        assert_eq!(json::write_message(&again[4..]).expect("it is a frame"), line);
    }
    // What a type has read, it writes so that it reads the same again.
    let Ok(read) = typed(opened.id, &opened.kind, &opened.body, opened.bin.clone()) else { return };
    let Ok(written) = read.frame else { return };
    let written = written.to_bytes();
    let again = envelope::decode(written.slice(4..)).expect("what a type writes is an envelope");
    let read = typed(again.id, &again.kind, &again.body, again.bin.clone()).expect("and can be read");
    assert_eq!(read.unknown_keys, Vec::<String>::new());
    assert_eq!(read.frame.expect("and written").to_bytes(), written);
}
