//! The objects that are exported, their properties, and what of that is still to be told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::time::{Duration, Instant};
use zbus::Message;
use zbus::zvariant::{ObjectPath, Value};

use super::budget::Budget;
use crate::definition::Definition;
use crate::names::ROOT;
use crate::values::Values;

/// The least time between two tellings of an interface's changes, and of whether an object is there.
pub(super) const PACE: Duration = Duration::from_millis(100);

/// All objects, by path.
#[derive(Debug, Default)]
pub(super) struct Tree {
    objects: BTreeMap<ObjectPath<'static>, Object>,
    /// What may be told of objects that come and go, all together.
    budget: Budget,
}

/// An object, or what is left of one until all has been told of it.
#[derive(Debug)]
struct Object {
    interfaces: Vec<Exported>,
    /// It is there: it is listed, and can be called.
    is_there: bool,
    /// What was told of that last.
    told_there: bool,
    /// When that was.
    told: Instant,
    /// Since when it has been otherwise.
    since: Instant,
}

/// An interface of an object.
#[derive(Debug)]
pub(super) struct Exported {
    pub(super) definition: &'static Definition,
    pub(super) values: Values,
    /// Properties that have changed since that was told.
    changed: BTreeSet<&'static str>,
    told: Instant,
}

/// The interfaces that every object has.
const USUAL: &str = r#"  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId">
      <arg name="machine_uuid" type="s" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg name="xml" type="s" direction="out"/>
    </method>
  </interface>
"#;
const PROPERTIES: &str = r#"  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface" type="s" direction="in"/>
      <arg name="property" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="GetAll">
      <arg name="interface" type="s" direction="in"/>
      <arg name="properties" type="a{sv}" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface" type="s" direction="in"/>
      <arg name="property" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface" type="s"/>
      <arg name="changed" type="a{sv}"/>
      <arg name="invalidated" type="as"/>
    </signal>
  </interface>
"#;
const OBJECT_MANAGER: &str = r#"  <interface name="org.freedesktop.DBus.ObjectManager">
    <method name="GetManagedObjects">
      <arg name="objects" type="a{oa{sa{sv}}}" direction="out"/>
    </method>
    <signal name="InterfacesAdded">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="a{sa{sv}}"/>
    </signal>
    <signal name="InterfacesRemoved">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="as"/>
    </signal>
  </interface>
"#;

/// Objects as `GetManagedObjects` gives them.
type Managed<'a> = HashMap<&'a ObjectPath<'static>, HashMap<&'static str, &'a Values>>;

impl Tree {
    /// The interfaces of an object; none where there is none.
    pub(super) fn interfaces(&self, path: &str) -> Option<&[Exported]> {
        self.there().find(|(known, _)| known.as_str() == path).map(|(_, object)| object.interfaces.as_slice())
    }

    /// Whether there is anything at a path or below it.
    pub(super) fn is_known(&self, path: &str) -> bool {
        path == ROOT
            || self.there().any(|(known, _)| below(known, path).is_some() || known.as_str() == path)
            || below_root(path)
    }

    fn there(&self) -> impl Iterator<Item = (&ObjectPath<'static>, &Object)> {
        self.objects.iter().filter(|(_, object)| object.is_there)
    }

    /// Takes the present values of an interface, which is there from now on. All interfaces of an object are shown before it is told of: one that
    /// came later would be announced to nobody.
    pub(super) fn show(
        &mut self,
        path: &ObjectPath<'static>,
        definition: &'static Definition,
        values: Values,
        now: Instant,
    ) {
        // A moment ago: what is new is told at once.
        let before = now.checked_sub(PACE).unwrap_or(now);
        let object = self.objects.entry(path.clone()).or_insert_with(|| Object {
            interfaces: Vec::new(),
            is_there: false,
            // Nobody is told of the object manager, which tells of the others.
            told_there: path.as_str() == ROOT,
            told: before,
            since: now,
        });
        object.become_there(true, now);
        match object.interfaces.iter_mut().find(|known| known.definition.name == definition.name) {
            Some(known) => known.take(values),
            None => {
                debug_assert!(
                    !object.told_there || path.as_str() == ROOT,
                    "{path} was told of without {}",
                    definition.name
                );
                let changed = BTreeSet::new();
                object.interfaces.push(Exported { definition, values, changed, told: before });
            }
        }
    }

    /// Takes an object away.
    pub(super) fn remove(&mut self, path: &ObjectPath<'static>, now: Instant) {
        if let Some(object) = self.objects.get_mut(path) {
            object.become_there(false, now);
        }
    }

