# same_model.sh TOOL TEXT BINARY NAME: the binary model says what the text says. As text: bytes may differ by flatbuffers' version.
set -e
"$1" convert "$2" "fresh_$4.fbs"
"$1" convert "fresh_$4.fbs" "fresh_$4.json"
"$1" convert "$3" "kept_$4.json"
cmp "fresh_$4.json" "kept_$4.json"
