//! What an ALSA card does besides taking samples, on virtual ones: its own mixer has a part in the volume, and its channels an order.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use audera_testkit::card::{CardMixer, SAMPLES_FILE, Setting, TrueTime};
use audera_testkit::home::Product;
use audera_testkit::{Card, Played, Process, RunningAlsaCard, Session, or_skip};
use audera_wire::Volume;

use crate::{Alone, address, alone, peer, wait_for_line};

/// What the steady peer sends.
const SENT: f64 = 0.5;
/// 0.1 dB.
const CLOSE: f64 = 1.0116;
/// 1 dB: where sound begins, a resampler overshoots.
const NO_LOUDER: f64 = 1.122;

/// A room on a card with a mixer.
struct Room {
    session: Session,
    product: Product,
    card: RunningAlsaCard,
    element: String,
    _alone: Alone,
}

impl Room {
    fn new(mixer: CardMixer) -> Option<Self> {
        let alone = alone();
        let session = or_skip(Session::builder("house").daemons(&[]).start())?;
        let element = mixer.element.clone();
        let card = session.alsa_card(&Card::new("Kitchen").mixer(mixer)).unwrap();
        Some(Room { session, product: Product::find().unwrap(), card, element, _alone: alone })
    }

    /// Starts the player with more of a configuration.
    fn player(&self, element: &str, more: &str) -> Process {
        let text = format!("output = \"alsa:{}\"\nmixer = \"{element}\"\naccess = \"open\"\n{more}", self.card.pcm());
        let file = self.session.dir().join("player.toml");
        std::fs::write(&file, text).unwrap();
        self.product
            .player(&self.session, "Kitchen", &["--no-discovery", "-v", "--config", file.to_str().unwrap()])
            .unwrap()
    }

    /// What the player tells of the room, after it was set.
    fn set(&self, player: &Process, settings: &[&str]) -> String {
        self.product.set(&self.session, &address(player), settings).unwrap()
    }

    fn setting(&self) -> Setting {
        self.card.knobs().unwrap().setting()
    }

    /// Turns the element as any program does.
    fn amixer(&self, words: &[&str]) {
        self.session.run("amixer", &[&["-q", "-D", self.card.pcm(), "sset", &self.element], words].concat()).unwrap();
    }

    /// Waits until the card plays at this volume, to 0.1 dB, and has for 50 ms.
    fn wait_for(&self, percent: f64) -> Played {
        let wanted = SENT * f64::from(Volume::nearest(percent).gain());
        let mut heard = Vec::new();
        let steady = self.session.poll("the level", || {
            heard = last(&self.card, 2, 2_400)?.iter().step_by(2).copied().collect();
            let fits = |sample: &f32| {
                let sample = f64::from(*sample);
                if wanted == 0.0 { sample == 0.0 } else { sample > wanted / CLOSE && sample < wanted * CLOSE }
            };
            heard.iter().all(fits).then_some(())
        });
        steady.unwrap_or_else(|error| panic!("{percent} %: not {wanted} but {:?}: {error}", heard.last()));
        self.card.played().unwrap()
    }
}

/// What a card has played last: so many frames.
fn last(card: &RunningAlsaCard, channels: usize, frames: usize) -> Option<Vec<f32>> {
    let file = File::open(card.folder().join(SAMPLES_FILE)).ok()?;
    let frame = 4 * channels as u64;
    let end = file.metadata().ok()?.len() / frame;
    let mut bytes = vec![0; 4 * channels * frames];
    file.read_exact_at(&mut bytes, end.checked_sub(frames as u64)? * frame).ok()?;
    Some(bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect())
}

/// The loudest sample between two frames, as a factor of what was sent.
fn loudest(played: &Played, from: usize, to: usize) -> f64 {
    let samples = &played.samples[from.min(played.samples.len())..to.min(played.samples.len())];
    samples.iter().fold(0.0, |peak: f64, sample| peak.max(f64::from(sample.abs()))) / SENT
}