    /// When the next thing is to be told.
    pub(super) fn due(&self) -> Option<Instant> {
        let there = self.objects.values().filter_map(Object::due).min().map(|due| self.budget.ready(due));
        let told = self.objects.values().filter(|object| object.is_settled());
        let changed = told.flat_map(|object| &object.interfaces).filter_map(Exported::due).min();
        there.into_iter().chain(changed).min()
    }

    /// The next thing that is to be told by now: what has waited longest of what has come or gone, then changes of properties.
    pub(super) fn take_news(&mut self, now: Instant) -> Option<Message> {
        // What came and went before anybody was told of it, and may come again at any time.
        self.objects.retain(|_, object| object.is_there || object.told_there || object.told + PACE > now);
        self.take_arrival(now).or_else(|| self.take_change(now))
    }

    /// What has come or gone and is to be told by now, the one that has waited longest.
    pub(super) fn take_arrival(&mut self, now: Instant) -> Option<Message> {
        let due = self.objects.iter_mut().filter(|(_, object)| object.due().is_some_and(|due| due <= now));
        let (path, object) = due.min_by_key(|(_, object)| object.since)?;
        if !self.budget.take(now) {
            return None;
        }
        (object.told, object.told_there) = (now, object.is_there);
        let manager = "org.freedesktop.DBus.ObjectManager";
        if object.is_there {
            object.interfaces.iter_mut().for_each(|exported| exported.changed.clear());
            let interfaces: HashMap<&str, &Values> =
                object.interfaces.iter().map(|exported| (exported.definition.name, &exported.values)).collect();
            signal(ROOT, manager, "InterfacesAdded", &(path, interfaces))
        } else {
            let names: Vec<&str> = object.interfaces.iter().map(|exported| exported.definition.name).collect();
            signal(ROOT, manager, "InterfacesRemoved", &(path, names))
        }
    }

    fn take_change(&mut self, now: Instant) -> Option<Message> {
        let told = self.objects.iter_mut().filter(|(_, object)| object.is_settled());
        let all = told.flat_map(|(path, object)| object.interfaces.iter_mut().map(move |exported| (path, exported)));
        let due = all.filter(|(_, exported)| exported.due().is_some_and(|due| due <= now));
        let (path, exported) = due.min_by_key(|(_, exported)| exported.told)?;
        let changed = std::mem::take(&mut exported.changed);
        exported.told = now;
        let values: HashMap<&str, &Value<'static>> = exported
            .values
            .iter()
            .filter(|(name, _)| changed.contains(*name))
            .map(|(name, value)| (*name, value))
            .collect();
        let body = (exported.definition.name, values, Vec::<&str>::new());
        signal(path.as_str(), "org.freedesktop.DBus.Properties", "PropertiesChanged", &body)
    }

    /// All objects but the object manager's own.
    pub(super) fn managed(&self) -> Managed<'_> {
        let objects = self.there().filter(|(path, _)| path.as_str() != ROOT);
        objects
            .map(|(path, object)| {
                (path, object.interfaces.iter().map(|exported| (exported.definition.name, &exported.values)).collect())
            })
            .collect()
    }

    /// What introspection tells of a path.
    pub(super) fn introspect(&self, path: &str) -> String {
        let mut xml = String::from(
            "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n \
             \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n",
        );
        xml += USUAL;
        if let Some(interfaces) = self.interfaces(path) {
            xml += PROPERTIES;
            interfaces.iter().for_each(|exported| exported.definition.introspect(&mut xml));
        }
        if path == ROOT {
            xml += OBJECT_MANAGER;
        }
        let mut children: BTreeSet<&str> = self.there().filter_map(|(known, _)| below(known, path)).collect();
        children.extend(below(ROOT, path));
        for child in children {
            xml += &format!("  <node name=\"{child}\"/>\n");
        }
        xml + "</node>\n"
    }
}

/// The next element of `path` below `above`.
fn below<'a>(path: &'a str, above: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(above.trim_end_matches('/'))?.strip_prefix('/')?;
    rest.split('/').next().filter(|element| !element.is_empty())
}

/// Whether the object manager is below a path.
fn below_root(path: &str) -> bool {
    below(ROOT, path).is_some()
}

impl Object {
    fn become_there(&mut self, is_there: bool, now: Instant) {
        if self.is_there != is_there {
            self.is_there = is_there;
            self.since = now;
        }
    }

    /// Whether everybody knows that it is there.
    fn is_settled(&self) -> bool {
        self.is_there && self.told_there
    }

    /// When it is to be told that it is there, or gone.
    fn due(&self) -> Option<Instant> {
        (self.is_there != self.told_there).then(|| self.told + PACE)
    }
}

impl Exported {
    /// When its changes are to be told.
    fn due(&self) -> Option<Instant> {
        (!self.changed.is_empty()).then(|| self.told + PACE)
    }

