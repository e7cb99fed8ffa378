//! The objects that are exported, their properties, and which of them have changed since that was told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::time::{Duration, Instant};
use zbus::Message;
use zbus::zvariant::{ObjectPath, Value};

use crate::definition::Definition;
use crate::names::ROOT;
use crate::values::Values;

/// The least time between two tellings of an interface's changes.
pub(super) const PACE: Duration = Duration::from_millis(100);

/// All objects, by path.
#[derive(Debug, Default)]
pub(super) struct Tree(BTreeMap<ObjectPath<'static>, Vec<Exported>>);

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
        self.0.iter().find(|(known, _)| known.as_str() == path).map(|(_, interfaces)| interfaces.as_slice())
    }

    /// Whether there is anything at a path or below it.
    pub(super) fn is_known(&self, path: &str) -> bool {
        path == ROOT
            || self.0.keys().any(|known| below(known, path).is_some() || known.as_str() == path)
            || below_root(path)
    }

    /// Takes the present values of an interface. Gives what is to be told if the interface is new.
    pub(super) fn show(
        &mut self,
        path: &ObjectPath<'static>,
        definition: &'static Definition,
        values: Values,
    ) -> Option<Message> {
        let interfaces = self.0.entry(path.clone()).or_default();
        if let Some(known) = interfaces.iter_mut().find(|known| known.definition.name == definition.name) {
            known.take(values);
            return None;
        }
        // A moment ago: its first change is told at once.
        let told = Instant::now().checked_sub(PACE).unwrap_or_else(Instant::now);
        interfaces.push(Exported { definition, values, changed: BTreeSet::new(), told });
        let exported = interfaces.last()?;
        let body = (path, HashMap::from([(definition.name, &exported.values)]));
        if path.as_str() == ROOT {
            None
        } else {
            signal(ROOT, "org.freedesktop.DBus.ObjectManager", "InterfacesAdded", &body)
        }
    }

    /// Takes an object away. Gives what is to be told, if there was one.
    pub(super) fn remove(&mut self, path: &ObjectPath<'static>) -> Option<Message> {
        let interfaces = self.0.remove(path)?;
        let names: Vec<&str> = interfaces.iter().map(|exported| exported.definition.name).collect();
        signal(ROOT, "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved", &(path, names))
    }

    /// When the next change is to be told.
    pub(super) fn due(&self) -> Option<Instant> {
        let changed = self.0.values().flatten().filter(|exported| !exported.changed.is_empty());
        changed.map(|exported| exported.told + PACE).min()
    }

    /// The next change that is to be told by now.
    pub(super) fn take_change(&mut self, now: Instant) -> Option<Message> {
        let all = self
            .0
            .iter_mut()
            .flat_map(|(path, interfaces)| interfaces.iter_mut().map(move |exported| (path, exported)));
        let (path, exported) =
            all.into_iter().find(|(_, exported)| !exported.changed.is_empty() && exported.told + PACE <= now)?;
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
        let objects = self.0.iter().filter(|(path, _)| path.as_str() != ROOT);
        objects
            .map(|(path, interfaces)| {
                (path, interfaces.iter().map(|exported| (exported.definition.name, &exported.values)).collect())
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
        let mut children: BTreeSet<&str> = self.0.keys().filter_map(|known| below(known, path)).collect();
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

impl Exported {
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
