// lines.cc: seeded problem lines over all features, dtypes and odd sizes. A line may contradict itself; MakeProblem
// then gives null and the next seed is tried.
#include <algorithm>
#include <random>

#include "conformance/groups.h"

namespace sage::conformance {
namespace {

constexpr uint64_t kBudget = 1ull << 27;

class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint32_t Below(uint32_t bound) { return static_cast<uint32_t>(engine_() % bound); }
  bool OneIn(uint32_t n) { return Below(n) == 0; }
  std::string Of(std::initializer_list<const char*> words) {
    return words.begin()[Below(static_cast<uint32_t>(words.size()))];
  }
  uint32_t Of(std::initializer_list<uint32_t> values) {
    return values.begin()[Below(static_cast<uint32_t>(values.size()))];
  }
  uint32_t Length() {
    return Of({1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 40, 63, 64, 65, 97, 113, 127, 128, 129, 200, 257});
  }

 private:
  std::mt19937_64 engine_;
};

std::string Text(uint32_t value) { return std::to_string(value); }

std::string List(std::initializer_list<uint32_t> lengths) {
  std::string text = "[";
  for (const uint32_t length : lengths) text += (text.size() > 1 ? "," : "") + Text(length);
  return text + "]";
}

}  // namespace

std::span<const char* const> CommonLines() {
  static constexpr const char* kLines[] = {
      "unary X=f32[9,65] Y=f32[9,65]:fn=gelu",
      "unary X=f32[3,64] Y=f32[3,64]:fn=relu",
      "b2.hq4.hkv2.sq33.skv65.d32.f32:causal=br,lse",
      "b1.hq2.hkv2.sq64.skv64.d64.f32",
      "b2.hq4.hkv2.sq17.skv40.d16.f64:lse",
      "b1.hq2.hkv1.sq9.skv33.d40.f16",
      "linear X=f32[17,40] W=f32[33,40]! Y=f32[17,33]",
      "linear X=f64[5,64] W=f64[64,64]! Y=f64[5,64]",
      "matmul A=f32[2,17,40] B=f32[2,40,33] C=f32[2,17,33]",
      "norm X=f32[9,64] GAMMA=f32[64] Y=f32[9,64]:mode=rms,axis=1,epsilon=1e-05",
      "binary A=f32[9,64] B=f32[9,64] Y=f32[9,64]:fn=add",
      "softmax X=f32[9,65] Y=f32[9,65]:axis=1",
      "reduce X=f32[9,64] Y=f32[9]:fn=sum,axes=2",
      "gather X=f32[9,64] INDICES=i32[5] Y=f32[5,64]",
      "concat Y=f32[5,64] X=f32[2,64] X=f32[3,64]",
      "slice X=f32[9,64] Y=f32[4,64]:begin=1x0,step=2x1",
      "permute X=f32[9,64] Y=f32[64,9]:axes=1x0",
      "topk X=f32[9,64] VALUES=f32[9,8] INDICES=i32[9,8]:axis=1",
      "rope X=f32[1,2,9,64] POSITIONS=i32[1,9] Y=f32[1,2,9,64]:style=halves",
      "pool X=f32[2,9,64] Y=f32[2,64]:fn=mean",
  };
  return kLines;
}

