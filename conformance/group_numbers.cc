// group_numbers.cc: is it right? Seeded problems and hostile data, each against the float64 oracle, in guarded memory.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "conformance/groups.h"
#include "plan/elements.h"
#include "sage/support/check_op.h"

namespace sage::conformance {
namespace {

using Alter = std::function<void(Problem&)>;

// value(i0, i1, i2, old): for every element of a rank-4 slot, by [b, h, row] and its old value.
void Change(Problem& problem, uint32_t slot, const std::function<double(const int64_t*, double)>& value) {
  const sage_tensor& t = problem.tensors[slot];
  int64_t i[4];
  for (i[0] = 0; i[0] < t.shape[0]; ++i[0])
    for (i[1] = 0; i[1] < t.shape[1]; ++i[1])
      for (i[2] = 0; i[2] < t.shape[2]; ++i[2])
        for (i[3] = 0; i[3] < t.shape[3]; ++i[3]) {
          int64_t offset = 0;
          for (int axis = 0; axis < 4; ++axis) offset += i[axis] * t.stride[axis];
          auto* element =
              static_cast<unsigned char*>(t.data) + offset * static_cast<int64_t>(support::DtypeSize(t.dtype));
          StoreElement(element, t.dtype, value(i, LoadElement(element, t.dtype)));
        }
}

void FillBytes(Problem& problem, uint32_t slot, unsigned char value) {
  int64_t begin = 0;
  uint64_t bytes = 0;
  TensorExtent(problem.tensors[slot], &begin, &bytes);
  if (bytes > 0) std::memset(static_cast<unsigned char*>(problem.tensors[slot].data) + begin, value, bytes);
}

void SetLengths(Problem& problem, uint32_t slot, int32_t value) {
  const sage_tensor& t = problem.tensors[slot];
  for (int64_t b = 0; b < t.shape[0]; ++b) std::memcpy(static_cast<char*>(t.data) + b * t.stride[0] * 4, &value, 4);
}

struct Attack {
  const char* name;
  const char* options;
  Alter alter;
};

const double kNan = std::numeric_limits<double>::quiet_NaN();
const double kInfinity = std::numeric_limits<double>::infinity();

std::vector<Attack> Attacks() {
  const auto scaled = [](uint32_t slot, double factor) {
    return
        [slot, factor](Problem& p) { Change(p, slot, [factor](const int64_t*, double old) { return old * factor; }); };
  };
  const auto beyond_length = [](double poison) {
    return [poison](Problem& p) {
      SetLengths(p, SAGE_ATTN_SEQUSED_K, static_cast<int32_t>(p.tensors[SAGE_ATTN_K].shape[2] / 2));
      const int64_t used = p.tensors[SAGE_ATTN_K].shape[2] / 2;
      for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V})
        Change(p, slot, [used, poison](const int64_t* i, double old) { return i[2] >= used ? poison : old; });
    };
  };
  const auto future = [](double poison) {
    return [poison](Problem& p) {  // TOP_LEFT causal with more keys than queries: the last keys are never seen
      const int64_t seen = p.tensors[SAGE_ATTN_Q].shape[2];
      for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V})
        Change(p, slot, [seen, poison](const int64_t* i, double old) { return i[2] >= seen ? poison : old; });
    };
  };
  const auto masked_column = [](double poison) {
    return [poison](Problem& p) {
      const sage_tensor& mask = p.tensors[SAGE_ATTN_MASK];
      ForEachElement(mask, 1, [&](int64_t offset) {
        const int64_t column = mask.shape[3] == 0 ? 0 : (offset / std::max<int64_t>(1, mask.stride[3])) % mask.shape[3];
        static_cast<unsigned char*>(mask.data)[offset] = column % 3 == 1 ? 0 : 1;
      });
      for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V})
        Change(p, slot, [poison](const int64_t* i, double old) { return i[2] % 3 == 1 ? poison : old; });
    };
  };
  return {
      {"logits of +-1e4", "scale=1",
       [](Problem& p) {
         Change(p, SAGE_ATTN_Q, [](const int64_t* i, double) { return i[2] % 2 == 0 ? 100.0 : -100.0; });
         Change(p, SAGE_ATTN_K,
                [](const int64_t* i, double) { return i[3] == 0 ? (i[2] % 5 == 0 ? 100.0 : 1.0) : 0.0; });
       }},
      {"one-hot weights", "scale=1,lse",
       [](Problem& p) {
         Change(p, SAGE_ATTN_Q, [](const int64_t* i, double) { return i[3] == 0 ? 1.0 : 0.0; });
         Change(p, SAGE_ATTN_K, [](const int64_t* i, double) { return i[2] == 1 && i[3] == 0 ? 90.0 : 0.0; });
       }},
      {"all logits equal", "lse",
       [](Problem& p) { Change(p, SAGE_ATTN_Q, [](const int64_t*, double) { return 0.0; }); }},
      {"maxima that rise with every key", "scale=1,lse",
       [](Problem& p) {
         Change(p, SAGE_ATTN_Q, [](const int64_t* i, double) { return i[3] == 0 ? 1.0 : 0.0; });
         Change(p, SAGE_ATTN_K, [](const int64_t* i, double) { return 0.25 * static_cast<double>(i[2]); });
       }},
      {"maxima that fall with every key", "scale=1,lse",
       [](Problem& p) {
         Change(p, SAGE_ATTN_Q, [](const int64_t* i, double) { return i[3] == 0 ? 1.0 : 0.0; });
         Change(p, SAGE_ATTN_K, [](const int64_t* i, double) { return -0.25 * static_cast<double>(i[2]); });
       }},
      {"an outlier channel", "",
       [](Problem& p) {
         Change(p, SAGE_ATTN_K, [](const int64_t* i, double old) { return i[3] == 0 ? old + 20 : old; });
       }},
      {"sinks that outweigh all keys", "sinks,lse",
       [](Problem& p) {
         const sage_tensor& sinks = p.tensors[SAGE_ATTN_SINKS];
         ForEachElement(sinks, support::DtypeSize(sinks.dtype), [&](int64_t offset) {
           StoreElement(static_cast<unsigned char*>(sinks.data) + offset, sinks.dtype, 40);
         });
       }},
      {"every key masked", "mask=b1qk,lse,weights", [](Problem& p) { FillBytes(p, SAGE_ATTN_MASK, 0); }},
      {"every key masked, with sinks", "mask=b1qk,lse,sinks", [](Problem& p) { FillBytes(p, SAGE_ATTN_MASK, 0); }},
      {"every key masked by bits", "bitmask=bhqk,lse", [](Problem& p) { FillBytes(p, SAGE_ATTN_BIT_MASK, 0); }},
      {"every tile masked", "blockmask=16x16/bh,lse", [](Problem& p) { FillBytes(p, SAGE_ATTN_BLOCK_MASK, 0); }},
      {"first tile masked", "blockmask=16x16/11,lse",
       [](Problem& p) {
         const sage_tensor& t = p.tensors[SAGE_ATTN_BLOCK_MASK];
         FillBytes(p, SAGE_ATTN_BLOCK_MASK, 1);
         for (int64_t row = 0; row < t.shape[2]; ++row) static_cast<unsigned char*>(t.data)[row * t.stride[2]] = 0;
       }},
      {"last tile masked", "blockmask=16x16/bh,lse",
       [](Problem& p) {
         const int64_t last = p.tensors[SAGE_ATTN_BLOCK_MASK].shape[3] - 1;
         Change(p, SAGE_ATTN_BLOCK_MASK, [last](const int64_t* i, double) { return i[3] == last ? 0.0 : 1.0; });
       }},
      {"every other tile masked", "blockmask=16x16/bh,lse",
       [](Problem& p) {
         Change(p, SAGE_ATTN_BLOCK_MASK, [](const int64_t* i, double) { return (i[2] + i[3]) % 2 == 0 ? 255.0 : 0.0; });
       }},
      {"lengths of zero", "kvlens,qlens,lse", [](Problem& p) { SetLengths(p, SAGE_ATTN_SEQUSED_K, 0); }},
      {"query lengths of zero", "kvlens,qlens", [](Problem& p) { SetLengths(p, SAGE_ATTN_SEQUSED_Q, 0); }},
      {"a window that sees nothing", "align=tl,window=*:0,kvlens,lse",
       [](Problem& p) { SetLengths(p, SAGE_ATTN_SEQUSED_K, 1); }},
      {"NaN behind the lengths", "kvlens,lse", beyond_length(kNan)},
      {"infinity behind the lengths", "kvlens,lse", beyond_length(kInfinity)},
      {"NaN at keys no query sees", "causal=tl,lse", future(kNan)},
      {"infinity at keys no query sees", "causal=tl", future(-kInfinity)},
      {"NaN at masked keys", "mask=bhqk,lse", masked_column(kNan)},
      {"infinity at masked keys", "mask=bhqk,weights", masked_column(kInfinity)},
      {"NaN in one query row", "",
       [](Problem& p) {
         Change(p, SAGE_ATTN_Q,
                [](const int64_t* i, double old) { return i[0] == 0 && i[1] == 0 && i[2] == 0 ? kNan : old; });
       }},
      {"denormals", "",
       [](Problem& p) { Change(p, SAGE_ATTN_V, [](const int64_t*, double old) { return old * 1e-40; }); }},
      {"zeros of both signs", "",
       [](Problem& p) { Change(p, SAGE_ATTN_Q, [](const int64_t* i, double) { return i[3] % 2 == 0 ? -0.0 : 0.0; }); }},
      {"values far from zero", "",
       [](Problem& p) { Change(p, SAGE_ATTN_V, [](const int64_t*, double old) { return old + 100; }); }},
      {"small values", "", scaled(SAGE_ATTN_V, 1e-3)},
      {"keys back to front", "causal=br,lse",
       [](Problem& p) {  // negative strides
         for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) {
           sage_tensor& t = p.tensors[slot];
           t.data = static_cast<char*>(t.data) + (t.shape[2] - 1) * t.stride[2] * support::DtypeSize(t.dtype);
           t.stride[2] = -t.stride[2];
         }
       }},
      {"queries and results back to front", "causal=br,lse",
       [](Problem& p) {
         for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_O}) {
           sage_tensor& t = p.tensors[slot];
           for (const uint32_t axis : {1u, 2u}) {
             t.data = static_cast<char*>(t.data) + (t.shape[axis] - 1) * t.stride[axis] * support::DtypeSize(t.dtype);
             t.stride[axis] = -t.stride[axis];
           }
         }
       }},
      {"one key row for all heads", "lse",
       [](Problem& p) {
         for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) p.tensors[slot].stride[1] = 0;
       }},
  };
}

}  // namespace

