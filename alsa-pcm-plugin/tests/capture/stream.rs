//! Sound that is streamed is in the recording; what is not is silence in its place.

use crate::{Studio, run, text};

const RATE: usize = 48_000;

#[test]
fn what_is_streamed_is_recorded_sample_by_sample() {
    let Some(studio) = Studio::start() else { return };
    let _turntable = studio.source("Turntable", &[]);
    let _other = studio.source("Living Room", &[("rate", "44100"), ("channels", "6"), ("port", "6600")]);
    let recording = studio.record("audera:Turntable", 4);
    let pieces = recording.pieces();
    assert_eq!(recording.len(), 4 * RATE);
    // What had been sent before the recording began is not in it; from the first frame on there is no gap.
    assert_eq!(pieces.len(), 1, "{pieces:?}");
    assert_eq!(pieces[0].end(), 4 * RATE);
    assert!(pieces[0].frames > RATE, "{pieces:?}");

    // By its address, with the samples as they were sent: what the PCM offers is what the source streams.
    studio.session.alsa_definitions("pcm.direct { type audera player \"localhost:6600\" }\n").unwrap();
    let mut command = studio.session.command("arecord");
    command.args(["-D", "direct", "-d", "1", "--dump-hw-params", "/dev/null"]);
    let told = text(&run(command));
    for line in ["RATE: 44100\n", "CHANNELS: 6\n", "FORMAT:  S16_LE S24_LE S32_LE FLOAT_LE S24_3LE\n"] {
        assert!(told.contains(line), "{line} {told}");
    }
}

#[test]
fn what_the_source_could_not_send_is_silence_of_its_length() {
    let Some(studio) = Studio::start() else { return };
    let script = [("script", "play 500, stall 800, play 1000"), ("latency", "300")];
    let mut source = studio.source("Turntable", &script);
    let recording = studio.record("audera:turntable", 6);
    let pieces = recording.pieces();
    println!("{pieces:?}\n{}", source.output());
    assert!(source.is_running());
    // A machine that was held back may have dropped more, elsewhere.
    assert!(pieces.len() >= 2, "{pieces:?}");
    assert!(pieces.iter().all(|piece| piece.shift() == pieces[0].shift()), "{pieces:?}");
    // 800 ms, less 300 that there were in time.
    let longest = pieces.windows(2).map(|pair| pair[1].at - pair[0].end()).max().unwrap();
    assert!(longest > RATE * 4 / 10, "{longest}");
    assert_eq!(longest % (RATE / 100), 0, "whole packets");
}

#[test]
fn a_stream_that_ends_and_begins_again_goes_on_in_the_same_time() {
    let Some(studio) = Studio::start() else { return };
    let source = studio.source("Turntable", &[("script", "play 500, rest 1000, play 500")]);
    let recording = studio.record("audera", 6);
    let pieces = recording.pieces();
    println!("{pieces:?}\n{}", source.output());
    assert_eq!(pieces.len(), 2, "{pieces:?}");
    let silence = pieces[1].at - pieces[0].end();
    assert!(silence > RATE / 2, "{silence}");
    // What was streamed last fills a packet up with silence. Between streams it is the stamps that tell the time.
    let apart = pieces[1].shift() - pieces[0].shift();
    assert!(apart.abs() <= 1, "the streams are {apart} frames apart");
    assert_eq!(recording.len(), 6 * RATE);
    assert_eq!(pieces[1].end(), 6 * RATE);
}

#[test]
fn without_a_stream_there_is_silence_and_no_hang() {
    let Some(studio) = Studio::start() else { return };
    let _source = studio.source("Turntable", &[("silent", "yes")]);
    let recording = studio.record("audera:Turntable", 1);
    assert_eq!(recording.len(), RATE);
    assert!(recording.pieces().is_empty());
}
