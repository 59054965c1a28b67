// Models as people write them, changed by structure, all the way: text, binary, check, session, inputs, run, outputs.
// Every one ends as outputs or as a sentence, within a time and a memory that its size does not decide.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include "fuzz/fuzz.h"
#include "sage/support/check_op.h"
#include "system/c_api.h"

using namespace sage;
using namespace sage::fuzz;
using namespace sage::test;

namespace {

const std::string kModels = SAGE_SOURCE_DIR "/examples/models";

std::string Shape(const std::vector<std::string>& sizes) {
  std::string out;
  for (const std::string& size : sizes) {
    out += out.empty() ? "" : ",";
    out += size[0] >= 'a' ? "{\"symbol\":\"" + size + "\"}" : "{\"size\":" + size + "}";
  }
  return "[" + out + "]";
}

struct Input {
  const char* name;
  const char* dtype;
  std::vector<std::string> shape;
};

// One attention node with these inputs; `op`: its members behind q, k, v and out.
std::string AttentionNode(const std::vector<Input>& inputs, const std::string& op, const std::string& more = "") {
  std::string tensors, names, slots;
  for (const Input& input : inputs) {
    const std::string name = input.name;
    tensors += (tensors.empty() ? "" : ",") + std::string("{\"name\":\"") + name + "\",\"dtype\":\"" + input.dtype +
               "\",\"shape\":" + Shape(input.shape) + "}";
    names += (names.empty() ? "\"" : ",\"") + name + "\"";
    if (op.find("\"scale\":\"" + name + "\"") == std::string::npos) slots += "\"" + name + "\":\"" + name + "\",";
  }
  return "{\"graph_type\":\"OpGraph\",\"graph\":{\"symbols\":[{\"name\":\"b\",\"max\":3},{\"name\":\"s\",\"max\":8},"
         "{\"name\":\"t\",\"max\":9}],\"tensors\":[" +
         tensors + more + "],\"nodes\":[{\"name\":\"n\",\"op_type\":\"Attention\",\"op\":{" + slots + op +
         "\"out\":\"o\"}}],\"inputs\":[" + names + "],\"outputs\":[\"o\"]}}";
}

std::vector<std::string> Seeds() {
  std::vector<std::string> seeds;
  const auto read = [&](const std::string& path) {
    std::ifstream in(path);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    REQUIRE(seeds.back().size() > 10);
  };
  for (const char* name : {"expert", "fusion", "metabolic", "gqa_layer", "gqa_expert_attention"})
    read(kModels + "/" + name + ".json");
  read(SAGE_SOURCE_DIR "/tests/golden/0.1.0/all_ops.json");
  const std::vector<Input> dense = {
      {"q", "F32", {"b", "4", "s", "6"}}, {"k", "F32", {"b", "2", "t", "6"}}, {"v", "F32", {"b", "2", "t", "5"}}};
  const auto with = [&](std::initializer_list<Input> more) {
    std::vector<Input> all = dense;
    all.insert(all.end(), more);
    return all;
  };
  seeds.push_back(
      AttentionNode(with({{"bias", "F32", {"b", "1", "s", "t"}},
                          {"mask", "BOOL", {"1", "4", "s", "t"}},
                          {"sinks", "F32", {"4"}},
                          {"alibi", "F32", {"4"}}}),
                    R"("causal":true,"align":"BOTTOM_RIGHT","window_left":3,"window_right":0,"softcap":4,"lse":"l",)"));
  seeds.push_back(AttentionNode(with({{"seqused_q", "I32", {"b"}}, {"seqused_k", "I32", {"b"}}}),
                                R"("weights":"p","scores":"s2",)"));
  seeds.push_back(AttentionNode({{"q", "F32", {"1", "4", "6", "6"}},
                                 {"k", "F32", {"1", "2", "8", "6"}},
                                 {"v", "F32", {"1", "2", "8", "6"}},
                                 {"csr_indptr", "I32", {"1", "1", "4"}},
                                 {"csr_indices", "I32", {"5"}}},
                                R"("mask_block_q":2,"mask_block_kv":2,)"));
  seeds.push_back(AttentionNode({{"q", "F32", {"1", "4", "6", "6"}},
                                 {"k", "F32", {"1", "2", "8", "6"}},
                                 {"v", "F32", {"1", "2", "8", "6"}},
                                 {"block_mask", "U8", {"1", "4", "3", "4"}},
                                 {"bit_mask", "U8", {"1", "1", "6", "1"}}},
                                R"("mask_block_q":2,"mask_block_kv":2,)"));
  seeds.push_back(
      AttentionNode({{"q", "F16", {"s", "4", "8"}},
                     {"k", "F16", {"t", "4", "8"}},
                     {"v", "F16", {"t", "4", "8"}},
                     {"cu_seqlens_q", "I32", {"3"}},
                     {"cu_seqlens_k", "I32", {"3"}}},
                    R"("layout":"THD","causal":true,"align":"TOP_LEFT","max_seq_q":8,"max_seq_kv":9,"lse":"l",)"));
  seeds.push_back(AttentionNode({{"q", "F32", {"b", "4", "2", "8"}},
                                 {"k", "F32", {"6", "2", "4", "8"}},
                                 {"v", "F32", {"6", "2", "4", "8"}},
                                 {"block_table", "I32", {"b", "2"}},
                                 {"seqused_k", "I32", {"b"}},
                                 {"k_new", "F32", {"b", "2", "2", "8"}},
                                 {"v_new", "F32", {"b", "2", "2", "8"}}},
                                R"("causal":true,"align":"BOTTOM_RIGHT",)"));
  seeds.push_back(AttentionNode({{"q", "I8", {"1", "2", "s", "8"}},
                                 {"k", "I8", {"1", "2", "t", "8"}},
                                 {"v", "I8", {"1", "2", "t", "8"}},
                                 {"sq", "F32", {"1"}},
                                 {"sk", "F32", {"1", "2"}},
                                 {"sv", "F32", {"1", "2", "8"}}},
                                R"("quant_q":{"scale":"sq"},"quant_k":{"scale":"sk","granularity":"PER_HEAD"},)"
                                R"("quant_v":{"scale":"sv","granularity":"PER_CHANNEL"},)"));
  seeds.push_back(
      AttentionNode({{"q", "BF16", {"b", "s", "8"}}, {"k", "BF16", {"b", "t", "4"}}, {"v", "BF16", {"b", "t", "4"}}},
                    R"("layout":"BSE","query_heads":4,"kv_heads":2,)"));
  return seeds;
}

// Calls of a run that went past its time are stopped the way a user stops them: by the cancel callback.
struct Clock {
  std::chrono::steady_clock::time_point end;
  static int32_t Cancel(void* user) {
    return std::chrono::steady_clock::now() > static_cast<Clock*>(user)->end ? 1 : 0;
  }
};

struct Tally {
  size_t parsed = 0, loaded = 0, planned = 0, ran = 0;
  double slowest = 0;
};

class Runner {
 public:
  Runner() {
    engine_ = MakeEngine(Settings{{"threads", "1"}, {"max_memory", "16777216"}, {"plugin_environment", "false"}});
  }

