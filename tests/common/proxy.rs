//! A network that can go wrong: a TCP proxy on a free loopback port in front of a real server, whose
//! behaviour ([`Fault`]) is changed while it runs.
//!
//! It works for HTTP and MQTT alike; only [`Fault::HalfAnswer`] and [`Fault::Says`] know HTTP. A change
//! holds at once for the connections that are there too: what was held back before flows on when it
//! may, so a request that nobody answered can reach the server late, after it was sent again. It runs
//! on a thread of its own, and takes blocking and async tests.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use simulator::Random;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the way to the server does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: bytes pass.
    None,
    /// Nobody listens; running connections are reset.
    Refuse,
    /// Connections are accepted, and no byte passes either way until the fault is another one.
    Silence,
    /// What is asked passes; with the first byte of an answer the connection is reset, and the byte is lost.
    SwallowAnswer,
    /// The connection is reset when so many bytes have passed since the fault began (`u64::MAX`: never).
    Reset { up: u64, down: u64 },
    /// The head of an HTTP answer and half of its body pass, then the connection is closed.
    HalfAnswer,
    /// The server is never asked: each HTTP request gets this whole answer.
    Says(Vec<u8>),
    /// So many bytes a second, each way.
    Slow { bytes_per_s: u64 },
    /// Every byte arrives so much later.
    Delay(Duration),
    /// Each connection is reset after a number of bytes, of both ways together, of about `mean_bytes`.
    CutAtRandom { seed: u64, mean_bytes: u64 },
}

/// An HTTP answer for [`Fault::Says`]; `headers` each end with CR LF.
pub fn says(status: &str, headers: &str, body: &str) -> Fault {
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
    Fault::Says(answer.into_bytes())
}

/// A running proxy. Dropping it resets its connections and ends it.
pub struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Setting>,
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone)]
struct Setting {
    fault: Fault,
    target: SocketAddr,
    /// Connections that began before this number are reset.
    oldest: u64,
    over: bool,
}

#[derive(Default)]
struct Seen {
    connections: AtomicU64,
    resets: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    asked: Mutex<Vec<(Instant, String)>>,
}

/// Requests that are remembered; further ones are answered and not remembered.
const ASKED_MAX: usize = 10_000;
const CHUNK: usize = 4096;
/// Slowness is dealt out in portions of this time.
const PORTION: Duration = Duration::from_millis(50);

impl Proxy {
    /// In front of `target`, with no fault.
    pub fn start(target: SocketAddr) -> Self {
        let setting = Setting {
            fault: Fault::None,
            target,
            oldest: 0,
            over: false,
        };
        let (fault, settings) = watch::channel(setting);
        let listener = claim(SocketAddr::from(([127, 0, 0, 1], 0)), false).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(serve(listener, address, settings, shared));
        };
        let thread = std::thread::Builder::new()
            .name("proxy".to_string())
            .spawn(serve)
            .unwrap();
        Self {
            address,
            fault,
            seen,
            thread: Some(thread),
        }
    }

    /// Where it listens; the same all its life.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this happens, also to the connections that are there.
    pub fn set(&self, fault: Fault) {
        self.fault.send_modify(|setting| setting.fault = fault);
    }

    /// The server is elsewhere from now on; running connections stay where they are.
    pub fn set_target(&self, target: SocketAddr) {
        self.fault.send_modify(|setting| setting.target = target);
    }

    /// Resets the running connections, once.
    pub fn reset_all(&self) {
        let next = self.seen.connections.load(Ordering::SeqCst);
        self.fault.send_modify(|setting| setting.oldest = next);
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Connections that a fault ended.
    pub fn resets(&self) -> u64 {
        self.seen.resets.load(Ordering::SeqCst)
    }

    /// Bytes passed to the server and back.
    pub fn passed(&self) -> (u64, u64) {
        let passed = |way: &AtomicU64| way.load(Ordering::SeqCst);
        (passed(&self.seen.up), passed(&self.seen.down))
    }

    /// The requests that [`Fault::Says`] has answered: when, and their first line.
    pub fn asked(&self) -> Vec<(Instant, String)> {
        self.seen.asked.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.fault.send_modify(|setting| setting.over = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: TcpSocket,
    address: SocketAddr,
    mut settings: watch::Receiver<Setting>,
    seen: Arc<Seen>,
) {
    let mut listener = listener.listen(1024).unwrap();
    let mut lines = JoinSet::new();
    loop {
        while lines.try_join_next().is_some() {}
        let setting = settings.borrow_and_update().clone();
        if setting.over {
            return;
        }
        if setting.fault == Fault::Refuse {
            listener = closed(listener, address, &mut settings).await;
            continue;
        }
        tokio::select! {
            _ = settings.changed() => {}
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let number = seen.connections.fetch_add(1, Ordering::SeqCst);
                let line = line(client, number, settings.clone(), Arc::clone(&seen));
                lines.spawn(line);
            }
        }
    }
}

/// Nobody listens until the fault is another one. A second socket keeps the port meanwhile.
async fn closed(
    listener: TcpListener,
    address: SocketAddr,
    settings: &mut watch::Receiver<Setting>,
) -> TcpListener {
    let placeholder = claim(address, true).unwrap();
    drop(listener);
    let open = |setting: &Setting| setting.over || setting.fault != Fault::Refuse;
    let _ = settings.wait_for(open).await;
    placeholder.set_reuseaddr(true).unwrap();
    placeholder.listen(1024).unwrap()
}

/// Binds without listening; two sockets of ours may have the same port (`SO_REUSEPORT`).
fn claim(address: SocketAddr, beside_own: bool) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(!beside_own)?;
    socket.set_reuseport(beside_own)?;
    socket.bind(address)?;
    socket.set_reuseport(true)?;
    Ok(socket)
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// As the two sides ended it.
    Closed,
    /// By a fault, with a FIN.
    Finished,
    /// By a fault, with an RST.
    Reset,
}

