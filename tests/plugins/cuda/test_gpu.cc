// test_gpu.cc: what only a device can show: memory, streams, errors and kernels of the plugin as built, against the
// float64 oracle. Without a device it says so and ends with 77; with SAGE_REQUIRE_GPU=1 that is a failure.
#define DOCTEST_CONFIG_IMPLEMENT
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "../cpu/attention_testing.h"
#include "attention_mixtures.h"
#include "gpu_testing.h"
#include "hopper_mixtures.h"
#include "lossy_gates.h"

namespace sage::test {

const sage_plugin*& Table() {
  static const sage_plugin* table = nullptr;
  return table;
}

namespace {

// What probe says: the device's name, sm_ and memory.
std::string& Device() {
  static std::string text;
  return text;
}

// Empty, or why there is nothing to test.
std::string Missing() {
  void* const library = dlopen(SAGE_CUDA_PLUGIN, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) return dlerror();
  void* const symbol = dlsym(library, SAGE_PLUGIN_QUERY_SYMBOL);
  sage_plugin_query_fn query = nullptr;
  std::memcpy(&query, &symbol, sizeof query);
  if (query == nullptr || (Table() = query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR)) == nullptr)
    return "the plugin has no table";
  sage_answer answer{};
  answer.struct_size = sizeof answer;
  uint32_t count = 0;
  TestHost host(1);
  if (Table()->probe(host.table(), 0, &count, &answer, nullptr) != SAGE_OK) return "probe failed";
  std::printf("cuda: %s\n", answer.reason);
  Device() = answer.reason;
  return answer.verdict == SAGE_YES ? "" : answer.reason;
}

// A case whose tensors lie on the device, gaps and all.
class Uploaded {
 public:
  Uploaded(Gpu& gpu, AttentionCase& from) : gpu_(gpu), case_(from) {
    for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot) {
      if (!from[slot].present()) continue;
      const auto bytes = from[slot].bytes().size();
      memory_[slot] = gpu.Alloc(bytes);
      gpu.Copy(memory_[slot], from[slot].bytes().data(), bytes);
      tensors_[slot] = *from[slot].tensor();
      tensors_[slot].device_type = SAGE_CUDA;
      tensors_[slot].data = static_cast<char*>(memory_[slot]) + Start(slot);
      slots_[slot] = &tensors_[slot];
    }
  }
  ~Uploaded() {
    for (void* memory : memory_) gpu_.device->free(gpu_.device->self, memory);
  }
  Uploaded(const Uploaded&) = delete;
  Uploaded& operator=(const Uploaded&) = delete;

  // Plans, runs, waits and brings everything back. Empty, or what went wrong.
  std::string Run(uint32_t* accuracy) {
    sage_op op{};
    op.struct_size = sizeof op, op.kind = SAGE_OP_ATTENTION, op.attributes = &case_.attributes;
    case_.attributes.struct_size = sizeof case_.attributes;
    op.num_slots = SAGE_ATTN_NUM_SLOTS, op.slots = slots_, op.accuracy = case_.accuracy;
    op.aliases = case_.aliases;
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    Error error;
    if (Table()->ask(gpu_.instance.handle(), &op, &answer, &error) != SAGE_OK) return error.message;
    if (answer.verdict != SAGE_YES) return std::string("refused: ") + answer.reason;
    *accuracy = answer.accuracy;
    sage_plan* plan = nullptr;
    sage_plan_info info{};
    info.struct_size = sizeof info;
    if (Table()->plan(gpu_.instance.handle(), &op, nullptr, &plan, &info, &error) != SAGE_OK) return error.message;
    void* workspace = gpu_.Alloc(info.workspace_bytes + 1);
    sage_run_args args{};
    args.struct_size = sizeof args;
    args.num_slots = SAGE_ATTN_NUM_SLOTS, args.slots = slots_;
    args.workspace = workspace, args.workspace_bytes = info.workspace_bytes, args.stream = gpu_.stream;
    std::string failure = Table()->run(plan, &args, &error) == SAGE_OK ? "" : error.message;
    if (failure.empty()) failure = gpu_.Wait();
    gpu_.device->free(gpu_.device->self, workspace);
    Table()->plan_destroy(plan);
    if (!failure.empty()) return failure;
    for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot)
      if (case_[slot].present())
        gpu_.Copy(static_cast<char*>(case_[slot].tensor()->data) - Start(slot), memory_[slot],
                  case_[slot].bytes().size());
    return gpu_.Wait();
  }

 private:
  int64_t Start(uint32_t slot) const {
    return static_cast<const unsigned char*>(case_[slot].tensor()->data) - case_[slot].bytes().data();
  }
  Gpu& gpu_;
  AttentionCase& case_;
  void* memory_[SAGE_ATTN_NUM_SLOTS]{};
  sage_tensor tensors_[SAGE_ATTN_NUM_SLOTS]{};
  const sage_tensor* slots_[SAGE_ATTN_NUM_SLOTS]{};
};

