//! Recordings that must hold their source bit for bit, compared cycle by cycle: a cycle that was missed is no fault of the way,
//! a wrong sample is.

/// A stretch of a recording that is, bit for bit, a stretch of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its first frame in the recording.
    pub at: usize,
    /// Its first frame in the source.
    pub from: usize,
    /// Its length in frames.
    pub frames: usize,
}

/// Cuts a recording into cycles of `cycle` frames and follows the source through all that are not silent. Between two runs the
/// recording is silent or lacks a part of the source; a run begins and ends with a cycle, but for zeros at the very beginning and end
/// of the sound.
///
/// # Errors
/// The first frame of the first cycle that is no stretch of the source, or one that comes before what was recorded already.
pub fn runs(recording: &[f32], source: &[f32], cycle: usize) -> Result<Vec<Run>, usize> {
    let mut runs: Vec<Run> = Vec::new();
    let mut next = 0;
    for (number, block) in recording.chunks(cycle).enumerate() {
        let at = number * cycle;
        let Some(begin) = block.iter().position(|&sample| sample != 0.0) else { continue };
        // The sound may begin and end inside of a cycle.
        let begin = if runs.is_empty() { begin } else { 0 };
        let last = block.iter().rposition(|&sample| sample != 0.0).map_or(block.len(), |last| last + 1);
        let is_at = |from: usize, sound: &[f32]| source.get(from..from + sound.len()).is_some_and(|part| part == sound);
        let find = |sound: &[f32]| (next..source.len()).find(|&from| is_at(from, sound));
        let found = find(&block[begin..]).map(|from| (from, block.len() - begin));
        // Followed by silence, it may be the end of the source.
        let found = found.or_else(|| {
            let sound = &block[begin..last];
            find(sound).filter(|from| from + sound.len() == source.len()).map(|from| (from, sound.len()))
        });
        let (from, frames) = found.ok_or(at)?;
        match runs.last_mut() {
            Some(run) if run.at + run.frames == at + begin && run.from + run.frames == from => run.frames += frames,
            _ => runs.push(Run { at: at + begin, from, frames }),
        }
        next = from + frames;
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::noise;

    fn source() -> Vec<f32> {
        noise(48_000, 1, 0.5, 0.5, 8).channels.remove(0)
    }

    #[test]
    fn an_exact_recording_is_one_run() {
        let source = source();
        let recording = [&[0.0; 300], &source[..], &[0.0; 600]].concat();
        assert_eq!(runs(&recording, &source, 256), Ok(vec![Run { at: 300, from: 0, frames: source.len() }]));
        assert_eq!(runs(&[0.0; 1000], &source, 256), Ok(vec![]));
    }

    #[test]
    fn missed_cycles_part_runs() {
        let source = source();
        // One of silence, which the sound waits for; and one that was not recorded.
        let recording = [&source[..512], &[0.0; 256], &source[512..1024], &source[1280..2048]].concat();
        let run = |at, from, frames| Run { at, from, frames };
        assert_eq!(runs(&recording, &source, 256), Ok(vec![run(0, 0, 512), run(768, 512, 512), run(1280, 1280, 768)]));
    }

    #[test]
    fn wrong_samples_are_found() {
        let source = source();
        let mut recording = source.clone();
        recording[5_000] += 1.0 / 8_388_608.0;
        assert_eq!(runs(&recording, &source, 256), Err(5_000 / 256 * 256));
        let twice = [&source[..512], &source[256..1024]].concat();
        assert_eq!(runs(&twice, &source, 256), Err(512), "a cycle that is played twice");
        let mut dropped = source.clone();
        dropped.remove(5_000);
        assert_eq!(runs(&dropped, &source, 256), Err(5_000 / 256 * 256));
    }
}
