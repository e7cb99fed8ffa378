//! The ALSA output on real PCMs of alsa-lib, which need no hardware.

use std::path::Path;
use std::sync::Condvar;
use std::sync::Mutex;

use audera_clock::PlayerTime;

use super::negotiate::quoted;
use super::sample::SampleFormat;
use super::*;

/// Plays a ramp on the left and its negative on the right, and tells how much was pulled and when.
#[derive(Default)]
struct Seen {
    ats: Vec<PlayerTime>,
    frames: u64,
}

#[derive(Clone, Default)]
struct Ramp(Arc<(Mutex<Seen>, Condvar)>);

fn ramp(frame: u64) -> f32 {
    (frame % 30_000 + 1) as f32 / 32_768.0
}

impl Pull for Ramp {
    fn pull(&mut self, at: PlayerTime, out: &mut [f32]) {
        let mut seen = self.0.0.lock().unwrap();
        for frame in out.chunks_mut(2) {
            let value = ramp(seen.frames);
            for (channel, sample) in frame.iter_mut().enumerate() {
                *sample = if channel == 0 { value } else { -value };
            }
            seen.frames += 1;
        }
        seen.ats.push(at);
        self.0.1.notify_all();
    }

    fn device_reset(&mut self) {}
}

impl Ramp {
    /// Waits until the device has pulled so often; the state then.
    fn wait_for(&self, pulls: usize) -> Vec<PlayerTime> {
        let limit = std::time::Duration::from_secs(20);
        let (seen, timeout) =
            self.0.1.wait_timeout_while(self.0.0.lock().unwrap(), limit, |seen| seen.ats.len() < pulls).unwrap();
        assert!(!timeout.timed_out(), "only {} pulls came", seen.ats.len());
        seen.ats.clone()
    }
}

fn open(device: &str, rate: u32, channels: u16) -> Result<OpenAlsa, OutputError> {
    let claimed = claim("alsa:test", device, AlsaConfig::default(), rate, channels)?;
    Ok(OpenAlsa { name: "alsa:test".into(), rate, channels, claimed, mixer: None })
}

#[test]
fn a_null_device_is_paced_by_the_clock() {
    let opened = open("null", 44_100, 2).unwrap();
    assert!(!opened.claimed.plugged);
    let period = opened.format().max_pull as i64;
    let ramp = Ramp::default();
    let playing = opened.pull_from(ramp.clone()).unwrap();
    let ats = ramp.wait_for(50);
    for (index, at) in ats.iter().enumerate() {
        assert_eq!(*at - ats[0], Span::from_frames(index as i64 * period, 44_100));
    }
    assert!(monotonic_is_not_before(ats[ats.len() - 1]), "pulled ahead of its time");
    assert_eq!((playing.xruns(), playing.failed()), (0, None));
}

fn monotonic_is_not_before(at: PlayerTime) -> bool {
    crate::monotonic::now() >= at
}

/// What ALSA's `file` plug-in wrote below our conversion, silence of the start-up left out.
fn recorded(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let samples: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_ne_bytes(b.try_into().unwrap())).collect();
    let begin = samples.iter().position(|sample| *sample != 0.0).unwrap();
    samples[begin..].to_vec()
}

#[test]
fn what_is_pulled_is_what_the_device_gets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("room \"one\", raw.pcm");
    let device = format!("tee:SLAVE=null,FILE={},FORMAT=raw", quoted(path.to_str().unwrap()));
    let ramp_source = Ramp::default();
    let playing = open(&device, 48_000, 2).unwrap().pull_from(ramp_source.clone()).unwrap();
    ramp_source.wait_for(30);
    drop(playing);
    let pulled = ramp_source.0.0.lock().unwrap().frames;
    let samples = recorded(&path);
    assert_eq!(samples.len() as u64, pulled * 2, "the device got as many frames as were pulled");
    for (frame, pair) in samples.chunks(2).enumerate() {
        assert_eq!(pair, [ramp(frame as u64), -ramp(frame as u64)], "frame {frame}");
    }
}

