//! From alsa-lib's callbacks to the trait: one function for each, none of which lets a panic through.

use std::{
    cell::UnsafeCell,
    ffi::{CStr, CString, c_char, c_int, c_long, c_uint, c_ulong},
    os::fd::AsRawFd,
};

use alsa_sys::snd_ctl_elem_id_t;

use super::{CardInfo, Element, Kind, Mixer, RawCtl, Request};
use crate::{
    Errno, OpenError, Options,
    guest::{Guarded, shielded},
    log,
    pcm::RawConfig,
    sys::{self, CtlExt, CtlExtCallbacks},
};

/// Values that alsa-lib has room for in an element.
const MOST_CHANNELS: u32 = 128;

/// Opens a mixer of a plugin for alsa-lib, see [`ctl_plugin!`](crate::ctl_plugin).
///
/// # Safety
/// As alsa-lib calls a plugin: `mixer` is a place for the mixer, `name` null or a string, `root` and `definition` null or live nodes.
pub unsafe fn open<M: Mixer>(
    mixer: *mut *mut RawCtl,
    name: *const c_char,
    root: *mut RawConfig,
    definition: *mut RawConfig,
    mode: c_int,
) -> c_int {
    let opened = shielded(|| {
        // SAFETY: the caller vouches for the arguments.
        let opened = unsafe { create::<M>(name, root, definition, mode) };
        opened.map_err(|error| {
            log::error(&format!("{}: {error}", M::NAME.to_string_lossy()));
            error.errno()
        })
    });
    match opened {
        Some(Ok(created)) => {
            // SAFETY: the caller vouches for the place.
            unsafe { *mixer = created };
            0
        }
        Some(Err(errno)) => errno.negative(),
        None => Errno::IO.negative(),
    }
}

/// # Safety
/// As [`open`].
unsafe fn create<M: Mixer>(
    name: *const c_char,
    root: *mut RawConfig,
    definition: *mut RawConfig,
    mode: c_int,
) -> Result<*mut RawCtl, OpenError> {
    // SAFETY: the caller vouches for name and configuration.
    let (called, options, defaults) = unsafe {
        let called = (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned());
        (called, Options::read(definition), Options::defaults(root, definition)?)
    };
    let nonblocking = mode & alsa_sys::SND_CTL_NONBLOCK as c_int != 0;
    let mut request = Request { name: called, nonblocking, options, defaults };
    let (opened, info, elements) = M::open(&mut request)?;
    std::mem::take(&mut request.options).finish()?;
    let elements = elements.into_iter().map(Listed::new).collect::<Option<Vec<_>>>();
    let elements = elements.ok_or_else(|| OpenError::refused(Errno::INVAL, "an element is not as ALSA can have it"))?;
    let plugin = Box::into_raw(Plugin::new(opened, &info, elements, nonblocking));
    // SAFETY: the plugin lives until alsa-lib closes it. From here on it is reached only through pointers.
    let ext = unsafe { (*plugin).ext.get() };
    // SAFETY: nobody else knows of it yet; filled in as the header demands, the name is a string or null.
    let created = unsafe {
        (*ext).private_data = plugin.cast();
        (*ext).callback = &raw const (*plugin).callbacks;
        sys::snd_ctl_ext_create(ext, name, mode)
    };
    if created < 0 {
        // SAFETY: alsa-lib has not kept it.
        drop(unsafe { Box::from_raw(plugin) });
        let errno = Errno::new(created);
        return Err(OpenError::refused(errno, format!("alsa-lib refuses the plugin: {errno}")));
    }
    // SAFETY: filled in by alsa-lib.
    Ok(unsafe { (*ext).handle })
}

/// An element, with its name as alsa-lib wants it.
struct Listed {
    element: Element,
    name: CString,
}

impl Listed {
    fn new(element: Element) -> Option<Self> {
        let name = CString::new(element.name.as_str()).ok()?;
        let fits = match &element.kind {
            Kind::Volume { most, decibels: Some(decibels) } => decibels.fits(*most),
            Kind::Volume { decibels: None, .. } | Kind::Switch => true,
        };
        (fits && (1..=MOST_CHANNELS).contains(&element.channels)).then_some(Self { element, name })
    }
}

