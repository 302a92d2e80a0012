//! The ledger of what was received: each event once, and what is missing named.
//!
//! An event is known by (device, boot, seq). [`BootRow`] says for one boot what was taken: all up to
//! `upto`, and up to [`RANGES_MAX`] ranges beyond a gap. What can't be told for sure is never thrown
//! away and never applied twice: it goes to quarantine, with the reason and what to do.
//!
//! * **A gap** holds the receipt back, so that the device sends again. When more than
//!   [`RANGES_MAX`] ranges lie beyond it, the lowest gap is given up: the receipt passes over it,
//!   and an event that still comes for it goes to quarantine.
//! * **A ninth boot** closes the boot that was silent for longest: what lies beyond its `upto` (and
//!   isn't in `ahead`) counts as given up. So its events that were taken are still known as
//!   duplicates, and others go to quarantine: nothing lost, nothing doubled. [`BOOTS_CLOSED_MAX`]
//!   closed boots are remembered; one that is older still is forgotten, and were it heard again, it
//!   would be taken as new: a device that goes back sixteen boots is not one we can dedupe.
//! * **A boot number used twice** shows when event 1 comes again and says something else. From then
//!   on all that looks like a duplicate in this boot goes to quarantine: it may be news.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use firmware_protocols::{Form, Ident, Receipt};

use crate::device::{BOOTS_CLOSED_MAX, BOOTS_MAX, BootRow, DeviceRow, RANGES_MAX};
use crate::estate::Estate;
use crate::input::DueReceipt;
use crate::{DeviceEvent, Now, Verdict};

/// The fingerprint of all that can't be read.
const UNREADABLE: u64 = 0;

/// What an event is, by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// Not seen before; `moved` if everything up to it is now without a gap.
    New { moved: bool },
    /// Stored before.
    Again,
    /// Can't be told; why, and what to do.
    Unclear(String),
}

impl Estate {
    /// Enters an event into its device's ledger.
    pub(crate) fn receive(&mut self, now: &Now, event: &DeviceEvent) -> Verdict {
        let seen = self.place(now, &event.device, event.boot, event.seq, event.fingerprint);
        let row = self.device_row(now, &event.device, event.form);
        row.boot = Some(event.boot);
        match seen {
            Seen::New { .. } => {
                row.stored += 1;
                Verdict::Taken
            }
            Seen::Again => {
                row.duplicate += 1;
                Verdict::Duplicate
            }
            Seen::Unclear(why) => {
                row.quarantined += 1;
                Verdict::Quarantine(why)
            }
        }
    }

    /// Enters a number into its boot, and notes whether a receipt is due.
    fn place(&mut self, now: &Now, device: &Ident, boot: u32, seq: u64, fingerprint: u64) -> Seen {
        let known = (device.clone(), boot);
        let (seen, due) = match self.boots.get_mut(&known) {
            Some(row) => row.hear(now, seq, fingerprint),
            None => {
                let mut row = BootRow::new(device, boot);
                let heard = row.hear(now, seq, fingerprint);
                self.make_room_for_boot(device);
                self.boots.insert(known.clone(), row);
                heard
            }
        };
        if due {
            self.receipts.insert(known);
        }
        seen
    }

    /// Counts what never became an event. If its number could be read it has its place in the
    /// sequence: it is kept (in quarantine), so the receipt passes over it and the device needn't
    /// send for ever what will never be better.
    pub(crate) fn unreadable(
        &mut self,
        now: &Now,
        device: &Ident,
        number: Option<(u32, u64)>,
    ) -> Verdict {
        if !self.places.is_device(device) {
            if self.devices.contains(device) {
                let form = self.form_of(device);
                self.device_row(now, device, form).quarantined += 1;
                return Verdict::Taken;
            }
            return Verdict::Refused(stranger(device));
        }
        let seen = number.map(|(boot, seq)| self.place(now, device, boot, seq, UNREADABLE));
        let form = self.form_of(device);
        let row = self.device_row(now, device, form);
        if seen == Some(Seen::Again) {
            row.duplicate += 1;
            return Verdict::Duplicate;
        }
        row.quarantined += 1;
        Verdict::Taken
    }

