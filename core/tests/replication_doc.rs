//! `docs/REPLICATION.md` has every rule, invariant and promise, and names the switch of each rule.

use std::collections::BTreeSet;
use yak_core::rules::Rule;

const PAGE: &str = include_str!("../../docs/REPLICATION.md");

/// The text below the heading of rule `number`.
fn rule(number: u32) -> &'static str {
    let heading = format!("\n### R{number} ");
    let start = PAGE.find(&heading).unwrap_or_else(|| panic!("R{number} has no heading")) + heading.len();
    let rest = &PAGE[start..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len()).min(rest.find("\n### ").unwrap_or(rest.len()))]
}

#[test]
fn every_rule_is_there_and_names_its_switches() {
    let mut named = 0;
    for number in 1..=18 {
        let text = rule(number);
        let switches = Rule::ALL.iter().filter(|rule| rule.name().starts_with(&format!("r{number}_")));
        for switch in switches {
            assert!(text.contains(&format!("`{}`", switch.name())), "R{number} lacks {}", switch.name());
            named += 1;
        }
    }
    assert_eq!(named, Rule::ALL.len(), "a switch belongs to no rule");
    assert_eq!(PAGE.matches("\n### R").count(), 18);
    let known: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    for word in PAGE.split('`').filter(|word| word.starts_with('r') && word.contains('_')) {
        if word[1..].starts_with(|c: char| c.is_ascii_digit()) {
            assert!(known.contains(word), "there is no switch {word}");
        }
    }
}

#[test]
fn every_invariant_and_promise_is_there_once() {
    for (letter, last) in [('I', 13), ('P', 4)] {
        for number in 1..=last {
            assert_eq!(PAGE.matches(&format!("\n- **{letter}{number}** ")).count(), 1, "{letter}{number}");
        }
        assert!(!PAGE.contains(&format!("**{letter}{}**", last + 1)));
    }
}

#[test]
fn every_flaw_names_its_tests() {
    let tests: BTreeSet<&str> = include_str!("rules/flaws.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("fn ")?.strip_suffix("() {"))
        .collect();
    let row = |number: u32| PAGE.lines().find(move |line| line.starts_with(&format!("| Z{number} |")));
    let named: BTreeSet<&str> =
        (1..=9).filter_map(row).flat_map(|row| row.split('`').filter(|word| word.starts_with('z'))).collect();
    assert_eq!(named, tests);
    for number in 2..=6 {
        let row = row(number).unwrap_or_else(|| panic!("Z{number} has no row"));
        assert!(row.contains(&format!("`z{number}_")), "Z{number} has no test");
    }
}
