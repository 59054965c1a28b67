// problem_random.h: the random numbers of problem data. The same seed gives the same bits on every machine: nothing
// here asks libm, and no compiler may fuse what is written apart.
#ifndef SAGE_ENGINE_PLAN_PROBLEM_RANDOM_H_
#define SAGE_ENGINE_PLAN_PROBLEM_RANDOM_H_

#include <cstdint>

namespace sage {

// splitmix64: small, and its whole sequence is defined by integers.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  int64_t Below(int64_t bound) { return bound <= 1 ? 0 : static_cast<int64_t>(Next() % static_cast<uint64_t>(bound)); }
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
  // About N(0,1): twelve uniforms, within 6 of 0.
  double Normal() {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += Uniform();
    return sum;
  }

 private:
  uint64_t state_;
};

// A stream of its own for every purpose: the data of a slot, their distribution ... Adding one does not change the
// others.
inline Random StreamOf(uint64_t seed, uint64_t purpose) { return Random((seed + 1) * 0x100000001b3u + purpose); }

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_PROBLEM_RANDOM_H_