    /// One receipt for each boot whose reach moved, or whose device has sent again what is on disk.
    pub fn take_receipts(&mut self) -> Vec<DueReceipt> {
        let due = core::mem::take(&mut self.receipts);
        due.into_iter()
            .filter_map(|known| {
                let seq = self.boots.get(&known)?.upto;
                let (device, boot) = known;
                (seq > 0).then(|| DueReceipt {
                    form: self.form_of(&device),
                    device,
                    receipt: Receipt { boot, seq },
                })
            })
            .collect()
    }

    /// The encoding that a device last spoke; CBOR before that.
    pub(crate) fn form_of(&self, device: &Ident) -> Form {
        self.devices
            .get(device)
            .map(|row| row.form)
            .unwrap_or_default()
    }

    fn device_row(&mut self, now: &Now, device: &Ident, form: Form) -> &mut DeviceRow {
        let row = self
            .devices
            .get_or_insert_with(device, || DeviceRow::new(device));
        row.form = form;
        row.received += 1;
        row.last_heard_ms = now.wall_ms;
        row
    }

    /// An event of a device that isn't in the layout: kept in quarantine, and in its ledger if it
    /// has one from before.
    pub(crate) fn receive_stranger(&mut self, now: &Now, event: &DeviceEvent) -> Verdict {
        if self.devices.contains(&event.device) {
            self.device_row(now, &event.device, event.form).quarantined += 1;
        }
        Verdict::Quarantine(stranger(&event.device))
    }

    fn make_room_for_boot(&mut self, device: &Ident) {
        let boots = self
            .boots
            .range((device.clone(), 0), (device.clone(), u32::MAX));
        let by_age = |row: &&BootRow| (row.heard_tick_ms, row.boot);
        let open: Vec<_> = boots
            .clone()
            .map(|(_, row)| row)
            .filter(|row| !row.closed())
            .collect();
        if open.len() < BOOTS_MAX {
            return;
        }
        let Some(close) = open.into_iter().min_by_key(by_age).map(|row| row.boot) else {
            return;
        };
        let closed: Vec<_> = boots
            .map(|(_, row)| row)
            .filter(|row| row.closed())
            .collect();
        let forget = (closed.len() >= BOOTS_CLOSED_MAX)
            .then(|| closed.into_iter().min_by_key(by_age).map(|row| row.boot))
            .flatten();
        if let Some(row) = self.boots.get_mut(&(device.clone(), close)) {
            row.close();
        }
        if let Some(boot) = forget {
            let known = (device.clone(), boot);
            self.receipts.remove(&known);
            self.boots.remove(&known);
        }
    }
}

fn stranger(device: &Ident) -> String {
    format!("'{device}' isn't a device of this estate: add it to the configuration")
}

impl DeviceRow {
    fn new(device: &Ident) -> Self {
        Self {
            device: device.clone(),
            form: Form::default(),
            boot: None,
            received: 0,
            stored: 0,
            duplicate: 0,
            quarantined: 0,
            last_heard_ms: 0,
            model: None,
            firmware: None,
            capabilities: Vec::new(),
        }
    }
}

impl BootRow {
    fn new(device: &Ident, boot: u32) -> Self {
        Self {
            device: device.clone(),
            boot,
            upto: 0,
            ahead: Vec::new(),
            given_up: Vec::new(),
            first: None,
            reused: false,
            heard_tick_ms: 0,
        }
    }

    /// Whether nothing more is taken of it, as newer boots took its place.
    pub fn closed(&self) -> bool {
        matches!(self.given_up.last(), Some((_, u64::MAX)))
    }

    fn close(&mut self) {
        if let Some(next) = self.upto.checked_add(1) {
            self.given_up.push((next, u64::MAX));
        }
    }

