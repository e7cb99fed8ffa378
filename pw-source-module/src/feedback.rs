//! Finds out whether a source captures what its own rooms play: the sound would go round in a circle.

use audera_pw::{Link, Node};
use audera_sender::EVERYWHERE;

/// The graph as far as it matters here.
pub(crate) struct Graph<'a> {
    pub(crate) nodes: &'a [Node],
    pub(crate) links: &'a [Link],
    /// Our own capture.
    pub(crate) capture: u32,
}

/// Where the source plays to.
pub(crate) struct Targets<'a> {
    /// Whether it plays to any room at all.
    pub(crate) any: bool,
    /// Whether it plays to the room of this name.
    pub(crate) includes: &'a dyn Fn(&str) -> bool,
}

/// What is to be done about the source.
#[derive(Debug, PartialEq)]
#[must_use]
pub(crate) enum Verdict {
    /// As before.
    Unchanged,
    /// It must not play, for this reason.
    Refuse(String),
    /// It may play again.
    Allow,
}

/// Remembers why the source was refused, for as long as that stands.
///
/// A refused source ends its stream, so that its player leaves the input that was the trouble. Were it let go for that, it would
/// begin anew, and so on: so a refusal stands until something else is captured, or its room is none of the source's any more.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Refused {
    room: String,
    captured: Vec<Input>,
}

/// A captured node. Ids are used again, serials are not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Input {
    id: u32,
    serial: Option<String>,
}

/// Why the source must not play.
struct Refusal {
    room: String,
    text: String,
}

impl Judge {
    /// Judges the graph and the rooms as they are now.
    pub(crate) fn judge(&mut self, graph: &Graph<'_>, targets: &Targets<'_>) -> Verdict {
        let captured = captured(graph);
        if let Some(refused) = &self.refused {
            let moved = !captured.is_empty() && captured != refused.captured;
            if !moved && is_own(targets, &refused.room) {
                return Verdict::Unchanged;
            }
        }
        match find(graph, targets) {
            Some(Refusal { room, text }) => {
                self.refused = Some(Refused { room, captured });
                Verdict::Refuse(text)
            }
            None if self.refused.take().is_some() => Verdict::Allow,
            None => Verdict::Unchanged,
        }
    }
}

/// What is captured; changes when the capture is moved.
fn captured(graph: &Graph<'_>) -> Vec<Input> {
    let ids = graph.links.iter().filter(|link| link.input_node == graph.capture).map(|link| link.output_node);
    let serial = |id| property_of(graph.nodes.iter().find(|node| node.id == id), "object.serial").map(str::to_owned);
    let mut inputs: Vec<Input> = ids.map(|id| Input { id, serial: serial(id) }).collect();
    inputs.sort_unstable();
    inputs.dedup();
    inputs
}

/// What is captured; of several, the first.
pub(crate) fn input<'a>(graph: &Graph<'a>) -> Option<&'a Node> {
    let id = captured(graph).first()?.id;
    graph.nodes.iter().find(|node| node.id == id)
}

/// Why the source must not capture this node, if so.
pub(crate) fn refusal_of(node: u32, graph: &Graph<'_>, targets: &Targets<'_>) -> Option<String> {
    let moved = Link { id: u32::MAX, output_node: node, input_node: graph.capture };
    let others = graph.links.iter().filter(|link| link.input_node != graph.capture);
    let links: Vec<Link> = others.copied().chain([moved]).collect();
    find(&Graph { links: &links, ..*graph }, targets).map(|refusal| refusal.text)
}

/// Whether sound for this room reaches a room of the source. "Everywhere" is all rooms, whichever they are.
fn is_own(targets: &Targets<'_>, room: &str) -> bool {
    (targets.any && room == EVERYWHERE) || (targets.includes)(room)
}

