// f32_split.cc: how exact fp32 attention in three bf16 parts is, beside the plain fp32 kernel and the one of fused
// multiply-adds, on ordinary and on hard inputs: a table in Markdown, and whether the class EXACT is kept.
//
// Built twice: on the processor's tiles, and on emulated ones for machines without AMX. Exits 0 where the class is kept
// on every line, 1 where it is not, 2 where it could not be measured.
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "attention_testing.h"
#include "naive_attention.h"

namespace sage::test {
namespace {

struct Line {
  const char* name;
  AttentionShape shape;
  std::function<void(AttentionCase&)> change;
};

void Multiply(OwnedTensor& tensor, double factor) {
  const OwnedTensor from = tensor;
  tensor.FillBy([&](uint64_t n) { return from.Get(n) * factor; });
}

void Add(OwnedTensor& tensor, double term, int64_t channel = -1) {
  const OwnedTensor from = tensor;
  const auto width = static_cast<uint64_t>(from.dim(3));
  tensor.FillBy([&](uint64_t n) {
    return from.Get(n) + (channel < 0 || n % width == static_cast<uint64_t>(channel) ? term : 0);
  });
}

void Magnitudes(OwnedTensor& tensor) {
  const OwnedTensor from = tensor;
  tensor.FillBy([&](uint64_t n) { return std::fabs(from.Get(n)); });
}

// Scores of every key by its number, the same for all queries.
void ByKey(AttentionCase& a, const std::function<double(int64_t)>& score) {
  const int64_t keys = a.K().dim(2), dim = a.K().dim(3);
  a.Scale(1).Q().Fill(1.0 / static_cast<double>(dim));
  a.K().FillBy([&](uint64_t n) { return score(static_cast<int64_t>(n) / dim % keys); });
}

void Hide(AttentionCase& a, const std::function<bool(int64_t key)>& hidden) {
  const int64_t keys = a.K().dim(2);
  a.OverScores(SAGE_ATTN_MASK, SAGE_BOOL).FillBy([&](uint64_t n) {
    return hidden(static_cast<int64_t>(n) % keys) ? 0.0 : 1.0;
  });
}

std::vector<Line> Lines() {
  const auto nothing = [](AttentionCase&) {};
  std::vector<Line> lines;
  for (const int64_t seq : {1, 2, 15, 17, 33, 129, 256, 1024, 4096})
    lines.push_back({"normal", {1, 2, 2, 32, seq, 64}, nothing});
  for (const int64_t dim : {1, 8, 17, 32, 80, 128, 256, 512})
    lines.push_back({"normal", {1, 2, 2, dim < 16 ? 512 : 32, 512, dim}, nothing});
  const AttentionShape usual{1, 2, 2, 32, 1024, 64}, few{1, 2, 2, 512, 1024, 8};
  const auto add = [&](const char* name, const AttentionShape& shape, std::function<void(AttentionCase&)> change) {
    lines.push_back({name, shape, std::move(change)});
  };
  add("logits of deviation 36", usual, [](AttentionCase& a) { Multiply(a.Q(), 6), Multiply(a.K(), 6); });
  add("an outlier channel in K, V around 5", usual, [](AttentionCase& a) { Add(a.K(), 20, 3), Add(a.V(), 5); });
  add("nothing below 0", usual, [](AttentionCase& a) { Magnitudes(a.Q()), Magnitudes(a.K()), Magnitudes(a.V()); });
  add("scores of some +-1e4, whole", few,
      [](AttentionCase& a) { a.Scale(1).Q().FillIntegers(72, -60, 60), a.K().FillIntegers(73, -60, 60); });
  add("one key takes all", usual, [](AttentionCase& a) { ByKey(a, [](int64_t j) { return j == 700 ? 200 : 0; }); });
  add("all keys alike", usual, [](AttentionCase& a) { ByKey(a, [](int64_t) { return 0.5; }); });
  add("maxima rise from tile to tile", usual,
      [](AttentionCase& a) { ByKey(a, [](int64_t j) { return static_cast<double>(j) * 0.05; }); });
  add("maxima fall", usual,
      [](AttentionCase& a) { ByKey(a, [](int64_t j) { return 50 - static_cast<double>(j) * 0.05; }); });
  add("a sink: the first key outweighs, V there 0", usual, [](AttentionCase& a) {
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t c = 0; c < 64; ++c) a.K().Set({0, h, 0, c}, c == 0 ? 60 : 0), a.V().Set({0, h, 0, c}, 0);
    Add(a.Q(), 1, 0);
  });
  add("dots that cancel", usual, [](AttentionCase& a) {
    const OwnedTensor q = a.Q(), k = a.K();
    a.Q().FillBy([&](uint64_t n) { return q.Get(n / 2 * 2); });
    a.K().FillBy([&](uint64_t n) { return (n % 2 == 0 ? 30 : -30) * k.Get(n / 2 * 2) + 0.1 * k.Get(n); });
  });
  add("magnitudes from 2^-20 to 2^20 in V", usual, [](AttentionCase& a) {
    const OwnedTensor v = a.V();
    a.V().FillBy([&](uint64_t n) { return std::ldexp(v.Get(n), static_cast<int>(n * 2654435761u % 41) - 20); });
  });
  add("the first tiles hidden", usual, [](AttentionCase& a) { Hide(a, [](int64_t j) { return j < 300; }); });
  add("the last tiles hidden", usual, [](AttentionCase& a) { Hide(a, [](int64_t j) { return j >= 300; }); });
  add("every other tile hidden", usual, [](AttentionCase& a) { Hide(a, [](int64_t j) { return j / 128 % 2 == 0; }); });
  add("denormal Q (not split)", usual, [](AttentionCase& a) { Multiply(a.Q(), 1e-40); });
  add("denormal V (not split)", usual, [](AttentionCase& a) { Multiply(a.V(), 1e-40); });
  add("some keys near 2^-110 (not split)", usual, [](AttentionCase& a) {
    for (int64_t j = 0; j < 1024; j += 50) a.K().Set({0, 1, j, 7}, 0x1p-110), a.V().Set({0, 0, j, 9}, -0x1p-110);
  });
  add("Q and K near 1e18 (not split)", usual, [](AttentionCase& a) {
    Multiply(a.Q(), 1e18), Multiply(a.K(), 1e18);
    a.Scale(1e-36 / 8);
  });
  return lines;
}

struct Total {
  Errors naive, fma, split;
};

// Of the errors of a, where b has the same.
double Ratio(double a, double b) { return a == 0 ? 0 : a / b; }

int Run() {
  const char* const isa = SAGE_ACCURACY_EMULATED ? "emulated as Intel's manual has them" : "the processor's";
  Oracle oracle;
  CpuBackend split("amx"), fma("avx512");
  if (split.instance.status() != SAGE_OK || fma.instance.status() != SAGE_OK) {
    std::fprintf(stderr, "f32_split: %s\n", split.instance.message().c_str());
    return 2;
  }
  std::printf("Tiles: %s. Each line: 2 heads of 32 queries, of 512 where d < 16.\n\n", isa);
  std::printf(
      "| input | keys | d | plain fp32: RMS | largest | FMA: RMS | largest | split: RMS | largest | RMS, of plain "
      "| largest, of plain | EXACT |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n");
  int broken = 0;
  uint64_t seed = 1;
  for (const Line& line : Lines()) {
    AttentionCase attention(SAGE_F32, line.shape, seed++ * 17);
    line.change(attention);
    std::string failure;
    const AttentionCase want = Expected(attention, oracle.instance, &failure);
    AttentionCase by_fma = attention;
    const RunResult ran = attention.Run(split.instance), ran_fma = by_fma.Run(fma.instance);
    if (!failure.empty() || ran.status != SAGE_OK || ran_fma.status != SAGE_OK) {
      std::fprintf(stderr, "f32_split: %s: %s\n", line.name, (failure + Failure(ran) + Failure(ran_fma)).c_str());
      return 2;
    }
    const double unit = LargestMagnitude(want.slots[SAGE_ATTN_V]);
    const auto errors = [&](const std::vector<double>& got) {
      Errors e = ErrorsOf(got, want.O().Values());
      e.rms /= unit, e.largest /= unit;
      return e;
    };
    const Total total{errors(NaiveAttention<float>(attention)), errors(by_fma.O().Values()),
                      errors(attention.O().Values())};
    const double rms = Ratio(total.split.rms, total.naive.rms), most = Ratio(total.split.largest, total.naive.largest);
    const bool kept = rms <= 1 && most <= 1.25;
    broken += !kept;
    std::printf("| %s | %lld | %lld | %.1e | %.1e | %.1e | %.1e | %.1e | %.1e | %.2f | %.2f | %s |\n", line.name,
                static_cast<long long>(line.shape.seq_kv), static_cast<long long>(line.shape.dim_qk), total.naive.rms,
                total.naive.largest, total.fma.rms, total.fma.largest, total.split.rms, total.split.largest, rms, most,
                kept ? "yes" : "**no**");
  }
  std::printf("\n%s\n", broken == 0 ? "The split keeps the class EXACT on every line."
                                    : "The split breaks the class EXACT on the lines that say so.");
  return broken == 0 ? 0 : 1;
}

}  // namespace
}  // namespace sage::test

int main() { return sage::test::Run(); }
