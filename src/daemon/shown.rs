//! What the local API sees of the configuration, and what a new one replaces.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use estate::Layout;

use super::parts::Link;
use crate::cloud::CloudStatus;
use crate::control::reload::{ConfigurationReport, RefusedConfiguration};

/// The most that is kept of why a configuration was refused, bytes.
const WHY_MAX_BYTES: usize = 16 * 1024;

/// What holds at the moment.
pub struct Shown(RwLock<State>);

struct State {
    layout: Arc<Layout>,
    link: Link,
    cloud: Option<Arc<CloudStatus>>,
    configuration: ConfigurationReport,
}

impl Shown {
    /// What holds at the start.
    pub fn new(
        layout: Layout,
        link: Link,
        cloud: Option<Arc<CloudStatus>>,
        configuration: ConfigurationReport,
    ) -> Self {
        Self(RwLock::new(State {
            layout: Arc::new(layout),
            link,
            cloud,
            configuration,
        }))
    }

    /// What stands where.
    pub fn layout(&self) -> Arc<Layout> {
        Arc::clone(&self.read().layout)
    }

    /// How devices come.
    pub fn link(&self) -> Link {
        self.read().link.clone()
    }

    /// How the cloud is, if one is configured.
    pub fn cloud(&self) -> Option<Arc<CloudStatus>> {
        self.read().cloud.clone()
    }

    /// Which configuration holds.
    pub fn configuration(&self) -> ConfigurationReport {
        self.read().configuration.clone()
    }

    pub(super) fn set_layout(&self, layout: Layout) {
        self.change(|state| state.layout = Arc::new(layout));
    }

    pub(super) fn set_link(&self, link: Link) {
        self.change(|state| state.link = link);
    }

    pub(super) fn set_cloud(&self, cloud: Option<Arc<CloudStatus>>) {
        self.change(|state| state.cloud = cloud);
    }

    /// A configuration was taken.
    pub(super) fn taken(&self, at_ms: i64, by: &str, after_restart: Vec<String>) {
        self.change(|state| {
            let configuration = &mut state.configuration;
            configuration.taken_ms = at_ms;
            configuration.by = Some(by.to_owned());
            configuration.after_restart = after_restart;
            configuration.refused = None;
        });
    }

    /// A configuration was refused.
    pub(super) fn refused(&self, at_ms: i64, by: &str, why: &str) {
        let mut end = why.len().min(WHY_MAX_BYTES);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        let refused = RefusedConfiguration {
            at_ms,
            by: by.to_owned(),
            why: why.get(..end).unwrap_or_default().to_owned(),
        };
        self.change(|state| state.configuration.refused = Some(refused));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
