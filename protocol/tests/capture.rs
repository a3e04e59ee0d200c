//! What people have at hand: captures whose packets come twice, early or not at all, and dumps of every kind.
#![cfg(feature = "capture")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use bytes::Bytes;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;
use yak_protocol::decode::capture::{Assembler, CaptureWriter, Form, Input, Packet, Sighting, read};
use yak_protocol::decode::{Direction, Filter, Seen};
use yak_protocol::json::read_message;

fn hello(id: u64, client: &str) -> Bytes {
    let json = format!(r#"{{"kind":"hello","id":{id},"client":"{client}"}}"#);
    read_message(json.as_bytes()).unwrap().to_frame().unwrap().to_bytes()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(1_700_000_000_000 + ms)
}

/// A file with two connections: frames there and back, and a line of text.
fn file() -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = CaptureWriter::new(&mut out).unwrap();
    let mut first = writer.open(at(0), address("127.0.0.1:50001"), address("127.0.0.1:9701")).unwrap();
    let mut second = writer.open(at(1), address("[::1]:50002"), address("[::1]:9701")).unwrap();
    let long = "x".repeat(150_000);
    writer.data(at(2), &mut first, Direction::ToServer, &[hello(1, "a"), hello(2, &long)].concat()).unwrap();
    writer.data(at(3), &mut second, Direction::ToServer, b"PING\n").unwrap();
    writer.data(at(4), &mut second, Direction::ToClient, b"+OK pong\n").unwrap();
    let reply = read_message(
        br#"{"kind":"hello","id":2,"ok":true,"version":1,"process":"broker","software":"0","max_frame_bytes":9}"#,
    );
    let reply = reply.unwrap().to_frame().unwrap().to_bytes();
    writer.data(at(7), &mut first, Direction::ToClient, &reply).unwrap();
    writer.end(at(8), &mut first, Direction::ToServer, false).unwrap();
    writer.end(at(8), &mut first, Direction::ToClient, false).unwrap();
    writer.end(at(9), &mut second, Direction::ToServer, true).unwrap();
    out
}

fn packets(file: &[u8]) -> (Vec<Packet>, Option<String>) {
    assert_eq!(Form::of(file), Form::Pcap);
    match read(file.to_vec(), Form::Pcap).unwrap() {
        Input::Packets { packets, cut_off } => (packets, cut_off),
        Input::Stream(_) => panic!("a capture has packets"),
    }
}

fn sightings(packets: &[Packet], ports: &[u16]) -> Vec<Sighting> {
    let mut assembler = Assembler::new(Filter::default(), ports.to_vec());
    let mut all: Vec<_> = packets.iter().flat_map(|packet| assembler.push(packet)).collect();
    all.extend(assembler.finish());
    all
}

/// Connection, direction and what was seen, in a few words.
fn told(sightings: &[Sighting]) -> Vec<String> {
    let of = |sighting: &Sighting| {
        let arrow = if sighting.event.direction == Direction::ToServer { ">" } else { "<" };
        let seen = match &sighting.event.seen {
            Seen::Frame(frame) => format!("{} {}", frame.kind(), frame.head.as_ref().unwrap().1),
            Seen::Line(line) => String::from_utf8_lossy(line).trim_end().to_owned(),
            Seen::Unknown(bytes, found) => {
                let found = found.as_ref().map(ToString::to_string).unwrap_or_default();
                format!("{} unknown {found}", bytes.len())
            }
        };
        format!("{}{arrow} {seen}", sighting.connection)
    };
    sightings.iter().map(of).collect()
}

const TOLD: [&str; 5] = ["1> hello 1", "1> hello 2", "2> PING", "2< +OK pong", "1< hello 2"];

