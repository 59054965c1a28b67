"""Fails where a function that libsage exports is not wrapped for Java and C#, where one that is wrapped is used by no
class of theirs, or where a class of Java has no counterpart in C#. Argument: the source folder."""
import pathlib
import re
import sys

# Not for languages with a collector; docs/java.md and docs/csharp.md say why.
LEFT_OUT = {"sage_options_set_allocator", "sage_options_set_parallel_for", "sage_session_set_stream"}
# What each does its own way: arrays and addresses in Java, errors and free in C#.
ONLY = {"java": {"attention_f32", "attention_f64", "buffer_address", "callback_new", "callback_free", "options_set_log",
                 "options_set_cancel"},
        "csharp": {"options_set_log", "options_set_cancel", "on_error", "free_bytes"}}
# Types by other names, and those for which the other language has a word of its own.
SAME = {"Sage": "Library"}
ONLY_JAVA = {"LogCallback", "CancelledException"}  # in C#: Action, OperationCanceledException


def main():
    root = pathlib.Path(sys.argv[1])
    swig = root / "bindings" / "swig"
    exported = set()
    for header in ("sage.h", "sparse.h", "quantize.h"):
        text = (root / "abi" / "sage" / header).read_text()
        exported |= set(re.findall(r"SAGE_API[^;(]*?\b(sage_\w+)\(", text))
    faults = []
    if len(exported) < 40:
        faults.append(f"only {len(exported)} exported functions were found: the headers are read wrongly")

    shared = (swig / "sage.i").read_text() + (swig / "sage_flat.h").read_text()
    own = {"java": (swig / "java.i").read_text() + (swig / "java_callbacks.h").read_text(),
           "csharp": (swig / "csharp.i").read_text()}
    for language, text in own.items():
        faults += [f"{name} is not wrapped for {language}" for name in sorted(exported - LEFT_OUT)
                   if not re.search(rf"\b{name}\b", shared + text)]
        faults += [f"{name} is said to be left out, and is in {language}.i" for name in sorted(LEFT_OUT)
                   if re.search(rf"\b{name}\b", shared + text)]

    # The names that SWIG gives them.
    plain = re.findall(r"\b(sage_\w+)\(", re.sub(r"//.*", "", (swig / "sage.i").read_text()))
    body = (swig / "sage_flat.h").read_text().split("#endif /* SWIG */")[1]
    flat = re.findall(r"^static inline [^(]*?\b(sage_flat_\w+)\(", body, flags=re.M)
    wrapped = {re.sub(r"^sage_(?:flat_)?", "", name) for name in plain + flat}
    if len(wrapped) < 50:
        faults.append(f"only {len(wrapped)} wrapped functions were found: sage.i and sage_flat.h are read wrongly")
    sources = {"java": root / "bindings/java/src/main/java/org/sage", "csharp": root / "bindings/csharp/src"}
    for language, folder in sources.items():
        text = "\n".join(path.read_text() for path in sorted(folder.rglob("*.*")))
        used = set(re.findall(r"\bSageNative(?:\.|::)(\w+)", text))
        faults += [f"{name} is wrapped and used by no class of {language}" for name in
                   sorted((wrapped | ONLY[language]) - used)]
        faults += [f"{name} is used by {language} and not wrapped" for name in sorted(used - wrapped - ONLY[language])]

    # Type by type: a class of one is a class of the other.
    java = {path.stem for path in sources["java"].glob("*.java")
            if re.search(rf"^public .*\b(?:class|enum|interface) {path.stem}\b", path.read_text(), flags=re.M)}
    csharp = set(re.findall(r"^\s*public (?:static |sealed )*(?:class|enum|struct) (\w+)",
                            "\n".join(path.read_text() for path in sources["csharp"].glob("*.cs")), flags=re.M))
    for name in sorted(java - ONLY_JAVA):
        if SAME.get(name, name) not in csharp:
            faults.append(f"Java's {name} has no counterpart in C#")
    print("\n".join(faults)
        or f"{len(exported)} functions, {len(wrapped)} wrapped, {len(java)} and {len(csharp)} types")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
