//! Moves of the log start that are on their way to the disk, and who waits for them.

use tokio::sync::oneshot;
use yak_core::partition::OpSeq;
use yak_protocol::error::WireError;
use yak_protocol::ids::Offset;

/// Where the answer goes: the log start that is on disk.
pub(crate) type TrimAnswer = oneshot::Sender<Result<Offset, WireError>>;

/// See the module.
#[derive(Default)]
pub(super) struct Trims {
    last: Option<OpSeq>,
    waiting: Vec<(OpSeq, TrimAnswer)>,
}

impl Trims {
    /// A move was submitted.
    pub(super) fn moved(&mut self, seq: OpSeq) {
        self.last = Some(seq);
    }

    /// Answers once everything that has been submitted so far is on disk.
    pub(super) fn wait(&mut self, answer: TrimAnswer, log_start: Offset) {
        match self.last {
            Some(seq) => self.waiting.push((seq, answer)),
            None => {
                let _ = answer.send(Ok(log_start));
            }
        }
    }

    /// Everything up to `seq` is on disk; says whether the last move is.
    pub(super) fn synced(&mut self, seq: OpSeq, log_start: Offset) -> bool {
        for (_, answer) in self.waiting.extract_if(.., |(waits, _)| *waits <= seq) {
            // Whoever asked may have gone.
            let _ = answer.send(Ok(log_start));
        }
        self.last.take_if(|last| *last <= seq).is_some()
    }

    /// The disk has refused `seq` and what followed.
    pub(super) fn failed(&mut self, seq: OpSeq, error: &WireError) {
        for (_, answer) in self.waiting.extract_if(.., |(waits, _)| *waits >= seq) {
            let _ = answer.send(Err(error.clone()));
        }
        self.last.take_if(|last| *last >= seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yak_protocol::error::ErrorCode;

    #[test]
    fn who_waits_hears_of_the_disk() {
        let mut trims = Trims::default();
        let wait = |trims: &mut Trims| {
            let (answer, heard) = oneshot::channel();
            trims.wait(answer, Offset(1));
            heard
        };
        let mut at_once = wait(&mut trims);
        assert_eq!(at_once.try_recv().expect("answered").expect("well"), Offset(1));
        trims.moved(OpSeq(3));
        let mut first = wait(&mut trims);
        trims.moved(OpSeq(5));
        let mut second = wait(&mut trims);
        assert!(!trims.synced(OpSeq(4), Offset(10)));
        assert_eq!(first.try_recv().expect("answered").expect("well"), Offset(10));
        assert!(second.try_recv().is_err());
        trims.failed(OpSeq(5), &WireError::new(ErrorCode::StorageFull, "no space"));
        assert!(second.try_recv().expect("answered").is_err());
        assert!(!trims.synced(OpSeq(6), Offset(10)));
        trims.moved(OpSeq(7));
        assert!(trims.synced(OpSeq(7), Offset(12)));
    }
}
