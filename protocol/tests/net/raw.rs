//! A client without manners: it sends any bytes, and reads whatever frames come back.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use yak_protocol::defaults::FRAME_BYTES_MAX;
use yak_protocol::envelope::{Envelope, decode, encode, refusal};
use yak_protocol::error::WireError;
use yak_protocol::frame::FrameCodec;
use yak_protocol::message::{Hello, Message};

pub struct Raw {
    pub stream: TcpStream,
    buffer: BytesMut,
    codec: FrameCodec,
}

/// A `hello` as it travels.
pub fn hello(id: u64, client: &str) -> Vec<u8> {
    let hello = Hello { client: client.into(), ..Hello::default() };
    encode(1, id, Hello::KIND, &hello, vec![]).unwrap().to_bytes().to_vec()
}

/// These bytes as a frame.
pub fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length[..], bytes].concat()
}

impl Raw {
    pub async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self { stream, buffer: BytesMut::new(), codec: FrameCodec::new(FRAME_BYTES_MAX) }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Envelope> {
        loop {
            if let Some(frame) = self.codec.next_frame(&mut self.buffer).unwrap() {
                return Some(decode(frame).unwrap());
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap() == 0 {
                assert!(self.buffer.is_empty(), "cut off within a frame");
                return None;
            }
        }
    }

    /// The next frame is a refusal.
    pub async fn refused(&mut self) -> (u64, String, WireError) {
        let envelope = self.next().await.expect("a refusal");
        let error = refusal(&envelope.body).expect("a refusal");
        (envelope.id, envelope.kind.to_string(), error)
    }

    /// The connection still works.
    pub async fn lives(&mut self) {
        self.send(&hello(4242, "")).await;
        let envelope = self.next().await.expect("an answer");
        assert_eq!((envelope.id, refusal(&envelope.body)), (4242, None));
    }
}
