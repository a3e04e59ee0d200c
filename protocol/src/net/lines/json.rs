//! Lines of JSON: each is put into a frame and goes the frame's way from there.

use super::session::{error_kind, within};
use super::{End, TextSession, access_of, disabled};
use crate::envelope::{self, Kind};
use crate::error::WireError;
use crate::json;
use crate::net::intake::{Intake, refuse};
use crate::net::service::Service;
use bytes::Bytes;

impl TextSession {
    pub(super) async fn take_json<S: Service>(&mut self, service: &S, line: &[u8]) -> Result<(), End> {
        tokio::select! {
            biased;
            why = self.peer.cut_off() => return Err(End::Broken(why)),
            () = self.shutdown.cancelled() => return Err(End::Finishing("the server shuts down")),
            () = self.peer.room() => {}
        }
        match self.framed(line) {
            Ok(frame) => {
                let intake = Intake { peer: &self.peer, config: &self.config, service };
                match intake.take(frame, None).await {
                    Ok(()) => Ok(()),
                    Err(refused) => refused.tell(&self.peer).map_err(|loss| End::Refused(loss.to_string())),
                }
            }
            Err((id, kind, error)) => {
                refuse(&self.peer, id, &kind, &error);
                Ok(())
            }
        }
    }

    /// The message of a line as a frame, or what is wrong with it.
    fn framed(&self, line: &[u8]) -> Result<Bytes, (u64, Kind, WireError)> {
        let message = json::read_message(line).map_err(|error| (0, error_kind(), error))?;
        let kind = Kind::named(&message.kind);
        let refused = |error| (message.id, kind.clone(), error);
        if !self.access.allows(access_of(&kind)) {
            return Err(refused(disabled(&kind, self.access)));
        }
        let bin = vec![message.bin.clone()];
        let frame = envelope::encode_packed(message.version, message.id, &kind, &message.body, bin);
        let frame = frame.map_err(|error| refused(WireError::bad_request(error.to_string())))?;
        within(&frame, self.config.max_frame_bytes).map_err(refused)
    }
}
