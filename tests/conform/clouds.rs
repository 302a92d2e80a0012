//! A reference cloud that asks for tokens, and what stands before it: nothing, a proxy that does one
//! thing wrong, or TLS.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cloud_protocol::Downlink;
use firmware_protocols::Ident;
use firmware_protocols::event::Secret;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use reference_cloud::{Cloud, Config};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::faults::Fault;

/// A cloud, and where a gateway finds it.
pub struct Stand {
    pub url: String,
    pub gateway: Ident,
    pub token: Secret,
    cloud: Cloud,
}

/// A request at the proxy.
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }

    pub fn is_uplink(&self) -> bool {
        self.path.ends_with("/uplink")
    }

    /// Whether these bytes are in the body.
    pub fn has(&self, needle: &[u8]) -> bool {
        self.body
            .windows(needle.len())
            .any(|window| window == needle)
    }
}

/// An answer at the proxy.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// JSON.
    pub fn json(status: u16, body: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("date", DATE.parse().unwrap());
        Self {
            status,
            headers,
            body: body.as_bytes().to_vec(),
        }
    }

    /// Whether it is a problem of this type.
    pub fn is(&self, problem: &str) -> bool {
        let text = String::from_utf8_lossy(&self.body);
        self.status >= 400 && text.contains(&format!("urn:linli:problem:{problem}\""))
    }

    /// Another body text in the place of one that is there.
    pub fn replace(&mut self, from: &str, to: &str) {
        self.body = String::from_utf8_lossy(&self.body)
            .replace(from, to)
            .into_bytes();
    }
}

/// A `Date` is a `Date`: what is judged by it comes from the cloud itself.
const DATE: &str = "Mon, 23 Nov 2026 00:00:00 GMT";

/// What a fault remembers.
#[derive(Default)]
pub struct Memory {
    pub answers: Mutex<HashMap<String, Answer>>,
    pub counts: Mutex<HashMap<&'static str, usize>>,
}

impl Memory {
    /// How often this was called with that name, this time included.
    pub fn count(&self, name: &'static str) -> usize {
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry(name).or_default();
        *count += 1;
        *count
    }
}

impl Stand {
    /// The reference cloud itself.
    pub async fn honest() -> Self {
        let config = Config {
            open: false,
            ..Config::in_memory()
        };
        Self::of(reference_cloud::serve(config).await.unwrap(), None).await
    }

    /// With a proxy before it that does one thing wrong.
    pub async fn with(fault: &'static Fault) -> Self {
        let (listener, url) = listen("http").await;
        let cloud = behind(&url).await;
        tokio::spawn(proxy(listener, cloud.address(), fault));
        Self::of(cloud, Some(url)).await
    }

    /// Behind TLS for `localhost`, with this certificate and key in DER.
    pub async fn behind_tls(certificate: Vec<u8>, key: Vec<u8>) -> Self {
        let (listener, url) = listen("https").await;
        let url = url.replace("127.0.0.1", "localhost");
        let cloud = behind(&url).await;
        tokio::spawn(terminate(listener, cloud.address(), certificate, key));
        Self::of(cloud, Some(url)).await
    }

    async fn of(cloud: Cloud, url: Option<String>) -> Self {
        let gateway = Ident::new("conform-here").unwrap();
        let token = cloud.issue_token(&gateway).await.unwrap();
        Self {
            url: url.unwrap_or_else(|| cloud.url()),
            gateway,
            token,
            cloud,
        }
    }

    /// Another token for the same gateway.
    pub async fn fresh_token(&self) -> Secret {
        self.cloud.issue_token(&self.gateway).await.unwrap()
    }

    /// Something for the gateway's downlink.
    pub async fn say_something(&self) {
        let said = Downlink::ParcelCancelled {
            parcel: "P-1".to_string(),
        };
        self.cloud.push(&self.gateway, &said).await.unwrap();
    }
}

async fn listen(scheme: &str) -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{scheme}://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// A cloud that gateways reach at another URL than its own.
async fn behind(url: &str) -> Cloud {
    let config = Config {
        open: false,
        public_url: Some(url.to_string()),
        ..Config::in_memory()
    };
    reference_cloud::serve(config).await.unwrap()
}

type HttpClient = Client<HttpConnector, Full<Bytes>>;

async fn proxy(listener: TcpListener, cloud: SocketAddr, fault: &'static Fault) {
    let client: HttpClient = Client::builder(TokioExecutor::new()).build_http();
    let memory = Arc::new(Memory::default());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (client, memory) = (client.clone(), Arc::clone(&memory));
        let serve = service_fn(move |request| {
            let (client, memory) = (client.clone(), Arc::clone(&memory));
            async move {
                let answer = pass_on(request, &client, cloud, fault, &memory).await;
                Ok::<_, Infallible>(answer)
            }
        });
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .auto_date_header(false)
                .serve_connection(TokioIo::new(stream), serve);
            let _ = connection.await;
        });
    }
}

async fn pass_on(
    request: Request<Incoming>,
    client: &HttpClient,
    cloud: SocketAddr,
    fault: &Fault,
    memory: &Memory,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let asked = Asked {
        method: head.method,
        path: head.uri.path_and_query().unwrap().to_string(),
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes().to_vec(),
    };
    let answer = match (fault.before)(memory, &asked) {
        Some(answer) => answer,
        None => {
            let mut answer = forward(&asked, client, cloud).await;
            (fault.after)(memory, &asked, &mut answer);
            answer
        }
    };
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        if name != "content-length" {
            response = response.header(name, value);
        }
    }
    response.body(Full::new(Bytes::from(answer.body))).unwrap()
}

async fn forward(asked: &Asked, client: &HttpClient, cloud: SocketAddr) -> Answer {
    let mut request = Request::builder()
        .method(asked.method.clone())
        .uri(format!("http://{cloud}{}", asked.path));
    for (name, value) in &asked.headers {
        if name != "host" && name != "content-length" {
            request = request.header(name, value);
        }
    }
    let body = Full::new(Bytes::from(asked.body.clone()));
    let response = client.request(request.body(body).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes().to_vec(),
    }
}

async fn terminate(listener: TcpListener, cloud: SocketAddr, certificate: Vec<u8>, key: Vec<u8>) {
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ));
    let config = config
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], key.try_into().unwrap())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut behind = TcpStream::connect(cloud).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut behind).await;
            }
        });
    }
}