    fn take(&mut self, values: Values) {
        let differs = |name: &&'static str| self.values.get(name) != values.get(name);
        self.changed.extend(values.keys().copied().filter(differs));
        self.values = values;
    }
}

fn signal<B: serde::Serialize + zbus::zvariant::DynamicType>(
    path: &str,
    interface: &str,
    member: &str,
    body: &B,
) -> Option<Message> {
    let built = Message::signal(path, interface, member).and_then(|signal| signal.build(body));
    built.inspect_err(|error| tracing::error!("{member} cannot be told: {error}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::{DEFINITION, Group};
    use crate::names;

    fn values(volume: f64) -> Values {
        Group { name: "Down".to_owned(), members: Vec::new(), volume, muted: false }.values()
    }

    fn path(number: usize) -> ObjectPath<'static> {
        names::group_path(&number.to_string()).into_inner()
    }

    /// All that is told from `begin` to `end`, each at its time, by the names of the signals.
    fn told(tree: &mut Tree, begin: Instant, end: Instant) -> Vec<(Duration, String)> {
        let (mut now, mut all) = (begin, Vec::new());
        loop {
            while let Some(message) = tree.take_news(now) {
                all.push((now - begin, message.header().member().unwrap().to_string()));
            }
            match tree.due() {
                Some(due) if due <= end => {
                    assert!(due > now, "what is due is told");
                    now = due;
                }
                _ => return all,
            }
        }
    }

    fn names_of(told: &[(Duration, String)]) -> Vec<&str> {
        told.iter().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn what_comes_and_goes_is_told_at_once_and_then_ten_times_a_second_as_it_is_then() {
        let (mut tree, begin) = (Tree::default(), Instant::now());
        tree.show(&path(1), &DEFINITION, values(10.0), begin);
        assert_eq!(names_of(&told(&mut tree, begin, begin)), ["InterfacesAdded"]);
        // A thousand times a second it goes and comes again, with another volume each time.
        let mut all = Vec::new();
        for turn in 1..=1_000_u64 {
            let now = begin + Duration::from_millis(turn);
            tree.remove(&path(1), now);
            assert!(tree.interfaces(&path(1)).is_none() && tree.managed().is_empty());
            tree.show(&path(1), &DEFINITION, values(turn as f64 / 10.0), now);
            assert_eq!(tree.managed().len(), 1);
            all.extend(told(&mut tree, now, now));
        }
        assert!((8..=10).contains(&all.len()), "{all:?}");
        assert!(
            all.iter().all(|(_, name)| name == "PropertiesChanged"),
            "it was there whenever it was told of: {all:?}"
        );
        // It is gone at last, which is told, and then nothing is left of it.
        let end = begin + Duration::from_secs(2);
        tree.remove(&path(1), end);
        let rest = told(&mut tree, end, end + PACE);
        assert_eq!(names_of(&rest).last(), Some(&"InterfacesRemoved"), "{rest:?}");
        assert!(told(&mut tree, end + 3 * PACE, end + 3 * PACE).is_empty() && tree.objects.is_empty());
    }

    #[test]
    fn a_player_that_swaps_its_groups_makes_no_flood_and_keeps_nobody_from_being_told() {
        let (mut tree, begin) = (Tree::default(), Instant::now());
        const TURNS: usize = 500;
        const GROUPS: usize = 32;
        let mut signals = 0;
        let room = names::player_path("Kitchen").into_inner();
        for turn in 0..TURNS {
            // Fifty times a second other groups, for ten seconds.
            let now = begin + Duration::from_millis(20) * turn as u32;
            let group = |turn: usize, number: usize| path(turn * GROUPS + number);
            for number in 0..GROUPS {
                tree.show(&group(turn, number), &DEFINITION, values(50.0), now);
                if turn > 0 {
                    tree.remove(&group(turn - 1, number), now);
                }
            }
            if turn == TURNS / 2 {
                tree.show(&room, &DEFINITION, values(50.0), now);
            }
            let news = told(&mut tree, now, now);
            signals += news.len();
        }
        assert!(signals <= Budget::AT_ONCE + 10 * Budget::A_SECOND, "{signals}");
        // What was never told of is not kept either.
        assert!(tree.objects.len() < 2 * Budget::AT_ONCE, "{}", tree.objects.len());
        assert!(tree.objects[&room].told_there, "the room's turn has come");
        // In the end what is told is what there is.
        let end = begin + Duration::from_secs(60);
        told(&mut tree, begin + Duration::from_secs(10), end);
        assert_eq!(tree.managed().len(), GROUPS + 1);
        assert!(tree.objects.values().all(Object::is_settled));
    }
}