/// Sets these volumes one after the other and hears each; never is anything louder than the louder of two.
fn go_through(room: &Room, player: &Process, first: f64, volumes: &[f64]) {
    let mut last = first;
    let mut from = room.wait_for(first).samples.len();
    for percent in volumes {
        room.set(player, &[&format!("volume={percent}%")]);
        let played = room.wait_for(*percent);
        let most = f64::from(Volume::nearest(last.max(*percent)).gain());
        let loudest = loudest(&played, from, played.samples.len());
        assert!(loudest <= most * NO_LOUDER, "from {last} % to {percent} %: {loudest} instead of {most}");
        (last, from) = (*percent, played.samples.len());
    }
}

#[test]
fn the_cards_mixer_has_its_part_in_the_volume_both_ways() {
    let Some(room) = Room::new(CardMixer::digital()) else { return };
    // A card that nobody has touched is turned up.
    assert_eq!(room.setting(), Setting { volume: [207; 2], on: [true; 2] });
    let player = room.player("Digital", "volume = 20\n");
    let mut sender = peer::start(&room.session, "steady", &address(&player));
    let begun = room.wait_for(20.0);
    let most = f64::from(Volume::nearest(20.0).gain());
    assert!(loudest(&begun, 0, begun.samples.len()) <= most * NO_LOUDER, "the first sound");
    // -41.94 dB: the step above.
    assert_eq!(room.setting(), Setting { volume: [124; 2], on: [true; 2] });
    go_through(&room, &player, 20.0, &[100.0, 77.7, 40.0, 41.0, 3.0, 1.0, 0.0, 55.5]);
    assert_eq!(room.setting().volume, [177; 2]);

    // Mute is the card's switch.
    room.set(&player, &["mute=on"]);
    room.wait_for(0.0);
    room.session.poll("the switch", || (room.setting().on == [false; 2]).then_some(())).unwrap();
    assert_eq!(room.setting().volume, [177; 2]);

    // Who turns the card turns the room; one of its channels is as good as both.
    // For two seconds after a card has come, what is done to it is not taken for a wish.
    let unmuted = || {
        room.amixer(&["unmute"]);
        room.set(&player, &[]).contains("\nmute=off\n").then_some(())
    };
    room.session.poll("a room that follows its card", unmuted).unwrap();
    room.wait_for(55.5);
    room.amixer(&["167"]);
    room.wait_for(46.41);
    assert!(room.set(&player, &[]).contains("\nvolume=46.41%\n"));
    room.amixer(&["187,100"]);
    room.wait_for(68.12);
    room.session.poll("both channels", || (room.setting().volume == [187; 2]).then_some(())).unwrap();
    room.amixer(&["mute"]);
    room.session.poll("mute", || room.set(&player, &[]).contains("\nmute=on\n").then_some(())).unwrap();
    room.wait_for(0.0);

    // Not past the limit.
    room.set(&player, &["mute=off", "max-volume=50%"]);
    room.wait_for(50.0);
    room.amixer(&["100%"]);
    room.session.poll("the limit", || (room.setting().volume == [171; 2]).then_some(())).unwrap();
    room.wait_for(50.0);
    assert!(room.set(&player, &[]).contains("\nvolume=50%\n"));

    // What was set is kept once a second.
    let file = room.session.dir().join("state/Kitchen/room-0.toml");
    let kept = || {
        let text = std::fs::read_to_string(&file).ok()?;
        (text.matches("value = 50.0").count() == 2 && text.contains("[mute]\nvalue = false")).then_some(())
    };
    room.session
        .poll("the kept state", kept)
        .unwrap_or_else(|error| panic!("{error}: {:?}", std::fs::read_to_string(&file)));

    // A player that was killed leaves the card as it is; what somebody does to it then is not heard.
    let mut player = player;
    player.signal(libc::SIGKILL);
    player.wait(std::time::Duration::from_secs(60)).unwrap();
    drop(sender.wait(std::time::Duration::from_secs(60)));
    assert_eq!(room.setting(), Setting { volume: [171; 2], on: [true; 2] });
    room.amixer(&["100%"]);
    let from = room.card.played().unwrap().frame_at(TrueTime::now()) as usize;
    let player = room.player("Digital", "volume = 20\n");
    let _sender = peer::start(&room.session, "steady", &address(&player));
    let again = room.wait_for(50.0);
    let most = f64::from(Volume::nearest(50.0).gain());
    assert!(loudest(&again, from, again.samples.len()) <= most * NO_LOUDER, "the first sound after a crash");
}

