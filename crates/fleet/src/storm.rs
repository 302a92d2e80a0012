//! The first part: the fleet lives through the faults. One cloud is killed in the middle and started
//! again; requests are cut, doubled and late, answers are lost; some gateways live twice.

use std::time::{Duration, Instant};

use crate::enrolment::Gateway;
use crate::processes::Cloud;
use crate::track::Track;

/// What is left may take so long to be sent when nothing happens any more.
const DRAIN: Duration = Duration::from_secs(90);

/// So many things happen to a store and its copy until the end.
const COPIES_STEPS: u32 = 4;

/// A gateway after the storm; with the copy of its store if it lived twice.
pub struct Survivor {
    /// The gateway.
    pub gateway: Gateway,
    /// The other one that speaks as it.
    pub copy: Option<[Track; 2]>,
}

/// When what happens.
#[derive(Debug, Clone, Copy)]
struct Times {
    copied: Instant,
    end: Instant,
    deadline: Instant,
}

/// The storm, of this length. Every `nth_is_copied` gateway is copied in the middle.
pub async fn storm(
    gateways: Vec<Gateway>,
    clouds: &mut [Cloud],
    length: Duration,
    nth_is_copied: usize,
) -> anyhow::Result<Vec<Survivor>> {
    let began = Instant::now();
    let end = began + length;
    let times = Times {
        copied: began + length.mul_f64(0.5),
        end,
        deadline: end + DRAIN,
    };
    let mut tasks = Vec::with_capacity(gateways.len());
    for (number, gateway) in gateways.into_iter().enumerate() {
        let is_copied = number % nth_is_copied == 0;
        let Gateway { name, tracks } = gateway;
        let [urgent, slow] = tracks;
        tasks.push((
            name,
            tokio::spawn(through(urgent, times, is_copied)),
            tokio::spawn(through(slow, times, is_copied)),
        ));
    }
    kill_and_start_again(clouds, began, length).await?;
    let mut survivors = Vec::with_capacity(tasks.len());
    for (name, urgent, slow) in tasks {
        let (urgent, slow) = (urgent.await??, slow.await??);
        survivors.push(Survivor {
            gateway: Gateway {
                name,
                tracks: [urgent.0, slow.0],
            },
            copy: urgent.1.zip(slow.1).map(|(urgent, slow)| [urgent, slow]),
        });
    }
    Ok(survivors)
}

/// Killed after two fifths, back after three.
async fn kill_and_start_again(
    clouds: &mut [Cloud],
    began: Instant,
    length: Duration,
) -> anyhow::Result<()> {
    let Some(cloud) = clouds.first_mut() else {
        return Ok(());
    };
    tokio::time::sleep_until((began + length.mul_f64(0.4)).into()).await;
    cloud.kill();
    tokio::time::sleep_until((began + length.mul_f64(0.6)).into()).await;
    tokio::task::block_in_place(|| cloud.start_again())
}

async fn through(
    mut track: Track,
    times: Times,
    is_copied: bool,
) -> anyhow::Result<(Track, Option<Track>)> {
    track.live(times.copied).await?;
    let gap = (times.end - times.copied) / COPIES_STEPS;
    let mut copy = is_copied.then(|| track.copy(gap)).transpose()?;
    let other = async {
        match &mut copy {
            Some(copy) => to_the_end(copy, times).await,
            None => Ok(()),
        }
    };
    let (one, other) = tokio::join!(to_the_end(&mut track, times), other);
    one?;
    other?;
    track.caller.stormy = false;
    Ok((track, copy))
}

async fn to_the_end(track: &mut Track, times: Times) -> anyhow::Result<()> {
    track.live(times.end).await?;
    track.drain(times.deadline).await?;
    Ok(())
}
