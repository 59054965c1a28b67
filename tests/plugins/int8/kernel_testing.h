// kernel_testing.h: the tables of kernels that this machine runs, and operands for them drawn from a seed.
#ifndef SAGE_TESTS_PLUGINS_INT8_KERNEL_TESTING_H_
#define SAGE_TESTS_PLUGINS_INT8_KERNEL_TESTING_H_

#include <cstring>
#include <random>
#include <vector>

#include "cpu/attention_tile.h"
#include "int8_testing.h"
#include "kernel_table.h"
#include "panels.h"
#include "support/fenced.h"

namespace sage::test {

inline std::vector<const int8::Int8Kernels*> Tables() {
  std::vector<const int8::Int8Kernels*> tables;
  for (const std::string& name : Int8Isas()) {
    int8::Isa isa{};
    if (int8::IsaFromName(name, &isa)) tables.push_back(&int8::KernelsOf(isa));
  }
  return tables;
}

// While it lives, the products of a table may be called.
class Task {
 public:
  explicit Task(const int8::Int8Kernels& kernels) : scope_(kernels.attention) {}

 private:
  cpu::KernelScope<float> scope_;
};

class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed * 7919 + 17) {}
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  bool Chance(int64_t one_in) { return Between(1, one_in) == 1; }
  uint64_t Bits() { return random_(); }
  float Normal() { return normal_(random_); }
  // All bytes there are; sometimes all the largest or the least that quantising gives, or the least that there is.
  std::vector<int8_t> Codes(int64_t count) {
    const int64_t kind = Between(0, 7);
    std::vector<int8_t> codes(static_cast<size_t>(count));
    for (int8_t& code : codes)
      code = static_cast<int8_t>(kind == 0   ? 127
                                 : kind == 1 ? -127
                                 : kind == 2 ? -128
                                 : kind == 3 ? (Chance(2) ? 127 : -127)
                                             : Between(-128, 127));
    return codes;
  }

 private:
  std::mt19937_64 random_;
  std::normal_distribution<float> normal_;
};

// Equal as bits; NaN of any payload are equal.
inline bool SameBits(float x, float y) { return (x != x && y != y) || std::memcmp(&x, &y, sizeof x) == 0; }

// Keys a multiple of 16 by `depth` channels as panels.
inline void LayKeys(const int8::CodeForm& form, const std::vector<int8_t>& codes, const std::vector<float>& scales,
                    int64_t depth, char* to) {
  for (size_t key = 0; key < scales.size(); key += int8::kPanel, to += int8::PanelBytes(form, depth)) {
    const int8_t* columns[int8::kPanel];
    for (size_t i = 0; i < int8::kPanel; ++i) columns[i] = codes.data() + (key + i) * static_cast<size_t>(depth);
    int8::LayPanel(form, columns, scales.data() + key, depth, to);
  }
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_INT8_KERNEL_TESTING_H_
