// draws.h: choices of a test that draws its cases: the same of the same seed, on every machine.
#ifndef SAGE_TESTS_SUPPORT_DRAWS_H_
#define SAGE_TESTS_SUPPORT_DRAWS_H_

#include <cstdint>
#include <initializer_list>
#include <random>

namespace sage::test {

// The order of calls is part of what is drawn: two of them are never arguments of one call, whose order is the
// compiler's.
class Draws {
 protected:
  explicit Draws(uint64_t seed) : random_(seed) {}
  bool Chance(uint32_t one_in) { return random_() % one_in == 0; }
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  int64_t OneOf(std::initializer_list<int64_t> values) {
    return *(values.begin() + Between(0, static_cast<int64_t>(values.size()) - 1));
  }

  std::mt19937_64 random_;
};

}  // namespace sage::test

#endif  // SAGE_TESTS_SUPPORT_DRAWS_H_