/// A mixer in the memory that alsa-lib knows it by.
struct Plugin<M> {
    ext: UnsafeCell<CtlExt>,
    callbacks: CtlExtCallbacks,
    inner: Guarded<Inner<M>>,
}

struct Inner<M> {
    mixer: M,
    elements: Vec<Listed>,
}

impl<M: Mixer> Plugin<M> {
    fn new(mixer: M, info: &CardInfo, elements: Vec<Listed>, nonblocking: bool) -> Box<Self> {
        let ext = CtlExt {
            version: sys::CTL_EXT_VERSION,
            card_idx: 0,
            id: field(&info.id),
            driver: field(&info.driver),
            name: field(&info.name),
            longname: field(&info.long_name),
            mixername: field(&info.mixer),
            poll_fd: mixer.descriptor().as_raw_fd(),
            callback: std::ptr::null(),
            private_data: std::ptr::null_mut(),
            handle: std::ptr::null_mut(),
            nonblock: nonblocking.into(),
            subscribed: 0,
            tlv: Some(tlv::<M>),
        };
        let callbacks = CtlExtCallbacks {
            close: Some(close::<M>),
            elem_count: Some(elem_count::<M>),
            elem_list: Some(elem_list::<M>),
            find_elem: Some(find_elem::<M>),
            get_attribute: Some(get_attribute::<M>),
            get_integer_info: Some(get_integer_info::<M>),
            read_integer: Some(read_integer::<M>),
            write_integer: Some(write_integer::<M>),
            subscribe_events: Some(subscribe_events::<M>),
            read_event: Some(read_event::<M>),
            ..CtlExtCallbacks::default()
        };
        Box::new(Self { ext: UnsafeCell::new(ext), callbacks, inner: Guarded::new(Inner { mixer, elements }) })
    }
}

/// `text` in a field of fixed length, cut between two characters where it is too long, with a NUL behind it.
fn field<const LENGTH: usize>(text: &str) -> [c_char; LENGTH] {
    let mut field = [0; LENGTH];
    let mut end = text.len().min(LENGTH.saturating_sub(1));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    for (place, byte) in field.iter_mut().zip(text[..end].bytes()) {
        *place = byte as c_char;
    }
    field
}

impl<M: Mixer> Inner<M> {
    fn element(&self, key: c_ulong) -> Result<&Element, Errno> {
        self.elements.get(key as usize).map(|listed| &listed.element).ok_or(Errno::NOENT)
    }
}

/// Calls into the plugin behind `ext`.
///
/// # Safety
/// `ext` is a live mixer that [`create`] has made for `M`.
unsafe fn with<M: Mixer, T>(
    ext: *mut CtlExt,
    call: impl FnOnce(&mut Inner<M>) -> Result<T, Errno>,
) -> Result<T, Errno> {
    // SAFETY: the caller vouches for it, and it is freed only by `close`.
    let plugin = unsafe { &*(*ext).private_data.cast::<Plugin<M>>() };
    plugin.inner.call(call)
}

fn number(outcome: Result<c_int, Errno>) -> c_int {
    outcome.unwrap_or_else(Errno::negative)
}

unsafe extern "C" fn close<M: Mixer>(ext: *mut CtlExt) {
    // SAFETY: called by alsa-lib with the mixer that this callback was given for; so are all below. It does not use it any
    // more after this.
    let plugin = unsafe { (*ext).private_data.cast::<Plugin<M>>() };
    // SAFETY: as above.
    if unsafe { (*plugin).inner.is_at_home() } {
        // SAFETY: it came from a box, and this is the only place that takes it back.
        shielded(|| drop(unsafe { Box::from_raw(plugin) }));
    }
    // In a process that was forked off it is left as it is: threads to be joined are not there.
}

