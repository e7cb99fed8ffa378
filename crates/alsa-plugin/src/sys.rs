//! alsa-lib's external I/O plugin API as its header `alsa/pcm_ioplug.h` declares it, protocol 1.0.2, and the one variable
//! of `alsa/error.h` that the crate `alsa-sys` leaves out. `tests/layout.rs` compares it with the installed headers.

use std::ffi::{c_char, c_int, c_long, c_uchar, c_uint, c_ulong, c_ushort, c_void};

use alsa_sys::{
    snd_aes_iec958_t, snd_ctl_elem_id_t, snd_ctl_t, snd_lib_error_handler_t, snd_output_t, snd_pcm_channel_area_t,
    snd_pcm_chmap_query_t, snd_pcm_chmap_t, snd_pcm_hw_params_t, snd_pcm_sframes_t, snd_pcm_sw_params_t, snd_pcm_t,
    snd_pcm_uframes_t,
};
use libc::pollfd;

/// `SND_PCM_IOPLUG_VERSION`: 1.0.2.
pub const IOPLUG_VERSION: c_uint = (1 << 16) | 2;
/// `SND_PCM_IOPLUG_FLAG_MONOTONIC`: time stamps by `CLOCK_MONOTONIC`.
pub const IOPLUG_FLAG_MONOTONIC: c_uint = 1 << 1;
/// `SND_PCM_IOPLUG_FLAG_BOUNDARY_WA`: positions wrap at the boundary, not at the buffer's size.
pub const IOPLUG_FLAG_BOUNDARY_WA: c_uint = 1 << 2;

/// `SND_PCM_IOPLUG_HW_ACCESS`.
pub const IOPLUG_HW_ACCESS: c_int = 0;
/// `SND_PCM_IOPLUG_HW_FORMAT`.
pub const IOPLUG_HW_FORMAT: c_int = 1;
/// `SND_PCM_IOPLUG_HW_CHANNELS`.
pub const IOPLUG_HW_CHANNELS: c_int = 2;
/// `SND_PCM_IOPLUG_HW_RATE`.
pub const IOPLUG_HW_RATE: c_int = 3;
/// `SND_PCM_IOPLUG_HW_PERIOD_BYTES`.
pub const IOPLUG_HW_PERIOD_BYTES: c_int = 4;
/// `SND_PCM_IOPLUG_HW_BUFFER_BYTES`.
pub const IOPLUG_HW_BUFFER_BYTES: c_int = 5;
/// `SND_PCM_IOPLUG_HW_PERIODS`.
pub const IOPLUG_HW_PERIODS: c_int = 6;

/// `snd_pcm_ioplug_t`.
#[repr(C)]
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are the header's, which documents them")]
pub struct Ioplug {
    pub version: c_uint,
    pub name: *const c_char,
    pub flags: c_uint,
    pub poll_fd: c_int,
    pub poll_events: c_uint,
    pub mmap_rw: c_uint,
    pub callback: *const IoplugCallbacks,
    pub private_data: *mut c_void,
    pub pcm: *mut snd_pcm_t,
    pub stream: c_uint,
    pub state: c_uint,
    pub appl_ptr: snd_pcm_uframes_t,
    pub hw_ptr: snd_pcm_uframes_t,
    pub nonblock: c_int,
    pub access: c_uint,
    pub format: c_int,
    pub channels: c_uint,
    pub rate: c_uint,
    pub period_size: snd_pcm_uframes_t,
    pub buffer_size: snd_pcm_uframes_t,
}

/// A callback that takes nothing but the PCM.
type Plain = Option<unsafe extern "C" fn(*mut Ioplug) -> c_int>;

