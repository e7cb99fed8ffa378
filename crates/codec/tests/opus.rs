//! Opus end to end: fidelity after alignment by the lookahead, concealment of loss, refusals, and no allocation once running.

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use audera_codec::{CodecError, Decoder, Encoder};
use audera_wire::{Coding, StreamFormat};

#[global_allocator]
static ALLOCATOR: AllocDisabler = AllocDisabler;

const RATE: f64 = 48_000.0;

fn opus(channels: u8, frames: u16) -> StreamFormat {
    StreamFormat { coding: Coding::Opus, rate: 48_000, channels, frames }
}

/// A chord that differs between the channels, at -12 dB.
fn chord(format: &StreamFormat, packets: usize) -> Vec<f32> {
    let frames = usize::from(format.frames) * packets;
    let sample = |frame: usize, channel: u8| {
        let t = frame as f64 / RATE;
        let pitches = if channel == 0 { [220.0, 997.0, 3_001.0] } else { [330.0, 1_499.0, 5_003.0] };
        pitches.iter().map(|pitch| 0.25 / 3.0 * (std::f64::consts::TAU * pitch * t).sin()).sum::<f64>() as f32
    };
    (0..frames).flat_map(|frame| (0..format.channels).map(move |channel| sample(frame, channel))).collect()
}

/// White noise at -20 dB from a linear congruence, band-limited to about 6 kHz: no codec keeps the waveform of noise at its top end.
fn noise(format: &StreamFormat, packets: usize) -> Vec<f32> {
    let mut state = 1_u64;
    let mut poles = vec![[0.0_f64; 4]; usize::from(format.channels)];
    let count = usize::from(format.frames) * packets;
    let mut out = Vec::new();
    for _ in 0..count {
        for pole in &mut poles {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut value = ((state >> 33) as f64 / f64::from(1_u32 << 30) - 1.0) * 0.3;
            for stage in pole.iter_mut() {
                *stage += 0.3 * (value - *stage);
                value = *stage;
            }
            out.push(value as f32);
        }
    }
    out
}

fn encode_all(format: StreamFormat, bitrate: u32, samples: &[f32]) -> (Vec<Vec<u8>>, u32) {
    let mut encoder = Encoder::new(format, bitrate).unwrap();
    let size = usize::from(format.frames) * usize::from(format.channels);
    let packets = samples.chunks_exact(size).map(|chunk| {
        let mut packet = Vec::new();
        encoder.encode(chunk, &mut packet).unwrap();
        packet
    });
    (packets.collect(), encoder.lookahead())
}

fn decode_all(format: StreamFormat, packets: &[Option<&[u8]>]) -> Vec<f32> {
    let mut decoder = Decoder::new(format).unwrap();
    let mut all = Vec::new();
    let mut out = Vec::new();
    for packet in packets {
        decoder.decode(*packet, &mut out).unwrap();
        assert_eq!(out.len(), usize::from(format.frames) * usize::from(format.channels));
        all.extend_from_slice(&out);
    }
    all
}

/// Signal over residual in dB, with `decoded` lagging by `lag` frames; the first 100 ms are left out, where the codec starts.
fn snr(format: &StreamFormat, original: &[f32], decoded: &[f32], lag: usize) -> f64 {
    let channels = usize::from(format.channels);
    let skip = 4_800 * channels;
    let pairs = original.iter().zip(&decoded[lag * channels..]).skip(skip);
    let (signal, residual) = pairs.fold((0.0, 0.0), |(signal, residual), (&a, &b)| {
        (signal + f64::from(a).powi(2), residual + f64::from(a - b).powi(2))
    });
    10.0 * (signal / residual).log10()
}

