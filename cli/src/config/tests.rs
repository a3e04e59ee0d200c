//! Every setting, by every way of setting it: whatever is added to the commands is tried here, too.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use super::table::{GLOBAL, Kind, SECTIONS, Section, Setting};
use super::*;
use crate::arguments::Cli;
use clap::CommandFactory as _;
use clap::error::ErrorKind;
use std::fmt::Write as _;

fn cli() -> Command {
    prepare(Cli::command())
}

/// What is typed to start the command of a section.
fn command(section: &str) -> Vec<OsString> {
    let words: &[&str] = match section {
        GLOBAL => &["yak", "cluster", "info"],
        "produce" => &["yak", "produce", "t"],
        other => &["yak", other],
    };
    words.iter().map(OsString::from).collect()
}

/// The n-th value that the setting takes.
fn sample(setting: &Setting, n: usize) -> String {
    if setting.kind == Kind::Switch {
        return n.is_multiple_of(2).to_string();
    }
    if !setting.choices.is_empty() {
        return setting.choices[n % setting.choices.len()].clone();
    }
    let some = |values: &[&str]| values[n % values.len()].to_owned();
    match setting.value_name.as_str() {
        "HOST:PORT" | "HOST:PORT,.." | "HOST[:PORT],.." => format!("10.0.0.{n}:9700"),
        // A lease is twice as long as the time between its renewals.
        "SECONDS" if setting.id == "renew_interval_seconds" => format!("0.{}", n + 1),
        "SECONDS" => format!("{}.5", n + 1),
        "N" => (n + 1).to_string(),
        "PORT" => (9700 + n).to_string(),
        "DIR" => format!("/data/{n}"),
        "NAME" => format!("name-{n}"),
        "URL" => format!("redis://host:{}", 7000 + n),
        "LEVEL" => some(&["full", "readonly", "words", "off"]),
        "NAME,.." => some(&["mntr", "TOPICS", "ruok"]),
        "CODEC" => some(&["none", "gzip", "snappy", "lz4", "zstd"]),
        "NAME=VALUE" => format!("linger_ms={n}"),
        other => panic!("{}: a sample of {other} is missing here", setting.usage()),
    }
}

/// Somebody who may set it.
enum Way {
    File,
    Variable(String),
    Flag,
}

/// From the weakest to the strongest, as docs/CONFIG.md says.
fn ways(setting: &Setting) -> Vec<Way> {
    let seeds = setting.seeds.iter().rev().map(|seed| Way::Variable(seed.name.to_owned()));
    let own = [Way::Variable(setting.variable()), Way::Flag];
    std::iter::once(Way::File).chain(seeds).chain(own).collect()
}

fn in_file(setting: &Setting, value: &str) -> String {
    let value = if setting.kind == Kind::Switch { value.to_owned() } else { format!("{value:?}") };
    match setting.section {
        GLOBAL => format!("{} = {value}\n", setting.flag),
        section => format!("[{section}]\n{} = {value}\n", setting.flag),
    }
}

#[test]
fn every_setting_is_heard_from_the_strongest_of_those_who_set_it() {
    let cli = cli();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("yak.toml");
    for setting in all_settings(&cli) {
        let ways = ways(&setting);
        for subset in 1..1 << ways.len() {
            let is_set = |n: usize| subset & (1 << n) != 0;
            let mut typed = command(setting.section);
            let mut variables = vec![(CONFIG_VARIABLE.to_owned(), path.to_str().unwrap().to_owned())];
            std::fs::write(&path, "").unwrap();
            let mut strongest = None;
            for (n, way) in ways.iter().enumerate().filter(|(n, _)| is_set(*n)) {
                let value = sample(&setting, n);
                let origin = match way {
                    Way::File => {
                        std::fs::write(&path, in_file(&setting, &value)).unwrap();
                        let line = if setting.section == GLOBAL { 1 } else { 2 };
                        Origin::File { path: path.clone(), line }
                    }
                    Way::Variable(variable) => {
                        variables.push((variable.clone(), value.clone()));
                        Origin::Environment { variable: variable.clone() }
                    }
                    Way::Flag => {
                        typed.push(format!("--{}={value}", setting.flag).into());
                        Origin::CommandLine
                    }
                };
                strongest = Some((origin, value));
            }
            let (origin, value) = strongest.unwrap();
            let told = configure(&cli, &typed, &variables.into_iter().collect())
                .unwrap_or_else(|stop| panic!("{typed:?}: {stop:?}"));
            let case = format!("{} {} {subset:b}", setting.section, setting.flag);
            let one = told.settings.iter().find(|one| one.setting.flag == setting.flag).unwrap();
            assert_eq!((&one.origin, one.text()), (&origin, value.clone()), "{case}");
            assert_eq!(one.unheard.len() + 1, (0..ways.len()).filter(|n| is_set(*n)).count(), "{case}");
            // What the command gets is what is shown.
            let (innermost, _) = innermost(&told.matches);
            let got: Vec<_> = innermost.get_raw(&setting.id).unwrap().collect();
            assert_eq!(got, [value.as_str()], "{case}");
        }
    }
}

