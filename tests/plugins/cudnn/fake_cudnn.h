// fake_cudnn.h: a cuDNN for tests. Behind the plugin's table of functions stand descriptors that are stricter than the
// real ones, heuristics and failures as a test wants them, and an interpreter that computes on the CPU what a graph
// says, by nothing but the graph's own dimensions, strides, offsets and types.
//
// How a test uses it:
//
//   const Library library = fake::Begin();           // everything as new; no descriptor is left of another test
//   fake::State& cudnn = fake::The();
//   cudnn.version = 91400;                           // optional: what the library is and does
//   cudnn.engines[kHeuristicA] = {{.index = 7, .status = 3002, .text = "no engine takes this"}};
//   cudnn.failures.push_back({.function = "BackendExecute", .status = 5000});
//   ... what is tested calls `library`, with CPU memory for device memory ...
//   CHECK(cudnn.last_graph == expected);             // the text of what was built, see Describe
//   CHECK(cudnn.Faults() == "");                     // what a real device would have crashed or gone wrong over
//   CHECK(fake::LiveDescriptors() == 0);             // nothing leaked
//
// What it refuses is what cuDNN 9.19 refuses where that could be tried without a device, and more: a graph that passes
// here is well formed, which is not to say that cuDNN has an engine for it. Times and accuracy are not cuDNN's either:
// sums are in double, and each tensor, virtual ones too, is rounded to its type once, when it is written.
//
// What of memory is touched is what a device may touch, at its worst:
//   - ragged tensors: rows of a batch past its length are neither read nor written;
//   - other operands of products: every row of the declared dimensions is read and multiplied, so that a NaN among
//     masked keys, or in rows past a length, makes NaN of the result (0 * NaN), except where a product has a padding
//     value: past its rows and columns in use that is the result;
//   - outputs that are not ragged: rows past the length of their queries become NaN; who wants them 0 must see to it;
//   - a row all of whose scores are -infinity becomes NaN, as its formula has it;
//   - pages: of a sequence's table as many as its length needs, and of the last page its rows in use. The rest of that
//     page counts as 0, or is read if reads_page_tails;
//   - the workspace: all of it is overwritten before and after.
// A page outside of the container, a length outside of the dimensions, an offset that goes back are faults of the
// caller: the run fails with a sentence, which is noted in `faults` as well.
//
// What the settings are must not change while a thread is inside; all else is free-threaded, as far as cuDNN is.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_FAKE_CUDNN_H_
#define SAGE_TESTS_PLUGINS_CUDNN_FAKE_CUDNN_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cudnn/api.h"

namespace sage::cudnn::fake {

// One engine configuration that heuristics give.
struct Engine {
  int64_t index = 0;  // kEngineGlobalIndex
  std::vector<int> numerical_notes, behavior_notes;
  int64_t workspace_bytes = 0;  // of its plans
  int64_t declared_bytes = -1;  // of its configuration; -1: the same
  int status = kSuccess;        // of finalizing a plan of it
  std::string text;             // what GetLastErrorString says then
};

// A call that fails. function is the name in Library. Of descriptor >= 0 only those of that type; the first `after`
// calls that match succeed, and so do those past `times`.
struct Failure {
  std::string function;
  int status = kBadParam;
  std::string text;
  int descriptor = -1;
  int after = 0;
  int times = INT32_MAX;
  int seen = 0;  // not for the test to set
};

// An execution, or what was put into a CUDA graph.
struct Run {
  std::string graph;  // its text
  int64_t engine = 0;
  void* stream = nullptr;
  void* workspace = nullptr;
  std::map<int64_t, void*> bound;  // by uid
  void* cuda_graph = nullptr;      // of PopulateCudaGraph
};

struct State {
  // --- settings ---
  size_t version = 91900;
  std::string device = "FakeH200";             // plans are of it; kDevicePropertiesJson names it
  std::map<int, std::vector<Engine>> engines;  // by heuristic mode, best first; Begin gives one of either mode
  std::vector<Failure> failures;
  // Optional: whether this graph, by its text, has engines (of kEngineHeuristics) and plans (of kExecutionPlan, after
  // the engine's own status). A status other than kSuccess with *text. Called by any thread.
  std::function<int(DescriptorType of, const std::string& graph, std::string* text)> judge;
  bool computes = true;  // else runs are noted and nothing is written
  bool reads_page_tails = false;

  // --- what was seen ---
  int created = 0, destroyed = 0;  // handles
  int asked = 0;                   // heuristics finalized
  int plans = 0;                   // finalized from engine configurations
  int loaded_plans = 0;            // finalized from JSON
  std::string last_graph;          // the text of the last operation graph that was finalized
  std::vector<Run> runs, populated;
  std::vector<std::string> faults;

  std::string Faults() const;  // one a line; empty: none
};

State& The();
// Sets The() back, destroys what is left, and gives the functions.
Library Begin();
int64_t LiveDescriptors();

// The text of a finalized graph, or of a finalized plan's graph: a line for each tensor where it is used first and one
// for each operation. Tensors are numbered by first use, whatever their uids. Empty for anything else.
std::string Describe(Descriptor graph_or_plan);

// Computes what PopulateCudaGraph noted, with the by-value scalars of then. A status, as of BackendExecute.
int Replay(size_t populated);

}  // namespace sage::cudnn::fake

#endif  // SAGE_TESTS_PLUGINS_CUDNN_FAKE_CUDNN_H_
