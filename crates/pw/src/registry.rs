//! What is in the graph: nodes with all their properties, links, the default devices, and where streams were moved to.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::rc::Rc;

use libspa_sys as spa;
use pipewire_sys as pw;

use crate::core::Core;
use crate::error::{Error, check, last};
use crate::guard::contain_logged;
use crate::json;
use crate::main_loop::EventQueue;
use crate::properties::Properties;
use crate::proxy::{Listener, Proxy};
use crate::sys;

const NODE: &CStr = c"PipeWire:Interface:Node";
const LINK: &CStr = c"PipeWire:Interface:Link";
const METADATA: &CStr = c"PipeWire:Interface:Metadata";

/// A node of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id in the registry, used again after it has gone.
    pub id: u32,
    /// All its properties, such as `node.name`, `media.class`, `client.id`, `object.serial`.
    pub properties: Properties,
}

impl Node {
    /// `node.name`.
    pub fn name(&self) -> Option<&str> {
        self.properties.get("node.name")
    }

    /// `media.class`: `Audio/Sink`, `Stream/Output/Audio` and so on.
    pub fn media_class(&self) -> Option<&str> {
        self.properties.get("media.class")
    }
}

/// A link between two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its id in the registry.
    pub id: u32,
    /// The node the samples come from.
    pub output_node: u32,
    /// The node they go to.
    pub input_node: u32,
}

/// News of the graph, delivered at the top of the main loop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryEvent {
    /// All that was there when the registry was made has been told.
    Synced,
    /// A node is there.
    NodeAdded(Node),
    /// Its properties have changed.
    NodeChanged(Node),
    /// The node with this id is gone.
    NodeRemoved(u32),
    /// Two ports were linked. May be told before the nodes they are of, whose properties take a round trip more.
    LinkAdded(Link),
    /// The link is gone.
    LinkRemoved(Link),
    /// The sink that streams without a target play to, by `node.name`.
    DefaultSink(Option<String>),
    /// The source that streams without a target capture, by `node.name`.
    DefaultSource(Option<String>),
    /// A session manager can be told where streams are to be linked to: [`Registry::move_stream`].
    Manager,
    /// Somebody, or the session manager, has said where the stream with this node id is to be linked to: see [`Registry::destination`].
    Moved(u32),
}

/// Where a stream is to be linked to by what was said of it at run time, whatever its own properties say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To the default device.
    Default,
    /// To this node.
    Node(Node),
    /// To the node of this name, once it is there.
    Named(String),
}

/// The keys of the metadata by which streams are moved: by `object.serial` or `node.name`, and the older one by id.
const TARGETS: [&str; 2] = ["target.object", "target.node"];
/// What both of them say for the default device.
const NO_TARGET: &str = "-1";

/// Watches the graph. Stays on the main loop.
#[derive(Debug)]
pub struct Registry(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Before the registry's own proxy, by which they were bound.
    bound: RefCell<BTreeMap<u32, Bound>>,
    proxy: Proxy,
    graph: RefCell<Graph>,
    /// The two round trips after which everything has been told: one for the globals, one for what they say of
    /// themselves.
    sync: Cell<Sync>,
    events: EventQueue<RegistryEvent>,
    /// Declared last: the connection outlives the proxies.
    _core: Core,
}

#[derive(Debug, Default)]
struct Graph {
    nodes: BTreeMap<u32, Node>,
    links: BTreeMap<u32, Link>,
    default_sink: Option<String>,
    default_source: Option<String>,
    /// What [`TARGETS`] say, by stream.
    targets: BTreeMap<u32, [Option<String>; TARGETS.len()]>,
    /// The id of the metadata that has them.
    metadata: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
enum Sync {
    Globals(i32),
    Infos(i32),
    Done,
}

/// A proxy that was bound, and what its callbacks are given.
#[derive(Debug)]
struct Bound {
    proxy: Proxy,
    /// Freed after the proxy, which hands it to callbacks.
    _origin: Box<Origin>,
}

#[derive(Debug)]
struct Origin {
    registry: *const Inner,
    id: u32,
}

impl Registry {
    /// Starts watching.
    ///
    /// # Errors
    /// [`Error::Gone`] when the connection has ended.
    pub fn new(core: &Core, handler: impl FnMut(RegistryEvent) + 'static) -> Result<Self, Error> {
        let raw_core = core.as_ptr()?;
        let events = EventQueue::new(core.main_loop(), || None, handler)?;
        // SAFETY: as_ptr() gives a live core, and this is its thread.
        let raw = unsafe { sys::core_get_registry(raw_core) };
        if raw.is_null() {
            return Err(last("watch the graph"));
        }
        // SAFETY: a new proxy, ours.
        let proxy = unsafe { Proxy::own(raw.cast()) };
        let inner = Rc::new(Inner {
            bound: RefCell::default(),
            proxy,
            graph: RefCell::default(),
            sync: Cell::new(Sync::Done),
            events,
            _core: core.clone(),
        });
        let data: *mut c_void = Rc::as_ptr(&inner).cast_mut().cast();
        // SAFETY: the registry lives; hook and listener are in Inner's proxy and go with it.
        unsafe {
            sys::registry_add_listener(raw, inner.proxy.object_hook().link(), &raw const REGISTRY_EVENTS, data);
            inner.proxy.listen(Listener { data, removed: on_registry_removed, done: on_done });
        }
        inner.sync.set(Sync::Globals(inner.proxy.sync()));
        Ok(Self(inner))
    }

