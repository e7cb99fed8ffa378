//! A session's graph as `pw-dump` shows it: nodes with their properties, links between them, and how the rooms fare.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Error, Session};

/// The graph at one moment.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// All nodes.
    pub nodes: Vec<Node>,
    /// Pairs of node ids: output and input.
    links: Vec<(u64, u64)>,
}

/// A node of the graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id, which no other object has as long as it is there.
    pub id: u64,
    /// Its properties as text.
    pub properties: BTreeMap<String, String>,
}

/// How a room fares, as a sender's node tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomState {
    /// The room.
    pub room: String,
    /// Such as `playing`, `refused` or `preempted`.
    pub state: String,
    /// Why it does not play; empty if it does.
    pub reason: String,
    /// Frames that came too late or not at all, packets that were given up, and times it ran dry: 0 as long as all is well.
    pub flaws: u64,
}

impl Session {
    /// The graph as it is now.
    ///
    /// # Errors
    /// When PipeWire does not answer.
    pub fn graph(&self) -> Result<Graph, Error> {
        Ok(Graph::read(&self.objects()?))
    }

    /// All objects of the graph, as `pw-dump` tells them.
    ///
    /// # Errors
    /// When PipeWire does not answer, or never with what can be read.
    pub fn objects(&self) -> Result<Vec<Value>, Error> {
        // What is dumped while it changes may be cut short. That does not mean that what is missing is gone: the next one is whole.
        self.poll("a dump of the graph that can be read", || read_dump(&self.run("pw-dump", &[]).ok()?))
    }

    /// Waits until `pick` finds something in the graph.
    ///
    /// # Errors
    /// [`Error::NotReady`] after a minute.
    pub fn wait_for_graph<T>(&self, what: &str, mut pick: impl FnMut(&Graph) -> Option<T>) -> Result<T, Error> {
        self.poll(what, || self.graph().ok().and_then(|graph| pick(&graph)))
    }

    /// Waits until the rooms of a sender's node are in these states, told as `room state`, in any order, and no others.
    ///
    /// # Errors
    /// [`Error::NotReady`] after a minute, with the states last seen.
    pub fn wait_for_rooms(&self, node: &str, expected: &[&str]) -> Result<Vec<RoomState>, Error> {
        let mut seen = None;
        let waited = self.wait_for_graph("", |graph| {
            let rooms = graph.node(node)?.rooms();
            let mut told: Vec<String> = rooms.iter().map(|room| format!("{} {}", room.room, room.state)).collect();
            told.sort();
            let mut wanted = expected.to_vec();
            wanted.sort_unstable();
            let same = told == wanted;
            seen = Some(rooms.clone());
            same.then_some(rooms)
        });
        waited.map_err(|error| match error {
            Error::NotReady { outcome, log, tail, .. } => {
                let what = format!("rooms {expected:?} of {node}, which has {seen:?},");
                Error::NotReady { what, outcome, log, tail }
            }
            other => other,
        })
    }
}

/// Reads what `pw-dump` has printed: an array of all objects and, where they have changed meanwhile, more arrays with those that
/// have; an object that has gone is told without its `info`. `None` if it is cut short.
fn read_dump(text: &str) -> Option<Vec<Value>> {
    let mut objects = BTreeMap::new();
    for array in serde_json::Deserializer::from_str(text).into_iter::<Vec<Value>>() {
        for object in array.ok()? {
            let id = object["id"].as_u64()?;
            if object["info"].is_null() && objects.contains_key(&id) {
                objects.remove(&id);
            } else {
                objects.insert(id, object);
            }
        }
    }
    (!objects.is_empty()).then(|| objects.into_values().collect())
}

impl Graph {
    fn read(objects: &[Value]) -> Graph {
        let kind = |object: &Value, name: &str| object["type"].as_str() == Some(&format!("PipeWire:Interface:{name}"));
        let nodes = objects.iter().filter(|object| kind(object, "Node")).filter_map(Node::read).collect();
        let link = |object: &Value| {
            Some((object["info"]["output-node-id"].as_u64()?, object["info"]["input-node-id"].as_u64()?))
        };
        let links = objects.iter().filter(|object| kind(object, "Link")).filter_map(link).collect();
        Graph { nodes, links }
    }

    /// The node with this `node.name`.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name() == name)
    }

    /// The names of the nodes to which a node's outputs are linked, in order, each once.
    #[must_use]
    pub fn plays_to(&self, name: &str) -> Vec<&str> {
        self.ends(name, |(output, input)| (output, input))
    }

    /// The names of the nodes which are linked to a node's inputs, in order, each once.
    #[must_use]
    pub fn hears(&self, name: &str) -> Vec<&str> {
        self.ends(name, |(output, input)| (input, output))
    }

    fn ends(&self, name: &str, turn: impl Fn((u64, u64)) -> (u64, u64)) -> Vec<&str> {
        let Some(node) = self.node(name) else { return Vec::new() };
        let far = self.links.iter().map(|&link| turn(link)).filter(|(near, _)| *near == node.id).map(|(_, far)| far);
        let name_of = |id: u64| self.nodes.iter().find(|node| node.id == id).map(Node::name);
        let mut names: Vec<&str> = far.filter_map(name_of).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Node {
    fn read(object: &Value) -> Option<Node> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let properties = object["info"]["props"].as_object()?;
        let properties = properties.iter().map(|(key, value)| (key.clone(), text(value))).collect();
        Some(Node { id: object["id"].as_u64()?, properties })
    }

    /// Its `node.name`; empty if it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.properties.get("node.name").map_or("", String::as_str)
    }

    /// What a sender's node tells of its rooms; nothing while it does not play.
    #[must_use]
    pub fn rooms(&self) -> Vec<RoomState> {
        let told = self.properties.get("audera.rooms").map_or("[]", String::as_str);
        let rooms: Vec<Value> = serde_json::from_str(told).unwrap_or_default();
        let text = |room: &Value, key: &str| room[key].as_str().unwrap_or_default().to_owned();
        let flaws = |room: &Value| {
            let counts = ["late_frames", "lost_frames", "underruns", "dropped_packets"].map(|key| room[key].as_u64());
            counts.into_iter().flatten().sum()
        };
        rooms
            .iter()
            .map(|room| RoomState {
                room: text(room, "room"),
                state: text(room, "state"),
                reason: text(room, "reason"),
                flaws: flaws(room),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_read_with_its_changes_or_not_at_all() {
        let whole = r#"[{"id": 1, "info": {"a": 1}}, {"id": 2, "info": {"a": 2}}, {"id": 3, "info": null}]"#;
        let ids = |text: &str| Some(read_dump(text)?.iter().map(|object| object["id"].clone()).collect::<Vec<_>>());
        assert_eq!(ids(whole).unwrap(), [1, 2, 3]);
        let changed = format!(r#"{whole} [{{"id": 2, "info": null}}, {{"id": 4, "info": {{}}}}]"#);
        assert_eq!(ids(&changed).unwrap(), [1, 3, 4]);
        assert_eq!(ids(&whole[..40]), None);
        assert_eq!(ids(""), None);
    }
}