/// One connection, under one fault after the other.
async fn line(
    mut client: TcpStream,
    number: u64,
    mut settings: watch::Receiver<Setting>,
    seen: Arc<Seen>,
) {
    let _ = client.set_nodelay(true);
    let target = settings.borrow().target;
    let mut server = None;
    let (mut up, mut down) = (Flow::default(), Flow::default());
    let end = loop {
        let setting = settings.borrow_and_update().clone();
        if setting.over || setting.oldest > number || setting.fault == Fault::Refuse {
            break End::Reset;
        }
        if let Fault::Says(answer) = &setting.fault {
            if server.is_some() {
                break End::Reset;
            }
            tokio::select! {
                _ = settings.changed() => break End::Reset,
                _ = say(&mut client, answer, &seen) => break End::Closed,
            }
        }
        if server.is_none() && setting.fault != Fault::Silence {
            match TcpStream::connect(target).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    server = Some(stream);
                }
                Err(_) => break End::Reset,
            }
        }
        up.begin(&setting.fault, number);
        down.begin(&setting.fault, number);
        let passing = pass(
            &mut client,
            server.as_mut(),
            &setting.fault,
            &mut up,
            &mut down,
            &seen,
        );
        tokio::select! {
            _ = settings.changed() => {}
            end = passing => break end,
        }
    };
    if end != End::Closed {
        seen.resets.fetch_add(1, Ordering::SeqCst);
    }
    if end == End::Reset {
        // Zero linger: closing sends RST.
        let _ = client.set_zero_linger();
        let server = server.iter().try_for_each(TcpStream::set_zero_linger);
        let _ = server;
    }
}

/// What is under way in one direction. It outlives a change of the fault.
#[derive(Default)]
struct Flow {
    held: Vec<u8>,
    ended: bool,
    /// Bytes since the fault began.
    passed: u64,
    /// Bytes that may pass before the connection is cut.
    budget: u64,
}

impl Flow {
    fn begin(&mut self, fault: &Fault, number: u64) {
        self.passed = 0;
        self.budget = match fault {
            Fault::CutAtRandom { seed, mean_bytes } => {
                Random::new(seed.wrapping_add(number)).between(1, (2 * mean_bytes).max(2))
            }
            _ => u64::MAX,
        };
    }
}

/// Passes bytes both ways until the connection ends or a fault ends it.
async fn pass(
    client: &mut TcpStream,
    server: Option<&mut TcpStream>,
    fault: &Fault,
    up: &mut Flow,
    down: &mut Flow,
    seen: &Seen,
) -> End {
    let Some(server) = server else {
        return std::future::pending().await;
    };
    let (mut client_reads, mut client_writes) = client.split();
    let (mut server_reads, mut server_writes) = server.split();
    let upward = carry(
        &mut client_reads,
        &mut server_writes,
        fault,
        true,
        up,
        &seen.up,
    );
    let downward = carry(
        &mut server_reads,
        &mut client_writes,
        fault,
        false,
        down,
        &seen.down,
    );
    tokio::select! {
        end = upward => end,
        end = downward => end,
    }
}

