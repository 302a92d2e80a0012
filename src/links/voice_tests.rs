//! A voice before an intake that takes, refuses or quarantines as the test wants.

use super::*;
use async_trait::async_trait;
use firmware_protocols::event::{Done, Door};
use proptest::prelude::*;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// What it answers, in turn; then it takes everything.
struct Fake {
    answers: Mutex<VecDeque<Answer>>,
    /// Every payload that it was handed, and how it answered.
    seen: Mutex<Vec<(Vec<Event>, Answer)>>,
    /// A permit lets one call go on.
    gate: Semaphore,
}

impl Fake {
    fn new(answers: impl IntoIterator<Item = Answer>, open: bool) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(answers.into_iter().collect()),
            seen: Mutex::default(),
            gate: Semaphore::new(if open { Semaphore::MAX_PERMITS } else { 0 }),
        })
    }

    fn seen(&self) -> Vec<(Vec<Event>, Answer)> {
        self.seen.lock().unwrap().clone()
    }

    /// What is on disk or in quarantine, in the order in which it came there.
    fn kept(&self) -> Vec<Event> {
        let seen = self.seen().into_iter();
        let kept = seen.filter(|(_, answer)| !matches!(answer, Answer::NotTaken(_)));
        kept.flat_map(|(events, _)| events).collect()
    }
}

#[async_trait]
impl DeviceIntake for Fake {
    async fn events(&self, _: &Ident, payload: Bytes) -> Answer {
        self.gate.acquire().await.unwrap().forget();
        assert!(payload.len() <= PAYLOAD_MAX_BYTES);
        let events = event::decode(&payload).unwrap();
        let events = events.into_iter().map(|event| event.unwrap()).collect();
        let answer = self.answers.lock().unwrap().pop_front();
        let answer = answer.unwrap_or(Answer::Taken);
        self.seen.lock().unwrap().push((events, answer.clone()));
        answer
    }
    async fn foreign(&self, _: &Ident, _: &str, _: Bytes) {}
    fn presence(&self, _: &Ident, _: bool) {}
    fn command_sent(&self, _: String) {}
}

fn voice(intake: &Arc<Fake>) -> Voice {
    let device = Ident::new("bank-a").unwrap();
    let intake: Arc<dyn DeviceIntake> = Arc::clone(intake) as Arc<dyn DeviceIntake>;
    Voice::start(device, 7, "a board", &["open"], intake)
}

fn opened(compartment: u16) -> Kind {
    Kind::Compartment {
        compartment,
        door: Door::Open,
        occupied: None,
    }
}

fn compartments(events: &[Event]) -> Vec<u16> {
    let number = |event: &Event| match event.kind {
        Kind::Compartment { compartment, .. } => Some(compartment),
        _ => None,
    };
    events.iter().filter_map(number).collect()
}

async fn settled(voice: &Voice) {
    let all = async {
        while voice.waiting() > 0 {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(3_600), all).await.unwrap();
}

fn not_taken() -> Answer {
    Answer::NotTaken("the disk is full".to_owned())
}

#[tokio::test(start_paused = true)]
async fn it_says_hello_first_and_numbers_everything_in_its_order() {
    let intake = Fake::new([], true);
    let voice = voice(&intake);
    (1..=600).for_each(|n| voice.say(opened(n)));
    settled(&voice).await;
    let kept = intake.kept();
    assert!(matches!(&kept[0].kind, Kind::Hello { model, .. } if model == "a board"));
    assert_eq!(compartments(&kept), (1..=600).collect::<Vec<_>>());
    assert!(kept.iter().map(|event| event.seq).eq(1..=601));
    assert!(kept.iter().all(|event| event.boot == 7));
    let sizes = intake.seen().into_iter().map(|(events, _)| events.len());
    assert!(sizes.max().unwrap() <= EVENTS_PER_PAYLOAD_MAX);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_taken_comes_again_with_the_same_numbers_and_its_age_grown() {
    let intake = Fake::new([not_taken(), not_taken()], false);
    let voice = voice(&intake);
    voice.say(opened(1));
    intake.gate.add_permits(1);
    while intake.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    // Said after the first try: behind it, never between.
    voice.say(opened(2));
    intake.gate.add_permits(100);
    settled(&voice).await;
    let seen = intake.seen();
    assert_eq!(seen.len(), 3, "{seen:?}");
    let numbered = |n: usize| {
        let events = seen[n].0.iter();
        events
            .map(|event| (event.seq, event.kind.name()))
            .collect::<Vec<_>>()
    };
    assert!(numbered(2).starts_with(&numbered(0)) && numbered(2).starts_with(&numbered(1)));
    assert_eq!(compartments(&seen[2].0), [1, 2]);
    let said_anew = |n: usize| seen[n].0.iter().map(|event| event.kind.clone());
    assert!(said_anew(0).zip(said_anew(2)).all(|(a, b)| a == b));
    assert!(seen[2].0.iter().map(|event| event.seq).eq(1..=3));
}

#[tokio::test(start_paused = true)]
async fn what_is_malformed_is_in_quarantine_and_keeps_its_numbers() {
    let intake = Fake::new([Answer::Malformed("no".to_owned())], true);
    let voice = voice(&intake);
    settled(&voice).await;
    voice.say(opened(1));
    settled(&voice).await;
    let seen = intake.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].0[0].seq, 2, "the hello isn't said again");
}

