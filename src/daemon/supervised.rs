//! Parts that can fail on their own: watched, started again, ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::control::views::PartReport;
use crate::links::LinkStatus;

const RESTART_FIRST: Duration = Duration::from_secs(1);
const RESTART_LONGEST: Duration = Duration::from_secs(60);

/// How the parts are that are started again when they fail, for `linli status`. Clones share it.
#[derive(Clone, Default)]
pub struct PartsStatus(Arc<Mutex<Vec<PartReport>>>);

impl PartsStatus {
    /// Every part that was ever started.
    pub fn report(&self) -> Vec<PartReport> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// It runs, for the first time or again.
    pub(super) fn started(&self, name: &str) {
        self.set(name, |part| part.running = true);
    }

    /// It ended, and is going to be started again.
    pub(super) fn ended(&self, name: &str, why: &str) {
        self.set(name, |part| {
            part.running = false;
            part.restarts += 1;
            part.last_error = Some(why.to_owned());
        });
    }

    /// It isn't to run any more.
    pub(super) fn gone(&self, name: &str) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.retain(|part| part.name != name);
    }

    fn set(&self, name: &str, change: impl FnOnce(&mut PartReport)) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = parts.iter_mut().find(|part| part.name == name) {
            return change(part);
        }
        let mut part = PartReport {
            name: name.to_owned(),
            running: true,
            restarts: 0,
            last_error: None,
        };
        change(&mut part);
        parts.push(part);
    }
}

/// A part that runs until it is told to end, or the runtime does.
pub struct Part {
    pub(super) stop: watch::Sender<bool>,
    pub(super) task: Option<JoinHandle<()>>,
}

impl Part {
    /// Starts it.
    pub fn start<F>(make: impl FnOnce(watch::Receiver<bool>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        Self {
            stop,
            task: Some(tokio::spawn(make(stopped))),
        }
    }

    /// Tells it to end and waits for that; breaks it off if that takes longer than `patience`.
    pub async fn end(&mut self, patience: Duration) {
        self.stop.send_replace(true);
        let Some(task) = self.task.take() else {
            return;
        };
        let abort = task.abort_handle();
        // One that panicked has ended too.
        if tokio::time::timeout(patience, task).await.is_err() {
            abort.abort();
        }
    }
}

/// Runs a part until `stopped`, and starts it again with a growing pause when it fails.
pub async fn supervise<F>(
    name: &str,
    status: &LinkStatus,
    parts: &PartsStatus,
    mut stopped: watch::Receiver<bool>,
    mut make: impl FnMut(watch::Receiver<bool>) -> F,
) where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut wait = RESTART_FIRST;
    loop {
        parts.started(name);
        // In a task of its own, so that a panic in a library ends the part and not the daemon. It is
        // broken off with us.
        let mut task = JoinSet::new();
        task.spawn(make(stopped.clone()));
        let why = match task.join_next().await {
            Some(Ok(Ok(()))) | None => "it ended".to_owned(),
            Some(Ok(Err(e))) => format!("{e:#}"),
            Some(Err(e)) => e.to_string(),
        };
        if *stopped.borrow() {
            return;
        }
        status.down(&why);
        parts.ended(name, &why);
        tracing::error!(part = name, %why, wait_s = wait.as_secs(), "failed; starting it again");
        let stop = tokio::time::timeout(wait, stopped.wait_for(|stop| *stop)).await;
        if stop.is_ok() {
            return;
        }
        wait = (wait * 2).min(RESTART_LONGEST);
    }
}

/// Waits until a part says that it is ready; an error before that is ours.
pub async fn watched<T>(
    name: &'static str,
    mut serving: JoinHandle<anyhow::Result<()>>,
    ready: oneshot::Receiver<T>,
) -> anyhow::Result<JoinHandle<()>> {
    tokio::select! {
        ended = &mut serving => {
            ended.context(name)??;
            anyhow::bail!("{name} ended at once");
        }
        // When it ends instead, its reason is what counts: the branch above has it.
        Ok(_) = ready => {}
    }
    Ok(tokio::spawn(async move {
        match serving.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::error!(part = name, error = %format!("{e:#}"), "ended"),
            Err(e) => tracing::error!(part = name, error = %e, "ended"),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_part_that_fails_is_shown_with_the_reason_and_runs_again() {
        let (parts, link) = (PartsStatus::default(), LinkStatus::default());
        let (stop, stopped) = watch::channel(false);
        let mut runs = 0;
        let shown = parts.clone();
        supervise("the part", &link, &parts, stopped, |mut stopped| {
            runs += 1;
            let (first, shown, stop) = (runs == 1, shown.clone(), stop.clone());
            async move {
                anyhow::ensure!(!first, "no address");
                let part = shown.report().remove(0);
                assert!(part.running && part.restarts == 1, "{part:?}");
                stop.send_replace(true);
                let _ = stopped.changed().await;
                Ok(())
            }
        })
        .await;
        let part = parts.report().remove(0);
        assert_eq!((part.name.as_str(), part.restarts), ("the part", 1));
        assert_eq!(part.last_error.as_deref(), Some("no address"));
    }
}
