// test_rates_prices.cc: the prices that rates make, of our kernels and of cuDNN, and how an instance says them.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include "attention_op.h"
#include "backend.h"
#include "cudnn/price.h"
#include "family_descriptions.h"
#include "price.h"
#include "rates_testing.h"
#include "support/test_host.h"

namespace sage::cuda {
namespace {

using test::Error;

KernelFamily Hopper() { return Built(kHopperFamily, "90a-real", nullptr, nullptr); }

double HopperNs(const AttentionArguments& a, const AttentionRates& rates, const Properties& device = FakeH200()) {
  return PriceNs(Hopper(), a, 0, device, RateOf(Hopper(), a, device, rates));
}

double CudnnNs(const AttentionArguments& a, const AttentionRates& rates, const Properties& device = FakeH200()) {
  const char* source = nullptr;
  return cudnn::CudnnPriceNs(a, 0, device, rates, false, false, &source);
}

}  // namespace

// What bench/peers/gpu_rates.py writes of a result made by hand: tests/bench/test_gpu.py.
TEST_CASE("cuda rates: what the bench writes is read") {
  AttentionRates rates;
  Error error;
  REQUIRE_MESSAGE(LoadRates(SAGE_RATES_EXAMPLE, &rates, &error) == SAGE_OK, error.message);
  const double flops = 4.0 * 64 * 8192 * 8192 * 128;
  const AttentionArguments a = Prefill(8192, 128);
  CHECK(HopperNs(a, rates) == doctest::Approx(4000 + 3.6e6).epsilon(0.001));
  CHECK(CudnnNs(a, rates) == doctest::Approx(10000 + 3.2e6).epsilon(0.001));
  CHECK(HopperNs(Prefill(8192, 128, true), rates) == doctest::Approx(4000 + 2e6).epsilon(0.001));
  CHECK(ShareOf(rates, "cudnn", a) ==
        doctest::Approx(flops / 3.2e6 / RooflineOf(FakeH200()).tensor_flops).epsilon(1e-3));
  CHECK(rates.Find("cuda.decode", FakeH200(), Decode(16384))->source == RateSource::kMeasured);
}

TEST_CASE("cuda rates: prices rise with the length") {
  const AttentionRates rates;
  for (const int32_t dim : {64, 128, 256})
    for (const bool causal : {false, true})
      for (const int major : {8, 9, 10}) {
        CAPTURE(dim);
        CAPTURE(causal);
        CAPTURE(major);
        double hopper = 0, cudnn = 0;
        for (int32_t length = 256; length <= 1 << 17; length += 1 + length / 16) {
          CAPTURE(length);
          const AttentionArguments a = Prefill(length, dim, causal);
          if (major == 9) CHECK(HopperNs(a, rates, Board(major, 0)) > hopper);  // no other runs it
          CHECK(CudnnNs(a, rates, Board(major, 0)) > cudnn);
          hopper = HopperNs(a, rates, Board(major, 0)), cudnn = CudnnNs(a, rates, Board(major, 0));
        }
      }
}

TEST_CASE("P12 cuda rates: eight bits cost less than sixteen by their bytes and their rate") {
  const AttentionRates rates;
  for (const int32_t length : {128, 1024, 8192}) {
    AttentionArguments a = Prefill(length, 128);
    const double wide = CudnnNs(a, rates);
    a.type = AttentionType::kF8E4m3fn;
    CHECK(CudnnNs(a, rates) < wide);
    CHECK(AttentionBytes(a, 0, 1) * 2 == AttentionBytes(Prefill(length, 128), 0, 1));
  }
  AttentionArguments a = Prefill(8192, 128);
  const double wide = CudnnNs(a, rates);
  a.type = AttentionType::kF8E5m2;
  CHECK(wide / CudnnNs(a, rates) == doctest::Approx(1.5).epsilon(0.02));
}

TEST_CASE("P12 cuda rates: the shipped rates put cudnn before our Hopper kernels and a file the other way round") {
  const AttentionRates shipped;
  const AttentionRates mine = Loaded(
      "cuda.hopper 90 128 prefill none 8192 0.66 measured\n"
      "cuda.hopper 90 128 prefill causal 8192 0.62 measured\n");
  for (const int32_t length : {2048, 8192, 16384})
    for (const bool causal : {false, true}) {
      CAPTURE(length);
      CAPTURE(causal);
      const AttentionArguments a = Prefill(length, 128, causal);
      CHECK(CudnnNs(a, shipped) < HopperNs(a, shipped));
      CHECK((HopperNs(a, mine) < CudnnNs(a, mine)) == (length <= 8192 || !causal));
    }
  // Few queries: the calls decide, and ours cost less.
  CHECK(HopperNs(Prefill(128, 128), shipped) < CudnnNs(Prefill(128, 128), shipped));
}

TEST_CASE("cuda rates: a row of prefill is of products in 16 bits whatever a family multiplies in") {
  const AttentionRates rates = Loaded(
      "cuda.int8 90 128 prefill none 8192 0.8 measured\n"
      "cuda.plain 90 128 prefill none 8192 0.01 measured\n");
  KernelFamily int8 = Hopper(), plain = Hopper();
  int8.name = "int8", int8.qk_in_8_bits = true, int8.spread = nullptr;
  plain.name = "plain", plain.tensor_cores = false, plain.spread = nullptr;
  const AttentionArguments a = Prefill(8192, 128);
  const double flops = 4.0 * 64 * 8192 * 8192 * 128, peak = RooflineOf(FakeH200()).tensor_flops;
  const auto ns = [&](const KernelFamily& family) {
    return PriceNs(family, a, 0, FakeH200(), RateOf(family, a, FakeH200(), rates)) - family.least_ns;
  };
  CHECK(ns(int8) == doctest::Approx(flops / (0.8 * peak)));
  CHECK(ns(plain) == doctest::Approx(flops / (0.01 * peak)));
}

TEST_CASE("cuda rates: a row of decode is a share of the memory's rate") {
  const AttentionRates rates = Loaded(
      "cudnn 90 128 decode none 4096 0.7 measured\n"
      "cuda.hopper 90 128 decode none 4096 0.1 measured\n");
  const AttentionArguments a = Decode(16384);
  const double memory = RooflineOf(FakeH200()).bytes;
  const double bytes = 2.0 * 32 * (64 * 256 + 8 * 16384 * 256);
  CHECK(CudnnNs(a, rates) == doctest::Approx(10000 + bytes / (0.7 * memory)));
  CHECK(CudnnNs(a, {}) == doctest::Approx(10000 + bytes / (0.5 * memory)));
  // Measured with however often the keys were read.
  KernelFamily hopper = Hopper();
  hopper.spread = [](const AttentionArguments&, const Properties&) {
    return Spread{.blocks = 1e4, .resident = 1, .bytes_in_flight = 1e6, .key_reads = 8};
  };
  const auto ns = [&](const AttentionRates& table) {
    return PriceNs(hopper, a, 0, FakeH200(), RateOf(hopper, a, FakeH200(), table)) - hopper.least_ns;
  };
  CHECK(ns(rates) == doctest::Approx(bytes / (0.1 * memory)));
  CHECK(ns({}) == doctest::Approx(4.5 * bytes / (0.85 * memory)).epsilon(0.01));
}

TEST_CASE("cudnn price: its calls, the kernels around them, and a device that nobody has figures of") {
  const AttentionRates rates;
  const char* source = nullptr;
  const AttentionArguments a = Prefill(8192, 128, true);
  const auto ns = [&](bool prepares, bool finishes, uint64_t features = 0, const Properties& device = FakeH200()) {
    return cudnn::CudnnPriceNs(a, features, device, rates, prepares, finishes, &source);
  };
  const double peak = RooflineOf(FakeH200()).tensor_flops, memory = RooflineOf(FakeH200()).bytes * 0.85;
  const double flops = 4.0 * 64 * VisiblePairs(a) * 128, alone = ns(false, false);
  CHECK(alone == doctest::Approx(10000 + flops / (0.602 * peak)));
  CHECK(std::string(source) == "a published rate");
  CHECK(ns(true, false) == doctest::Approx(alone + 2500));
  const double o = 2.0 * 64 * 8192 * 128;
  CHECK(ns(false, true) == doctest::Approx(alone + 2500 + o / memory));
  CHECK(ns(true, true) == doctest::Approx(alone + 5000 + o / memory));
  CHECK(ns(false, false, SAGE_ATTN_F_BIAS) ==
        doctest::Approx(10000 + (4.0 * 64 * 8192 * 8192 + 2 * o + o / 4) / memory));
  // Half of the peak, until somebody says more.
  const double unknown = ns(false, false, 0, Board(12, 0));
  CHECK(unknown == doctest::Approx(10000 + flops / (0.5 * RooflineOf(Board(12, 0)).tensor_flops)));
  CHECK(std::string(source) == "an estimate");
  // One tile on 132 multiprocessors.
  AttentionArguments narrow = Prefill(8192, 128);
  narrow.seq_q = 128, narrow.heads_q = narrow.heads_k = narrow.heads_v = 1;
  const double share = ShareOf(rates, "cudnn", narrow);
  CHECK(cudnn::CudnnPriceNs(narrow, 0, FakeH200(), rates, false, false, &source) ==
        doctest::Approx(10000 + 132 * 4.0 * 128 * 8192 * 128 / (share * peak)));
  // Nothing at all is a call.
  narrow.batch = 0;
  CHECK(cudnn::CudnnPriceNs(narrow, 0, FakeH200(), rates, false, false, &source) == 10000);
}

namespace {

KernelFamily families[] = {Hopper()};
FakeRuntime* runtime = nullptr;
void Probe(int32_t device_id, uint32_t* count, sage_answer* answer) {
  ProbeOver(*runtime, {families}, device_id, count, answer);
}
sage_status Create(const sage_host& host, int32_t device_id, const char* options,
                   std::unique_ptr<plugins::Backend>* out, sage_error* err) {
  return CreateOver(*runtime, {families}, host, device_id, options, out, err);
}
constexpr sage_plugin kTable = plugins::DeviceTable<Probe, Create>(
    {.name = "cuda", .version = kVersion, .build = "toys", .kinds = kKinds, .device_type = SAGE_CUDA});

// What an instance with these options answers; price: what it asks for.
std::string Asked(const std::string& options, AttentionOp& op, double* price = nullptr) {
  FakeRuntime own;
  runtime = &own;
  test::TestHost host;
  Error error;
  sage_instance* instance = nullptr;
  if (kTable.create(host.table(), 0, options.c_str(), &instance, &error) != SAGE_OK) return error.message;
  sage_answer answer{};
  answer.struct_size = sizeof answer;
  CHECK(kTable.ask(instance, op.op(), &answer, nullptr) == SAGE_OK);
  kTable.destroy(instance);
  if (price != nullptr) *price = answer.cost_ns;
  return answer.reason;
}

}  // namespace

TEST_CASE("P12 cuda rates: an answer says where its price comes from and the option brings a file") {
  AttentionOp op;
  op.Set(SAGE_ATTN_Q, SAGE_BF16, {1, 64, 8192, 128});
  op.Set(SAGE_ATTN_K, SAGE_BF16, {1, 8, 8192, 128});
  op.Set(SAGE_ATTN_V, SAGE_BF16, {1, 8, 8192, 128});
  op.Set(SAGE_ATTN_O, SAGE_BF16, {1, 64, 8192, 128});
  double shipped = 0, mine = 0;
  CHECK(Asked("", op, &shipped) == "hopper kernels of bf16 for sm_90 on NVIDIA H200, priced by an estimate");
  const RatesFile file("cuda.hopper 90 128 prefill none 8192 0.88 measured\n");
  CHECK(Asked("rates=" + file.path, op, &mine) ==
        "hopper kernels of bf16 for sm_90 on NVIDIA H200, priced by rates of " + file.path);
  CHECK(shipped - 4000 == doctest::Approx(2 * (mine - 4000)).epsilon(0.001));  // 0.44 is shipped
  // The last of several is it, as of every option.
  CHECK(Asked("rates=/nowhere\nrates=" + file.path, op) ==
        "create: rates is \"/nowhere\", which cannot be read (No such file or directory); expected a file of rates");
  const RatesFile bad("cuda.hopper 90 128 prefill none 8192 0.88\n");
  CHECK(Asked("rates=" + bad.path, op).find("rates.txt\": line 1: fields are missing") != std::string::npos);
  CHECK(Asked("rates=", op) == "create: rates is empty, expected a file of rates");
  // A long path is cut at its front.
  const std::string deep = file.folder.path + "/" + std::string(200, 'd');
  REQUIRE(mkdir(deep.c_str(), 0700) == 0);
  std::ofstream(deep + "/board.txt") << "cuda.hopper 90 128 prefill none 8192 0.88 measured\n";
  const std::string said = Asked("rates=" + deep + "/board.txt", op);
  CHECK(said.find("priced by rates of ...ddd") != std::string::npos);
  CHECK(said.ends_with("ddd/board.txt"));
}

}  // namespace sage::cuda