#[test]
fn what_nobody_sets_has_its_default() {
    for section in SECTIONS {
        let told = configure(&cli(), &command(section.name), &Environment::default()).unwrap();
        for one in &told.settings {
            assert_eq!(one.origin, Origin::Default, "{}", one.setting.flag);
            assert_eq!(one.values.first(), one.setting.default.as_ref(), "{}", one.setting.flag);
        }
        assert_eq!(told.sources(), Sources::new());
        assert_eq!(told.notes, Vec::<String>::new());
    }
}

#[test]
fn every_setting_has_a_variable_and_a_help_of_its_own() {
    let all = all_settings(&cli());
    let mut variables: Vec<_> = all.iter().map(Setting::variable).collect();
    variables.extend(seeds::SEEDS.iter().map(|seed| seed.name.to_owned()));
    variables.push(CONFIG_VARIABLE.to_owned());
    let count = variables.len();
    variables.sort();
    variables.dedup();
    assert_eq!(variables.len(), count, "two have one name");
    for setting in &all {
        assert!(!setting.help.is_empty() && !setting.help.contains("[env"), "{}", setting.flag);
    }
    for seed in &seeds::SEEDS {
        if let seeds::Does::Sets(sections, id) = seed.does {
            for section in sections {
                let is_there = all.iter().any(|one| one.section == *section && one.id == id);
                assert!(is_there, "{} sets {id} of {section}, which is not there", seed.name);
            }
        }
    }
}

fn refusal(section: &str, flags: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut environment: Vec<_> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    if let Some(text) = file {
        let path = dir.path().join("yak.toml");
        std::fs::write(&path, text).unwrap();
        environment.push((CONFIG_VARIABLE.to_owned(), path.to_str().unwrap().to_owned()));
    }
    let mut typed = command(section);
    typed.extend(flags.iter().map(OsString::from));
    match configure(&cli(), &typed, &environment.into_iter().collect()) {
        Ok(told) => panic!("{variables:?} {file:?}: {:?}", told.settings),
        Err(Stop::Typed(error)) => error.to_string(),
        Err(Stop::Refused(lines)) => lines.join("\n"),
    }
}

