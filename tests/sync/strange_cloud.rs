//! Something that answers HTTP but isn't a good cloud: each test says what it answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn is_uplink(&self) -> bool {
        self.path.ends_with("/uplink")
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

pub fn answer(status: u16, media_type: &str, body: impl Into<Vec<u8>>) -> Answer {
    Answer {
        status,
        headers: format!("content-type: {media_type}\r\n"),
        body: body.into(),
    }
}

pub fn no_news() -> Answer {
    answer(200, "application/json", r#"{"items":[]}"#)
}

pub struct StrangeCloud {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _serving: JoinSet<()>,
}

impl StrangeCloud {
    pub async fn that(answers: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut serving = JoinSet::new();
        let (seen, answers) = (Arc::clone(&asked), Arc::new(answers));
        serving.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answers) = (Arc::clone(&seen), Arc::clone(&answers));
                lines.spawn(async move {
                    let _ = serve(stream, &seen, &*answers).await;
                });
            }
        });
        Self {
            address,
            asked,
            _serving: serving,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn uplinks(&self) -> usize {
        self.asked()
            .iter()
            .filter(|asked| asked.is_uplink())
            .count()
    }

    pub fn polls(&self) -> usize {
        self.asked().len() - self.uplinks()
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Asked>>,
    answers: &(dyn Fn(&Asked) -> Answer + Send + Sync),
) -> std::io::Result<()> {
    loop {
        let asked = read_request(&mut stream).await?;
        let Answer {
            status,
            headers,
            body,
        } = answers(&asked);
        seen.lock().unwrap().push(asked);
        let head = format!(
            "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
    }
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.starts_with(b"\x16\x03") {
            stream.write_all(b"HTTP/1.1 400 Not TLS\r\n\r\n").await?;
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let target = head.split(' ').nth(1).unwrap();
    Ok(Asked {
        path: target.split('?').next().unwrap().to_string(),
        body,
    })
}