std::string RandomAttentionLine(uint64_t seed) {
  Dice dice(seed);
  const bool varlen = dice.OneIn(5), paged = dice.OneIn(5);
  const uint32_t batch = 1 + dice.Below(3), heads_kv = dice.Of({1, 1, 2, 3}),
                 heads = heads_kv * dice.Of({1, 1, 2, 3, 4});
  const uint32_t dim = dice.Of({1, 3, 7, 8, 15, 16, 17, 31, 32, 40, 59, 64, 64, 80, 96, 111, 128, 160});
  const uint32_t page = dice.Of({1, 4, 16, 17}), rows = dice.OneIn(3) ? 1 + dice.Below(4) : dice.Length();
  const uint32_t keys = paged ? page * (1 + dice.Below(9)) : dice.OneIn(40) ? 0 : dice.Length();
  const std::string dtype = dice.Of({"f32", "f32", "f32", "f64", "f64", "f16", "bf16"});
  std::string line = "b" + Text(batch) + ".hq" + Text(heads) + ".hkv" + Text(heads_kv);
  if (heads_kv > 1 && dice.OneIn(6)) line += ".hv1";
  line += ".sq" + Text(rows) + ".skv" + Text(keys) + ".d" + Text(dim);
  if (dice.OneIn(5)) line += ".dv" + Text(dice.Of({1, 5, 16, 33, 64}));
  line += "." + dtype;
  std::string options;
  const auto add = [&options](const std::string& option) { options += (options.empty() ? ":" : ",") + option; };
  if (dtype == "f32" && dice.OneIn(10)) add("kv=" + dice.Of({"f16", "bf16"}));
  if (dice.OneIn(4) && !varlen) add("layout=" + dice.Of({"bshd", "strided"}));
  if (dice.OneIn(4)) add("scale=" + dice.Of({"0", "0.125", "0.1"}));
  if (dice.OneIn(6)) add("softcap=" + dice.Of({"50", "2"}));
  const bool causal = dice.OneIn(3), window = dice.OneIn(4), alibi = dice.OneIn(6);
  if (causal) add("causal=" + dice.Of({"tl", "br"}));
  if (!causal && (window || alibi)) add("align=" + dice.Of({"tl", "br"}));
  if (window) add("window=" + dice.Of({"0", "7", "30", "3:2", "*:0", "*:5", "64:64"}));
  if (alibi) add("alibi");
  if (dice.OneIn(6)) add("sinks");
  if (!varlen) {
    if (dice.OneIn(4)) add("bias=" + dice.Of({"bhqk", "b1qk", "1hqk", "11qk", "b11k"}));
    if (dice.OneIn(5)) add("mask=" + dice.Of({"bhqk", "b1qk", "11qk", "b11k"}));
    if (dice.OneIn(8)) add("bitmask=" + dice.Of({"bhqk", "b1qk"}));
    if (dice.OneIn(8)) {
      add("blockmask=" + dice.Of({"16x8", "64x64", "1x1"}) + "/" + dice.Of({"bh", "11", "b1"}));
    } else if (dice.OneIn(8)) {
      add("csr=" + dice.Of({"4x4", "1x1", "32x64"}) + "/" + dice.Of({"bh", "11"}));
    }
  }
  if (varlen) add("varlen");
  if (dice.OneIn(6)) add("qlens");
  const bool append = dice.OneIn(7);
  if (!append && dice.OneIn(4)) add("kvlens");
  if (paged) add("page=" + Text(page));
  if (append) add(varlen ? "append" : "append=" + Text(dice.Below(3)));
  if (!varlen && dice.OneIn(12)) add("dropout=0.25");
  if (dice.OneIn(15)) add("scale_k=" + dice.Of({"tensor", "head", "channel"}));
  if (dice.OneIn(3)) add("lse");
  if (!varlen && dice.OneIn(7)) add("weights");
  if (!varlen && dice.OneIn(7)) add("scores");
  if (dice.OneIn(4)) add("algorithm=" + dice.Of({"materialised", "flash"}));
  if (dice.OneIn(5)) add("block=" + dice.Of({"16x32", "8x16", "64x128"}));
  if (dice.OneIn(5)) add("deterministic");
  if (dice.OneIn(8)) add("scalar");
  return line + options;
}

