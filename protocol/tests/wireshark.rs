//! `docs/yak.lua`, the dissector for Wireshark, is the one that this version writes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::PathBuf;
use yak_protocol::decode::wireshark_dissector;
use yak_protocol::error::ErrorCode;
use yak_protocol::message::KINDS;

#[test]
fn the_dissector_in_the_docs_is_up_to_date() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/yak.lua");
    let written = wireshark_dissector();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == written, "docs/yak.lua is old; UPDATE=1 writes it anew");
    for (kind, _) in KINDS {
        assert!(written.contains(&format!("\n  {kind} = \"")), "{kind}");
    }
    for code in ErrorCode::ALL {
        assert!(written.contains(&format!("[{}] = \"{}\"", code.number(), code.name())), "{code:?}");
    }
}