#[test]
fn what_was_written_is_read_back_with_its_moments() {
    let (packets, cut_off) = packets(&file());
    assert_eq!(cut_off, None);
    let seen = sightings(&packets, &[]);
    assert_eq!(told(&seen), TOLD);
    assert!(seen.iter().all(|sighting| sighting.from_its_beginning && sighting.server.port() == 9701));
    assert_eq!(seen[2].client, address("[::1]:50002"));
    assert_eq!(seen[4].event.latency, Some(Duration::from_millis(5)));
    assert_eq!(seen[4].event.time, Some(at(7)));
    assert_eq!(sightings(&packets, &[9701]).len(), 5);
    assert_eq!(sightings(&packets, &[50002]).len(), 2);
    assert_eq!(sightings(&packets, &[9700]).len(), 0);
}

#[test]
fn packets_that_come_twice_or_early_change_nothing() {
    let (packets, _) = packets(&file());
    // The two opening packets stay where they are: they tell who is who.
    for early in 3..packets.len() {
        let mut shuffled = packets.clone();
        let packet = shuffled.remove(early);
        shuffled.insert(early - 1, packet.clone());
        shuffled.insert(early, packet.clone());
        shuffled.push(packet);
        let mut seen = told(&sightings(&shuffled, &[]));
        let mut expected = TOLD.map(str::to_owned).to_vec();
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected, "packet {early}");
    }
}

#[test]
fn what_was_not_captured_is_counted_and_nothing_after_it_is_guessed() {
    let (mut packets, _) = packets(&file());
    // The long frame has several packets; its second one is lost.
    let long: Vec<_> = (0..packets.len()).filter(|index| packets[*index].bytes.len() > 60_000).collect();
    let lost = packets.remove(long[1]);
    let seen = told(&sightings(&packets, &[]));
    let gap = seen.iter().find(|told| told.contains("missing")).unwrap();
    let bytes = lost.bytes.len() - 40;
    assert!(gap.contains(&format!("{bytes} bytes are missing in the capture")), "{gap}");
    assert!(seen.contains(&"1> hello 1".to_owned()) && !seen.contains(&"1> hello 2".to_owned()), "{seen:?}");
    assert!(seen.contains(&"1< hello 2".to_owned()), "the other way is whole: {seen:?}");

    // A capture with short packets says so, too.
    let (mut packets, _) = self::packets(&file());
    let packet = &mut packets[long[0]];
    packet.missing = packet.bytes.len() - 50;
    packet.bytes.truncate(50);
    assert!(told(&sightings(&packets, &[])).iter().any(|told| told.contains("missing")));
}

#[test]
fn connections_that_were_open_before_the_capture_are_read_from_where_they_are() {
    let (packets, _) = packets(&file());
    let later: Vec<_> = packets.into_iter().filter(|packet| !packet.segment().unwrap().syn).collect();
    let seen = sightings(&later, &[9701]);
    assert_eq!(told(&seen), TOLD);
    assert!(seen.iter().all(|sighting| !sighting.from_its_beginning && sighting.server.port() == 9701));
}

#[test]
fn a_file_that_ends_in_a_packet_is_read_up_to_it() {
    let file = file();
    let whole = packets(&file).0.len();
    for cut in [1, 20, 70] {
        let (packets, cut_off) = packets(&file[..file.len() - cut]);
        assert!(packets.len() < whole);
        assert!(cut_off.unwrap().starts_with("the file ends in the packet at byte "));
    }
}

/// The same packets as pcapng, in one byte order or the other.
fn as_pcapng(packets: &[Packet], big: bool) -> Vec<u8> {
    let u32 = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let u16 = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut out = Vec::new();
    let mut block = |kind: u32, mut body: Vec<u8>| {
        body.resize(body.len().next_multiple_of(4), 0);
        let length = u32(u32::try_from(body.len() + 12).unwrap());
        out.extend([&u32(kind)[..], &length, &body, &length].concat());
    };
    block(0x0a0d_0d0a, [&u32(0x1a2b_3c4d)[..], &u16(1), &u16(0), &[0xff; 8]].concat());
    // Nanoseconds: option 9, one byte.
    block(1, [&u16(101)[..], &u16(0), &u32(0), &u16(9), &u16(1), &[9, 0, 0, 0], &u16(0), &u16(0)].concat());
    block(5, vec![0; 8]);
    for packet in packets {
        let nanos = u64::try_from(packet.time.unwrap().as_nanos()).unwrap();
        let length = u32::try_from(packet.bytes.len()).unwrap();
        let (high, low) = (u32::try_from(nanos >> 32).unwrap(), u32::try_from(nanos & 0xffff_ffff).unwrap());
        block(6, [&u32(0)[..], &u32(high), &u32(low), &u32(length), &u32(length), &packet.bytes].concat());
    }
    out
}

