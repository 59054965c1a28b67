//! Just enough of JSON to find a member of an object the library wrote: its own texts are small, valid and without
//! depth, and a crate without dependencies should still be able to tell a state from them.

/// The text of a member's value, as it stands; None where the object has no such key. `object` is valid JSON.
pub(crate) fn member<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    let bytes = object.as_bytes();
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    at = skip_space(bytes, at + 1);
    while bytes.get(at) == Some(&b'"') {
        let end = value_end(bytes, at)?;
        let name = &object[at + 1..end - 1];
        at = skip_space(bytes, end);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        let start = skip_space(bytes, at + 1);
        let end = value_end(bytes, start)?;
        if name == key {
            return Some(&object[start..end]);
        }
        at = skip_space(bytes, end);
        if bytes.get(at) != Some(&b',') {
            return None;
        }
        at = skip_space(bytes, at + 1);
    }
    None
}

/// What a string says, where it has no escapes: names and states have none.
pub(crate) fn plain_string(value: &str) -> Option<&str> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains('\\')).then_some(inner)
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Where the value that begins at `start` is over.
fn value_end(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth, mut in_string) = (start, 0usize, false);
    while let Some(&byte) = bytes.get(at) {
        if in_string {
            match byte {
                b'\\' => at += 1,
                b'"' => in_string = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => in_string = true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' | b',' if depth == 0 => return (at > start).then_some(at), // a number or a word ended
                b'}' | b']' => depth -= 1,
                b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return (at > start).then_some(at),
                _ => {}
            }
        }
        at += 1;
        let closed = matches!(byte, b'"' | b'}' | b']') && !in_string && depth == 0;
        if closed && at - start > 1 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_at_the_top_and_nowhere_else() {
        let text = r#" {"a":{"state":"INNER","b":[1,{"x":"}"}]}, "empty":"", "s":"q\"}{,", "n":-1.5e3 ,"state" : "REST","z":null}"#;
        assert_eq!(member(text, "state"), Some("\"REST\""));
        assert_eq!(member(text, "a"), Some(r#"{"state":"INNER","b":[1,{"x":"}"}]}"#));
        assert_eq!(member(text, "empty"), Some("\"\""));
        assert_eq!(member(text, "s"), Some(r#""q\"}{,""#));
        assert_eq!(member(text, "n"), Some("-1.5e3"));
        assert_eq!(member(text, "z"), Some("null"));
        assert_eq!(member(text, "b"), None);
        assert_eq!(plain_string("\"REST\""), Some("REST"));
        assert_eq!(plain_string(r#""q\"""#), None);
        assert_eq!(plain_string("null"), None);
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for text in ["", "{", "{}", "[1]", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\" 1}", "{a:1}", "{\"\\"] {
            assert_eq!(member(text, "a"), None, "{text}");
        }
        assert_eq!(member("{\"a\":[],\"b\":{}}", "b"), Some("{}"));
    }
}
