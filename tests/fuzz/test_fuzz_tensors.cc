// Tensor descriptions through the one-shot API: right ones with one thing changed, when planned and when run, and index
// tensors with anything in them. Every buffer is exactly as large as its description spans, so a read or a write beside
// it is a sanitizer's to see. What is asked is never a lie about memory: no engine could notice that.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>

#include "fuzz/fuzz.h"
#include "plan/problem.h"
#include "sage/support/check_op.h"
#include "system/c_api.h"

using namespace sage;
using namespace sage::fuzz;
using namespace sage::test;

namespace {

__extension__ typedef __int128 Wide;  // products of two hostile numbers

constexpr uint64_t kMostBytes = 1 << 20;

const std::string kLines[] = {
    "b2.hq4.hkv2.sq5.skv7.d6.f32",
    "b1.hq2.hkv1.sq3.skv33.d17.dv5.f64:causal=br,lse",
    "b2.hq4.hkv2.hv1.sq5.skv7.d8.f16:causal=tl,window=3:0,softcap=2",
    "b1.hq2.hkv2.sq4.skv4.d8.bf16:layout=bshd,align=br,alibi,sinks,weights",
    "b2.hq2.hkv2.sq5.skv9.d4.f32:layout=strided,bias=bhqk/f32,mask=b1qk,scores",
    "b1.hq2.hkv2.sq5.skv9.d4.f32:bitmask=1hqk",
    "b1.hq2.hkv2.sq9.skv10.d4.f32:blockmask=4x3/1h",
    "b2.hq2.hkv2.sq9.skv10.d4.f32:csr=4x3/11/4",
    "b3.hq2.hkv2.sq11.skv13.d4.f32:varlen,causal=br,maxq=9,maxkv=9,lse",
    "b2.hq2.hkv2.sq5.skv9.d4.f32:qlens,kvlens,causal=br",
    "b2.hq4.hkv2.sq2.skv12.d8.f32:kvlens,page=4,pages=9",
    "b2.hq4.hkv2.sq2.skv12.d8.f32:page=4,append=2,causal=br",
    "b2.hq4.hkv2.sq2.skv12.d8.f32:append=2,causal=br",
    "b2.hq2.hkv2.sq6.skv12.d8.f32:varlen,page=4,append,causal=br",
    "b1.hq2.hkv2.sq4.skv5.d8.i8:o=f32,scale_q=tensor,scale_k=head,scale_v=channel",
    "b1.hq2.hkv2.sq4.skv6.d8.f32:dropout=0.25",
    "b2.hq2.hkv2.sq4.skv6.d8.f32:dynamic=b+sq+skv,causal=br,lse",
    "b3.hq2.hkv2.sq8.skv9.d4.f32:varlen,dynamic=sq+skv",
};

const uint32_t kIndexSlots[] = {SAGE_ATTN_CU_SEQLENS_Q, SAGE_ATTN_CU_SEQLENS_K, SAGE_ATTN_SEQUSED_Q,
                                SAGE_ATTN_SEQUSED_K,    SAGE_ATTN_BLOCK_TABLE,  SAGE_ATTN_CSR_INDPTR,
                                SAGE_ATTN_CSR_INDICES};

int64_t Hard(Random& random) {
  return random.OneIn(2) ? random.Of(HardIntegers()) : static_cast<int64_t>(random.Below(16)) - 3;
}

// One field is another number. Ranks go beyond the array's end, which a reader must not.
void ChangeTensor(Random& random, sage_tensor* tensor) {
  switch (random.Below(9)) {
    case 0:
    case 1:
    case 2:
      tensor->shape[random.Below(SAGE_MAX_RANK)] = Hard(random);
      break;
    case 3:
    case 4:
      tensor->stride[random.Below(SAGE_MAX_RANK)] = Hard(random);
      break;
    case 5:
      tensor->rank = static_cast<uint32_t>(random.OneIn(3) ? random.Bits() : random.Below(11));
      break;
    case 6: {
      const sage_dtype all[] = {0,        SAGE_I8,   SAGE_I16, SAGE_I32,  SAGE_I64,       SAGE_U8,      SAGE_U64,
                                SAGE_F16, SAGE_BF16, SAGE_F64, SAGE_BOOL, SAGE_F8_E4M3FN, SAGE_F8_E5M2, 0x00021002u};
      tensor->dtype = random.OneIn(4) ? static_cast<sage_dtype>(random.Bits()) : random.Pick(all);
      break;
    }
    case 7:
      if (random.OneIn(2))
        tensor->device_type = static_cast<int32_t>(Hard(random));
      else
        tensor->flags = static_cast<uint32_t>(random.Below(5));
      break;
    default:
      tensor->struct_size =
          static_cast<uint32_t>(random.OneIn(2) ? random.Below(sizeof(sage_tensor) + 1) : sizeof(sage_tensor));
  }
}

void ChangeAttributes(Random& random, sage_attention_attributes* attributes) {
  // Word by word: what it means is the engine's to judge. struct_size stays, or it would say that memory is there.
  const size_t words = sizeof *attributes / 4 - 1;
  const auto word = static_cast<uint32_t>(random.OneIn(2) ? Hard(random) : static_cast<int64_t>(random.Bits()));
  std::memcpy(reinterpret_cast<char*>(attributes) + 4 * (1 + random.Below(words)), &word, 4);
  if (random.OneIn(4)) attributes->scale = random.OneIn(2) ? NAN : 1e308;
  if (random.OneIn(4)) attributes->features = random.Bits() & random.Bits();
}

// The bytes that a description spans from its lowest element, and where its first one is among them; nothing when it is
// no description of memory (too long, too large, unknown).
struct Extent {
  uint64_t bytes = 0, first = 0;
};
std::optional<Extent> ExtentOf(const sage_tensor& tensor) {
  const int64_t size = support::DtypeSize(tensor.dtype);
  if (tensor.rank > SAGE_MAX_RANK || size == 0) return std::nullopt;
  Wide low = 0, high = 0;
  for (uint32_t axis = 0; axis < tensor.rank; ++axis) {
    if (tensor.shape[axis] <= 0) return tensor.shape[axis] == 0 ? std::optional(Extent{}) : std::nullopt;
    const Wide reach = static_cast<Wide>(tensor.shape[axis] - 1) * tensor.stride[axis];
    (reach < 0 ? low : high) += reach;
    if (high - low > static_cast<Wide>(kMostBytes)) return std::nullopt;
  }
  return Extent{static_cast<uint64_t>((high - low + 1) * size), static_cast<uint64_t>(-low * size)};
}

// Tensors of a call, each with memory of exactly its own; `fill` from 0: as the problem has it, small numbers, noise.
class Call {
 public:
  // False when a description cannot be backed by memory; then it may be planned, never run.
  bool Take(const Problem& problem, Random& random, bool noise) {
    bool backed = true;
    buffers_.clear();
    tensors_.assign(SAGE_ATTN_NUM_SLOTS, sage_tensor{});
    pointers_.assign(SAGE_ATTN_NUM_SLOTS, nullptr);
    for (uint32_t slot = 0; slot < problem.pointers.size(); ++slot) {
      if (problem.pointers[slot] == nullptr) continue;
      tensors_[slot] = problem.tensors[slot];
      pointers_[slot] = &tensors_[slot];
      backed = Back(slot, problem, random, noise) && backed;
    }
    return backed;
  }
  bool Back(uint32_t slot, const Problem& problem, Random& random, bool noise) {
    sage_tensor& tensor = tensors_[slot];
    const auto extent = ExtentOf(tensor);
    tensor.data = nullptr;
    if (!extent) return false;
    buffers_.push_back(std::make_unique<uint8_t[]>(std::max<uint64_t>(extent->bytes, 1)));
    uint8_t* bytes = buffers_.back().get();
    // One byte past the start of its memory is an address as good as any.
    tensor.data = extent->bytes == 0 ? static_cast<void*>(bytes) : bytes + extent->first;
    int64_t begin = 0;
    uint64_t known = 0;
    TensorExtent(problem.tensors[slot], &begin, &known);
    if (problem.tensors[slot].data != nullptr)
      std::memcpy(bytes, static_cast<const uint8_t*>(problem.tensors[slot].data) + begin,
                  std::min(known, extent->bytes));
    const bool index = std::find(std::begin(kIndexSlots), std::end(kIndexSlots), slot) != std::end(kIndexSlots);
    if (!noise || !index || !random.OneIn(3)) return true;
    for (uint64_t at = 0; at + 4 <= extent->bytes; at += 4) {
      if (!random.OneIn(3)) continue;
      const auto word =
          static_cast<int32_t>(random.OneIn(3) ? Hard(random) : static_cast<int64_t>(random.Below(14)) - 1);
      std::memcpy(bytes + at, &word, 4);
    }
    return true;
  }

