// The rule of choice: conditions filter, a name insists, an order prefers, price decides, the name breaks ties; wishes
// that cannot be met fall back aloud, or fail under strict.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "plan/choose.h"
#include "support/toy_table.h"

using namespace sage;
using sage::test::Toy;
using sage::test::ToyTable;

namespace {

struct Field {
  std::shared_ptr<Host> host = std::make_shared<Host>(Options{}, 1, 1 << 20);
  Toy fast{100}, slow{5000}, oracle{90000};
  std::vector<std::shared_ptr<Backend>> backends;
  ResolvedPolicy policy;
  sage_tensor tensors[4]{};
  const sage_tensor* slots[4] = {&tensors[0], &tensors[1], &tensors[2], &tensors[3]};
  sage_attention_attributes attributes{};
  sage_op op{};

  Field() {
    backends = {*Backend::Create(host, ToyTable("reference"), 0, 0, oracle.Options()),
                *Backend::Create(host, ToyTable("slow"), 0, 0, slow.Options()),
                *Backend::Create(host, ToyTable("fast"), 0, 0, fast.Options())};
    const int64_t shape[4] = {1, 2, 8, 16};
    for (sage_tensor& tensor : tensors) sage_tensor_init(&tensor, SAGE_F32, 4, shape, nullptr);
    attributes.struct_size = sizeof attributes;
    op.struct_size = sizeof op;
    op.kind = SAGE_OP_ATTENTION;
    op.num_slots = 4;
    op.slots = slots;
    op.attributes = &attributes;
  }
  ~Field() { backends.clear(); }
  void Name(const char* name) { policy.backend = {name, PolicySource::kNode}; }
  Result<Choice> Go() { return Choose(backends, op, 0, policy); }
  std::string Chosen() {
    const auto choice = Go();
    REQUIRE_MESSAGE(choice.ok(), choice.status().message());
    return choice->verdicts[static_cast<size_t>(choice->chosen)].backend->name();
  }
};

bool Has(const std::string& text, const char* word) {
  INFO(text);
  const bool there = text.find(word) != std::string::npos;
  CHECK(there);
  return there;
}

}  // namespace

TEST_CASE("P12 the cheapest that can, with every verdict kept and the reason said") {
  Field f;
  const auto choice = f.Go();
  REQUIRE(choice.ok());
  CHECK(choice->verdicts.size() == 3);
  CHECK(choice->chosen == 2);
  CHECK(choice->reason == "cheapest of 3 that can: 100 ns; reference 90.0 us; slow 5.0 us");
  CHECK_FALSE(choice->fallback);
  f.fast.SayNo("not today");
  CHECK(f.Chosen() == "slow");
  CHECK(RefusalText(*f.Go()) == "fast: not today");
}

TEST_CASE("equal prices go to the name") {
  Field f;
  f.slow.SayYes(100);
  CHECK(f.Chosen() == "fast");
  f.oracle.SayYes(100);
  CHECK(f.Chosen() == "fast");
}

TEST_CASE("S10 a named backend or an error, with its reason, or what is loaded and near") {
  Field f;
  f.Name("slow");
  CHECK(f.Chosen() == "slow");
  CHECK(f.Go()->reason == "named by the node's policy: 5.0 us");
  f.slow.SayNo("only on Tuesdays");
  auto choice = f.Go();
  CHECK(choice.status().code() == SAGE_E_UNSUPPORTED);
  Has(choice.status().message(), "slow: only on Tuesdays");
  f.Name("fats");
  choice = f.Go();
  CHECK(choice.status().code() == SAGE_E_UNSUPPORTED);
  Has(choice.status().message(), "backend 'fats'");
  Has(choice.status().message(), "did you mean 'fast'?");
  Has(choice.status().message(), "reference, slow, fast");
}

