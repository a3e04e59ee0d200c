//! Errors about values, told by where the value stands.

use super::resolve::{Origin, Resolved};
use super::table::Setting;
use super::{Stop, all_settings};
use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::error::Error as _;

/// About what was typed: as clap says it, but for values that may hold a password.
pub fn typed(cli: &Command, error: clap::Error) -> Stop {
    if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
        return Stop::Typed(error);
    }
    let settings = all_settings(cli);
    // Where a user stands, there may be a password.
    let with_user = matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(value)) if value.contains('@'));
    match about(&error).and_then(|flag| settings.iter().find(|one| one.flag == flag)) {
        Some(setting) if setting.secret || with_user => {
            Stop::Refused(vec![format!("--{} cannot be used: {}", setting.flag, why(&error, setting))])
        }
        _ => Stop::Typed(error),
    }
}

/// About what variables and the file say.
pub fn refused(settings: &[Resolved], error: &clap::Error) -> Stop {
    let named = about(error);
    let one = named.and_then(|flag| settings.iter().find(|one| one.setting.flag == flag));
    if let (Some(one), ErrorKind::InvalidValue | ErrorKind::ValueValidation) = (one, error.kind()) {
        return Stop::Refused(vec![format!("{} cannot be used: {}", one.said(), why(error, &one.setting))]);
    }
    // Two that exclude each other, say: where each is set is what helps.
    let text = error.render().to_string();
    let text = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let elsewhere =
        settings.iter().filter(|one| matches!(one.origin, Origin::Environment { .. } | Origin::File { .. }));
    let named = elsewhere.filter(|one| text.contains(&format!("--{}", one.setting.flag)));
    let places: Vec<_> =
        named.map(|one| format!("--{} is set by {}", one.setting.flag, one.origin)).collect();
    let places = if places.is_empty() { String::new() } else { format!(" ({})", places.join(", ")) };
    Stop::Refused(vec![format!("{text}{places}")])
}

/// The flag that an error is about, without dashes.
fn about(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(usage)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = usage.split_once("--")?.1;
    Some(flag.split([' ', '=', '[']).next().unwrap_or(flag).to_owned())
}

/// What is wrong with a value, and what is expected.
fn why(error: &clap::Error, setting: &Setting) -> String {
    let usage = setting.usage();
    let help = &setting.help;
    if let Some(ContextValue::Strings(choices)) = error.get(ContextKind::ValidValue)
        && !choices.is_empty()
    {
        return format!("there are {}; {usage}: {help}", choices.join(", "));
    }
    match error.source() {
        Some(source) => format!("{source}; {usage}: {help}"),
        None => format!("{usage}: {help}"),
    }
}