    /// The node with this id.
    pub fn node(&self, id: u32) -> Option<Node> {
        self.0.graph.borrow().nodes.get(&id).cloned()
    }

    /// The nodes there are.
    pub fn nodes(&self) -> Vec<Node> {
        self.0.graph.borrow().nodes.values().cloned().collect()
    }

    /// The node by this `node.name`, or by `object.serial` given as digits: as `target.object` is read.
    pub fn find(&self, target: &str) -> Option<Node> {
        let graph = self.0.graph.borrow();
        let by = |key| graph.nodes.values().find(|node| node.properties.get(key) == Some(target)).cloned();
        by("node.name").or_else(|| by("object.serial"))
    }

    /// The links there are.
    pub fn links(&self) -> Vec<Link> {
        self.0.graph.borrow().links.values().copied().collect()
    }

    /// The default sink's `node.name`, if a session manager has named one.
    pub fn default_sink(&self) -> Option<String> {
        self.0.graph.borrow().default_sink.clone()
    }

    /// The default source's `node.name`, if a session manager has named one.
    pub fn default_source(&self) -> Option<String> {
        self.0.graph.borrow().default_source.clone()
    }

    /// Where the stream with this node id was moved to; `None` if nobody has moved it, or to something that is not there.
    pub fn destination(&self, stream: u32) -> Option<Destination> {
        let graph = self.0.graph.borrow();
        let [object, node] = graph.targets.get(&stream)?;
        let by = |key: &str, value: &str| {
            graph.nodes.values().find(|node| node.properties.get(key) == Some(value)).cloned().map(Destination::Node)
        };
        // As session managers read them: the newer key first, and digits as a serial.
        match (object.as_deref(), node.as_deref()) {
            (Some(NO_TARGET), _) => Some(Destination::Default),
            (Some(object), _) => by("object.serial", object).or_else(|| by("node.name", object)).or_else(|| {
                // A serial is not used again.
                object.parse::<u64>().is_err().then(|| Destination::Named(object.to_owned()))
            }),
            // So WirePlumber marks streams that are on the default device already.
            (None, Some(NO_TARGET)) | (None, None) => None,
            (None, Some(id)) => graph.nodes.get(&id.parse().ok()?).cloned().map(Destination::Node),
        }
    }

    /// Has the session manager link the stream with this node id to another node, as mixers do. It does so in its own time.
    ///
    /// # Errors
    /// [`Error::Gone`] where no session manager is there, or what libpipewire has against it.
    pub fn move_stream(&self, stream: u32, to: &Destination) -> Result<(), Error> {
        let (object, node) = match to {
            Destination::Default => (NO_TARGET, Some(NO_TARGET.to_owned())),
            Destination::Node(node) => {
                let serial = node.properties.get("object.serial").or(node.name());
                (serial.ok_or(Error::Gone("node"))?, Some(node.id.to_string()))
            }
            Destination::Named(name) => (name.as_str(), None),
        };
        // What says the same as before would be no news to a session manager that has missed it.
        for key in TARGETS {
            self.0.set_metadata(stream, key, None)?;
        }
        let [by_object, by_node] = TARGETS;
        if let Some(node) = node {
            self.0.set_metadata(stream, by_node, Some(&node))?;
        }
        self.0.set_metadata(stream, by_object, Some(object))
    }
}

static REGISTRY_EVENTS: pw::pw_registry_events = {
    // SAFETY: a version and optional functions, for which zero is "none"; so for all tables below.
    let mut events: pw::pw_registry_events = unsafe { std::mem::zeroed() };
    events.version = pw::PW_VERSION_REGISTRY_EVENTS;
    events.global = Some(on_global);
    events.global_remove = Some(on_global_remove);
    events
};

static NODE_EVENTS: pw::pw_node_events = {
    // SAFETY: see REGISTRY_EVENTS.
    let mut events: pw::pw_node_events = unsafe { std::mem::zeroed() };
    events.version = pw::PW_VERSION_NODE_EVENTS;
    events.info = Some(on_node_info);
    events
};

static METADATA_EVENTS: pw::pw_metadata_events = {
    // SAFETY: see REGISTRY_EVENTS.
    let mut events: pw::pw_metadata_events = unsafe { std::mem::zeroed() };
    events.version = pw::PW_VERSION_METADATA_EVENTS;
    events.property = Some(on_metadata);
    events
};

impl Inner {
    /// Binds a global and listens to its events, a table of `E`.
    fn bind<E>(&self, id: u32, kind: &'static CStr, version: u32, events: &'static E) {
        let registry = self.proxy.as_ptr();
        if registry.is_null() {
            return;
        }
        // SAFETY: the registry lives, `kind` is a C string.
        let raw = unsafe { sys::registry_bind(registry.cast(), id, kind.as_ptr(), version) };
        if raw.is_null() {
            return;
        }
        // SAFETY: a new proxy, ours.
        let proxy = unsafe { Proxy::own(raw) };
        let origin = Box::new(Origin { registry: self, id });
        let data: *mut c_void = (&raw const *origin).cast_mut().cast();
        // SAFETY: the proxy lives and its object's events are a table of E, which the callers see to; hook, listener
        // and data are kept in
        // `bound` together.
        unsafe {
            pw::pw_proxy_add_object_listener(raw, proxy.object_hook().link(), (&raw const *events).cast(), data);
            proxy.listen(Listener { data, removed: on_bound_removed, done: |_, _| {} });
        }
        self.bound.borrow_mut().insert(id, Bound { proxy, _origin: origin });
    }

