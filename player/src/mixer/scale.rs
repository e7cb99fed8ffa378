//! How a room's volume is shared between a card's element and the samples: the element takes the next step that is loud enough, and
//! software takes away the rest. No device and no clock in here.
//!
//! 100 % is 0 dB of the element, where samples are as they are; an element that does not go so far up has its loudest there, one that
//! goes further is never set beyond. An element that tells no decibels is taken by its values: so many percent of the room are so many percent of its
//! range, since nobody knows how loud they are.

use audera_wire::Volume;

/// What alsa-lib says of a value that is silence (`SND_CTL_TLV_DB_GAIN_MUTE`), in hundredths of a dB.
const SILENCE: i64 = -9_999_999;
/// The most values that are asked for how loud they are. Of an element with more, every second one is used, or fewer. (USB devices have up to 65536, in 1/256 dB.)
const MOST_STEPS: i64 = 65_536;
/// Decibels are told in hundredths: a step that is quieter than asked by no more is loud enough.
const RESOLUTION: f64 = 1.001_152;
/// A step that is louder than asked by no more than 0.15 dB is left where it is: it may be where somebody has put it, and a room's volume
/// is told in hundredths of a percent.
const NEAR: f64 = 0.982_879;

/// The scale of an element.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    least: i64,
    most: i64,
    /// Values from each step to the next.
    stride: i64,
    /// Hundredths of a dB at each step, never falling; `None` where the element does not tell.
    millibels: Option<Vec<i32>>,
    /// Hundredths of a dB at 100 %.
    full: i32,
}

impl Scale {
    /// The scale of an element with values from `least` to `most`, of which `millibels` tells how loud they are, in hundredths of a dB.
    pub(super) fn new(least: i64, most: i64, millibels: impl Fn(i64) -> Option<i64>) -> Self {
        let stride = ((most - least) / MOST_STEPS + 1).max(1);
        let told: Option<Vec<i32>> = (least..=most)
            .step_by(stride.unsigned_abs() as usize)
            .map(|raw| Some(millibels(raw)?.clamp(SILENCE, -SILENCE) as i32))
            .collect();
        // Drivers are known that tell nonsense; by that nobody's ears are to be risked.
        let sane = |told: &Vec<i32>| told.windows(2).all(|pair| pair[0] <= pair[1]) && told.first() < told.last();
        let millibels = told.filter(sane);
        let full = millibels.as_ref().map_or(0, |told| {
            let audible = |millibel: &&i32| i64::from(**millibel) > SILENCE;
            let within = told.iter().rev().find(|millibel| **millibel <= 0).filter(audible);
            within.or_else(|| told.iter().find(audible)).copied().unwrap_or(0)
        });
        Self { least, most, stride, millibels, full }
    }

    /// Whether the element tells decibels.
    pub(super) fn has_decibels(&self) -> bool {
        self.millibels.is_some()
    }

    /// What a volume asks for, as a factor of what 100 % is.
    pub(super) fn wanted(&self, volume: Volume) -> f64 {
        let share = volume.percent() / 100.0;
        if self.millibels.is_some() { share.powi(3) } else { share }
    }

    /// How loud a value of the element is, as a factor of what 100 % is: more than 1 beyond it.
    pub(super) fn gain(&self, raw: i64) -> f64 {
        match &self.millibels {
            None if self.most <= self.least => 1.0,
            None => (raw.clamp(self.least, self.most) - self.least) as f64 / (self.most - self.least) as f64,
            Some(told) => {
                // Between two steps it is no louder than at the next.
                let step = ((raw.clamp(self.least, self.most) - self.least + self.stride - 1) / self.stride) as usize;
                let millibel = told.get(step).or(told.last()).copied().unwrap_or(self.full);
                if i64::from(millibel) <= SILENCE { 0.0 } else { 10f64.powf(f64::from(millibel - self.full) / 2_000.0) }
            }
        }
    }

