use yak_protocol::envelope;
use yak_protocol::json::{read_message, write_message};

/// Messages as lines of JSON.
pub fn json(data: &[u8]) {
    let Ok(message) = read_message(data) else { return };
    let Ok(frame) = message.to_frame_as_it_is() else { return };
    let frame = frame.to_bytes().slice(4..);
    let opened = envelope::decode(frame.clone()).expect("what was read is a frame");
    assert_eq!(
        (opened.version, opened.id, opened.kind.as_str()),
        (message.version, message.id, &*message.kind)
    );
    assert_eq!((&opened.body, &opened.bin), (&message.body, &message.bin));
    // As it is written, it is read back.
    let line = write_message(&frame).expect("a frame");
    let again = read_message(line.as_bytes()).expect("a line that was written");
    let again = again.to_frame_as_it_is().expect("it was a frame before").to_bytes();
    assert_eq!(write_message(&again[4..]).expect("a frame"), line);
    // Through the type of its kind, it stays that message.
    let Ok(typed) = message.to_frame() else { return };
    let line = write_message(&typed.to_bytes()[4..]).expect("a frame");
    let again = read_message(line.as_bytes()).expect("a line that was written");
    let again = again.to_frame().expect("a message that was read before");
    assert_eq!(write_message(&again.to_bytes()[4..]).expect("a frame"), line);
}
