//! Volumes and times as people write them.

use std::str::FromStr;

use audera_dbus::CHOSEN_LATENCIES;

/// A volume, or a change of one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// Percent, 0 to 100.
    Percent(f64),
    /// Percentage points to be added, -100 to 100.
    Step(f64),
    /// dB to be added.
    Decibels(f64),
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "a volume is 40% or 40, or a step: +5%, -5%, +3dB, -3dB".to_owned();
        let text = text.trim();
        let relative = text.starts_with(['+', '-']);
        let decibels = text.strip_suffix("dB").or_else(|| text.strip_suffix("db"));
        if let Some(decibels) = decibels {
            let decibels = number(decibels).ok_or_else(wrong)?;
            return if relative {
                Ok(Self::Decibels(decibels))
            } else {
                Err("dB are added or taken away: +3dB or -3dB".to_owned())
            };
        }
        let percent = number(text.strip_suffix('%').unwrap_or(text)).ok_or_else(wrong)?;
        match relative {
            false if (0.0..=100.0).contains(&percent) => Ok(Self::Percent(percent)),
            true if (-100.0..=100.0).contains(&percent) => Ok(Self::Step(percent)),
            false => Err("a volume is 0 to 100 %".to_owned()),
            true => Err("a step is -100 to +100 %".to_owned()),
        }
    }
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Milliseconds(pub f64);

impl FromStr for Milliseconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let delay = number(text.strip_suffix("ms").unwrap_or(text)).filter(|ms| (-500.0..=500.0).contains(ms));
        delay.map(Self).ok_or_else(|| "a delay is -500 to 500 (ms)".to_owned())
    }
}

/// How long sound takes from an input to the loudspeakers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Latency {
    /// What the rooms need.
    Auto,
    /// Milliseconds, some of [`CHOSEN_LATENCIES`].
    Fixed(f64),
}

impl FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let (least, most) = (*CHOSEN_LATENCIES.start(), *CHOSEN_LATENCIES.end());
        let fits = |ms: &f64| (least as f64..=most as f64).contains(ms);
        let latency = number(text.strip_suffix("ms").unwrap_or(text)).filter(fits);
        latency.map(Self::Fixed).ok_or_else(|| format!("a latency is auto, or {least} to {most} (ms)"))
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read_as_people_write_them() {
        for (text, amount) in [
            ("40%", Amount::Percent(40.0)),
            ("40", Amount::Percent(40.0)),
            ("12.5 %", Amount::Percent(12.5)),
            ("+5%", Amount::Step(5.0)),
            ("-5", Amount::Step(-5.0)),
            ("+3dB", Amount::Decibels(3.0)),
            ("-0.5 dB", Amount::Decibels(-0.5)),
        ] {
            assert_eq!(text.parse(), Ok(amount), "{text}");
        }
        for text in ["", "%", "loud", "101%", "-101", "nan", "inf", "3dB", "+dB", "4 0"] {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
    }

    #[test]
    fn delays_have_a_unit_or_none() {
        assert_eq!("-12.5ms".parse(), Ok(Milliseconds(-12.5)));
        assert_eq!("120".parse(), Ok(Milliseconds(120.0)));
        assert!("501".parse::<Milliseconds>().is_err() && "1s".parse::<Milliseconds>().is_err());
    }

    #[test]
    fn a_latency_is_a_time_or_left_to_the_rooms() {
        for (text, latency) in
            [("auto", Latency::Auto), ("60", Latency::Fixed(60.0)), ("2000 ms", Latency::Fixed(2000.0))]
        {
            assert_eq!(text.parse(), Ok(latency), "{text}");
        }
        for text in ["", "19", "2001", "fast", "NaN"] {
            assert!(text.parse::<Latency>().unwrap_err().contains("20 to 2000"), "{text}");
        }
    }
}
