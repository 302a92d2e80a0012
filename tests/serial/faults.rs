//! Ports that are away, taken, garbled, pulled out and put in again: each is told apart in the
//! status, and found again without a restart.

use super::bed::{Bed, Socket, Wire};

fn scanner_on(socket: &Socket) -> String {
    format!(
        "[[port]]\nid = \"p1\"\npath = {:?}\nprotocol = \"lines\"\n\
         [[device]]\nid = \"scanner-1\"\nbuilding = \"b1\"\nserial = {{ port = \"p1\", says = \"scan\" }}\n",
        socket.path()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_opened_under_the_name_that_its_link_leads_to() {
    let wire = Wire::new();
    let socket = Socket::with(&wire);
    let bed = Bed::start(&scanner_on(&socket)).await;
    let port = bed.port_is("p1", "open", |port| port.up).await;
    assert_eq!(port.device.as_deref(), wire.path().to_str());
}