/// `snd_pcm_ioplug_callback_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names are the header's, which documents them")]
pub struct IoplugCallbacks {
    pub start: Plain,
    pub stop: Plain,
    pub pointer: Option<unsafe extern "C" fn(*mut Ioplug) -> snd_pcm_sframes_t>,
    pub transfer: Option<
        unsafe extern "C" fn(
            *mut Ioplug,
            *const snd_pcm_channel_area_t,
            snd_pcm_uframes_t,
            snd_pcm_uframes_t,
        ) -> snd_pcm_sframes_t,
    >,
    pub close: Plain,
    pub hw_params: Option<unsafe extern "C" fn(*mut Ioplug, *mut snd_pcm_hw_params_t) -> c_int>,
    pub hw_free: Plain,
    pub sw_params: Option<unsafe extern "C" fn(*mut Ioplug, *mut snd_pcm_sw_params_t) -> c_int>,
    pub prepare: Plain,
    pub drain: Plain,
    pub pause: Option<unsafe extern "C" fn(*mut Ioplug, c_int) -> c_int>,
    pub resume: Plain,
    pub poll_descriptors_count: Plain,
    pub poll_descriptors: Option<unsafe extern "C" fn(*mut Ioplug, *mut pollfd, c_uint) -> c_int>,
    pub poll_revents: Option<unsafe extern "C" fn(*mut Ioplug, *mut pollfd, c_uint, *mut c_ushort) -> c_int>,
    pub dump: Option<unsafe extern "C" fn(*mut Ioplug, *mut snd_output_t)>,
    pub delay: Option<unsafe extern "C" fn(*mut Ioplug, *mut snd_pcm_sframes_t) -> c_int>,
    pub query_chmaps: Option<unsafe extern "C" fn(*mut Ioplug) -> *mut *mut snd_pcm_chmap_query_t>,
    pub get_chmap: Option<unsafe extern "C" fn(*mut Ioplug) -> *mut snd_pcm_chmap_t>,
    pub set_chmap: Option<unsafe extern "C" fn(*mut Ioplug, *const snd_pcm_chmap_t) -> c_int>,
}

/// `SND_CTL_EXT_VERSION`: 1.0.1.
pub const CTL_EXT_VERSION: c_uint = (1 << 16) | 1;
/// `SND_CTL_EXT_ACCESS_READ`.
pub const CTL_EXT_ACCESS_READ: c_uint = 1;
/// `SND_CTL_EXT_ACCESS_WRITE`.
pub const CTL_EXT_ACCESS_WRITE: c_uint = 1 << 1;
/// `SND_CTL_EXT_ACCESS_TLV_READ`.
pub const CTL_EXT_ACCESS_TLV_READ: c_uint = 1 << 4;
/// `SND_CTL_EXT_ACCESS_TLV_CALLBACK`: the handle holds a function, not a table.
pub const CTL_EXT_ACCESS_TLV_CALLBACK: c_uint = 1 << 28;
/// `SND_CTL_EXT_KEY_NOT_FOUND`.
pub const CTL_EXT_KEY_NOT_FOUND: c_ulong = c_ulong::MAX;

/// `snd_ctl_ext_tlv_rw_t`.
pub type TlvCallback = unsafe extern "C" fn(*mut CtlExt, c_ulong, c_int, c_uint, *mut c_uint, c_uint) -> c_int;

/// `snd_ctl_ext_t`.
#[repr(C)]
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are the header's, which documents them")]
pub struct CtlExt {
    pub version: c_uint,
    pub card_idx: c_int,
    pub id: [c_char; 16],
    pub driver: [c_char; 16],
    pub name: [c_char; 32],
    pub longname: [c_char; 80],
    pub mixername: [c_char; 80],
    pub poll_fd: c_int,
    pub callback: *const CtlExtCallbacks,
    pub private_data: *mut c_void,
    pub handle: *mut snd_ctl_t,
    pub nonblock: c_int,
    pub subscribed: c_int,
    /// A union with a pointer to a table, which this layer does not use.
    pub tlv: Option<TlvCallback>,
}

/// A callback for values of an element.
type Values<T> = Option<unsafe extern "C" fn(*mut CtlExt, c_ulong, *mut T) -> c_int>;