#[test]
fn what_is_decoded_is_what_was_encoded_after_the_lookahead() {
    for channels in [1, 2] {
        for frames in [240, 480, 960] {
            let format = opus(channels, frames);
            let packets = 48_000 / usize::from(frames);
            for (what, original, bound) in
                [("chord", chord(&format, packets), 30.0), ("noise", noise(&format, packets), 12.0)]
            {
                let (encoded, lookahead) = encode_all(format, 128_000 * u32::from(channels), &original);
                let payloads: Vec<Option<&[u8]>> = encoded.iter().map(|packet| Some(packet.as_slice())).collect();
                let decoded = decode_all(format, &payloads);
                let aligned = snr(&format, &original, &decoded, lookahead as usize);
                println!("{what}, {format}: {aligned:.1} dB, lookahead {lookahead}");
                assert!(aligned > bound, "{what}, {format}: {aligned:.1} dB");
                // The lookahead is exact: one frame beside it is worse, so the test would see it if it were not.
                for beside in [lookahead - 1, lookahead + 1] {
                    let off = snr(&format, &original, &decoded, beside as usize);
                    assert!(off < aligned, "{what}, {format}: {off:.1} dB at {beside}, {aligned:.1} dB at {lookahead}");
                }
            }
        }
    }
}

#[test]
fn the_bit_rate_is_kept() {
    let format = opus(2, 480);
    for bitrate in [64_000, 128_000, 320_000] {
        let (packets, _) = encode_all(format, bitrate, &noise(&format, 500));
        let bits = packets.iter().map(|packet| packet.len() * 8).sum::<usize>() as f64 / 5.0;
        assert!((bits / f64::from(bitrate) - 1.0).abs() < 0.1, "{bits} bit/s for {bitrate}");
    }
}

#[test]
fn another_bit_rate_is_no_gap() {
    let format = opus(2, 480);
    let (packets, switch) = (100, 50);
    let original = chord(&format, packets);
    let decoded = |rates: [u32; 2]| {
        let mut encoder = Encoder::new(format, rates[0]).unwrap();
        let encode = |(index, chunk): (usize, &[f32])| {
            if index == switch {
                encoder.set_bitrate(rates[1]).unwrap();
            }
            let mut packet = Vec::new();
            encoder.encode(chunk, &mut packet).unwrap();
            packet
        };
        let encoded: Vec<Vec<u8>> = original.chunks_exact(960).enumerate().map(encode).collect();
        let bits = |packets: &[Vec<u8>]| packets.iter().map(Vec::len).sum::<usize>() * 8 * 100 / packets.len();
        let payloads: Vec<Option<&[u8]>> = encoded.iter().map(|packet| Some(packet.as_slice())).collect();
        (decode_all(format, &payloads), bits(&encoded[packets - 20..]), encoder.lookahead() as usize * 2)
    };
    let (low, ..) = decoded([64_000, 64_000]);
    for rates in [[64_000, 320_000], [320_000, 64_000]] {
        let (switched, bits, lag) = decoded(rates);
        assert!((bits as f64 / f64::from(rates[1]) - 1.0).abs() < 0.2, "{bits} bit/s for {rates:?}");
        // Signal over residual and loudness of one packet, in dB.
        let of = |decoded: &[f32], packet: usize| {
            let heard = &decoded[packet * 960 + lag..][..960];
            let pairs = original[packet * 960..].iter().zip(heard);
            let energy =
                |samples: &mut dyn Iterator<Item = f32>| samples.map(|sample| f64::from(sample).powi(2)).sum::<f64>();
            let signal = energy(&mut original[packet * 960..][..960].iter().copied());
            let residual = energy(&mut pairs.map(|(a, b)| a - b));
            let decibels = |other: f64| 10.0 * (signal / other).log10();
            (decibels(residual), -decibels(energy(&mut heard.iter().copied())))
        };
        for packet in switch - 2..switch + 30 {
            let ((snr, loudness), (steady, _)) = (of(&switched, packet), of(&low, packet));
            println!(
                "{rates:?}, packet {packet}: {snr:.1} dB, {steady:.1} dB steady at the lower rate, {loudness:.1} dB"
            );
            assert!(snr > steady - 4.0, "{rates:?}, packet {packet}: {snr:.1} dB, {steady:.1} dB");
            assert!(loudness.abs() < 1.0, "{rates:?}, packet {packet}: {loudness:.1} dB is a gap");
        }
    }
    let mut encoder = Encoder::new(format, 64_000).unwrap();
    assert_eq!(encoder.set_bitrate(1_000), Err(CodecError::Bitrate { bitrate: 1_000 }));
}