    /// The value that is to be set where `wanted` is asked for and the element is at `now`: the lowest that is loud enough, or `now` if that is as good.
    pub(super) fn raw(&self, wanted: f64, now: i64) -> i64 {
        if wanted <= 0.0 {
            return self.least;
        }
        // All there is means all there is.
        let resolution = if wanted < 1.0 { RESOLUTION } else { 1.0 };
        let there = self.gain(now);
        if wanted <= there * resolution && wanted >= there * NEAR {
            return now;
        }
        let loud_enough = |raw: i64| self.gain(raw) * resolution >= wanted;
        let steps = (self.most - self.least) / self.stride;
        // Binary search for the first step that is loud enough; wanted is at most 1, for which there is one.
        let (mut low, mut high) = (0, steps);
        while low < high {
            let middle = low + (high - low) / 2;
            if loud_enough(self.least + middle * self.stride) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        self.least + low * self.stride
    }

    /// The highest value that is no louder than this; the least if none is.
    pub(super) fn within(&self, limit: f64) -> i64 {
        let (mut low, mut high) = (0, (self.most - self.least) / self.stride);
        while low < high {
            let middle = high - (high - low) / 2;
            if self.gain(self.least + middle * self.stride) <= limit {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        self.least + low * self.stride
    }

    /// What samples are to be multiplied by where `wanted` is asked for and the element is at `raw`: never more than 1.
    pub(super) fn software(&self, wanted: f64, raw: i64) -> f64 {
        let gain = self.gain(raw);
        if wanted <= 0.0 {
            0.0
        } else if gain <= 0.0 || wanted * RESOLUTION >= gain {
            // Samples as they are, bit by bit, where the element has that very step.
            1.0
        } else {
            wanted / gain
        }
    }

    /// The volume of a value, in hundredths of a percent, and never more than it is.
    pub(super) fn volume(&self, raw: i64) -> Volume {
        let gain = self.gain(raw);
        let percent = 100.0 * if self.millibels.is_some() { gain.cbrt() } else { gain };
        // What is a whole hundredth, but for arithmetic, is meant to be.
        Volume::nearest((percent * 100.0 + 1e-6).floor() / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the PCM5122 on HiFiBerry's boards: 0.5 dB steps to -103 dB, and silence.
    fn digital() -> Scale {
        Scale::new(0, 207, |raw| Some(if raw == 0 { SILENCE } else { -10_350 + 50 * raw }))
    }

    fn decibels(factor: f64) -> f64 {
        20.0 * factor.log10()
    }

    #[test]
    fn element_and_samples_together_are_what_was_asked_for() {
        let coarse = Scale::new(0, 31, |raw| Some(-4_650 + 150 * raw));
        let to_plus_24 = Scale::new(0, 255, |raw| Some(-10_350 + 50 * raw));
        let below = Scale::new(-20, -10, |raw| Some(100 * raw));
        let fine = Scale::new(0, 32_512, |raw| Some((raw - 32_512) * 100 / 256));
        for (name, scale) in
            [("digital", &digital()), ("coarse", &coarse), ("+24", &to_plus_24), ("below", &below), ("fine", &fine)]
        {
            for hundredths in 0..=10_000 {
                let volume = Volume::nearest(f64::from(hundredths) / 100.0);
                let wanted = scale.wanted(volume);
                let raw = scale.raw(wanted, 0);
                let (gain, software) = (scale.gain(raw), scale.software(wanted, raw));
                assert!(gain <= 1.0 && software <= 1.0, "{name} {volume}: {gain} {software}");
                if hundredths == 0 {
                    assert_eq!(software, 0.0);
                    continue;
                }
                let error = decibels(gain * software) - volume.decibels();
                assert!(error.abs() < 0.011, "{name} {volume}: off by {error} dB at {raw}");
            }
            let full = scale.raw(1.0, 0);
            assert_eq!((scale.gain(full), scale.software(1.0, full)), (1.0, 1.0), "{name}");
        }
        assert_eq!([0.0, 0.1, 0.100_1, 0.099, 5.0].map(|limit| digital().within(limit)), [0, 167, 167, 166, 207]);
        assert_eq!((digital().raw(1.0, 0), to_plus_24.raw(1.0, 0), below.raw(1.0, -20)), (207, 207, -10));
    }

    #[test]
    fn where_somebody_has_put_it_it_stays() {
        for scale in [digital(), Scale::new(0, 32_512, |raw| Some((raw - 32_512) * 100 / 256))] {
            for raw in (0..=scale.most).rev() {
                let wanted = scale.wanted(scale.volume(raw));
                assert!(wanted <= scale.gain(raw) * RESOLUTION);
                if scale.volume(raw).percent() >= 1.8 {
                    assert_eq!(scale.raw(wanted, raw), raw, "{}", scale.volume(raw));
                }
            }
        }
        let scale = digital();
        assert_eq!((scale.volume(207), scale.volume(0)), (Volume::FULL, Volume::SILENT));
        // -20 dB.
        assert_eq!(scale.volume(167), Volume::nearest(46.41));
        assert_eq!(scale.software(scale.wanted(scale.volume(167)), 167), 1.0, "bit by bit");
        // More than there is counts as all there is.
        assert_eq!(Scale::new(0, 255, |raw| Some(-10_350 + 50 * raw)).volume(255), Volume::FULL);
    }

    #[test]
    fn an_element_without_decibels_is_taken_by_its_values() {
        let nonsense = Scale::new(0, 64, |raw| Some(-raw));
        for scale in [Scale::new(0, 64, |_| None), nonsense] {
            assert!(!scale.has_decibels());
            for percent in 1..=100 {
                let volume = Volume::nearest(f64::from(percent));
                let wanted = scale.wanted(volume);
                let raw = scale.raw(wanted, 0);
                let share = scale.gain(raw) * scale.software(wanted, raw);
                assert!((share - f64::from(percent) / 100.0).abs() < 0.0012, "{percent} %: {share}");
            }
            assert_eq!(scale.volume(16), Volume::nearest(25.0));
            assert_eq!((scale.raw(0.0, 9), scale.software(0.0, 0)), (0, 0.0));
        }
        // One that cannot be moved.
        let stuck = Scale::new(5, 5, |_| None);
        assert_eq!((stuck.raw(0.25, 5), stuck.software(0.25, 5)), (5, 0.25));
    }
}
