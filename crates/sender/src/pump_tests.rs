//! The pump under simulated time: glides, jumps of the graph's clock, the first cycles of a graph, and ends.

use audera_codec::Decoder;
use audera_wire::{AudioPacket, Coding, FrameReader, Message};

use super::*;
use crate::tap::{Tap, tap};

const RATE: u32 = 48_000;
const LATENCY: Span = Span::from_millis(80);
const FORMAT: StreamFormat = StreamFormat { coding: Coding::PcmS16le, rate: RATE, channels: 1, frames: 480 };

/// A pump under a graph, and what it gave: stamp, glide and length of every packet.
struct Graph {
    tap: Tap,
    pump: Pump,
    /// When the graph says that its next cycle begins, and when that is.
    at: SenderTime,
    now: SenderTime,
    /// What it plays.
    level: f32,
    packets: Vec<(SenderTime, Span)>,
}

impl Graph {
    fn new() -> Graph {
        let (tap, outflow) = tap(1, RATE as usize, RATE).unwrap();
        let mut pump = Pump::new(Inflow::Tap(outflow), RATE, LATENCY, None);
        pump.begin(SenderTime::from_nanos(0));
        pump.add_format(FORMAT, 160_000).unwrap();
        let at = SenderTime::from_nanos(1_000_000_000);
        Graph { tap, pump, at, now: at, level: 0.1, packets: Vec::new() }
    }

    fn cycles(&mut self, seconds: f64, quantum: usize) {
        for _ in 0..(seconds * f64::from(RATE)) as usize / quantum {
            self.tap.push(self.at, &vec![self.level; quantum]);
            assert_eq!(self.pump.pull(self.now), Some(Turn::Play));
            self.at += Span::from_frames(quantum as i64, RATE);
            self.now += Span::from_frames(quantum as i64, RATE);
            let packets = &mut self.packets;
            self.pump.encode(StreamId(1), |_, packet| {
                let mut reader = FrameReader::new();
                reader.push(&packet.bytes);
                let Ok(Some(frame)) = reader.next() else { panic!("a whole frame") };
                let Ok(Message::Audio(AudioPacket { stamp, glide, .. })) = Message::decode(frame) else {
                    panic!("audio")
                };
                assert_eq!(packet.useless_after, stamp + Span::from_millis(10) + glide);
                packets.push((stamp, glide));
            });
        }
    }

    /// The largest step between the end of a packet and the next one.
    fn torn(&self) -> Span {
        let pairs = self.packets.windows(2);
        pairs.map(|pair| (pair[1].0 - pair[0].0 - pair[0].1 - Span::from_millis(10)).abs()).max().unwrap()
    }
}

#[test]
fn a_glide_is_told_packet_by_packet() {
    let mut graph = Graph::new();
    graph.cycles(1.0, 256);
    graph.pump.glide(Span::from_millis(100), Slope::Urgent);
    graph.cycles(0.5, 256);
    assert!((graph.pump.delay() - Span::from_millis(90)).abs() < Span::from_micros(300));
    graph.cycles(1.5, 256);
    assert_eq!((graph.pump.delay(), graph.pump.target()), (Span::from_millis(100), Span::from_millis(100)));
    assert!(graph.torn() < Span::from_micros(1), "{}", graph.torn());
    let sum: Span = graph.packets.iter().map(|(_, glide)| *glide).sum();
    assert_eq!(sum, Span::from_millis(20));
    assert!(graph.packets.iter().all(|(_, glide)| *glide <= FORMAT.max_glide()));
}

#[test]
fn a_card_that_runs_dry_is_made_up_for_by_the_latency_and_glided_back_from() {
    let mut graph = Graph::new();
    graph.cycles(2.0, 512);
    graph.pump.set_bearable(Some((Span::from_millis(55), MAX_LATENCY)));
    graph.at += Span::from_millis(20);
    graph.cycles(0.1, 512);
    assert!(graph.torn() < UNNOTICED, "{}", graph.torn());
    let left = graph.pump.delay();
    assert!((Span::from_millis(60)..Span::from_micros(60_500)).contains(&left), "{left}");
    // 20 ms at 0.5 % take 4 s.
    graph.cycles(4.0, 512);
    assert_eq!(graph.pump.delay(), LATENCY);
    assert!(graph.torn() < UNNOTICED);
    // From then on sound is as late as it was before.
    let (last, _) = graph.packets[graph.packets.len() - 1];
    let waiting = Span::from_frames(480 + graph.pump.encodings[0].pending.len() as i64, RATE);
    assert!((last + waiting - graph.at - LATENCY).abs() < Span::from_micros(100));
}

#[test]
fn a_clock_that_turns_out_earlier_is_no_overlap() {
    let mut graph = Graph::new();
    graph.cycles(2.0, 512);
    graph.at += Span::from_millis(-20);
    graph.cycles(1.0, 512);
    assert!(graph.torn() < UNNOTICED, "{}", graph.torn());
    assert!((graph.pump.delay() - Span::from_millis(100)).abs() < Span::from_millis(1));
    graph.cycles(40.0, 512);
    assert_eq!(graph.pump.delay(), LATENCY);
}

