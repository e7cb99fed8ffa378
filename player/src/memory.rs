//! How this program takes memory from the system. Only for the process of its own: guests leave their hosts' allocator alone.

/// Tells the C library's allocator to keep little in reserve; call it before there are threads.
///
/// Audio threads do not allocate, and the others seldom do and never for long: one arena serves them all, and what is large is given back as soon
/// as it is free.
pub fn be_sparing() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_MMAP_THRESHOLD, 64 * 1024),
        (libc::M_TRIM_THRESHOLD, 64 * 1024),
        (libc::M_TOP_PAD, 16 * 1024),
    ] {
        // SAFETY: mallopt takes two numbers, and may be called at any time. One that it does not know is refused, and nothing depends on it.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Gives back what is free between what is not: after the beginning of something, which takes more than its going on. Only where nothing
/// plays: meanwhile the kernel keeps every thread waiting that touches memory anew.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a number and may be called at any time.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Lets go of code that has run, of which most was for the beginning. What runs again is mapped again as it is touched, a microsecond for each
/// piece: that is for when no sound is due yet.
pub fn let_go_of_code() {
    // SAFETY: `unmap_code` is called with what it expects, and takes no data.
    unsafe { libc::dl_iterate_phdr(Some(unmap_code), std::ptr::null_mut()) };
}

/// An entry of a library's dynamic section (`Elf64_Dyn`, or `Elf32_Dyn`).
#[repr(C)]
struct Dynamic {
    tag: isize,
    value: usize,
}

/// The end of a dynamic section.
const DT_NULL: isize = 0;
/// The loader has written into what is not writable otherwise.
const DT_TEXTREL: isize = 22;
/// Flags, with the one that says the same.
const DT_FLAGS: isize = 30;
const DF_TEXTREL: usize = 4;

/// Lets go of the code and the constants of one library, or of the program itself: what is needed further is mapped again from the
/// page cache when it is touched, and what has only begun things stays away.
unsafe extern "C" fn unmap_code(library: *mut libc::dl_phdr_info, _: usize, _: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the loader hands out a description that is valid during the call, and as many headers as it says.
    let (base, headers) = unsafe {
        let library = &*library;
        (library.dlpi_addr as usize, std::slice::from_raw_parts(library.dlpi_phdr, usize::from(library.dlpi_phnum)))
    };
    let dynamic = headers.iter().find(|header| header.p_type == libc::PT_DYNAMIC);
    if let Some(dynamic) = dynamic {
        let mut entry = (base + dynamic.p_vaddr as usize) as *const Dynamic;
        loop {
            // SAFETY: the header says where the library's dynamic section is, and it ends with DT_NULL, behind which nothing is read.
            let Dynamic { tag, value } = unsafe { &*entry };
            match *tag {
                DT_NULL => break,
                DT_TEXTREL => return 0,
                DT_FLAGS if value & DF_TEXTREL != 0 => return 0,
                _ => {}
            }
            // SAFETY: this was not the last one.
            entry = unsafe { entry.add(1) };
        }
    }
    // SAFETY: a question to the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0) {
        let start = base + header.p_vaddr as usize;
        let first = start / page * page;
        let length = start + header.p_memsz as usize - first;
        // SAFETY: a segment that the loader has mapped from a file, for this process alone, and has never written to: what is read afterwards is what
        // was there before. The pages of the vDSO, which is no file, come back as they were, too.
        unsafe { libc::madvise(first as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
    0
}
