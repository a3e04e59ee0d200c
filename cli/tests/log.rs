//! `yak log` on the files of real brokers: whole ones, damaged ones, torn ones, and ones that part.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod cluster;

use cluster::{Dev, text, yak};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Runs `yak log`, insists on this exit code, and gives stdout and stderr.
fn ends(code: i32, arguments: &[&str]) -> (String, String) {
    let output = yak(&["log"]).args(arguments).output().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
    (out, err)
}

fn objects(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The batches among what `dump --json` says.
fn batches(path: &Path) -> Vec<Value> {
    let (out, _) = ends(0, &["dump", "--json", "--payload", path.to_str().unwrap()]);
    objects(&out).into_iter().filter(|line| line["what"] == "batch").collect()
}

fn values(batches: &[Value]) -> Vec<String> {
    let records = batches.iter().flat_map(|batch| batch["records"].as_array().unwrap());
    records.map(|record| record["value"].as_str().unwrap().to_owned()).collect()
}

/// The folder of partition 0 of the only topic.
fn partition(dir: &Path) -> PathBuf {
    let mut topics = std::fs::read_dir(dir.join("topics")).unwrap();
    let topic = topics.next().unwrap().unwrap().path();
    assert!(topics.next().is_none(), "one topic");
    topic.join("0")
}

fn segment(dir: &Path) -> PathBuf {
    partition(dir).join("00000000000000000000.log")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn alter(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    how(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Everything below a folder: content and when it was changed.
fn everything(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(everything(&path));
        } else {
            let changed = path.metadata().unwrap().modified().unwrap();
            all.insert(path.clone(), (std::fs::read(&path).unwrap(), changed));
        }
    }
    all
}

/// A cluster with one topic of one partition, to which each of these was published on its own.
fn published(nodes: u16, lines: &[&str]) -> Dev {
    let dev = Dev::start(nodes);
    let replicas = nodes.to_string();
    dev.ok(&["topic", "create", "orders", "-p", "1", "-r", &replicas], "");
    for line in lines {
        dev.ok(&["produce", "orders", "--key", "k"], &format!("{line}\n"));
    }
    dev
}

#[test]
fn a_data_dir_is_read_without_its_broker_and_left_as_it_is() {
    let mut dev = published(1, &["one", "two", "three"]);
    dev.end(Signal::INT);
    let dir = dev.dir(1);
    let before = everything(&dir);
    let name = dir.to_str().unwrap();

    let (out, _) = ends(0, &["verify", "--deep", name]);
    assert!(out.contains("1 segment, 3 batches, 3 records, "), "{out}");
    assert!(out.ends_with(": no damage\n") && !out.contains("torn"), "{out}");
    for path in [partition(&dir), segment(&dir)] {
        assert_eq!(values(&batches(&path)), ["one", "two", "three"]);
        let (out, _) = ends(0, &["verify", path.to_str().unwrap()]);
        assert!(out.contains("1 segment, 3 batches, 3 records, 0 rounds: no damage"), "{out}");
    }
    let all = objects(&ends(0, &["dump", "--json", name]).0);
    for what in ["identity", "checkpoint", "wal", "round", "batch"] {
        assert!(all.iter().any(|line| line["what"] == what), "{what}: {all:?}");
    }
    assert_eq!(all.iter().find(|line| line["what"] == "identity").unwrap()["clean_shutdown"], true);
    // The same batches are in the write-ahead log.
    assert_eq!(values(&batches(&dir.join("wal"))), ["one", "two", "three"]);
    assert_eq!(everything(&dir), before, "nothing was written");
}

#[test]
fn a_dump_shows_each_batch_and_hides_what_people_sent() {
    let mut dev = published(1, &["one", "two"]);
    dev.end(Signal::INT);
    let path = segment(&dev.dir(1));
    let name = path.to_str().unwrap();
    let known = batches(&path);
    let at = |n: usize, field: &str| known[n][field].clone();
    let stamp = |n: usize| {
        let ms = known[n]["records"][0]["timestamp_ms"].as_i64().unwrap();
        format!("{:.3}", jiff::Timestamp::from_millisecond(ms).unwrap())
    };
    let bytes = std::fs::read(&path).unwrap();
    let crc = |n: usize| {
        let at = usize::try_from(at(n, "at").as_u64().unwrap()).unwrap();
        bytes[at + 17..at + 21].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let batch = |n: usize| {
        format!(
            "  batch  byte {}  {} bytes  1 record  none  crc {} ok  base offset {n}  leader epoch {}  \
             producer {} epoch {} sequence {}\n",
            at(n, "at"),
            at(n, "bytes"),
            crc(n),
            at(n, "leader_epoch"),
            at(n, "producer_id"),
            at(n, "producer_epoch"),
            at(n, "base_sequence")
        )
    };
    let expected = format!(
        "{name}\n{}    0  {}  key 1 byte  value 3 bytes\n{}    1  {}  key 1 byte  value 3 bytes\n",
        batch(0),
        stamp(0),
        batch(1),
        stamp(1)
    );
    assert_eq!(ends(0, &["dump", name]).0, expected);
    let (out, _) = ends(0, &["dump", name, "--payload", "--offsets", "1.."]);
    assert_eq!(out, format!("{name}\n{}    1  {}  key \"k\"  value \"two\"\n", batch(1), stamp(1)));
    let masked = objects(&ends(0, &["dump", name, "--json", "--offsets", "0..1"]).0);
    assert_eq!(masked.len(), 1);
    assert_eq!(masked[0]["records"][0]["value"], serde_json::json!({ "masked": 3 }));
}

#[test]
fn a_flipped_bit_is_named_with_its_file_and_byte() {
    let big = "x".repeat(40_000);
    let mut dev = published(1, &["one", &big, &big, "end"]);
    dev.end(Signal::INT);
    let dir = dev.dir(1);
    let path = segment(&dir);
    let known = batches(&path);
    assert_eq!(known.len(), 4);
    let at = |n: usize| known[n]["at"].as_u64().unwrap();
    let pristine = std::fs::read(&path).unwrap();
    let flip = |byte: u64| alter(&path, |bytes| bytes[usize::try_from(byte).unwrap()] ^= 0x10);
    let finds = |code, expected: &str| {
        for name in [&dir, &partition(&dir), &path] {
            let (out, _) = ends(code, &["verify", name.to_str().unwrap()]);
            assert!(out.contains(expected), "{}: {expected}: {out}", name.display());
        }
    };
    let damage = |byte, what: &str| format!("DAMAGE  {}  byte {byte}: {what}", path.display());
    for (byte, at, what) in [
        // A value; the length of a batch, which no checksum covers; its offset; its leader epoch.
        (at(1) + 20_000, at(1), "the batch of offsets 1 to 2: its checksum says "),
        (at(1) + 9, at(1), "no batch of "),
        (at(1) + 7, at(1), "offset 17 leaves a gap: 1 should come here"),
        (at(1) + 16, at(1), "no batch begins here: its magic is 18, not 2"),
        (at(0), at(0), "offset 1152921504606846976 leaves a gap"),
    ] {
        flip(byte);
        finds(3, &damage(at, what));
        std::fs::write(&path, &pristine).unwrap();
    }
    flip(at(1) + 15);
    let (out, err) = ends(3, &["verify", dir.to_str().unwrap()]);
    assert!(out.contains(&damage(at(1), "offset 1 says leader epoch ")), "{out}");
    assert!(err.contains("1 damage found"), "{err}");
    std::fs::write(&path, &pristine).unwrap();

    // The last batch of a file is whole where more is known than the file.
    alter(&path, |bytes| bytes.truncate(bytes.len() - 3));
    let (out, _) = ends(3, &["verify", dir.to_str().unwrap()]);
    assert!(out.contains(&damage(at(3), "the batch of offsets 3 to 4 has ")), "{out}");
    let alone = dir.join("alone.log");
    std::fs::copy(&path, &alone).unwrap();
    let (out, _) = ends(0, &["verify", alone.to_str().unwrap()]);
    assert!(out.starts_with(&format!(
        "torn  {}  byte {}: the batch of offsets 3 to 4 has ",
        alone.display(),
        at(3)
    )));
    std::fs::write(&path, &pristine).unwrap();

    // An index that leads elsewhere, before an entry that is right.
    let index = path.with_extension("index");
    assert_eq!(std::fs::metadata(&index).unwrap().len(), 16, "two entries");
    alter(&index, |bytes| bytes[7] ^= 1);
    let (out, _) = ends(3, &["verify", dir.to_str().unwrap()]);
    let expected = format!("DAMAGE  {}  byte 0: it says that offset 2 is at byte ", index.display());
    assert!(out.contains(&expected), "{out}");
    let (out, _) = ends(0, &["dump", index.to_str().unwrap()]);
    assert_eq!(out.lines().nth(2), Some(&*format!("  offset 3  byte {}", at(3))));
}

#[test]
fn what_an_unclean_stop_leaves_is_torn_and_no_damage() {
    let mut dev = published(1, &["one", "two", "three"]);
    let dir = dev.dir(1);
    // Segments are written behind the write-ahead log; how much of it has come there by now makes no difference.
    let started = Instant::now();
    // The file is made in three steps, and a tool that is given a folder needs it.
    while std::fs::read_dir(dir.join("topics")).unwrap().next().is_none() || !segment(&dir).exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "no segment is written");
        std::thread::yield_now();
    }
    dev.end(Signal::KILL);
    let name = dir.to_str().unwrap();
    let (out, _) = ends(0, &["verify", name]);
    assert!(out.contains("no damage") && !out.contains("torn"), "{out}");
    // Whether they have reached a segment or not.
    assert_eq!(values(&batches(&partition(&dir))), ["one", "two", "three"]);

    // The round of the last record, cut as a power failure cuts it.
    let rounds = objects(&ends(0, &["dump", "--json", dir.join("wal").to_str().unwrap()]).0);
    let rounds: Vec<_> = rounds.iter().filter(|line| line["what"] == "round").collect();
    let appends = |round: &&&Value| round["entries"][0]["change"].as_str().unwrap().starts_with("append");
    let last = rounds.iter().rfind(appends).unwrap();
    let file = PathBuf::from(last["file"].as_str().unwrap());
    let at = last["at"].as_u64().unwrap();
    let from = usize::try_from(at).unwrap();
    // What came after it, too: nothing was written before it was synced.
    alter(&file, |bytes| bytes[from + 100..].fill(0));
    let (out, _) = ends(0, &["verify", file.to_str().unwrap()]);
    let torn = format!("torn  {}  byte {at}: a round was begun here and not finished", file.display());
    assert!(out.contains(&torn), "{out}");
    // A flipped bit with a sound round behind it is damage: that one was synced.
    let earlier = rounds.iter().find(|round| round["lsn"] != last["lsn"]).unwrap();
    let byte = earlier["at"].as_u64().unwrap();
    alter(&file, |bytes| bytes[usize::try_from(byte).unwrap() + 70] ^= 1);
    let (out, _) = ends(3, &["verify", file.to_str().unwrap()]);
    let damage = format!("DAMAGE  {}  byte {byte}: round {} ", file.display(), earlier["lsn"]);
    assert!(out.contains(&damage), "{out}");

    // Of two copies one may have been cut short.
    alter(&dir.join("identity.a"), |bytes| bytes.truncate(20));
    let (out, _) = ends(3, &["verify", name]);
    assert!(out.contains("identity.a  byte 0: it is not whole; the other copy counts"), "{out}");
    alter(&dir.join("identity.b"), |bytes| bytes[30] ^= 1);
    let (out, _) = ends(3, &["verify", name]);
    assert!(out.contains("identity.b  byte 0: it is not whole, and there is no other copy"), "{out}");
}

#[test]
fn two_replicas_are_the_same_until_one_is_not() {
    let mut dev = published(2, &["one", "two", "three", "four"]);
    dev.end(Signal::INT);
    let (a, b) = (partition(&dev.dir(1)), partition(&dev.dir(2)));
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    let (out, _) = ends(0, &["diff", a, b]);
    assert_eq!(out, "the same: offsets 0 to 4, 4 batches\nboth end at 4\n");

    let known = batches(Path::new(a));
    let at = |n: usize| usize::try_from(known[n]["at"].as_u64().unwrap()).unwrap();
    let other = dev.dir(2).join("copy");
    copy(Path::new(b), &other);
    let file = other.join("00000000000000000000.log");
    let other = other.to_str().unwrap();
    alter(&file, |bytes| bytes.truncate(at(3)));
    let (out, _) = ends(0, &["diff", a, other]);
    assert_eq!(
        out,
        "the same: offsets 0 to 3, 3 batches\nb ends at 3, a goes on to 4: b has not come so far\n"
    );
    // A batch of another term in the same place; the term is outside of its checksum.
    alter(&file, |bytes| bytes[at(2) + 15] += 1);
    let (out, err) = ends(3, &["diff", a, other]);
    assert!(out.starts_with("the same: offsets 0 to 2, 2 batches\na: "), "{out}");
    assert!(err.contains("they differ from offset 2 on"), "{err}");
    let heads: Vec<_> = out.lines().filter(|line| line.starts_with("  batch")).collect();
    let epoch = known[2]["leader_epoch"].as_u64().unwrap();
    assert!(heads[0].contains(&format!("base offset 2  leader epoch {epoch} ")), "{out}");
    assert!(heads[1].contains(&format!("base offset 2  leader epoch {} ", epoch + 1)), "{out}");
    let line = objects(&ends(3, &["diff", "--json", "--payload", a, other]).0).remove(0);
    assert_eq!((&line["diverge"]["offset"], &line["same_to"]), (&2.into(), &2.into()));
    assert_eq!(line["diverge"]["b"]["has"]["records"][0]["value"], "three");
    // Damage is a difference, and shown as what it is.
    alter(&file, |bytes| bytes[at(1) + 70] ^= 1);
    let (out, _) = ends(3, &["diff", a, other]);
    assert!(out.contains("\n  !! byte ") && out.contains("its checksum says"), "{out}");
}

#[test]
fn what_is_asked_wrongly_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none");
    let (_, err) = ends(4, &["dump", none.to_str().unwrap()]);
    assert!(err.contains("none is not there"), "{err}");
    let (_, err) = ends(2, &["dump", "x", "--offsets", "5"]);
    assert!(err.contains("5 is no range of offsets"), "{err}");
    let rubbish = folder.path().join("rubbish");
    std::fs::write(&rubbish, "rubbish").unwrap();
    let (_, err) = ends(1, &["verify", rubbish.to_str().unwrap()]);
    assert!(err.contains("rubbish is no file of a store"), "{err}");
    let (_, err) = ends(1, &["diff", folder.path().to_str().unwrap(), rubbish.to_str().unwrap()]);
    assert!(err.contains("is not one partition; name its folder, or a segment"), "{err}");
}
