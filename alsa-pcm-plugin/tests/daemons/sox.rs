//! `play` of SoX, which finds the room in its environment.

use crate::{FADED, Home, heard, run};

#[test]
fn sox_plays_a_file_from_its_first_frame_to_its_last() {
    let Some(home) = Home::start() else { return };
    let (file, music) = home.music("song.wav", 3.0, 1);
    let mut play = home.session.command("play");
    play.arg("-q").arg(&file).env("AUDIODRIVER", "alsa").env("AUDIODEV", "audera:Kitchen");
    let told = run(play);
    assert!(!told.contains("FAIL") && !told.contains("WARN"), "{told}");
    let pieces = heard::pieces(&home.finish(), &[&music]);
    println!("{pieces:?}");
    assert!(pieces[0].from < FADED, "it begins with the first frame");
    // On a machine that is busy elsewhere it may run dry, and then goes on with the next frame.
    assert!(pieces.windows(2).all(|pair| pair[1].from.abs_diff(pair[0].to()) < FADED), "{pieces:?}");
    assert!(pieces[pieces.len() - 1].to() + FADED > music.len(), "it ends with the last one");
}