    fn added(&self, id: u32, kind: &CStr, properties: &Properties) {
        let number = |key| properties.get(key).and_then(|text| text.parse().ok());
        if kind == NODE {
            self.bind(id, NODE, pw::PW_VERSION_NODE, &NODE_EVENTS);
        } else if kind == METADATA && properties.get("metadata.name") == Some("default") {
            self.bind(id, METADATA, pw::PW_VERSION_METADATA, &METADATA_EVENTS);
            self.graph.borrow_mut().metadata = Some(id);
            self.events.push(RegistryEvent::Manager);
        } else if kind == LINK {
            if let (Some(output_node), Some(input_node)) = (number("link.output.node"), number("link.input.node")) {
                let link = Link { id, output_node, input_node };
                self.graph.borrow_mut().links.insert(id, link);
                self.events.push(RegistryEvent::LinkAdded(link));
            }
        }
    }

    fn removed(&self, id: u32) {
        let mut graph = self.graph.borrow_mut();
        if graph.metadata == Some(id) {
            graph.metadata = None;
            graph.targets.clear();
        }
        if graph.nodes.remove(&id).is_some() {
            // Its id may be used again.
            graph.targets.remove(&id);
            self.events.push(RegistryEvent::NodeRemoved(id));
        }
        if let Some(link) = graph.links.remove(&id) {
            self.events.push(RegistryEvent::LinkRemoved(link));
        }
    }

    fn node_told(&self, node: Node) {
        let before = self.graph.borrow_mut().nodes.insert(node.id, node.clone());
        match before {
            None => self.events.push(RegistryEvent::NodeAdded(node)),
            Some(before) if before != node => self.events.push(RegistryEvent::NodeChanged(node)),
            Some(_) => {}
        }
    }

    /// `key` is `None` when all keys are cleared.
    fn default_told(&self, key: Option<&str>, value: Option<&str>) {
        let name = value.and_then(|value| {
            let entries = json::parse_object(value).ok()?;
            entries.iter().find(|(key, _)| key == "name").and_then(|(_, name)| name.as_text()).map(str::to_owned)
        });
        let mut graph = self.graph.borrow_mut();
        if key.is_none_or(|key| key == "default.audio.sink") && graph.default_sink != name {
            graph.default_sink.clone_from(&name);
            self.events.push(RegistryEvent::DefaultSink(name.clone()));
        }
        if key.is_none_or(|key| key == "default.audio.source") && graph.default_source != name {
            graph.default_source.clone_from(&name);
            self.events.push(RegistryEvent::DefaultSource(name));
        }
    }

    /// `key` is `None` when all keys are cleared.
    fn target_told(&self, stream: u32, key: Option<&str>, value: Option<&str>) {
        let mut graph = self.graph.borrow_mut();
        let before = graph.targets.get(&stream).cloned().unwrap_or_default();
        let mut told = before.clone();
        for (target, told) in TARGETS.iter().zip(&mut told) {
            if key.is_none_or(|key| key == *target) {
                *told = value.map(str::to_owned);
            }
        }
        if told == before {
            return;
        }
        if told.iter().any(Option::is_some) {
            graph.targets.insert(stream, told);
        } else {
            graph.targets.remove(&stream);
        }
        self.events.push(RegistryEvent::Moved(stream));
    }

