// What attention makes of codes: as near to the floats as the bars say, and in a quarter of their memory.
#include <cmath>
#include <cstdint>
#include <vector>

#include "sage/quantize.h"
#include "system/attention_api.h"

using namespace sage::test;

namespace {

std::vector<float> Normal(size_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

// Q, K and V of [1,2,s,d] as i8 with scales of one granularity; O in f32.
struct Quantized {
  int64_t s, d;
  uint32_t granularity;
  std::vector<int8_t> codes[3];
  std::vector<float> scales[3], o;
  sage_tensor tensors[4]{}, scale_tensors[3]{};
  const sage_tensor* slots[SAGE_ATTN_NUM_SLOTS]{};
  sage_attention_attributes attributes{};
  sage_op op{};

  Quantized(int64_t rows, int64_t width, uint32_t by, const std::vector<float>* const (&floats)[3])
      : s(rows), d(width), granularity(by), o(static_cast<size_t>(2 * rows * width)) {
    const int64_t shape[] = {1, 2, s, d}, shapes[][3] = {{1, 0, 0}, {1, 2, 0}, {1, 2, s}, {1, 2, d}};
    const uint32_t ranks[] = {1, 2, 3, 3}, at = granularity - SAGE_PER_TENSOR;
    for (int i = 0; i < 3; ++i) {
      codes[i].resize(floats[i]->size());
      size_t count = 1;
      for (uint32_t axis = 0; axis < ranks[at]; ++axis) count *= static_cast<size_t>(shapes[at][axis]);
      scales[i].resize(count);
      sage_tensor x;
      sage_tensor_init(&x, SAGE_F32, 4, shape, const_cast<float*>(floats[i]->data()));
      x.flags = SAGE_TENSOR_READ_ONLY;
      sage_tensor_init(&tensors[i], SAGE_I8, 4, shape, codes[i].data());
      sage_tensor_init(&scale_tensors[i], SAGE_F32, ranks[at], shapes[at], scales[i].data());
      Error error;
      REQUIRE_MESSAGE(sage_quantize(&x, granularity, 0, 0, nullptr, &tensors[i], &scale_tensors[i], nullptr, nullptr,
                                    &error) == SAGE_OK,
                      error.message);
      slots[SAGE_ATTN_Q + i] = &tensors[i];
      slots[SAGE_ATTN_SCALE_Q + i] = &scale_tensors[i];
    }
    sage_tensor_init(&tensors[3], SAGE_F32, 4, shape, o.data());
    slots[SAGE_ATTN_O] = &tensors[3];
    attributes.struct_size = sizeof attributes;
    attributes.granularity_q = attributes.granularity_k = attributes.granularity_v = granularity;
    op.struct_size = sizeof op;
    op.kind = SAGE_OP_ATTENTION;
    op.num_slots = SAGE_ATTN_NUM_SLOTS;
    op.attributes = &attributes;
    op.slots = slots;
  }
};

struct Handles {
  sage_engine* engine = nullptr;
  sage_attention_plan* plan = nullptr;
  sage_attention_context* context = nullptr;
  ~Handles() {
    sage_attention_context_destroy(context);
    sage_attention_plan_destroy(plan);
    sage_engine_destroy(engine);
  }
  void Make(const sage_op& op, const char* backend) {
    OptionsOf options{{"backend", backend}};
    Error error;
    engine = MakeEngine();
    REQUIRE_MESSAGE(sage_attention_plan_create(engine, &op, options.handle, &plan, &error) == SAGE_OK, error.message);
    REQUIRE_MESSAGE(sage_attention_context_create(plan, &context, &error) == SAGE_OK, error.message);
  }
};

sage_attention_memory MemoryOf(const sage_attention_plan* plan) {
  sage_attention_memory memory{};
  memory.struct_size = sizeof memory;
  REQUIRE(sage_attention_plan_memory(plan, &memory, nullptr) == SAGE_OK);
  return memory;
}

}  // namespace

TEST_CASE(
    "R5 quantise: attention over absmax codes per tensor is within 2 % of that over the floats; finer is nearer") {
  constexpr int64_t kRows = 64, kWidth = 64;
  Problem floats(kRows, kWidth);
  floats.q = Normal(floats.q.size(), 11), floats.k = Normal(floats.k.size(), 12),
  floats.v = Normal(floats.v.size(), 13);
  float* data[] = {floats.q.data(), floats.k.data(), floats.v.data()};
  for (size_t i = 0; i < 3; ++i) floats.tensors[i].data = data[i];
  Handles exact;
  exact.Make(floats.op, "reference");
  REQUIRE(sage_attention_run(exact.context, floats.slots.data(), 4, nullptr, nullptr) == SAGE_OK);
  double before = 0.02;
  for (const uint32_t granularity : {SAGE_PER_TENSOR, SAGE_PER_TOKEN}) {
    CAPTURE(granularity);
    Quantized codes(kRows, kWidth, granularity, {&floats.q, &floats.k, &floats.v});
    Handles lossy;
    lossy.Make(codes.op, "reference");
    REQUIRE(sage_attention_run(lossy.context, codes.slots, SAGE_ATTN_NUM_SLOTS, nullptr, nullptr) == SAGE_OK);
    double error = 0, norm = 0;
    for (size_t i = 0; i < codes.o.size(); ++i) {
      const auto right = static_cast<double>(floats.o[i]), difference = static_cast<double>(codes.o[i]) - right;
      error += difference * difference, norm += right * right;
    }
    const double relative = std::sqrt(error / norm);
    CHECK(relative > 0);
    CHECK(relative <= before);
    before = relative;
  }
}

TEST_CASE("R8 quantise: Q K and V of an i8 plan are a quarter of the f32 plan's; scales and scratch stand apart") {
  constexpr int64_t kRows = 96, kWidth = 32;
  Problem floats(kRows, kWidth);
  Quantized codes(kRows, kWidth, SAGE_PER_TOKEN, {&floats.q, &floats.k, &floats.v});
  Handles f32, i8;
  f32.Make(floats.op, "reference");
  i8.Make(codes.op, "reference");
  const sage_attention_memory large = MemoryOf(f32.plan), small = MemoryOf(i8.plan);
  CHECK(large.q_bytes == 4 * 2 * kRows * kWidth);
  CHECK(small.q_bytes * 4 == large.q_bytes);
  CHECK(small.k_bytes * 4 == large.k_bytes);
  CHECK(small.v_bytes * 4 == large.v_bytes);
  CHECK(small.o_bytes == large.o_bytes);
  CHECK(small.other_bytes == 3 * 4 * 2 * kRows);
  CHECK(small.scratch_bytes > 0);
  CHECK(small.total_bytes ==
        small.q_bytes + small.k_bytes + small.v_bytes + small.o_bytes + small.other_bytes + small.scratch_bytes);
}
