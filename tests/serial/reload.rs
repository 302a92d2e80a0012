//! A new configuration: a port whose own settings differ begins anew, with the numbers of its devices in
//! another boot; the others aren't touched.

use super::bed::{Bed, Wire};

fn ports(keypad: &Wire, scanner: &Wire, prefix: &str) -> String {
    format!(
        "[[port]]\nid = \"p1\"\npath = {:?}\nprotocol = \"lines\"\n\
         [[port]]\nid = \"p2\"\npath = {:?}\nprotocol = \"lines\"\n\
         [[bank]]\nid = \"bank-a\"\nbuilding = \"b1\"\naddress = \"Gate 1\"\n\
         compartments = [{{ count = 2, size = \"S\" }}]\n\
         [[device]]\nid = \"keypad-1\"\nbuilding = \"b1\"\npoint = \"bank-a\"\n\
         serial = {{ port = \"p1\", says = \"keypad\", terminator = \"#\" }}\n\
         [[device]]\nid = \"scanner-1\"\nbuilding = \"b1\"\npoint = \"bank-a\"\n\
         serial = {{ port = \"p2\", says = \"scan\", prefix = \"{prefix}\" }}\n",
        keypad.path(),
        scanner.path()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_port_that_differs_begins_anew() {
    let (mut keypad, mut scanner) = (Wire::new(), Wire::new());
    let mut bed = Bed::start(&ports(&keypad, &scanner, "]")).await;
    bed.port_is("p1", "open", |port| port.up).await;
    bed.port_is("p2", "open", |port| port.up).await;
    scanner.say(b"]SF1\r").await;
    bed.said("scanner-1", "scan", 1).await;

    let with_desk = "[[desk]]\nid = \"desk-1\"\nbuilding = \"b1\"\n";
    let view = bed
        .reload(&(ports(&keypad, &scanner, "=") + with_desk))
        .await;
    assert_eq!(view.refused, None);
    let told = view.applied.join("\n");
    assert!(told.contains("port started: p2"), "{told}");
    assert!(!told.contains("p1"), "{told}");
    bed.port_is("p2", "open again", |port| port.up).await;
    assert_eq!(bed.port("p1").opened, 1);
    scanner.say(b"=SF2\r").await;
    let scans = bed.said("scanner-1", "scan", 2).await;
    assert!(scans[1].boot > scans[0].boot, "{scans:?}");
    keypad.say(b"8041#").await;
    let keys = bed.said("keypad-1", "keypad", 1).await;
    assert_eq!(keys.len(), 1);
    assert_eq!(
        bed.events_of("keypad-1", "hello").len(),
        1,
        "not begun anew"
    );
    assert_eq!(bed.events_of("scanner-1", "hello").len(), 2);

    // Without the port its device isn't there, and the other one goes on.
    let only_first = ports(&keypad, &scanner, "=");
    let end = only_first.find("[[port]]\nid = \"p2\"").unwrap();
    let rest = only_first.find("[[bank]]").unwrap();
    let device = only_first.find("[[device]]\nid = \"scanner-1\"").unwrap();
    let text = format!("{}{}", &only_first[..end], &only_first[rest..device]);
    let view = bed.reload(&text).await;
    assert!(
        view.applied.iter().any(|told| told == "port ended: p2"),
        "{view:?}"
    );
    keypad.say(b"7733#").await;
    bed.said("keypad-1", "keypad", 2).await;
    assert_eq!(bed.daemon().ports.views().len(), 1);
    bed.stop().await;
}
