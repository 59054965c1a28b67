//! This package's tests, examples and doc examples find libsage where it was linked. A program of yours that links a
//! library outside the system's folders does the same: depend on sage-engine-sys and copy these lines.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("DEP_SAGE_RPATH").as_deref() == Ok("1") {
        if let Ok(libdir) = std::env::var("DEP_SAGE_LIBDIR") {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{libdir}");
        }
    }
}