std::string RandomPlainLine(uint64_t seed) {
  Dice dice(seed);
  const std::string t = dice.Of({"f32", "f32", "f64", "f16", "bf16"});
  const uint32_t m = dice.Length(), n = dice.Of({1, 3, 8, 17, 64, 65}), k = dice.Of({1, 2, 9, 32, 63, 128}),
                 b = 1 + dice.Below(3);
  const uint32_t axis = dice.Below(3);
  const uint32_t shape[3] = {b, n, k};
  const std::string x = t + List({b, n, k});
  const std::string axis_option = axis == 0 ? "" : ":axis=" + Text(axis);
  switch (dice.Below(15)) {
    case 0: {
      const std::string act = dice.Of({"", ":act=relu", ":act=gelu", ":act=silu", ":act=tanh"});
      return "linear X=" + t + List({m, k}) + " W=" + t + List({n, k}) + (dice.OneIn(2) ? "!" : "") +
             (dice.OneIn(2) ? " B=" + t + List({n}) : "") + " Y=" + t + List({m, n}) + act;
    }
    case 1: {
      const std::string transposed = dice.OneIn(2) ? "@[" + Text(k * n) + ",1," + Text(k) + "]" : "";
      return "matmul A=" + t + List({b, m, k}) + " B=" + t + List({b, k, n}) + transposed + " C=" + t + List({b, m, n});
    }
    case 2:
      return "norm X=" + x + (dice.OneIn(2) ? " GAMMA=" + t + List({k}) : "") + " Y=" + x +
             ":mode=" + dice.Of({"layer", "rms"}) + ",axis=2,epsilon=1e-05";
    case 3:
      return "norm X=" + x + " GAMMA=f32" + List({n}) + " BETA=f32" + List({n}) + " MEAN=f32" + List({n}) + " VAR=f32" +
             List({n}) + " Y=" + x + ":mode=batch,axis=1,epsilon=0.001";
    case 4:
      return "unary X=" + x + " Y=" + x + ":fn=" +
             dice.Of({"relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh", "exp", "log", "sqrt", "abs", "neg"});
    case 5:
      return "unary X=" + x + " Y=" + dice.Of({"f64", "f32", "f16", "bf16", "i8", "i32"}) + List({b, n, k});
    case 6:
      return "binary A=" + x + " B=" + x + (dice.OneIn(2) ? "@[0," + Text(k) + ",1]" : "") + " Y=" + x +
             ":fn=" + dice.Of({"add", "sub", "mul", "min", "max"});
    case 7:
      return "softmax X=" + x + " Y=" + x + axis_option;
    case 8: {
      const uint32_t kept[3] = {axis == 0 ? 1 : b, axis == 1 ? 1 : n, axis == 2 ? 1 : k};
      return "reduce X=" + x + " Y=" + t + List({kept[0], kept[1], kept[2]}) +
             ":fn=" + dice.Of({"sum", "mean", "max", "min"}) + ",axes=" + Text(1u << axis);
    }
    case 9:
      return "gather X=" + t + List({m, k}) + " INDICES=" + dice.Of({"i32", "i64"}) + List({n}) + " Y=" + t +
             List({n, k});
    case 10:
      return "concat Y=" + t + List({b, n + m, k}) + " X=" + x + " X=" + t + List({b, m, k}) + ":axis=1";
    case 11: {
      const uint32_t left = (shape[1] + 1) / 2;
      return "slice X=" + x + " Y=" + t + List({b, left, k}) + ":begin=0x" + Text((left - 1) * 2) + "x0,step=1x-2x1";
    }
    case 12:
      return "permute X=" + x + " Y=" + t + List({k, b, n}) + ":axes=2x0x1";
    case 13:
      return "topk X=" + x + " VALUES=" + t + List({b, n, std::min(k, 5u)}) + " INDICES=" + dice.Of({"i32", "i64"}) +
             List({b, n, std::min(k, 5u)}) + ":axis=2" + (dice.OneIn(2) ? ",smallest=1" : "");
    default:
      if (dice.OneIn(2))
        return "rope X=" + t + List({b, n, m, 2 * k}) + " POSITIONS=i32" + List({b, m}) + " Y=" + t +
               List({b, n, m, 2 * k}) + ":style=" + dice.Of({"halves", "interleaved"});
      return "pool X=" + x + " MASK=bool" + List({b, n}) + " Y=" + t + List({b, k}) +
             ":fn=" + dice.Of({"mean", "max", "first", "last"});
  }
}

std::unique_ptr<Problem> MakeProblem(const std::string& line, uint64_t seed, ProblemData* data) {
  Result<std::unique_ptr<Problem>> parsed = ParseProblem(line);
  if (!parsed.ok()) return nullptr;
  (*parsed)->seed = seed;
  if (!MakeProblemTensors(parsed->get(), kBudget, data).ok()) return nullptr;
  return std::move(*parsed);
}

}  // namespace sage::conformance
