//! A narrow line: a proxy that lets so many bytes a second through in each direction, of all
//! connections together, in the order in which they came. As a modem with one long queue does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// Dropping it ends it.
pub struct NarrowLine {
    address: SocketAddr,
    up: Arc<AtomicU64>,
    down: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

type Writer = Arc<Mutex<OwnedWriteHalf>>;
type Queue = mpsc::Sender<(Writer, Vec<u8>)>;

/// Bytes are let through in portions of at most this size.
const PORTION: usize = 512;
/// Portions that the line holds, 2 MiB; then nobody gets rid of any more.
const HELD_MAX: usize = 4096;

impl NarrowLine {
    pub async fn to(target: SocketAddr, bytes_per_s: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let (up_count, down_count) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let up = queue(&mut tasks, bytes_per_s, &up_count);
        let down = queue(&mut tasks, bytes_per_s, &down_count);
        tasks.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(target).await else {
                    continue;
                };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (client_reads, client_writes) = client.into_split();
                let (server_reads, server_writes) = server.into_split();
                lines.spawn(carry(client_reads, server_writes, up.clone()));
                lines.spawn(carry(server_reads, client_writes, down.clone()));
            }
        });
        Self {
            address,
            up: up_count,
            down: down_count,
            _tasks: tasks,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes that passed: to the cloud, and from it.
    pub fn passed(&self) -> (u64, u64) {
        let passed = |count: &AtomicU64| count.load(Ordering::SeqCst);
        (passed(&self.up), passed(&self.down))
    }
}

/// One direction of the line.
fn queue(tasks: &mut JoinSet<()>, bytes_per_s: u64, count: &Arc<AtomicU64>) -> Queue {
    let (queue, mut waiting) = mpsc::channel::<(Writer, Vec<u8>)>(HELD_MAX);
    let count = Arc::clone(count);
    tasks.spawn(async move {
        while let Some((to, bytes)) = waiting.recv().await {
            let mut to = to.lock().await;
            if bytes.is_empty() {
                let _ = to.shutdown().await;
                continue;
            }
            let time = bytes.len() as f64 / bytes_per_s as f64;
            tokio::time::sleep(Duration::from_secs_f64(time)).await;
            count.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            let _ = to.write_all(&bytes).await;
        }
    });
    queue
}

async fn carry(mut from: OwnedReadHalf, to: OwnedWriteHalf, queue: Queue) {
    let to = Arc::new(Mutex::new(to));
    let mut portion = vec![0; PORTION];
    loop {
        let n = from.read(&mut portion).await.unwrap_or(0);
        let taken = queue.send((Arc::clone(&to), portion[..n].to_vec()));
        if taken.await.is_err() || n == 0 {
            return;
        }
    }
}
