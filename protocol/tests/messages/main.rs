//! Every message kind: it survives its encoding, bears keys of newer versions, and misses only what it
//! cannot do without.

mod brokers;
mod check;
mod clients;
mod coordinators;
mod golden;
mod samples;
mod tree;
mod values;
mod vary;

/// A file of golden frames that no kind has is one that nobody looks at.
#[test]
fn every_kind_has_its_golden_frames() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = std::fs::read_dir(folder).expect("the folder is there");
    let names: std::collections::BTreeSet<String> =
        files.map(|file| file.expect("a file").file_name().into_string().expect("a plain name")).collect();
    let kinds = yak_protocol::message::KINDS.iter();
    let wanted = kinds.flat_map(|(kind, _)| [format!("{kind}.hex"), format!("{kind}.json")]).collect();
    assert_eq!(names, wanted);
}
