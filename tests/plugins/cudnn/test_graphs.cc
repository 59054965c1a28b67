// test_graphs.cc: the graphs as they are written down, op by op, against texts in graphs/. A change that is meant
// changes the text, and whoever reviews it sees in what. (What the graphs compute is test_backend.cc's.)
//
// SAGE_WRITE_GRAPHS=1 in the environment writes the texts instead.
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "fake_cudnn.h"
#include "graph.h"
#include "sdpa_graph.h"
#include "sdpa_testing.h"

namespace sage::cudnn {
namespace {

std::string GraphOf(const Sdpa& sdpa) {
  const Library library = fake::Begin();
  Handle handle = nullptr;
  REQUIRE(library.Create(&handle) == kSuccess);
  std::string text;
  {
    Graph graph(library);
    WriteSdpa(sdpa, &graph);
    const Descriptor whole = graph.Finish(handle);
    REQUIRE_MESSAGE(whole != nullptr, graph.failure().text);
    text = fake::Describe(whole);
  }
  CHECK(library.Destroy(handle) == kSuccess);
  CHECK(fake::LiveDescriptors() == 0);
  return TextOf(sdpa) + "\n" + text;
}

void CheckGraph(const std::string& name, const Sdpa& sdpa) {
  CAPTURE(name);
  const std::string path = std::string(SAGE_SOURCE_DIR) + "/tests/plugins/cudnn/graphs/" + name + ".txt";
  const std::string text = GraphOf(sdpa);
  if (const char* const write = std::getenv("SAGE_WRITE_GRAPHS"); write != nullptr && write[0] == '1') {
    std::ofstream(path) << text;
    return;
  }
  std::ifstream file(path);
  std::stringstream recorded;
  recorded << file.rdbuf();
  CHECK(recorded.str() == text);
}

}  // namespace

TEST_CASE("P2 cudnn graphs: each is written down as recorded") {
  cuda::AttentionArguments a = PlainCall();
  CheckGraph("plain", Described(a));
  a.causal = true;
  CheckGraph("causal", Described(a));
  a.bottom_right = true, a.window_left = 100, a.lse = Somewhere();
  CheckGraph("bottom_right_window", Described(a));
  CheckGraph("packed", Described(Packed(a)));
  CheckGraph("paged", Described(Paged(a)));
  a = PlainCall(), a.softcap = 30, a.causal = true, a.alibi = a.sinks = Somewhere();
  a.bias = Somewhere(), a.bias_type = cuda::AttentionType::kF32, a.bias_strides = {0, 512 * 1024, 1024, 1};
  CheckGraph("scores", Described(a));
  a = PlainCall(128, 512, 1003), a.causal = true,
  a.seqused_k = Somewhere();  // rows of the mask are longer than the keys
  CheckGraph("dropout", Described(a, kH200, Dropout()));
  a = Fp8Call(), a.causal = true, a.lse = Somewhere();
  CheckGraph("fp8", Described(a, kH200, Fp8Extras()));
  CheckGraph("fp8_packed", Described(Packed(a), kH200, Fp8Extras()));
  CheckGraph("fp8_wide_output", Described(a, {91900, 100}, Fp8Extras(cuda::AttentionType::kBf16)));
  Sdpa unified = Described(Paged(PlainCall(128, 1)));
  unified.unified = true;
  CheckGraph("unified_paged", unified);
}

}  // namespace sage::cudnn
