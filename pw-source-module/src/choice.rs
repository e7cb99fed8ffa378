//! Which input somebody has chosen, kept over restarts for as long as the configuration says what it said then.

use std::path::Path;

use audera_dbus::names::label;
use audera_pw_sender::{Keeper, StateFile};
use audera_sender::Hub;

/// The input that was chosen, and what the configuration says.
#[derive(Debug)]
pub(crate) struct Choice {
    /// `target.object` of the configuration.
    pub(crate) configured: Option<String>,
    /// The `node.name` of what was chosen in its place.
    chosen: Option<String>,
    keeper: Keeper,
}

impl Choice {
    /// Reads what the source of this name has kept; also what was wrong with that.
    pub(crate) fn new(hub: &Hub, state_dir: &Path, source: &str, configured: Option<String>) -> (Self, Option<String>) {
        let file = StateFile::new(state_dir.join(format!("source-{}.json", label(source))));
        let (chosen, trouble) = match file.read() {
            Ok(bytes) => (bytes.and_then(|bytes| kept(&bytes, configured.as_deref())), None),
            Err(error) => (None, Some(error.to_string())),
        };
        (Choice { configured, chosen, keeper: Keeper::start(hub, file) }, trouble)
    }

    /// What was chosen in place of what is configured.
    pub(crate) fn chosen(&self) -> Option<&str> {
        self.chosen.as_deref()
    }

    /// Another one is chosen, by its `node.name`; or none.
    pub(crate) fn choose(&mut self, input: Option<&str>) {
        let input = input.filter(|input| self.configured.as_deref() != Some(*input));
        if self.chosen.as_deref() == input {
            return;
        }
        self.chosen = input.map(str::to_owned);
        self.keeper.keep(to_keep(input, self.configured.as_deref()).into_bytes());
    }
}

/// What is in the file.
fn to_keep(chosen: Option<&str>, configured: Option<&str>) -> String {
    let value = |text: Option<&str>| serde_json::Value::from(text);
    format!("{}\n", serde_json::json!({ "input": value(chosen), "configured": value(configured) }))
}

/// What was chosen, unless the configuration has been edited since: the last word counts.
fn kept(bytes: &[u8], configured: Option<&str>) -> Option<String> {
    let kept: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    (kept["configured"].as_str() == configured).then(|| kept["input"].as_str().map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_kept_until_the_configuration_is_edited() {
        for configured in [None, Some("line \"1\"")] {
            let file = to_keep(Some("phono"), configured);
            assert_eq!(kept(file.as_bytes(), configured).as_deref(), Some("phono"));
            assert_eq!(kept(file.as_bytes(), Some("tv")), None);
            assert_eq!(kept(to_keep(None, configured).as_bytes(), configured), None);
        }
        for broken in ["", "[]", "{}", "{\"input\":", "{\"input\":7,\"configured\":null}", "\u{0}"] {
            assert_eq!(kept(broken.as_bytes(), None), None, "{broken}");
        }
    }
}
