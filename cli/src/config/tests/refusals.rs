//! What is refused without a secret, and what by name.

use super::*;

#[test]
fn a_password_is_in_no_refusal() {
    let wrong = "redis://user:hunter2@host/x?nonsense=1";
    let typed = refusal("coordinator", &[&format!("--lease-backend={wrong}")], &[], None);
    let set = refusal("coordinator", &[], &[("YAK_COORDINATOR_LEASE_BACKEND", wrong)], None);
    let filed = refusal("broker", &[], &[], Some(&format!("[broker]\nlease-backend = '{wrong}'")));
    for said in [typed, set, filed] {
        assert!(said.contains("redis://[user:password@]host"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let user = "http://u:hunter2@kiwi";
    for said in [
        refusal(GLOBAL, &[], &[("BROKER_URLS", user)], None),
        refusal(GLOBAL, &[&format!("--brokers={user}")], &[], None),
        notes("broker", &[], &[("FOLLOWER_URL", user)]).join(""),
    ] {
        assert!(said.contains("kiwi") || said.contains("--brokers"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn what_excludes_what_was_typed_is_named_although_it_is_secret() {
    let said =
        refusal("coordinator", &["--lease-backend=redis://u:hunter2@h", "--peers=127.0.0.1:9700"], &[], None);
    assert!(said.contains("cannot be used with") && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_variable_that_is_no_text_is_refused_by_name() {
    use std::os::unix::ffi::OsStringExt as _;
    let odd = |name: &str| {
        Environment::from_os([(OsString::from(name), OsString::from_vec(vec![b'n', 0xff]))].into_iter())
    };
    for name in ["BROKER_ID", "YAK_BROKER_RACK", "REDIS_PASSWORD", "YAK_CONFIG", "YAK_OUTPUT"] {
        match configure(&cli(), &command("broker"), &odd(name)) {
            Err(Stop::Refused(said)) => {
                assert!(said[0].starts_with(name) && said[0].contains("not UTF-8"), "{said:?}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(configure(&cli(), &command("dev"), &odd("BROKER_ID")).is_ok());
}

#[test]
fn a_lease_that_is_too_short_for_its_renewals_is_told_with_both() {
    for (section, flags, variable, expected) in [
        (
            "coordinator",
            &[] as &[&str],
            "RENEW_INTERVAL_SECONDS",
            &["RENEW_INTERVAL_SECONDS=5", "--lease-time-seconds 3 (default)"] as &[_],
        ),
        ("broker", &["--coordinator=embedded"], "RENEW_INTERVAL_SECONDS", &["RENEW_INTERVAL_SECONDS=5"]),
        (
            "coordinator",
            &["--lease-time-seconds=9"],
            "YAK_COORDINATOR_RENEW_INTERVAL_SECONDS",
            &["--lease-time-seconds 9", "YAK_COORDINATOR_RENEW_INTERVAL_SECONDS=5"],
        ),
    ] {
        let said = refusal(section, flags, &[(variable, "5")], None);
        assert!(expected.iter().all(|part| said.contains(part)), "{said}");
    }
    // It is not this broker's to know.
    assert_eq!(notes("broker", &[], &[("RENEW_INTERVAL_SECONDS", "5")]).len(), 1);
    assert!(
        notes("coordinator", &["--lease-time-seconds=10"], &[("RENEW_INTERVAL_SECONDS", "5")]).is_empty()
    );
}
