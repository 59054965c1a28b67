// test_price.cc: the roofline of a device and what attention costs on it.
#include <doctest/doctest.h>

#include "attention_int8_plan.h"
#include "common/cuda/products/library_price.h"
#include "fake_runtime.h"
#include "price.h"
#include "products/product_price.h"
#include "products/product_skinny_plan.h"
#include "sage/ops.h"

namespace sage::cuda {
namespace {

// Counted one by one.
double Counted(const AttentionArguments& a) {
  double pairs = 0;
  const int64_t shift = a.bottom_right ? a.seq_kv - a.seq_q : 0;
  for (int64_t i = 0; i < a.seq_q; ++i)
    for (int64_t j = 0; j < a.seq_kv; ++j) pairs += !a.causal || j <= i + shift ? 1 : 0;
  return pairs;
}

KernelFamily Tensor() {
  KernelFamily family;
  family.tensor_cores = true;
  family.efficiency = 0.5;
  return family;
}

}  // namespace

TEST_CASE("cuda price: the peaks of an H200 are those of its data sheet") {
  const Roofline roofline = RooflineOf(FakeH200());
  CHECK(roofline.tensor_flops == doctest::Approx(1.07e6).epsilon(0.01));  // 989 TFLOP/s at the lower clock of its sheet
  CHECK(roofline.f32_flops == doctest::Approx(66.9e3).epsilon(0.01));
  CHECK(roofline.f64_flops == doctest::Approx(33.5e3).epsilon(0.01));
  CHECK(roofline.bytes == doctest::Approx(4917).epsilon(0.01));
  // A device that says nothing of itself still has a price above zero.
  const Roofline unknown = RooflineOf(Properties{});
  CHECK(unknown.tensor_flops > 0);
  CHECK(unknown.f64_flops > 0);
  CHECK(unknown.bytes > 0);
}

TEST_CASE("cuda price: pairs under causal masks are counted exactly whatever the lengths") {
  for (int seq_q : {1, 2, 5, 8, 13})
    for (int seq_kv : {1, 3, 8, 12})
      for (const bool bottom_right : {false, true}) {
        AttentionArguments a;
        a.seq_q = seq_q, a.seq_kv = seq_kv, a.causal = true, a.bottom_right = bottom_right;
        CAPTURE(seq_q);
        CAPTURE(seq_kv);
        CAPTURE(bottom_right);
        CHECK(VisiblePairs(a) == Counted(a));
      }
  AttentionArguments a;
  a.seq_q = 0, a.seq_kv = 5;
  CHECK(VisiblePairs(a) == 0);
  a.seq_q = 100, a.seq_kv = 100, a.window_left = 4, a.window_right = 0;
  CHECK(VisiblePairs(a) == 500);
}

TEST_CASE("cuda price: long prefill is priced by arithmetic and decode by bytes") {
  AttentionArguments a;
  a.batch = 1, a.heads_q = 64, a.heads_k = a.heads_v = 8, a.dim_qk = a.dim_v = 128;
  a.seq_q = a.seq_kv = 8192;
  const double flops = 4.0 * 64 * 8192 * 8192 * 128;
  const double prefill = PriceNs(Tensor(), a, 0, FakeH200());
  CHECK(prefill == doctest::Approx(flops / (1.07e6 * 0.5)).epsilon(0.02));
  a.causal = true;
  CHECK(PriceNs(Tensor(), a, 0, FakeH200()) == doctest::Approx(prefill / 2).epsilon(0.01));
  a.seq_q = 1, a.bottom_right = true, a.batch = 64;
  const double bytes = 2.0 * 64 * 8192 * 8 * 256;
  CHECK(PriceNs(Tensor(), a, 0, FakeH200()) == doctest::Approx(4000 + bytes / (4917 * 0.85)).epsilon(0.02));
  // An answer of nothing still costs a launch.
  a.batch = 0;
  CHECK(PriceNs(Tensor(), a, 0, FakeH200()) == 4000);
  // Whole score rows that are written are bytes.
  a.batch = 1, a.seq_q = 8192, a.causal = false, a.seq_kv = 8192;
  CHECK(PriceNs(Tensor(), a, SAGE_ATTN_F_WEIGHTS_OUT | SAGE_ATTN_F_SCORES_OUT, FakeH200()) > 2 * prefill);
}

TEST_CASE("cuda price: a product of one row is priced by W's bytes and one of many by arithmetic") {
  ProductArguments a;
  a.x_type = a.w_type = a.y_type = ProductType::kBf16;
  a.m = 1, a.n = 4096, a.k = 4096, a.x_row = a.w_row = a.k, a.y_row = a.n;
  const double weights = 2.0 * 4096 * 4096;
  CHECK(SkinnyPriceNs(a, FakeH200()) == doctest::Approx(4000 + weights / (4917 * 0.85)).epsilon(0.01));
  LibrarySteps steps;
  CHECK(DescribeSteps(a, true, false, &steps) == nullptr);
  CHECK(SkinnyPriceNs(a, FakeH200()) < LibraryPriceNs(a, steps, FakeH200()));
  CHECK(SkinnyPriceNs(a, FakeH200()) < PlainPriceNs(a, FakeH200()));
  a.m = 4096;
  CHECK(DescribeSteps(a, true, false, &steps) == nullptr);
  const double flops = 2.0 * 4096 * 4096 * 4096;
  CHECK(LibraryPriceNs(a, steps, FakeH200()) == doctest::Approx(6000 + flops / (1.07e6 * 0.7)).epsilon(0.02));
  CHECK(PlainPriceNs(a, FakeH200()) > 10 * LibraryPriceNs(a, steps, FakeH200()));
  // What a second kernel does over f32 in scratch is paid for.
  a.activation = SAGE_FN_SILU;
  const double fused = LibraryPriceNs(a, steps, FakeH200());
  CHECK(DescribeSteps(a, true, false, &steps) == nullptr);
  CHECK(LibraryPriceNs(a, steps, FakeH200()) > fused + 2000 + 8.0 * 4096 * 4096 / 4917);
  // Several calls are several launches.
  a.batch_axes = 2, a.batch = 15, a.m = 4;
  a.axes[0] = {3, 7, 0, 5 * 4 * 4096}, a.axes[1] = {5, 4096 * 9, 0, 4 * 4096};
  CHECK(DescribeSteps(a, true, false, &steps) == nullptr);
  CHECK(steps.calls == 3);
  CHECK(steps.call.batch == 5);
  CHECK(LibraryPriceNs(a, steps, FakeH200()) > 18000);
}

TEST_CASE("cuda products: warps share a row of W until the device is full") {
  ProductArguments a;
  a.x_type = a.w_type = ProductType::kBf16;
  a.m = 1, a.n = 768, a.k = 768;
  CHECK(SkinnySplit(a, 132) == 2);  // 96 pieces of 16 bytes: no more than two warps have one for each lane
  a.k = 4096;
  CHECK(SkinnySplit(a, 132) == 4);
  a.n = 16;
  CHECK(SkinnySplit(a, 132) == 8);
  a.n = 8192;
  CHECK(SkinnySplit(a, 132) == 1);
  a.n = 768, a.m = 8;
  CHECK(SkinnySplit(a, 132) == 4);  // as for one row
  CHECK(SkinnyBlocks(a, 4) == 96);
}

// As family_descriptions.h has them.
TEST_CASE("cuda price: 8 bits pay where products are long and not for short sequences or single queries") {
  KernelFamily portable = Tensor(), int8 = Tensor(), hopper = Tensor();
  portable.efficiency = int8.efficiency = 0.3, hopper.efficiency = 0.55;
  int8.qk_in_8_bits = true, int8.least_ns = 12000, int8.ahead_bytes = Int8AheadBytes;
  Properties a100 = FakeH200();
  a100.major = 8, a100.minor = 0, a100.multiprocessors = 108, a100.clock_khz = 1410000;
  a100.memory_clock_khz = 1215000, a100.memory_bus_bits = 5120;
  Properties orin = a100;
  orin.minor = 7, orin.multiprocessors = 16, orin.clock_khz = 1300000;
  orin.memory_clock_khz = 3199000, orin.memory_bus_bits = 256;
  const auto sized = [](int32_t queries, int32_t keys) {
    AttentionArguments a;
    a.heads_q = 32, a.heads_k = a.heads_v = 8, a.dim_qk = a.dim_v = 128, a.seq_q = queries, a.seq_kv = keys;
    return a;
  };
  for (const Properties& device : {a100, orin, FakeH200()}) {
    CAPTURE(device.major);
    const auto ratio = [&](const AttentionArguments& a) {
      return PriceNs(portable, a, 0, device) / PriceNs(int8, a, 0, device);
    };
    CHECK(ratio(sized(8192, 8192)) > 1.25);
    CHECK(ratio(sized(8192, 8192)) < 4.0 / 3);  // half of the products at twice the rate
    CHECK(ratio(sized(64, 64)) < 1);
    CHECK(ratio(sized(1, 32768)) < 1);
    CHECK(ratio(sized(1, 100)) < 1);
  }
  // Hopper's own instructions in 16 bits are faster than the portable ones in 8; a B300 has few of the latter.
  CHECK(PriceNs(hopper, sized(8192, 8192), 0, FakeH200()) < PriceNs(int8, sized(8192, 8192), 0, FakeH200()));
  Properties b300 = FakeH200();
  b300.major = 10, b300.minor = 3;
  CHECK(PriceNs(portable, sized(8192, 8192), 0, b300) < PriceNs(int8, sized(8192, 8192), 0, b300));
  // Passes ahead: K is read twice and Q once in 16 bits, both are written in 8.
  CHECK(Int8AheadBytes(sized(100, 1000)) == 128.0 * (32 * 100 * 3 + 8 * 1000 * 5));
}

}  // namespace sage::cuda
