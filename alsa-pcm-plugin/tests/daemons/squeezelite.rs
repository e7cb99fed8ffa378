//! Squeezelite, a player for a music server that speaks SlimProto: what it is given for a server here knows just enough of that to have one song played.
//!
//! SlimProto as the wiki of Lyrion Music Server describes it: the player's messages are four letters, a length and data; the server's a length, four
//! letters and data; all numbers have their high byte first.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use audera_testkit::wav::Sound;

use crate::{FADED, Home, heard};

/// A message of the player: its letters and its data.
fn hear(player: &mut TcpStream) -> io::Result<([u8; 4], Vec<u8>)> {
    let (mut letters, mut length) = ([0; 4], [0; 4]);
    player.read_exact(&mut letters)?;
    player.read_exact(&mut length)?;
    let mut data = vec![0; u32::from_be_bytes(length) as usize];
    player.read_exact(&mut data)?;
    Ok((letters, data))
}

/// Has the player fetch 16 bits of stereo at 48 kHz from a port of this host, and play them as they come.
fn start(port: u16) -> Vec<u8> {
    let mut message = b"strms1p".to_vec();
    // 16 bits, the fifth of the rates, channels, low byte first; a threshold of 1 KiB before it begins.
    message.extend(*b"1421\x01");
    // No S/PDIF, no transition, no flags, a tenth of a second to be decoded before it is heard, nobody in step, no gain.
    message.extend([0, 0, b'0', 0, 1, 0]);
    message.extend(0_u32.to_be_bytes());
    message.extend(port.to_be_bytes());
    // The address of the server itself.
    message.extend(0_u32.to_be_bytes());
    message.extend(*b"GET /song HTTP/1.0\r\n\r\n");
    with_length(&message)
}

/// Has the player take this for its volume, in parts of 65536 of the amplitude.
fn volume(gain: u32) -> Vec<u8> {
    // The same in an older form, which counts no more; to be applied; no preamplifier.
    let mut message = [&b"audg"[..], &[0; 8], &[1, 255]].concat();
    (0..2).for_each(|_| message.extend(gain.to_be_bytes()));
    with_length(&message)
}

fn with_length(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u16).to_be_bytes();
    [&length[..], message].concat()
}

/// The server.
#[test]
#[ignore = "run by the test below, on the session's host"]
fn has_a_song_played() {
    let Some(song) = std::env::var_os("AUDERA_TEST_SONG") else { return };
    let sound = Sound::read(Path::new(&song)).unwrap();
    let samples: Vec<u8> = (0..sound.channels[0].len())
        .flat_map(|frame| sound.channels.iter().map(move |channel| channel[frame]))
        .flat_map(|sample| ((sample * 32_768.0).round() as i16).to_le_bytes())
        .collect();
    let control = TcpListener::bind("127.0.0.1:3483").unwrap();
    let songs = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("ready");
    let (mut player, _) = control.accept().unwrap();
    let (letters, _) = hear(&mut player).unwrap();
    assert_eq!(letters, *b"HELO");
    // A quarter, that is -12 dB.
    player.write_all(&volume(1 << 14)).unwrap();
    player.write_all(&start(songs.local_addr().unwrap().port())).unwrap();
    let (mut stream, _) = songs.accept().unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        request.extend(byte);
    }
    stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
    stream.write_all(&samples).unwrap();
    drop(stream);
    // It says so when it has nothing left.
    while !matches!(hear(&mut player).unwrap(), (letters, data) if letters == *b"STAT" && data.starts_with(b"STMu")) {}
    println!("played");
}

#[test]
fn squeezelite_plays_a_song_from_its_first_frame_to_its_last_at_the_rooms_own_volume() {
    let Some(home) = Home::start() else { return };
    let (file, music) = home.music("song.wav", 3.0, 1);
    let mut server = home.session.command(std::env::current_exe().unwrap());
    server.args(["--exact", "squeezelite::has_a_song_played", "--ignored", "--nocapture"]);
    let mut server = home.session.spawn({
        server.env("AUDERA_TEST_SONG", &file);
        server
    });
    let server = server.as_mut().unwrap();
    let says = |word: &'static str| {
        let log = server.log().to_owned();
        move || std::fs::read_to_string(&log).ok()?.contains(word).then_some(())
    };
    let (ready, played) = (says("ready"), says("played"));
    server.wait_until("the server", ready).unwrap();
    let mut squeezelite = home.session.command("squeezelite");
    // Until it is given a song it plays silence, at another rate.
    squeezelite.args(["-s", "127.0.0.1", "-o", "audera:Kitchen", "-n", "test", "-O", "audera:Kitchen", "-V", "Master"]);
    let squeezelite = home.session.spawn(squeezelite).unwrap();
    let outcome = server.wait_until("the end of the song", played);
    println!("{}", squeezelite.output());
    outcome.unwrap();
    let told = home.told();
    // The next percent that is no quieter.
    assert!(told.contains("volume=64%\n"), "{told}");
    squeezelite.stop().unwrap();
    let pieces = heard::pieces(&home.finish_last(), &[&music]);
    println!("{pieces:?}");
    assert!(pieces[0].from < FADED, "it begins with the first frame");
    // On a machine that is busy elsewhere it may run dry, and then goes on with the next frame.
    assert!(pieces.windows(2).all(|pair| pair[1].from.abs_diff(pair[0].to()) < FADED), "{pieces:?}");
    assert!(pieces[pieces.len() - 1].to() + FADED > music.len(), "it ends with the last one");
}
