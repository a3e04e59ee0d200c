//! Each rule of docs/REPLICATION.md at work: a script that breaks a promise when the rule is switched off,
//! and none when it is on. They follow the shortest counterexamples that model checking has found.

mod harness;
#[path = "rules/script.rs"]
mod script;

#[path = "rules/flaws.rs"]
mod flaws;
#[path = "rules/r10.rs"]
mod r10;
#[path = "rules/r11.rs"]
mod r11;
#[path = "rules/r12.rs"]
mod r12;
#[path = "rules/r14.rs"]
mod r14;
#[path = "rules/r15.rs"]
mod r15;
#[path = "rules/r16.rs"]
mod r16;
#[path = "rules/r17.rs"]
mod r17;
#[path = "rules/r18.rs"]
mod r18;
#[path = "rules/r2.rs"]
mod r2;
#[path = "rules/r3.rs"]
mod r3;
#[path = "rules/r4.rs"]
mod r4;
#[path = "rules/r5.rs"]
mod r5;
#[path = "rules/r6.rs"]
mod r6;
#[path = "rules/r7.rs"]
mod r7;
#[path = "rules/r8.rs"]
mod r8;
#[path = "rules/r9.rs"]
mod r9;

/// A rule without a script would be a rule that nobody misses.
#[test]
fn every_switch_has_a_script() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rules");
    let texts = std::fs::read_dir(folder)
        .expect("the folder of this test")
        .map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a script"));
    let text: String = texts.collect();
    for rule in yak_core::rules::Rule::ALL {
        assert!(text.contains(&format!("Rule::{rule:?},")), "no script shows what {rule:?} is for");
    }
}
