// attention_api.h: what the tests of the one-shot attention API share: a problem with its memory and the right answer,
// handles made or the test fails, and a lent parallel_for that can be held. Through sage.h only.
#ifndef SAGE_TESTS_SYSTEM_ATTENTION_API_H_
#define SAGE_TESTS_SYSTEM_ATTENTION_API_H_

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <initializer_list>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "sage/sage.h"
#include "support/error_slot.h"

namespace sage::test {

struct OptionsOf {
  sage_options* handle = nullptr;
  OptionsOf(std::initializer_list<std::pair<const char*, const char*>> values) {
    REQUIRE(sage_options_create(&handle, nullptr) == SAGE_OK);
    for (const auto& [key, value] : values) REQUIRE(sage_options_set(handle, key, value, nullptr) == SAGE_OK);
  }
  ~OptionsOf() { sage_options_destroy(handle); }
};

// f32 attention of one shape with its memory; the fields are there to be changed.
struct Problem {
  std::array<int64_t, 4> shape;
  std::vector<float> q, k, v, o;
  std::array<sage_tensor, 4> tensors{};
  std::array<const sage_tensor*, 4> slots{};
  sage_attention_attributes attributes{};
  sage_op op{};

  explicit Problem(int64_t rows = 6, int64_t width = 8) : shape{1, 2, rows, width} {
    const size_t count = static_cast<size_t>(2 * rows * width);
    std::mt19937 random(5);
    for (auto* values : {&q, &k, &v, &o}) {
      values->resize(count);
      for (float& value : *values) value = static_cast<float>(random() % 1000) / 500.0f - 1.0f;
    }
    float* data[4] = {q.data(), k.data(), v.data(), o.data()};
    for (size_t slot = 0; slot < 4; ++slot) {
      sage_tensor_init(&tensors[slot], SAGE_F32, 4, shape.data(), data[slot]);
      slots[slot] = &tensors[slot];
    }
    attributes.struct_size = sizeof attributes;
    op.struct_size = sizeof op;
    op.kind = SAGE_OP_ATTENTION;
    op.num_slots = 4;
    op.attributes = &attributes;
    op.slots = slots.data();
  }
  bool Right() const {
    const int64_t rows = shape[2], width = shape[3];
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t i = 0; i < rows; ++i) {
        std::vector<double> p(static_cast<size_t>(rows));
        double top = -INFINITY, sum = 0;
        const auto at = [&](const std::vector<float>& x, int64_t row, int64_t e) {
          return static_cast<double>(x[static_cast<size_t>((h * rows + row) * width + e)]);
        };
        for (int64_t j = 0; j < rows; ++j) {
          double s = 0;
          for (int64_t e = 0; e < width; ++e) s += at(q, i, e) * at(k, j, e);
          p[static_cast<size_t>(j)] = s /= std::sqrt(static_cast<double>(width));
          top = std::max(top, s);
        }
        for (double& s : p) sum += s = std::exp(s - top);
        for (int64_t e = 0; e < width; ++e) {
          double out = 0;
          for (int64_t j = 0; j < rows; ++j) out += p[static_cast<size_t>(j)] * at(v, j, e) / sum;
          if (!(std::abs(out - at(o, i, e)) < 1e-5)) return false;
        }
      }
    return true;
  }
};

inline sage_engine* MakeEngine(const sage_options* options = nullptr) {
  sage_engine* engine = nullptr;
  Error error;
  REQUIRE_MESSAGE(sage_engine_create(options, &engine, &error) == SAGE_OK, error.message);
  return engine;
}

inline sage_attention_context* MakeContext(sage_engine* engine, const Problem& problem, sage_attention_plan** plan,
                                           const sage_options* options = nullptr) {
  Error error;
  REQUIRE_MESSAGE(sage_attention_plan_create(engine, &problem.op, options, plan, &error) == SAGE_OK, error.message);
  sage_attention_context* context = nullptr;
  REQUIRE_MESSAGE(sage_attention_context_create(*plan, &context, &error) == SAGE_OK, error.message);
  return context;
}

inline std::string Explain(const sage_attention_plan* plan) {
  uint64_t needed = 0;
  REQUIRE(sage_attention_plan_explain(plan, nullptr, 0, &needed, nullptr) == SAGE_OK);
  std::string text(needed, '\0');
  REQUIRE(sage_attention_plan_explain(plan, text.data(), text.size(), &needed, nullptr) == SAGE_OK);
  text.pop_back();
  return text;
}

// A lent parallel_for that a test can hold in the middle of a run.
struct Gate {
  std::atomic<bool> hold{false}, inside{false};
  std::atomic<uint32_t> calls{0};
  static void ParallelFor(void* user, uint64_t n, uint64_t, sage_task_fn task, void* ctx) {
    auto* self = static_cast<Gate*>(user);
    self->calls.fetch_add(1);
    self->inside = true;
    while (self->hold) usleep(100);
    task(ctx, 0, n, 0);
  }
};

}  // namespace sage::test

#endif  // SAGE_TESTS_SYSTEM_ATTENTION_API_H_