// Empty, "refused: ..." or what differs from the oracle.
std::string Disagreement(Gpu& gpu, AttentionCase& got) {
  static Oracle oracle;
  std::string failure;
  const AttentionCase want = Expected(got, oracle.instance, &failure);
  if (!failure.empty()) return "oracle: " + failure;
  uint32_t accuracy = 0;
  failure = Uploaded(gpu, got).Run(&accuracy);
  if (!failure.empty()) return failure;
  if (accuracy == SAGE_ACCURACY_LOSSY) return LossyDisagreement(got, want);
  const bool wide = got.Q().dtype() == SAGE_F64;
  const double gate = wide ? 1e-12 : 5e-6;
  const double gate_o = accuracy == SAGE_ACCURACY_NATIVE ? kNativeGate : gate;
  std::string text;
  const auto check = [&](uint32_t slot, double unit, const char* name) {
    if (!got[slot].present()) return;
    const double error = ErrorIn(got[slot], want[slot], unit);
    if (!(error <= 1)) text += std::string(name) + " is off by " + std::to_string(error) + " gates; ";
  };
  check(SAGE_ATTN_O, gate_o * std::max(1.0, LargestMagnitude(want[SAGE_ATTN_V])), "O");
  check(SAGE_ATTN_LSE, gate * std::max(4.0, LargestMagnitude(want[SAGE_ATTN_LSE])), "LSE");
  check(SAGE_ATTN_WEIGHTS, gate, "WEIGHTS");
  if (got[SAGE_ATTN_SCORES].present())
    check(SAGE_ATTN_SCORES, gate * std::max(4.0, LargestMagnitude(want[SAGE_ATTN_SCORES])), "SCORES");
  if (got.aliases != 0) check(SAGE_ATTN_K, 1e-300, "K after the append"), check(SAGE_ATTN_V, 1e-300, "V after it");
  return text;
}

bool IsRefusal(const std::string& text) { return text.rfind("refused: ", 0) == 0; }

// Of every family that is there; a family may refuse, but not everything. Without a name none may refuse.
void CheckMixtures(const char* kernels, sage_dtype dtype, int64_t largest_dim, uint64_t first, uint64_t count,
                   uint32_t accuracy = SAGE_ACCURACY_AUTO) {
  Gpu gpu(kernels);
  uint64_t run = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    AttentionCase attention = AttentionMixture(seed).Draw(dtype, largest_dim, true);
    attention.accuracy = accuracy;
    const std::string text = Disagreement(gpu, attention);
    if (kernels != nullptr && IsRefusal(text)) continue;
    CHECK(text == "");
    ++run;
  }
  CHECK(run > 0);
  MESSAGE(run, " of ", count, " ran on ", kernels == nullptr ? "the cheapest" : kernels);
}

