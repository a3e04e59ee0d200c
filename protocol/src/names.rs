//! Which names a topic may have, and which existing one somebody may have meant.

use crate::error::{ErrorCode, WireError};

/// The longest topic name, in bytes.
pub const TOPIC_NAME_BYTES_MAX: usize = 200;

/// Checks the name of a topic that a user makes: `^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`.
///
/// # Errors
/// `ILLEGAL_TOPIC_NAME`, saying which rule it breaks.
pub fn check_topic(name: &str) -> Result<(), WireError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let what = if name.is_empty() {
        "a topic needs a name".to_owned()
    } else if name.len() > TOPIC_NAME_BYTES_MAX {
        format!("the name has {} bytes, at most {TOPIC_NAME_BYTES_MAX} are allowed", name.len())
    } else if name == "." || name == ".." {
        format!("{name:?} is not a name")
    } else if name.starts_with("__") {
        format!("{name:?}: names that begin with two underscores are reserved")
    } else if let Some(other) = name.chars().find(|c| !u8::try_from(*c).is_ok_and(legal)) {
        format!("{name:?} contains {other:?}")
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        format!("{name:?} does not begin with a letter or digit")
    } else {
        return Ok(());
    };
    Err(WireError::new(ErrorCode::IllegalTopicName, what)
        .hint("letters, digits, '.', '_' and '-', beginning with a letter or digit, 200 at most"))
}

/// Whether a topic of this name is the brokers' own: clients may read it, and not change it.
#[must_use]
pub fn is_internal(topic: &str) -> bool {
    topic.starts_with("__")
}

/// Refuses to change what is the brokers' own.
///
/// # Errors
/// `INTERNAL_TOPIC`.
pub fn check_not_internal(topic: &str) -> Result<(), WireError> {
    if !is_internal(topic) {
        return Ok(());
    }
    let what = format!("{topic} is the brokers' own: nobody else writes to it, deletes it or changes it");
    Err(WireError::new(ErrorCode::InternalTopic, what)
        .hint("topics that begin with two underscores are kept by the brokers; they can be read"))
}

/// Checks the name of a consumer group: the rules for topics.
///
/// # Errors
/// `BAD_REQUEST`, saying which rule it breaks.
pub fn check_group(name: &str) -> Result<(), WireError> {
    check_topic(name).map_err(|error| {
        WireError::bad_request(format!("the group's name: {}", error.message))
            .hint("letters, digits, '.', '_' and '-', beginning with a letter or digit, 200 at most")
    })
}

/// The candidate that `name` was most likely meant to be: the fewest insertions, deletions,
/// replacements and swaps of neighbours away (case does not count), but at most a third of its length.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer ones are no typing errors, and the comparison is quadratic.
    if name.len() > TOPIC_NAME_BYTES_MAX {
        return None;
    }
    let wanted = folded(name);
    let bound = (wanted.len() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= bound * 4)
        .map(|candidate| (distance(&wanted, &folded(candidate)), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min()
        .map(|(_, candidate)| candidate)
}

fn folded(name: &str) -> Vec<char> {
    name.chars().map(|c| c.to_ascii_lowercase()).collect()
}

/// Edit distance with swaps of neighbours (optimal string alignment), row by row.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut row = last.clone();
    for i in 1..=a.len() {
        row[0] = i;
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        std::mem::swap(&mut before, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_names() {
        let longest = "x".repeat(200);
        for name in ["a", "0", "orders", "Orders.v2_eu-west", "a..b", "a__b", longest.as_str()] {
            assert_eq!(check_topic(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn illegal_names_say_why() {
        let too_long = "x".repeat(201);
        let much_too_long = "é".repeat(250);
        for (name, why) in [
            ("", "needs a name"),
            (".", "not a name"),
            ("..", "not a name"),
            ("../etc", "contains '/'"),
            ("a/b", "contains '/'"),
            ("a b", "contains ' '"),
            ("a\0b", "contains '\\0'"),
            ("tschüß", "contains 'ü'"),
            ("a\n", "contains '\\n'"),
            ("__offsets", "reserved"),
            ("_a", "begin with a letter"),
            ("-a", "begin with a letter"),
            (".a", "begin with a letter"),
            (too_long.as_str(), "201 bytes"),
            (much_too_long.as_str(), "500 bytes"),
        ] {
            let error = check_topic(name).expect_err(name);
            assert_eq!(error.code, ErrorCode::IllegalTopicName);
            assert!(error.message.contains(why), "{name:?}: {}", error.message);
        }
    }

    #[test]
    fn nearest_is_what_was_meant() {
        let topics = ["orders", "payments", "order-items", "a", "Users"];
        let meant = |name| nearest(name, topics);
        assert_eq!(meant("ordres"), Some("orders"));
        assert_eq!(meant("order"), Some("orders"));
        assert_eq!(meant("paymnets"), Some("payments"));
        assert_eq!(meant("users"), Some("Users"));
        assert_eq!(meant("order_items"), Some("order-items"));
        assert_eq!(meant("b"), Some("a"));
        assert_eq!(meant("invoices"), None);
        assert_eq!(meant(&"x".repeat(5000)), None);
        assert_eq!(nearest("orders", []), None);
    }

    #[test]
    fn distances() {
        let between = |a: &str, b: &str| distance(&folded(a), &folded(b));
        assert_eq!(between("", ""), 0);
        assert_eq!(between("", "abc"), 3);
        assert_eq!(between("abc", ""), 3);
        assert_eq!(between("kitten", "sitting"), 3);
        assert_eq!(between("ab", "ba"), 1);
        assert_eq!(between("ABC", "abc"), 0);
    }
}
