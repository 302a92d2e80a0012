//! One client that is in, from CONNACK to the end.
//!
//! Publications are handed on as they come and answered in their order, each when it is on disk (all
//! else is answered at once); up to
//! [`limits::IN_FLIGHT`] of them may be under way. Beyond that nothing more is read, so what a client
//! sends too fast stays with it. What is for the client waits in its [`Mailbox`](super::mailbox::Mailbox) until its window has
//! room. An idle session holds no buffer.
//!
//! A device that has used up its allowance ([`Gauge`]) is slowed: its publications are parked among the
//! answers and handed on one by one as the allowance allows, and when as many wait as may, nothing more is
//! read. What a person waits for isn't held: it is handed on at once, with all that stands before it, on
//! credit.

mod hearing;
mod parking;

use std::collections::{BTreeSet, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use firmware_protocols::Ident;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use super::admission::keep_alive_s;
use super::connect::Connect;
use super::publications::{Pending, Reply, is_urgent, publication, say_status};
use super::roster::Place;
use super::stream::{Stream, Took};
use super::wire::{Heard, Options, Out, QoS, Reason, Wire};
use super::{Shared, limits};
use crate::pace::Gauge;

/// How much may wait to be written before nothing more is read, bytes.
const UNWRITTEN_MAX_BYTES: usize = 64 * 1024;
/// How long a client may leave what it is sent unread.
const STALL_MAX: Duration = Duration::from_secs(10);
/// How long the answers may take that are under way when a connection ends.
const LINGER: Duration = Duration::from_secs(5);
/// How long, and for how many bytes, a connection that we end is read on, so that our last word
/// isn't lost to a reset.
const FAREWELL: Duration = Duration::from_millis(200);
const FAREWELL_BYTES: usize = 256 * 1024;
/// How soon a connection is looked at again that is held.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How a session ended.
enum End {
    /// The client took its leave; its will counts for nothing.
    Left,
    /// The connection ended, or was ended for a reason.
    Gone(Option<Reason>),
    /// Another link has the device's place.
    Replaced,
    /// The broker stops.
    Stopped,
}

/// Serves a client until one of them ends, another link takes the device's place, or `stop` resolves.
/// `welcome` is the CONNACK.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    stream: Stream,
    connect: Connect,
    device: &Ident,
    place: &mut Place,
    welcome: &[u8],
    stop: impl Future<Output = ()>,
) {
    let keep_alive = Duration::from_secs(keep_alive_s(&connect).into());
    let mut session = Session {
        shared,
        device,
        stream,
        wire: Wire::taking(&connect, shared.mapped.packet_max_bytes(device)),
        mapped: shared.mapped.is_client(device),
        inbound: BytesMut::new(),
        outbound: BytesMut::from(welcome),
        answers: VecDeque::new(),
        unreleased: BTreeSet::new(),
        subscriptions: [None; 4],
        in_flight: BTreeSet::new(),
        window: usize::from(
            connect
                .receive_max
                .unwrap_or(limits::IN_FLIGHT)
                .min(limits::IN_FLIGHT),
        ),
        next_id: 0,
        gauge: shared.pace.of(device),
        held_since: None,
        subscribed: 0,
        patience: keep_alive * 3 / 2,
        heard_at: Instant::now(),
        moved_at: Instant::now(),
    };
    let will = connect.will;
    let end = session.run(place, stop).await;
    let dropped = place.mailbox.dropped();
    if dropped > 0 {
        tracing::warn!(%device, dropped, "messages were dropped because the device acknowledged too slowly");
    }
    let reason = match end {
        End::Gone(reason) => reason,
        End::Left | End::Replaced | End::Stopped => None,
    };
    if let Some(reason) = reason {
        tracing::info!(%device, ?reason, "a device's connection is closed");
    }
    match &end {
        End::Replaced => {
            tracing::info!(%device, "another connection has taken this device's place");
        }
        _ => session.farewell(reason).await,
    }
    if !matches!(end, End::Left | End::Replaced)
        && let Some(will) = will
        && let Some(online) = super::status(&will.payload)
    {
        say_status(shared, device, place, online, will.retain);
    }
}

struct Session<'a> {
    shared: &'a Arc<Shared>,
    device: &'a Ident,
    stream: Stream,
    wire: Wire,
    /// Read and not yet understood.
    inbound: BytesMut,
    /// Said and not yet written.
    outbound: BytesMut,
    /// In the order of what they answer.
    answers: VecDeque<Pending>,
    /// QoS 2: promised, and not yet released.
    unreleased: BTreeSet<NonZeroU16>,
    /// It speaks for devices of other makers.
    mapped: bool,
    /// By channel.
    subscriptions: [Option<Options>; 4],
    /// Messages that the client has to acknowledge.
    in_flight: BTreeSet<NonZeroU16>,
    window: usize,
    next_id: u16,
    gauge: Arc<Gauge>,
    /// Since when something is parked, as far as that isn't accounted for.
    held_since: Option<Instant>,
    /// SUBSCRIBE and UNSUBSCRIBE packets that aren't charged yet: each counts as an event.
    subscribed: u32,
    /// How long without a sign of life.
    patience: Duration,
    heard_at: Instant,
    /// When something was last written, or began to wait for that.
    moved_at: Instant,
}