// Few queries, half of the calls with rows to append.
void CheckDecode(const char* options, sage_dtype dtype, int64_t largest_dim, uint64_t first, uint64_t count) {
  Gpu gpu(options);
  uint64_t run = 0, appended = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    AttentionMixture mixture(seed);
    mixture.FewQueries();
    if (seed % 2 == 0) mixture.Appends();
    AttentionCase attention = mixture.Draw(dtype, largest_dim, false);
    const std::string text = Disagreement(gpu, attention);
    if (options != nullptr && IsRefusal(text)) continue;
    CHECK(text == "");
    ++run, appended += attention.aliases != 0;
  }
  CHECK(run > 0);
  CHECK(appended > 0);
  MESSAGE(run, " of ", count, " ran on ", options == nullptr ? "the cheapest" : options);
}

}  // namespace

TEST_CASE("R19 gpu: memory and copies and events of the device") {
  Gpu gpu;
  std::vector<unsigned char> in(5000), out(5000);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<unsigned char>(i * 13);
  void *memory = gpu.Alloc(in.size()), *other = gpu.Alloc(in.size());
  gpu.Copy(memory, in.data(), in.size());
  void *second = nullptr, *event = nullptr;
  const sage_device_table& d = *gpu.device;
  REQUIRE(d.stream_create(d.self, &second, nullptr) == SAGE_OK);
  REQUIRE(d.event_create(d.self, &event, nullptr) == SAGE_OK);
  CHECK(d.event_record(d.self, event, gpu.stream, nullptr) == SAGE_OK);
  CHECK(d.event_wait(d.self, event, second, nullptr) == SAGE_OK);
  CHECK(d.copy(d.self, other, memory, in.size(), second, nullptr) == SAGE_OK);
  CHECK(d.copy(d.self, out.data(), other, out.size(), second, nullptr) == SAGE_OK);
  CHECK(d.stream_synchronize(d.self, second, nullptr) == SAGE_OK);
  CHECK(in == out);
  d.event_destroy(d.self, event);
  d.stream_destroy(d.self, second);
  d.free(d.self, memory);
  d.free(d.self, other);
  uint64_t free_bytes = 0, total = 0;
  CHECK(d.memory_info(d.self, &free_bytes, &total, nullptr) == SAGE_OK);
  CHECK(free_bytes <= total);
  CHECK(total > uint64_t{1} << 30);
}

TEST_CASE("G7 gpu: out of memory is a sentence and the device goes on") {
  Gpu gpu;
  uint64_t free_bytes = 0, total = 0;
  REQUIRE(gpu.device->memory_info(gpu.device->self, &free_bytes, &total, nullptr) == SAGE_OK);
  void* memory = nullptr;
  Error error;
  CHECK(gpu.device->alloc(gpu.device->self, total * 2, 256, &memory, &error) == SAGE_E_OUT_OF_MEMORY);
  CHECK(memory == nullptr);
  CHECK(error.native_code == 2);
  CHECK(error.Says("cudaErrorMemoryAllocation (2)"));
  AttentionCase attention(SAGE_F32, {.heads_q = 2, .seq_q = 9, .seq_kv = 33, .dim_qk = 16}, 3);
  CHECK(Disagreement(gpu, attention) == "");  // no error was left behind for its launch
}

TEST_CASE("P5 gpu: mixtures of every option agree with the oracle in every dtype") {
  CheckMixtures(nullptr, SAGE_BF16, 256, 1, 150);
  CheckMixtures(nullptr, SAGE_F16, 256, 1001, 150);
  CheckMixtures(nullptr, SAGE_F32, 256, 2001, 100);
  CheckMixtures(nullptr, SAGE_F64, 256, 3001, 100);
}

// Under compute-sanitizer, which makes a kernel a hundred times slower.
TEST_CASE("P5 gpu: a few small mixtures on each family of kernels") {
  CheckMixtures("kernels=plain", SAGE_F32, 64, 7001, 8);
  CheckMixtures("kernels=portable", SAGE_BF16, 128, 8001, 12);
  CheckMixtures("kernels=int8", SAGE_BF16, 128, 8501, 12, SAGE_ACCURACY_LOSSY);
  CheckMixtures(nullptr, SAGE_F16, 128, 9001, 12);
  CheckDecode("kernels=decode\nsplits=3", SAGE_BF16, 128, 9101, 12);
  CheckDecode("kernels=portable", SAGE_F16, 64, 9201, 4);
}

