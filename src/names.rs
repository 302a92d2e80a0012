//! Finding the addresses of a host without holding up anything else.
//!
//! The C library's look-up can't be broken off, and with a dead name server it takes as long as it
//! likes. So it runs on a thread of its own, never on one of the runtime's few blocking threads,
//! which read the store and check passwords. Bound: one look-up at a time for each host; all who ask
//! meanwhile wait for the same answer, each for up to [`PATIENCE`]. When the process ends, nobody
//! waits for it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

/// How long an answer is waited for.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// What a look-up came to; errors by their kind and words, as `io::Error` can't be cloned.
type Answer = Result<Vec<IpAddr>, (io::ErrorKind, String)>;

/// A look-up under way, and its answer once it is there.
type Asked = watch::Receiver<Option<Answer>>;

/// Who finds hosts. Clones share the look-ups under way.
#[derive(Debug, Clone, Default)]
pub struct Names(Arc<Mutex<BTreeMap<String, Asked>>>);

impl Names {
    /// The addresses of `host`, which may be an address itself, with `port`.
    ///
    /// # Errors
    /// When there is no such host, or no answer in time.
    pub async fn find(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.find_within(PATIENCE, host, port).await
    }

    async fn find_within(
        &self,
        patience: Duration,
        host: &str,
        port: u16,
    ) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let mut asked = self.ask(host)?;
        let answer = tokio::time::timeout(patience, asked.wait_for(Option::is_some)).await;
        let answer = match answer {
            Ok(Ok(answer)) => answer.clone(),
            Ok(Err(_)) => None,
            Err(_) => {
                let words = format!(
                    "no name server says within {} s where {host} is",
                    patience.as_secs()
                );
                return Err(io::Error::other(words));
            }
        };
        match answer {
            Some(Ok(found)) => Ok(found.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
            Some(Err((kind, words))) => Err(io::Error::new(kind, words)),
            None => Err(io::Error::other(format!("looking up {host} ended early"))),
        }
    }

    /// Joins the look-up that is under way, or starts one.
    fn ask(&self, host: &str) -> io::Result<Asked> {
        let mut under_way = self.lock();
        if let Some(asked) = under_way.get(host) {
            return Ok(asked.clone());
        }
        let (answers, asked) = watch::channel(None);
        let (names, name) = (self.clone(), host.to_owned());
        thread::Builder::new()
            .name("linli-names".to_owned())
            .spawn(move || {
                let answer = look_up(&name);
                names.lock().remove(&name);
                answers.send_replace(Some(answer));
            })?;
        under_way.insert(host.to_owned(), asked.clone());
        Ok(asked)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look_up(host: &str) -> Answer {
    let found = (host, 0).to_socket_addrs();
    let found = found.map_err(|e| (e.kind(), e.to_string()))?;
    Ok(found.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_and_addresses_are_found() {
        let names = Names::default();
        for (host, first) in [
            ("127.0.0.1", "127.0.0.1:80"),
            ("::1", "[::1]:80"),
            ("localhost", ""),
        ] {
            let found = names.find(host, 80).await.unwrap();
            assert!(found.iter().all(|address| address.ip().is_loopback()));
            assert!(found[0].to_string().starts_with(first), "{found:?}");
        }
        assert!(names.find("no-such-host.invalid", 80).await.is_err());
    }

    #[tokio::test]
    async fn who_asks_meanwhile_waits_for_the_same_answer() {
        let names = Names::default();
        let (answers, asked) = watch::channel(None);
        names.lock().insert("cloud".to_owned(), asked);
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let names = names.clone();
                tokio::spawn(async move { names.find("cloud", 443).await })
            })
            .collect();
        answers.send_replace(Some(Ok(vec![IpAddr::from([192, 0, 2, 7])])));
        for one in waiting {
            let found = one.await.unwrap().unwrap();
            assert_eq!(found, ["192.0.2.7:443".parse().unwrap()]);
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let names = Names::default();
        let (_answers, asked) = watch::channel(None);
        names.lock().insert("cloud".to_owned(), asked);
        let patience = Duration::from_millis(20);
        let e = names.find_within(patience, "cloud", 443).await.unwrap_err();
        assert_eq!(
            e.to_string(),
            "no name server says within 0 s where cloud is"
        );
    }
}
