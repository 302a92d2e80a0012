//! The link over somebody else's broker: MQTT 5, a persistent session, acknowledged after commit.
//!
//! Two connections, since one that acknowledges and answers in the same burst overflows its own
//! queue: one takes events and acknowledges them, the other sends receipts and commands.
//!
//! Events are under way to the disk side by side, up to the window that the broker is told
//! (receive maximum); they are acknowledged in the order in which they came (MQTT 5 § 4.6). When
//! the journal doesn't take one, nothing more is acknowledged and the connection is made anew: the
//! broker, which still has them, sends them again.

mod settings;

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use firmware_protocols::Ident;
use firmware_protocols::topic::{self, Channel};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{
    ConnectReturnCode, Packet, Publish, PublishProperties, RetainForwardRule, SubscribeFilter,
};
use rumqttc::{
    AckMode, AsyncClient, Broker, Event, EventLoop, MqttOptions, NetworkOptions, PersistedAckMode,
    PersistedSession, PublishOptions, SessionStore, SessionStoreError, SessionStoreKey, Transport,
};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::mapped::{Publication, Retained};
use super::{LinkStatus, ToDevice};
use crate::intake::{Answer, Intake};
use crate::knocks::{Knock, why};
use crate::names::Names;

pub use settings::Settings;
pub(crate) use settings::address;
use settings::transport;

/// The largest packet that the broker may send us; larger ones it drops for us (MQTT 5 § 3.1.2.11.4).
const PACKET_MAX_BYTES: u32 = 70_000;
/// How long a connection may be away before the broker forgets the session: a week.
const SESSION_EXPIRY_S: u32 = 7 * 86_400;
/// Of the library's own; it says so if it has another.
const SESSION_FORMAT_VERSION: u16 = 1;
/// The connection that takes publishes nothing.
const TAKER_IN_FLIGHT: u16 = 1;
/// How many messages may wait for the broker's PUBACK.
const SENDER_IN_FLIGHT: u16 = 64;
/// What our own devices publish to.
const OURS: [&str; 2] = ["linli/v1/+/event", "linli/v1/+/status"];
/// How many topics are asked for in one packet.
const SUBSCRIBED_AT_ONCE: usize = 100;
const KEEP_ALIVE_S: u16 = 30;
/// How long it may take until the broker has let us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How many messages may wait for the connection that sends.
const WAITING_MAX: usize = 1_024;
/// How many may be in the library's own queue, where none can be taken back.
const SENDING_MAX: usize = 8;
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LONGEST: Duration = Duration::from_secs(30);

/// Serves the link until `shutdown`.
pub async fn serve(
    settings: Settings,
    intake: Intake,
    status: Arc<LinkStatus>,
    outbound: mpsc::Receiver<ToDevice>,
    mut shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let tls = transport(&settings)?;
    let names = Names::default();
    let sending = options(&settings, &tls, &names, Role::Sends);
    let sender = tokio::spawn(send_all(sending, outbound, intake.clone()));
    let mut wait = RETRY_FIRST;
    while !*shutdown.borrow() {
        let session = Session::open(
            &settings,
            options(&settings, &tls, &names, Role::Takes),
            &intake,
            &status,
        );
        let ended = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            ended = session => ended,
        };
        status.down(&ended.why);
        tracing::warn!(why = %ended.why, "the external broker is away; trying again");
        wait = if ended.worked {
            RETRY_FIRST
        } else {
            (wait * 2).min(RETRY_LONGEST)
        };
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            () = sleep(wait) => {}
        }
    }
    sender.abort();
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Takes,
    Sends,
}

