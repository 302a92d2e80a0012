//! Lines on which more is heard than answers.

use super::*;

#[tokio::test]
async fn the_answer_is_found_among_what_does_not_belong() {
    let mut n = 0;
    let bed = Bed::new(&[("cellar", CLIMATE)], move |r| {
        n += 1;
        let mut other = r.to_vec();
        other[0] = 2;
        let stray = match n % 4 {
            // A glitch of the driver, an answer of another slave, one to another request, half of one.
            0 => vec![0x00],
            1 => words(&other, &[1, 2]),
            2 => words(r, &[1]),
            _ => words(r, &[3, 4])[..6].to_vec(),
        };
        [stray, words(r, &[215, 600])].concat()
    })
    .await;
    let heard = Arc::clone(&bed.heard);
    until("five readings", || {
        (heard.readings("cellar").len() > 4).then_some(())
    })
    .await;
    let slave = bed.slave("cellar");
    assert_eq!((slave.missed, slave.unreadable), (0, 0));
    assert!(bed.status.view().noise_bytes > 20);
    bed.stop().await;
    assert!(
        heard
            .values("cellar", "temperature")
            .iter()
            .all(|v| *v == Value::Float(21.5))
    );
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_not_taken_for_the_next() {
    let late = Arc::new(Mutex::new(Vec::new()));
    let bed = Bed::new(
        &[
            ("cellar", CLIMATE),
            ("roof", &CLIMATE.replace("address = 1\n", "address = 2\n")),
        ],
        move |r| {
            // The cellar's answers come before the roof's, when the roof was asked.
            let mut late = late.lock().unwrap();
            match r[0] {
                1 => {
                    *late = words(r, &[111, 111]);
                    Vec::new()
                }
                _ => [std::mem::take(&mut *late), words(r, &[222, 222])].concat(),
            }
        },
    )
    .await;
    let heard = Arc::clone(&bed.heard);
    until("readings", || {
        (heard.readings("roof").len() > 3).then_some(())
    })
    .await;
    assert!(bed.slave("cellar").missed > 0);
    assert_eq!(bed.slave("roof").unreadable, 0);
    bed.stop().await;
    assert_eq!(heard.readings("cellar"), Vec::<Vec<Value>>::new());
    assert!(
        heard
            .values("roof", "humidity")
            .iter()
            .all(|v| *v == Value::Float(22.2))
    );
}

#[tokio::test]
async fn a_line_that_never_falls_silent_holds_up_nothing_else() {
    let (ours, mut theirs) = tokio::io::duplex(4_096);
    let flood = tokio::spawn(async move { while theirs.write_all(&[0x5a; 512]).await.is_ok() {} });
    let bed = Bed::over(
        ours,
        &[("cellar", CLIMATE)],
        relays::bank("contact_address = 8"),
    )
    .await;
    until("unreadable answers", || {
        (bed.slave("cellar").unreadable > 2).then_some(())
    })
    .await;
    bed.command("cellar", "c-1", Order::Identify).await;
    assert_eq!(bed.result("c-1").await.0, Done::Refused);
    bed.command("bank-a", "o-1", Order::Open { compartment: 1 })
        .await;
    let (outcome, reason) = bed.result("o-1").await;
    assert_eq!(outcome, Done::Failed);
    assert!(
        reason.starts_with("the line never falls silent, so nothing was sent"),
        "{reason}"
    );
    let heard = bed.stop().await;
    assert!(heard.sent.lock().unwrap().is_empty());
    flood.abort();
}

#[tokio::test]
async fn a_line_that_ends_is_noticed_though_nothing_is_due() {
    let (ours, theirs) = tokio::io::duplex(4_096);
    // No device: nothing is ever asked.
    let bed = Bed::over(ours, &[], Vec::new()).await;
    drop(theirs);
    assert!(matches!(bed.driver.await.unwrap(), LineError::Failed(_)));
}

#[tokio::test]
async fn nothing_but_noise_is_an_answer_that_cannot_be_read() {
    let bed = Bed::new(&[("cellar", CLIMATE)], |_| vec![0x5a; 70]).await;
    until("unreadable answers", || {
        (bed.slave("cellar").unreadable > 1).then_some(())
    })
    .await;
    assert_eq!(bed.slave("cellar").missed, 0);
    assert!(bed.stop().await.readings("cellar").is_empty());
}
