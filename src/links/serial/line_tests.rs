//! A line over a stream in memory, at a simulated clock.

use super::*;
use crate::config::serial::Parity;
use crate::links::serial::status::PortFault;
use firmware_protocols::Ident;
use proptest::prelude::*;
use tokio::io::{DuplexStream, duplex};

/// Frames of the tests: `#`, a digit, `.`.
struct Small;

impl Framing for Small {
    type Frame = u8;
    const MAX_BYTES: usize = 3;
    fn find(&self, buffer: &[u8]) -> Found<u8> {
        match buffer {
            [] | [b'#'] => Found::More,
            [b'#', digit, rest @ ..] if digit.is_ascii_digit() => match rest {
                [] => Found::More,
                [b'.', ..] => Found::Frame {
                    frame: digit - b'0',
                    used: 3,
                },
                _ => Found::Noise(1),
            },
            _ => Found::Noise(1),
        }
    }
}

/// A decoder that never has enough.
struct Greedy;

impl Framing for Greedy {
    type Frame = ();
    const MAX_BYTES: usize = 16;
    fn find(&self, _: &[u8]) -> Found<()> {
        Found::More
    }
}

fn port(protocol: Protocol, echo: Option<bool>) -> PortSection {
    PortSection {
        id: Ident::new("p1").unwrap(),
        path: "/dev/none".into(),
        protocol,
        baud: Some(9_600),
        parity: Parity::None,
        stop_bits: 1,
        timeout_ms: 100,
        poll_ms: None,
        echo,
        multi_drop: false,
    }
}

fn line(protocol: Protocol, echo: Option<bool>) -> (Line, DuplexStream, Arc<PortStatus>) {
    let (near, far) = duplex(4_096);
    let status = Arc::new(PortStatus::new(port(protocol, echo)));
    (Line::over(near, Arc::clone(&status)), far, status)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(100)
}

const BUS: Protocol = Protocol::KerongCu16;

