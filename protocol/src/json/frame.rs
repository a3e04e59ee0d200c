use super::JsonMessage;
use crate::defaults::PROTOCOL_VERSION;
use crate::envelope::{self, EncodeError, Encoded};
use crate::error::{ErrorCode, WireError};
use crate::message::{KINDS, typed};
use crate::names::nearest;

impl JsonMessage {
    /// The frame that a client of this version sends for the message: it goes through the type of its kind
    /// and comes out as that type writes it.
    ///
    /// # Errors
    /// `UNKNOWN_KIND`, `UNSUPPORTED_VERSION`, or `BAD_REQUEST` that names the key: of a wrong type, missing,
    /// or none of this kind.
    pub fn to_frame(&self) -> Result<Encoded, WireError> {
        if self.version != PROTOCOL_VERSION {
            let what = format!("v: messages of version {} are not known here", self.version);
            return Err(WireError::new(ErrorCode::UnsupportedVersion, what));
        }
        let typed =
            typed(self.id, &self.kind, &self.body, self.bin.clone()).map_err(|error| {
                match nearest(&self.kind, KINDS.iter().map(|(kind, _)| *kind)) {
                    Some(near) if error.code == ErrorCode::UnknownKind => {
                        error.hint(format!("did you mean {near}?"))
                    }
                    _ => error,
                }
            })?;
        if let Some(key) = typed.unknown_keys.first() {
            let what = format!("{key}: {} has no such key", self.kind);
            return Err(WireError::bad_request(what));
        }
        typed.frame.map_err(|error| WireError::bad_request(error.to_string()))
    }

    /// The frame with the body as it was written, whatever the kind's type says about it.
    ///
    /// # Errors
    /// When it would be too long for a frame.
    pub fn to_frame_as_it_is(&self) -> Result<Encoded, EncodeError> {
        envelope::encode_packed(self.version, self.id, &self.kind, &self.body, vec![self.bin.clone()])
    }
}
