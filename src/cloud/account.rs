//! A technician's "try it now": each step on the way to the cloud by itself, told as it ends.

use tokio::sync::mpsc;

use super::Shared;
use super::requests::{Step, Told};

/// Tries each step and tells how it went; ends at the first that didn't hold, or when nobody
/// listens any more. Works whether the gateway is enrolled or not.
pub(super) async fn run(shared: &Shared, account: &mpsc::Sender<Step>) {
    let asked = std::time::Instant::now();
    let found = shared.client.try_name().await;
    let step = Step {
        name: "name",
        outcome: found
            .map(|addresses| format!("{} addresses", addresses.len()))
            .map_err(|failure| Told {
                what: failure.to_string(),
                remedy: failure.remedy().map(str::to_owned),
            }),
        took_ms: u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    // Nobody listens: nobody to tell.
    let _ = account.send(step).await;
}