#[tokio::test(start_paused = true)]
async fn frames_are_found_in_noise_and_the_noise_is_counted() {
    let (mut line, mut far, status) = line(BUS, None);
    far.write_all(b"ab#1.c##2.#").await.unwrap();
    assert_eq!(line.next(&Small, soon()).await.unwrap(), Some(1));
    assert_eq!(line.next(&Small, soon()).await.unwrap(), Some(2));
    assert_eq!(line.next(&Small, soon()).await.unwrap(), None);
    assert_eq!(status.view().noise_bytes, 4);
    far.write_all(b"3.").await.unwrap();
    assert_eq!(line.next(&Small, soon()).await.unwrap(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_dropped_loses_nothing() {
    let (mut line, mut far, _) = line(BUS, None);
    for byte in b"#1.#2." {
        far.write_all(&[*byte]).await.unwrap();
        let short = Instant::now() + Duration::from_millis(1);
        let dropped = timeout(Duration::from_micros(1), line.next(&Small, short)).await;
        if let Ok(Ok(Some(frame))) = dropped {
            assert!(matches!((frame, byte), (1 | 2, b'.')));
        }
    }
    far.write_all(b"#3.").await.unwrap();
    assert_eq!(line.next(&Small, soon()).await.unwrap(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_stream_is_the_end_of_the_line() {
    let (mut line, far, _) = line(BUS, None);
    drop(far);
    let ended = line.next(&Small, soon()).await;
    assert!(matches!(ended, Err(LineError::Failed(_))), "{ended:?}");
    let ended = line
        .exchange(&Small, b"?", Duration::from_secs(1), Some)
        .await;
    assert!(matches!(ended, Err(NoAnswer::Line(LineError::Failed(_)))));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_came_too_late_answers_no_other_request() {
    let (mut line, mut far, _) = line(BUS, None);
    let within = Duration::from_millis(100);
    let silent = line.exchange(&Small, b"?", within, Some).await;
    assert!(matches!(silent, Err(NoAnswer::Silence)));
    far.write_all(b"#1.#").await.unwrap();
    let mut shown = Vec::new();
    let device = async {
        let mut asked = [0; 2];
        far.read_exact(&mut asked).await.unwrap();
        far.write_all(b"#2.").await.unwrap();
    };
    let exchange = line.exchange(&Small, b"?", within, |frame| {
        shown.push(frame);
        Some(frame)
    });
    let (answer, ()) = tokio::join!(exchange, device);
    assert_eq!(answer.unwrap(), 2);
    assert_eq!(shown, [1, 2], "the late one is shown, and answers nothing");
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_coming_in_is_let_through_before_a_request() {
    let (mut line, mut far, status) = line(BUS, None);
    let within = Duration::from_millis(100);
    let byte = Duration::from_micros(1_042);
    // Begun when the request is due, a byte every so often.
    far.write_all(b"#").await.unwrap();
    let device = async {
        for rest in [b"7", b"."] {
            tokio::time::sleep(byte).await;
            far.write_all(rest).await.unwrap();
        }
        let mut asked = [0; 1];
        far.read_exact(&mut asked).await.unwrap();
        far.write_all(b"#2.").await.unwrap();
        far
    };
    let mut shown = Vec::new();
    let exchange = line.exchange(&Small, b"?", within, |frame| {
        shown.push(frame);
        Some(frame)
    });
    let (answer, mut far) = tokio::join!(exchange, device);
    assert_eq!(answer.unwrap(), 2);
    assert_eq!((shown, status.view().noise_bytes), (vec![7, 2], 0));
    // What isn't followed by anything holds a request up for the silence between frames only.
    far.write_all(b"#").await.unwrap();
    let before = Instant::now();
    let silent = line.exchange(&Small, b"?", within, Some).await;
    assert!(matches!(silent, Err(NoAnswer::Silence)), "{silent:?}");
    assert!(
        before.elapsed() < within + byte * 5,
        "{:?}",
        before.elapsed()
    );
    assert_eq!(status.view().noise_bytes, 1);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_do_not_answer_are_told_from_silence() {
    let (mut line, mut far, _) = line(BUS, None);
    let within = Duration::from_millis(100);
    let babble = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        far.write_all(b"#").await.unwrap();
        far
    };
    let (answer, _far) = tokio::join!(line.exchange(&Small, b"?", within, Some), babble);
    assert!(matches!(answer, Err(NoAnswer::Unreadable)));
}

#[tokio::test(start_paused = true)]
async fn between_frames_there_is_silence() {
    let (mut line, mut far, _) = line(BUS, None);
    let (byte, silence) = (port(BUS, None).time_of(1), silence(&port(BUS, None)));
    assert_eq!(silence, port(BUS, None).time_of(7) / 2);
    line.send(b"12345678").await.unwrap();
    let sent = Instant::now();
    line.send(b"x").await.unwrap();
    let waited = sent.elapsed();
    let least = byte * 8 + silence;
    assert!(
        waited >= least && waited < least + Duration::from_millis(3),
        "{waited:?}"
    );
    // What was heard begins a silence too, and ends what we sent.
    tokio::time::sleep(Duration::from_secs(1)).await;
    far.write_all(b"#1.").await.unwrap();
    line.next(&Small, soon()).await.unwrap();
    let heard = Instant::now();
    line.send(b"x").await.unwrap();
    assert!(heard.elapsed() >= silence, "{:?}", heard.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_echo_is_taken_out_of_frames_and_of_the_stream() {
    let request = [2, 0x10, 0x30, 3, 0x45];
    let (mut line, far, status) = line(BUS, None);
    let (mut from, mut to) = tokio::io::split(far);
    let adapter = tokio::spawn(async move {
        for _ in 0..2 {
            let mut sent = [0; 5];
            from.read_exact(&mut sent).await.unwrap();
            to.write_all(&sent).await.unwrap();
            to.write_all(b"#7.").await.unwrap();
        }
        (from, to)
    });
    let answer = line.exchange(&Small, &request, Duration::from_secs(1), Some);
    assert_eq!(answer.await.unwrap(), 7);
    assert_eq!(status.view().echo, Some(true));
    line.write_all(&request).await.unwrap();
    let mut read = [0; 3];
    line.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"#7.");
    assert_eq!(status.view().noise_bytes, 0);
    assert_eq!(status.echoed_bytes(), 10);
    drop(adapter.await);
}

#[tokio::test(start_paused = true)]
async fn the_modbus_library_never_reads_what_came_before_its_request() {
    let (mut line, mut far, status) = line(Protocol::Modbus, None);
    far.write_all(b"late").await.unwrap();
    line.write_all(b"request!").await.unwrap();
    far.write_all(b"answer").await.unwrap();
    let mut read = [0; 6];
    line.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"answer");
    assert_eq!(status.view().noise_bytes, 4);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_takes_no_bytes_fails_instead_of_waiting_for_ever() {
    let (mut line, far, _) = line(BUS, None);
    let begun = Instant::now();
    let failed = loop {
        if let Err(e) = line.send(&[0; 512]).await {
            break e;
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
    };
    assert!(matches!(failed, LineError::Failed(e) if e.kind() == io::ErrorKind::TimedOut));
    drop(far);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_never_falls_silent_does_not_hold_up_the_driver() {
    /// Always has bytes.
    struct Babble;
    impl AsyncRead for Babble {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buf.put_slice(&[b'x'; 64]);
            Poll::Ready(Ok(()))
        }
    }
    impl AsyncWrite for Babble {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    let status = Arc::new(PortStatus::new(port(BUS, None)));
    let mut line = Line::over(Babble, Arc::clone(&status));
    let frame = line.next(&Small, Instant::now()).await.unwrap();
    assert_eq!(frame, None);
    let answer = line.exchange(&Greedy, b"?", Duration::ZERO, Some).await;
    assert!(matches!(answer, Err(NoAnswer::Unreadable)));
    assert!(line.buffer.len() <= STALE_MAX + CHUNK);
}

#[tokio::test]
async fn a_port_whose_bytes_make_no_sense_is_shown_until_they_do() {
    let status = Arc::new(PortStatus::new(port(BUS, None)));
    status.up("/dev/none".into());
    status.heard(100);
    assert_eq!(status.view().fault, None, "not at once");
    let (mut line, mut far) = {
        let (near, far) = duplex(64);
        (Line::over(near, Arc::clone(&status)), far)
    };
    crate::links::serial::status::grown_old(&status);
    far.write_all(b"x").await.unwrap();
    assert_eq!(line.next(&Small, soon()).await.unwrap(), None);
    assert_eq!(status.view().fault, Some(PortFault::Garbled));
    assert!(status.view().up);
    far.write_all(b"#1.").await.unwrap();
    assert_eq!(line.next(&Small, soon()).await.unwrap(), Some(1));
    assert_eq!(status.view().fault, None);
}

#[tokio::test(start_paused = true)]
async fn the_tap_hears_what_goes_over_the_line_but_not_what_people_type() {
    let (mut line, mut far, status) = line(Protocol::Lines, None);
    let mut tap = status.tap().listen();
    far.write_all(b"123456\r").await.unwrap();
    let mut read = [0; 7];
    line.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"123456\r");
    assert_eq!(&tap.try_recv().unwrap().bytes[..], b"******\r");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_leave_the_line_bounded_and_a_frame_after_them_is_found(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..400), 0..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut line, mut far, _) = line(BUS, None);
            for chunk in &chunks {
                far.write_all(chunk).await.unwrap();
                while line.next(&Small, soon()).await.unwrap().is_some() {}
                assert!(line.buffer.len() <= Small::MAX_BYTES + CHUNK);
                assert!(line.came.len() <= CHUNK);
            }
            // Noise may end in what looks like a beginning: that is given up, one byte at a time.
            far.write_all(b"!#5.").await.unwrap();
            let mut frames = Vec::new();
            while let Some(frame) = line.next(&Small, soon()).await.unwrap() {
                frames.push(frame);
            }
            assert_eq!(frames.last(), Some(&5));
        });
    }
}
