//! The configuration file.

use std::collections::BTreeSet;

use linli::config::Config;

/// A text is a configuration that can be started with, or every error says where it is.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Config::parse(text) {
        Ok(config) => startable(&config),
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                assert!(
                    error.starts_with("line "),
                    "an error that says nothing of where it is: {error}"
                );
            }
        }
    }
}

fn startable(config: &Config) {
    let ids = config.device_ids();
    assert_eq!(
        ids.iter().collect::<BTreeSet<_>>().len(),
        ids.len(),
        "an id twice"
    );
    let layout = config.layout();
    for bank in &layout.banks {
        assert!(layout.buildings.contains(&bank.building));
        assert!((1..=512).contains(&bank.compartments.len()));
    }
    assert!(
        layout
            .desks
            .iter()
            .all(|desk| layout.buildings.contains(&desk.building))
    );
    for device in &layout.devices {
        assert!(layout.buildings.contains(&device.building));
        let points = layout.banks.iter().map(|bank| &bank.id);
        let mut points = points.chain(layout.desks.iter().map(|desk| &desk.id));
        let point = device.point.as_ref();
        assert!(point.is_none_or(|point| points.any(|id| id == point)));
    }
    let rules = &layout.rules;
    assert!(rules.code_min_digits <= rules.code_max_digits && rules.code_max_digits <= 12);
    assert!(rules.lockout_first_ms <= rules.lockout_longest_ms);
    assert!(rules.command_ttl_ms >= 1_000 && rules.guess_one_in >= 10);
    assert!(config.broker.is_none() || config.external_broker.is_none());
    if let Some(broker) = &config.broker {
        // More than the kernel gives descriptors, or none: either way nobody gets in.
        assert!((1..=100_000).contains(&broker.max_connections));
        assert!(broker.anonymous.iter().all(|id| ids.contains(id)));
    }
    assert!(config.journal.gather_ms <= 1_000);
    let _ = (config.retention(), config.socket(), config.passwords());
}
