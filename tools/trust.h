// trust.h: `--reputation FILE`: ticks of an expert graph that carry no trust get it from the reputation store.
//
// libsage knows no SQLite; the store is a library of its own and meets the engine here, in the tick.
#ifndef SAGE_TOOLS_TRUST_H_
#define SAGE_TOOLS_TRUST_H_

#include <memory>
#include <string>
#include <string_view>

namespace CLI {
class App;
}

namespace sage::tool {

struct TrustFlags {
  std::string store, component = "sage";
  int layer = 0;
  void AddTo(CLI::App* verb);
};

class TrustSource {
 public:
  explicit TrustSource(const TrustFlags& flags);
  ~TrustSource();
  TrustSource(const TrustSource&) = delete;
  TrustSource& operator=(const TrustSource&) = delete;
  bool active() const { return store_ != nullptr; }
  // The tick with a "trust" row for as many experts as it has router logits, or the tick itself when it has trust, is
  // not an object, or is malformed (the engine then says what is wrong with it). *storage backs the result.
  std::string_view Fill(std::string_view tick, std::string* storage);

 private:
  struct Store;
  TrustFlags flags_;
  std::unique_ptr<Store> store_;
};

}  // namespace sage::tool

#endif  // SAGE_TOOLS_TRUST_H_
