//! The proxy does what it says: otherwise the other tests prove nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::common::proxy::{Fault, Proxy, says};

/// Answers every request with a body of 1000 bytes, until the test is over.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut request = [0; 5];
                while stream.read_exact(&mut request).is_ok() {
                    let _ = stream.write_all(&answer());
                }
            });
        }
    });
    address
}

fn answer() -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec();
    answer.extend([b'x'; 1000]);
    answer
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).unwrap();
    stream
}

/// Asks, and reads until the answer is whole or the connection ends; what came, and whether it was reset.
fn ask(stream: &mut TcpStream) -> (usize, bool) {
    let mut came = 0;
    if stream.write_all(b"ask\r\n").is_err() {
        return (0, true);
    }
    let mut chunk = [0; 4096];
    while came < answer().len() {
        match stream.read(&mut chunk) {
            Ok(0) => return (came, false),
            Ok(n) => came += n,
            Err(_) => return (came, true),
        }
    }
    (came, false)
}

#[test]
fn bytes_pass_are_swallowed_halved_and_cut() {
    let proxy = Proxy::start(server());
    let whole = answer().len();
    let mut stream = connect(&proxy);
    assert_eq!(ask(&mut stream), (whole, false));
    // On the connection that is there.
    proxy.set(Fault::SwallowAnswer);
    assert_eq!(ask(&mut stream), (0, true));
    assert_eq!(proxy.passed(), (10, whole as u64), "the request passed");
    proxy.set(Fault::HalfAnswer);
    assert_eq!(ask(&mut connect(&proxy)), (whole - 500, false));
    proxy.set(Fault::Reset {
        up: u64::MAX,
        down: 7,
    });
    assert_eq!(ask(&mut connect(&proxy)).0, 7);
    proxy.set(Fault::Reset {
        up: 2,
        down: u64::MAX,
    });
    assert_eq!(ask(&mut connect(&proxy)), (0, true));
    assert_eq!(proxy.resets(), 4);
    proxy.set(Fault::CutAtRandom {
        seed: 1,
        mean_bytes: 5_000,
    });
    let mut stream = connect(&proxy);
    let answers = (0..100)
        .take_while(|_| ask(&mut stream) == (whole, false))
        .count();
    assert!(answers < 11, "{answers}");
    proxy.set(Fault::None);
    assert_eq!(ask(&mut connect(&proxy)), (whole, false));
}

#[test]
fn nobody_listens_and_the_same_port_serves_again() {
    let proxy = Proxy::start(server());
    let mut before = connect(&proxy);
    assert!(ask(&mut before).0 > 0);
    proxy.set(Fault::Refuse);
    assert_eq!(ask(&mut before), (0, true));
    assert!(TcpStream::connect(proxy.address()).is_err());
    proxy.set(Fault::None);
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(proxy.address()).is_err() {
        assert!(Instant::now() < until);
    }
    assert!(ask(&mut connect(&proxy)).0 > 0);
}

#[test]
fn silence_ends_with_the_answer_and_slowness_takes_its_time() {
    let proxy = Proxy::start(server());
    let whole = answer().len();
    proxy.set(Fault::Silence);
    let mut stream = connect(&proxy);
    stream.write_all(b"ask\r\n").unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(stream.read(&mut [0; 1]).is_err());
    assert_eq!(proxy.passed(), (0, 0));
    proxy.set(Fault::None);
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.read_exact(&mut vec![0; whole]).unwrap();
    proxy.set(Fault::Slow { bytes_per_s: 2_000 });
    let started = Instant::now();
    assert_eq!(ask(&mut stream), (whole, false));
    assert!(started.elapsed() > Duration::from_millis(400));
    proxy.set(Fault::Delay(Duration::from_millis(150)));
    let started = Instant::now();
    assert_eq!(ask(&mut stream), (whole, false));
    assert!(started.elapsed() > Duration::from_millis(300));
}

#[test]
fn it_says_what_it_is_told_and_remembers_the_requests() {
    let proxy = Proxy::start("127.0.0.1:9".parse().unwrap());
    proxy.set(says("429 Too Many Requests", "retry-after: 2\r\n", "no"));
    let mut stream = connect(&proxy);
    for n in 1..=2 {
        let request = b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        stream.write_all(request).unwrap();
        let mut answer = [0; 68];
        stream.read_exact(&mut answer).unwrap();
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            text.starts_with("HTTP/1.1 429 ") && text.ends_with("\r\n\r\nno"),
            "{text:?}"
        );
        assert_eq!(proxy.asked().len(), n);
    }
    assert_eq!(proxy.asked()[0].1, "POST /x HTTP/1.1");
    proxy.reset_all();
    assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
}