impl Session<'_> {
    async fn run(&mut self, place: &mut Place, stop: impl Future<Output = ()>) -> End {
        tokio::pin!(stop);
        loop {
            // Asked once: what a turn handles is charged at its end.
            let may_pass = self.gauge.may_pass(std::time::Instant::now());
            if let Err(end) = self.turn(place, may_pass).await {
                return end;
            }
            let reads = may_pass && self.has_room();
            let unwritten = self.unwritten();
            let room = self.in_flight.len() < self.window && !unwritten;
            let deadline = self.deadline(reads, may_pass);
            tokio::select! {
                biased;
                ended = &mut place.ended => return match ended {
                    Ok(()) => self.ending(End::Gone(Some(Reason::AdministrativeAction))).await,
                    Err(_) => End::Replaced,
                },
                () = &mut stop => return self.ending(End::Stopped).await,
                () = poll_fn(|context| poll_answers(&mut self.answers, context)) => {}
                writable = self.stream.writable(), if unwritten => {
                    if writable.is_err() {
                        return End::Gone(None);
                    }
                }
                readable = self.stream.readable(), if reads => {
                    match readable.and_then(|()| self.stream.try_read(&mut self.inbound)) {
                        Ok(Took::Nothing) => {}
                        Ok(Took::End) => return self.ending(End::Gone(None)).await,
                        Ok(Took::Bytes(bytes)) => {
                            self.heard_at = Instant::now();
                            self.gauge.charge_bytes(bytes, 0, 0, self.heard_at.into_std());
                        }
                        Err(_) => return End::Gone(None),
                    }
                }
                () = place.mailbox.stirred(), if room => {}
                () = sleep_until(deadline) => {
                    if let Some(end) = self.overdue(reads) {
                        return end;
                    }
                }
            }
        }
    }

    /// Does all that can be done without waiting: understands what was read, says what is ready,
    /// writes what the socket takes. `may_pass`: the device isn't too deep in debt to be understood.
    async fn turn(&mut self, place: &Place, may_pass: bool) -> Result<(), End> {
        self.hand_on_parked(place).await;
        self.answer()?;
        let mut packets = 0;
        while may_pass && self.has_room() {
            match self.wire.next(&mut self.inbound) {
                Ok(Some(heard)) => self.hear(heard, place).await?,
                Ok(None) => break,
                Err(reason) => return Err(End::Gone(Some(reason))),
            }
            packets += 1;
            self.answer()?;
        }
        if packets > 0 {
            let subscriptions = std::mem::take(&mut self.subscribed);
            let now = std::time::Instant::now();
            self.gauge.charge_bytes(0, packets, subscriptions, now);
        }
        while self.in_flight.len() < self.window
            && self.outbound.len() < UNWRITTEN_MAX_BYTES
            && let Some(letter) = place.mailbox.take()
        {
            self.deliver(letter);
        }
        self.flush().map_err(|_| End::Gone(None))?;
        if self.inbound.is_empty() {
            self.inbound = BytesMut::new();
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.answers.len() < usize::from(limits::IN_FLIGHT)
            && self.outbound.len() < UNWRITTEN_MAX_BYTES
    }

    async fn hear(&mut self, heard: Heard, place: &Place) -> Result<(), End> {
        let pending = match heard {
            Heard::Publish(publish) => {
                let again = publish
                    .packet_id
                    .filter(|_| publish.qos == QoS::ExactlyOnce);
                match again.filter(|id| self.unreleased.contains(id)) {
                    // Promised already: the client hasn't heard of it.
                    Some(id) => Pending::Ready(Reply::Send(Out::Ack {
                        id,
                        qos: QoS::ExactlyOnce,
                        code: super::wire::AckReason::Success,
                        reason: None,
                    })),
                    None if self.must_park() => {
                        let urgent = is_urgent(&publish);
                        self.held_since.get_or_insert_with(Instant::now);
                        self.answers.push_back(Pending::Parked { publish, urgent });
                        if urgent {
                            self.hand_on_parked(place).await;
                        }
                        return Ok(());
                    }
                    None => {
                        let five = self.wire.five();
                        publication(self.shared, self.device, place, *publish, five).await
                    }
                }
            }
            Heard::Acknowledged(id) => {
                self.in_flight.remove(&id);
                return Ok(());
            }
            Heard::Released(id) => {
                self.unreleased.remove(&id);
                self.write(Out::Complete(id));
                return Ok(());
            }
            Heard::Subscribe(id, filters) => {
                self.subscribed += 1;
                let codes = filters
                    .into_iter()
                    .map(|filter| self.subscribe(filter, place))
                    .collect();
                self.write(Out::Suback(id, codes));
                return Ok(());
            }
            Heard::Unsubscribe(id, topics) => {
                self.subscribed += 1;
                let were = topics
                    .into_iter()
                    .map(|topic| self.unsubscribe(&topic, place))
                    .collect();
                self.write(Out::Unsuback(id, were));
                return Ok(());
            }
            Heard::Ping => {
                self.write(Out::Pong);
                return Ok(());
            }
            Heard::Disconnect { with_will: false } => {
                return Err(self.ending(End::Left).await);
            }
            Heard::Disconnect { with_will: true } => {
                return Err(self.ending(End::Gone(None)).await);
            }
        };
        self.answers.push_back(pending);
        Ok(())
    }

    /// Says what is ready, in its order.
    fn answer(&mut self) -> Result<(), End> {
        while let Some(Pending::Ready(_)) = self.answers.front() {
            let Some(Pending::Ready(reply)) = self.answers.pop_front() else {
                return Ok(());
            };
            match reply {
                Reply::Nothing => {}
                Reply::Send(out) => {
                    if let Out::Ack {
                        id,
                        qos: QoS::ExactlyOnce,
                        ..
                    } = &out
                    {
                        self.unreleased.insert(*id);
                        if self.unreleased.len() > usize::from(limits::IN_FLIGHT) {
                            return Err(End::Gone(Some(Reason::ReceiveMaximumExceeded)));
                        }
                    }
                    self.write(out);
                }
                Reply::Close(reason) => return Err(End::Gone(Some(reason))),
            }
        }
        Ok(())
    }

    /// Whether something that was said isn't in the socket yet.
    fn unwritten(&self) -> bool {
        !self.outbound.is_empty() || self.stream.unwritten()
    }

    fn write(&mut self, out: Out) -> bool {
        if !self.unwritten() {
            self.moved_at = Instant::now();
        }
        self.wire.write(out, &mut self.outbound)
    }

    /// Writes what the socket takes now.
    fn flush(&mut self) -> io::Result<()> {
        if self.stream.try_write(&mut self.outbound)? {
            self.moved_at = Instant::now();
        }
        if self.outbound.is_empty() {
            self.outbound = BytesMut::new();
        }
        Ok(())
    }

    /// When to look whether the client is overdue.
    fn deadline(&self, reads: bool, may_pass: bool) -> Instant {
        let silent = reads.then(|| self.heard_at + self.patience);
        let stalled = self.unwritten().then(|| self.moved_at + STALL_MAX);
        let now = Instant::now();
        let parked = self
            .held_since
            .map(|_| now + self.gauge.due(now.into_std()).min(LOOK_AGAIN));
        let overdrawn = (!may_pass).then(|| now + LOOK_AGAIN);
        let far = now + self.patience;
        [silent, stalled, parked, overdrawn]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(far)
    }

    fn overdue(&mut self, reads: bool) -> Option<End> {
        let now = Instant::now();
        if !reads {
            // Nobody listened: what it may have said meanwhile is in the socket.
            self.heard_at = now;
        }
        if self.unwritten() && now >= self.moved_at + STALL_MAX {
            tracing::info!(device = %self.device, "a device reads nothing: its connection is closed");
            return Some(End::Gone(None));
        }
        (now >= self.heard_at + self.patience).then_some(End::Gone(Some(Reason::KeepAliveTimeout)))
    }

    /// Waits for the answers that are under way, and writes them.
    async fn ending(&mut self, end: End) -> End {
        let answered = async {
            loop {
                self.answer()?;
                if matches!(self.answers.front(), None | Some(Pending::Parked { .. })) {
                    return Ok(());
                }
                poll_fn(|context| poll_answers(&mut self.answers, context)).await;
            }
        };
        match timeout(LINGER, answered).await {
            Ok(Err(closed)) if !matches!(end, End::Left) => closed,
            _ => end,
        }
    }

    /// Writes what is left and closes, so that the client can read it all.
    async fn farewell(&mut self, reason: Option<Reason>) {
        if let Some(reason) = reason {
            self.write(Out::Disconnect(reason));
        }
        let written = timeout(LINGER, self.stream.write_all(&self.outbound)).await;
        let _ = self.stream.shutdown().await;
        if reason.is_none() || !matches!(written, Ok(Ok(()))) {
            return;
        }
        let mut buffer = [0; 4096];
        let drained = async {
            let mut left = FAREWELL_BYTES;
            while left > 0 {
                match self.stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(read) => left = left.saturating_sub(read),
                }
            }
        };
        let _ = timeout(FAREWELL, drained).await;
    }
}

/// Ready when the oldest answer is; makes ready all that follow without a gap.
fn poll_answers(answers: &mut VecDeque<Pending>, context: &mut Context<'_>) -> Poll<()> {
    let mut any = Poll::Pending;
    for pending in answers {
        match pending {
            Pending::Ready(_) => {}
            Pending::Parked { .. } => return any,
            Pending::Waiting(reply) => match reply.as_mut().poll(context) {
                Poll::Ready(reply) => *pending = Pending::Ready(reply),
                Poll::Pending => return any,
            },
        }
        any = Poll::Ready(());
    }
    any
}
