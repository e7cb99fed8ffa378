//! The desk with a card that is made up, at times that are made up.

use std::sync::{Mutex, mpsc};

use audera_clock::Span;
use audera_wire::{RoomChange, RoomState};

use super::super::course::Position;
use super::super::{ElementName, Mixer, MixerName};
use super::*;
use crate::chime::Chime;
use crate::level::{LEAST_CHIME, Leveller};

const RATE: u32 = 48_000;
/// 0 dB; steps are half a dB.
const FULL: i64 = 207;

/// A card as its driver knows it.
#[derive(Debug, Default)]
struct Hardware {
    there: bool,
    raw: i64,
    on: bool,
    /// It takes multiples of this only, and the next above what it is set to; 0: all values.
    grain: i64,
    /// Its driver lets nobody switch it off.
    stays_on: bool,
    /// Somebody switches it off just when its volume is set next.
    hand: bool,
    /// Setting its volume switches it on, and switching it off sets its volume to nought.
    entangled: bool,
    /// What the room is set to, one state after the other, while the volume is set next.
    meanwhile: Option<(Arc<Level>, Vec<RoomState>)>,
    /// All that was set.
    log: Vec<String>,
    /// Handles to cards that were unplugged are of no use with others.
    generation: u32,
}

#[derive(Clone, Default)]
struct Made(Arc<Mutex<Hardware>>);

struct MadeElement {
    card: Made,
    generation: u32,
}

fn name() -> MixerName {
    MixerName { device: "hw:0".into(), element: ElementName { name: "Digital".into(), index: 0 } }
}

impl Cards for Made {
    type Element = MadeElement;

    fn open(&mut self) -> Result<MadeElement, MixerError> {
        let card = self.0.lock().unwrap();
        match card.there {
            true => Ok(MadeElement { card: self.clone(), generation: card.generation }),
            false => Err(MixerError::NotOpen { device: "hw:0".into(), detail: "no such card".into() }),
        }
    }
}

impl MadeElement {
    fn with(&self, what: impl FnOnce(&mut Hardware)) -> Result<(), MixerError> {
        let mut card = self.card.0.lock().unwrap();
        if card.there && card.generation == self.generation {
            what(&mut card);
            Ok(())
        } else {
            Err(MixerError::Failed { name: name(), detail: "gone".into() })
        }
    }
}

impl Element for MadeElement {
    fn range(&self) -> (i64, i64) {
        (0, FULL)
    }

    fn millibels(&self, raw: i64) -> Option<i64> {
        Some(50 * (raw - FULL))
    }

    fn position(&mut self) -> Result<Position, MixerError> {
        let mut position = Position { raw: 0, even: true, on: None, alike: true };
        self.with(|card| (position.raw, position.on) = (card.raw, Some(card.on)))?;
        Ok(position)
    }

    fn set_volume(&mut self, raw: i64) -> Result<(), MixerError> {
        self.with(|card| {
            let grain = card.grain.max(1);
            card.raw = ((raw + grain - 1) / grain * grain).min(FULL);
            card.on &= !std::mem::take(&mut card.hand);
            card.on |= card.entangled;
            if let Some((level, states)) = card.meanwhile.take() {
                states.iter().for_each(|state| level.set(state));
            }
            card.log.push(format!("{raw}"));
        })
    }

    fn set_switch(&mut self, on: bool) -> Result<(), MixerError> {
        self.with(|card| {
            card.on = on || card.stays_on;
            card.raw *= i64::from(on || !card.entangled);
            card.log.push(if on { "on".into() } else { "off".into() });
        })
    }

    fn descriptors(&self) -> Result<Vec<pollfd>, MixerError> {
        self.with(|_| {}).map(|()| Vec::new())
    }
}

/// A room with a desk, and the time.
struct World {
    card: Made,
    desk: Desk<Made>,
    room: RoomState,
    mixer: Mixer,
    turned: watch::Receiver<Turned>,
    fault: watch::Receiver<Option<MixerError>>,
    bell: UnixStream,
    now: Instant,
}

impl World {
    fn new(percent: f64) -> Self {
        let room = RoomState { volume: Volume::nearest(percent), ..RoomState::new("Kitchen") };
        let (orders, bell) = Orders::new(&room).unwrap();
        let level = Level::behind(orders.clone());
        let (turned, turns) = watch::channel(Turned::default());
        let card = Made::default();
        let (tell_fault, fault) = watch::channel(None);
        let desk = Desk::new(card.clone(), orders.clone(), level, turned, tell_fault);
        let mixer = Mixer { orders, fault: fault.clone() };
        World { card, desk, room, mixer, turned: turns, fault, bell, now: Instant::now() }
    }

