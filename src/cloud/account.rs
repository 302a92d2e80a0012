//! A technician's "try it now": each step on the way to the cloud by itself, told as it ends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use cloud_protocol::{GatewayView, Lane, ProblemType};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Shared;
use super::failure::Failure;
use super::requests::{Step, Told};
use super::standing::{Standing, compare};
use super::stream::Line;
use super::urge::{self, Done};

/// How long the name, the connection and TLS may take, each.
const STEP_TIME: Duration = Duration::from_secs(15);
/// How long is watched what goes up and comes down. It goes on beyond that by itself.
const WATCHED_TIME: Duration = Duration::from_secs(40);
/// How far the clocks may be apart, ms. The cloud refuses requests that are off by five times as much.
const APART_MAX_MS: i64 = 60_000;

/// Tries each step and tells how it went; ends at the first without which the next make no sense, or
/// when nobody listens any more. Works whether the gateway is enrolled or not.
pub(super) async fn run(shared: &Shared, account: &mpsc::Sender<Step>) {
    let mut teller = Teller {
        account,
        since: Instant::now(),
    };
    // Nobody listens any more, or the way ends here: either way it is over.
    let _ = steps(shared, &mut teller).await;
}

/// The account is over before its last step.
struct Over;

/// Tells the steps, and how long each took.
struct Teller<'a> {
    account: &'a mpsc::Sender<Step>,
    since: Instant,
}

impl Teller<'_> {
    /// Tells a step that has ended. The next begins.
    async fn tell(
        &mut self,
        name: &'static str,
        outcome: Result<String, Told>,
    ) -> Result<(), Over> {
        let took_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let step = Step {
            name,
            outcome,
            took_ms,
        };
        let heard = self.account.send(step).await;
        self.since = Instant::now();
        heard.map_err(|_| Over)
    }

    /// Tells that the way ends at this step.
    async fn ends<T>(&mut self, name: &'static str, why: Told) -> Result<T, Over> {
        self.tell(name, Err(why)).await?;
        Err(Over)
    }
}

async fn steps(shared: &Shared, teller: &mut Teller<'_>) -> Result<(), Over> {
    way(shared, teller).await?;
    let before = shared.ledger.standing(BTreeMap::new()).await;
    let view = enrolment(shared, teller).await?;
    let lanes = match before {
        Ok(before) => lanes(shared, before, &view).await,
        Err(e) => Err(told(&e.into())),
    };
    teller.tell("lanes", lanes).await?;
    let sent = uplink(shared).await;
    teller.tell("uplink", sent).await?;
    let came = downlink(shared).await;
    teller.tell("downlink", came).await
}

/// Name, connection, TLS.
async fn way(shared: &Shared, teller: &mut Teller<'_>) -> Result<(), Over> {
    let client = &shared.client;
    let (host, port) = shared.config.url.host();
    let found = match within(client.try_name()).await {
        Ok(found) => found,
        Err(why) => return teller.ends("name", why).await,
    };
    let addresses: Vec<String> = found.iter().map(|a| a.ip().to_string()).collect();
    let words = match addresses.as_slice() {
        [address] if address == host => format!("{host} needs no name server"),
        addresses => format!("{host} is {}", addresses.join(", ")),
    };
    teller.tell("name", Ok(words)).await?;

    let tcp = match within(client.try_connection(found)).await {
        Ok(tcp) => tcp,
        Err(why) => return teller.ends("connection", why).await,
    };
    let peer = tcp.peer();
    let words = peer.map_or_else(|_| format!("port {port}"), |peer| peer.to_string());
    teller
        .tell("connection", Ok(format!("connected to {words}")))
        .await?;

    match within(client.try_tls(tcp)).await {
        Ok(line) => teller.tell("tls", Ok(tls_words(shared, &line))).await,
        Err(why) => teller.ends("tls", why).await,
    }
}

/// What the clocks say, and whether the cloud knows this gateway and its signature.
async fn enrolment(shared: &Shared, teller: &mut Teller<'_>) -> Result<GatewayView, Over> {
    let Some(enrolled) = shared.client.enrolled() else {
        let why = told(&shared.client.not_enrolled());
        return teller.ends("enrolment", why).await;
    };
    let asked = shared.client.view().await;
    match &asked {
        Err(failure) if clock_refused(failure) => return teller.ends("clock", told(failure)).await,
        Err(failure) if !failure.reached() => return teller.ends("enrolment", told(failure)).await,
        _ => teller.tell("clock", clock(shared)).await?,
    }
    match asked {
        Ok((view, cost)) => {
            shared.client.meter().other(cost.sent, cost.received);
            let words = format!(
                "known as {}, signature taken; codes are sealed to the key '{}'",
                enrolled.gateway, view.sealing_key.id
            );
            teller.tell("enrolment", Ok(words)).await?;
            Ok(view)
        }
        Err(failure) => teller.ends("enrolment", told(&failure)).await,
    }
}

/// Whether the cloud refuses a request because of the time that it bears.
fn clock_refused(failure: &Failure) -> bool {
    match failure {
        Failure::Refused(problem) => problem.kind == Some(ProblemType::Clock),
        _ => false,
    }
}