/// `snd_ctl_ext_callback_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names are the header's, which documents them")]
pub struct CtlExtCallbacks {
    pub close: Option<unsafe extern "C" fn(*mut CtlExt)>,
    pub elem_count: Option<unsafe extern "C" fn(*mut CtlExt) -> c_int>,
    pub elem_list: Option<unsafe extern "C" fn(*mut CtlExt, c_uint, *mut snd_ctl_elem_id_t) -> c_int>,
    pub find_elem: Option<unsafe extern "C" fn(*mut CtlExt, *const snd_ctl_elem_id_t) -> c_ulong>,
    pub free_key: Option<unsafe extern "C" fn(*mut CtlExt, c_ulong)>,
    pub get_attribute:
        Option<unsafe extern "C" fn(*mut CtlExt, c_ulong, *mut c_int, *mut c_uint, *mut c_uint) -> c_int>,
    pub get_integer_info:
        Option<unsafe extern "C" fn(*mut CtlExt, c_ulong, *mut c_long, *mut c_long, *mut c_long) -> c_int>,
    pub get_integer64_info: Option<unsafe extern "C" fn(*mut CtlExt, c_ulong, *mut i64, *mut i64, *mut i64) -> c_int>,
    pub get_enumerated_info: Values<c_uint>,
    pub get_enumerated_name: Option<unsafe extern "C" fn(*mut CtlExt, c_ulong, c_uint, *mut c_char, usize) -> c_int>,
    pub read_integer: Values<c_long>,
    pub read_integer64: Values<i64>,
    pub read_enumerated: Values<c_uint>,
    pub read_bytes: Option<unsafe extern "C" fn(*mut CtlExt, c_ulong, *mut c_uchar, usize) -> c_int>,
    pub read_iec958: Values<snd_aes_iec958_t>,
    pub write_integer: Values<c_long>,
    pub write_integer64: Values<i64>,
    pub write_enumerated: Values<c_uint>,
    pub write_bytes: Option<unsafe extern "C" fn(*mut CtlExt, c_ulong, *mut c_uchar, usize) -> c_int>,
    pub write_iec958: Values<snd_aes_iec958_t>,
    pub subscribe_events: Option<unsafe extern "C" fn(*mut CtlExt, c_int)>,
    pub read_event: Option<unsafe extern "C" fn(*mut CtlExt, *mut snd_ctl_elem_id_t, *mut c_uint) -> c_int>,
    pub poll_descriptors_count: Option<unsafe extern "C" fn(*mut CtlExt) -> c_int>,
    pub poll_descriptors: Option<unsafe extern "C" fn(*mut CtlExt, *mut pollfd, c_uint) -> c_int>,
    pub poll_revents: Option<unsafe extern "C" fn(*mut CtlExt, *mut pollfd, c_uint, *mut c_ushort) -> c_int>,
}

// The library itself is linked by `alsa-sys`.
#[expect(missing_docs, reason = "the names are the header's, which documents them")]
unsafe extern "C" {
    pub fn snd_pcm_ioplug_create(io: *mut Ioplug, name: *const c_char, stream: c_uint, mode: c_int) -> c_int;
    pub fn snd_pcm_ioplug_delete(io: *mut Ioplug) -> c_int;
    pub fn snd_pcm_ioplug_set_param_minmax(io: *mut Ioplug, kind: c_int, min: c_uint, max: c_uint) -> c_int;
    pub fn snd_pcm_ioplug_set_param_list(io: *mut Ioplug, kind: c_int, count: c_uint, list: *const c_uint) -> c_int;
    pub fn snd_pcm_ioplug_set_state(io: *mut Ioplug, state: c_uint) -> c_int;

    pub fn snd_ctl_ext_create(ext: *mut CtlExt, name: *const c_char, mode: c_int) -> c_int;

    pub static snd_lib_error: snd_lib_error_handler_t;
}
