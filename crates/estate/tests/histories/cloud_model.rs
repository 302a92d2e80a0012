//! What the cloud's words should do.

use cloud_protocol::Downlink;
use estate::{Now, TimeQuality, Verdict};

use crate::model::{Model, Parcel, Stage};

impl Model {
    pub fn cloud(&mut self, now: &Now, item: &Downlink, verdict: &Verdict) {
        let refused = matches!(verdict, Verdict::Refused(_));
        let stage = |name: &str| self.parcels.get(name).map(|parcel| parcel.stage.clone());
        match item {
            Downlink::ParcelExpected(parcel) => {
                if self.parcels.contains_key(&parcel.parcel) {
                    let known = self.parcels.get_mut(&parcel.parcel).unwrap();
                    // Histories announce a parcel otherwise only by its deadline.
                    assert_eq!(
                        refused,
                        known.announced != *parcel && known.stage != Stage::Expected
                    );
                    if !refused {
                        known.announced = parcel.clone();
                    }
                    return;
                }
                let name = parcel.parcel.clone();
                self.issue(now, &name, &parcel.point);
                self.parcels.insert(
                    name.clone(),
                    Parcel {
                        announced: parcel.clone(),
                        stage: Stage::Expected,
                    },
                );
                self.reports.push((name, "expected"));
            }
            Downlink::ParcelCancelled { parcel } => {
                match stage(parcel) {
                    Some(Stage::Cancelled) => return,
                    Some(Stage::Expected) => {}
                    Some(Stage::Depositing(h)) if !h.opened => {}
                    _ => return assert!(refused),
                }
                self.kill_code(parcel, now.tick_ms);
                self.set(parcel, Stage::Cancelled);
                self.reports.push((parcel.clone(), "cancelled"));
                self.saw("cancelled");
            }
            Downlink::ParcelExtended { parcel, deadline } => {
                let over = matches!(
                    stage(parcel),
                    None | Some(Stage::Collected(..) | Stage::Cancelled)
                );
                let Some(known) = self.parcels.get_mut(parcel) else {
                    return assert!(refused);
                };
                assert_eq!(refused, over && known.announced.deadline != *deadline);
                if !refused {
                    known.announced.deadline = *deadline;
                }
                return;
            }
            Downlink::CodeReissue { parcel } => {
                let state = match stage(parcel) {
                    Some(Stage::Expected | Stage::Depositing(_)) => "expected",
                    Some(Stage::Deposited(_) | Stage::Collecting(_)) => "deposited",
                    _ => return assert!(refused),
                };
                self.kill_code(parcel, now.tick_ms);
                let point = self.parcels[parcel].announced.point.clone();
                self.issue(now, parcel, &point);
                self.reports.push((parcel.clone(), state));
            }
            Downlink::Courier {
                courier,
                valid_until,
                ..
            } => {
                self.couriers.insert(courier.clone(), *valid_until);
                if now.quality != TimeQuality::Unknown && now.wall_ms >= *valid_until {
                    self.sessions.retain(|_, (badge, _)| badge != courier);
                }
            }
            Downlink::Settings(_) => {}
        }
        assert!(!refused, "{verdict:?}");
    }
}