fn clock(shared: &Shared) -> Result<String, Told> {
    let Some(skew_ms) = shared.status.snapshot().skew_ms else {
        return Ok("the cloud didn't say what time it is there".to_owned());
    };
    let apart_s = skew_ms.unsigned_abs() / 1_000;
    let words = match skew_ms {
        -1_999..2_000 => "this box's clock is the cloud's, within two seconds".to_owned(),
        2_000.. => format!("this box's clock is {apart_s} s behind the cloud's"),
        _ => format!("this box's clock is {apart_s} s ahead of the cloud's"),
    };
    if skew_ms.saturating_abs() <= APART_MAX_MS {
        return Ok(words);
    }
    Err(Told {
        what: words,
        remedy: Some("connect this box to a time server, or set its clock: timedatectl".to_owned()),
    })
}

/// Each lane beside the cloud's.
async fn lanes(
    shared: &Shared,
    before: Option<Standing>,
    view: &GatewayView,
) -> Result<String, Told> {
    let theirs = view.lanes.iter().map(|(lane, view)| (*lane, view.last));
    let mut at: BTreeMap<Lane, u64> = Lane::ALL.into_iter().map(|lane| (lane, 0)).collect();
    at.extend(theirs);
    let after = shared.ledger.standing(at).await;
    match (before, after.map_err(|e| told(&e.into()))?) {
        (Some(before), Some(after)) => compare(&before, &after, view),
        _ => Ok("where they stand here isn't known".to_owned()),
    }
}

async fn uplink(shared: &Shared) -> Result<String, Told> {
    let before = shared.status.snapshot().items_sent;
    let done = match timeout(WATCHED_TIME, urge::uplink_now(shared)).await {
        Ok(done) => done?,
        Err(_) => return still_sending(shared, before),
    };
    let held = shared.status.snapshot().held;
    if let Some(first) = held.first() {
        let lanes: Vec<String> = held
            .iter()
            .map(|held| format!("the lane '{}' is refused: {}", held.lane, held.what))
            .collect();
        return Err(Told {
            what: format!("{}; {}", sent_words(&done), lanes.join("; ")),
            remedy: Some(first.remedy.to_owned()),
        });
    }
    Ok(sent_words(&done))
}

/// Much waits, or the line is slow: that is no failure as long as something gets through.
fn still_sending(shared: &Shared, before: u64) -> Result<String, Told> {
    let snapshot = shared.status.snapshot();
    let sent = snapshot.items_sent.saturating_sub(before);
    let seconds = WATCHED_TIME.as_secs();
    if sent == 0 {
        return Err(Told {
            what: format!("the cloud has taken nothing within {seconds} s"),
            remedy: Some(
                "check the signal; it is tried again by itself, see linli sync".to_owned(),
            ),
        });
    }
    let waiting: u64 = snapshot.backlog.unwrap_or_default().values().sum();
    Ok(format!(
        "the cloud took {} within {seconds} s, {waiting} still wait; it goes on by itself",
        items(sent)
    ))
}

fn sent_words(done: &Done) -> String {
    let lanes: Vec<String> = done
        .items
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(lane, n)| format!("{} {n}", lane.name()))
        .collect();
    match lanes.is_empty() {
        true => "nothing waits".to_owned(),
        false => format!("the cloud took {}; {}", lanes.join(", "), bytes_words(done)),
    }
}

async fn downlink(shared: &Shared) -> Result<String, Told> {
    let Ok(done) = timeout(WATCHED_TIME, urge::downlink_now(shared)).await else {
        return Err(Told {
            what: format!("no answer within {} s", WATCHED_TIME.as_secs()),
            remedy: Some("check the signal; it is tried again by itself".to_owned()),
        });
    };
    let done = done?;
    let mut words = match done.received_items {
        0 => "nothing new".to_owned(),
        n => format!("{} came", items(n)),
    };
    let _ = write!(words, "; {}", bytes_words(&done));
    Ok(words)
}

fn bytes_words(done: &Done) -> String {
    format!("{} bytes up, {} bytes down", done.sent, done.received)
}

fn items(n: u64) -> String {
    match n {
        1 => "1 item".to_owned(),
        n => format!("{n} items"),
    }
}

/// The version of TLS, and the certificate that the cloud showed.
fn tls_words(shared: &Shared, line: &Line) -> String {
    let host = shared.config.url.host().0;
    let Some(version) = line.tls() else {
        return "none: the cloud is on this machine".to_owned();
    };
    let certificates = shared.status.snapshot().certificates;
    let cloud = certificates.iter().find(|c| c.what == "cloud");
    let left = cloud.map_or_else(String::new, |c| match c.days_left {
        1 => ", 1 day left".to_owned(),
        days => format!(", {days} days left"),
    });
    format!("{version}; the certificate is good for {host}{left}")
}

async fn within<T>(step: impl Future<Output = Result<T, Failure>>) -> Result<T, Told> {
    match timeout(STEP_TIME, step).await {
        Ok(tried) => tried.map_err(|failure| told(&failure)),
        Err(_) => Err(Told {
            what: format!("nothing within {} s", STEP_TIME.as_secs()),
            remedy: Some("check the signal, and whether a firewall is in the way".to_owned()),
        }),
    }
}

fn told(failure: &Failure) -> Told {
    Told {
        what: failure.to_string(),
        remedy: Some(failure.advice().to_owned()),
    }
}
