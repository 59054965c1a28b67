//! Words in, lines out, and their hash.
use std::io::{BufWriter, Stdout, Write};

const FNV_OFFSET: u64 = 14695981039346656037;

/// FNV-1a, 64 bits.
fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(1099511628211))
}

pub fn hash_of(bytes: &[u8]) -> String {
    format!("{:016x}", fnv1a(FNV_OFFSET, bytes))
}

/// The hash and the first 16 bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    let first: String = bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{} {}", hash_of(bytes), if first.is_empty() { "-" } else { &first })
}

pub struct Transcript {
    hash: u64,
    out: BufWriter<Stdout>,
}

impl Transcript {
    pub fn new() -> Transcript {
        Transcript { hash: FNV_OFFSET, out: BufWriter::new(std::io::stdout()) }
    }
    pub fn line(&mut self, text: &str) {
        let line = format!("{text}\n");
        self.hash = fnv1a(self.hash, line.as_bytes());
        self.out.write_all(line.as_bytes()).expect("stdout takes the transcript");
    }
    pub fn finish(mut self) {
        writeln!(self.out, "digest {:016x}", self.hash).expect("stdout takes the transcript");
        self.out.flush().expect("stdout takes the transcript");
    }
}

pub fn numbers<T: std::str::FromStr>(list: &str) -> Vec<T> {
    list.split(',').map(number).collect()
}

pub fn number<T: std::str::FromStr>(word: &str) -> T {
    word.parse().unwrap_or_else(|_| panic!("{word} is not the number that is expected here"))
}

pub fn shape(word: &str) -> Vec<usize> {
    if word == "scalar" {
        Vec::new()
    } else {
        numbers(word)
    }
}

pub fn shape_text<T: ToString>(shape: &[T]) -> String {
    if shape.is_empty() {
        return "scalar".to_string();
    }
    shape.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

pub fn bytes(hex: &str) -> Vec<u8> {
    if hex == "-" {
        return Vec::new();
    }
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex digits")).collect()
}
