//! Links the plugin so that it is never unmapped: alsa-lib unloads plugins when a program frees its configuration, while a
//! thread of ours may still be at work or returning from its last call.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rerun-if-changed=build.rs");
}
