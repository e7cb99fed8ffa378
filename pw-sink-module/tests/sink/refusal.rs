//! Wrong arguments are refused with the key, the value and what would be right; the process goes on if it was told to.

use audera_testkit::home::Product;
use audera_testkit::or_skip;

use crate::desk::*;

/// Arguments, and what the log says of them.
const WRONG: &[(&str, &[&str])] = &[
    ("audera.codec = mp3", &["audera.codec", "mp3", "auto | pcm | opus"]),
    ("audera.latency.msec = 5", &["audera.latency.msec", "5", "auto", "20 to 2000"]),
    ("audera.latncy.msec = 50", &["audera.latncy.msec", "audera.latency.msec"]),
    ("audera.opus.bitrate = loud", &["audera.opus.bitrate", "loud", "64 to 320"]),
    ("audera.players = \"kitchen\"", &["audera.players", "kitchen", "array"]),
    ("audera.players = [ \"kitchen:http\" ]", &["audera.players", "kitchen:http", "host:port"]),
    ("audera.discover = maybe", &["audera.discover", "maybe", "true | false"]),
    ("audera.name.format = Audera", &["audera.name.format", "Audera", "%s"]),
    ("stream.props = { audio.rate = 8000 }", &["audio.rate", "8000", "44100 to 192000"]),
    ("audera.state.dir = /proc/audera", &["audera.state.dir", "/proc/audera", "folder"]),
];

fn configuration(modules: &str) -> String {
    format!(
        "context.spa-libs = {{ audio.convert.* = audioconvert/libspa-audioconvert support.* = support/libspa-support }}\n\
         context.modules = [\n\
         {{ name = libpipewire-module-protocol-native }}\n\
         {{ name = libpipewire-module-client-node }}\n\
         {{ name = libpipewire-module-adapter }}\n\
         {modules}]\n"
    )
}

#[test]
fn what_is_wrong_is_said_and_nofail_goes_on() {
    let _alone = alone();
    let product = Product::find().unwrap();
    let Some(session) = or_skip(product.session("desk").start()) else { return };
    let file = format!("file:{}", session.dir().join("kitchen.wav").display());
    let _kitchen = product.player(&session, "Kitchen", &["--output", &file]).unwrap();

    let module =
        |args: &str, flags: &str| format!("{{ name = libpipewire-module-audera-sink {flags} args = {{ {args} }} }}\n");
    let refused: String = WRONG.iter().map(|(args, _)| module(args, "flags = [ nofail ]")).collect();
    let mut process = session.spawn_pipewire("nofail", &configuration(&(refused + &module("", "")))).unwrap();
    // The one that is right works, after all that were not.
    wait_for_sink(&session, "audera.Kitchen");
    assert!(process.is_running());
    let log = process.output();
    for (args, words) in WRONG {
        let said = log.lines().any(|line| line.contains("not loaded") && words.iter().all(|word| line.contains(word)));
        assert!(said, "{args} is not explained by {words:?} in\n{log}");
    }

    let (args, words) = WRONG[0];
    let mut process = session.spawn_pipewire("fail", &configuration(&module(args, ""))).unwrap();
    let ended = process.wait(std::time::Duration::from_secs(20)).unwrap().expect("the process gives up");
    assert!(!ended.success());
    assert!(words.iter().all(|word| process.output().contains(word)), "{}", process.output());
}