fn find(graph: &Graph<'_>, targets: &Targets<'_>) -> Option<Refusal> {
    for Input { id, .. } in captured(graph) {
        let node = graph.nodes.iter().find(|node| node.id == id);
        let name = node.and_then(Node::name).unwrap_or("its input");
        if let Some(room) = property_of(node, "audera.room").filter(|room| is_own(targets, room)) {
            let text = match room {
                EVERYWHERE => format!(
                    "refused: the input \"{name}\" is what is sent to all rooms, those of this source among them; capture another input"
                ),
                _ => format!(
                    "refused: the input \"{name}\" is what is sent to the room \"{room}\", to which this source plays; capture another input, \
                     or take \"{room}\" out of audera.rooms"
                ),
            };
            return Some(Refusal { room: room.to_owned(), text });
        }
        let players = graph.links.iter().filter(|link| link.input_node == id).map(|link| link.output_node);
        for player in players {
            let player = graph.nodes.iter().find(|node| node.id == player);
            if let Some(room) = property_of(player, "audera.player").filter(|room| (targets.includes)(room)) {
                let text = format!(
                    "refused: the input \"{name}\" carries what the room \"{room}\" plays on this machine, and this source plays to \"{room}\"; \
                     capture another input, or take \"{room}\" out of audera.rooms"
                );
                return Some(Refusal { room: room.to_owned(), text });
            }
        }
    }
    None
}

