//! Channel maps, in the memory in which alsa-lib wants them.

use std::{ffi::c_uint, ptr};

use alsa_sys::{snd_pcm_chmap_query_t, snd_pcm_chmap_t};

/// How far an application may change a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelMapKind {
    /// Not at all.
    Fixed,
    /// The channels may be swapped for each other.
    Any,
    /// Pairs may be swapped for each other.
    Pairs,
}

/// What the channels are, for one number of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelMap {
    /// How far it may be changed.
    pub kind: ChannelMapKind,
    /// Positions of alsa-lib (`SND_CHMAP_FL`, ..), one for each channel.
    pub positions: Vec<u32>,
}

/// A map for the application to free; null when memory is out.
pub(super) fn allocate(positions: &[u32]) -> *mut snd_pcm_chmap_t {
    // The header's struct: the number of channels, and a position for each.
    let words = allocate_words(positions.len() + 1);
    if !words.is_null() {
        // SAFETY: as long as asked for.
        unsafe { write_map(words, positions) };
    }
    words.cast()
}

/// A list of maps for alsa-lib to free, with a null behind it; null when memory is out or there are none.
pub(super) fn allocate_all(maps: &[ChannelMap]) -> *mut *mut snd_pcm_chmap_query_t {
    if maps.is_empty() {
        return ptr::null_mut();
    }
    // Cleared, so that it ends wherever memory does.
    // SAFETY: takes no pointers.
    let list: *mut *mut snd_pcm_chmap_query_t =
        unsafe { libc::calloc(maps.len() + 1, size_of::<*mut snd_pcm_chmap_query_t>()) }.cast();
    if list.is_null() {
        return list;
    }
    for (n, map) in maps.iter().enumerate() {
        // The kind, then the map.
        let words = allocate_words(map.positions.len() + 2);
        if words.is_null() {
            break;
        }
        // SAFETY: as long as asked for, and `n` is a place in the list.
        unsafe {
            *words = match map.kind {
                ChannelMapKind::Fixed => alsa_sys::SND_CHMAP_TYPE_FIXED,
                ChannelMapKind::Any => alsa_sys::SND_CHMAP_TYPE_VAR,
                ChannelMapKind::Pairs => alsa_sys::SND_CHMAP_TYPE_PAIRED,
            };
            write_map(words.add(1), &map.positions);
            *list.add(n) = words.cast();
        }
    }
    list
}

/// The positions of a map.
///
/// # Safety
/// `map` is null or a map of alsa-lib's.
pub(super) unsafe fn positions(map: *const snd_pcm_chmap_t) -> Vec<u32> {
    let words: *const c_uint = map.cast();
    if words.is_null() {
        return Vec::new();
    }
    // SAFETY: the first word is the number of those behind it.
    unsafe { std::slice::from_raw_parts(words.add(1), *words as usize) }.to_vec()
}

fn allocate_words(count: usize) -> *mut c_uint {
    // SAFETY: takes no pointers. alsa-lib and applications free it by `free`.
    unsafe { libc::calloc(count, size_of::<c_uint>()) }.cast()
}

/// # Safety
/// There is room for a word more than there are positions.
unsafe fn write_map(words: *mut c_uint, positions: &[u32]) {
    // SAFETY: the caller vouches for the room.
    unsafe {
        *words = positions.len() as c_uint;
        ptr::copy_nonoverlapping(positions.as_ptr(), words.add(1), positions.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_as_alsa_lib_reads_and_frees_them() {
        let map = allocate(&[3, 4]);
        // SAFETY: just made.
        unsafe {
            assert_eq!((*map).channels, 2);
            assert_eq!(positions(map), [3, 4]);
            libc::free(map.cast());
        }
        let list = allocate_all(&[
            ChannelMap { kind: ChannelMapKind::Fixed, positions: vec![2] },
            ChannelMap { kind: ChannelMapKind::Pairs, positions: vec![3, 4] },
        ]);
        // SAFETY: just made; alsa-lib frees what plugins give.
        unsafe {
            let second = *list.add(1);
            assert_eq!(((**list).type_, (**list).map.channels), (alsa_sys::SND_CHMAP_TYPE_FIXED, 1));
            assert_eq!(((*second).type_, (*second).map.channels), (alsa_sys::SND_CHMAP_TYPE_PAIRED, 2));
            assert_eq!(positions(&raw const (*second).map), [3, 4]);
            assert!((*list.add(2)).is_null());
            alsa_sys::snd_pcm_free_chmaps(list);
        }
        assert!(allocate_all(&[]).is_null());
    }
}