    /// A card is plugged in, or another one; as loud as it goes.
    fn plug(&self) {
        let mut card = self.card.0.lock().unwrap();
        (card.there, card.raw, card.on) = (true, FULL, true);
        card.generation += 1;
    }

    fn unplug(&self) {
        self.card.0.lock().unwrap().there = false;
    }

    fn raw(&self) -> i64 {
        self.card.0.lock().unwrap().raw
    }

    fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.card.0.lock().unwrap().log)
    }

    /// Lets so many milliseconds go by, and the desk do its work.
    fn pass(&mut self, milliseconds: u64) -> Option<Duration> {
        self.now += Duration::from_millis(milliseconds);
        match self.desk.work(self.now) {
            Then::Sleep(pause) => pause,
            Then::End => panic!("nobody has closed the orders"),
        }
    }

    fn set(&mut self, change: &RoomChange) {
        self.room = self.room.changed(change).unwrap();
        self.desk.level.set(&self.room);
    }

    /// What samples are multiplied by once a ramp is over.
    fn software(&self) -> f32 {
        let mut sample = [1.0];
        Leveller::new(self.desk.level.clone(), 1, RATE).apply(&mut sample);
        sample[0]
    }

    /// Asks, as a device does that is about to play, and lets the desk answer.
    fn ready(&mut self) -> Result<(), MixerError> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.mixer.orders.order(|open| open.waiting.push(Waiting { latency: Span::from_millis(32), answer }));
        self.pass(0);
        answered.try_recv().unwrap()
    }
}

#[test]
fn a_card_is_set_before_anything_is_heard_when_it_comes_and_when_it_comes_again() {
    let mut world = World::new(50.0);
    assert_eq!(world.pass(0), Some(RETRY));
    assert_eq!(world.software(), 0.0);
    let error = world.ready().unwrap_err().to_string();
    assert!(error.contains("hw:0 cannot be opened (no such card)") && error.contains("mixer-device"), "{error}");
    world.plug();
    assert_eq!(world.ready(), Ok(()));
    // -18.06 dB is the next step and a little less of the samples.
    assert_eq!(world.raw(), 171);
    let expected = 10f32.powf((60.0 * 0.5f32.log10() + 18.0) / 20.0);
    assert!((world.software() - expected).abs() < 1e-4, "{}", world.software());
    assert_eq!(world.log(), ["171"]);

    // Another one in its place, which nobody has noticed yet.
    world.plug();
    assert_eq!(world.ready(), Ok(()));
    assert_eq!((world.raw(), world.log()), (171, vec!["171".to_owned()]));
    world.unplug();
    assert_eq!(world.pass(10), Some(RETRY));
    assert_eq!(world.software(), 0.0);
    assert!(world.ready().is_err());
    world.set(&RoomChange::volume(25.0));
    world.plug();
    // Found by itself as well.
    world.pass(5_000);
    assert_eq!((world.raw(), world.log()), (135, vec!["135".to_owned()]));
    assert!(world.software() > 0.9);
    assert!(!world.turned.has_changed().unwrap(), "nobody had a hand on it");
}

#[test]
fn whoever_plays_is_told_when_the_element_is_lost_and_when_it_is_back() {
    let mut world = World::new(50.0);
    world.pass(0);
    assert!(matches!(&*world.fault.borrow_and_update(), Some(MixerError::NotOpen { .. })));
    world.plug();
    assert_eq!(world.ready(), Ok(()));
    assert_eq!(*world.fault.borrow_and_update(), None);
    // It goes while something plays, and nobody asks.
    world.unplug();
    world.pass(10);
    assert!(world.fault.borrow_and_update().is_some());
    let failed = futures_util::FutureExt::now_or_never(world.mixer.failed()).unwrap();
    assert!(matches!(failed, MixerError::NotOpen { .. }), "{failed}");
    world.plug();
    world.pass(5_000);
    assert_eq!(*world.fault.borrow_and_update(), None);
    assert!(futures_util::FutureExt::now_or_never(world.mixer.failed()).is_none());
    // Another one that takes its place at once is no loss.
    world.plug();
    world.pass(10);
    assert!(!world.fault.has_changed().unwrap());
}