#[test]
fn a_bad_value_is_told_by_where_it_stands_what_it_is_and_what_is_wanted() {
    for (section, variables, file, expected) in [
        (
            "coordinator",
            &[("LEASE_TIME_SECONDS", "soon")] as &[_],
            None,
            &["LEASE_TIME_SECONDS=soon", "0.5", "--lease-time-seconds <SECONDS>", "How long"] as &[_],
        ),
        ("broker", &[("RENEW_INTERVAL_SECONDS", "-1")], None, &["RENEW_INTERVAL_SECONDS=-1", "between 0.01"]),
        ("coordinator", &[("DEFAULT_PARTITIONS", "0")], None, &["DEFAULT_PARTITIONS=0", "1.."]),
        (
            "coordinator",
            &[("DEFAULT_PARTITIONS", "many")],
            None,
            &["DEFAULT_PARTITIONS=many", "Partitions of"],
        ),
        (GLOBAL, &[("BROKER_URLS", "https://kiwi")], None, &["BROKER_URLS=https://kiwi", "TLS"]),
        (GLOBAL, &[("BROKER_URLS", "http://kiwi:0")], None, &["BROKER_URLS=http://kiwi:0", "host:port"]),
        ("coordinator", &[], Some("[coordinator]\npeers = []"), &["yak.toml:2", "something in it"]),
        ("coordinator", &[("YAK_COORDINATOR_PEERS", "kiwi:0")], None, &["kiwi:0", "port 0"]),
        (GLOBAL, &[("YAK_OUTPUT", "xml")], None, &["YAK_OUTPUT=xml", "table, json"]),
        ("broker", &[("YAK_BROKER_INSECURE", "maybe")], None, &["YAK_BROKER_INSECURE=maybe"]),
        ("broker", &[("YAK_BROKER_LISTEN", "kiwi")], None, &["YAK_BROKER_LISTEN=kiwi", "host:port"]),
        ("broker", &[("YAK_BROKER_ON_LEASE_LOSS", "x")], None, &["YAK_BROKER_ON_LEASE_LOSS=x", "step-down"]),
        ("dev", &[], Some("[dev]\nnodes = 0"), &["yak.toml:2: nodes = 0", "1..=99"]),
        ("dev", &[], Some("\n[dev]\n\nbase-port = 70000"), &["yak.toml:4: base-port = 70000"]),
        ("produce", &[], Some("[produce]\nsetting = ['lingers=1']"), &["yak.toml:2", "linger_ms"]),
        ("produce", &[], Some("[produce]\ncompression = 'rar'"), &["yak.toml:2", "snappy"]),
    ] {
        let said = refusal(section, &[], variables, file);
        for part in expected {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_file_names_only_what_there_is_and_says_the_line() {
    for (text, expected) in [
        (
            "[broker]\nlistne = 'a:1'",
            &["yak.toml:2: there is no setting listne in [broker]", "mean listen?"] as &[_],
        ),
        ("[broker]\nnodes = 3", &["yak.toml:2", "belongs in [dev]"]),
        ("listen = 'a:1'", &["yak.toml:1", "belongs in [coordinator] or in [broker]"]),
        ("[dev]\nbrokers = ['a:1']", &["yak.toml:2", "belongs above the sections"]),
        ("zebra = 1", &["yak.toml:1: there is no setting zebra above the sections", "yak config list"]),
        ("[brokre]\nlisten = 'a:1'", &["yak.toml:1: there is no section [brokre]", "mean [broker]?"]),
        ("broker = 1", &["yak.toml:1: broker is a section"]),
        ("[broker]\nlisten = 1979-05-27", &["yak.toml:2: listen is a text or a number", "Where to listen"]),
        ("[broker]\ninsecure = 'yes'", &["yak.toml:2: insecure is true or false"]),
        ("[dev]\nclean = true", &["yak.toml:2: there is no setting clean"]),
        ("[coordinator]\nlease-time-seconds = 3\nlease_time_seconds = 4", &["a second time"]),
        ("[broker]\nlisten = ", &["yak.toml:2: "]),
        (
            "[broker]\na = 1\nb = 2",
            &["yak.toml:2: there is no setting a", "yak.toml:3: there is no setting b"],
        ),
    ] {
        let said = refusal("dev", &[], &[], Some(text));
        for part in expected {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let missing = refusal("dev", &["--config", "/no/such.toml"], &[], None);
    assert!(missing.contains("cannot read the settings in /no/such.toml"), "{missing}");
}

#[test]
fn keys_may_have_underscores_and_numbers_need_no_quotes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("yak.toml");
    let text = "output = 'json'\n[coordinator]\nlease_time_seconds = 1_0\nrenew-interval-seconds = 0.25\n\
                peers = ['a:1', 'b:1']\ndefault_partitions = 0x10\n[broker]\nrack = ''\n";
    std::fs::write(&path, text).unwrap();
    let variables = [(CONFIG_VARIABLE.to_owned(), path.to_str().unwrap().to_owned())];
    let told = configure(&cli(), &command("coordinator"), &variables.into_iter().collect()).unwrap();
    let value = |flag: &str| told.settings.iter().find(|one| one.setting.flag == flag).unwrap().text();
    let all =
        ["output", "lease-time-seconds", "renew-interval-seconds", "peers", "default-partitions"].map(value);
    assert_eq!(all, ["json", "10", "0.25", "a:1,b:1", "16"]);
    assert_eq!(check(&cli(), &path).unwrap().entries.len(), 6);
}

#[test]
fn a_check_finds_all_that_is_wrong_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("yak.toml");
    let text = "output = 'xml'\n[coordinator]\nlease-time-seconds = 'x'\ndefault-partitions = 0\n[dev]\nnodes = 100\n\
                [produce]\nacks = 'most'\n[broker]\npeers = 'a:1'\nlease-backend = 'redis'\n";
    std::fs::write(&path, text).unwrap();
    let wrong = check(&cli(), &path).unwrap_err();
    for line in [1, 3, 4, 6, 8] {
        assert!(wrong.iter().any(|what| what.contains(&format!("yak.toml:{line}: "))), "{line}: {wrong:#?}");
    }
    let both = wrong.iter().find(|what| what.contains("cannot be used with")).unwrap();
    assert!(both.contains("yak.toml:10") && both.contains("yak.toml:11"), "{both}");
    assert_eq!(wrong.len(), 6, "{wrong:#?}");

    // Keys that there are not hide no values.
    std::fs::write(
        &path,
        "[broker]\nrak = 'n'\n[coordinator]\nrenew-interval-seconds = 2\n[dev]\nnodes = 0\n",
    )
    .unwrap();
    let wrong = check(&cli(), &path).unwrap_err();
    for line in [2, 4, 6] {
        assert!(wrong.iter().any(|what| what.contains(&format!("yak.toml:{line}: "))), "{line}: {wrong:#?}");
    }
}

#[test]
fn what_excludes_each_other_is_told_with_both_places() {
    let said = refusal(
        "coordinator",
        &[],
        &[("LEASE_BACKEND", "redis")],
        Some("[coordinator]\npeers = ['127.0.0.1:9700']"),
    );
    for part in ["cannot be used with", "--lease-backend is set by environment LEASE_BACKEND", "yak.toml:2"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn what_is_switched_on_can_be_switched_off_by_whoever_is_stronger() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("yak.toml");
    std::fs::write(&path, "[broker]\ninsecure = true\n").unwrap();
    let file = (CONFIG_VARIABLE.to_owned(), path.to_str().unwrap().to_owned());
    let insecure = |flags: &[&str], variable: &str| {
        let mut typed = command("broker");
        typed.extend(flags.iter().map(OsString::from));
        let own = ("YAK_BROKER_INSECURE".to_owned(), variable.to_owned());
        let told = configure(&cli(), &typed, &[file.clone(), own].into_iter().collect()).unwrap();
        *innermost(&told.matches).0.get_one::<bool>("insecure").unwrap()
    };
    assert!(insecure(&[], ""));
    assert!(!insecure(&[], "off"));
    assert!(insecure(&["--insecure"], "off"));
    assert!(!insecure(&["--insecure=false"], "yes"));
}

fn notes(section: &str, flags: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut typed = command(section);
    typed.extend(flags.iter().map(OsString::from));
    configure(&cli(), &typed, &variables.collect()).unwrap().notes
}

#[test]
fn variables_of_before_that_set_nothing_are_answered_once_each() {
    for (section, flags, variable, expected) in [
        ("broker", &[] as &[&str], ("FOLLOWER_URL", "http://b:5002"), Some("--default-replicas")),
        ("coordinator", &[], ("FOLLOWER_URL", "http://b:5002"), Some("yak broker")),
        ("broker", &[], ("BROKER_URLS", "http://a:5001"), Some("is for clients")),
        ("broker", &[], ("BROKER_NODES", "http://a:5001"), Some("--coordinator")),
        ("dev", &[], ("BROKER_URLS", "http://a:5001"), Some("its own brokers")),
        ("coordinator", &[], ("BROKER_URLS", "https://a"), Some("is for clients")),
        ("broker", &[], ("FLASK_RUN_PORT", "5002"), Some("--listen")),
        ("broker", &[], ("PORT", "5002"), Some("--listen")),
        ("coordinator", &[], ("PORT", "5002"), None),
        ("dev", &[], ("PORT", "5002"), None),
        ("broker", &[], ("IDEMPOTENCE_EXPIRY_SECONDS", "60"), Some("msg_id")),
        ("broker", &[], ("LEASE_TIME_SECONDS", "9"), Some("yak coordinator --lease-time-seconds")),
        ("broker", &["--coordinator", "embedded"], ("LEASE_TIME_SECONDS", "9"), None),
        ("coordinator", &[], ("LEASE_TIME_SECONDS", "9"), None),
        ("dev", &[], ("DEFAULT_PARTITIONS", "9"), Some("yak dev")),
        ("broker", &[], ("BROKER_ID", "b"), None),
        ("coordinator", &[], ("BROKER_ID", "b"), None),
        ("coordinator", &[], ("REDIS_HOST", "cache"), Some("--lease-backend redis")),
        ("coordinator", &["--lease-backend", "redis"], ("REDIS_HOST", "cache"), None),
        ("broker", &[], ("REDIS_HOST", "cache"), Some("--coordinator embedded --lease-backend redis")),
        ("coordinator", &[], ("REDIS_PASSWORD", "hunter2"), None),
        ("produce", &[], ("FOLLOWER_URL", "http://b:5002"), None),
        ("produce", &[], ("BROKER_URLS", "http://a:5001"), None),
        ("broker", &[], ("YAK_BROKER_LISTNE", "a:1"), Some("did you mean YAK_BROKER_LISTEN?")),
        ("broker", &[], ("YAK_BROKER_SERVICE_HOST", "10.0.0.1"), None),
        ("broker", &[], ("YAK_BROKER_PORT_9701_TCP_ADDR", "10.0.0.1"), None),
    ] {
        let said = notes(section, flags, &[variable]);
        match expected {
            None => assert_eq!(said, Vec::<String>::new(), "{section} {variable:?}"),
            Some(part) => {
                assert_eq!(said.len(), 1, "{said:?}");
                assert!(said[0].starts_with(variable.0) && said[0].contains(part), "{said:?}");
            }
        }
    }
}

#[test]
fn a_word_that_is_no_flag_is_left_alone() {
    let typed: Vec<OsString> = ["yak", "produce", "t", "--", "x"].iter().map(OsString::from).collect();
    let variables = [("YAK_PRODUCE_ACKS".to_owned(), "none".to_owned())];
    match configure(&cli(), &typed, &variables.into_iter().collect()) {
        Err(Stop::Typed(error)) => assert_eq!(error.kind(), ErrorKind::UnknownArgument, "{error}"),
        other => panic!("{other:?}"),
    }
    let told = configure(&cli(), &command("produce"), &Environment::default()).unwrap();
    assert!(told.explain("cannot listen on x").is_none());
    let list: Vec<OsString> = ["yak", "broker", "list"].iter().map(OsString::from).collect();
    let variables = [("BROKER_ID".to_owned(), "b2".to_owned()), ("PORT".to_owned(), "1".to_owned())];
    let told = configure(&cli(), &list, &variables.into_iter().collect()).unwrap();
    assert!(told.notes.is_empty() && told.settings.iter().all(|one| one.setting.section == GLOBAL));
}

#[test]
fn an_error_that_repeats_a_value_is_told_with_who_set_it() {
    let variables = [("YAK_BROKER_LISTEN".to_owned(), "10.9.8.7:1".to_owned())];
    let told = configure(&cli(), &command("broker"), &variables.into_iter().collect()).unwrap();
    let said = told.explain("10.9.8.7:1 is not an address of this machine").unwrap();
    assert_eq!(said, "--listen is set by environment YAK_BROKER_LISTEN");
}

mod refusals;

/// The tables of docs/CONFIG.md.
fn reference() -> String {
    let mut out = String::new();
    let cli = cli();
    for section in SECTIONS {
        let title = match section.name {
            GLOBAL => "Every command, above the sections of the file".to_owned(),
            name => format!("`yak {name}`, section `[{name}]`"),
        };
        let _ =
            write!(out, "### {title}\n\n| flag and key | variables | default | what |\n|---|---|---|---|\n");
        for setting in section.settings(&cli) {
            let seeds = setting.seeds.iter().map(|seed| seed.name.to_owned());
            let variables: Vec<_> = std::iter::once(setting.variable()).chain(seeds).collect();
            let choices = setting.choices.join("`, `");
            let choices = if choices.is_empty() { choices } else { format!(" (`{choices}`)") };
            let default = match setting.default.as_deref() {
                None | Some("") => String::new(),
                Some(words) if words.starts_with('(') => words.trim_matches(['(', ')']).to_owned(),
                Some(value) => format!("`{value}`"),
            };
            let _ = writeln!(
                out,
                "| `{}` | `{}` | {default} | {}{choices} |",
                setting.flag,
                variables.join("`, `"),
                setting.help.replace('\n', " ").replace('|', "\\|"),
            );
        }
        out.push('\n');
    }
    out
}

#[test]
fn the_reference_is_the_one_of_the_commands() {
    const BEGIN: &str = "<!-- generated: UPDATE=1 cargo test --workspace --bin yak reference -->\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIG.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, found) = text.split_once(BEGIN).unwrap();
    let wanted = reference();
    let wanted = wanted.trim_end();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{wanted}\n")).unwrap();
    } else {
        assert_eq!(found.trim_end(), wanted, "docs/CONFIG.md is old: run this test with UPDATE=1");
    }
    // Every name of before is explained there.
    for seed in &seeds::SEEDS {
        assert!(before.contains(&format!("`{}`", seed.name)), "{} is not in docs/CONFIG.md", seed.name);
    }
}

#[test]
fn sections_are_commands() {
    let cli = cli();
    for name in Section::commands() {
        assert!(cli.find_subcommand(name).is_some(), "{name}");
        assert!(!Section::named(name).unwrap().settings(&cli).is_empty(), "{name}");
    }
}
