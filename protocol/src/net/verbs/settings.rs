//! How the session answers.

use crate::error::WireError;
use crate::net::lines::{self, CommandError, Settings, TextSession};
use crate::text::{Command, Format, Status, UnknownFormat, switch as on_or_off};

type Outcome = Result<Status, CommandError>;

pub(super) fn format(session: &mut TextSession, command: &Command) -> Outcome {
    command.plain(1)?;
    let Some(word) = command.words.first() else {
        return Ok(Status::ok().with("format", session.format().to_string()));
    };
    let format: Format =
        word.parse().map_err(|error: UnknownFormat| WireError::bad_request(error.to_string()))?;
    session.set(|settings| settings.format = format);
    Ok(Status::ok().with("format", format.to_string()))
}

pub(super) fn switch(
    session: &mut TextSession,
    command: &Command,
    change: impl Fn(&mut Settings, bool),
) -> Outcome {
    command.plain(1)?;
    let word = command.word(0, "on or off")?;
    let on = on_or_off(&command.verb, word)?;
    session.set(|settings| change(settings, on));
    Ok(Status::said(format!("{} {}", command.verb.to_ascii_lowercase(), if on { "on" } else { "off" })))
}

pub(super) fn linger(session: &mut TextSession, command: &Command) -> Outcome {
    command.plain(1)?;
    let word = command.word(0, "a number of seconds")?;
    let wrong =
        || -> WireError { WireError::bad_request(format!("LINGER: {word} is not a number of seconds")) };
    let linger = lines::linger(word.parse().map_err(|_| wrong())?).ok_or_else(wrong)?;
    session.set(|settings| settings.linger = linger);
    Ok(Status::said(format!("linger {} s", linger.as_secs_f64())))
}

pub(super) fn oneshot(session: &mut TextSession, command: &Command) -> Outcome {
    command.plain(0)?;
    session.set(|settings| settings.oneshot = true);
    Ok(Status::said("oneshot"))
}
