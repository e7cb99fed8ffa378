//! Links the module so that it is never unmapped: PipeWire unloads modules while a thread of ours may still be returning
//! from its last call, and code that has vanished under a running thread crashes the whole process.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rerun-if-changed=build.rs");
}