/// One direction. At every await nothing is lost if it is dropped: what was read is in `flow`.
async fn carry(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    fault: &Fault,
    is_up: bool,
    flow: &mut Flow,
    passed: &AtomicU64,
) -> End {
    loop {
        if *fault == Fault::Silence {
            return std::future::pending().await;
        }
        if flow.held.is_empty() {
            if flow.ended {
                // The other direction may go on, as with a half-closed connection.
                let _ = to.shutdown().await;
                return if is_up {
                    std::future::pending().await
                } else {
                    End::Closed
                };
            }
            let mut chunk = [0; CHUNK];
            match from.read(&mut chunk).await {
                Ok(0) => flow.ended = true,
                Ok(n) => flow.held.extend_from_slice(&chunk[..n]),
                Err(_) => return End::Closed,
            }
            continue;
        }
        let portion = match portion(from, fault, is_up, flow).await {
            Ok(portion) => portion,
            Err(end) => return end,
        };
        match to.write(&flow.held[..portion]).await {
            Ok(n) => {
                flow.held.drain(..n);
                flow.passed += n as u64;
                passed.fetch_add(n as u64, Ordering::SeqCst);
            }
            Err(_) => return End::Closed,
        }
        if let (Fault::HalfAnswer, false) = (fault, is_up) {
            return End::Finished;
        }
    }
}

/// How many of the held bytes pass now.
async fn portion(
    from: &mut ReadHalf<'_>,
    fault: &Fault,
    is_up: bool,
    flow: &mut Flow,
) -> Result<usize, End> {
    let all = flow.held.len();
    let limit = match fault {
        Fault::SwallowAnswer if !is_up => return Err(End::Reset),
        Fault::Reset { up, down } => if is_up { *up } else { *down }.saturating_sub(flow.passed),
        Fault::CutAtRandom { .. } => flow.budget.saturating_sub(flow.passed),
        Fault::Slow { bytes_per_s } => {
            tokio::time::sleep(PORTION).await;
            return Ok(all.min(usize::try_from(bytes_per_s / 20).unwrap_or(all).max(1)));
        }
        Fault::Delay(pause) => {
            tokio::time::sleep(*pause).await;
            return Ok(all);
        }
        Fault::HalfAnswer if !is_up => return Ok(half(from, flow).await),
        _ => return Ok(all),
    };
    match usize::try_from(limit).unwrap_or(usize::MAX).min(all) {
        0 => Err(End::Reset),
        n => Ok(n),
    }
}

/// Gathers an HTTP answer and returns how long its head and half of its body are.
async fn half(from: &mut ReadHalf<'_>, flow: &mut Flow) -> usize {
    loop {
        if let Some((head, body)) = lengths(&flow.held)
            && flow.held.len() >= head + body / 2
        {
            return head + body / 2;
        }
        let mut chunk = [0; CHUNK];
        match from.read(&mut chunk).await {
            Ok(n) if n > 0 && flow.held.len() < 1 << 22 => flow.held.extend_from_slice(&chunk[..n]),
            _ => return flow.held.len().div_ceil(2),
        }
    }
}

/// Answers every request the same.
async fn say(client: &mut TcpStream, answer: &[u8], seen: &Seen) -> io::Result<()> {
    let mut held = Vec::new();
    loop {
        while let Some((head, body)) = lengths(&held)
            && held.len() >= head + body
        {
            let text = String::from_utf8_lossy(&held[..head]).into_owned();
            let first = text.lines().next().unwrap_or_default().to_string();
            {
                let mut asked = seen.asked.lock().unwrap();
                if asked.len() < ASKED_MAX {
                    asked.push((Instant::now(), first));
                }
            }
            client.write_all(answer).await?;
            held.drain(..head + body);
        }
        let mut chunk = [0; CHUNK];
        match client.read(&mut chunk).await? {
            0 => return Ok(()),
            n => held.extend_from_slice(&chunk[..n]),
        }
    }
}

/// The lengths of the head and the body of an HTTP message, as soon as its head is there.
fn lengths(held: &[u8]) -> Option<(usize, usize)> {
    let head = held.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&held[..head]).to_ascii_lowercase();
    let body = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|length| length.trim().parse().ok())
        .unwrap_or(0);
    Some((head, body))
}