namespace {

// Common lines first, then seeded ones, each against the oracle. Lines of kinds that the table does not declare are
// left out.
void AgainstOracle(const Context& context, const std::string& name, bool attention) {
  KitHost host(3);
  const Instance instance(context.table, &host, context.options.device_id, context.options.create_options);
  if (!instance.ok()) return context.out.Report(name, Outcome::kSkip, instance.why());
  Oracle oracle;
  Tally tally(context.out, name);
  const auto common = CommonLines();
  const size_t wanted = common.size() + static_cast<size_t>(std::max(context.options.problems, 0)) / 2;
  for (size_t i = 0, made = 0; made < wanted && i < 20 * wanted; ++i) {
    const uint64_t seed = context.options.seed * 7919 + i + (attention ? 500000 : 900000);
    const std::string line = i < common.size() ? common[i]
                             : attention       ? RandomAttentionLine(seed)
                                               : RandomPlainLine(seed);
    ProblemData data;
    const auto problem = MakeProblem(line, seed, &data);
    if (problem == nullptr) continue;
    ++made;
    const uint32_t kind = problem->op.kind;
    if ((kind == SAGE_OP_ATTENTION) != attention || (context.table->kinds >> kind & 1) == 0) continue;
    context.out.Step(line);
    tally.Tried();
    bool refused = false;
    const std::string why = CheckProblem(instance, &oracle, problem.get(), static_cast<unsigned>(i), &refused);
    if (refused) tally.Refused();
    if (!why.empty()) tally.Fail(fmt::format("{},seed={}", line, seed), why);
  }
  tally.Done("problems");
}

// Sizes round the widths of registers and tiles, in every dtype.
void Sweep(const Context& context, const Instance& instance, Oracle* oracle, const char* name,
           const std::vector<std::string>& sizes, const char* options) {
  Tally tally(context.out, fmt::format("adversarial: {}", name));
  unsigned phase = 0;
  for (const char* dtype : {"f64", "f32", "bf16", "f16"}) {
    for (const std::string& size : sizes) {
      const std::string line = fmt::format("{}.{}{}", size, dtype, options);
      ProblemData data;
      const auto problem = MakeProblem(line, context.options.seed, &data);
      if (problem == nullptr) {
        tally.Fail(line, "the kit could not make it");
        continue;
      }
      context.out.Step(line);
      tally.Tried();
      bool refused = false;
      const std::string why = CheckProblem(instance, oracle, problem.get(), phase++, &refused);
      if (refused) tally.Refused();
      if (!why.empty()) tally.Fail(line, why);
    }
  }
  tally.Done("problems");
}

void Sweeps(const Context& context, const Instance& instance, Oracle* oracle) {
  std::vector<std::string> widths, lengths, tiles;
  for (const int d : {1, 3, 7, 8, 15, 16, 17, 31, 32, 40, 59, 64, 80, 96, 111, 128, 160, 192, 224, 256, 512}) {
    widths.push_back(fmt::format("b1.hq2.hkv1.sq5.skv33.d{}", d));
    widths.push_back(fmt::format("b1.hq2.hkv1.sq2.skv9.d16.dv{}", d));
  }
  for (const int s :
       {1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 97, 113, 127, 128, 129, 200, 257, 384, 512, 768, 1024, 1025}) {
    lengths.push_back(fmt::format("b1.hq2.hkv1.sq3.skv{}.d8", s));
    if (s <= 257) lengths.push_back(fmt::format("b1.hq1.hkv1.sq{}.skv{}.d8", s, s));
  }
  for (const int keys : {15, 16, 17, 31, 32, 33, 47, 48, 49})
    tiles.push_back(fmt::format("b2.hq2.hkv2.sq17.skv{}.d16", keys));
  Sweep(context, instance, oracle, "head dimensions of every kind", widths, ":lse");
  Sweep(context, instance, oracle, "sequence lengths of every kind", lengths, ":causal=br,lse");
  Sweep(context, instance, oracle, "keys round a tile's edge", tiles, ":causal=tl,lse,block=16x16");
}

}  // namespace

