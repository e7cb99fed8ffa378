//! The volume of a node, as desktops see and set it, and how a stream keeps it from being applied to its samples.
//!
//! The adapter around a stream multiplies its samples by `channelVolumes` unless it has been given `softVolumes`, which then count instead,
//! until the next `channelVolumes` come without them (PipeWire 0.3.65 and 1.4, `audioconvert.c`). So a stream whose volume is somebody
//! else's business answers every change with the same again and soft volumes of 1, from inside the callback that tells it. In 1.4 that takes
//! the place of what was set; in 0.3.65 the adapter has applied it some microseconds before, so that a cycle which began just then
//! would be quieter, never louder than was asked for.

use libspa::pod::deserialize::PodDeserializer;
use libspa::pod::{Value, ValueArray};
use libspa_sys as spa;
use pipewire_sys as pw;

use crate::error::{Error, check};
use crate::format::MAX_CHANNELS;

/// What somebody has set: what is `None` or empty was not mentioned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeVolume {
    /// Linear gain of each channel; 1.0 is unchanged. Desktops show the cube root.
    pub channels: Vec<f32>,
    /// Mute.
    pub mute: Option<bool>,
}

impl NodeVolume {
    /// Takes over what a later setting mentions.
    pub(crate) fn take_over(&mut self, later: &Self) {
        if !later.channels.is_empty() {
            self.channels.clone_from(&later.channels);
        }
        self.mute = later.mute.or(self.mute);
    }

    /// Reads it out of a `Props` parameter; `None` when it mentions neither.
    ///
    /// # Safety
    /// `pod` points to a valid pod.
    pub(crate) unsafe fn parse(pod: *const spa::spa_pod) -> Option<Self> {
        // SAFETY: a pod's size is that of its body, which follows its header.
        let bytes = unsafe {
            let length = (*pod).size as usize + size_of::<spa::spa_pod>();
            std::slice::from_raw_parts(pod.cast::<u8>(), length)
        };
        let (_, Value::Object(object)) = PodDeserializer::deserialize_any_from(bytes).ok()? else { return None };
        let mut volume = Self::default();
        for property in object.properties {
            match (property.key, property.value) {
                (spa::SPA_PROP_channelVolumes, Value::ValueArray(ValueArray::Float(channels))) => {
                    volume.channels = channels;
                    volume.channels.truncate(MAX_CHANNELS);
                }
                (spa::SPA_PROP_mute, Value::Bool(mute)) => volume.mute = Some(mute),
                _ => {}
            }
        }
        (volume != Self::default()).then_some(volume)
    }

    /// Sets it on the node of a stream with `width` channels, with soft volumes of 1.
    ///
    /// # Safety
    /// `stream` is live and connected, and this its main loop.
    pub(crate) unsafe fn set_unscaled(&self, stream: *mut pw::pw_stream, width: usize) -> Result<(), Error> {
        // Every control that is mentioned, as the call wants them: id, count, values. Soft volumes always are.
        let mut ones = [1.0f32; MAX_CHANNELS];
        let mut channels = [0.0f32; MAX_CHANNELS];
        let given = self.channels.len().min(MAX_CHANNELS);
        channels[..given].copy_from_slice(&self.channels[..given]);
        let mut mute = [f32::from(u8::from(self.mute == Some(true)))];
        let count = |count: usize| u32::try_from(count).unwrap_or(0);
        let soft = (spa::SPA_PROP_softVolumes, count(width.clamp(1, MAX_CHANNELS)), ones.as_mut_ptr());
        let volume = (spa::SPA_PROP_channelVolumes, count(given), channels.as_mut_ptr());
        let muted = (spa::SPA_PROP_mute, 1u32, mute.as_mut_ptr());
        // SAFETY: the stream is as promised; each id is followed by the count of values behind the pointer, which the call reads, and a
        // zero ends the list.
        let result = unsafe {
            match (given > 0, self.mute.is_some()) {
                (true, true) => pw::pw_stream_set_control(
                    stream, volume.0, volume.1, volume.2, muted.0, muted.1, muted.2, soft.0, soft.1, soft.2, 0u32,
                ),
                (true, false) => {
                    pw::pw_stream_set_control(stream, volume.0, volume.1, volume.2, soft.0, soft.1, soft.2, 0u32)
                }
                (false, true) => {
                    pw::pw_stream_set_control(stream, muted.0, muted.1, muted.2, soft.0, soft.1, soft.2, 0u32)
                }
                (false, false) => pw::pw_stream_set_control(stream, soft.0, soft.1, soft.2, 0u32),
            }
        };
        check("set the volume of the node", result).map(drop)
    }
}