#[test]
fn loss_is_concealed_in_full_packets_and_forgotten_soon() {
    for frames in [240, 480, 960] {
        let format = opus(2, frames);
        let packets = 96_000 / usize::from(frames);
        let original = chord(&format, packets);
        let (encoded, lookahead) = encode_all(format, 128_000, &original);
        let lost = packets / 2;
        let payloads: Vec<Option<&[u8]>> =
            encoded.iter().enumerate().map(|(index, packet)| (index != lost).then_some(packet.as_slice())).collect();
        // `decode_all` checks that each packet has its full length.
        let decoded = decode_all(format, &payloads);
        let size = usize::from(frames) * 2;
        let energy = |packet: usize| decoded[packet * size..][..size].iter().map(|sample| sample.powi(2)).sum::<f32>();
        assert!(energy(lost) > 0.1 * energy(lost - 1), "the gap of {frames} frames is filled with sound, not silence");
        let whole: Vec<Option<&[u8]>> = encoded.iter().map(|packet| Some(packet.as_slice())).collect();
        let undisturbed = decode_all(format, &whole);
        let tail = 48_000 * 3 / 2 * 2;
        let [after, without] =
            [decoded, undisturbed].map(|decoded| snr(&format, &original[tail..], &decoded[tail..], lookahead as usize));
        assert!(
            (after - without).abs() < 0.5,
            "{frames} frames: {after:.1} dB after the loss, {without:.1} dB without one"
        );
    }
}

#[test]
fn a_long_loss_fades_to_silence() {
    let format = opus(2, 480);
    let (encoded, _) = encode_all(format, 128_000, &chord(&format, 100));
    let mut payloads: Vec<Option<&[u8]>> = encoded.iter().map(|packet| Some(packet.as_slice())).collect();
    payloads.extend(std::iter::repeat_n(None, 200));
    let decoded = decode_all(format, &payloads);
    let silent_from = (100 * 480 + 48 * 120 + 48) * 2;
    assert!(decoded[silent_from..].iter().all(|&sample| sample == 0.0), "silence 120 ms after the last packet");
}

#[test]
fn damaged_and_foreign_packets_are_refused_and_the_stream_goes_on() {
    let format = opus(2, 480);
    let original = chord(&format, 100);
    let (packets, _) = encode_all(format, 128_000, &original);
    let (longer, _) = encode_all(opus(2, 960), 128_000, &chord(&opus(2, 960), 1));
    let (shorter, _) = encode_all(opus(2, 240), 128_000, &chord(&opus(2, 240), 1));
    let mut decoder = Decoder::new(format).unwrap();
    let mut out = vec![1.0];

    for foreign in [&longer[0], &shorter[0]] {
        assert_eq!(decoder.decode(Some(foreign), &mut out), Err(CodecError::Duration { format }));
        assert!(out.is_empty());
    }
    // Code 3 with a frame count of 0 is invalid (RFC 6716, section 3.2.5).
    let invalid = decoder.decode(Some(&[0xff, 0x00]), &mut out).unwrap_err();
    assert!(matches!(invalid, CodecError::Damaged { .. }), "{invalid}");
    for length in [0, 1277] {
        let refused = decoder.decode(Some(&vec![0; length]), &mut out).unwrap_err();
        assert!(refused.to_string().contains("1 to 1276"), "{refused}");
    }
    for packet in &packets {
        decoder.decode(Some(packet), &mut out).unwrap();
        assert_eq!(out.len(), 960);
    }
}

#[test]
fn random_packets_never_yield_anything_but_an_error_or_a_finite_packet() {
    let format = opus(2, 480);
    let mut decoder = Decoder::new(format).unwrap();
    let mut out = Vec::new();
    let mut state = 7_u64;
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let length = 1 + next() % 300;
        let packet: Vec<u8> = (0..length).map(|_| next() as u8).collect();
        if decoder.decode(Some(&packet), &mut out).is_ok() {
            accepted += 1;
            assert_eq!(out.len(), 960);
            assert!(out.iter().all(|sample| sample.is_finite()));
        } else {
            assert!(out.is_empty());
        }
    }
    assert!(accepted > 0, "some random bytes are valid packets of 10 ms");
}

