// fuzz.h: what the fuzzers share: a seeded generator, the numbers and words that break programs, and JSON texts changed
// by their structure: a value replaced, a member lost, repeated or renamed.
//
// Seeded and bounded, so a failure is the same tomorrow and a run costs seconds: tests, not a search. SAGE_FUZZ_ROUNDS
// multiplies the cases of every fuzzer; the long programs, labelled slow, are the same sources with more rounds.
#ifndef SAGE_TESTS_FUZZ_FUZZ_H_
#define SAGE_TESTS_FUZZ_FUZZ_H_

#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#ifndef SAGE_FUZZ_ROUNDS
#define SAGE_FUZZ_ROUNDS 1
#endif

namespace sage::fuzz {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint64_t Bits();
  size_t Below(size_t bound) { return bound == 0 ? 0 : static_cast<size_t>(Bits() % bound); }
  bool OneIn(size_t n) { return Below(n) == 0; }
  template <class T>
  const T& Of(std::span<const T> all) {
    return all[Below(all.size())];
  }
  template <class Container>
  const auto& Pick(const Container& all) {
    return all[Below(std::size(all))];
  }

 private:
  uint64_t state_;
};

// 0, -1, powers of two and their neighbours, the ends of every integer type, sizes whose products overflow.
std::span<const int64_t> HardIntegers();
// JSON values, well-formed and not: numbers at every limit, strings with NULs and lone surrogates, deep nesting.
std::span<const std::string> HardTokens();

// One to eight bytes changed, inserted, removed, repeated; one time in eight the rest is cut off.
void ChangeBytes(Random& random, std::string* bytes);

// 1 to 3 changes of a JSON text by its structure. words: names the format knows, for keys and strings. What comes out
// is mostly well-formed JSON with one wrong thing in it, which gets further than noise does.
std::string ChangeJson(Random& random, std::string_view json, std::span<const std::string> words);

}  // namespace sage::fuzz

#endif  // SAGE_TESTS_FUZZ_FUZZ_H_