#[test]
fn software_does_what_a_coarse_element_cannot() {
    let Some(room) = Room::new(CardMixer::coarse()) else { return };
    let player = room.player("PCM", "volume = 50\n");
    let _sender = peer::start(&room.session, "steady", &address(&player));
    // From 79 % to 80 % the element goes up by 3 dB, and the samples down by 2.67 dB, which must be heard first.
    go_through(&room, &player, 50.0, &[100.0, 90.0, 91.0, 30.0, 31.0, 10.0, 2.0, 80.0, 89.5, 60.0, 79.0, 80.0]);
    room.set(&player, &["volume=100%"]);
    room.wait_for(100.0);
    // 0 dB, though it goes further.
    assert_eq!(room.setting().volume, [10; 2]);
    room.amixer(&["100%"]);
    room.session.poll("0 dB", || (room.setting().volume == [10; 2]).then_some(())).unwrap();
    // No switch.
    room.set(&player, &["mute=on"]);
    room.wait_for(0.0);
    assert_eq!(room.setting().volume, [10; 2]);
}

#[test]
fn an_element_that_is_not_there_is_told_with_those_that_are() {
    let Some(room) = Room::new(CardMixer::digital()) else { return };
    let mut player = room.player("Master", "");
    let line = wait_for_line(&mut player, 0, &["nothing can be played"]);
    assert!(line.contains("has no element \"Master\"") && line.contains("those that have one: \"Digital\""), "{line}");
    let mut sender = peer::start(&room.session, "steady", &address(&player));
    let line = wait_for_line(&mut player, 0, &["cannot play"]);
    assert!(line.contains("\"Digital\""), "{line}");
    let line = wait_for_line(&mut sender, 0, &["Refused"]);
    assert!(line.contains("Master"), "{line}");
    assert_eq!(room.card.played().unwrap().first_sound(), None);
}

#[test]
fn an_element_that_is_lost_while_something_plays_is_told_to_the_sender() {
    let Some(room) = Room::new(CardMixer::digital()) else { return };
    let mut player = room.player("Digital", "volume = 40\n");
    let mut sender = peer::start(&room.session, "steady", &address(&player));
    room.wait_for(40.0);
    room.card.take_mixer_out(true).unwrap();
    // The card plays on, but nobody knows how loud.
    let line = wait_for_line(&mut sender, 0, &["Refused"]);
    assert!(line.contains("the mixer") && line.contains("cannot be opened"), "{line}");
    wait_for_line(&mut player, 0, &["the output failed", "the mixer"]);
    let mut next = peer::start(&room.session, "steady", &address(&player));
    wait_for_line(&mut next, 0, &["Refused", "the mixer"]);
    room.card.take_mixer_out(false).unwrap();
    let _last = peer::start(&room.session, "steady", &address(&player));
    room.wait_for(40.0);
}

#[test]
fn the_channels_of_a_stream_come_to_their_loudspeakers() {
    let _alone = alone();
    let Some(session) = or_skip(Session::builder("house").daemons(&[]).start()) else { return };
    let product = Product::find().unwrap();
    // One keeps to the order that cards usually have, the other takes any.
    for (name, fixed) in [("Attic", true), ("Cinema", false)] {
        let card = session.alsa_card(&Card::new(name).speakers("FL FR RL RR FC LFE", fixed)).unwrap();
        let output = format!("alsa:{}", card.pcm());
        let args = ["--access", "open", "--no-discovery", "--output", &output];
        let player = product.player(&session, name, &args).unwrap();
        let _sender = peer::start(&session, "six", &address(&player));
        // Many packets of the sender, once all that comes before its sound, and the first of it, is past.
        let wanted = [0.1, 0.2, 0.5, 0.6, 0.3, 0.4];
        let in_place = |frame: &[f32]| frame.iter().zip(wanted).all(|(heard, wanted)| (heard - wanted).abs() < 0.01);
        let heard = || last(&card, 6, 9_600)?.chunks_exact(6).all(in_place).then_some(());
        let outcome = session.poll("every channel in its place, in 9600 frames", heard);
        assert!(outcome.is_ok(), "{name}: {:?}", last(&card, 6, 1));
    }
}