    fn set_metadata(&self, subject: u32, key: &str, value: Option<&str>) -> Result<(), Error> {
        let id = self.graph.borrow().metadata;
        let bound = self.bound.borrow();
        let proxy = id.and_then(|id| bound.get(&id)).map_or(std::ptr::null_mut(), |bound| bound.proxy.as_ptr());
        if proxy.is_null() {
            return Err(Error::Gone("session manager's metadata"));
        }
        let text = |text: &str| CString::new(text.replace('\0', "")).map_err(Error::module);
        let (key, value) = (text(key)?, value.map(text).transpose()?);
        let (kind, value) =
            value.as_ref().map_or((std::ptr::null(), std::ptr::null()), |v| (c"Spa:Id".as_ptr(), v.as_ptr()));
        // SAFETY: the proxy is not NULL, so it lives, and is of the metadata's interface, as which it was bound; this is its main loop.
        let result = unsafe { sys::metadata_set_property(proxy.cast(), subject, key.as_ptr(), kind, value) };
        check("say where a stream is to be linked", result).map(drop)
    }

    fn answered(&self, seq: i32) {
        match self.sync.get() {
            Sync::Globals(asked) if asked == seq => {
                self.sync.set(Sync::Infos(self.proxy.sync()));
            }
            Sync::Infos(asked) if asked == seq => {
                self.sync.set(Sync::Done);
                self.events.push(RegistryEvent::Synced);
            }
            Sync::Globals(_) | Sync::Infos(_) | Sync::Done => {}
        }
    }
}

/// # Safety
/// `text` is NULL or a C string that outlives the result.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a CStr> {
    // SAFETY: a C string by contract when not NULL.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

unsafe extern "C" fn on_global(
    data: *mut c_void,
    id: u32,
    _permissions: u32,
    kind: *const c_char,
    _version: u32,
    properties: *const spa::spa_dict,
) {
    contain_logged("a registry's global event", || {
        // SAFETY: called for a linked hook of a live Inner, with a C string and a dictionary (or NULL) for the length
        // of the call.
        let (inner, kind, properties) =
            unsafe { (&*data.cast::<Inner>(), text(kind), Properties::from_dict(properties)) };
        if let Some(kind) = kind {
            inner.added(id, kind, &properties);
        }
    });
}

unsafe extern "C" fn on_global_remove(data: *mut c_void, id: u32) {
    // SAFETY: called for a linked hook of a live Inner.
    contain_logged("a registry's removal event", || unsafe { &*data.cast::<Inner>() }.removed(id));
}

/// # Safety
/// `data` is a live Inner.
unsafe fn on_done(data: *mut c_void, seq: c_int) {
    // SAFETY: by contract.
    contain_logged("a registry's done event", || unsafe { &*data.cast::<Inner>() }.answered(seq));
}

/// The registry itself is only removed with the connection, which says so itself.
unsafe fn on_registry_removed(_data: *mut c_void) {}

unsafe extern "C" fn on_node_info(data: *mut c_void, info: *const pw::pw_node_info) {
    contain_logged("a node's info event", || {
        // SAFETY: called for a linked hook, whose Origin lives in a Bound of a live Inner; the info and its dictionary
        // are valid (or NULL) for the length of the call.
        let (inner, id, info) = unsafe {
            let origin = &*data.cast::<Origin>();
            (&*origin.registry, origin.id, info.as_ref())
        };
        let Some(info) = info else { return };
        if info.change_mask & u64::from(pw::PW_NODE_CHANGE_MASK_PROPS) != 0 {
            // SAFETY: see above.
            let properties = unsafe { Properties::from_dict(info.props) };
            inner.node_told(Node { id, properties });
        }
    });
}

unsafe extern "C" fn on_metadata(
    data: *mut c_void,
    subject: u32,
    key: *const c_char,
    _kind: *const c_char,
    value: *const c_char,
) -> c_int {
    contain_logged("a metadata event", || {
        // SAFETY: as in on_node_info; key and value are NULL or C strings.
        let (inner, key, value) = unsafe {
            let origin = &*data.cast::<Origin>();
            (&*origin.registry, text(key), text(value))
        };
        let (key, value) = (key.and_then(|key| key.to_str().ok()), value.and_then(|value| value.to_str().ok()));
        if subject == pw::PW_ID_CORE {
            inner.default_told(key, value);
        } else {
            inner.target_told(subject, key, value);
        }
    });
    0
}

/// # Safety
/// `data` is the Origin in a Bound of a live Inner.
unsafe fn on_bound_removed(data: *mut c_void) {
    contain_logged("a proxy's removal event", || {
        // SAFETY: by contract; both are copied before the Origin is freed below.
        let (inner, id) = unsafe {
            let origin = &*data.cast::<Origin>();
            (&*origin.registry, origin.id)
        };
        let bound = inner.bound.borrow_mut().remove(&id);
        drop(bound);
    });
}
