//! Figures that rooms tell of themselves (docs/status.md), and how they are written for people.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::output::harmless;

/// Figures and texts by the names of docs/status.md.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Figures(Map<String, Json>);

impl Figures {
    /// A figure.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.0.get(key)?.as_f64()
    }

    /// A count.
    pub fn count(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.as_u64()
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }
}

/// What plays: `"Audera Everywhere" from desk, opus`.
pub fn plays(stream: &Figures) -> String {
    let Some(sender) = stream.text("sender") else { return String::new() };
    let title = stream.text("title").filter(|title| !title.is_empty());
    let from = title.map_or_else(|| format!("from {sender}"), |title| format!("\"{title}\" from {sender}"));
    harmless(&stream.text("codec").map_or_else(|| from.clone(), |codec| format!("{from}, {codec}")))
}

/// Percent, without a fraction that nobody set: `40 %`, `12.5 %`.
pub fn percent(percent: f64) -> String {
    format!("{} %", (percent * 10.0).round() / 10.0)
}

/// Microseconds to the tenth, and from a hundred on to the unit.
pub fn us(us: f64) -> String {
    if us.abs() < 100.0 { format!("{us:.1} us") } else { format!("{us:.0} us") }
}

/// The same with a sign.
pub fn signed_us(us: f64) -> String {
    if us.abs() < 100.0 { format!("{us:+.1} us") } else { format!("{us:+.0} us") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_plays_is_told_as_far_as_it_is_known() {
        let stream = |json: &str| plays(&serde_json::from_str(json).unwrap());
        assert_eq!(stream(r#"{"sender":"desk","title":"Radio","codec":"opus"}"#), "\"Radio\" from desk, opus");
        assert_eq!(stream(r#"{"sender":"desk","title":""}"#), "from desk");
        assert_eq!(stream("{}"), "");
        assert_eq!(stream(r#"{"sender":"\u001b[2J"}"#), "from \u{fffd}[2J");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!((percent(40.0), percent(12.54)), ("40 %".into(), "12.5 %".into()));
        assert_eq!((us(8.66), us(120.4), signed_us(2.4)), ("8.7 us".into(), "120 us".into(), "+2.4 us".into()));
    }
}
