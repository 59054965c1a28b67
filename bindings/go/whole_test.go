package sage_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Left out on purpose; the page has the reason.
var leftOut = map[string]bool{"sage_options_set_allocator": true, "sage_options_set_parallel_for": true,
	"sage_session_set_stream": true}

// Every function that libsage exports has its place in the binding, or a line in its page.
func TestEveryFunctionHasItsPlace(t *testing.T) {
	read := func(pattern string) (text string) {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Skipf("no %s here: not the source tree", pattern)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text += string(content)
		}
		return text
	}
	headers := read("../../abi/sage/sage.h") + read("../../abi/sage/sparse.h") + read("../../abi/sage/quantize.h")
	code, page := read("*.go")+read("shim.c"), read("../../docs/go.md")
	exported := regexp.MustCompile(`SAGE_API[^;(]*?\b(sage_\w+)\(`).FindAllStringSubmatch(headers, -1)
	if len(exported) < 50 {
		t.Fatalf("only %d exported functions were found: the headers are read wrongly", len(exported))
	}
	for _, one := range exported {
		name := one[1]
		if leftOut[name] {
			if !strings.Contains(page, name) {
				t.Errorf("docs/go.md does not say why %s is left out", name)
			}
		} else if !regexp.MustCompile(`\b` + name + `\b`).MatchString(code) {
			t.Errorf("%s has no place in bindings/go", name)
		}
	}
}