unsafe extern "C" fn elem_count<M: Mixer>(ext: *mut CtlExt) -> c_int {
    // SAFETY: as in `close`. A negative number would be taken for many elements.
    unsafe { with::<M, _>(ext, |inner| Ok(inner.elements.len() as c_int)) }.unwrap_or(0)
}

unsafe extern "C" fn elem_list<M: Mixer>(ext: *mut CtlExt, offset: c_uint, id: *mut snd_ctl_elem_id_t) -> c_int {
    // SAFETY: as in `close`; alsa-lib gives a place for the id.
    number(unsafe {
        with::<M, _>(ext, |inner| {
            let listed = inner.elements.get(offset as usize).ok_or(Errno::NOENT)?;
            name(id, listed);
            Ok(0)
        })
    })
}

/// # Safety
/// `id` is a place for an element's id.
unsafe fn name(id: *mut snd_ctl_elem_id_t, listed: &Listed) {
    // SAFETY: the caller vouches for the place; the name is copied.
    unsafe {
        alsa_sys::snd_ctl_elem_id_set_interface(id, alsa_sys::SND_CTL_ELEM_IFACE_MIXER);
        alsa_sys::snd_ctl_elem_id_set_name(id, listed.name.as_ptr());
        alsa_sys::snd_ctl_elem_id_set_index(id, listed.element.index);
    }
}

/// The key is the element's place in the list; alsa-lib's number of it is one more.
unsafe extern "C" fn find_elem<M: Mixer>(ext: *mut CtlExt, id: *const snd_ctl_elem_id_t) -> c_ulong {
    // SAFETY: as in `close`; alsa-lib gives an id, whose name is a string of its own.
    let found = unsafe {
        let numid = alsa_sys::snd_ctl_elem_id_get_numid(id) as usize;
        let called = CStr::from_ptr(alsa_sys::snd_ctl_elem_id_get_name(id));
        let index = alsa_sys::snd_ctl_elem_id_get_index(id);
        with::<M, _>(ext, |inner| {
            let by_name = |listed: &Listed| *listed.name == *called && listed.element.index == index;
            let at = match numid {
                0 => inner.elements.iter().position(by_name),
                numid => (numid <= inner.elements.len()).then(|| numid - 1),
            };
            at.ok_or(Errno::NOENT)
        })
    };
    found.map_or(sys::CTL_EXT_KEY_NOT_FOUND, |at| at as c_ulong)
}

unsafe extern "C" fn get_attribute<M: Mixer>(
    ext: *mut CtlExt,
    key: c_ulong,
    kind: *mut c_int,
    access: *mut c_uint,
    count: *mut c_uint,
) -> c_int {
    // SAFETY: as in `close`; alsa-lib gives places for what it asks.
    number(unsafe {
        with::<M, _>(ext, |inner| {
            let element = inner.element(key)?;
            let (alsa_kind, scale) = match &element.kind {
                Kind::Switch => (alsa_sys::SND_CTL_ELEM_TYPE_BOOLEAN, 0),
                Kind::Volume { decibels: None, .. } => (alsa_sys::SND_CTL_ELEM_TYPE_INTEGER, 0),
                Kind::Volume { decibels: Some(_), .. } => {
                    let tlv = sys::CTL_EXT_ACCESS_TLV_READ | sys::CTL_EXT_ACCESS_TLV_CALLBACK;
                    (alsa_sys::SND_CTL_ELEM_TYPE_INTEGER, tlv)
                }
            };
            let write = if element.writable { sys::CTL_EXT_ACCESS_WRITE } else { 0 };
            *kind = alsa_kind as c_int;
            *access = sys::CTL_EXT_ACCESS_READ | write | scale;
            *count = element.channels;
            Ok(0)
        })
    })
}

unsafe extern "C" fn get_integer_info<M: Mixer>(
    ext: *mut CtlExt,
    key: c_ulong,
    least: *mut c_long,
    most: *mut c_long,
    step: *mut c_long,
) -> c_int {
    // SAFETY: as in `close`; alsa-lib gives places for what it asks.
    number(unsafe {
        with::<M, _>(ext, |inner| {
            *most = inner.element(key)?.kind.most() as c_long;
            *least = 0;
            *step = 1;
            Ok(0)
        })
    })
}

