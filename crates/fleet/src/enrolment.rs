//! The gateways come into being: each has a token from the operator, enrols with it through the faults,
//! and has two tracks from then on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cloud_protocol::{Enrolment, GatewayView, JSON, SealingKey};
use firmware_protocols::Ident;
use firmware_protocols::event::Secret;
use firmware_protocols::value::{Value, map};
use http::Method;
use simulator::Random;

use crate::caller::{Caller, Identity, Outcome, encoded};
use crate::life::{Demand, Parcels};
use crate::line::{Asked, Break, Line};
use crate::tally::Tally;
use crate::track::{Life, Track};

/// How long an enrolment may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many enrol at the same time.
const AT_A_TIME: usize = 64;

/// Both tracks of a gateway.
pub struct Gateway {
    /// Its name.
    pub name: Ident,
    /// `fulfilment`, then `health` and `demand`.
    pub tracks: [Track; 2],
}

/// What all gateways have in common.
#[derive(Clone)]
pub struct Commons {
    /// Where the clouds are.
    pub clouds: Arc<[SocketAddr]>,
    /// The seed of everything.
    pub seed: u64,
    /// From one batch of a track to the next, in the mean.
    pub gap: Duration,
    /// What is counted.
    pub tally: Arc<Tally>,
}

/// Enrols so many gateways, in the storm.
pub async fn enrol_all(commons: &Commons, gateways: usize) -> anyhow::Result<Vec<Gateway>> {
    let mut all = Vec::with_capacity(gateways);
    let mut under_way = tokio::task::JoinSet::new();
    for number in 0..gateways {
        if under_way.len() >= AT_A_TIME
            && let Some(done) = under_way.join_next().await
        {
            all.push(done??);
        }
        let commons = commons.clone();
        under_way.spawn(async move { enrol(&commons, number).await });
    }
    while let Some(done) = under_way.join_next().await {
        all.push(done??);
    }
    all.sort_by(|one: &Gateway, other| one.name.cmp(&other.name));
    Ok(all)
}

async fn enrol(commons: &Commons, number: usize) -> anyhow::Result<Gateway> {
    let name = Ident::new(&format!("g-{number:05}")).context("a gateway's name")?;
    let random = Random::new(commons.seed).fork(name.as_str());
    let identity = Arc::new(Identity::new(name.clone(), &mut random.fork("key"))?);
    let token = token_for(commons, &name).await?;
    let line = || Line::new(Arc::clone(&commons.clouds), number);
    let calls = |name: &str| {
        let tally = Arc::clone(&commons.tally);
        let mut caller = Caller::new(Arc::clone(&identity), line(), random.fork(name), tally);
        caller.stormy = true;
        caller
    };
    let key = sealing_key(calls("enrolment"), token).await?;
    let tracks = tracks(commons, &random, key, calls)?;
    Ok(Gateway { name, tracks })
}

/// The tracks of a gateway that no cloud has heard of: to make batches with.
pub fn unheard_of(commons: &Commons, name: &str, key: &SealingKey) -> anyhow::Result<[Track; 2]> {
    let random = Random::new(commons.seed).fork(name);
    let name = Ident::new(name).context("a gateway's name")?;
    let identity = Arc::new(Identity::new(name, &mut random.fork("key"))?);
    let calls = |name: &str| {
        let line = Line::new(Arc::clone(&commons.clouds), 0);
        let tally = Arc::clone(&commons.tally);
        Caller::new(Arc::clone(&identity), line, random.fork(name), tally)
    };
    tracks(commons, &random, key.clone(), calls)
}

fn tracks(
    commons: &Commons,
    random: &Random,
    key: SealingKey,
    calls: impl Fn(&str) -> Caller,
) -> anyhow::Result<[Track; 2]> {
    let caller = calls("urgent");
    let name = caller.identity().gateway.clone();
    let parcels = Life::Parcels(Parcels::new(name, random.fork("parcels"))?);
    let demand = Life::Demand(Demand::new(random.fork("demand"))?);
    let track = |caller, life, name: &str| {
        let seal = (commons.seed, key.clone());
        Track::new(caller, life, seal, commons.gap, random.fork(name))
    };
    Ok([
        track(caller, parcels, "urgent"),
        track(calls("slow"), demand, "slow"),
    ])
}

/// Enrols until it is answered: the same token with the same key may be sent again.
async fn sealing_key(mut caller: Caller, token: Secret) -> anyhow::Result<SealingKey> {
    let body = Enrolment {
        token,
        gateway: caller.identity().gateway.clone(),
        public_key: caller.identity().public_key()?,
    };
    let body = encoded(&body.to_value());
    let deadline = Instant::now() + PATIENCE;
    let mut failures = 0;
    while Instant::now() < deadline {
        match caller.call(Method::POST, "/v1/enrol", body.clone()).await? {
            Outcome::Done(view) => return Ok(GatewayView::from_value(&view)?.sealing_key),
            Outcome::Refused(problem) => bail!("enrolment refused: {problem}"),
            Outcome::Again => tokio::time::sleep(caller.pause(failures)).await,
        }
        failures += 1;
    }
    bail!("enrolment wasn't answered within {PATIENCE:?}")
}

/// A token for one gateway, from the operator's call.
async fn token_for(commons: &Commons, gateway: &Ident) -> anyhow::Result<Secret> {
    let body = map([("gateway", Some(gateway.as_str().into()))]);
    let asked = Asked {
        method: Method::POST,
        path: "/v1/admin/tokens".to_string(),
        host: "localhost",
        signed: None,
        content: body.to_json().into(),
        packed: false,
        media: JSON,
    };
    let mut line = Line::new(Arc::clone(&commons.clouds), 0);
    let answer = line.ask(&asked, Break::Nothing).await?;
    let token = answer.value.as_ref().and_then(|value| value.get("token"));
    match token {
        Some(Value::Text(token)) if answer.status == 201 => Ok(Secret::new(token)),
        _ => bail!(
            "the operator's call for a token was answered {}",
            answer.status
        ),
    }
}
