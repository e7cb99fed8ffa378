//! The one scale of volume: percent on a cubic law, as desktops show it.
//!
//! A room at *v* percent has the linear gain (*v*/100)³, which is 60 dB times the decimal logarithm of *v*/100: 50 % is -18.06 dB, 10 %
//! is -60 dB, 0 % is silence. It is the scale of PulseAudio and of the desktops above PipeWire, so 40 % here is 40 % in pavucontrol
//! and 0.40 for `wpctl`; and a slider on it moves loudness evenly enough over the range that rooms are used in. Another law would be as
//! good alone, but then no two places would show the same number.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A volume in percent: 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Volume(f64);

impl Volume {
    /// Silence.
    pub const SILENT: Self = Self(0.0);
    /// Samples as they are.
    pub const FULL: Self = Self(100.0);

    /// A volume of 0 to 100 percent; `None` for anything else.
    #[must_use]
    pub fn new(percent: f64) -> Option<Self> {
        // Adding nought makes nought of minus nought.
        (0.0..=100.0).contains(&percent).then_some(Self(percent + 0.0))
    }

    /// The volume nearest to `percent`; what is no number is silence.
    #[must_use]
    pub fn nearest(percent: f64) -> Self {
        Self(if percent.is_nan() { 0.0 } else { percent.clamp(0.0, 100.0) + 0.0 })
    }

    /// The volume with this linear gain, rounded to a hundredth of a percent: 32-bit floats and PulseAudio's integers have less.
    #[must_use]
    pub fn from_gain(gain: f32) -> Self {
        Self::nearest((f64::from(gain.max(0.0)).cbrt() * 10_000.0).round() / 100.0)
    }

    /// In percent.
    #[must_use]
    pub const fn percent(self) -> f64 {
        self.0
    }

    /// What samples are multiplied by: 0 to 1, and exactly 1 at 100 percent.
    #[must_use]
    pub fn gain(self) -> f32 {
        (self.0 / 100.0).powi(3) as f32
    }

    /// In dB: 0 and less, minus infinity for silence.
    #[must_use]
    pub fn decibels(self) -> f64 {
        60.0 * (self.0 / 100.0).log10()
    }

    /// The volume that is so many dB above this one, in hundredths of a percent and within 0 to 100. A step is a hundredth at least, so that
    /// rounding swallows none; silence stays silence.
    #[must_use]
    pub fn louder(self, decibels: f64) -> Self {
        let before = self.0 * 100.0;
        let after = (before * 10f64.powf(decibels / 60.0)).round();
        let after = match decibels {
            _ if self == Self::SILENT => return self,
            up if up > 0.0 => after.max(before.floor() + 1.0),
            down if down < 0.0 => after.min(before.ceil() - 1.0),
            _ => return self,
        };
        Self::nearest(after / 100.0)
    }

    /// The louder of two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// The quieter of two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}%", (self.0 * 100.0).round() / 100.0)
    }
}

impl Serialize for Volume {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Volume {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percent = f64::deserialize(deserializer)?;
        Self::new(percent)
            .ok_or_else(|| serde::de::Error::custom(format_args!("volume {percent} is not within 0 to 100 percent")))
    }
}

#[cfg(test)]
mod tests {
    use super::Volume;

    #[test]
    fn the_scale_is_that_of_the_desktops() {
        // From `pactl set-sink-volume 40%`: -23.88 dB; `wpctl set-volume 0.40` gives a channel 0.064.
        let volume = Volume::new(40.0).unwrap();
        assert!((volume.gain() - 0.064).abs() < 1e-7);
        assert!((volume.decibels() + 23.876).abs() < 0.001);
        assert_eq!(Volume::from_gain(0.064), volume);
        // 40 % of PulseAudio's 65536.
        let pulse = (26_214.0f32 / 65_536.0).powi(3);
        assert_eq!(Volume::from_gain(pulse), volume);
    }

    #[test]
    fn decibels_are_those_of_the_scale() {
        let louder = |percent, decibels| Volume::nearest(percent).louder(decibels).percent();
        assert_eq!((louder(100.0, -60.0), louder(100.0, -18.06), louder(50.0, 18.07)), (10.0, 50.0, 100.0));
        assert_eq!((louder(90.0, 30.0), louder(0.0, 30.0), louder(40.0, 0.0)), (100.0, 0.0, 40.0));
        // Where rounding would swallow them.
        assert_eq!((louder(0.01, 3.0), louder(0.02, -3.0), louder(0.01, -3.0)), (0.02, 0.01, 0.0));
        assert_eq!((louder(33.333, 0.001), louder(33.333, -0.001)), (33.34, 33.33));
    }

    #[test]
    fn the_ends_are_exact() {
        assert_eq!(Volume::FULL.gain().to_bits(), 1.0f32.to_bits());
        assert_eq!(Volume::SILENT.gain().to_bits(), 0.0f32.to_bits());
        assert_eq!(Volume::from_gain(1.0), Volume::FULL);
        assert_eq!(Volume::from_gain(3.0), Volume::FULL);
        assert_eq!(Volume::from_gain(f32::NAN), Volume::SILENT);
        assert_eq!(Volume::nearest(f64::NAN), Volume::SILENT);
        assert!([-0.1, 100.1, f64::NAN, f64::INFINITY].into_iter().all(|percent| Volume::new(percent).is_none()));
    }

    #[test]
    fn every_hundredth_of_a_percent_survives_the_way_through_a_gain() {
        for hundredths in 0..=10_000 {
            let volume = Volume::new(f64::from(hundredths) / 100.0).unwrap();
            assert_eq!(Volume::from_gain(volume.gain()), volume);
        }
    }
}
