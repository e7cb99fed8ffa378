//! Finds out whether a source captures what its own rooms play: the sound would go round in a circle.

use audera_pw::{Link, Node};

/// The graph as far as it matters here.
pub(crate) struct Graph<'a> {
    pub(crate) nodes: &'a [Node],
    pub(crate) links: &'a [Link],
    /// Our own capture.
    pub(crate) capture: u32,
}

/// What is captured, by node id; changes when the capture is moved.
pub(crate) fn captured(graph: &Graph<'_>) -> Vec<u32> {
    let mut from: Vec<u32> =
        graph.links.iter().filter(|link| link.input_node == graph.capture).map(|link| link.output_node).collect();
    from.sort_unstable();
    from.dedup();
    from
}

/// Why the source must not play: `is_target` tells whether a room is one of its own.
pub(crate) fn find(graph: &Graph<'_>, is_target: impl Fn(&str) -> bool) -> Option<String> {
    for id in captured(graph) {
        let node = graph.nodes.iter().find(|node| node.id == id);
        let name = node.and_then(Node::name).unwrap_or("its input");
        if let Some(room) = room_of(node, "audera.room").filter(|room| is_target(room)) {
            return Some(format!(
                "refused: the input \"{name}\" is what is sent to the room \"{room}\", to which this source plays; capture another input, or \
                 take \"{room}\" out of audera.rooms"
            ));
        }
        let players = graph.links.iter().filter(|link| link.input_node == id).map(|link| link.output_node);
        for player in players {
            let player = graph.nodes.iter().find(|node| node.id == player);
            if let Some(room) = room_of(player, "audera.player").filter(|room| is_target(room)) {
                return Some(format!(
                    "refused: the input \"{name}\" carries what the room \"{room}\" plays on this machine, and this source plays to \"{room}\"; \
                     capture another input, or take \"{room}\" out of audera.rooms"
                ));
            }
        }
    }
    None
}

fn room_of<'a>(node: Option<&'a Node>, property: &str) -> Option<&'a str> {
    node?.properties.get(property)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audera_pw::Properties;

    fn node(id: u32, name: &str, key: &str, value: &str) -> Node {
        Node { id, properties: Properties::new().with("node.name", name).with(key, value) }
    }

    fn link(id: u32, output_node: u32, input_node: u32) -> Link {
        Link { id, output_node, input_node }
    }

    fn judge(nodes: &[Node], links: &[Link], target: &str) -> Option<String> {
        find(&Graph { nodes, links, capture: 1 }, |room| room == target || target == "Everywhere")
    }

    #[test]
    fn a_sink_on_which_its_own_room_plays_is_refused() {
        let nodes = [
            node(1, "capture", "a", "b"),
            node(2, "speakers", "media.class", "Audio/Sink"),
            node(3, "audera-player.Desk", "audera.player", "Desk"),
        ];
        let links = [link(10, 2, 1), link(11, 3, 2)];
        let refusal = judge(&nodes, &links, "Desk").unwrap();
        assert!(refusal.contains("speakers") && refusal.contains("Desk"), "{refusal}");
        assert!(judge(&nodes, &links, "Everywhere").is_some());
        assert_eq!(judge(&nodes, &links, "Kitchen"), None);
    }

    #[test]
    fn the_sink_of_its_own_room_is_refused_but_not_another() {
        let nodes = [node(1, "capture", "a", "b"), node(2, "audera.Kitchen", "audera.room", "Kitchen")];
        let links = [link(10, 2, 1)];
        assert!(judge(&nodes, &links, "Kitchen").is_some());
        assert_eq!(judge(&nodes, &links, "Bath"), None);
    }

    #[test]
    fn a_line_in_is_fine_whatever_plays_elsewhere() {
        let nodes = [
            node(1, "capture", "a", "b"),
            node(2, "speakers", "media.class", "Audio/Sink"),
            node(3, "audera-player.Desk", "audera.player", "Desk"),
            node(4, "line-in", "media.class", "Audio/Source"),
        ];
        let links = [link(10, 4, 1), link(11, 3, 2)];
        assert_eq!(judge(&nodes, &links, "Everywhere"), None);
        assert_eq!(captured(&Graph { nodes: &nodes, links: &links, capture: 1 }), [4]);
    }
}
