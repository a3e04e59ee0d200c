use yak_protocol::decode::capture::{Assembler, CaptureReader, Form, Input, Packet, read};
use yak_protocol::decode::{
    Conversation, Cutter, Direction, Event, Filter, Seen, annotate, open_batches, render,
};

/// Whatever `yak decode` is given: as what it looks like, and as each thing that it could be said to be.
pub fn decode(data: &[u8]) {
    let looks = Form::of(data);
    for form in [Form::Raw, Form::Hex, Form::Base64, Form::Pcap] {
        match read(data.to_vec(), form) {
            Ok(Input::Stream(bytes)) => stream(&bytes),
            Ok(Input::Packets { packets, cut_off }) => {
                if form == Form::Pcap {
                    assert_eq!(as_it_comes(data), (packets.clone(), cut_off));
                }
                let mut assembler = Assembler::new(Filter::default(), Vec::new());
                for packet in &packets {
                    assembler.push(packet).iter().for_each(|seen| event(&seen.event));
                }
                assembler.finish().iter().for_each(|seen| event(&seen.event));
            }
            // A capture that looks like one may still be broken.
            Err(_) => assert!(form != looks || form == Form::Pcap || form == Form::Hex, "{form}"),
        }
    }
}

/// A capture that arrives in pieces.
fn as_it_comes(data: &[u8]) -> (Vec<Packet>, Option<String>) {
    let (mut reader, mut packets) = (CaptureReader::default(), Vec::new());
    for some in data.chunks(1 + data.len() % 11) {
        reader.push(some);
        while let Some(packet) = reader.next_packet().expect("it was read as a whole") {
            packets.push(packet);
        }
    }
    (packets, reader.end().expect("it was read as a whole"))
}

fn stream(bytes: &[u8]) {
    let mut conversation = Conversation::new(Filter::default());
    let mut events = conversation.push(Direction::Unknown, None, bytes);
    events.extend(conversation.end(Direction::Unknown, None));
    events.iter().for_each(event);
    // The pieces are the very bytes, however they arrived.
    assert_eq!(pieces(bytes, bytes.len().max(1)), bytes);
    assert_eq!(pieces(bytes, 1 + bytes.len() % 5), bytes);
}

fn pieces(bytes: &[u8], step: usize) -> Vec<u8> {
    use yak_protocol::decode::What;
    let (mut cutter, mut out) = (Cutter::default(), Vec::new());
    let mut take = |piece: yak_protocol::decode::Piece| {
        assert_eq!(piece.at, out.len() as u64);
        match piece.what {
            What::Frame(frame) => {
                out.extend(u32::try_from(frame.len()).expect("a frame's length").to_be_bytes());
                out.extend_from_slice(&frame);
            }
            What::Line(bytes) | What::Unknown(bytes, _) => out.extend_from_slice(&bytes),
        }
    };
    for some in bytes.chunks(step) {
        cutter.push(some);
        while let Some(piece) = cutter.next_piece() {
            take(piece);
        }
    }
    while let Some(piece) = cutter.last_piece() {
        take(piece);
    }
    out
}

fn event(event: &Event) {
    let Seen::Frame(frame) = &event.seen else { return };
    let _ = (frame.json(), frame.shape(), open_batches(frame));
    let length = u32::try_from(frame.bytes.len()).expect("a frame's length").to_be_bytes();
    let whole = [&length, &frame.bytes[..]].concat();
    let labels = annotate(&whole);
    // Every byte has one label, and what is printed is read back as these bytes.
    let mut end = 0;
    for label in &labels {
        assert_eq!(label.range.start, end);
        end = label.range.end;
    }
    assert_eq!(end, whole.len());
    let printed = render(event.at, &whole, &labels);
    assert_eq!(read(printed.into_bytes(), Form::Hex), Ok(Input::Stream(whole)));
}
