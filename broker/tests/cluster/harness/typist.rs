//! Somebody who types.

use super::PATIENCE;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub struct Typist {
    stream: BufReader<TcpStream>,
}

impl Typist {
    pub async fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        Self { stream: BufReader::new(stream) }
    }

    /// Types a line, and waits for nothing.
    pub async fn types(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).await.expect("it is taken");
    }

    /// The next line that is shown.
    pub async fn sees(&mut self) -> String {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.stream.read_line(&mut line));
        let bytes = read.await.expect("something is shown in time").expect("the connection lives");
        assert!(bytes > 0, "the connection ended");
        line.trim_end_matches('\n').to_owned()
    }

    /// Types a line; returns its data and the status after it.
    pub async fn says(&mut self, line: &str) -> (Vec<String>, String) {
        self.types(line).await;
        let mut data = Vec::new();
        loop {
            let line = self.sees().await;
            if line.starts_with("+OK") || line.starts_with("-ERR") {
                return (data, line);
            }
            data.push(line);
        }
    }

    /// The status of a command that is done.
    pub async fn done(&mut self, line: &str) -> String {
        let (_, status) = self.says(line).await;
        assert!(status.starts_with("+OK"), "{line}: {status}");
        status
    }

    /// The status of a command that is refused.
    pub async fn refused(&mut self, line: &str) -> String {
        let (_, status) = self.says(line).await;
        assert!(status.starts_with("-ERR"), "{line}: {status}");
        status
    }

    /// The rows of a command, each as `name=value` pairs.
    pub async fn rows(&mut self, line: &str) -> Vec<String> {
        let (mut rows, status) = self.says(&format!("{line} format=kv")).await;
        assert!(status.starts_with("+OK"), "{line}: {status}");
        assert_eq!(rows.pop().as_deref(), Some("."), "{line}");
        rows
    }
}

/// What a word is answered.
pub async fn word(address: &str, word: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    stream.write_all(format!("{word}\n").as_bytes()).await.expect("it is taken");
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer));
    read.await.expect("it is answered in time").expect("the connection ends well");
    answer.trim_end().to_owned()
}

/// What a process answers to what is typed.
pub async fn typed(address: &str, line: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(format!("{line}\nQUIT\n").as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}
