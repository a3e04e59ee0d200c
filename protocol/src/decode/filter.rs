use super::frame::Frame;
use crate::envelope::walk::{Value, Walk};

/// Which frames are shown: `kind=publish,consume`, `topic=orders`, `id=7`. All of the named must agree;
/// of the values after one `=` one suffices.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    kinds: Vec<String>,
    topics: Vec<String>,
    ids: Vec<u64>,
}

/// The keys of record bodies, in which a topic's name means nothing.
const RECORDS: &[u8] = b"records";

impl Filter {
    /// Reads `name=value` words.
    ///
    /// # Errors
    /// A word that is none, with what there is.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut filter = Self::default();
        for word in words {
            let wrong = || format!("{word:?} is no filter; there are kind=, topic= and id=");
            let (name, values) = word.split_once('=').ok_or_else(wrong)?;
            let values = values.split(',').map(str::to_owned);
            match name {
                "kind" => filter.kinds.extend(values),
                "topic" => filter.topics.extend(values),
                "id" => {
                    for value in values {
                        filter.ids.push(value.parse().map_err(|_| format!("{value:?} is no id"))?);
                    }
                }
                _ => return Err(wrong()),
            }
        }
        Ok(filter)
    }

    /// Whether every frame passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a frame passes. One that names a topic in any string of its body, records aside, is about
    /// that topic; a name or an id may be asked for.
    #[must_use]
    pub fn passes(&self, frame: &Frame) -> bool {
        let Some((_, id, kind)) = &frame.head else { return self.is_empty() };
        (self.kinds.is_empty() || self.kinds.contains(kind))
            && (self.ids.is_empty() || self.ids.contains(id))
            && (self.topics.is_empty() || self.is_named_in(frame))
    }

    fn is_named_in(&self, frame: &Frame) -> bool {
        let Some(envelope) = &frame.envelope else { return false };
        let mut walk = Walk::new(&envelope.body, 0);
        while walk.left() > 0 {
            // The body is sound, so nothing fails; keys are compared too, and are no topics.
            match walk.value() {
                Ok(Value::Str(RECORDS)) => {
                    if walk.skip(0).is_err() {
                        return false;
                    }
                }
                Ok(Value::Str(text)) if self.topics.iter().any(|topic| topic.as_bytes() == text) => {
                    return true;
                }
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        false
    }
}