unsafe extern "C" fn read_integer<M: Mixer>(ext: *mut CtlExt, key: c_ulong, values: *mut c_long) -> c_int {
    // SAFETY: as in `close`; alsa-lib gives room for as many values as an element may have.
    number(unsafe {
        with::<M, _>(ext, |inner| {
            let channels = inner.element(key)?.channels as usize;
            let mut read = [0_i64; MOST_CHANNELS as usize];
            inner.mixer.read(key as usize, &mut read[..channels])?;
            let values = std::slice::from_raw_parts_mut(values, channels);
            values.iter_mut().zip(read).for_each(|(place, value)| *place = value as c_long);
            Ok(0)
        })
    })
}

#[expect(clippy::useless_conversion, reason = "a C long is 32 bits wide on some targets")]
unsafe extern "C" fn write_integer<M: Mixer>(ext: *mut CtlExt, key: c_ulong, values: *mut c_long) -> c_int {
    // SAFETY: as in `close`; alsa-lib gives as many values as the element has.
    number(unsafe {
        with::<M, _>(ext, |inner| {
            let element = inner.element(key)?;
            if !element.writable {
                return Err(Errno::PERM);
            }
            let (channels, most) = (element.channels as usize, element.kind.most());
            let mut wanted = [0_i64; MOST_CHANNELS as usize];
            for (place, value) in wanted.iter_mut().zip(std::slice::from_raw_parts(values, channels)) {
                *place = i64::from(*value).clamp(0, most);
            }
            Ok(inner.mixer.write(key as usize, &wanted[..channels])?.into())
        })
    })
}

unsafe extern "C" fn subscribe_events<M: Mixer>(ext: *mut CtlExt, wanted: c_int) {
    // SAFETY: as in `close`. There is nobody to tell of an error; asked for events, the mixer will tell it.
    let _told = unsafe {
        with::<M, _>(ext, |inner| {
            inner.mixer.subscribe(wanted > 0);
            Ok(())
        })
    };
}

unsafe extern "C" fn read_event<M: Mixer>(ext: *mut CtlExt, id: *mut snd_ctl_elem_id_t, mask: *mut c_uint) -> c_int {
    // SAFETY: as in `close`; alsa-lib gives places for the event.
    number(unsafe {
        with::<M, _>(ext, |inner| {
            let at = inner.mixer.event()?.ok_or(Errno::AGAIN)?;
            name(id, inner.elements.get(at).ok_or(Errno::IO)?);
            alsa_sys::snd_ctl_elem_id_set_numid(id, at as c_uint + 1);
            *mask = alsa_sys::SND_CTL_EVENT_MASK_VALUE;
            Ok(1)
        })
    })
}

/// Tells how loud the values of an element are; nothing else can be asked or said.
unsafe extern "C" fn tlv<M: Mixer>(
    ext: *mut CtlExt,
    key: c_ulong,
    operation: c_int,
    _numid: c_uint,
    table: *mut c_uint,
    bytes: c_uint,
) -> c_int {
    // SAFETY: as in `close`; alsa-lib gives room for so many bytes.
    number(unsafe {
        with::<M, _>(ext, |inner| match &inner.element(key)?.kind {
            Kind::Volume { decibels: Some(decibels), .. } if operation == 0 => {
                let words = decibels.to_tlv();
                if (bytes as usize) < size_of_val(&words[..]) {
                    return Err(Errno::NOMEM);
                }
                std::ptr::copy_nonoverlapping(words.as_ptr(), table, words.len());
                Ok(0)
            }
            _ => Err(Errno::NXIO),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let text = |field: &[c_char]| field.iter().map(|byte| *byte as u8).collect::<Vec<u8>>();
        assert_eq!(text(&field::<6>("Küche")), b"K\xc3\xbcch\0");
        assert_eq!(text(&field::<3>("Küche")), b"K\0\0");
        assert_eq!(text(&field::<4>("")), b"\0\0\0\0");
    }
}