#[test]
fn every_invalid_setting_is_named() {
    for bitrate in [0, 63_999, 320_001, u32::MAX] {
        let refused = Encoder::new(opus(2, 480), bitrate).unwrap_err();
        assert_eq!(refused, CodecError::Bitrate { bitrate });
        assert_eq!(
            refused.to_string(),
            format!("bitrate {bitrate} bit/s is not accepted with opus: use 64000 to 320000")
        );
    }
    let cases = [
        (StreamFormat { rate: 44_100, ..opus(2, 480) }, "rate 44100 Hz", "48000"),
        (opus(0, 480), "0 channels", "1 or 2"),
        (opus(3, 480), "3 channels", "1 or 2"),
        (opus(2, 120), "120 frames", "240, 480 or 960"),
        (opus(2, 1920), "1920 frames", "240, 480 or 960"),
        (
            StreamFormat { coding: Coding::PcmS16le, rate: 8_000, channels: 2, frames: 480 },
            "rate 8000 Hz",
            "44100 to 192000",
        ),
        (StreamFormat { coding: Coding::PcmF32le, rate: 48_000, channels: 9, frames: 480 }, "9 channels", "1 to 8"),
        (StreamFormat { coding: Coding::PcmS24le, rate: 48_000, channels: 2, frames: 0 }, "0 frames", "32 to 4096"),
    ];
    for (format, value, accepted) in cases {
        for refused in
            [Encoder::new(format, 128_000).map(drop).unwrap_err(), Decoder::new(format).map(drop).unwrap_err()]
        {
            let text = refused.to_string();
            assert!(text.contains(value) && text.contains(accepted), "{text}");
        }
    }
}

#[test]
fn packets_of_another_length_are_refused() {
    for coding in Coding::ALL {
        let format = StreamFormat { coding, rate: 48_000, channels: 2, frames: 480 };
        let mut encoder = Encoder::new(format, 128_000).unwrap();
        let mut out = vec![1];
        for samples in [0, 480, 959, 961] {
            let refused = encoder.encode(&vec![0.0; samples], &mut out).unwrap_err();
            assert_eq!(refused, CodecError::Samples { samples, format });
            assert!(refused.to_string().ends_with("give 960"), "{refused}");
            assert!(out.is_empty());
        }
    }
    let format = StreamFormat { coding: Coding::PcmS24le, rate: 48_000, channels: 2, frames: 480 };
    let mut out = vec![1.0];
    let refused = Decoder::new(format).unwrap().decode(Some(&[0; 2_879]), &mut out).unwrap_err();
    assert!(refused.to_string().contains("exactly 2880"), "{refused}");
    assert!(out.is_empty());
}

#[test]
fn samples_that_are_not_finite_count_as_0_or_full_scale() {
    let format = opus(2, 480);
    let mut original = chord(&format, 100);
    let mut mended = original.clone();
    for (at, bad, good) in [(9_600, f32::NAN, 0.0), (9_700, f32::INFINITY, 1.0), (9_800, f32::NEG_INFINITY, -1.0)] {
        original[at..at + 100].fill(bad);
        mended[at..at + 100].fill(good);
    }
    assert_eq!(encode_all(format, 128_000, &original), encode_all(format, 128_000, &mended));
}

#[test]
fn running_codecs_do_not_allocate() {
    for coding in Coding::ALL {
        let format = StreamFormat { coding, rate: 48_000, channels: 2, frames: 480 };
        let mut samples = chord(&format, 50);
        samples[5_000] = f32::NAN;
        let mut encoder = Encoder::new(format, 128_000).unwrap();
        let mut decoder = Decoder::new(format).unwrap();
        let (mut packet, mut out) = (Vec::new(), Vec::new());
        encoder.encode(&samples[..960], &mut packet).unwrap();
        decoder.decode(Some(&packet), &mut out).unwrap();
        assert_no_alloc(|| {
            for (index, chunk) in samples.chunks_exact(960).enumerate() {
                encoder.encode(chunk, &mut packet).unwrap();
                decoder.decode((index % 7 != 0).then_some(packet.as_slice()), &mut out).unwrap();
            }
        });
    }
}
