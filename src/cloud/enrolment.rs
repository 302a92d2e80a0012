//! The gateway's standing at the cloud: enrolled by a one-time token, its key changed when a
//! technician says so, and looked after once a day.
//!
//! Every step may be cut short. Enrolment asks, then starts a new epoch in the store, then writes
//! down that it is enrolled: whatever is cut short is done again from the start, with the same key,
//! which the cloud takes again. A change of the key writes the next one down before it asks; whether
//! the cloud took it is found out by using it.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cloud_protocol::enrol::TOKEN_MAX;
use cloud_protocol::{GatewayView, ProblemType};
use firmware_protocols::event::Secret;

use super::Shared;
use super::backoff::{Backoff, jitter};
use super::certificates::NEAR_ITS_END_DAYS;
use super::contact::Patience;
use super::failure::Failure;
use super::identity::{Enrolled, Identity, IdentityError};
use super::ledger::EpochAt;
use super::meter::Cost;
use super::requests::Told;
use super::status::Way;

const DAY: Duration = Duration::from_secs(86_400);

/// Resolves once the gateway is enrolled at the configured cloud: at once, by the token's file, or
/// by a technician.
pub(super) async fn until_enrolled(shared: &Shared) {
    let mut standing = shared.standing.subscribe();
    let mut up = Patience::new(&shared.contact, Way::Fulfilment);
    let mut down = Patience::new(&shared.contact, Way::Down);
    loop {
        standing.mark_unchanged();
        if shared.client.enrolled().is_some() {
            return;
        }
        let failure = match token(shared.config.token_file.as_deref()) {
            Ok(Some(token)) => {
                shared.contact.is_welcome().await;
                match enrol(shared, &token).await {
                    Ok(words) => {
                        tracing::info!("{words}");
                        up.reached();
                        down.reached();
                        return;
                    }
                    Err(failure) => failure,
                }
            }
            Ok(None) => shared.client.not_enrolled(),
            Err(failure) => failure,
        };
        tokio::select! {
            () = up.pause(&failure) => {}
            () = down.pause(&failure) => {}
            _ = standing.changed() => {
                up.reached();
                down.reached();
            }
        }
    }
}

/// Enrols with a token, at the configured cloud under the configured name. One that is enrolled
/// already may do it again with a fresh one. Says in words what came of it.
pub(super) async fn enrol(shared: &Shared, token: &Secret) -> Result<String, Failure> {
    let _one_at_a_time = shared.changing.lock().await;
    let identity = shared.client.identity();
    on_disk(identity, |identity| identity.drop_next()).await?;
    let view = counted(shared, shared.client.enrol(token).await?);
    let before = shared.client.enrolled();
    // A cloud that doesn't know this store yet, or not any more, hears everything from the start.
    if before.is_none() || view.epoch.is_none() {
        shared.ledger.new_epoch(EpochAt::NewCloud).await?;
        shared.status.no_lane_is_held();
    }
    let now_ms = shared.clock.now().wall_ms;
    let enrolled = Enrolled {
        url: shared.config.url.as_url().to_string(),
        gateway: shared.config.gateway.clone(),
        sealing_key: view.sealing_key,
        since_ms: now_ms,
        key_since_ms: now_ms,
    };
    let words = format!("enrolled at {} as {}", enrolled.url, enrolled.gateway);
    on_disk(identity, move |identity| identity.enrol(enrolled)).await?;
    shared.client.show_papers();
    shared.standing.send_replace(());
    Ok(words)
}

/// The same for a technician, whose token isn't kept.
pub(super) async fn enrol_by_hand(shared: &Shared, token: &Secret) -> Result<String, Told> {
    enrol(shared, token).await.map_err(|failure| {
        let used_up = matches!(failure, Failure::Refused(_));
        let told = Told::from(failure);
        let again = "then enrol again with the same token, which is still good";
        match told.remedy {
            Some(remedy) if !used_up => Told {
                remedy: Some(format!("{remedy}; {again}")),
                ..told
            },
            _ => told,
        }
    })
}

/// Changes the gateway's key for a technician. Says in words what came of it.
pub(super) async fn change_key(shared: &Shared) -> Result<String, Told> {
    let _one_at_a_time = shared.changing.lock().await;
    if shared.client.enrolled().is_none() {
        return Err(shared.client.not_enrolled().into());
    }
    let changed = ask_for_next(shared).await;
    changed.map_err(|failure| {
        let told = Told::from(failure);
        if !shared.client.identity().is_changing() {
            return told;
        }
        // Found out by itself, now and then.
        shared.standing.send_replace(());
        let remedy = "wait: both keys are kept, and the change comes to its end by itself as soon \
                      as the cloud answers; 'linli sync' shows it";
        Told {
            remedy: Some(remedy.to_owned()),
            ..told
        }
    })
}