fn options(settings: &Settings, tls: &Option<Transport>, names: &Names, role: Role) -> MqttOptions {
    let id = match role {
        Role::Takes => settings.client_id.clone(),
        Role::Sends => format!("{}-out", settings.client_id),
    };
    let mut options = MqttOptions::new(id, Broker::tcp(settings.host.clone(), settings.port));
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options
        .set_keep_alive(KEEP_ALIVE_S)
        .set_max_packet_size(Some(PACKET_MAX_BYTES))
        .set_network_options(network)
        .set_connect_timeout(CONNECT_TIMEOUT);
    let (names, host, port) = (names.clone(), settings.host.clone(), settings.port);
    options.set_socket_connector(move |_, network| {
        let (names, host) = (names.clone(), host.clone());
        async move { connect(&names, &host, port, network).await }
    });
    if let Some(transport) = tls {
        options.set_transport(transport.clone());
    }
    if let Some((user, password)) = &settings.login {
        options.set_credentials(user.clone(), password.clone());
    }
    // The library makes room for each at once: 65,535 would cost tens of megabytes.
    options.set_outgoing_inflight_upper_limit(match role {
        Role::Takes => TAKER_IN_FLIGHT,
        Role::Sends => SENDER_IN_FLIGHT,
    });
    if role == Role::Takes {
        options
            .set_ack_mode(AckMode::Manual)
            .set_clean_start(false)
            .set_session_store(NothingToRestore)
            .set_session_expiry_interval(Some(SESSION_EXPIRY_S))
            .set_receive_maximum(Some(settings.window));
    }
    options
}

/// Connects to the first address of the broker that lets us.
async fn connect(
    names: &Names,
    host: &str,
    port: u16,
    network: NetworkOptions,
) -> io::Result<TcpStream> {
    let mut last = None;
    for address in names.find(host, port).await? {
        match rumqttc::default_socket_connect(address.to_string(), network.clone()).await {
            Ok(stream) => return Ok(stream),
            Err(e) => last = Some(e),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other(format!("{host} has no address"))))
}

/// The library's memory of a session, for a connection that only takes: there is nothing of its own
/// to bring into line with the broker's, whatever run of the gateway the session is from. (Without a
/// store the library refuses to go on with a session, or won't subscribe in it.)
#[derive(Debug)]
struct NothingToRestore;

/// What a session store's methods return.
type Restored<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

impl SessionStore for NothingToRestore {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Restored<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: SESSION_FORMAT_VERSION,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: Some(SESSION_EXPIRY_S),
            outgoing_inflight_upper_limit: Some(TAKER_IN_FLIGHT),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(async { Ok(Some(session)) })
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Restored<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Restored<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// One connection that takes events, from CONNECT to its end.
struct Session<'a> {
    intake: &'a Intake,
    status: &'a LinkStatus,
    settings: &'a Settings,
    client: AsyncClient,
    events: EventLoop,
    /// Events under way to the disk, in the order in which they came.
    under_way: mpsc::Sender<UnderWay>,
    not_taken: mpsc::Receiver<String>,
    connected: bool,
    /// How many of our subscriptions were answered.
    answered: usize,
    /// The topics of mapped devices that we asked for.
    asked: BTreeSet<String>,
}

struct UnderWay {
    publish: Publish,
    answer: JoinHandle<Answer>,
}

struct Ended {
    why: String,
    worked: bool,
}

impl<'a> Session<'a> {
    async fn open(
        settings: &'a Settings,
        options: MqttOptions,
        intake: &'a Intake,
        status: &'a LinkStatus,
    ) -> Ended {
        let window = usize::from(settings.window);
        let (client, events) = AsyncClient::builder(options)
            .capacity(2 * window + 16)
            .build();
        let (under_way, to_acknowledge) = mpsc::channel(2 * window);
        let (refused, not_taken) = mpsc::channel(1);
        let acknowledging = tokio::spawn(acknowledge(client.clone(), to_acknowledge, refused));
        let session = Session {
            intake,
            status,
            settings,
            client,
            events,
            under_way,
            not_taken,
            connected: false,
            answered: 0,
            asked: BTreeSet::new(),
        };
        let ended = session.run().await;
        acknowledging.abort();
        ended
    }

    async fn run(mut self) -> Ended {
        let mut mapped = self.settings.mapped.changed();
        loop {
            let event = tokio::select! {
                event = self.events.poll() => event,
                Ok(()) = mapped.changed(), if self.connected => {
                    match self.ask_for_mapped() {
                        Ok(()) => continue,
                        Err(e) => return self.ended(format!("{e:#}")),
                    }
                }
                Some(why) = self.not_taken.recv() => return self.ended(why),
            };
            match event {
                Ok(Event::Incoming(packet)) => {
                    if let Err(e) = self.incoming(packet).await {
                        return self.ended(format!("{e:#}"));
                    }
                }
                Ok(_) => {}
                Err(e) => {
                    let why = format!("{}:{}: {e}", self.settings.host, self.settings.port);
                    return self.ended(why);
                }
            }
        }
    }

    fn ended(&self, why: String) -> Ended {
        Ended {
            why,
            worked: self.connected,
        }
    }