fn property_of<'a>(node: Option<&'a Node>, key: &str) -> Option<&'a str> {
    node?.properties.get(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audera_pw::Properties;

    const CAPTURE: u32 = 1;
    const SPEAKERS: u32 = 2;
    const PLAYER: u32 = 3;
    const LINE_IN: u32 = 4;

    fn node(id: u32, name: &str, key: &str, value: &str) -> Node {
        let properties = Properties::new().with("node.name", name).with("object.serial", format!("{}", id + 100));
        Node { id, properties: properties.with(key, value) }
    }

    fn nodes() -> Vec<Node> {
        vec![
            node(CAPTURE, "capture", "a", "b"),
            node(SPEAKERS, "speakers", "media.class", "Audio/Sink"),
            node(PLAYER, "audera-player.Desk", "audera.player", "Desk"),
            node(LINE_IN, "line-in", "media.class", "Audio/Source"),
        ]
    }

    fn link(output_node: u32, input_node: u32) -> Link {
        Link { id: 10 * output_node + input_node, output_node, input_node }
    }

    fn judged(judge: &mut Judge, nodes: &[Node], links: &[Link], rooms: &[&str]) -> Verdict {
        let includes = |room: &str| rooms.contains(&room) || rooms.contains(&EVERYWHERE);
        let targets = Targets { any: !rooms.is_empty(), includes: &includes };
        judge.judge(&Graph { nodes, links, capture: CAPTURE }, &targets)
    }

    fn refusal(nodes: &[Node], links: &[Link], rooms: &[&str]) -> Option<String> {
        match judged(&mut Judge::default(), nodes, links, rooms) {
            Verdict::Refuse(text) => Some(text),
            Verdict::Unchanged => None,
            Verdict::Allow => panic!("nothing was refused"),
        }
    }

    #[test]
    fn a_sink_on_which_its_own_room_plays_is_refused() {
        let (nodes, links) = (nodes(), [link(SPEAKERS, CAPTURE), link(PLAYER, SPEAKERS)]);
        let text = refusal(&nodes, &links, &["Desk"]).unwrap();
        assert!(text.contains("speakers") && text.contains("Desk"), "{text}");
        assert!(refusal(&nodes, &links, &[EVERYWHERE]).is_some());
        assert_eq!(refusal(&nodes, &links, &["Kitchen"]), None);
    }

    #[test]
    fn the_sink_of_its_own_room_is_refused_but_not_another() {
        let nodes = [node(CAPTURE, "capture", "a", "b"), node(2, "audera.Kitchen", "audera.room", "Kitchen")];
        let links = [link(2, CAPTURE)];
        assert!(refusal(&nodes, &links, &["Kitchen"]).is_some());
        assert_eq!(refusal(&nodes, &links, &["Bath"]), None);
    }

    #[test]
    fn what_would_be_refused_is_known_beforehand() {
        let nodes = nodes();
        let links = [link(LINE_IN, CAPTURE), link(PLAYER, SPEAKERS)];
        let of = |node, rooms: &[&str]| {
            let includes = |room: &str| rooms.contains(&room);
            let graph = Graph { nodes: &nodes, links: &links, capture: CAPTURE };
            refusal_of(node, &graph, &Targets { any: !rooms.is_empty(), includes: &includes })
        };
        assert!(of(SPEAKERS, &["Desk"]).is_some_and(|text| text.contains("speakers")));
        assert_eq!((of(SPEAKERS, &["Kitchen"]), of(LINE_IN, &["Desk"])), (None, None));
    }

    #[test]
    fn the_sink_of_all_rooms_is_refused_whichever_room_is_played_to() {
        let nodes = [node(CAPTURE, "capture", "a", "b"), node(2, "audera.Everywhere", "audera.room", EVERYWHERE)];
        let links = [link(2, CAPTURE)];
        assert!(refusal(&nodes, &links, &["Bath"]).unwrap().contains("all rooms"));
        assert_eq!(refusal(&nodes, &links, &[]), None, "it plays to nobody");
    }

    #[test]
    fn a_line_in_is_fine_whatever_plays_elsewhere() {
        let links = [link(LINE_IN, CAPTURE), link(PLAYER, SPEAKERS)];
        assert_eq!(refusal(&nodes(), &links, &[EVERYWHERE]), None);
    }

    #[test]
    fn it_is_noticed_in_whichever_order_the_graph_is_told() {
        let mut judge = Judge::default();
        let links = [link(SPEAKERS, CAPTURE), link(PLAYER, SPEAKERS)];
        assert_eq!(judged(&mut judge, &[], &links, &["Desk"]), Verdict::Unchanged);
        assert_eq!(judged(&mut judge, &nodes()[..2], &links, &["Desk"]), Verdict::Unchanged);
        assert_eq!(judged(&mut judge, &nodes(), &links, &[]), Verdict::Unchanged, "its rooms are not known yet");
        assert!(matches!(judged(&mut judge, &nodes(), &links, &["Desk"]), Verdict::Refuse(_)));
    }

    #[test]
    fn a_refusal_outlives_its_own_effect_and_ends_with_the_capture() {
        let (nodes, mut judge) = (nodes(), Judge::default());
        let both = [link(SPEAKERS, CAPTURE), link(PLAYER, SPEAKERS)];
        assert!(matches!(judged(&mut judge, &nodes, &both, &["Desk"]), Verdict::Refuse(_)));
        for links in [&both[..1], &[], &both] {
            assert_eq!(judged(&mut judge, &nodes, links, &["Desk"]), Verdict::Unchanged, "{links:?}");
        }
        assert_eq!(judged(&mut judge, &nodes, &[link(LINE_IN, CAPTURE)], &["Desk"]), Verdict::Allow);
        assert_eq!(judged(&mut judge, &nodes, &[link(LINE_IN, CAPTURE)], &["Desk"]), Verdict::Unchanged);
        assert!(matches!(judged(&mut judge, &nodes, &both, &["Desk"]), Verdict::Refuse(_)), "moved back");
    }

    #[test]
    fn a_refusal_ends_when_its_room_is_no_longer_played_to() {
        let (nodes, mut judge) = (nodes(), Judge::default());
        let links = [link(SPEAKERS, CAPTURE), link(PLAYER, SPEAKERS)];
        assert!(matches!(judged(&mut judge, &nodes, &links, &["Desk"]), Verdict::Refuse(_)));
        assert_eq!(judged(&mut judge, &nodes, &links, &["Kitchen"]), Verdict::Allow);
    }

    #[test]
    fn an_id_that_is_used_again_is_another_capture() {
        let (mut nodes, mut judge) = (nodes(), Judge::default());
        let links = [link(SPEAKERS, CAPTURE), link(PLAYER, SPEAKERS)];
        assert!(matches!(judged(&mut judge, &nodes, &links, &["Desk"]), Verdict::Refuse(_)));
        nodes[1].properties = Properties::new().with("node.name", "line-in").with("object.serial", "999");
        assert_eq!(judged(&mut judge, &nodes, &links[..1], &["Desk"]), Verdict::Allow);
    }
}
