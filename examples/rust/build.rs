//! Where libsage is not in one of the system's folders, the program is told where: a build tree, ~/.local, /opt.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("DEP_SAGE_RPATH").as_deref() == Ok("1") {
        if let Ok(libdir) = std::env::var("DEP_SAGE_LIBDIR") {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{libdir}");
        }
    }
}
