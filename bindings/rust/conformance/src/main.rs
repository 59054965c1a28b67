//! The conformance runner of the Rust binding: `sage-conformance FOLDER PLUGIN`. tests/vectors/README.md says what it
//! does; its transcript must be that of the C runner.
mod attention;
mod case;
mod model;
mod quantize;
mod scenarios;
mod sparse;
mod text;

use case::Case;
use std::path::Path;
use text::Transcript;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() != 3 {
        eprintln!("usage: sage-conformance FOLDER PLUGIN");
        std::process::exit(2);
    }
    // Callbacks panic on purpose here.
    std::panic::set_hook(Box::new(|panic| {
        if !panic.to_string().contains(scenarios::ON_PURPOSE) {
            eprintln!("{panic}");
        }
    }));
    let folder = Path::new(&arguments[1]);
    let mut transcript = Transcript::new();
    print_constants(&read(&folder.join("constants.txt")), &mut transcript);
    let vectors = read(&folder.join("conformance.txt"));
    let mut lines = vectors.lines();
    assert_eq!(lines.next(), Some("sage-vectors 1"), "conformance.txt is of another version than 1");
    let mut case = Case::new("", folder, &arguments[2]);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (step, rest) = line.split_once(' ').unwrap_or((line, ""));
        if step == "case" {
            case = Case::new(rest, folder, &arguments[2]);
        } else {
            case.step(step, rest, &mut transcript);
        }
    }
    transcript.finish();
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn print_constants(names: &str, transcript: &mut Transcript) {
    for line in names.lines() {
        let name = line.split(' ').nth(1).expect("constants.txt: a line is `constant NAME VALUE`");
        match sage_engine::sys::CONSTANTS.iter().find(|constant| constant.0 == name) {
            Some((name, value)) => transcript.line(&format!("constant {name} {value}")),
            None => transcript.line(&format!("constant {name} missing")),
        }
    }
}
