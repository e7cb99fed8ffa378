//! mpg123, which is told the room on its command line.

use crate::{FADED, Home, heard, run};

#[test]
fn mpg123_plays_a_file_from_its_first_frame_to_its_last() {
    let Some(home) = Home::start() else { return };
    let (file, music) = home.music("song.wav", 3.0, 1);
    let song = file.with_extension("mp3");
    let mut encode = home.session.command("lame");
    // Says how much it has added at both ends, and mpg123 takes that away.
    encode.args(["--quiet", "-b", "320"]).args([&file, &song]);
    run(encode);
    let mut play = home.session.command("mpg123");
    play.args(["-q", "-o", "alsa", "-a", "audera:Kitchen"]).arg(&song);
    let told = run(play);
    assert!(told.is_empty(), "{told}");
    let pieces = heard::pieces(&home.finish(), &[&music]);
    println!("{pieces:?}");
    assert!(pieces[0].from < FADED, "it begins with the first frame");
    // On a machine that is busy elsewhere it may run dry, and then goes on with the next frame.
    assert!(pieces.windows(2).all(|pair| pair[1].from.abs_diff(pair[0].to()) < FADED), "{pieces:?}");
    assert!(pieces[pieces.len() - 1].to() + FADED > music.len(), "it ends with the last one");
}
