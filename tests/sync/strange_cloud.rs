//! Something that answers HTTP but isn't a good cloud: each test says what it answers. Enrolment and
//! the view of the gateway it answers well by itself, unless the test wants to do that too.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use cloud_protocol::secure::{compressed, signed};
use cloud_protocol::{GatewayView, JSON, SealingKey};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// As it was signed.
    pub uri: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub content: Vec<u8>,
    /// Unpacked.
    pub body: Vec<u8>,
}

impl Asked {
    pub fn is_uplink(&self) -> bool {
        self.path.ends_with("/uplink")
    }

    pub fn is_poll(&self) -> bool {
        self.path.ends_with("/downlink")
    }

    pub fn is_enrolment(&self) -> bool {
        self.path.ends_with("/v1/enrol")
    }

    pub fn is_view(&self) -> bool {
        self.path.ends_with("/v1/gateways/estate-1")
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    /// What the signature says, if it and the digest are whole.
    pub fn signed(&self) -> signed::Stated {
        let stated = signed::read(signed::Request {
            method: &self.method,
            target_uri: &self.uri,
            field: &|name| self.header(name),
        });
        let digest = self.header(signed::CONTENT_DIGEST).unwrap();
        signed::check_content(&digest, &self.content).unwrap();
        stated.unwrap()
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
    answer(200, JSON, r#"{"items":[]}"#)
}

/// What a good cloud says of a gateway that it has just met.
pub fn view() -> Answer {
    let view = GatewayView {
        sealing_key: SealingKey {
            id: "k-1".to_owned(),
            public_key: [7; 32],
        },
        settings: Default::default(),
        time: 1_790_000_000_000,
        epoch: None,
        lanes: Default::default(),
    };
    answer(200, JSON, view.to_value().to_json())
}

pub fn problem(status: u16, kind: &str) -> Answer {
    let body = format!(r#"{{"type":"urn:linli:problem:{kind}","title":"No","status":{status}}}"#);
    answer(status, "application/problem+json", body)
}

type Answers = Arc<dyn Fn(&Asked) -> Answer + Send + Sync>;

pub struct StrangeCloud {
    pub address: SocketAddr,
    tls: bool,
    asked: Arc<Mutex<Vec<Asked>>>,
    _serving: JoinSet<()>,
}

impl StrangeCloud {
    /// Answers so, but enrolment and view as a good cloud.
    pub async fn that(answers: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::alone(move |asked| match asked.is_enrolment() || asked.is_view() {
            true => view(),
            false => answers(asked),
        })
        .await
    }

    /// Answers everything so.
    pub async fn alone(answers: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::over(None, answers).await
    }

    /// Over TLS, if this says how.
    pub async fn over(
        tls: Option<Arc<ServerConfig>>,
        answers: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let is_tls = tls.is_some();
        let (seen, answers) = (Arc::clone(&asked), Arc::new(answers) as Answers);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answers) = (Arc::clone(&seen), Arc::clone(&answers));
                let tls = tls.clone();
                lines.spawn(async move {
                    let _ = match tls {
                        None => serve(stream, "http", &seen, &*answers).await,
                        Some(tls) => {
                            match TlsAcceptor::from(tls).accept(stream).into_fallible().await {
                                Ok(stream) => serve(stream, "https", &seen, &*answers).await,
                                // What is still coming in is read, or the alert might be lost.
                                Err((e, mut stream)) => {
                                    let _ =
                                        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                                    Err(e)
                                }
                            }
                        }
                    };
                });
            }
        });
        Self {
            address,
            tls: is_tls,
            asked,
            _serving: serving,
        }
    }

    pub fn url(&self) -> String {
        match self.tls {
            true => format!("https://localhost:{}", self.address.port()),
            false => format!("http://{}", self.address),
        }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn uplinks(&self) -> usize {
        self.asked().iter().filter(|a| a.is_uplink()).count()
    }

    pub fn polls(&self) -> usize {
        self.asked().iter().filter(|a| a.is_poll()).count()
    }

    pub fn enrolments(&self) -> usize {
        self.asked().iter().filter(|a| a.is_enrolment()).count()
    }
}

/// Status 0 hangs up without an answer.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    scheme: &str,
    seen: &Mutex<Vec<Asked>>,
    answers: &(dyn Fn(&Asked) -> Answer + Send + Sync),
) -> std::io::Result<()> {
    loop {
        let asked = read_request(&mut stream, scheme).await?;
        let Answer {
            status,
            headers,
            body,
        } = answers(&asked);
        seen.lock().unwrap().push(asked);
        if status == 0 {
            return Ok(());
        }
        let head = format!(
            "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await?;
        stream.flush().await?;
    }
}

async fn read_request(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    scheme: &str,
) -> std::io::Result<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.starts_with(b"\x16\x03") {
            stream.write_all(b"HTTP/1.1 400 Not TLS\r\n\r\n").await?;
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap(), first.next().unwrap());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let header = |name: &str| headers.iter().find(|(known, _)| known == name);
    let length = header("content-length").map_or(0, |(_, length)| length.parse().unwrap());
    let mut content = vec![0; length];
    stream.read_exact(&mut content).await?;
    let body = match header("content-encoding") {
        Some(_) => compressed::unpack(&content).unwrap(),
        None => content.clone(),
    };
    let host = header("host").unwrap().1.clone();
    Ok(Asked {
        method: method.to_owned(),
        uri: format!("{scheme}://{host}{target}"),
        path: target.split('?').next().unwrap().to_string(),
        content,
        body,
        headers,
    })
}