  void Try(const std::string& text, Random& random, Tally* tally) {
    const auto begin = std::chrono::steady_clock::now();
    const auto bytes = ModelToBinary(text);
    if (!bytes.ok()) {
      CHECK(bytes.status().message().size() > 5);
    } else {
      ++tally->parsed;
      Binary(*bytes, random, tally);
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    tally->slowest = std::max(tally->slowest, seconds);
  }

  void Binary(const std::vector<uint8_t>& bytes, Random& random, Tally* tally) {
    if (bytes.empty()) return;  // no bytes are no file: another error, of the caller
    Error error;
    uint64_t needed = 0;
    REQUIRE(sage_model_check_buffer(engine_.get(), bytes.data(), bytes.size(), kModels.c_str(), nullptr, 0, &needed,
                                    &error) == SAGE_OK);
    std::string report(needed, '\0');
    REQUIRE(sage_model_check_buffer(engine_.get(), bytes.data(), bytes.size(), kModels.c_str(), report.data(), needed,
                                    &needed, &error) == SAGE_OK);
    const bool valid = report.starts_with("{\"valid\":true");
    ApiModel model;
    const sage_status loaded =
        sage_model_load_buffer(engine_.get(), bytes.data(), bytes.size(), kModels.c_str(), model.out(), &error);
    CHECK((loaded == SAGE_OK) == valid);
    if (loaded != SAGE_OK) return Refused(loaded, error);
    ++tally->loaded;
    ApiOptions options;
    Clock clock{std::chrono::steady_clock::now() + std::chrono::seconds(1)};
    REQUIRE(sage_options_set_cancel(options.get(), Clock::Cancel, &clock, &error) == SAGE_OK);
    if (random.OneIn(3)) options.Set("verify", "always");
    if (random.OneIn(3)) options.Set("warmup", "all");
    const bool measured = random.OneIn(3);
    if (measured) options.Set("accuracy_report", "on");
    ApiSession session;
    const sage_status planned = sage_session_create(model.get(), options.get(), session.out(), &error);
    if (planned != SAGE_OK) return Refused(planned, error);
    ++tally->planned;
    CHECK(TextOf(sage_session_explain, session.get()).size() > 10);
    if (sage_model_kind(model.get()) == SAGE_MODEL_OP_GRAPH) {
      for (int run = 0; run < 3; ++run) OpGraph(model.get(), session.get(), random, tally);
    } else {
      Ticks(model.get(), session.get(), tally);
    }
    CHECK(TextOf(sage_session_trace, session.get()).size() > 10);
    needed = 0;  // none where the last run failed
    const sage_status accuracy = sage_session_accuracy(session.get(), nullptr, 0, &needed, &error);
    if (accuracy != SAGE_OK) return Refused(accuracy, error);
    CHECK(measured);
    CHECK(TextOf(sage_session_accuracy, session.get()).size() > 10);
  }

 private:
  static void Refused(sage_status status, const Error& error) {
    CAPTURE(std::string(error.message));
    CHECK(std::string(error.message).size() > 10);
    CHECK(status != SAGE_E_INTERNAL);
  }

  void OpGraph(sage_model* model, sage_session* session, Random& random, Tally* tally) {
    Error error;
    const uint32_t inputs = sage_model_io_count(model, SAGE_INPUT), outputs = sage_model_io_count(model, SAGE_OUTPUT);
    const int64_t open = static_cast<int64_t>(random.Below(4));  // one length for every symbol is always consistent
    for (uint32_t i = 0; i < inputs; ++i) {
      sage_dtype dtype = 0;
      uint32_t rank = 0;
      int64_t shape[SAGE_MAX_RANK];
      REQUIRE(sage_model_io_info(model, SAGE_INPUT, i, nullptr, &dtype, &rank, shape, &error) == SAGE_OK);
      uint64_t elements = 1;
      for (uint32_t d = 0; d < rank; ++d) {
        if (shape[d] < 0) shape[d] = open;
        if (__builtin_mul_overflow(elements, static_cast<uint64_t>(shape[d]), &elements) || elements > (1u << 22))
          return;
      }
      std::vector<uint8_t> data(elements * support::DtypeSize(dtype));
      for (uint8_t& byte : data) byte = static_cast<uint8_t>(random.Bits());
      if (dtype == SAGE_I32 || dtype == SAGE_I64 || dtype == SAGE_BOOL)
        FillIndices(dtype, static_cast<int64_t>(elements), open, random, data.data());
      const sage_status set = sage_session_set_input(session, i, dtype, rank, shape, data.data(), data.size(), &error);
      if (set != SAGE_OK) return Refused(set, error);
    }
    const sage_status ran = sage_session_run(session, &error);
    if (ran != SAGE_OK) return Refused(ran, error);
    ++tally->ran;
    for (uint32_t i = 0; i < outputs; ++i) {
      uint64_t bytes = 0;
      REQUIRE(sage_session_output_info(session, i, nullptr, nullptr, nullptr, &bytes, &error) == SAGE_OK);
      std::vector<uint8_t> data(bytes);
      CHECK(sage_session_get_output(session, i, data.data(), bytes, &error) == SAGE_OK);
    }
  }

  // Rising to `end`, one apart, or small and in any order; now and then one that is out of every range.
  static void FillIndices(sage_dtype dtype, int64_t count, int64_t end, Random& random, uint8_t* out) {
    const size_t kind = random.Below(3);
    for (int64_t i = 0; i < count; ++i) {
      int64_t value = kind == 0   ? i * end / std::max<int64_t>(count - 1, 1)
                      : kind == 1 ? i
                                  : static_cast<int64_t>(random.Below(9));
      if (random.OneIn(97)) value = random.Of(HardIntegers());
      if (dtype == SAGE_BOOL) value &= 1;
      const size_t size = support::DtypeSize(dtype);
      for (size_t b = 0; b < size; ++b) out[static_cast<size_t>(i) * size + b] = static_cast<uint8_t>(value >> (8 * b));
    }
  }

  void Ticks(sage_model* model, sage_session* session, Tally* tally) {
    const char* ticks[] = {R"({"ts":1,"targets":[{"id":"a","salience":0.5},{"id":"b","salience":1}]})",
                           R"({"ts":2,"state":"DREAM","targets":[{"id":"a","salience":0.5},{"id":"b","salience":0}]})",
                           R"({"ts":3,"state":"FOCUS","targets":[{"id":"a","salience":0.5},{"id":"b","salience":0}]})",
                           R"({"ts":4,"sensors":[{"id":"a","salience":0.5},{"id":"b","salience":0.97}]})"};
    Error error;
    for (std::string tick : ticks) {
      if (sage_model_kind(model) == SAGE_MODEL_EXPERT) {
        const json report = ExplainOf(session);
        const auto n = report.value("num_experts", size_t{1});
        if (n > 10000) return;
        tick = json{{"ts", 1}, {"router_logits", std::vector<double>(n, 0.25)}}.dump();
      }
      const sage_status status = sage_session_tick(session, tick.data(), tick.size(), &error);
      if (status == SAGE_OK) ++tally->ran;
      if (status != SAGE_OK) Refused(status, error);
      CHECK(json::parse(TextOf(sage_session_decision, session), nullptr, false).is_object());
    }
  }

  ApiEngine engine_;
};

std::vector<std::string> Words() {
  std::vector<std::string> words;
  for (const char* word : {"name",
                           "graph_type",
                           "graph",
                           "OpGraph",
                           "ExpertGraph",
                           "MetabolicGraph",
                           "FusionGraph",
                           "symbols",
                           "tensors",
                           "nodes",
                           "inputs",
                           "outputs",
                           "op_type",
                           "op",
                           "dtype",
                           "shape",
                           "size",
                           "symbol",
                           "max",
                           "weight",
                           "values",
                           "key",
                           "file",
                           "offset",
                           "path",
                           "format",
                           "RAW",
                           "F32",
                           "F64",
                           "F16",
                           "BF16",
                           "I8",
                           "I16",
                           "I32",
                           "I64",
                           "U8",
                           "U64",
                           "BOOL",
                           "F8_E4M3",
                           "F8_E5M2",
                           "q",
                           "k",
                           "v",
                           "x",
                           "out",
                           "a",
                           "b",
                           "s",
                           "t",
                           "n",
                           "o",
                           "y",
                           "Attention",
                           "Linear",
                           "MatMul",
                           "Norm",
                           "Unary",
                           "Binary",
                           "Softmax",
                           "Reduce",
                           "Gather",
                           "Concat",
                           "Slice",
                           "Permute",
                           "TopK",
                           "Rope",
                           "Pool",
                           "Reshape",
                           "axis",
                           "axes",
                           "function",
                           "layout",
                           "THD",
                           "BSE",
                           "BSHD",
                           "policy",
                           "backend",
                           "algorithm",
                           "FLASH",
                           "MATERIALISED",
                           "cpu",
                           "reference",
                           "max_memory",
                           "block_q",
                           "block_kv",
                           "accuracy",
                           "LOSSY",
                           "mask",
                           "bias",
                           "lse",
                           "weights",
                           "scores",
                           "window_left",
                           "causal",
                           "align",
                           "seqused_k",
                           "block_table",
                           "k_new",
                           "v_new",
                           "attention",
                           "d_model",
                           "query_heads",
                           "kv_heads",
                           "head_dim",
                           "gamma",
                           "FILE",
                           "SEEDED",
                           "mode",
                           "LEGACY",
                           "COMPARE",
                           "num_experts",
                           "max_targets",
                           "max_sensors",
                           "max_rows",
                           "max_batch",
                           "head_weights",
                           "",
                           "\\u0000",
                           "requires",
                           "weight_files"})
    words.emplace_back(word);
  return words;
}

}  // namespace

TEST_CASE("fuzz: models changed by structure end as outputs or as a sentence") {
  const std::vector<std::string> seeds = Seeds(), words = Words();
  Runner runner;
  size_t ran = 0;
  for (size_t number = 0; number < seeds.size(); ++number) {
    CAPTURE(number);
    Random random(100 + number);
    Tally whole;
    runner.Try(seeds[number], random, &whole);
    CHECK(whole.planned == 1);
    Tally tally;
    constexpr size_t kCases = size_t{120} * SAGE_FUZZ_ROUNDS;
    for (size_t i = 0; i < kCases; ++i) {
      std::string text = ChangeJson(random, seeds[number], words);
      if (random.OneIn(10)) ChangeBytes(random, &text);
      CAPTURE(text.substr(0, 6000));
      runner.Try(text, random, &tally);
    }
    MESSAGE(number << ": " << tally.parsed << " parsed, " << tally.loaded << " loaded, " << tally.planned
                   << " planned, " << tally.ran << " runs, slowest " << tally.slowest << " s");
    CHECK(tally.parsed > kCases / 20);
    CHECK(tally.loaded < kCases);
    ran += tally.ran;
  }
  // Not of each: among so few changes of one model it may happen that none is harmless.
  CHECK(ran > seeds.size());
}

TEST_CASE("fuzz: binary models damaged in several places end as outputs or as a sentence") {
  const std::vector<std::string> seeds = Seeds();
  Runner runner;
  Tally tally;
  for (size_t number = 0; number < seeds.size(); ++number) {
    CAPTURE(number);
    Random random(200 + number);
    const auto good = ModelToBinary(seeds[number]);
    REQUIRE(good.ok());
    for (size_t i = 0; i < size_t{150} * SAGE_FUZZ_ROUNDS; ++i) {
      std::vector<uint8_t> bytes = *good;
      for (size_t k = 1 + random.Below(3); k > 0; --k) {
        const size_t at = 8 + random.Below(bytes.size() - 8);
        // Whole words as well: an offset or a size that is another number, not another bit.
        const int64_t value = random.Of(HardIntegers());
        const size_t length = random.OneIn(2) ? 1 : random.OneIn(2) ? 4 : 8;
        for (size_t b = 0; b < length && at + b < bytes.size(); ++b)
          bytes[at + b] = static_cast<uint8_t>(value >> (8 * b));
      }
      CAPTURE(i);
      runner.Binary(bytes, random, &tally);
    }
  }
  CHECK(tally.ran > 0);
}