async fn ask_for_next(shared: &Shared) -> Result<String, Failure> {
    let identity = shared.client.identity();
    let next = on_disk(identity, |identity| identity.make_next()).await?;
    shared.client.show_papers();
    let asked = shared.client.change_key(&next).await;
    let outcome = match asked {
        Ok(answer) => {
            counted(shared, answer);
            let now_ms = shared.clock.now().wall_ms;
            on_disk(identity, move |identity| identity.taken(&next, now_ms)).await?;
            Ok("the new key is in force, the old one is destroyed".to_owned())
        }
        Err(failure) if is_final(&failure) => {
            on_disk(identity, |identity| identity.drop_next()).await?;
            Err(failure)
        }
        Err(failure) => {
            identity.try_next();
            Err(failure)
        }
    };
    shared.client.show_papers();
    outcome
}

/// Whether the cloud has said for sure that it won't have the next key.
fn is_final(failure: &Failure) -> bool {
    use ProblemType::{Clock, Replay, Signature};
    match failure {
        Failure::Refused(problem) => !matches!(problem.kind, Some(Signature | Clock | Replay)),
        _ => false,
    }
}

/// Looks after the gateway's standing for ever: at the start, once a day, and when it changes.
pub(super) async fn look_after(shared: &Shared) {
    let mut standing = shared.standing.subscribe();
    let mut backoff = Backoff::new(shared.config.backoff);
    loop {
        shared.contact.is_welcome().await;
        let pause = match refresh(shared).await {
            Ok(()) => {
                backoff.succeeded();
                DAY.mul_f64(0.9 + jitter() / 5.0)
            }
            Err(failure) => {
                tracing::debug!("the cloud's view of this gateway: {failure}");
                backoff.failed(jitter())
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = standing.changed() => {}
        }
    }
}

/// Asks what the cloud knows of this gateway: its sealing key may be another now, and a change of
/// this gateway's key that was cut short is brought to its end.
async fn refresh(shared: &Shared) -> Result<(), Failure> {
    let _one_at_a_time = shared.changing.lock().await;
    let identity = shared.client.identity();
    identity.try_next();
    let view = counted(shared, shared.client.view().await?);
    if identity.is_changing() {
        // It took the old one, so it never heard of the next.
        let words = ask_for_next(shared).await?;
        tracing::info!("{words}");
    }
    if let Some(enrolled) = shared.client.enrolled()
        && enrolled.sealing_key != view.sealing_key
    {
        tracing::info!(
            key = view.sealing_key.id,
            "the cloud has another sealing key"
        );
        let enrolled = Enrolled {
            sealing_key: view.sealing_key,
            ..enrolled
        };
        on_disk(identity, move |identity| identity.enrol(enrolled)).await?;
    }
    shared.client.show_papers();
    for certificate in shared.status.snapshot().certificates {
        if certificate.days_left < NEAR_ITS_END_DAYS {
            tracing::warn!(
                certificate = certificate.what,
                days_left = certificate.days_left,
                "a certificate ends soon: have it renewed"
            );
        }
    }
    Ok(())
}

/// What the cloud said; what that cost belongs to no lane.
fn counted(shared: &Shared, (view, cost): (GatewayView, Cost)) -> GatewayView {
    shared.client.meter().other(cost.sent, cost.received);
    view
}

/// Away from the async threads: each of these syncs a file.
async fn on_disk<T: Send + 'static>(
    identity: &Arc<Identity>,
    change: impl FnOnce(&Identity) -> Result<T, IdentityError> + Send + 'static,
) -> Result<T, IdentityError> {
    let identity = Arc::clone(identity);
    match tokio::task::spawn_blocking(move || change(&identity)).await {
        Ok(changed) => changed,
        // The runtime stops.
        Err(_) => std::future::pending().await,
    }
}

/// The token in the file, if one is configured.
fn token(path: Option<&Path>) -> Result<Option<Secret>, Failure> {
    let Some(path) = path else {
        return Ok(None);
    };
    let unusable = |why: String| Failure::Token {
        path: path.display().to_string(),
        why,
    };
    let file = File::open(path).map_err(|e| unusable(e.to_string()))?;
    let mode = file.metadata().map(|m| m.permissions().mode() & 0o777);
    if mode.is_ok_and(|mode| mode & 0o007 != 0) {
        tracing::warn!(path = %path.display(), "everybody on this machine can read the enrolment token: chmod 600 it");
    }
    let mut text = String::new();
    file.take(TOKEN_MAX as u64 * 4 + 2)
        .read_to_string(&mut text)
        .map_err(|e| unusable(e.to_string()))?;
    let token = text.trim();
    match token.chars().count() {
        0 => Err(unusable("it is empty".to_owned())),
        1..=TOKEN_MAX => Ok(Some(Secret::new(token))),
        _ => Err(unusable(format!("it is over {TOKEN_MAX} characters"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_the_files_text_without_its_newline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let read = || token(Some(&path));
        assert!(token(None).unwrap().is_none());
        let failure = read().unwrap_err();
        assert!(failure.remedy().unwrap().contains("linli sync enrol"));
        for (text, expected) in [("abc\n", Some("abc")), (" \n", None)] {
            std::fs::write(&path, text).unwrap();
            let read = read().ok().flatten();
            assert_eq!(read.as_ref().map(Secret::reveal), expected);
        }
        std::fs::write(&path, "x".repeat(TOKEN_MAX + 1)).unwrap();
        let failure = read().unwrap_err().to_string();
        assert!(failure.ends_with("it is over 256 characters"), "{failure}");
        assert!(!failure.contains("xxx"));
    }
}
