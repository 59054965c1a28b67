//! What is declared here against abi/layout.txt, which is made from the headers: each struct's size, alignment and
//! fields, each function's prototype, and that nothing of it is missing.
use sage_engine_sys::*;
use std::collections::BTreeMap;
use std::mem::{align_of, size_of, MaybeUninit};
use std::path::Path;

/// (name, offset, size) of each field.
type Fields = Vec<(String, usize, usize)>;
struct Struct {
    size: usize,
    alignment: usize,
    fields: Fields,
}

fn size_behind<T>(_: *const T) -> usize {
    size_of::<T>()
}

macro_rules! structs {
    ($($name:ident { $($field:ident),* })*) => {{
        let mut all = BTreeMap::new();
        $({
            let value = MaybeUninit::<$name>::uninit();
            let start = value.as_ptr();
            let mut fields = Fields::new();
            $(
                // Addresses only; nothing is read.
                let field = unsafe { std::ptr::addr_of!((*start).$field) };
                fields.push((stringify!($field).to_string(), field as usize - start as usize, size_behind(field)));
            )*
            all.insert(stringify!($name), Struct { size: size_of::<$name>(), alignment: align_of::<$name>(), fields });
        })*
        all
    }};
}

fn declared() -> BTreeMap<&'static str, Struct> {
    structs! {
        sage_error { struct_size, status, native_code, message }
        sage_tensor { struct_size, dtype, device_type, device_id, rank, flags, shape, stride, data }
        sage_attention_attributes {
            struct_size, alignment, features, scale, softcap, dropout_p, window_left, window_right, max_seq_q, max_seq_kv,
            algorithm, block_q, block_kv, mask_block_q, mask_block_kv, scale_block, granularity_q, granularity_k,
            granularity_v, granularity_p, granularity_o, reserved
        }
        sage_op { struct_size, kind, requirements, accuracy, dynamic_axes, num_slots, aliases, attributes, slots }
        sage_attention_memory {
            struct_size, reserved, q_bytes, k_bytes, v_bytes, o_bytes, other_bytes, scratch_bytes, working_set_bytes,
            packed_kv_bytes, partials_bytes, prepack_bytes, total_bytes, scores_bytes, scores_avoided_bytes,
            total_with_scores_bytes, scores_over_scratch, totals_ratio, keys_over_block_kv
        }
        sage_gate_packet {
            struct_size, flags, lambda, lambda_prev, boundary_edges, boundary_concentration_q15, partition_count,
            spike_fired, spike_rate_q15, reserved
        }
        sage_gate_tier { layers, sequence, window, reserved }
        sage_gate_policy {
            struct_size, lambda_min, drop_ratio_q15_max, boundary_edges_max, boundary_concentration_q15_max,
            partitions_max, spike_rate_q15_max, reserved, normal, reduced, safe
        }
        sage_gate_decision { struct_size, verdict, tier, drop_ratio_q15, layers, sequence, window, reserved }
        sage_quantize_report {
            struct_size, reserved, elements, saturated, zero_groups, code_bytes, scale_bytes, max_abs_error, rms_error
        }
    }
}

fn read(path: &str) -> String {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display()))
}

fn listing() -> String {
    read("../../../abi/layout.txt")
}

/// The name at the end of a C declaration: `char message[496]`, `void *data`.
fn name_of(declaration: &str) -> &str {
    let plain = declaration.split('[').next().unwrap().trim_end();
    let start = plain.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
    &plain[start..]
}

fn in_headers(listing: &str) -> BTreeMap<&str, Struct> {
    let mut all = BTreeMap::new();
    let mut current = None;
    for line in listing.lines() {
        if let Some(rest) = line.strip_prefix("struct ") {
            // struct sage_error  512 bytes, alignment 8
            let words: Vec<&str> = rest.split_whitespace().collect();
            current = None;
            if words.len() == 5 {
                let (size, alignment) = (words[1].parse().unwrap(), words[4].parse().unwrap());
                all.insert(words[0], Struct { size, alignment, fields: Fields::new() });
                current = Some(words[0]);
            }
        } else if let (Some(name), true) = (current, line.starts_with(' ')) {
            let mut words = line.split_whitespace();
            let offset = words.next().unwrap().parse().unwrap();
            let size = words.next().unwrap().parse().unwrap();
            let declaration = words.collect::<Vec<_>>().join(" ");
            all.get_mut(name).unwrap().fields.push((name_of(&declaration).to_string(), offset, size));
        }
    }
    all
}

