//! Hearing of what is pushed at any cloud: `LISTEN` on a connection of its own. When that was away,
//! all long polls look again, as something may have been missed.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::{AsyncMessage, Config, NoTls};

use crate::store::polls::Polls;

/// The channel; the payload is the gateway's name.
pub(super) const CHANNEL: &str = "linli_pushed";
const LISTEN: &str = "LISTEN linli_pushed";
/// Between two tries to connect: from, to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Wakes the long polls until it is ended.
pub(super) async fn wake(config: Config, polls: Arc<Polls>) {
    let mut pause = PAUSE.0;
    loop {
        match listen(&config, &polls).await {
            Ok(()) => pause = PAUSE.0,
            Err(e) => {
                tracing::warn!("can't hear of pushes at other clouds: {e}");
                pause = (pause * 2).min(PAUSE.1);
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// Until the connection ends: `Ok` if it had listened.
async fn listen(config: &Config, polls: &Polls) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let mut listening = pin!(client.batch_execute(LISTEN));
    let mut listens = false;
    loop {
        tokio::select! {
            outcome = &mut listening, if !listens => {
                outcome?;
                listens = true;
                polls.wake_all();
            }
            message = poll_fn(|context| connection.poll_message(context)) => match message {
                Some(Ok(AsyncMessage::Notification(of))) => polls.wake(of.payload()),
                Some(Ok(_)) => {}
                Some(Err(e)) if !listens => return Err(e),
                Some(Err(_)) | None => return Ok(()),
            }
        }
    }
}