#[test]
fn a_clock_that_is_another_one_is_no_reason_to_be_late_for_an_hour() {
    let mut graph = Graph::new();
    graph.cycles(2.0, 512);
    graph.at += Span::from_millis(-500);
    graph.cycles(1.0, 512);
    assert!((graph.torn() - Span::from_millis(500)).abs() < UNNOTICED, "{}", graph.torn());
    assert_eq!(graph.pump.delay(), LATENCY);
}

#[test]
fn a_jump_that_the_rooms_cannot_bear_is_a_gap() {
    for needed in [None, Some((Span::from_millis(65), MAX_LATENCY))] {
        let mut graph = Graph::new();
        graph.cycles(2.0, 512);
        graph.pump.set_bearable(needed);
        graph.at += Span::from_millis(20);
        graph.cycles(1.0, 512);
        assert!((graph.torn() - Span::from_millis(20)).abs() < UNNOTICED, "{}", graph.torn());
        assert_eq!(graph.pump.delay(), LATENCY);
    }
}

#[test]
fn down_it_goes_gently_and_up_it_does_not() {
    let mut graph = Graph::new();
    graph.pump.glide(Span::from_millis(100), Slope::Gentle);
    // Half an ms in a second would be gentle.
    graph.cycles(1.0, 480);
    let delay = graph.pump.delay();
    assert!((Span::from_micros(84_900)..Span::from_micros(85_100)).contains(&delay), "{delay}");
    for slope in [Slope::Brisk, Slope::Urgent] {
        let before = graph.pump.delay();
        graph.pump.glide(Span::from_millis(82), slope);
        graph.cycles(1.0, 480);
        assert!((before - graph.pump.delay() - Span::from_micros(500)).abs() < Span::from_micros(10), "{slope:?}");
    }
}

#[test]
fn what_a_graph_gets_wrong_in_its_first_cycles_is_never_stamped() {
    for wrong in [10, -10, 3, -3, 30] {
        let mut graph = Graph::new();
        graph.at += Span::from_millis(wrong);
        graph.cycles(0.012, 512);
        graph.at -= Span::from_millis(wrong);
        graph.cycles(2.0, 512);
        assert!(graph.torn() < UNNOTICED, "{wrong} ms: {}", graph.torn());
        let glides = graph.packets.iter().filter(|(_, glide)| *glide != Span::ZERO).count();
        assert_eq!((glides, graph.pump.delay()), (0, LATENCY), "{wrong} ms");
    }
}

#[test]
fn after_the_sender_has_stood_still_the_sound_comes_back_with_its_latency() {
    // As far as a wake-up was late when it was let go on, and by how much its machine slept: a step of its own each.
    for late in [3, 32, -10] {
        let mut graph = Graph::new();
        graph.cycles(2.0, 512);
        graph.pump.set_bearable(Some((Span::from_millis(20), MAX_LATENCY)));
        graph.at += Span::from_secs(10) + Span::from_millis(late);
        graph.now = graph.at;
        graph.cycles(0.012, 512);
        graph.at -= Span::from_millis(late);
        let before = graph.packets.len();
        graph.cycles(2.0, 512);
        let (_, after) = graph.packets.split_at(before);
        assert!(after.len() > 190 && after.iter().all(|(_, glide)| *glide == Span::ZERO), "{late} ms: {}", after.len());
        let (last, _) = graph.packets[graph.packets.len() - 1];
        let waiting = Span::from_frames(480 + graph.pump.encodings[0].pending.len() as i64, RATE);
        assert!((last + waiting - graph.at - LATENCY).abs() < Span::from_micros(100), "{late} ms");
    }
}

#[test]
fn a_quantum_that_a_room_changes_by_opening_its_device_is_nothing_to_glide_for() {
    // The first listener again, after there was none: a room that was restarted, or a sender whose connection broke.
    for before in [false, true] {
        let mut graph = Graph::new();
        graph.cycles(2.0, 512);
        graph.pump.set_bearable(Some((Span::from_millis(20), MAX_LATENCY)));
        graph.pump.heed_listeners(false, graph.now);
        graph.pump.heed_listeners(true, graph.now + Span::from_millis(200));
        graph.cycles(if before { 0.1 } else { 0.3 }, 512);
        graph.at += Span::from_millis(32);
        graph.cycles(0.1, 512);
        let missing = LATENCY - graph.pump.delay();
        if before {
            assert_eq!(missing, Span::ZERO);
        } else {
            assert!((Span::from_millis(31)..=Span::from_millis(32)).contains(&missing), "{missing}");
        }
    }
}