TEST_CASE("P5 gpu: few queries and appended rows on every family that serves them") {
  CheckDecode(nullptr, SAGE_BF16, 256, 10001, 150);
  CheckDecode(nullptr, SAGE_F32, 128, 11001, 50);
  CheckDecode(nullptr, SAGE_F64, 64, 12001, 50);
  for (const char* options : {"kernels=decode", "kernels=decode\nsplits=2", "kernels=decode\nsplits=7"}) {
    CheckDecode(options, SAGE_BF16, 256, 13001, 150);
    CheckDecode(options, SAGE_F16, 256, 14001, 150);
  }
  CheckDecode("kernels=portable", SAGE_BF16, 256, 15001, 60);
  CheckDecode("kernels=plain", SAGE_F16, 128, 16001, 60);
  if (Device().find("sm_90,") != std::string::npos) CheckDecode("kernels=hopper", SAGE_BF16, 256, 17001, 300);
}

// Blocks of many splits, more than the device holds at once.
TEST_CASE("P5 gpu: long keys in splits") {
  for (const char* options : {"kernels=decode", "kernels=decode\nsplits=5", "kernels=decode\nsplits=128"}) {
    Gpu gpu(options);
    for (const int64_t keys : {1000, 8191, 20000})
      for (const int64_t dim : {64, 128, 256}) {
        CAPTURE(keys);
        CAPTURE(dim);
        AttentionCase attention(
            SAGE_BF16, {.batch = 3, .heads_q = 8, .heads_k = 2, .seq_q = 2, .seq_kv = keys, .dim_qk = dim}, 19);
        attention.Integers(SAGE_ATTN_SEQUSED_K, {3}, {static_cast<double>(keys), 17, static_cast<double>(keys / 2)});
        attention.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
        CHECK(Disagreement(gpu, attention) == "");
        AttentionCase again = attention;
        again.O().Fill(7);
        uint32_t accuracy = 0;
        CHECK(Uploaded(gpu, again).Run(&accuracy) == "");
        CHECK(again.O().bytes() == attention.O().bytes());
      }
  }
}

TEST_CASE("P5 gpu: mixtures on each family of kernels by its name") {
  CheckMixtures("kernels=plain", SAGE_BF16, 128, 4001, 100);
  CheckMixtures("kernels=portable", SAGE_BF16, 256, 5001, 150);
  CheckMixtures("kernels=portable", SAGE_F16, 256, 6001, 150);
  CheckMixtures("kernels=int8", SAGE_BF16, 256, 5201, 150, SAGE_ACCURACY_LOSSY);
  CheckMixtures("kernels=int8", SAGE_F16, 256, 6201, 150, SAGE_ACCURACY_LOSSY);
  if (Device().find("sm_90,") == std::string::npos) return;
  CheckMixtures("kernels=hopper", SAGE_BF16, 256, 6501, 300);
  CheckMixtures("kernels=hopper", SAGE_F16, 256, 6801, 300);
}

TEST_CASE("P5 gpu: each stage of the Hopper kernel by itself") {
  if (Device().find("sm_90,") == std::string::npos) return;
  for (const char* stages :
       {"none", "two_q", "store", "rows_192", "keys_176", "packed_heads", "two_q,store", "keys_176,pairs", "all"}) {
    CAPTURE(stages);
    Gpu gpu((std::string("kernels=hopper\nhopper_stages=") + stages).c_str());
    for (uint64_t seed = 7101; seed < 7201; ++seed) {
      CAPTURE(seed);
      AttentionCase attention = HopperMixture(seed).Draw(seed % 2 == 0 ? SAGE_BF16 : SAGE_F16);
      CHECK(Disagreement(gpu, attention) == "");
    }
    if (std::string(stages) != "none" && std::string(stages) != "all") continue;
    // Tiles enough that every multiprocessor takes several; few keys, for the oracle's sake.
    for (const int64_t dim : {64, 128, 256}) {
      CAPTURE(dim);
      AttentionCase attention(SAGE_BF16, {2, 32, 8, 900, 9600 / dim, dim}, 19);
      CHECK(Disagreement(gpu, attention.WithLse()) == "");
    }
  }
}

