// test_attention_modes.cc: a caller who runs with denormals flushed to zero (a game, an audio program, anything linked
// with -ffast-math) gets right results, and finds the mode as it was. So does one who does not.
#include <doctest/doctest.h>

#include <limits>

#include "attention_testing.h"

#if defined(__SSE2__)
#include <xmmintrin.h>

namespace sage::test {
namespace {

constexpr uint32_t kFlush = 0x8040;  // flush to zero, denormals are zero
constexpr uint32_t kSticky = 0x3F;   // exceptions that have happened

// The mode for one scope.
class Mode {
 public:
  explicit Mode(uint32_t bits) : before_(_mm_getcsr()) { _mm_setcsr((before_ & ~kFlush) | bits); }
  ~Mode() { _mm_setcsr(before_); }
  Mode(const Mode&) = delete;
  Mode& operator=(const Mode&) = delete;

 private:
  uint32_t before_;
};

}  // namespace

TEST_CASE(
    "a caller's flush-to-zero mode: results stay within a denormal of the oracle's, the mode stays the caller's") {
  for (const sage_dtype dtype : {SAGE_F32, SAGE_F64, SAGE_F16, SAGE_BF16}) {
    // Ordinary numbers; scores so small that they are denormals; values so small; weights that underflow.
    for (int kind = 0; kind < 4; ++kind) {
      AttentionCase attention(dtype, {1, 2, 1, 9, 140, 24}, 7);
      attention.WithLse();
      const double tiny = dtype == SAGE_F64 ? 1e-310 : dtype == SAGE_F16 ? 1e-7 : 1e-40;
      if (kind == 1) attention.Q().Fill(tiny);
      if (kind == 2) attention.V().Fill(tiny);
      if (kind == 3) attention.Scale(1).Q().FillIntegers(8, -40, 40), attention.K().FillIntegers(9, -4, 4);
      Oracle oracle;
      std::string failure;
      const AttentionCase want = Expected(attention, oracle.instance, &failure);
      REQUIRE(failure == "");
      for (const std::string& isa : Isas()) {
        for (const uint32_t flush : {0u, kFlush}) {
          CAPTURE(isa);
          CAPTURE(dtype);
          CAPTURE(kind);
          CAPTURE(flush);
          CpuBackend cpu(isa, 2);
          AttentionCase got = attention;
          uint32_t before = 0, after = 0;
          std::string why;
          bool native = false;
          {
            const Mode mode(flush);
            before = _mm_getcsr() & ~kSticky;
            const RunResult result = got.Run(cpu.instance);
            after = _mm_getcsr() & ~kSticky;
            why = Failure(result);
            native = result.answer.accuracy == SAGE_ACCURACY_NATIVE;
          }
          REQUIRE(why == "");
          CHECK(before == after);
          const double gate = dtype == SAGE_F64 ? 1e-12 : 5e-6;
          const double least = dtype == SAGE_F64   ? std::numeric_limits<double>::min()
                               : dtype == SAGE_F16 ? 0x1p-14
                                                   : double{std::numeric_limits<float>::min()};
          // Without the mode denormals are exact to a few of their places; with it they may be zero.
          const double place = dtype == SAGE_F64   ? std::numeric_limits<double>::denorm_min()
                               : dtype == SAGE_F32 ? double{std::numeric_limits<float>::denorm_min()}
                               : dtype == SAGE_F16 ? 0x1p-24
                                                   : 0x1p-133;
          // Dot products of bf16 take denormals for zero in any mode.
          const double unit = (native ? kNativeGate : gate) * LargestMagnitude(want[SAGE_ATTN_V]) +
                              (flush != 0 || native ? least : 8 * place);
          CHECK(ErrorIn(got.O(), want.O(), unit) <= 1);
          CHECK(ErrorIn(got[SAGE_ATTN_LSE], want[SAGE_ATTN_LSE],
                        gate * std::max(4.0, LargestMagnitude(want[SAGE_ATTN_LSE]))) <= 1);
        }
      }
    }
  }
}

TEST_CASE("R2 whole score rows by tiles of odd lengths end where the keys do") {
  Oracle oracle;
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa);
    for (const sage_dtype dtype : {SAGE_F32, SAGE_BF16})
      for (const uint32_t block : {1u, 7u, 15u})
        for (const int64_t keys : {16, 32, 33, 64}) {
          AttentionCase attention(dtype, {1, 1, 1, 17, keys, 16}, 1);
          attention.attributes.algorithm = SAGE_ALGORITHM_MATERIALISED;
          attention.attributes.block_kv = block;
          CAPTURE(isa);
          CAPTURE(block);
          CAPTURE(keys);
          CHECK(Disagreement(attention, cpu.instance, oracle.instance) == "");
        }
  }
}

}  // namespace sage::test
#endif
