//! As any program that links a libsage outside the system's folders: the run-time search path.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("DEP_SAGE_RPATH").as_deref() == Ok("1") {
        if let Ok(libdir) = std::env::var("DEP_SAGE_LIBDIR") {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{libdir}");
        }
    }
}