  std::vector<sage_tensor> tensors_;
  std::vector<const sage_tensor*> pointers_;

 private:
  std::vector<std::unique_ptr<uint8_t[]>> buffers_;
};

void Refused(sage_status status, const Error& error) {
  CAPTURE(std::string(error.message));
  CHECK(std::string(error.message).size() > 5);
  CHECK(status != SAGE_E_INTERNAL);
}

struct Tally {
  size_t planned = 0, ran = 0, refused_at_run = 0;
};

// Plans what is described, then runs it with descriptions and index tensors changed in turn.
void PlanAndRun(sage_engine* engine, const Problem& problem, bool change_plan, Random& random, Tally* tally) {
  Call planned;
  bool backed = planned.Take(problem, random, false);
  sage_attention_attributes attributes = problem.attributes.attention;
  sage_op op = problem.op;
  op.slots = planned.pointers_.data(), op.num_slots = SAGE_ATTN_NUM_SLOTS, op.attributes = &attributes;
  if (change_plan) {
    for (size_t k = 1 + random.Below(2); k > 0; --k) {
      const auto slot = static_cast<uint32_t>(random.Below(SAGE_ATTN_NUM_SLOTS));
      if (random.OneIn(6)) {
        ChangeAttributes(random, &attributes);
      } else if (random.OneIn(12)) {
        const auto field = random.Below(4);
        const auto value = static_cast<uint32_t>(random.OneIn(2) ? Hard(random) : static_cast<int64_t>(random.Bits()));
        (field == 0 ? op.requirements : field == 1 ? op.accuracy : field == 2 ? op.dynamic_axes : op.kind) = value;
      } else if (random.OneIn(12)) {
        planned.pointers_[slot] = planned.pointers_[slot] == nullptr ? &planned.tensors_[0] : nullptr;
      } else if (planned.pointers_[slot] != nullptr) {
        ChangeTensor(random, &planned.tensors_[slot]);
        backed = planned.Back(slot, problem, random, false) && backed;
      }
    }
  }
  Error error;
  uint64_t features = 0;
  const sage_status described = sage_attention_features(&op, &features, &error);
  if (described != SAGE_OK) Refused(described, error);
  ApiOptions options;
  const char* backends[] = {"", "", "reference", "cpu"};
  const std::string backend = random.Pick(backends);
  if (!backend.empty()) options.Set("backend", backend);
  if (random.OneIn(4)) options.Set("algorithm", random.OneIn(2) ? "flash" : "materialised");
  if (random.OneIn(4)) options.Set("verify", "always");
  ApiPlan plan;
  const sage_status made = sage_attention_plan_create(engine, &op, options.get(), plan.out(), &error);
  if (made != SAGE_OK) return Refused(made, error);
  ++tally->planned;
  CHECK(TextOf(sage_attention_plan_explain, static_cast<const sage_attention_plan*>(plan.get())).size() > 10);
  ApiContext context;
  const sage_status ready = sage_attention_context_create(plan.get(), context.out(), &error);
  if (ready != SAGE_OK) return Refused(ready, error);
  if (!backed) return;

  Call call;
  for (int run = 0; run < 6; ++run) {
    if (!change_plan) backed = call.Take(problem, random, run > 0);
    // What was planned with constants must be run with them; here nothing is one unless a change made it so.
    Call& used = change_plan ? planned : call;
    if (run > 1) {
      const auto slot = static_cast<uint32_t>(random.Below(SAGE_ATTN_NUM_SLOTS));
      if (used.pointers_[slot] != nullptr) {
        sage_tensor& tensor = used.tensors_[slot];
        if (random.OneIn(3)) {
          ChangeTensor(random, &tensor);
        } else if (tensor.rank > 0 && tensor.rank <= SAGE_MAX_RANK) {
          int64_t& length = tensor.shape[random.Below(tensor.rank)];  // a run of another length, strides as planned
          length = static_cast<int64_t>(random.Below(static_cast<size_t>(std::clamp<int64_t>(length, 0, 64)) + 2));
        }
        backed = used.Back(slot, problem, random, true);
        if (random.OneIn(20)) tensor.data = nullptr;
      } else if (random.OneIn(10)) {
        used.pointers_[slot] = &used.tensors_[0];
      }
    }
    if (!backed) return;
    const auto slots = static_cast<uint32_t>(run > 1 && random.OneIn(30) ? random.Below(40) : SAGE_ATTN_NUM_SLOTS);
    used.pointers_.resize(std::max<size_t>(slots, SAGE_ATTN_NUM_SLOTS), nullptr);
    const sage_status ran = sage_attention_run(context.get(), used.pointers_.data(), slots, nullptr, &error);
    if (run == 0 && !change_plan) CHECK(ran == SAGE_OK);
    if (ran == SAGE_OK) ++tally->ran;
    if (ran != SAGE_OK) ++tally->refused_at_run, Refused(ran, error);
  }
}

std::unique_ptr<Problem> Parsed(const std::string& line, ProblemData* data) {
  auto problem = ParseProblem(line);
  CAPTURE(line);
  if (!problem.ok()) FAIL(problem.status().message());
  const Status filled = MakeProblemTensors(problem->get(), kMostBytes, data);
  if (!filled.ok()) FAIL(filled.message());
  return std::move(*problem);
}

}  // namespace

