//! An element of a card's mixer: what the rest of the mixer needs of it, and the real one behind alsa-lib.

use alsa::Output;
use alsa::mixer::{Mixer, Selem, SelemChannelId, SelemId};
use alsa::poll::{Descriptors, pollfd};

use super::course::Position;
use super::{ElementName, MixerError, MixerName};

/// An element that is there.
pub(super) trait Element {
    /// Its least and its largest value.
    fn range(&self) -> (i64, i64);
    /// How loud a value is, in hundredths of a dB, if the element tells.
    fn millibels(&self, raw: i64) -> Option<i64>;
    /// Where it is now.
    fn position(&mut self) -> Result<Position, MixerError>;
    /// Sets all channels.
    fn set_volume(&mut self, raw: i64) -> Result<(), MixerError>;
    /// Lets sound through, or does not.
    fn set_switch(&mut self, on: bool) -> Result<(), MixerError>;
    /// What becomes readable when somebody has changed it.
    fn descriptors(&self) -> Result<Vec<pollfd>, MixerError>;
}

/// Where elements come from.
pub(super) trait Cards: Send + 'static {
    type Element: Element;

    /// The element, if it is there.
    fn open(&mut self) -> Result<Self::Element, MixerError>;
}

/// The cards of this machine.
#[derive(Debug)]
pub(super) struct AlsaCards(pub MixerName);

impl Cards for AlsaCards {
    type Element = AlsaElement;

    fn open(&mut self) -> Result<AlsaElement, MixerError> {
        let name = self.0.clone();
        // alsa-lib would write to standard error each time that a card is looked for. From here on it writes there, on this thread.
        let said = Output::local_error_handler();
        let mixer = Mixer::new(&name.device, true).map_err(|error| {
            tracing::debug!("alsa-lib says: {}", said.map(|said| said.borrow().to_string()).unwrap_or_default());
            MixerError::NotOpen { device: name.device.clone(), detail: error.to_string() }
        })?;
        let element = AlsaElement { mixer, name };
        if element.selem()?.has_playback_volume() { Ok(element) } else { Err(element.not_there()) }
    }
}

/// An element behind alsa-lib's simple mixer.
#[derive(Debug)]
pub(super) struct AlsaElement {
    mixer: Mixer,
    name: MixerName,
}

impl AlsaElement {
    fn selem(&self) -> Result<Selem<'_>, MixerError> {
        self.mixer
            .find_selem(&SelemId::new(&self.name.element.name, self.name.element.index))
            .ok_or_else(|| self.not_there())
    }

    /// That there is no such element, and which ones there are.
    fn not_there(&self) -> MixerError {
        let fit = self.mixer.iter().filter_map(Selem::new).filter(Selem::has_playback_volume);
        let there: Vec<String> = fit
            .map(|selem| {
                let id = selem.get_id();
                let name = id.get_name().unwrap_or_default().to_owned();
                format!("\"{}\"", ElementName { name, index: id.get_index() })
            })
            .collect();
        MixerError::NoElement {
            name: self.name.clone(),
            there: if there.is_empty() { "none".to_owned() } else { there.join(", ") },
        }
    }

    fn failed(&self, error: &alsa::Error) -> MixerError {
        MixerError::Failed { name: self.name.clone(), detail: error.to_string() }
    }
}

impl Element for AlsaElement {
    fn range(&self) -> (i64, i64) {
        self.selem().map_or((0, 0), |selem| selem.get_playback_volume_range())
    }

    fn millibels(&self, raw: i64) -> Option<i64> {
        self.selem().ok()?.ask_playback_vol_db(raw).ok().map(|millibel| millibel.0)
    }

    fn position(&mut self) -> Result<Position, MixerError> {
        // What alsa-lib knows is as of the last event that was read.
        self.mixer.handle_events().map_err(|error| self.failed(&error))?;
        let selem = self.selem()?;
        let channels: Vec<SelemChannelId> = SelemChannelId::all()
            .iter()
            .copied()
            .filter(|channel| *channel != SelemChannelId::Unknown && selem.has_playback_channel(*channel))
            .collect();
        let volumes: Result<Vec<i64>, _> = channels.iter().map(|channel| selem.get_playback_volume(*channel)).collect();
        let volumes = volumes.map_err(|error| self.failed(&error))?;
        let switches: Vec<bool> = if selem.has_playback_switch() {
            let read: Result<Vec<i32>, _> =
                channels.iter().map(|channel| selem.get_playback_switch(*channel)).collect();
            read.map_err(|error| self.failed(&error))?.into_iter().map(|on| on != 0).collect()
        } else {
            Vec::new()
        };
        let same = |pair: &[bool]| pair[0] == pair[1];
        Ok(Position {
            raw: volumes.iter().copied().max().unwrap_or_default(),
            even: volumes.windows(2).all(|pair| pair[0] == pair[1]),
            on: (!switches.is_empty()).then(|| switches.contains(&true)),
            alike: switches.windows(2).all(same),
        })
    }

    fn set_volume(&mut self, raw: i64) -> Result<(), MixerError> {
        self.selem()?.set_playback_volume_all(raw).map_err(|error| self.failed(&error))
    }

    fn set_switch(&mut self, on: bool) -> Result<(), MixerError> {
        self.selem()?.set_playback_switch_all(i32::from(on)).map_err(|error| self.failed(&error))
    }

    fn descriptors(&self) -> Result<Vec<pollfd>, MixerError> {
        self.mixer.get().map_err(|error| self.failed(&error))
    }
}