    async fn incoming(&mut self, packet: Packet) -> anyhow::Result<()> {
        match packet {
            Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success => {
                for filter in OURS {
                    self.client
                        .try_subscribe(filter, QoS::AtLeastOnce)
                        .context("asking the broker for events")?;
                }
                self.ask_for_mapped()?;
            }
            Packet::ConnAck(ack) => bail!("the broker refuses us: {:?}", ack.code),
            Packet::SubAck(ack) => {
                let refused = ack.return_codes.iter().any(|code| {
                    !matches!(
                        code,
                        rumqttc::mqttbytes::v5::SubscribeReasonCode::Success(_)
                    )
                });
                self.answered += 1;
                if refused && self.answered > OURS.len() {
                    tracing::error!(
                        "the broker doesn't let us read topics of devices with a profile: allow them in its ACL"
                    );
                } else if refused {
                    bail!("the broker doesn't let us read linli/v1/+/event: allow it in its ACL");
                }
                self.connected = true;
                self.status.up();
            }
            Packet::Publish(publish) => self.publish(publish).await?,
            Packet::Disconnect(disconnect) => {
                bail!("the broker ended it: {:?}", disconnect.reason_code)
            }
            _ => {}
        }
        Ok(())
    }

    /// Who spoke under a name that isn't in the configuration, is shown to the technician.
    fn note_stranger(&self, topic: &str) {
        let name = topic.split('/').nth(2).unwrap_or_default();
        let known = self.settings.clients.now();
        if name.is_empty() || Ident::new(name).is_ok_and(|id| known.has(&id)) {
            return;
        }
        self.settings.knocks.note(Knock {
            client_id: name.to_owned(),
            username: None,
            from: None,
            why: why::STRANGER,
        });
    }

    /// Asks for the topics of mapped devices that weren't asked for yet, and for no others any more.
    fn ask_for_mapped(&mut self) -> anyhow::Result<()> {
        let wanted: BTreeSet<String> = self.settings.mapped.topics().into_iter().collect();
        let new: Vec<&String> = wanted.difference(&self.asked).collect();
        for some in new.chunks(SUBSCRIBED_AT_ONCE) {
            let filters = some.iter().map(|topic| {
                let mut filter = SubscribeFilter::new(topic.as_str(), QoS::AtLeastOnce);
                // What a session goes on with was handed out when it began.
                filter.retain_forward_rule = RetainForwardRule::OnNewSubscribe;
                filter
            });
            self.client
                .try_subscribe_many(filters)
                .context("asking the broker for the topics of devices with a profile")?;
        }
        for gone in self.asked.difference(&wanted) {
            self.client
                .try_unsubscribe(gone.as_str())
                .context("asking the broker for less")?;
        }
        self.asked = wanted;
        Ok(())
    }

    async fn publish(&mut self, publish: Publish) -> anyhow::Result<()> {
        let known = self.settings.clients.now();
        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
        let intake = self.intake.clone();
        let payload = publish.payload.clone();
        let mapped = self.settings.mapped.has_topic(&topic);
        if !mapped {
            self.note_stranger(&topic);
        }
        let answer = match topic::parse(&topic) {
            Some((device, Channel::Event)) if known.devices.contains(&device) => {
                match intake.events_if_due(device, payload) {
                    Some(taken) => tokio::spawn(taken),
                    // Over its limit: without a receipt the device sends it again. The queue in the
                    // broker is one for all and must not wait for one.
                    None => tokio::spawn(async { Answer::Taken }),
                }
            }
            Some((device, Channel::Status)) => {
                if known.devices.contains(&device) {
                    intake.presence(&device, payload == Bytes::from_static(b"online"));
                }
                tokio::spawn(async { Answer::Taken })
            }
            _ if mapped => {
                let publication = Publication {
                    topic,
                    payload,
                    id: (publish.qos != QoS::AtMostOnce).then_some(publish.pkid),
                    again: publish.dup,
                    retained: match publish.retain {
                        true => Retained::Stored,
                        false => Retained::No,
                    },
                };
                match self.settings.mapped.anybodys(publication) {
                    Some(taking) => tokio::spawn(taking),
                    None => tokio::spawn(async { Answer::Taken }),
                }
            }
            _ if !self.intake.takes_stranger(payload.len()) => {
                tokio::spawn(async { Answer::Taken })
            }
            _ => tokio::spawn(async move { intake.stranger(&topic, payload).await }),
        };
        self.under_way
            .send(UnderWay { publish, answer })
            .await
            .context("acknowledging has ended")
    }
}