TEST_CASE("fuzz: attention with one field of a description changed is run in bounds or refused") {
  const ApiEngine engine =
      MakeEngine(Settings{{"threads", "2"}, {"plugin_environment", "false"}, {"max_memory", "67108864"}});
  size_t number = 0;
  for (const std::string& line : kLines) {
    CAPTURE(line);
    ProblemData data;
    const auto problem = Parsed(line, &data);
    Random random(300 + number++);
    Tally as_is, changed;
    for (size_t i = 0; i < size_t{60} * SAGE_FUZZ_ROUNDS; ++i) {
      CAPTURE(i);
      PlanAndRun(engine.get(), *problem, false, random, &as_is);
    }
    for (size_t i = 0; i < size_t{250} * SAGE_FUZZ_ROUNDS; ++i) {
      CAPTURE(i);
      PlanAndRun(engine.get(), *problem, true, random, &changed);
    }
    CHECK(as_is.ran > 0);
    CHECK(as_is.refused_at_run > 0);
    CHECK(changed.planned > 0);
    CHECK(changed.planned < size_t{250} * SAGE_FUZZ_ROUNDS);
  }
}

TEST_CASE("fuzz: the flat call takes any sizes: served, or refused with a sentence and at once") {
  const ApiEngine engine =
      MakeEngine(Settings{{"threads", "1"}, {"plugin_environment", "false"}, {"max_memory", "67108864"}});
  Random random(5);
  std::vector<float> memory(1 << 16, 0.25f);
  Error error;
  size_t served = 0;
  for (size_t i = 0; i < size_t{6000} * SAGE_FUZZ_ROUNDS; ++i) {
    int64_t n[7];
    for (int64_t& size : n) size = random.OneIn(3) ? Hard(random) : 1 + static_cast<int64_t>(random.Below(4));
    // Never more than is there: the largest of the four arrays, each with a quarter of the memory.
    constexpr Wide kLots = Wide{1} << 60;
    Wide most = 1;
    for (const int64_t size : n) most = std::min(most * std::clamp<Wide>(size, 1, kLots), kLots);
    const bool fits = most <= static_cast<Wide>(memory.size() / 4);
    float* base = fits ? memory.data() : nullptr;
    const size_t quarter = base == nullptr ? 0 : memory.size() / 4;
    const sage_status status = sage_attention(
        engine.get(), SAGE_F32, static_cast<uint32_t>(random.Below(3)), n[0], n[1], n[2], n[3], n[4], n[5], n[6], base,
        base + quarter, base + 2 * quarter, base + 3 * quarter, static_cast<uint32_t>(random.Below(4)),
        random.OneIn(10)  ? NAN
        : random.OneIn(3) ? -0.5
                          : 0.0,
        &error);
    if (status == SAGE_OK) ++served;
    if (status != SAGE_OK) Refused(status, error);
  }
  CHECK(served > 0);
}

