//! Nothing of the C API is missing from the safe crate.
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_exported_function_has_its_place() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let declared = std::fs::read_to_string(package.join("../sage-engine-sys/src/functions.rs")).unwrap();
    let mut functions: BTreeSet<&str> =
        declared.split("pub fn ").skip(1).map(|rest| rest.split('(').next().unwrap()).collect();
    assert!(functions.len() > 50, "the declarations are read wrongly");
    for file in std::fs::read_dir(package.join("src")).unwrap() {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let called = |name: &str| source.contains(&format!("sys::{name}("));
        functions.retain(|name| !called(name));
    }
    assert!(functions.is_empty(), "not used by sage-engine: {functions:?}");
}

#[test]
fn the_library_says_who_it_is() {
    let (major, _) = sage_engine::abi_version();
    assert_eq!(major, sage_engine::sys::SAGE_ABI_MAJOR);
    assert!(sage_engine::version().split('.').count() >= 3 && !sage_engine::build_info().is_empty());
}