#[tokio::test(start_paused = true)]
async fn it_keeps_so_many_while_the_disk_refuses_and_counts_what_is_lost() {
    let intake = Fake::new([], false);
    let voice = voice(&intake);
    let said = u16::try_from(WAITING_MAX).unwrap() + 9;
    (1..=said).for_each(|n| voice.say(opened(n)));
    assert_eq!(voice.waiting(), WAITING_MAX);
    assert_eq!(voice.lost(), 10, "the hello has a place too");
    intake.gate.add_permits(100);
    settled(&voice).await;
    let kept = intake.kept();
    assert_eq!(kept.len(), WAITING_MAX);
    assert!(kept.iter().map(|event| event.seq).eq(1..=kept.len() as u64));
    voice.say(opened(1));
    settled(&voice).await;
    let kept = intake.kept();
    assert_eq!(kept.last().unwrap().seq, WAITING_MAX as u64 + 1, "no gap");
}

#[tokio::test(start_paused = true)]
async fn a_voice_that_is_dropped_brings_what_it_has_to_disk() {
    let intake = Fake::new([], false);
    let voice = voice(&intake);
    voice.say(opened(3));
    drop(voice);
    intake.gate.add_permits(100);
    while Arc::strong_count(&intake) > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(compartments(&intake.kept()), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_voice_that_is_dropped_does_not_go_on_for_ever() {
    let intake = Fake::new((0..1_000).map(|_| not_taken()), true);
    let voice = voice(&intake);
    drop(voice);
    while Arc::strong_count(&intake) > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(intake.seen().len() <= 2, "it ends at the first refusal");
}

#[tokio::test(start_paused = true)]
async fn events_too_large_for_one_payload_go_in_several() {
    let intake = Fake::new([], true);
    let voice = voice(&intake);
    for n in 0..250 {
        voice.say(Kind::Result {
            command: format!("c-{n}"),
            outcome: Done::Failed,
            reason: Some("x".repeat(256)),
        });
    }
    settled(&voice).await;
    assert!(intake.kept().iter().map(|event| event.seq).eq(1..=251));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_disk_refuses_and_whenever_things_happen_all_is_kept_once_in_order(
        answers in prop::collection::vec(0_u8..4, 0..20),
        pauses in prop::collection::vec(0_u64..700, 1..60),
    ) {
        let answers = answers.into_iter().map(|n| match n {
            0 => Answer::Taken,
            1 => Answer::Malformed("no".to_owned()),
            _ => not_taken(),
        });
        let intake = Fake::new(answers, true);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let said = u16::try_from(pauses.len()).unwrap();
        runtime.block_on(async {
            let voice = voice(&intake);
            for (n, pause) in (1..).zip(&pauses) {
                tokio::time::sleep(Duration::from_millis(*pause)).await;
                voice.say(opened(n));
            }
            settled(&voice).await;
        });
        let kept = intake.kept();
        prop_assert!(kept.iter().map(|event| event.seq).eq(1..=u64::from(said) + 1));
        prop_assert_eq!(compartments(&kept), (1..=said).collect::<Vec<_>>());
        // A number means the same event at every try.
        let mut meant = std::collections::HashMap::new();
        for (events, _) in intake.seen() {
            for event in events {
                let known = meant.entry(event.seq).or_insert_with(|| event.kind.clone());
                prop_assert_eq!(&*known, &event.kind);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_several_at_once_learns_when_the_last_is_on_disk() {
    let intake = Fake::new([Answer::Taken, not_taken()], false);
    let voice = voice(&intake);
    let now = || Moment::Then(Instant::now());
    let mut on_disk = voice.on_disk();
    intake.gate.add_permits(1);
    on_disk.wait_for(|there| *there == 1).await.unwrap();
    let position = voice.say_all(vec![
        (now(), opened(1)),
        (Moment::At(1_780_000_000_000), opened(2)),
    ]);
    assert_eq!(position, Some(3), "the hello counts");
    intake.gate.add_permits(1);
    assert!(
        timeout(
            Duration::from_secs(1),
            on_disk.wait_for(|there| *there >= 3)
        )
        .await
        .is_err(),
        "it wasn't taken"
    );
    intake.gate.add_permits(1);
    on_disk.wait_for(|there| *there >= 3).await.unwrap();
    let kept = intake.kept();
    assert_eq!(compartments(&kept), [1, 2]);
    assert_eq!(kept[2].when, When::At(1_780_000_000_000));
}

#[tokio::test(start_paused = true)]
async fn several_at_once_are_taken_as_a_whole_or_not_at_all() {
    let intake = Fake::new([], false);
    let voice = voice(&intake);
    let many = |n: usize| vec![(Moment::Then(Instant::now()), opened(1)); n];
    assert_eq!(
        voice.say_all(many(WAITING_MAX)),
        None,
        "the hello waits too"
    );
    assert_eq!(
        voice.say_all(many(WAITING_MAX - 1)),
        Some(WAITING_MAX as u64)
    );
    assert_eq!(voice.say_all(many(1)), None);
    assert_eq!(voice.lost(), 0);
}
