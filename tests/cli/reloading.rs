//! `linli config reload`: what holds, what doesn't yet, and a file that was refused.

use linli::control::reload::ReloadView;

use crate::bed::Bed;

#[test]
fn what_was_taken_over_is_told_and_who_asked_is_known() {
    let bed = Bed::new();
    *bed.daemon.reloaded.lock().unwrap() = ReloadView {
        applied: vec!["device new: door-9".to_string()],
        after_restart: vec!["broker.listen".to_string()],
        ..ReloadView::default()
    };
    let told = bed.linli(&["config", "reload"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(
        told.out,
        "The new configuration holds. Taken over:\n  - device new: door-9\n\
         Only after a restart (systemctl restart linli):\n  - broker.listen\n"
    );
    assert_eq!(bed.daemon.reloads.lock().unwrap().len(), 1);
    let json = bed.linli(&["config", "reload", "--json"]);
    let view: ReloadView = serde_json::from_str(&json.out).unwrap();
    assert_eq!(view.after_restart, ["broker.listen"]);
}

#[test]
fn a_refusal_shows_every_fault_and_fails() {
    let bed = Bed::new();
    let faults: String = (0..9).map(|n| format!("\n  fault {n}")).collect();
    *bed.daemon.reloaded.lock().unwrap() = ReloadView {
        refused: Some(format!("linli.toml can't be used:{faults}")),
        ..ReloadView::default()
    };
    let told = bed.linli(&["config", "reload"]);
    assert_eq!((told.code, told.out.as_str()), (1, ""), "{told:?}");
    assert!(told.err.contains("nothing has changed"), "{told:?}");
    for n in 0..9 {
        assert!(told.err.contains(&format!("fault {n}\n")), "{told:?}");
    }
    let json = bed.linli(&["config", "reload", "--json"]);
    assert_eq!(json.code, 1);
    let view: ReloadView = serde_json::from_str(&json.out).unwrap();
    assert!(view.refused.unwrap().contains("fault 8"));
}
