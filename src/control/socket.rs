//! The socket's file: made with its mode before anybody can see it, taken over from a daemon that
//! died, never from one that lives.

use std::fs;
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// Who may connect: the owner and the group.
pub const MODE: u32 = 0o660;

/// How long another daemon has to show that it lives.
const PROBE_TIME: Duration = Duration::from_secs(1);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another daemon answers there.
    #[error(
        "another linli answers at {0}. Stop it first (systemctl stop linli), or give this one a socket of its own: [control] socket = \"…\""
    )]
    Taken(PathBuf),
    /// Something else is there.
    #[error(
        "{0} is there and isn't a socket. Remove it, or name another place: [control] socket = \"…\""
    )]
    NotASocket(PathBuf),
    /// The file system says no.
    #[error(
        "the control socket {path} can't be {doing}. Is its folder there and writable, and the path at most 100 characters long?"
    )]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A listening socket, whose file goes when it is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    inode: (u64, u64),
}

impl Socket {
    /// Makes the socket at `path`, and its folder if it isn't there.
    pub async fn bind(path: &Path) -> Result<Self, SocketError> {
        make_way(path).await?;
        let io = |doing| {
            let path = path.to_path_buf();
            move |source| SocketError::Io {
                doing,
                path,
                source,
            }
        };
        let folder = folder_of(path);
        fs::create_dir_all(folder).map_err(io("placed"))?;
        let listener = bind_private(path, folder).map_err(io("made"))?;
        listener.set_nonblocking(true).map_err(io("made"))?;
        let listener = UnixListener::from_std(listener).map_err(io("made"))?;
        let inode = inode(path).map_err(io("read back"))?;
        Ok(Self {
            listener,
            path: path.to_path_buf(),
            inode,
        })
    }

    /// The next client.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Only if it is still ours: another daemon may have taken the place.
        if inode(&self.path).is_ok_and(|found| found == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Refuses a place that is in use. What a dead daemon left is replaced by the rename later.
async fn make_way(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(SocketError::Io {
                doing: "looked at",
                path: path.to_path_buf(),
                source,
            });
        }
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_path_buf()));
        }
        Ok(_) => {}
    }
    match timeout(PROBE_TIME, UnixStream::connect(path)).await {
        // Nobody listens: what is there was left by a daemon that died.
        Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(Err(source)) => Err(SocketError::Io {
            doing: "probed",
            path: path.to_path_buf(),
            source,
        }),
        // It answers, or is too busy to: alive.
        Ok(Ok(_)) | Err(_) => Err(SocketError::Taken(path.to_path_buf())),
    }
}

/// Binds in a folder of its own that nobody else may enter, sets the mode, then moves the socket to
/// its place: so it is never there with another mode, and a stale one is replaced in one step.
fn bind_private(path: &Path, folder: &Path) -> io::Result<StdListener> {
    let nest = folder.join(format!(".l{}", std::process::id()));
    match fs::DirBuilder::new().mode(0o700).create(&nest) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    let draft = nest.join("s");
    let bound = remove_if_there(&draft)
        .and_then(|()| StdListener::bind(&draft))
        .and_then(|listener| {
            fs::set_permissions(&draft, fs::Permissions::from_mode(MODE))?;
            fs::rename(&draft, path)?;
            Ok(listener)
        });
    let _ = fs::remove_file(&draft);
    let _ = fs::remove_dir(&nest);
    bound
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_has_its_mode_and_goes_when_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/control.sock");
        let socket = Socket::bind(&path).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let beside: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(beside.len(), 1, "{beside:?}");
        UnixStream::connect(&path).await.unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_living_daemon_keeps_its_socket_and_a_dead_one_loses_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let dead = StdListener::bind(&path).unwrap();
        drop(dead);
        assert!(path.exists());
        let first = Socket::bind(&path).await.unwrap();
        let second = Socket::bind(&path).await;
        assert!(matches!(second, Err(SocketError::Taken(_))));
        UnixStream::connect(&path).await.unwrap();
        drop(first);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        fs::write(&path, "precious").unwrap();
        let refused = Socket::bind(&path).await;
        assert!(matches!(refused, Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_socket_that_was_replaced_is_not_removed_by_its_former_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let first = Socket::bind(&path).await.unwrap();
        fs::remove_file(&path).unwrap();
        let second = Socket::bind(&path).await.unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
    }
}