#[test]
fn dropping_the_handle_releases_the_device() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("room.pcm");
    let device = format!("tee:SLAVE=null,FILE={},FORMAT=raw", quoted(path.to_str().unwrap()));
    for _ in 0..3 {
        let source = Ramp::default();
        let playing = open(&device, 48_000, 2).unwrap().pull_from(source.clone()).unwrap();
        source.wait_for(3);
        drop(playing);
        assert_eq!(Arc::strong_count(&source.0), 1, "the audio thread still holds its source");
    }
}

#[test]
fn a_missing_device_is_named_and_a_remedy_given() {
    let error = open("no-such-pcm", 48_000, 2).err().unwrap().to_string();
    assert!(error.starts_with("alsa:test: there is no such device"), "{error}");
    assert!(error.ends_with("`aplay -L` lists the names"), "{error}");
}

/// `card` takes what a simple sound card does, one rate, two channels and 16 bits (on nothing but `null` it can be set up,
/// but not play); `converting` records at 48 kHz whatever it gets, and
/// admits to it when asked not to convert.
const CARD: &str = r#"
</usr/share/alsa/alsa.conf>
pcm_slave.hardware { pcm "null" rate 48000 channels 3 format S16_LE }
pcm.card {
    type share
    slave hardware
    bindings.0 0
    bindings.1 1
}
pcm.keeper {
    type share
    slave hardware
    bindings.0 2
}
pcm.converting {
    type plug
    slave {
        pcm "tee:SLAVE=null,FILE=RECORDED,FORMAT=raw"
        rate 48000
        format FLOAT_LE
    }
}
"#;

/// alsa-lib reads its configuration once per process, so the part with a configuration of its own runs in a child.
#[test]
fn what_the_hardware_refuses_alsa_converts() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("asound.conf");
    let recorded = dir.path().join("recorded.raw");
    std::fs::write(&conf, CARD.replace("RECORDED", recorded.to_str().unwrap())).unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "output::alsa::tests::on_devices_that_refuse", "--ignored", "--nocapture"])
        .env("AUDERA_TEST_RECORDED", &recorded)
        .env("ALSA_CONFIG_PATH", &conf)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "run by what_the_hardware_refuses_alsa_converts, which provides the devices"]
fn on_devices_that_refuse() {
    // alsa-lib 1.2.8 writes to freed memory when the last user of a shared slave leaves, so one user never does.
    std::mem::forget(alsa::PCM::new("keeper", alsa::Direction::Playback, true).unwrap());
    for (rate, channels, plugged) in
        [(48_000, 2, false), (44_100, 2, true), (96_000, 2, true), (48_000, 1, true), (48_000, 6, true)]
    {
        let opened = open("card", rate, channels).unwrap();
        let claimed = &opened.claimed;
        assert_eq!((claimed.plugged, claimed.sample), (plugged, SampleFormat::S16), "{rate} Hz, {channels} channels");
        let asked = (f64::from(rate) * 0.008).round();
        assert!((claimed.period as f64 - asked).abs() <= 2.0, "a period of {} frames at {rate} Hz", claimed.period);
        assert!(claimed.buffer >= 3 * claimed.period, "a buffer of {} frames at {rate} Hz", claimed.buffer);
    }
    let opened = open("converting", 44_100, 2).unwrap();
    assert!(opened.claimed.plugged, "44.1 kHz without conversion is refused");
    let source = Ramp::default();
    let playing = opened.pull_from(source.clone()).unwrap();
    source.wait_for(30);
    assert_eq!((playing.failed(), playing.xruns()), (None, 0));
    drop(playing);
    let pulled = source.0.0.lock().unwrap().frames as f64;
    let path = std::env::var_os("AUDERA_TEST_RECORDED").unwrap();
    let played = recorded(Path::new(&path)).len() as f64 / 2.0;
    // Up to a period may still be inside of the converter.
    let expected = pulled * 48_000.0 / 44_100.0;
    assert!((played - expected).abs() < 500.0, "{played} frames at 48 kHz of {pulled} at 44.1 kHz");
}
