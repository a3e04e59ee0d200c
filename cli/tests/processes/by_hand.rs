//! What people may type at a server, as its command line says, and what it tells of its own log.

use crate::harness::{Process, yak};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

/// Sends all of it, and returns what comes until the server closes.
fn typed(address: &str, text: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(text.as_bytes()).expect("it reads");
    stream.shutdown(Shutdown::Write).expect("connected");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

fn servers(dir: &std::path::Path, options: &[&str]) -> [(Process, String); 2] {
    let data = |name: &str| dir.join(name).to_str().expect("a plain name").to_owned();
    let start = |arguments: &[&str]| {
        let mut process = Process::start(&[arguments, options].concat());
        let address = process.ready();
        (process, address)
    };
    // The broker is not behind the coordinator's proxy: it reaches one that is told nothing.
    let coordinator = start(&["coordinator", "--listen", "127.0.0.1:0", "--data", &data("coordinator")]);
    let mut plain = Process::start(&["coordinator", "--listen", "127.0.0.1:0", "--data", &data("plain")]);
    let known = plain.ready();
    let broker = start(&[
        "broker",
        "--name",
        "b1",
        "--coordinator",
        &known,
        "--listen",
        "127.0.0.1:0",
        "--data",
        &data("broker"),
    ]);
    assert!(typed(&known, "BROKERS\n").contains(" b1 "));
    plain.kill();
    [coordinator, broker]
}

#[test]
fn a_listener_answers_what_its_command_line_allows() {
    let dir = tempfile::tempdir().expect("a folder");
    let options =
        ["--text", "words", "--text-allow", "conf,whoami,evnt", "--text-allow", "CONF", "--proxy-protocol"];
    for (_process, address) in &servers(dir.path(), &options) {
        let header = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 9701\r\n";
        let answer = typed(address, &format!("{header}WHOAMI\nTOPICS\nCONF text\nCONF proxy\nQUIT\n"));
        for part in [
            " address=192.0.2.7:56324 text=words ",
            "-ERR DISABLED TOPICS is not allowed on this listener (text=words)",
            "text       words                   command line",
            "text_allow conf,WHOAMI,evnt,CONF   command line",
            "proxy_protocol true command line",
        ] {
            let blanks = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(blanks(&answer).contains(&blanks(part)), "{part}: {answer}");
        }
        assert!(typed(address, "PING\n").contains("expects a PROXY protocol header"));
    }
    yak(&["coordinator", "--text", "some"], "")
        .expect_code(2)
        .expect_stderr(&["text is full, readonly, words or off, not `some`"]);
    yak(&["broker", "--text-allow", "a b"], "").expect_code(2).expect_stderr(&["no word and no command"]);
}

#[test]
fn the_log_is_shown_and_told_how_much_to_say() {
    let dir = tempfile::tempdir().expect("a folder");
    for (_process, address) in &servers(dir.path(), &[]) {
        let answer = typed(address, "LEVEL yak_protocol debug\nLEVEL\nLEVEL yak loud\nLOG\n");
        assert_eq!(answer.matches("filter=info,openraft=off,yak_protocol=debug").count(), 2, "{answer}");
        assert!(answer.contains("-ERR BAD_REQUEST a level is one of off, error"), "{answer}");
        assert!(answer.contains(" info yak::log: log levels were changed by hand filter="), "{answer}");
        // What the end of that session said is there now.
        assert!(typed(address, "LOG 1000\n").contains(" debug yak_protocol::net::lines: session over peer="));
        let answer = typed(address, "LEVEL yak_protocol off\nLEVEL * off\nPING\n");
        assert!(answer.contains("off"), "{answer}");
        assert!(!typed(address, "LOG 1\n").contains("session over"));
    }
}
