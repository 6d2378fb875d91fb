//! Two properties of `libomni_bridge.so` that no attribute in the source can give it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // A program linked with it asks the loader for this name, wherever the file lay at link time.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libomni_bridge.so");
        // Its runtime's threads and a possible interpreter run its code for as long as the process lives:
        // a dlclose must not take the code away from under them.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
