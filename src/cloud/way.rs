//! The way to a cloud, tried from outside of a running gateway: name, connection, TLS. Nothing is sent
//! but TLS's own greeting.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

use super::broken;
use super::certificates::Certificates;
use super::config::CloudConfig;
use super::connect::{Connector, NotConnected};
use super::meter::Meter;
use super::requests::{Step, Told};
use super::tls;
use crate::clock::Clock;

/// Tries the steps, each for so long, and ends at the first that doesn't come about.
pub async fn tried(config: &CloudConfig, each: Duration) -> Vec<Step> {
    let mut steps = Vec::new();
    // The last step is the one that it ended at.
    let _ = walk(config, each, &mut steps).await;
    steps
}

async fn walk(config: &CloudConfig, each: Duration, steps: &mut Vec<Step>) -> Option<()> {
    let (host, port) = config.url.host();
    let connector = match connector(config) {
        Ok(connector) => connector,
        Err(e) => {
            let told = Told {
                what: format!("{e:#}"),
                remedy: None,
            };
            steps.push(step("tls", Err(told)));
            return None;
        }
    };
    let found = within(each, config, connector.find()).await;
    let found = tell(steps, "name", found, |found| {
        let found: Vec<String> = found.iter().map(|a| a.ip().to_string()).collect();
        format!("{host} is {}", found.join(", "))
    })?;
    let tcp = within(each, config, connector.reach(found)).await;
    let tcp = tell(steps, "connection", tcp, |_| format!("port {port} answers"))?;
    if config.url.is_https() {
        let line = within(each, config, connector.secure(tcp)).await;
        tell(steps, "tls", line, |_| "its certificate holds".to_owned())?;
    }
    Some(())
}

fn connector(config: &CloudConfig) -> anyhow::Result<Connector> {
    let certificates = Certificates::default();
    let tls = match config.url.is_https() {
        true => Some(tls::config(&config.tls, &Clock::system(), &certificates)?),
        false => None,
    };
    Connector::new(
        &config.url,
        tls,
        config.line.metered,
        certificates,
        Meter::default(),
    )
}

async fn within<T>(
    each: Duration,
    config: &CloudConfig,
    trying: impl Future<Output = Result<T, NotConnected>>,
) -> Result<T, Told> {
    match timeout(each, trying).await {
        Ok(Ok(good)) => Ok(good),
        Ok(Err(e)) => {
            let failure = broken::not_connected(&e, config.url.host());
            Err(Told {
                what: failure.to_string(),
                remedy: Some(failure.advice().to_owned()),
            })
        }
        Err(_) => Err(Told {
            what: format!("nothing within {} s", each.as_secs()),
            remedy: Some("check the signal, and whether a firewall is in the way".to_owned()),
        }),
    }
}

fn tell<T>(
    steps: &mut Vec<Step>,
    name: &'static str,
    tried: Result<T, Told>,
    words: impl Fn(&T) -> String,
) -> Option<T> {
    match tried {
        Ok(good) => {
            steps.push(step(name, Ok(words(&good))));
            Some(good)
        }
        Err(told) => {
            steps.push(step(name, Err(told)));
            None
        }
    }
}

fn step(name: &'static str, outcome: Result<String, Told>) -> Step {
    Step {
        name,
        outcome,
        took_ms: 0,
    }
}