void OracleGroup(const Context& context) { AgainstOracle(context, "oracle: attention", true); }
void PlainGroup(const Context& context) { AgainstOracle(context, "oracle: other kinds", false); }

void AdversarialGroup(const Context& context) {
  if ((context.table->kinds & SAGE_KIND_BIT(SAGE_OP_ATTENTION)) == 0)
    return context.out.Report("adversarial", Outcome::kSkip, "attention is not among its kinds");
  KitHost host(3);
  const Instance instance(context.table, &host, context.options.device_id, context.options.create_options);
  if (!instance.ok()) return context.out.Report("adversarial", Outcome::kSkip, instance.why());
  Oracle oracle;
  for (const Attack& attack : Attacks()) {
    Tally tally(context.out, fmt::format("adversarial: {}", attack.name));
    for (const char* dtype : {"f64", "f32", "bf16", "f16"}) {
      for (const char* algorithm : {"", "algorithm=flash", "algorithm=materialised"}) {
        for (const char* sizes : {"b2.hq4.hkv2.sq33.skv70.d16", "b1.hq2.hkv1.sq1.skv257.d40"}) {
          std::string options = attack.options;
          if (*algorithm != '\0') options += (options.empty() ? "" : ",") + std::string(algorithm);
          const std::string line = fmt::format("{}.{}{}{}", sizes, dtype, options.empty() ? "" : ":", options);
          ProblemData data;
          const auto problem = MakeProblem(line, context.options.seed, &data);
          if (problem == nullptr) continue;
          attack.alter(*problem);
          problem->Link();
          context.out.Step(fmt::format("{} with {}", line, attack.name));
          tally.Tried();
          bool refused = false;
          const std::string why = CheckProblem(instance, &oracle, problem.get(), 0, &refused);
          if (refused) tally.Refused();
          if (!why.empty()) tally.Fail(line, why);
        }
      }
    }
    tally.Done("problems");
  }
  Sweeps(context, instance, &oracle);
}

}  // namespace sage::conformance
