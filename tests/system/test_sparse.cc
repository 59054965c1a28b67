// test_sparse.cc: masks of a partition and the gate through sparse.h: every form gives what -inf would, on every
// backend; tiles are skipped and counted; the gate's window is what the kernel runs.
#include <cmath>

#include "c_api.h"
#include "sage/sparse.h"

using namespace sage::test;

namespace {

struct Forms {
  std::vector<unsigned char> mask, blocks;
  std::vector<int32_t> indptr, indices;
  uint64_t kept = 0, tiles = 0;
};

Forms Build(int64_t seq, int64_t parts, uint32_t tile) {
  Forms f;
  const auto rows = static_cast<uint64_t>((seq + tile - 1) / tile);
  Error error;
  REQUIRE_MESSAGE(sage_mincut_mask(seq, parts, nullptr, 0, &f.kept, &error) == SAGE_OK, error.message);
  f.mask.resize(static_cast<size_t>(seq * seq));
  f.indptr.resize(static_cast<size_t>(seq) + 1), f.indices.resize(f.kept);
  f.blocks.resize(rows * rows);
  uint64_t again = 0;
  REQUIRE(sage_mincut_mask(seq, parts, f.mask.data(), f.mask.size(), &again, nullptr) == SAGE_OK);
  CHECK(again == f.kept);
  REQUIRE(sage_mincut_csr(seq, parts, 1, 1, f.indptr.data(), f.indptr.size(), f.indices.data(), f.indices.size(),
                          &again, nullptr) == SAGE_OK);
  CHECK(again == f.kept);
  REQUIRE(sage_mincut_blocks(seq, parts, tile, tile, f.blocks.data(), f.blocks.size(), &f.tiles, nullptr) == SAGE_OK);
  return f;
}

// One more slot of the problem.
struct Slot {
  uint32_t index;
  sage_tensor tensor{};
  Slot(uint32_t slot, sage_dtype dtype, const std::vector<int64_t>& shape, void* data) : index(slot) {
    sage_tensor_init(&tensor, dtype, static_cast<uint32_t>(shape.size()), shape.data(), data);
  }
};

std::vector<float> RunWith(sage_engine* engine, const char* backend, const char* algorithm, AttentionProblem& problem,
                           std::vector<Slot> more) {
  std::vector<const sage_tensor*> slots(SAGE_ATTN_NUM_SLOTS);
  for (size_t i = 0; i < 4; ++i) slots[i] = &problem.tensors[i];
  for (Slot& slot : more) slots[slot.index] = &slot.tensor;
  problem.op.slots = slots.data(), problem.op.num_slots = SAGE_ATTN_NUM_SLOTS;
  const ApiPlan plan = problem.Plan(engine, {{"backend", backend}, {"algorithm", algorithm}});
  ApiContext context;
  Error error;
  REQUIRE_MESSAGE(sage_attention_context_create(plan.get(), context.out(), &error) == SAGE_OK, error.message);
  std::fill(problem.data[3].begin(), problem.data[3].end(), 77.0f);
  REQUIRE_MESSAGE(sage_attention_run(context.get(), slots.data(), SAGE_ATTN_NUM_SLOTS, nullptr, &error) == SAGE_OK,
                  error.message);
  return problem.data[3];
}

float Apart(const std::vector<float>& a, const std::vector<float>& b) {
  float largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

}  // namespace

TEST_CASE("R17 mincut masks: bool, CSR by positions and skipped tiles are equal to a bias of -inf, on every backend") {
  const ApiEngine engine = MakeEngine();
  for (const auto& [seq, parts] : {std::pair<int64_t, int64_t>{32, 3}, {64, 8}, {150, 7}}) {
    CAPTURE(seq);
    AttentionProblem problem(1, 2, 1, seq, seq, 16);
    constexpr uint32_t kTile = 16;
    Forms f = Build(seq, parts, kTile);
    std::vector<float> bias(static_cast<size_t>(seq * seq));
    for (size_t i = 0; i < bias.size(); ++i) bias[i] = f.mask[i] != 0 ? 0.0f : -INFINITY;
    const auto repeated = [&](uint32_t slot, sage_dtype dtype, void* data) {
      Slot out(slot, dtype, {1, 2, seq, seq}, data);
      out.tensor.stride[1] = 0;
      return out;
    };
    const int64_t tiles = (seq + kTile - 1) / kTile;
    const Slot dense = repeated(SAGE_ATTN_BIAS, SAGE_F32, bias.data()),
               mask = repeated(SAGE_ATTN_MASK, SAGE_BOOL, f.mask.data()),
               blocks(SAGE_ATTN_BLOCK_MASK, SAGE_U8, {1, 1, tiles, tiles}, f.blocks.data()),
               indptr(SAGE_ATTN_CSR_INDPTR, SAGE_I32, {1, 1, seq + 1}, f.indptr.data()),
               indices(SAGE_ATTN_CSR_INDICES, SAGE_I32, {static_cast<int64_t>(f.kept)}, f.indices.data());
    const auto tile = [&problem](uint32_t size) {
      problem.attributes.mask_block_q = problem.attributes.mask_block_kv = size;
    };
    const std::vector<float> oracle = RunWith(engine.get(), "reference", "auto", problem, {dense});
    for (const char* backend : {"reference", "cpu"}) {
      if (!HasBackend(engine.get(), backend)) continue;
      for (const char* algorithm : {"flash", "materialised"}) {
        INFO(std::string(backend));
        INFO(std::string(algorithm));
        tile(0);
        const std::vector<float> by_bias = RunWith(engine.get(), backend, algorithm, problem, {dense});
        CHECK(Apart(by_bias, oracle) < 1e-5f);
        CHECK(Apart(RunWith(engine.get(), backend, algorithm, problem, {mask}), by_bias) < 1e-6f);
        tile(kTile);
        CHECK(Apart(RunWith(engine.get(), backend, algorithm, problem, {mask, blocks}), by_bias) < 1e-6f);
        tile(1);
        CHECK(Apart(RunWith(engine.get(), backend, algorithm, problem, {indptr, indices}), by_bias) < 1e-6f);
        tile(0);
      }
    }
  }
}

TEST_CASE("R17 R19 tiles that a mask or a window leaves nothing of are skipped, and the trace counts them") {
  const ApiEngine engine = MakeEngine();
  if (!HasBackend(engine.get(), "cpu")) {
    MESSAGE("skipped: the cpu plugin is not built");
    return;
  }
  constexpr int64_t kSeq = 1024, kParts = 8, kTile = 64;
  Forms f = Build(kSeq, kParts, kTile);
  const auto counts = [&](const json& node, bool masks, const char* algorithm = "FLASH") {
    AttentionModel model;
    model.rows = model.keys = kSeq;
    model.node = node;
    model.policy = {{"algorithm", algorithm}, {"block_q", kTile}, {"block_kv", kTile}};
    json text = model.Json();
    if (masks) {
      const auto tensor = [](const char* name, const char* dtype, std::vector<int64_t> sizes) {
        json shape = json::array();
        for (const int64_t size : sizes) shape.push_back({{"size", size}});
        return json{{"name", name}, {"dtype", dtype}, {"shape", shape}};
      };
      text["graph"]["tensors"].push_back(tensor("mask", "BOOL", {1, 1, kSeq, kSeq}));
      text["graph"]["tensors"].push_back(tensor("blocks", "U8", {1, 1, kSeq / kTile, kSeq / kTile}));
      text["graph"]["inputs"].push_back("mask"), text["graph"]["inputs"].push_back("blocks");
    }
    const ApiModel loaded = MakeModel(engine.get(), text);
    const ApiSession session = MakeSession(loaded.get(), {{"trace", "true"}, {"backend", "cpu"}, {"strict", "true"}});
    const std::vector<float> x(2 * kSeq * 16, 0.25f);
    const int64_t shape[] = {1, 2, kSeq, 16}, whole[] = {1, 1, kSeq, kSeq},
                  tiles[] = {1, 1, kSeq / kTile, kSeq / kTile};
    for (uint32_t input = 0; input < 3; ++input)
      REQUIRE(sage_session_set_input(session.get(), input, SAGE_F32, 4, shape, x.data(), x.size() * 4, nullptr) ==
              SAGE_OK);
    if (masks) {
      Error error;
      REQUIRE_MESSAGE(sage_session_set_input(session.get(), 3, SAGE_BOOL, 4, whole, f.mask.data(), f.mask.size(),
                                             &error) == SAGE_OK,
                      error.message);
      REQUIRE(sage_session_set_input(session.get(), 4, SAGE_U8, 4, tiles, f.blocks.data(), f.blocks.size(), nullptr) ==
              SAGE_OK);
    }
    Error error;
    REQUIRE_MESSAGE(sage_session_run(session.get(), &error) == SAGE_OK, error.message);
    return TraceOf(session.get())["nodes"][0]["counts"];
  };
  constexpr int64_t kRow = kSeq / kTile, kAll = 2 * kRow * kRow;  // two heads
  const json dense = counts(json::object(), false);
  CHECK(dense["tiles_computed"] == kAll);
  CHECK(dense["tiles_skipped"] == 0);
  const json causal = counts({{"causal", true}, {"align", "TOP_LEFT"}}, false);
  CHECK(causal["tiles_computed"] == kRow * (kRow + 1));
  CHECK(causal["tiles_skipped"] == kAll - kRow * (kRow + 1));
  // Whole rows of scores skip what no position of a tile's rows sees as well.
  const json whole = counts({{"causal", true}, {"align", "TOP_LEFT"}}, false, "MATERIALISED");
  CHECK(whole["tiles_computed"] == kRow * (kRow + 1));
  CHECK(whole["tiles_skipped"] == kAll - kRow * (kRow + 1));
  // A window of one tile's length touches the tile before as well.
  const json window = counts({{"causal", true}, {"align", "TOP_LEFT"}, {"window_left", kTile - 1}}, false);
  CHECK(window["tiles_computed"] == 2 * (2 * kRow - 1));
  const json sparse =
      counts({{"mask", "mask"}, {"block_mask", "blocks"}, {"mask_block_q", kTile}, {"mask_block_kv", kTile}}, true);
  CHECK(sparse["tiles_computed"] == 2 * f.tiles);
  CHECK(sparse["tiles_skipped"] == kAll - 2 * static_cast<int64_t>(f.tiles));
  CHECK(f.tiles < kRow * (kRow + 1) / 2);
}

TEST_CASE("R17 sparse.h: too small arrays, sizes that cannot be and null are refused, and nothing is written") {
  uint64_t kept = 7;
  Error error;
  unsigned char small[8] = {9, 9, 9, 9, 9, 9, 9, 9};
  int32_t numbers[8] = {9, 9, 9, 9, 9, 9, 9, 9};
  CHECK(sage_mincut_mask(8, 2, small, 8, &kept, &error) == SAGE_E_BUFFER_TOO_SMALL);
  CHECK_MESSAGE(error.Says("64"), error.message);
  CHECK(sage_mincut_blocks(8, 2, 2, 2, small, 8, &kept, nullptr) == SAGE_E_BUFFER_TOO_SMALL);
  CHECK(sage_mincut_csr(8, 2, 1, 1, numbers, 8, nullptr, 0, &kept, nullptr) == SAGE_E_BUFFER_TOO_SMALL);
  CHECK(sage_mincut_csr(4, 2, 1, 1, numbers, 8, numbers, 2, &kept, nullptr) == SAGE_E_BUFFER_TOO_SMALL);
  CHECK(kept == 7);
  CHECK(small[0] == 9);
  CHECK(numbers[0] == 9);
  CHECK(sage_mincut_mask(8, 9, small, 8, &kept, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_mincut_blocks(8, 2, 0, 2, small, 8, &kept, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_mincut_csr(8, 2, 1, 1, nullptr, 0, numbers, 8, &kept, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_mincut_csr(1 << 20, 1, 1, 1, nullptr, 0, nullptr, 0, &kept, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_mincut_mask(8, 2, nullptr, 0, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  // A million tokens by tiles: counted without a matrix.
  REQUIRE(sage_mincut_csr(1 << 20, 1024, 64, 64, nullptr, 0, nullptr, 0, &kept, nullptr) == SAGE_OK);
  CHECK(kept > uint64_t{1} << 14);

  sage_gate_decision decision{};
  sage_gate_packet packet{};
  packet.struct_size = sizeof packet;
  CHECK(sage_gate_decide(&packet, nullptr, &decision, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(error.Says("struct_size"), error.message);
  decision.struct_size = sizeof decision;
  CHECK(sage_gate_decide(nullptr, nullptr, &decision, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_gate_decide(&packet, nullptr, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  REQUIRE(sage_gate_decide(&packet, nullptr, &decision, nullptr) == SAGE_OK);
  CHECK(decision.verdict == SAGE_GATE_QUARANTINE);  // lambda 0
  CHECK(sage_gate_apply(&decision, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
}

TEST_CASE("R18 the gate's window reaches the kernel: the plan names it, and the result is that of the window's mask") {
  const ApiEngine engine = MakeEngine();
  sage_gate_packet packet{};
  packet.struct_size = sizeof packet;
  packet.lambda = packet.lambda_prev = 100;
  for (const auto& [edges, window] : {std::pair<uint32_t, int64_t>{5, 16}, {21, 8}}) {
    packet.boundary_edges = edges;
    sage_gate_decision decision{};
    decision.struct_size = sizeof decision;
    REQUIRE(sage_gate_decide(&packet, nullptr, &decision, nullptr) == SAGE_OK);
    REQUIRE(decision.window == window);
    const int64_t seq = decision.sequence;  // the newest tokens are all the caller passes
    AttentionProblem gated(1, 2, 2, seq, seq, 16), masked(1, 2, 2, seq, seq, 16);
    gated.attributes.alignment = SAGE_ALIGN_BOTTOM_RIGHT;
    REQUIRE(sage_gate_apply(&decision, &gated.attributes, nullptr) == SAGE_OK);
    const ApiPlan plan = gated.Plan(engine.get());
    const std::string problem = ExplainOf(plan.get())["problem"];
    CHECK_MESSAGE(problem.find("window=" + std::to_string(window - 1)) != std::string::npos, problem);
    std::vector<unsigned char> keep(static_cast<size_t>(seq * seq));
    for (int64_t i = 0; i < seq; ++i)
      for (int64_t j = 0; j < seq; ++j) keep[static_cast<size_t>(i * seq + j)] = j <= i && i - j < window;
    Slot mask(SAGE_ATTN_MASK, SAGE_BOOL, {1, 2, seq, seq}, keep.data());
    mask.tensor.stride[1] = 0;
    CHECK(Apart(gated.Run(plan.get()), RunWith(engine.get(), "reference", "auto", masked, {mask})) < 1e-5f);
  }
}