#[test]
fn pcapng_in_both_byte_orders() {
    let (packets, _) = packets(&file());
    for big in [true, false] {
        let (again, cut_off) = self::packets(&as_pcapng(&packets, big));
        assert_eq!((again, cut_off), (packets.clone(), None));
    }
}

#[test]
fn links_other_than_raw_ip() {
    let (packets, _) = packets(&file());
    let classic = |link: u32, front: &[u8]| {
        let mut out = Vec::new();
        for number in [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 1 << 18, link] {
            out.extend(u32::to_le_bytes(number));
        }
        for packet in packets.iter().filter(|packet| packet.bytes[0] >> 4 == 4) {
            let length = u32::try_from(packet.bytes.len() + front.len()).unwrap();
            for number in [1_700_000_000, 5000, length, length] {
                out.extend(u32::to_le_bytes(number));
            }
            out.extend([front, &packet.bytes].concat());
        }
        out
    };
    let ethernet = [&[0; 12][..], &[8, 0]].concat();
    for (link, front) in [(1, &ethernet[..]), (0, &[2, 0, 0, 0]), (113, &[0; 16]), (276, &[0; 20])] {
        let seen = sightings(&self::packets(&classic(link, front)).0, &[]);
        assert_eq!(told(&seen), ["1> hello 1", "1> hello 2", "1< hello 2"], "link {link}");
        assert_eq!(seen[0].event.time, Some(Duration::from_micros(1_700_000_000_005_000)));
    }
    let error = read(classic(105, &[]), Form::Pcap).unwrap_err().to_string();
    assert!(error.contains("link type 105"), "{error}");
}

fn stream(text: &str, form: Form) -> Vec<u8> {
    assert_eq!(Form::of(text.as_bytes()), form, "{text}");
    match read(text.as_bytes().to_vec(), form).unwrap() {
        Input::Stream(bytes) => bytes,
        Input::Packets { .. } => panic!("no packets: {text}"),
    }
}

#[test]
fn hex_in_every_form_in_which_people_paste_it() {
    let frame = hello(1, "abc");
    let (plain, spaced) = frame.iter().fold((String::new(), String::new()), |(plain, spaced), byte| {
        (format!("{plain}{byte:02x}"), format!("{spaced}{byte:02X} "))
    });
    let literal = frame.iter().map(|byte| format!("0x{byte:02x}, ")).collect::<String>();
    let xxd = "00000000: 0000 001e 9401 01a5 6865 6c6c 6f82 a776  ........hello..v\n\
               00000010: 6572 7369 6f6e 00a6 636c 6965 6e74 a361  ersion..client.a\n\
               00000020: 6263                                     bc\n";
    let hexdump = "00000000  00 00 00 1e 94 01 01 a5  68 65 6c 6c 6f 82 a7 76  |........hello..v|\n\
                   00000010  65 72 73 69 6f 6e 00 a6  63 6c 69 65 6e 74 a3 61  |ersion..client.a|\n\
                   00000020  62 63                                             |bc|\n\
                   00000022\n";
    let commented = "00 00 00 1d  # the length\n\n# all of it:\n94 01\n";
    assert_eq!(stream(&plain, Form::Hex), frame);
    assert_eq!(stream(&spaced, Form::Hex), frame);
    assert_eq!(stream(&literal, Form::Hex), frame);
    assert_eq!(stream(commented, Form::Hex), [0, 0, 0, 0x1d, 0x94, 1]);
    assert_eq!(stream(xxd, Form::Hex), frame);
    assert_eq!(stream(hexdump, Form::Hex), frame);
    let base64 = data_encoding::BASE64.encode(&frame);
    assert_eq!(stream(&base64, Form::Base64), frame);
    assert_eq!(
        stream(&format!("{}\n{}\n", &base64[..20], base64[20..].trim_end_matches('=')), Form::Base64),
        frame
    );
}

