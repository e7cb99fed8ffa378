//! What a source could capture: the sources of the graph, and what plays to its sinks.

use audera_dbus::source::Input;
use audera_pw::Node;

/// What a mixer calls the monitor of a sink: the sink's name, and this.
const MONITOR: &str = ".monitor";

/// All that could be captured, in the order of what people call it; `usual` is what is captured where nothing is asked for.
pub(crate) fn inputs(nodes: &[Node], usual: Option<&str>) -> Vec<Input> {
    let input = |node: &Node| {
        let name = node.name()?;
        let text = |key| node.properties.get(key).filter(|text| !text.is_empty());
        Some(Input {
            name: name.to_owned(),
            description: text("node.description").or(text("node.nick")).unwrap_or(name).to_owned(),
            kind: kind(node)?,
            profile: text("device.profile.description").unwrap_or_default().to_owned(),
            default: usual == Some(name),
        })
    };
    let mut inputs: Vec<Input> = nodes.iter().filter_map(input).collect();
    inputs.sort_by(|one, other| (&one.description, &one.name).cmp(&(&other.description, &other.name)));
    inputs
}

/// The node that somebody means by this name: a source, or the sink that is called so, or has such a monitor in a mixer.
pub(crate) fn find<'a>(nodes: &'a [Node], name: &str) -> Option<&'a Node> {
    let is = |node: &&Node, name: &str, monitor: bool| {
        node.name() == Some(name) && kind(node).is_some_and(|kind| (kind == "monitor") == monitor)
    };
    let source = nodes.iter().find(|node| is(node, name, false));
    let sink = |name| nodes.iter().find(|node| is(node, name, true));
    source.or_else(|| sink(name)).or_else(|| sink(name.strip_suffix(MONITOR)?))
}

/// What can be captured of a node, as `Inputs` tells it; `None` if it is nothing.
pub(crate) fn kind(node: &Node) -> Option<&'static str> {
    let is = |key: &str, words: &[&str]| {
        node.properties.get(key).is_some_and(|text| words.iter().any(|word| text.contains(word)))
    };
    match node.media_class()? {
        "Audio/Sink" => Some("monitor"),
        "Audio/Source/Virtual" => Some("virtual"),
        "Audio/Source" | "Audio/Duplex" => Some(match () {
            () if is("device.api", &["bluez"]) => "bluetooth",
            () if is("device.profile.name", &["iec958", "hdmi"]) || is("api.alsa.path", &["iec958", "hdmi"]) => {
                "digital"
            }
            // Sound cards have a device in the graph, programs have none.
            () if node.properties.get("device.id").is_none() => "virtual",
            () => "source",
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audera_pw::Properties;

    fn node(id: u32, class: &str, name: &str, more: &[(&str, &str)]) -> Node {
        let properties = Properties::new().with("media.class", class).with("node.name", name);
        Node { id, properties: more.iter().fold(properties, |all, (key, value)| all.with(*key, *value)) }
    }

    fn nodes() -> Vec<Node> {
        let card = ("device.id", "40");
        vec![
            node(
                1,
                "Audio/Source",
                "line",
                &[card, ("node.description", "Sound card"), ("device.profile.description", "Analog Stereo")],
            ),
            node(2, "Audio/Source", "tv", &[card, ("device.profile.name", "iec958-stereo"), ("node.nick", "Digi")]),
            node(3, "Audio/Source", "phone", &[("device.api", "bluez5"), card]),
            node(4, "Audio/Source", "rtp", &[]),
            node(5, "Audio/Source/Virtual", "filter", &[]),
            node(6, "Audio/Sink", "speakers", &[card, ("node.description", "Loudspeakers")]),
            node(7, "Stream/Output/Audio", "player", &[]),
            node(8, "Audio/Sink", "line", &[("node.description", "A sink of the same name")]),
            node(9, "Audio/Source", "tv.monitor", &[card]),
        ]
    }

    #[test]
    fn what_can_be_captured_is_told_with_what_it_is() {
        let told = inputs(&nodes(), Some("tv"));
        let told: Vec<_> = told.iter().map(|input| (input.description.as_str(), input.kind, input.default)).collect();
        let wanted = [
            ("A sink of the same name", "monitor", false),
            ("Digi", "digital", true),
            ("Loudspeakers", "monitor", false),
            ("Sound card", "source", false),
            ("filter", "virtual", false),
            ("phone", "bluetooth", false),
            ("rtp", "virtual", false),
            ("tv.monitor", "source", false),
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn names_mean_sources_before_sinks_and_mixers_names_are_understood() {
        let nodes = nodes();
        let id = |name| find(&nodes, name).map(|node| node.id);
        assert_eq!(
            (id("line"), id("line.monitor"), id("speakers"), id("speakers.monitor")),
            (Some(1), Some(8), Some(6), Some(6))
        );
        assert_eq!((id("tv.monitor"), id("player"), id("")), (Some(9), None, None));
    }
}