#[test]
fn a_quantum_that_changes_before_there_is_sound_is_nothing_to_glide_for() {
    // PipeWire's null sink (0.3.65) lets the first cycle of another quantum last as long as those before: from 1024 to 2048 its
    // clock is 21 ms earlier than the frames it took. That is usual where an application begins to play.
    for level in [0.0, 0.1] {
        let mut graph = Graph::new();
        graph.level = level;
        graph.cycles(0.5, 1_024);
        graph.at += Span::from_frames(-1_024, RATE);
        graph.cycles(0.3, 2_048);
        graph.level = 0.1;
        graph.cycles(1.0, 2_048);
        let late = graph.pump.delay() - LATENCY;
        let (torn, step) = (graph.torn(), Span::from_frames(1_024, RATE));
        if level == 0.0 {
            assert!(late == Span::ZERO && (torn - step).abs() < UNNOTICED, "{late}, {torn}");
        } else {
            assert!((late - step).abs() < Span::from_millis(1) && torn < UNNOTICED, "{late}, {torn}");
        }
    }
}

#[test]
fn the_first_packet_does_not_wait_longer_than_the_latency_allows() {
    // A graph with cycles as long as that tells its time once in all that there is.
    let mut graph = Graph::new();
    graph.cycles(0.043, 2_048);
    assert_eq!(graph.packets.len(), 4);
    // With the usual ones nothing waits: when the first packet is full, two have agreed.
    let mut graph = Graph::new();
    graph.cycles(0.012, 480);
    assert_eq!(graph.packets.len(), 0);
    graph.cycles(0.012, 480);
    assert_eq!(graph.packets.len(), 2);
}

#[test]
fn all_that_was_handed_over_before_the_end_is_sent() {
    for coding in [Coding::PcmS16le, Coding::Opus] {
        let format = StreamFormat { coding, frames: 960, ..FORMAT };
        let (mut tap, outflow) = tap(1, RATE as usize, RATE).unwrap();
        let mut pump = Pump::new(Inflow::Tap(outflow), RATE, LATENCY, None);
        pump.begin(SenderTime::from_nanos(0));
        pump.add_format(format, 160_000).unwrap();
        let (mut decoder, mut heard) = (Decoder::new(format).unwrap(), Vec::new());
        let mut decode = |packet: Packet| {
            let mut reader = FrameReader::new();
            reader.push(&packet.bytes);
            let Ok(Some(frame)) = reader.next() else { panic!("a whole frame") };
            let Ok(Message::Audio(AudioPacket { payload, .. })) = Message::decode(frame) else { panic!("audio") };
            let mut samples = Vec::new();
            decoder.decode(Some(payload), &mut samples).unwrap();
            heard.append(&mut samples);
        };
        let mut at = SenderTime::from_nanos(1_000_000_000);
        // The last block ends right before a packet does: what Opus looks ahead has no room in it.
        for block in 0..100 {
            let sound: Vec<f32> = (0..478).map(|n| 0.5 * (0.06 * (block * 478 + n) as f32).sin()).collect();
            tap.push(at, &sound);
            assert_eq!(pump.pull(at), Some(Turn::Play));
            pump.encode(StreamId(1), |_, packet| decode(packet));
            at += Span::from_frames(478, RATE);
        }
        pump.flush(StreamId(1), |_, packet| decode(packet));
        pump.flush(StreamId(1), |_, _| panic!("once is enough"));
        let last = heard.iter().rposition(|sample| sample.abs() > 0.1).unwrap();
        let lookahead = Encoder::new(format, 160_000).unwrap().lookahead() as usize;
        // The last of it is faded out.
        assert!(last + 80 >= 47_800 + lookahead, "{coding:?}: sound up to {last} with {lookahead}");
    }
}

#[test]
fn sound_that_breaks_off_is_faded_out_and_silence_is_not_waited_for() {
    // In frames of 480: what is left for the last packet, whether it ends in silence, and how much of it is sent.
    for (rest, silent, sent) in [(240, false, 240), (100, false, 0), (100, true, 100), (0, false, 0)] {
        let mut graph = Graph::new();
        graph.cycles(0.1, 480);
        if rest > 0 {
            graph.level = if silent { 0.0 } else { 0.1 };
            graph.cycles(rest as f64 / f64::from(RATE), rest);
        }
        let mut packets = Vec::new();
        graph.pump.flush(StreamId(1), |_, packet| packets.push(packet.bytes));
        assert_eq!(packets.len(), usize::from(sent > 0), "{rest} frames, silent: {silent}");
        let Some(bytes) = packets.first() else { continue };
        let samples: Vec<f32> = bytes[bytes.len() - 960..]
            .chunks_exact(2)
            .map(|sample| f32::from(i16::from_le_bytes([sample[0], sample[1]])) / 32_768.0)
            .collect();
        let step = samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(step < 0.002, "{rest} frames, silent: {silent}: an edge of {step}");
    }
}

#[test]
fn a_stream_begins_where_the_latency_has_come_to() {
    let mut graph = Graph::new();
    graph.pump.end();
    graph.pump.glide(Span::from_millis(120), Slope::Gentle);
    graph.pump.begin(graph.at);
    assert_eq!(graph.pump.delay(), Span::from_millis(120));
    graph.pump.glide(LATENCY, Slope::Gentle);
    graph.pump.end();
    graph.pump.begin(graph.at);
    assert_eq!(graph.pump.delay(), LATENCY, "nobody hears a jump");
}
