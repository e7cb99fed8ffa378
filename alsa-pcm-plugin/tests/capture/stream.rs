//! Sound that is streamed is in the recording; what is not is silence in its place.

use std::path::PathBuf;
use std::time::Duration;

use audera_testkit::Process;

use crate::recording::{Piece, Recording};
use crate::{Studio, poll, run, text};

const RATE: usize = 48_000;

/// A recording under way.
struct Running {
    file: String,
    program: Process,
}

impl Running {
    fn begin(studio: &Studio, pcm: &str, seconds: u32) -> Self {
        let file = format!("{pcm}.raw");
        let program = studio.session.spawn(studio.arecord(pcm, seconds, &file)).unwrap();
        Running { file, program }
    }

    fn finish(mut self, studio: &Studio) -> Recording {
        let ended = self.program.wait(Duration::from_secs(60)).unwrap();
        assert!(ended.is_some_and(|status| status.success()), "{}: {}", self.file, self.program.output());
        Recording::read(&studio.session.dir().join(self.file))
    }
}

/// All at the same time, as they are a matter of waiting.
#[test]
fn every_frame_that_is_streamed_is_recorded_in_its_place() {
    let Some(studio) = Studio::start() else { return };
    let _steady = studio.source("Turntable", &[("latency", "600")]);
    let _silent = studio.source("Silent", &[("silent", "yes")]);
    let _other =
        studio.source("Living Room", &[("rate", "44100"), ("channels", "6"), ("port", "6600"), ("silent", "yes")]);
    let stalls = studio.source("Stalls", &[("script", "play 500, stall 800, play 1000"), ("latency", "300")]);
    let rests = studio.source("Rests", &[("script", "play 500, rest 700, play 500"), ("latency", "600")]);
    studio
        .session
        .alsa_definitions(
            "pcm.direct { type audera player \"Turntable\" }\npcm.address { type audera player \"localhost:6600\" }\n",
        )
        .unwrap();
    let steady = Running::begin(&studio, "audera:turntable", 3);
    let silent = Running::begin(&studio, "audera:Silent", 1);
    let stalling = Running::begin(&studio, "audera:Stalls", 4);
    let resting = Running::begin(&studio, "audera:Rests", 4);
    let mapping = mmap_and_conversions(&studio);
    let polling = poll::begin(&studio, "poll::a_program_that_polls", "direct");
    let opening = poll::begin(&studio, "poll::a_program_that_opens_often", "direct");

    offers_what_is_streamed(&studio);
    let silent = silent.finish(&studio);
    assert_eq!((silent.len(), silent.pieces()), (RATE, Vec::new()), "no hang where nothing is streamed");
    is_of_one_piece(&steady.finish(&studio));
    poll::finish(polling);
    is_of_one_piece(&poll::recording(&studio));
    are_the_same_otherwise(mapping);
    let lost = stalling.finish(&studio).pieces();
    println!("{lost:?}\n{}", stalls.output());
    keeps_the_place_of_what_is_lost(&lost);
    let rested = resting.finish(&studio);
    println!("{:?}\n{}", rested.pieces(), rests.output());
    goes_on_in_the_same_time(&rested);
    poll::finish(opening);
}

/// Recordings through the mapped buffer, which goes round twice, and through alsa-lib's conversions.
fn mmap_and_conversions(studio: &Studio) -> [(Process, PathBuf); 3] {
    let wanted = [
        ("direct", "--mmap -f S32_LE -c 2 -r 48000", "mapped.raw"),
        ("audera:turntable", "-f cd", "cd.raw"),
        ("audera:turntable", "-f S32_LE -c 1 -r 48000", "mono.raw"),
    ];
    wanted.map(|(pcm, format, file)| {
        let mut command = studio.session.command("arecord");
        let file = studio.session.dir().join(file);
        command.args(["-q", "-D", pcm, "-t", "raw", "--buffer-time", "1000000", "-d", "3"]);
        command.args(format.split(' ')).arg(&file);
        (studio.session.spawn(command).unwrap(), file)
    })
}

