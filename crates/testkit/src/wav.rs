//! WAV files in and out, as one vector of samples per channel.

use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use crate::Error;

/// A sound: equally long channels of samples, full scale at 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// Frames per second.
    pub rate: u32,
    /// Samples of each channel.
    pub channels: Vec<Vec<f32>>,
}

/// How samples are stored in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Samples {
    /// 16-bit integers.
    S16,
    /// 24-bit integers.
    S24,
    /// 32-bit floats.
    F32,
}

impl Sound {
    /// The number of frames.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    /// Its length in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.frames() as f64 / f64::from(self.rate)
    }

    /// Reads a file of 16, 24 or 32-bit integers or 32-bit floats.
    ///
    /// The length which the header states is not relied on: a recorder that was killed leaves it at nought.
    ///
    /// # Errors
    /// [`Error::Wav`] when it cannot be opened or understood.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let wav = |error: hound::Error| Error::Wav { path: path.to_owned(), reason: error.to_string() };
        let mut reader = WavReader::open(path).map_err(wav)?;
        let spec = reader.spec();
        let count = usize::from(spec.channels);
        let mut channels = vec![Vec::with_capacity(reader.duration() as usize); count];
        let mut put = |at: usize, sample: f32| channels[at % count].push(sample);
        match spec.sample_format {
            SampleFormat::Float => {
                for (at, sample) in reader.samples::<f32>().enumerate() {
                    put(at, sample.map_err(wav)?);
                }
            }
            SampleFormat::Int => {
                let scale = 1.0 / 2f64.powi(i32::from(spec.bits_per_sample) - 1);
                for (at, sample) in reader.samples::<i32>().enumerate() {
                    put(at, (f64::from(sample.map_err(wav)?) * scale) as f32);
                }
            }
        }
        Ok(Self { rate: spec.sample_rate, channels })
    }

    /// Writes a file. Integers are rounded to nearest and clamped.
    ///
    /// # Errors
    /// [`Error::Wav`] when it cannot be written, or has no channel or unequal ones.
    pub fn write(&self, path: impl AsRef<Path>, samples: Samples) -> Result<(), Error> {
        let path = path.as_ref();
        let wav = |error: hound::Error| Error::Wav { path: path.to_owned(), reason: error.to_string() };
        let unfit = |reason: &str| Error::Wav { path: path.to_owned(), reason: reason.to_owned() };
        if self.channels.is_empty() || self.channels.iter().any(|channel| channel.len() != self.frames()) {
            return Err(unfit("a sound has one or more channels of equal length"));
        }
        let channels = u16::try_from(self.channels.len()).map_err(|_| unfit("too many channels"))?;
        let (bits_per_sample, sample_format) = match samples {
            Samples::S16 => (16, SampleFormat::Int),
            Samples::S24 => (24, SampleFormat::Int),
            Samples::F32 => (32, SampleFormat::Float),
        };
        let spec = WavSpec { channels, sample_rate: self.rate, bits_per_sample, sample_format };
        let mut writer = WavWriter::create(path, spec).map_err(wav)?;
        let full = 2f64.powi(i32::from(bits_per_sample) - 1);
        for frame in 0..self.frames() {
            for channel in &self.channels {
                let sample = channel[frame];
                match sample_format {
                    SampleFormat::Float => writer.write_sample(sample),
                    SampleFormat::Int => {
                        let scaled = (f64::from(sample) * full).round().clamp(-full, full - 1.0);
                        writer.write_sample(scaled as i32)
                    }
                }
                .map_err(wav)?;
            }
        }
        writer.finalize().map_err(wav)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_there_and_back() {
        let dir = tempfile::tempdir().unwrap();
        let channels = vec![vec![0.0, 0.5, -1.0, 1.0], vec![0.25, -0.125, 0.75, -0.5]];
        let sound = Sound { rate: 48_000, channels };
        for (samples, step) in [(Samples::S16, 1.0 / 32_768.0), (Samples::S24, 1.0 / 8_388_608.0), (Samples::F32, 0.0)]
        {
            let file = dir.path().join("sound.wav");
            sound.write(&file, samples).unwrap();
            let read = Sound::read(&file).unwrap();
            assert_eq!(read.rate, 48_000);
            for (was, is) in sound.channels.concat().iter().zip(read.channels.concat()) {
                assert!((was - is).abs() <= step, "{samples:?}: {was} became {is}");
            }
        }
    }

    #[test]
    fn unequal_channels_are_refused() {
        let sound = Sound { rate: 8000, channels: vec![vec![0.0; 3], vec![0.0; 4]] };
        assert!(matches!(sound.write("/dev/null", Samples::S16), Err(Error::Wav { .. })));
    }
}
