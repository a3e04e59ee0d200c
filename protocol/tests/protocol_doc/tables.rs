//! The tables of the page are those of the code.

use crate::PAGE;
use crate::blocks::{rows, section};
use yak_protocol::defaults;
use yak_protocol::error::{Action, ErrorCode};
use yak_protocol::message::{KINDS, Role};
use yak_protocol::names::TOPIC_NAME_BYTES_MAX;

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Replica => "replica",
        Role::Control => "control",
    }
}

#[test]
fn the_error_table_is_complete_and_right() {
    let action = |code: &ErrorCode| match code.action() {
        Action::Retry => "retry",
        Action::Refresh => "refresh",
        Action::GiveUp => "give up",
        Action::Unknown => "unknown",
        Action::Reopen => "reopen",
    };
    let expected: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|code| vec![code.number().to_string(), format!("`{}`", code.name()), action(code).to_owned()])
        .collect();
    let start = PAGE.find("\n## 10 ").expect("the section");
    let in_page: Vec<_> = PAGE[start..PAGE.find("\n## 11 ").expect("the next one")]
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter(|row| row.starts_with(|c: char| c.is_ascii_digit()))
        .map(|row| row.split(" | ").take(3).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(in_page, expected);
}

#[test]
fn every_kind_has_its_section_and_its_role() {
    for (kind, role) in KINDS {
        let role = role_name(*role);
        assert!(section(kind).starts_with(&format!("Role: {role}.")), "{kind}");
        let name = format!("`{kind}`");
        let row = rows().find(|row| row.len() == 4 && row[0] == name).expect("a row in section 5");
        assert!(row[1] == role || row[1].starts_with(&format!("{role} (")), "{kind}: {row:?}");
    }
    let sections = PAGE.lines().filter(|line| line.starts_with("### `")).count();
    assert_eq!(sections, KINDS.len(), "a section is about no kind");
}

#[test]
fn the_limits_are_those_of_the_code() {
    let limits: [(&str, u64); 11] = [
        ("FRAME_BYTES_CEILING", defaults::FRAME_BYTES_CEILING.into()),
        ("FRAME_BYTES_MAX", defaults::FRAME_BYTES_MAX.into()),
        ("NESTING_MAX", defaults::NESTING_MAX as u64),
        ("FRAME_VALUES_MAX", defaults::FRAME_VALUES_MAX),
        ("KIND_BYTES_MAX", defaults::KIND_BYTES_MAX as u64),
        ("TOPIC_NAME_BYTES_MAX", TOPIC_NAME_BYTES_MAX as u64),
        ("PARTITIONS_MAX", defaults::PARTITIONS_MAX.into()),
        ("BATCH_BYTES_MAX", defaults::BATCH_BYTES_MAX.into()),
        ("UNPACKED_BATCH_BYTES_MAX", defaults::UNPACKED_BATCH_BYTES_MAX as u64),
        ("PRODUCER_BATCHES", defaults::PRODUCER_BATCHES as u64),
        ("PUBLISH_TIMEOUT", u64::try_from(defaults::PUBLISH_TIMEOUT.as_millis()).expect("small")),
    ];
    for (name, value) in limits {
        let row = rows().find(|row| row.last().is_some_and(|cell| cell.contains(&format!("`{name}`"))));
        let row = row.unwrap_or_else(|| panic!("no row for {name}"));
        assert_eq!(row[1], value.to_string(), "{name}");
    }
    #[cfg(feature = "net")]
    for (name, value) in [
        ("CONNECTIONS_MAX", yak_protocol::net::limits::CONNECTIONS_MAX),
        ("IN_FLIGHT_MAX", yak_protocol::net::limits::IN_FLIGHT_MAX),
        ("IN_FLIGHT_BYTES_MAX", yak_protocol::net::limits::IN_FLIGHT_BYTES_MAX),
    ] {
        let row = rows().find(|row| row.last().is_some_and(|cell| cell.contains(&format!("`{name}`"))));
        assert_eq!(row.unwrap_or_else(|| panic!("no row for {name}"))[1], value.to_string(), "{name}");
    }
}

#[test]
fn links_within_the_page_lead_somewhere() {
    for line in PAGE.lines().filter(|line| line.starts_with("- [")) {
        let (title, anchor) = line[3..].split_once("](#").expect("a link");
        let anchor = anchor.trim_end_matches(')');
        assert!(PAGE.contains(&format!("\n## {title}\n")), "{title}");
        let slug: String = title
            .to_lowercase()
            .chars()
            .filter_map(|c| match c {
                ' ' => Some('-'),
                c if c.is_alphanumeric() => Some(c),
                _ => None,
            })
            .collect();
        assert_eq!(anchor, slug);
    }
}
