//! A conformance run: each clause of the sync API tried against somebody's own cloud.
//!
//! The run is a gateway of its own, with a throw-away name, that also asks wrongly. It enrols with
//! one token, and then says of each clause whether it held, what broke it, or why it wasn't shown.
//! What it leaves behind at the cloud is one gateway of that name with a few items.
//!
//! * [`clauses`] — the clauses, by id.
//! * [`report`] — what came of each.
//! * `run` — the gateway under test: what it asks, and how answers are judged.
//! * `request`, `http` — requests, signed as they must be or not, and their way.
//! * `track` — a lane's items with their chain.
//! * `enrolment`, `signatures`, `content`, `packed`, `uplink`, `refusals`, `epochs`, `at_once`,
//!   `keys`, `downlink` — what is asked.

mod at_once;
pub mod clauses;
mod content;
mod downlink;
mod enrolment;
mod epochs;
mod http;
mod keys;
mod packed;
mod refusals;
pub mod report;
mod request;
mod run;
mod signatures;
mod track;
mod uplink;

use std::path::PathBuf;

use cloud_protocol::ProblemType;
use firmware_protocols::Ident;
use firmware_protocols::event::Secret;

use crate::cloud::config::{CloudUrl, ConfigError};
use report::Report;
use run::Run;

/// What a run's gateway is called, or how its name begins.
pub const NAME: &str = "conform";

/// What is tried.
#[derive(Debug)]
pub struct Options {
    /// The cloud's URL, as a gateway's configuration has it.
    pub url: String,
    /// An enrolment token of the cloud, not yet used.
    pub token: Secret,
    /// The only authorities that count, in PEM; none: this machine's own.
    pub ca_file: Option<PathBuf>,
    /// The gateway that the token is for; none: a random name.
    pub gateway: Option<Ident>,
}

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
pub enum CannotRun {
    /// The URL isn't a cloud's.
    #[error(transparent)]
    Url(#[from] ConfigError),
    /// The name could be a gateway's in service.
    #[error(
        "'{0}' could be a gateway in service, whose key this run would replace: have the token made \
         for a name that begins with '{NAME}-'"
    )]
    Name(Ident),
    /// TLS can't be set up.
    #[error("{0}")]
    Tls(String),
    /// No random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The cloud doesn't answer at all.
    #[error("{url} doesn't answer: {why}. Check the URL, and that the cloud runs")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What happened.
        why: String,
    },
    /// The token isn't good, or enrolment doesn't work: all else needs it.
    #[error(
        "the cloud doesn't let the gateway '{gateway}' enrol ({answer}), and nothing else can be \
         tried without: check that the token is good, not used, and for this gateway (--gateway)"
    )]
    NotEnrolled {
        /// Its name.
        gateway: Ident,
        /// What the cloud said.
        answer: String,
    },
}

/// Tries every clause. `told` hears what is being tried.
pub async fn run(options: Options, told: &mut dyn FnMut(&str)) -> Result<Report, CannotRun> {
    let url = CloudUrl::new(&options.url)?;
    let gateway = match options.gateway {
        Some(id) if id.as_str() == NAME || id.as_str().starts_with("conform-") => id,
        Some(id) => return Err(CannotRun::Name(id)),
        None => random_name()?,
    };
    let http = http::Http::new(&url, options.ca_file.as_deref())?;
    let mut run = Run::new(http, gateway, options.token)?;
    told("enrolment");
    enrolment::strangers(&mut run).await?;
    enrolment::enrol(&mut run).await?;
    told("signatures, clock and replay");
    signatures::run(&mut run).await;
    told("the uplink");
    uplink::run(&mut run).await;
    refusals::run(&mut run).await;
    told("forms and compression");
    content::run(&mut run).await;
    packed::run(&mut run).await;
    told("batches at the same time");
    at_once::run(&mut run).await;
    told("epochs");
    epochs::run(&mut run).await;
    told("a change of key");
    keys::run(&mut run).await;
    told("the downlink");
    downlink::run(&mut run).await;
    told("enrolment again");
    enrolment::again(&mut run).await;
    Ok(run.into_report())
}

fn random_name() -> Result<Ident, CannotRun> {
    let nonce = cloud_protocol::secure::signed::nonce().ok_or(CannotRun::Random)?;
    let letters = nonce.chars().filter(char::is_ascii_alphanumeric);
    let letters: String = letters.take(10).collect();
    let name = format!("{NAME}-{}", letters.to_ascii_lowercase());
    Ident::new(&name).map_err(|_| CannotRun::Random)
}

/// A problem that a cloud must answer with, and its status.
const fn status_of(kind: ProblemType) -> u16 {
    match kind {
        ProblemType::Gap | ProblemType::Fork | ProblemType::Epoch => 409,
        ProblemType::Signature | ProblemType::Replay | ProblemType::Clock => 401,
        ProblemType::Malformed => 400,
        ProblemType::TooLarge => 413,
        ProblemType::UnknownGateway => 404,
        ProblemType::Token => 403,
    }
}