    /// Enters an event: what it is, and whether a receipt is due for it.
    fn hear(&mut self, now: &Now, seq: u64, fingerprint: u64) -> (Seen, bool) {
        self.heard_tick_ms = now.tick_ms;
        let seen = self.take(seq, fingerprint);
        let due = match &seen {
            Seen::New { moved } => *moved,
            // A device that sends again has lost its receipt.
            Seen::Again => true,
            Seen::Unclear(_) => seq <= self.upto,
        };
        (seen, due)
    }

    fn take(&mut self, seq: u64, fingerprint: u64) -> Seen {
        if seq == 0 {
            return Seen::Unclear(
                "sequence number 0: events of a boot are numbered from 1".to_string(),
            );
        }
        let ahead = within(&self.ahead, seq);
        if ahead || (seq <= self.upto && !within(&self.given_up, seq)) {
            return self.again(seq, fingerprint);
        }
        if within(&self.given_up, seq) {
            return Seen::Unclear(self.given_up_reason(seq));
        }
        if seq == 1 {
            self.first = Some(fingerprint);
        }
        let before = self.upto;
        if self.upto.checked_add(1) == Some(seq) {
            self.upto = seq;
            self.join();
        } else {
            self.add_ahead(seq);
            if self.ahead.len() > RANGES_MAX {
                self.give_up_lowest_gap();
            }
        }
        Seen::New {
            moved: self.upto > before,
        }
    }

    /// An event whose number is stored.
    fn again(&mut self, seq: u64, fingerprint: u64) -> Seen {
        if seq == 1 && self.first.is_some_and(|first| first != fingerprint) {
            self.reused = true;
        }
        if !self.reused {
            return Seen::Again;
        }
        Seen::Unclear(format!(
            "device {} uses boot number {} for more than one start, so event {seq} can't be told \
             from a redelivery: have its firmware count its starts up in lasting memory",
            self.device, self.boot
        ))
    }

    fn given_up_reason(&self, seq: u64) -> String {
        let (device, boot) = (&self.device, self.boot);
        if seq > self.upto {
            return format!(
                "boot {boot} of {device} is too old: more than {BOOTS_MAX} newer starts were heard \
                 since; check why the device kept event {seq} back, and whether it restarts too often"
            );
        }
        format!(
            "event {seq} of boot {boot} of {device} comes after its gap was given up, so it can't \
             be told from a redelivery: have the device send its oldest events first"
        )
    }

    /// Takes the first range ahead into `upto` once they touch.
    fn join(&mut self) {
        while let Some((first, last)) = self.ahead.first().copied() {
            if self.upto.checked_add(1) != Some(first) {
                return;
            }
            self.upto = last;
            self.ahead.remove(0);
        }
    }

    fn add_ahead(&mut self, seq: u64) {
        let at = self.ahead.partition_point(|(first, _)| *first < seq);
        let touches_before = at > 0 && self.ahead[at - 1].1.checked_add(1) == Some(seq);
        let touches_after = self
            .ahead
            .get(at)
            .is_some_and(|(first, _)| seq.checked_add(1) == Some(*first));
        match (touches_before, touches_after) {
            (true, true) => {
                self.ahead[at - 1].1 = self.ahead[at].1;
                self.ahead.remove(at);
            }
            (true, false) => self.ahead[at - 1].1 = seq,
            (false, true) => self.ahead[at].0 = seq,
            (false, false) => self.ahead.insert(at, (seq, seq)),
        }
    }

    fn give_up_lowest_gap(&mut self) {
        if self.ahead.is_empty() {
            return;
        }
        let (first, last) = self.ahead.remove(0);
        self.given_up.push((self.upto + 1, first - 1));
        self.upto = last;
        self.join();
        if self.given_up.len() > RANGES_MAX {
            // Two old ranges become one that spans what was stored between them: a redelivery of
            // that then goes to quarantine, which is safe.
            let second = self.given_up.remove(1);
            self.given_up[0].1 = second.1;
        }
    }
}

/// Whether a rising list of ranges contains `seq`.
fn within(ranges: &[(u64, u64)], seq: u64) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= seq);
    after > 0 && ranges[after - 1].1 >= seq
}
