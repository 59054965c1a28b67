//! Finds libsage, which is never compiled here: the folder named by SAGE_LIB_DIR, or what pkg-config says of
//! `sage-engine`. Both a build tree (PKG_CONFIG_PATH=BUILD_FOLDER) and an installation answer there.
//!
//! Dependents are told by `links = "sage"`: DEP_SAGE_LIBDIR, DEP_SAGE_INCLUDE and DEP_SAGE_RPATH (1 where the folder
//! is not one of the system's, so that a program needs a run-time search path) are set in their build scripts.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, process};

const OLDEST: &str = "0.1";

fn main() {
    for name in ["SAGE_LIB_DIR", "SAGE_INCLUDE_DIR", "PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR", "DOCS_RS"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("DOCS_RS").is_some() {
        return; // documentation is made without the library
    }
    let (libdir, include) = match env::var_os("SAGE_LIB_DIR") {
        Some(folder) => (in_folder(PathBuf::from(folder)), env::var("SAGE_INCLUDE_DIR").ok()),
        None => by_pkg_config(),
    };
    println!("cargo:rustc-link-search=native={libdir}");
    println!("cargo:rustc-link-lib=dylib=sage");
    println!("cargo:libdir={libdir}");
    if let Some(include) = include {
        println!("cargo:include={include}");
    }
    // Of this package's own tests; a build script cannot say it for others, they use DEP_SAGE_RPATH.
    let needs_rpath = !is_system(Path::new(&libdir));
    println!("cargo:rpath={}", u8::from(needs_rpath));
    if needs_rpath {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{libdir}");
    }
}

fn in_folder(folder: PathBuf) -> String {
    if !folder.join("libsage.so").exists() {
        fail(&format!("SAGE_LIB_DIR is {}, and there is no libsage.so in it", folder.display()));
    }
    plain(folder.to_str().unwrap_or_else(|| fail("SAGE_LIB_DIR is not UTF-8")))
}

/// Without the `..` of a file that can be moved about.
fn plain(folder: &str) -> String {
    let canonical = Path::new(folder).canonicalize().ok();
    canonical.as_deref().and_then(Path::to_str).unwrap_or(folder).to_string()
}

fn by_pkg_config() -> (String, Option<String>) {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_string());
    let where_looked = match env::var("PKG_CONFIG_PATH") {
        Ok(path) => format!("PKG_CONFIG_PATH={path} and {program}'s own folders"),
        Err(_) => format!("{program}'s own folders; PKG_CONFIG_PATH is not set"),
    };
    // Three calls: pkg-config takes --atleast-version and --variable one at a time.
    let found = match ask(&program, &["--modversion", "sage-engine"]) {
        Ok(version) => version,
        Err(why) => fail(&format!("libsage was not found: `{program} sage-engine`: {why}\nlooked in {where_looked}")),
    };
    if ask(&program, &[&format!("--atleast-version={OLDEST}"), "sage-engine"]).is_err() {
        fail(&format!("libsage {found} was found, {OLDEST} or newer is needed\nlooked in {where_looked}"));
    }
    let variable = |name: &str| ask(&program, &[&format!("--variable={name}"), "sage-engine"]);
    match variable("libdir") {
        Ok(libdir) if !libdir.is_empty() => (plain(&libdir), variable("includedir").ok()),
        _ => fail(&format!("sage-engine.pc has no libdir\nlooked in {where_looked}")),
    }
}

fn ask(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program} could not be started ({error}); install pkg-config"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(complaint.lines().next().unwrap_or("it does not know that module").to_string());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

fn is_system(libdir: &Path) -> bool {
    let plain =
        ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"].iter().any(|folder| libdir == Path::new(folder));
    // Debian's /usr/lib/x86_64-linux-gnu
    plain || (libdir.parent() == Some(Path::new("/usr/lib")) && libdir.to_string_lossy().contains("-linux-"))
}

fn fail(what: &str) -> ! {
    eprintln!("sage-engine-sys: {what}");
    eprintln!("Install the package libsage-dev, or set PKG_CONFIG_PATH to the folder of sage-engine.pc (a build tree");
    eprintln!("is one), or SAGE_LIB_DIR to the folder of libsage.so.");
    process::exit(1);
}
