//! A server that comes up, survives a crash, and is gone afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

use local_postgres::LocalPostgres;

#[test]
fn a_server_comes_up_survives_a_crash_and_leaves_nothing() {
    if local_postgres::left_out() {
        return;
    }
    let mut server = LocalPostgres::start().unwrap();
    let url = server.create_database("one").unwrap();
    assert!(url.ends_with(&format!("@127.0.0.1:{}/one", server.port())));
    assert!(
        server.create_database("one").is_err(),
        "the database is there after it was made"
    );
    let first = server.pid().unwrap();

    server.crash_and_restart().unwrap();
    assert_ne!(server.pid().unwrap(), first);
    assert!(
        server.create_database("one").is_err(),
        "the database is there after the crash"
    );

    let (port, pid, data) = (server.port(), server.pid().unwrap(), server.data());
    drop(server);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!data.exists());
}