/// Acknowledges in order. What the journal didn't take ends the session.
async fn acknowledge(
    client: AsyncClient,
    mut under_way: mpsc::Receiver<UnderWay>,
    refused: mpsc::Sender<String>,
) {
    while let Some(UnderWay { publish, answer }) = under_way.recv().await {
        let why = match answer.await {
            Ok(Answer::Taken | Answer::Malformed(_)) => match client.ack(&publish).await {
                Ok(()) => continue,
                Err(e) => e.to_string(),
            },
            Ok(Answer::NotTaken(why)) => why,
            Err(e) => e.to_string(),
        };
        // The session ends at the first; nobody reads a second.
        let _ = refused.try_send(why);
        return;
    }
}

/// The connection that sends. Messages wait for it while they are of use: a command until it runs
/// out, a receipt until there is no room. What was on its way when the connection was lost is given
/// up, never sent later: a receipt comes again with the next event, a command is repeated within its
/// time or runs out.
async fn send_all(options: MqttOptions, messages: mpsc::Receiver<ToDevice>, intake: Intake) {
    let (stamped, mut waiting) = mpsc::channel(WAITING_MAX);
    let sending = async {
        let mut wait = RETRY_FIRST;
        loop {
            let worked = send_while_connected(options.clone(), &mut waiting, &intake).await;
            wait = if worked {
                RETRY_FIRST
            } else {
                (wait * 2).min(RETRY_LONGEST)
            };
            sleep(wait).await;
        }
    };
    tokio::select! {
        () = stamp(messages, stamped) => {}
        () = sending => {}
    }
}

/// A message and when it came.
type Stamped = (Instant, ToDevice);

/// Notes when each message came. What finds no room is dropped.
async fn stamp(mut messages: mpsc::Receiver<ToDevice>, stamped: mpsc::Sender<Stamped>) {
    while let Some(message) = messages.recv().await {
        if let Err(e) = stamped.try_send((Instant::now(), message)) {
            let (_, message) = e.into_inner();
            tracing::warn!(device = %message.device, "the broker is slow or away: message dropped");
        }
    }
}

/// One connection that sends, until it is lost; whether it ever worked.
async fn send_while_connected(
    options: MqttOptions,
    waiting: &mut mpsc::Receiver<Stamped>,
    intake: &Intake,
) -> bool {
    let (client, mut events) = AsyncClient::builder(options).capacity(SENDING_MAX).build();
    let (up, mut is_up) = watch::channel(false);
    let polling = async {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(ack))) => {
                    up.send_replace(ack.code == ConnectReturnCode::Success);
                }
                Ok(_) => {}
                Err(e) => return tracing::debug!(error = %e, "the sending connection is away"),
            }
        }
    };
    let sending = async {
        // The sender lives as long as `polling`, which ends first.
        let _ = is_up.wait_for(|up| *up).await;
        while let Some(message) = waiting.recv().await {
            send(&client, message, intake).await;
        }
    };
    tokio::select! {
        () = polling => {}
        () = sending => {}
    }
    *up.borrow()
}

/// Sends one message, unless its time is over.
async fn send(client: &AsyncClient, (came, message): Stamped, intake: &Intake) {
    let topic = message.channel.topic(&message.device);
    let mut options = PublishOptions::new(QoS::AtLeastOnce);
    if let Some(ms) = message.expiry_ms {
        let Some(left_ms) = left_ms(ms, came.elapsed()) else {
            tracing::info!(device = %message.device, "a command ran out before it could be sent");
            return;
        };
        let seconds = u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
        options = options.properties(PublishProperties {
            message_expiry_interval: Some(seconds),
            ..PublishProperties::default()
        });
    }
    match client.publish(topic, message.payload, options).await {
        Ok(_) => {
            if let Some(command) = message.open {
                intake.command_sent(command);
            }
        }
        Err(e) => tracing::warn!(device = %message.device, error = %e, "message dropped"),
    }
}

/// What is left of a message's time.
fn left_ms(expiry_ms: u64, waited: Duration) -> Option<u64> {
    let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
    expiry_ms.checked_sub(waited_ms).filter(|left| *left > 0)
}
