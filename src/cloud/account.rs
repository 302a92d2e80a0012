//! A technician's "try it now": each step on the way to the cloud by itself, told as it ends.

use std::time::Instant;

use tokio::sync::mpsc;

use super::Shared;
use super::failure::Failure;
use super::requests::{Step, Told};

/// Tries each step and tells how it went; ends at the first that didn't hold, or when nobody
/// listens any more. Works whether the gateway is enrolled or not.
pub(super) async fn run(shared: &Shared, account: &mpsc::Sender<Step>) {
    // The one who asked has heard why it ended, or is gone.
    let _ = tell_all(shared, account).await;
}

async fn tell_all(shared: &Shared, account: &mpsc::Sender<Step>) -> Option<()> {
    let client = &shared.client;
    let asked = Instant::now();
    let found = tell(account, "name", asked, client.try_name().await, |found| {
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        found.join(", ")
    });
    let found = found.await?;
    let asked = Instant::now();
    let tcp = client.try_connection(found).await;
    let tcp = tell(account, "connection", asked, tcp, |tcp| {
        let peer = tcp.peer().map(|peer| peer.to_string());
        peer.unwrap_or_default()
    });
    let tcp = tcp.await?;
    let asked = Instant::now();
    let line = client.try_tls(tcp).await;
    tell(account, "tls", asked, line, |line| match line.tls() {
        Some(version) => version.to_owned(),
        None => "none: the cloud is on this machine".to_owned(),
    })
    .await?;
    Some(())
}

async fn tell<T>(
    account: &mpsc::Sender<Step>,
    name: &'static str,
    asked: Instant,
    outcome: Result<T, Failure>,
    words: impl Fn(&T) -> String,
) -> Option<T> {
    let (outcome, result) = match outcome {
        Ok(result) => (Ok(words(&result)), Some(result)),
        Err(failure) => (Err(Told::from(failure)), None),
    };
    let took_ms = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
    let step = Step {
        name,
        outcome,
        took_ms,
    };
    account.send(step).await.ok()?;
    result
}