TEST_CASE("a backend order decides first among those that can, then price") {
  Field f;
  f.policy.backend_order = {{"missing", "slow"}, PolicySource::kModel};
  CHECK(f.Chosen() == "slow");
  Has(f.Go()->reason, "first in the model's backend order of 3 that can");
  f.slow.SayNo("not now");
  CHECK(f.Chosen() == "fast");
}

TEST_CASE("the accuracy class bounds: AUTO by dtype, or what is asked for") {
  Field f;
  f.fast.SayYes(1, SAGE_ACCURACY_LOSSY);
  CHECK(f.Chosen() == "slow");
  Has(f.Go()->verdicts[2].answer.reason, "delivers accuracy lossy, exact is asked for");
  CHECK(f.Go()->verdicts[2].answer.accuracy == SAGE_ACCURACY_LOSSY);  // for explain
  CHECK(WhyAccepted(f.op, f.policy) == "accuracy = auto, and Q is f32");
  f.Name("fast");  // asks for the backend, not for its class
  CHECK_FALSE(f.Go().ok());
  f.policy.backend = {};
  f.op.accuracy = SAGE_ACCURACY_LOSSY;
  CHECK(f.Chosen() == "fast");
  CHECK(WhyAccepted(f.op, f.policy) == "accuracy = lossy, by the op itself");
  f.policy.accuracy = {SAGE_ACCURACY_LOSSY, PolicySource::kCaller};
  CHECK(WhyAccepted(f.op, f.policy) == "accuracy = lossy, by the caller's policy");
  f.op.accuracy = SAGE_ACCURACY_AUTO;
  f.fast.SayYes(1, SAGE_ACCURACY_NATIVE);
  CHECK(f.Chosen() == "slow");
  for (sage_tensor& tensor : f.tensors) tensor.dtype = SAGE_BF16;
  CHECK(f.Chosen() == "fast");
  for (sage_tensor& tensor : f.tensors) tensor.dtype = SAGE_I8;
  f.fast.SayYes(1, SAGE_ACCURACY_LOSSY);
  CHECK(f.Chosen() == "fast");
}

TEST_CASE("a backend of another device does not compete and is not asked") {
  Field f;
  for (sage_tensor& tensor : f.tensors) tensor.device_type = SAGE_CUDA;
  const auto choice = f.Go();
  CHECK(choice.status().code() == SAGE_E_UNSUPPORTED);
  Has(choice.status().message(), "serves cpu, the tensors are on cuda");
  CHECK(f.fast.asked == 0);
}

TEST_CASE("nobody can: every reason is listed") {
  Field f;
  f.fast.SayNo("reason one"), f.slow.SayNo("reason two"), f.oracle.SayNo("reason three");
  const auto choice = f.Go();
  CHECK(choice.status().code() == SAGE_E_UNSUPPORTED);
  for (const char* reason : {"fast: reason one", "slow: reason two", "reference: reason three"})
    Has(choice.status().message(), reason);
}

TEST_CASE("S6 a wish that only the oracle accepts falls back aloud; strict keeps to the wish or fails") {
  Field f;
  f.fast.refuse_flash = f.slow.refuse_flash = true;
  f.attributes.algorithm = SAGE_ALGORITHM_FLASH;
  f.attributes.block_q = 32;
  auto choice = f.Go();
  REQUIRE(choice.ok());
  CHECK(choice->fallback);
  CHECK(f.Chosen() == "fast");
  Has(choice->fallback_reason, "algorithm flash, tiles 32x0 could not be met by fast: has no flash");
  CHECK(choice->algorithm == SAGE_ALGORITHM_AUTO);
  sage_attention_attributes planned = f.attributes;
  ApplyChoice(*choice, &planned);
  CHECK(planned.algorithm == SAGE_ALGORITHM_AUTO);
  CHECK(planned.block_q == 0);

  f.policy.strict = {true, PolicySource::kCaller};
  choice = f.Go();
  REQUIRE(choice.ok());
  CHECK_FALSE(choice->fallback);
  CHECK(choice->chosen == 0);  // the oracle does serve it
  CHECK(choice->algorithm == SAGE_ALGORITHM_FLASH);
  CHECK(choice->block_q == 32);
  f.oracle.refuse_flash = true;
  choice = f.Go();
  CHECK(choice.status().code() == SAGE_E_UNSUPPORTED);
  Has(choice.status().message(), "strict");
  Has(choice.status().message(), "fast: has no flash");

  f.policy.strict = {false, PolicySource::kDefault};
  f.fast.refuse_flash = false;
  choice = f.Go();
  CHECK(choice->chosen == 2);
  CHECK_FALSE(choice->fallback);
  CHECK(choice->algorithm == SAGE_ALGORITHM_FLASH);
}

