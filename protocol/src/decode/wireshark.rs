use crate::batch::{HEADER_BYTES, HEADER_FIELDS};
use crate::defaults::{
    BROKER_PORT, COORDINATOR_PORT, FRAME_BYTES_CEILING, FRAME_PREFIX_BYTES, NESTING_MAX, PROTOCOL_VERSION,
};
use crate::error::ErrorCode;
use crate::message::{FOLLOWER_KEYS, KINDS, Role};
use std::fmt::Write as _;

/// The part of the dissector that does not depend on the tables.
const PROGRAM: &str = include_str!("wireshark.lua");

/// How many ports from the coordinator's on are taken for YAK's without a look at the bytes.
const PORTS: u16 = 9;

/// A dissector for Wireshark and tshark, in Lua, with this version's tables of kinds, errors and batch
/// fields in it.
#[must_use]
pub fn wireshark_dissector() -> String {
    let mut out = String::from(
        "-- A dissector of YAK's protocol for Wireshark and tshark. Put it into the folder of personal Lua\n\
         -- plugins (Help, About, Folders), or name it: tshark -X lua_script:yak.lua -r capture.pcap\n\
         -- Written by `yak decode --wireshark-dissector` from the tables of the code; do not edit.\n\n",
    );
    let last = COORDINATOR_PORT + PORTS - 1;
    debug_assert!((COORDINATOR_PORT..=last).contains(&BROKER_PORT));
    for (name, number) in [
        ("VERSION", u64::from(PROTOCOL_VERSION)),
        ("PREFIX_BYTES", FRAME_PREFIX_BYTES as u64),
        ("FRAME_BYTES_CEILING", FRAME_BYTES_CEILING.into()),
        ("NESTING_MAX", NESTING_MAX as u64),
        ("HEADER_BYTES", HEADER_BYTES as u64),
    ] {
        let _ = writeln!(out, "local {name} = {number}");
    }
    let _ = writeln!(out, "local PORTS = \"{COORDINATOR_PORT}-{last}\"");
    out.push_str("\n-- kind = the role of a listener that takes it\nlocal KINDS = {\n");
    for (kind, role) in KINDS {
        let role = match role {
            Role::Client => "client",
            Role::Replica => "replica",
            Role::Control => "control",
        };
        let _ = writeln!(out, "  {kind} = \"{role}\",");
    }
    out.push_str("}\n\n-- `replicate` frames with one of these are a follower's\nlocal FOLLOWER_KEYS = {");
    for key in FOLLOWER_KEYS {
        let _ = write!(out, " {key} = true,");
    }
    out.push_str(" }\n\nlocal ERRORS = {\n");
    for code in ErrorCode::ALL {
        let _ = writeln!(out, "  [{}] = \"{}\",", code.number(), code.name());
    }
    out.push_str(
        "}\n\n-- the header of a batch: name, first byte, bytes, whether it has a sign\nlocal HEADER = {\n",
    );
    for field in HEADER_FIELDS {
        let _ = writeln!(out, "  {{ \"{}\", {}, {}, {} }},", field.name, field.at, field.size, field.signed);
    }
    out.push_str("}\n\n");
    out.push_str(PROGRAM);
    out
}