fn are_the_same_otherwise(recordings: [(Process, PathBuf); 3]) {
    let [mapped, cd, mono] = recordings.map(|(mut program, file)| {
        let ended = program.wait(Duration::from_secs(60)).unwrap();
        assert!(ended.is_some_and(|status| status.success()), "{}", program.output());
        file
    });
    is_of_one_piece(&Recording::read(&mapped));
    // The numbers of the frames, in 16 bits, at another rate.
    let bytes = std::fs::read(&cd).unwrap();
    let left: Vec<i16> = bytes.chunks_exact(4).map(|frame| i16::from_le_bytes([frame[0], frame[1]])).collect();
    assert_eq!(left.len(), 3 * 44_100);
    // What had been sent before is not in it, so it begins with silence, and from its first sound on it has all.
    let begin = left.iter().position(|sample| *sample != 0).unwrap();
    let sound = &left[begin..];
    assert!(sound.len() > 44_100, "{} frames", sound.len());
    // Every 10 ms the number is what it has to be, to what is rounded away and a ringing where the sound begins.
    const STEP: usize = 441;
    let slope = 48_000.0 / 44_100.0 / 256.0;
    let numbers = sound.iter().step_by(STEP).map(|sample| f64::from(*sample)).enumerate().skip(1);
    let numbers: Vec<f64> = numbers.map(|(n, number)| number - (n * STEP) as f64 * slope).collect();
    let (least, most) = numbers.iter().fold((f64::MAX, f64::MIN), |(least, most), n| (n.min(least), n.max(most)));
    assert!(most - least < 3.0, "the numbers are off their line by {least} to {most}");
    // Left and right are each other's negative, and so their mean is silence.
    let bytes = std::fs::read(&mono).unwrap();
    assert_eq!(bytes.len(), 3 * RATE * 4);
    let loudest =
        bytes.chunks_exact(4).map(|sample| i32::from_le_bytes(sample.try_into().unwrap()).unsigned_abs()).max();
    assert!(loudest.is_some_and(|loudest| loudest <= 256), "{loudest:?}");
}

/// What the PCM is, is what the source streams, though it is silent now.
fn offers_what_is_streamed(studio: &Studio) {
    let mut command = studio.session.command("arecord");
    command.args(["-D", "address", "-d", "1", "--dump-hw-params", "/dev/null"]);
    let told = text(&run(command));
    for line in ["RATE: 44100\n", "CHANNELS: 6\n", "FORMAT:  S16_LE S24_LE S32_LE FLOAT_LE S24_3LE\n"] {
        assert!(told.contains(line), "{line} {told}");
    }
}

/// What had been sent before the recording began is not in it; from the first frame on there is no gap.
fn is_of_one_piece(recording: &Recording) {
    let pieces = recording.pieces();
    assert_eq!(pieces.len(), 1, "{pieces:?}");
    assert_eq!(pieces[0].end(), recording.len());
    assert!(recording.len() >= 3 * RATE && pieces[0].frames > RATE, "{pieces:?}");
}

fn keeps_the_place_of_what_is_lost(pieces: &[Piece]) {
    // A machine that was held back may have dropped more, elsewhere.
    assert!(pieces.len() >= 2, "{pieces:?}");
    assert!(pieces.iter().all(|piece| piece.shift() == pieces[0].shift()), "{pieces:?}");
    let longest = pieces.windows(2).map(|pair| pair[1].at - pair[0].end()).max().unwrap();
    // 800 ms, less 300 that there were in time. The first packet after it may have come when half of it was over.
    assert!(longest > RATE * 4 / 10, "{longest}");
}

fn goes_on_in_the_same_time(recording: &Recording) {
    let pieces = recording.pieces();
    assert_eq!(pieces.len(), 2, "{pieces:?}");
    let silence = pieces[1].at - pieces[0].end();
    assert!(silence > RATE * 3 / 10, "{silence}");
    // Between streams it is the stamps that tell the time.
    let apart = pieces[1].shift() - pieces[0].shift();
    assert!(apart.abs() <= 1, "the streams are {apart} frames apart");
    assert_eq!((recording.len(), pieces[1].end()), (4 * RATE, 4 * RATE));
}