#[test]
fn a_card_that_cannot_be_watched_is_not_looked_for_without_a_pause() {
    let mut world = World::new(50.0);
    world.plug();
    world.pass(0);
    // As long as it has been there, it may be another one by now, and is looked for at once.
    world.pass(6_000);
    world.unplug();
    let error = world.desk.sleep(&world.bell, Some(Duration::ZERO)).unwrap_err();
    world.plug();
    world.desk.gone(world.now, error);
    assert_eq!((world.pass(0), world.raw()), (None, 171));
    world.desk.gone(world.now, MixerError::Gone);
    assert_eq!(world.pass(0), Some(RETRY));
    assert_eq!((world.software(), world.fault.borrow().clone()), (0.0, Some(MixerError::Gone)));
    assert_eq!(world.pass(5_000), None);
    assert_eq!(*world.fault.borrow(), None);
    assert!(world.software() > 0.9);
}

#[test]
fn hands_move_the_room_and_the_room_is_never_fought() {
    let mut world = World::new(50.0);
    world.plug();
    world.pass(0);
    // The system puts back what was kept: nobody's wish.
    world.card.0.lock().unwrap().raw = 200;
    world.pass(500);
    assert_eq!(world.raw(), 171);
    assert!(!world.turned.has_changed().unwrap());
    world.pass(2_000);
    world.log();

    world.card.0.lock().unwrap().raw = 187;
    world.pass(1);
    let first = *world.turned.borrow_and_update();
    assert_eq!((first.number, first.turn.volume, first.turn.mute), (1, Some(Volume::nearest(68.12)), None));
    // A hand goes on, and what the room says to what was before is late.
    world.card.0.lock().unwrap().raw = 190;
    world.pass(1);
    first.turn.changes().for_each(|change| world.set(&change));
    world.mixer.answer(first.number, &world.room);
    world.pass(1);
    assert_eq!(world.raw(), 190);
    world.card.0.lock().unwrap().on = false;
    world.pass(1);
    let last = *world.turned.borrow_and_update();
    assert_eq!((last.number, last.turn.mute), (3, Some(true)));
    assert_eq!(last.turn.volume, Some(Volume::nearest(72.16)));
    last.turn.changes().for_each(|change| world.set(&change));
    world.mixer.answer(last.number, &world.room);
    world.pass(1);
    assert_eq!((world.raw(), world.log(), world.software()), (190, vec![], 0.0));

    // A limit holds at once; what is pinned is back when the room has said so.
    world.set(&RoomChange { max_volume: Some(60.0), mute: Some(false), ..RoomChange::default() });
    world.pass(1);
    let limited = world.raw();
    assert_eq!(limited, 207 - 26);
    world.card.0.lock().unwrap().raw = FULL;
    world.pass(1);
    assert_eq!(world.raw(), limited);
    world.card.0.lock().unwrap().raw = 100;
    world.pass(1);
    let turn = *world.turned.borrow_and_update();
    assert_eq!(world.raw(), 100);
    world.mixer.answer(turn.number, &world.room);
    world.pass(1);
    assert_eq!(world.raw(), limited);
}

#[test]
fn while_it_plays_the_element_goes_up_when_the_samples_have_been_heard_to_go_down() {
    let mut world = World::new(50.0);
    world.plug();
    world.ready().unwrap();
    let mut leveller = Leveller::new(world.desk.level.clone(), 1, RATE);
    world.pass(100);
    world.log();
    // From -18.06 dB to -17.9: the next step and less of the samples.
    world.set(&RoomChange::volume(50.31));
    assert_eq!(world.pass(1), Some(LOOK));
    leveller.apply(&mut [1.0; 1_000]);
    assert_eq!(world.pass(5), Some(LOOK), "in the middle of its ramp");
    leveller.apply(&mut [1.0; 1_000]);
    let wait = Duration::from_millis(32) + BEYOND_BUFFER;
    assert_eq!((world.pass(5), world.log()), (Some(wait), vec![]));
    assert_eq!(world.pass(51), Some(Duration::from_millis(1)));
    assert_eq!(world.pass(1), None);
    assert_eq!(world.log(), ["172"]);
    // A hand that goes up and up, fifty times a second, is followed all the way.
    for percent in 51..80 {
        world.set(&RoomChange::volume(f64::from(percent)));
        leveller.apply(&mut [1.0; 960]);
        world.pass(20);
        let behind = Volume::nearest(f64::from(percent)).decibels() - 0.5 * (world.raw() - FULL) as f64;
        assert!((-0.5..0.6).contains(&behind), "{percent} %: {behind} dB behind");
    }
    leveller.apply(&mut [1.0; 9_600]);
    world.pass(5);
    world.pass(60);
    world.log();
    // Down: at once.
    world.set(&RoomChange::volume(10.0));
    assert_eq!((world.pass(1), world.log()), (None, vec!["87".to_owned()]));
    // A device that is closed in the middle is waited for no more.
    world.set(&RoomChange::mute(true));
    assert_eq!((world.pass(1), world.log()), (Some(LOOK), vec![]));
    drop(leveller);
    assert_eq!((world.pass(5), world.log()), (None, vec!["off".to_owned()]));
}

