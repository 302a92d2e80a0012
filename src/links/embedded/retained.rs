//! The retained messages: the last status of each device, in memory.
//!
//! The library keeps retained messages through a trait of its own. Ours keeps nothing but `online`
//! and `offline` on the status topics of configured devices, so its size is bounded by the
//! configuration.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use firmware_protocols::Ident;
use firmware_protocols::topic::{self, Channel};
use rmqtt::retain::RetainStorage;
use rmqtt::types::{Retain, TopicFilter, TopicName};

pub(super) struct LastStatus {
    devices: std::sync::Arc<HashSet<Ident>>,
    kept: Mutex<HashMap<Ident, Retain>>,
}

impl LastStatus {
    pub(super) fn new(devices: std::sync::Arc<HashSet<Ident>>) -> Self {
        Self {
            devices,
            kept: Mutex::new(HashMap::new()),
        }
    }

    fn device(&self, topic: &str) -> Option<Ident> {
        let (device, channel) = topic::parse(topic)?;
        (channel == Channel::Status && self.devices.contains(&device)).then_some(device)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Ident, Retain>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RetainStorage for LastStatus {
    fn enable(&self) -> bool {
        true
    }

    fn need_sync(&self) -> bool {
        false
    }

    async fn set(
        &self,
        topic: &TopicName,
        retain: Retain,
        _: Option<Duration>,
    ) -> rmqtt::Result<()> {
        let Some(device) = self.device(topic) else {
            return Ok(());
        };
        if super::status(&retain.publish.payload).is_some() {
            self.kept().insert(device, retain);
        }
        Ok(())
    }

    async fn get(&self, filter: &TopicFilter) -> rmqtt::Result<Vec<(TopicName, Retain)>> {
        let kept = self
            .device(filter)
            .and_then(|device| self.kept().get(&device).cloned());
        Ok(kept
            .map(|retain| (filter.clone(), retain))
            .into_iter()
            .collect())
    }

    async fn count(&self) -> isize {
        isize::try_from(self.kept().len()).unwrap_or(isize::MAX)
    }

    async fn max(&self) -> isize {
        isize::try_from(self.devices.len()).unwrap_or(isize::MAX)
    }
}