#[test]
fn structs_are_laid_out_as_in_c() {
    let listing = listing();
    let (ours, theirs) = (declared(), in_headers(&listing));
    assert!(theirs.len() > 20, "abi/layout.txt is read wrongly: {} structs", theirs.len());
    for (name, ours) in &ours {
        let theirs = theirs.get(name).unwrap_or_else(|| panic!("{name} is not in abi/layout.txt"));
        assert_eq!((ours.size, ours.alignment), (theirs.size, theirs.alignment), "{name}");
        assert_eq!(ours.fields, theirs.fields, "{name}");
    }
    let source = read("src/types.rs");
    let written: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub struct sage_"))
        .map(|rest| rest.split(' ').next().unwrap())
        .collect();
    assert_eq!(written.len(), ours.len(), "every #[repr(C)] struct is compared: {written:?}");
}

/// `const char *name` as Rust writes it: (`*const c_char`, `name`).
fn rust_type(declaration: &str) -> (String, String) {
    let name = name_of(declaration);
    let mut constant = false;
    let mut written = String::new();
    for word in declaration[..declaration.len() - name.len()].replace('*', " * ").split_whitespace() {
        match word {
            "const" => constant = true,
            "*" => {
                written = format!("*{} {written}", if constant { "const" } else { "mut" });
                constant = false;
            }
            _ => {
                written = match word {
                    "void" => "c_void",
                    "char" => "c_char",
                    "uint32_t" => "u32",
                    "uint64_t" => "u64",
                    "int32_t" => "i32",
                    "int64_t" => "i64",
                    "double" => "f64",
                    other => other,
                }
                .to_string()
            }
        }
    }
    // `fn` is a word of Rust's.
    (written, if name == "fn" { "function" } else { name }.to_string())
}

fn rust_prototype(c: &str) -> String {
    let (head, arguments) = c.trim_end_matches(')').split_once('(').unwrap();
    let (returns, name) = rust_type(head);
    let mut written = Vec::new();
    for argument in arguments.split(',').map(str::trim).filter(|argument| *argument != "void") {
        let (kind, name) = rust_type(argument);
        written.push(format!("{name}: {kind}"));
    }
    let returns = if returns == "c_void" { String::new() } else { format!(" -> {returns}") };
    format!("fn {name}({}){returns}", written.join(", "))
}

#[test]
fn prototypes_are_those_of_the_headers() {
    let listing = listing();
    let c: Vec<&str> = listing
        .lines()
        .skip_while(|line| !line.ends_with(" *sage_version(void)"))
        .map(str::trim)
        .filter(|line| line.ends_with(')'))
        .collect();
    assert!(c.len() > 50, "abi/layout.txt is read wrongly: {} functions", c.len());
    // As one line each, whatever the formatter made of it.
    let source = read("src/functions.rs");
    let plain = source
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace("( ", "(")
        .replace(", )", ")")
        .replace(",)", ")");
    for prototype in &c {
        let wanted = rust_prototype(prototype);
        assert!(plain.contains(&format!("pub {wanted};")), "src/functions.rs lacks\n  {wanted}\nof\n  {prototype}");
    }
    assert_eq!(plain.matches("pub fn ").count(), c.len(), "a function that the headers do not have is declared");
}

#[test]
fn the_header_s_initialiser_is_the_same_here() {
    let tensor = sage_tensor::new(SAGE_F32, &[2, 3, 4], std::ptr::null_mut());
    assert_eq!((tensor.struct_size, tensor.dtype, tensor.rank, tensor.device_type), (160, SAGE_F32, 3, 1));
    assert_eq!(tensor.shape, [2, 3, 4, 0, 0, 0, 0, 0]);
    assert_eq!(tensor.stride, [12, 4, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn a_default_is_all_zero_but_for_its_size() {
    macro_rules! sizes {
        ($($name:ident)*) => {$(
            let words: [u32; size_of::<$name>() / 4] = unsafe { std::mem::transmute($name::default()) };
            assert_eq!(words[0] as usize, size_of::<$name>(), stringify!($name));
            assert!(words[1..].iter().all(|&word| word == 0), stringify!($name));
        )*};
    }
    sizes! {
        sage_error sage_tensor sage_attention_attributes sage_op sage_attention_memory sage_gate_packet
        sage_gate_policy sage_gate_decision sage_quantize_report
    }
}

#[test]
fn the_library_that_is_linked_has_this_abi() {
    let loaded = unsafe { sage_abi_version() };
    assert_eq!(loaded >> 16, SAGE_ABI_MAJOR);
    assert!((loaded & 0xffff) + 1 > SAGE_ABI_MINOR);
}