TEST_CASE("fuzz: problem lines with anything in them are parsed or refused, and what is parsed prints and reads back") {
  Random random(6);
  const std::vector<std::string> words = {"b",
                                          "hq",
                                          "hkv",
                                          "hv",
                                          "sq",
                                          "skv",
                                          "d",
                                          "dv",
                                          "f32",
                                          "i8",
                                          "causal=",
                                          "window=",
                                          "page=",
                                          "pages=",
                                          "append",
                                          "varlen",
                                          "csr=",
                                          "blockmask=",
                                          "x",
                                          "/",
                                          ":",
                                          ",",
                                          ".",
                                          "=",
                                          "bhqk",
                                          "1h",
                                          "seed=",
                                          "block=",
                                          "softcap=",
                                          "scale=",
                                          "dynamic=",
                                          "linear X=f32[",
                                          "]",
                                          "@[",
                                          "!",
                                          "gather ",
                                          "concat ",
                                          "pool ",
                                          "nan",
                                          "1e308",
                                          "layout=strided"};
  size_t parsed = 0;
  for (size_t i = 0; i < size_t{20000} * SAGE_FUZZ_ROUNDS; ++i) {
    std::string line = random.Pick(kLines);
    for (size_t k = 1 + random.Below(3); k > 0; --k) {
      const size_t at = random.Below(line.size() + 1);
      switch (random.Below(4)) {
        case 0:
          line.insert(at, random.Pick(words));
          break;
        case 1:
          line.insert(at, std::to_string(random.Of(HardIntegers())));
          break;
        case 2: {
          const size_t end = std::min(line.size(), at + 1 + random.Below(8));
          line.erase(at, end - at);
          break;
        }
        default:
          ChangeBytes(random, &line);
      }
    }
    CAPTURE(line);
    const auto problem = ParseProblem(line);
    if (!problem.ok()) {
      CHECK(problem.status().message().size() > 5);
      continue;
    }
    ++parsed;
    const std::string printed = ProblemString((*problem)->op);
    const auto again = ParseProblem(printed);
    CAPTURE(printed);
    REQUIRE(again.ok());
    CHECK(ProblemString((*again)->op) == printed);
    ProblemData data;
    (void)MakeProblemTensors(problem->get(), kMostBytes, &data);
  }
  CHECK(parsed > 50);
}
