//! Which coordinator was active in which term, by the notes of the processes.

use anyhow::{Context as _, bail};
use std::collections::BTreeMap;
use std::path::Path;

/// Reads the notes below `data`; returns how many terms there were.
///
/// # Errors
/// When two coordinators, or one twice, were active in one term.
pub fn count(data: &Path) -> anyhow::Result<usize> {
    let mut terms: BTreeMap<u64, String> = BTreeMap::new();
    for entry in std::fs::read_dir(data).with_context(|| format!("reading {}", data.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let notes = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        for term in notes.lines().filter_map(begun) {
            if let Some(other) = terms.insert(term, name.clone()) {
                bail!("{other} and {name} were both active in coordinator epoch {term}");
            }
        }
    }
    if terms.is_empty() {
        bail!("no coordinator's notes below {} say that it was active", data.display());
    }
    Ok(terms.len())
}

/// The term that a line says has begun.
fn begun(line: &str) -> Option<u64> {
    let (_, fields) = line.split_once(" active cluster_id=")?;
    let (_, epoch) = fields.split_once(" coordinator_epoch=")?;
    epoch.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(epoch: u64) -> String {
        format!(
            "2026-11-21T18:23:39.7Z  INFO active cluster_id=e45e coordinator_epoch={epoch} new=false brokers=2\n"
        )
    }

    #[test]
    fn a_term_with_two_coordinators_is_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("c1.log"), format!("{}x\n{}", note(1), note(3))).unwrap();
        std::fs::write(dir.path().join("c2.log"), note(2)).unwrap();
        assert_eq!(count(dir.path()).unwrap(), 3);
        std::fs::write(dir.path().join("c2.log"), note(3)).unwrap();
        let error = count(dir.path()).unwrap_err().to_string();
        assert!(error.contains("both active in coordinator epoch 3"), "{error}");
    }
}