#[test]
fn what_is_no_dump_is_left_as_it_is() {
    for text in [
        "PING\n",
        "+OK pong\n",
        "GET / HTTP/1.1\r\n",
        "{\"kind\":\"hello\"}\n",
        "abc\n",
        "dead beefs\n",
        "",
        "HELLOHELLOHELLO=",
    ] {
        assert_eq!(Form::of(text.as_bytes()), Form::Raw, "{text}");
    }
    assert_eq!(Form::of(&hello(1, "x")), Form::Raw);
    assert_eq!(Form::of(&[0xff, 0xfe]), Form::Raw);
}

#[test]
fn dumps_with_holes_are_refused_with_the_line() {
    for (text, expected) in [
        ("00000000: 0000 001d  ....\n00000010: 9401  ..\n", "line 2: it begins at 0x10 where 0x4 should be"),
        ("00000000  00 00 00 1d  |....|\n*\n00000020\n", "line 2: `*` stands for lines that were left out"),
        ("00 00\n0\n", "line 2: \"0\" has an odd number"),
        ("00 00\nzz\n", "line 2: no hex digits: \"zz\""),
    ] {
        let said = read(text.as_bytes().to_vec(), Form::Hex).unwrap_err().to_string();
        assert!(said.contains(expected), "{text}: {said}");
    }
    let said = read(b"AAAA*AAAAAAA".to_vec(), Form::Base64).unwrap_err().to_string();
    assert!(said.contains("no base64"), "{said}");
    assert!(read(b"short".to_vec(), Form::Pcap).is_err());
}

#[test]
fn a_paste_of_tcpdump_is_packets() {
    let mut text = String::new();
    for packet in packets(&file()).0.iter().filter(|packet| packet.bytes.len() < 1000) {
        text += "20:31:05.123456 IP 127.0.0.1.50001 > 127.0.0.1.9701: Flags [P.], seq 1:90, length 89\n";
        for (index, line) in packet.bytes.chunks(16).enumerate() {
            let groups: Vec<_> = line.chunks(2).map(|pair| data_encoding::HEXLOWER.encode(pair)).collect();
            text += &format!("\t0x{:04x}:  {:<39}  E..*#..4\n", index * 16, groups.join(" "));
        }
    }
    assert_eq!(Form::of(text.as_bytes()), Form::Hex);
    let Input::Packets { packets, .. } = read(text.into_bytes(), Form::Hex).unwrap() else {
        panic!("packets")
    };
    let seen = told(&sightings(&packets, &[]));
    assert!(seen.contains(&"2> PING".to_owned()) && seen.contains(&"1< hello 2".to_owned()), "{seen:?}");
}

proptest! {
    #[test]
    fn no_file_and_no_paste_panics(bytes: Vec<u8>, text: String, at in 0..2000usize, with: u8) {
        for form in [Form::Raw, Form::Hex, Form::Base64, Form::Pcap] {
            let _ = read(bytes.clone(), form);
            let _ = read(text.clone().into_bytes(), form);
        }
        let _ = Form::of(&bytes);
        let _ = Form::of(text.as_bytes());
        let mut file = file();
        file[at] = with;
        for file in [file.clone(), as_pcapng(&packets(&self::file()).0[..3], with.is_multiple_of(2))] {
            let mut file = file;
            let at = at % file.len();
            file[at] = with;
            if let Ok(Input::Packets { packets, .. }) = read(file, Form::Pcap) {
                sightings(&packets, &[]);
            }
        }
    }
}