#[test]
fn a_chime_is_heard_as_loud_as_it_should_be_in_a_room_that_is_mute() {
    let mut world = World::new(10.0);
    world.plug();
    world.set(&RoomChange::mute(true));
    world.ready().unwrap();
    assert_eq!(world.log(), ["87", "off"]);
    let mut leveller = Leveller::new(world.desk.level.clone(), 1, RATE);
    world.pass(100);
    world.desk.level.ring(&world.room);
    assert_eq!(world.pass(1), Some(chime::LENGTH + CHIME_SPARE + Duration::from_millis(32)));
    assert_eq!(world.log(), ["160", "on"]);
    let mut samples = vec![1.0; RATE as usize];
    leveller.apply(&mut samples);
    let peak = |samples: &[f32]| samples.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
    let mut alone = vec![0.0; RATE as usize];
    assert!(Chime::new(RATE, Volume::nearest(LEAST_CHIME).gain()).add_to(&mut alone, 1));
    let heard = peak(&samples) * 10f32.powf(0.5 * (160 - FULL) as f32 / 20.0);
    assert!((heard / peak(&alone) - 1.0).abs() < 2e-3, "{heard} instead of {}", peak(&alone));
    // Moved meanwhile, it is moved back: the room is somewhere else.
    world.card.0.lock().unwrap().raw = 150;
    world.pass(10);
    assert_eq!(world.log(), ["160"]);
    world.pass(2_000);
    assert_eq!(world.log(), ["87", "off"]);
    assert!(!world.turned.has_changed().unwrap());
}

#[test]
fn what_a_card_makes_of_a_value_is_nobodys_wish() {
    let mut world = World::new(50.0);
    (world.card.0.lock().unwrap().grain, world.card.0.lock().unwrap().stays_on) = (8, true);
    world.plug();
    world.ready().unwrap();
    world.pass(3_000);
    // Louder than it was set to: samples make up for it.
    assert_eq!((world.raw(), world.log()), (176, vec!["171".to_owned()]));
    let together = |world: &World| 20.0 * f64::from(world.software()).log10() + 0.5 * (world.raw() - FULL) as f64;
    assert!((together(&world) - Volume::nearest(50.0).decibels()).abs() < 0.02, "{}", together(&world));
    for (percent, raw, set) in [(25.0, 136, "135"), (80.0, 200, "196"), (30.0, 152, "145"), (100.0, FULL, "207")] {
        world.set(&RoomChange::volume(percent));
        world.pass(1_000);
        assert_eq!((world.raw(), world.log()), (raw, vec![set.to_owned()]), "{percent} %");
        assert!((together(&world) - Volume::nearest(percent).decibels()).abs() < 0.02, "{percent} %");
    }
    world.set(&RoomChange::mute(true));
    world.pass(1_000);
    assert_eq!((world.software(), world.log()), (0.0, vec!["off".to_owned()]));
    world.pass(1_000);
    assert_eq!(world.log(), [""; 0], "it has been told");
    world.set(&RoomChange::mute(false));
    world.pass(1_000);
    assert!(!world.turned.has_changed().unwrap());
    // Hands are hands all the same.
    world.card.0.lock().unwrap().raw = 184;
    world.pass(1);
    assert!(world.turned.borrow_and_update().turn.volume.is_some());
    assert_eq!(world.raw(), 184);
}

#[test]
fn a_hand_on_the_switch_while_the_volume_is_set_is_not_missed() {
    let mut world = World::new(50.0);
    world.plug();
    world.ready().unwrap();
    world.pass(3_000);
    world.card.0.lock().unwrap().hand = true;
    world.set(&RoomChange::volume(25.0));
    world.pass(1);
    let turned = *world.turned.borrow_and_update();
    assert_eq!((turned.turn.volume, turned.turn.mute), (None, Some(true)));
    assert_eq!((world.raw(), world.card.0.lock().unwrap().on), (135, false));
}