TEST_CASE("P5 gpu: longer sequences round the edges of tiles") {
  for (const char* kernels : {static_cast<const char*>(nullptr), "kernels=portable", "kernels=int8"}) {
    Gpu gpu(kernels);
    const bool lossy = kernels != nullptr && std::string(kernels) == "kernels=int8";
    for (const int64_t rows : {1, 7, 64, 127, 128, 129, 1000})
      for (const int64_t keys : {1, 63, 128, 129, 1000, 2049})
        for (const int64_t dim : {64, 128, 256}) {
          CAPTURE(rows);
          CAPTURE(keys);
          CAPTURE(dim);
          AttentionCase attention(SAGE_BF16, {.heads_q = 2, .heads_k = 1, .seq_q = rows, .seq_kv = keys, .dim_qk = dim},
                                  17);
          attention.WithLse();
          if (lossy) attention.accuracy = SAGE_ACCURACY_LOSSY;
          if ((rows + keys) % 2 == 0) attention.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
          CHECK(Disagreement(gpu, attention) == "");
        }
  }
}

TEST_CASE("P5 gpu: more sequences and heads than a grid has blocks along one axis") {
  Gpu gpu;
  AttentionCase attention(SAGE_BF16, {.batch = 9000, .heads_q = 8, .heads_k = 8, .seq_q = 1, .seq_kv = 3, .dim_qk = 8},
                          23);
  CHECK(Disagreement(gpu, attention) == "");
}

TEST_CASE("S15 gpu: three runs of 8 bits give the same bits") {
  Gpu gpu("kernels=int8");
  AttentionCase first(SAGE_BF16, {.heads_q = 8, .heads_k = 2, .seq_q = 300, .seq_kv = 3000, .dim_qk = 128}, 33);
  first.accuracy = SAGE_ACCURACY_LOSSY;
  first.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
  uint32_t accuracy = 0;
  CHECK(Uploaded(gpu, first).Run(&accuracy) == "");
  CHECK(accuracy == SAGE_ACCURACY_LOSSY);
  for (int i = 0; i < 2; ++i) {
    AttentionCase again = first;
    again.O().Fill(7);
    CHECK(Uploaded(gpu, again).Run(&accuracy) == "");
    CHECK(again.O().bytes() == first.O().bytes());
    CHECK(again[SAGE_ATTN_LSE].bytes() == first[SAGE_ATTN_LSE].bytes());
  }
}

TEST_CASE("S15 gpu: three runs give the same bits") {
  for (const sage_dtype dtype : {SAGE_BF16, SAGE_F16, SAGE_F32}) {
    Gpu gpu;
    AttentionCase first(dtype, {.heads_q = 8, .heads_k = 2, .seq_q = 300, .seq_kv = 700, .dim_qk = 128}, 31);
    first.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
    uint32_t accuracy = 0;
    CHECK(Uploaded(gpu, first).Run(&accuracy) == "");
    for (int i = 0; i < 2; ++i) {
      AttentionCase again = first;
      again.O().Fill(7);
      CHECK(Uploaded(gpu, again).Run(&accuracy) == "");
      CHECK(again.O().bytes() == first.O().bytes());
      CHECK(again[SAGE_ATTN_LSE].bytes() == first[SAGE_ATTN_LSE].bytes());
    }
  }
}

}  // namespace sage::test

int main(int argc, char** argv) {
  const std::string missing = sage::test::Missing();
  if (!missing.empty()) {
    const char* const required = std::getenv("SAGE_REQUIRE_GPU");
    const bool fails = required != nullptr && std::strcmp(required, "1") == 0;
    std::printf("%s: cuda: %s\n", fails ? "FAIL (SAGE_REQUIRE_GPU=1)" : "SKIP", missing.c_str());
    return fails ? 1 : 77;
  }
  doctest::Context context(argc, argv);
  return context.run();
}
