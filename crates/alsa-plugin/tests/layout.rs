//! The hand-written structs against the installed headers: a C program tells sizes, offsets and numbers.

use std::{
    fs,
    mem::{offset_of, size_of},
    process::Command,
};

use audera_alsa_plugin::sys::{self, CtlExt, CtlExtCallbacks, Ioplug, IoplugCallbacks};

/// `("what C prints", what Rust has)` for fields of a struct, which are called the same.
macro_rules! fields {
    ($rust:ty, $c:literal, $($field:ident),+ $(,)?) => {
        vec![
            (format!("sizeof({})", $c), size_of::<$rust>()),
            $((format!("offsetof({}, {})", $c, stringify!($field)), offset_of!($rust, $field)),)+
        ]
    };
}

fn expected() -> Vec<(String, usize)> {
    let io = fields!(
        Ioplug,
        "snd_pcm_ioplug_t",
        version,
        name,
        flags,
        poll_fd,
        poll_events,
        mmap_rw,
        callback,
        private_data,
        pcm,
        stream,
        state,
        appl_ptr,
        hw_ptr,
        nonblock,
        access,
        format,
        channels,
        rate,
        period_size,
        buffer_size,
    );
    let callbacks = fields!(
        IoplugCallbacks,
        "snd_pcm_ioplug_callback_t",
        start,
        stop,
        pointer,
        transfer,
        close,
        hw_params,
        hw_free,
        sw_params,
        prepare,
        drain,
        pause,
        resume,
        poll_descriptors_count,
        poll_descriptors,
        poll_revents,
        dump,
        delay,
        query_chmaps,
        get_chmap,
        set_chmap,
    );
    let mixer = fields!(
        CtlExt,
        "snd_ctl_ext_t",
        version,
        card_idx,
        id,
        driver,
        name,
        longname,
        mixername,
        poll_fd,
        callback,
        private_data,
        handle,
        nonblock,
        subscribed,
        tlv,
    );
    let mixer_callbacks = fields!(
        CtlExtCallbacks,
        "snd_ctl_ext_callback_t",
        close,
        elem_count,
        elem_list,
        find_elem,
        free_key,
        get_attribute,
        get_integer_info,
        get_integer64_info,
        get_enumerated_info,
        get_enumerated_name,
        read_integer,
        read_integer64,
        read_enumerated,
        read_bytes,
        read_iec958,
        write_integer,
        write_integer64,
        write_enumerated,
        write_bytes,
        write_iec958,
        subscribe_events,
        read_event,
        poll_descriptors_count,
        poll_descriptors,
        poll_revents,
    );
    let numbers = [
        ("SND_CTL_EXT_VERSION", sys::CTL_EXT_VERSION as usize),
        ("SND_CTL_EXT_ACCESS_READ", sys::CTL_EXT_ACCESS_READ as usize),
        ("SND_CTL_EXT_ACCESS_WRITE", sys::CTL_EXT_ACCESS_WRITE as usize),
        ("SND_CTL_EXT_ACCESS_TLV_READ", sys::CTL_EXT_ACCESS_TLV_READ as usize),
        ("SND_CTL_EXT_ACCESS_TLV_CALLBACK", sys::CTL_EXT_ACCESS_TLV_CALLBACK as usize),
        ("SND_CTL_EXT_KEY_NOT_FOUND", sys::CTL_EXT_KEY_NOT_FOUND as usize),
        ("sizeof(snd_ctl_ext_key_t)", size_of::<std::ffi::c_ulong>()),
        ("SND_PCM_IOPLUG_VERSION", sys::IOPLUG_VERSION as usize),
        ("SND_PCM_IOPLUG_FLAG_MONOTONIC", sys::IOPLUG_FLAG_MONOTONIC as usize),
        ("SND_PCM_IOPLUG_FLAG_BOUNDARY_WA", sys::IOPLUG_FLAG_BOUNDARY_WA as usize),
        ("SND_PCM_IOPLUG_HW_ACCESS", sys::IOPLUG_HW_ACCESS as usize),
        ("SND_PCM_IOPLUG_HW_FORMAT", sys::IOPLUG_HW_FORMAT as usize),
        ("SND_PCM_IOPLUG_HW_CHANNELS", sys::IOPLUG_HW_CHANNELS as usize),
        ("SND_PCM_IOPLUG_HW_RATE", sys::IOPLUG_HW_RATE as usize),
        ("SND_PCM_IOPLUG_HW_PERIOD_BYTES", sys::IOPLUG_HW_PERIOD_BYTES as usize),
        ("SND_PCM_IOPLUG_HW_BUFFER_BYTES", sys::IOPLUG_HW_BUFFER_BYTES as usize),
        ("SND_PCM_IOPLUG_HW_PERIODS", sys::IOPLUG_HW_PERIODS as usize),
        // Types that stand behind others' names in the hand-written structs.
        ("sizeof(snd_pcm_state_t)", size_of::<std::ffi::c_uint>()),
        ("sizeof(snd_pcm_uframes_t)", size_of::<alsa_sys::snd_pcm_uframes_t>()),
        ("sizeof(snd_pcm_chmap_t)", size_of::<std::ffi::c_uint>()),
        ("offsetof(snd_pcm_chmap_query_t, map)", size_of::<std::ffi::c_uint>()),
        ("sizeof(((snd_pcm_chmap_t *)0)->pos[0])", size_of::<std::ffi::c_uint>()),
    ];
    let numbers = numbers.into_iter().map(|(name, value)| (name.to_owned(), value));
    io.into_iter().chain(callbacks).chain(mixer).chain(mixer_callbacks).chain(numbers).collect()
}

/// What the C compiler says to these expressions.
fn asked(expressions: &[String]) -> Vec<usize> {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("layout.c"), folder.path().join("layout"));
    let prints = expressions.iter().map(|what| format!("    printf(\"%zu\\n\", (size_t)({what}));\n"));
    let text = format!(
        "#include <stddef.h>\n#include <stdio.h>\n#include <alsa/asoundlib.h>\n#include <alsa/pcm_external.h>\n#include <alsa/control_external.h>\n\
         int main(void) {{\n{}    return 0;\n}}\n",
        prints.collect::<String>()
    );
    fs::write(&source, text).unwrap();
    let built = Command::new("cc").arg("-o").arg(&program).arg(&source).output().expect("cc is installed");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let said = Command::new(&program).output().unwrap().stdout;
    String::from_utf8(said).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn the_structs_are_those_of_the_headers() {
    let expected = expected();
    let names: Vec<String> = expected.iter().map(|(name, _)| name.clone()).collect();
    let found: Vec<(String, usize)> = names.iter().cloned().zip(asked(&names)).collect();
    assert_eq!(found, expected);
}