#[test]
fn what_is_in_the_buffer_counts_when_a_card_is_lost_and_found() {
    let mut world = World::new(50.0);
    world.plug();
    world.ready().unwrap();
    let mut leveller = Leveller::new(world.desk.level.clone(), 1, RATE);
    world.pass(100);
    world.log();
    world.unplug();
    world.pass(1);
    // The element of the one that comes is low; samples of -0.06 dB are to be heard yet, of a room that is to be at -17.9 dB.
    world.plug();
    world.card.0.lock().unwrap().raw = 100;
    world.set(&RoomChange::volume(50.31));
    world.pass(5_000);
    assert_eq!(world.log(), ["171"]);
    leveller.apply(&mut [1.0; 2_000]);
    world.pass(5);
    world.pass(60);
    assert_eq!(world.log(), ["172"]);
}

#[test]
fn mute_does_not_wait_for_a_driver() {
    let mut world = World::new(50.0);
    world.plug();
    world.ready().unwrap();
    let mut leveller = Leveller::new(world.desk.level.clone(), 1, RATE);
    let mut last = |count: usize| {
        let mut samples = vec![1.0; count];
        leveller.apply(&mut samples);
        samples[count - 1]
    };
    let before = last(4_800);
    assert!(before > 0.9);
    // The desk does nothing all the while.
    world.set(&RoomChange::mute(true));
    assert_eq!(last(4_800), 0.0);
    // It is heard again when the desk has seen to it.
    world.set(&RoomChange::mute(false));
    assert_eq!(last(4_800), 0.0);
    world.pass(1);
    assert_eq!(last(4_800), before);
    world.set(&RoomChange::mute(true));
    last(4_800);
    world.pass(1);
    assert_eq!(world.software(), 0.0);
    // The element has its switch off when all is silent, and is on before anything is heard.
    world.pass(1_000);
    last(4_800);
    world.pass(5);
    world.pass(1_000);
    assert_eq!(world.log(), ["171", "off"]);
    world.set(&RoomChange::mute(false));
    world.pass(1);
    assert_eq!(world.log(), ["on"]);
    assert_eq!(last(4_800), before);
}

#[test]
fn a_room_that_was_mute_is_not_heard_as_loud_as_it_was_while_a_driver_hangs() {
    let mut world = World::new(80.0);
    world.plug();
    world.ready().unwrap();
    let mut leveller = Leveller::new(world.desk.level.clone(), 1, RATE);
    let mut last = || {
        let mut samples = vec![1.0; 4_800];
        leveller.apply(&mut samples);
        samples[4_799]
    };
    let lower = RoomChange { mute: Some(false), ..RoomChange::volume(10.0) };
    assert!(last() > 0.9);
    // The desk does nothing all the while.
    world.set(&RoomChange::mute(true));
    assert_eq!(last(), 0.0);
    world.set(&lower);
    assert_eq!((last(), world.raw()), (0.0, 196), "the element is where it was for 80 %");
    world.pass(1);
    assert_eq!(world.raw(), 87);
    assert!(last() > 0.9);

    // It hangs while the desk has another volume set.
    let mute = world.room.changed(&RoomChange { mute: Some(true), ..RoomChange::volume(80.0) }).unwrap();
    let states = vec![mute.clone(), mute.changed(&lower).unwrap()];
    world.card.0.lock().unwrap().meanwhile = Some((world.desk.level.clone(), states));
    world.set(&RoomChange::volume(80.0));
    world.pass(100);
    assert_eq!((last(), world.raw()), (0.0, 195), "that was for 80 %, as far as what is in the buffer lets it");
    world.pass(1);
    assert_eq!(world.raw(), 87);
    assert!(last() > 0.9);
}

#[test]
fn an_element_that_does_not_stay_where_it_is_put_is_left_where_it_is() {
    let mut world = World::new(50.0);
    world.card.0.lock().unwrap().entangled = true;
    world.plug();
    world.set(&RoomChange::mute(true));
    assert_eq!(world.ready(), Ok(()));
    let steps = world.log();
    assert!((2..=2 * MOST_LOOKS).contains(&steps.len()), "{steps:?}");
    assert_eq!((world.pass(1), world.log(), world.software()), (None, vec![], 0.0));
    // What can be had of it is had.
    world.set(&RoomChange::mute(false));
    assert_eq!(world.pass(1), None);
    assert_eq!((world.raw(), world.card.0.lock().unwrap().on), (171, true));
    assert!(world.software() > 0.9);
    // Nothing of that was a hand, and it is not taken for one later.
    world.log();
    world.pass(5_000);
    assert_eq!(world.log(), [""; 0]);
    assert!(!world.turned.has_changed().unwrap());
}