TEST_CASE("S5 N14 the threshold is strict: 512 keys are materialised, 513 are flash, 0 leaves it open") {
  sage_op op{};
  op.kind = SAGE_OP_ATTENTION;
  const auto algorithm = [&op](uint32_t threshold, uint32_t wished, int64_t keys, uint32_t of_op = 0) {
    ResolvedPolicy policy;
    policy.flash_threshold.value = threshold;
    policy.algorithm.value = wished;
    sage_attention_attributes attributes{};
    attributes.algorithm = of_op;
    ApplyPolicy(policy, keys, &op, &attributes);
    return attributes.algorithm;
  };
  CHECK(algorithm(512, SAGE_ALGORITHM_AUTO, 512) == SAGE_ALGORITHM_MATERIALISED);
  CHECK(algorithm(512, SAGE_ALGORITHM_AUTO, 513) == SAGE_ALGORITHM_FLASH);
  CHECK(algorithm(0, SAGE_ALGORITHM_AUTO, 1 << 20) == SAGE_ALGORITHM_AUTO);
  CHECK(algorithm(512, SAGE_ALGORITHM_FLASH, 3) == SAGE_ALGORITHM_FLASH);
  CHECK(algorithm(512, SAGE_ALGORITHM_MATERIALISED, 4096) == SAGE_ALGORITHM_MATERIALISED);
  CHECK(algorithm(512, SAGE_ALGORITHM_AUTO, 3, SAGE_ALGORITHM_FLASH) == SAGE_ALGORITHM_FLASH);
  CHECK(algorithm(UINT32_MAX, SAGE_ALGORITHM_AUTO, int64_t{UINT32_MAX} + 1) == SAGE_ALGORITHM_FLASH);
}

TEST_CASE("N8 R2 a policy's conditions and tiles reach the op; silence leaves the op's own") {
  ResolvedPolicy policy;
  sage_op op{};
  op.kind = SAGE_OP_ATTENTION;
  op.accuracy = SAGE_ACCURACY_NATIVE;
  sage_attention_attributes attributes{};
  attributes.block_q = 16, attributes.block_kv = 48;
  ApplyPolicy(policy, 8, &op, &attributes);
  CHECK(op.requirements == 0);
  CHECK(op.accuracy == SAGE_ACCURACY_NATIVE);
  CHECK(attributes.block_q == 16);
  CHECK(attributes.block_kv == 48);
  policy.deterministic.value = policy.stream_capture.value = true;
  policy.use_simd.value = false;
  policy.accuracy.value = SAGE_ACCURACY_LOSSY;
  policy.block_q.value = 32, policy.block_kv.value = 128;
  ApplyPolicy(policy, 8, &op, &attributes);
  CHECK(op.requirements == (SAGE_REQUIRE_DETERMINISTIC | SAGE_REQUIRE_STREAM_CAPTURE | SAGE_REQUIRE_SCALAR));
  CHECK(op.accuracy == SAGE_ACCURACY_LOSSY);
  CHECK(attributes.block_q == 32);
  CHECK(attributes.block_kv == 128);
  op.kind = SAGE_OP_LINEAR;
  ApplyPolicy(policy, 0, &op, nullptr);
}
