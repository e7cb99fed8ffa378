//! Programs that play to a room and move it, watched by valgrind: no invalid access, nothing lost.
//!
//! Uninitialised values are not looked for. The assembler of `ring` computes with vectors of which it throws a part away, which valgrind
//! does not see through, and `amixer` itself reads a variable that it has not set.

use audera_testkit::{Daemon, home::Product, or_skip, sound, wav::Samples};

#[test]
fn a_guest_leaves_nothing_behind() {
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("desk").daemons(&Daemon::DISCOVERY).start()) else { return };
    session.alsa_plugin().unwrap();
    let _player = product.player(&session, "Kitchen", &["--access", "open", "--output", "null"]).unwrap();
    let file = session.dir().join("noise.wav");
    sound::noise(48_000, 2, 0.5, 0.1, 1).write(&file, Samples::S16).unwrap();
    let file = file.display().to_string();
    let watched = |program: &[&str]| {
        let options = [
            "--quiet",
            "--error-exitcode=99",
            "--undef-value-errors=no",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite,indirect,possible",
            "--num-callers=30",
        ];
        session.run("valgrind", &[&options, program].concat()).unwrap()
    };
    watched(&["amixer", "-D", "audera:Kitchen", "sset", "Master", "40%", "mute"]);
    watched(&["aplay", "-q", "-D", "audera:Kitchen", "--mmap", &file]);
}
