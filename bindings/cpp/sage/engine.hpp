// engine.hpp: options, the engine and its backends, the plain attention call.
//
// Part of sage.hpp, which says how all of it is used.
#ifndef SAGE_CPP_ENGINE_HPP_
#define SAGE_CPP_ENGINE_HPP_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "tensor.hpp"

namespace sage {
inline namespace cpp {

// key = value, checked where they are used.
class Options {
 public:
  Options() {
    sage_options* raw = nullptr;
    detail::Check([&](sage_error* error) { return sage_options_create(&raw, error); });
    raw_.reset(raw);
  }
  Options& set(const std::string& key, const std::string& value) {
    detail::Check([&](sage_error* error) { return sage_options_set(raw_.get(), key.c_str(), value.c_str(), error); });
    return *this;
  }
  // From any thread. What it throws is lost.
  Options& log(std::function<void(int32_t level, std::string_view text)> fn) {
    detail::Callbacks next = callbacks_ == nullptr ? detail::Callbacks{} : *callbacks_;
    next.log = std::move(fn);
    return Lend(std::move(next));
  }
  // Asked now and then during a run; true stops it with SAGE_E_CANCELLED. Throwing is true.
  Options& cancel(std::function<bool()> fn) {
    detail::Callbacks next = callbacks_ == nullptr ? detail::Callbacks{} : *callbacks_;
    next.cancel = std::move(fn);
    return Lend(std::move(next));
  }
  // As in sage.h: lent, and valid as long as the engine.
  Options& allocator(sage_alloc_fn alloc, sage_free_fn free_fn, void* user) {
    detail::Check(
        [&](sage_error* error) { return sage_options_set_allocator(raw_.get(), alloc, free_fn, user, error); });
    return *this;
  }
  Options& parallel_for(sage_parallel_for_fn fn, uint32_t num_workers, void* user) {
    detail::Check(
        [&](sage_error* error) { return sage_options_set_parallel_for(raw_.get(), fn, num_workers, user, error); });
    return *this;
  }
  const sage_options* raw() const noexcept { return raw_.get(); }
  const std::shared_ptr<detail::Callbacks>& keep() const noexcept { return callbacks_; }

 private:
  // A new object each time: handles made before keep what they were lent.
  Options& Lend(detail::Callbacks next) {
    auto lent = std::make_shared<detail::Callbacks>(std::move(next));
    const auto log = [](void* user, int32_t level, const char* text, uint64_t length) noexcept {
      try {
        static_cast<detail::Callbacks*>(user)->log(level, std::string_view(text, length));
      } catch (...) {  // an exception must not pass through the library
      }
    };
    const auto cancel = [](void* user) noexcept -> int32_t {
      try {
        return static_cast<detail::Callbacks*>(user)->cancel() ? 1 : 0;
      } catch (...) {
        return 1;
      }
    };
    detail::Check([&](sage_error* error) {
      return sage_options_set_log(raw_.get(), lent->log ? +log : nullptr, lent.get(), error);
    });
    detail::Check([&](sage_error* error) {
      return sage_options_set_cancel(raw_.get(), lent->cancel ? +cancel : nullptr, lent.get(), error);
    });
    callbacks_ = std::move(lent);
    return *this;
  }
  detail::Owned<sage_options, sage_options_destroy> raw_;
  std::shared_ptr<detail::Callbacks> callbacks_;
};

enum class Layout : uint32_t { kBHSD = 0, kBSHD = 1 };
enum class Causal : uint32_t { kNo = 0, kTopLeft = SAGE_ALIGN_TOP_LEFT, kBottomRight = SAGE_ALIGN_BOTTOM_RIGHT };

// Of a plain attention call, in elements.
struct AttentionShape {
  int64_t batch = 1, heads_q = 1, heads_kv = 1, seq_q = 1, seq_kv = 1, dim_qk = 1, dim_v = 0;  // dim_v 0: dim_qk
  Layout layout = Layout::kBHSD;
  Causal causal = Causal::kNo;
  double scale = 0;  // 0: 1/sqrt(dim_qk)
};

class Engine {
 public:
  Engine() : Engine(nullptr, nullptr) {}
  explicit Engine(const Options& options) : Engine(options.raw(), options.keep()) {}

  void load_plugin(const std::string& absolute_path) {
    detail::Check([&](sage_error* error) { return sage_engine_load_plugin(raw_.get(), absolute_path.c_str(), error); });
  }
  std::vector<std::string> backends() const {
    std::vector<std::string> names;
    for (uint32_t i = 0; i < sage_engine_backend_count(raw_.get()); ++i)
      if (const char* name = sage_engine_backend_name(raw_.get(), i)) names.emplace_back(name);
    return names;
  }
  // JSON: every plugin that was found.
  std::string describe() const {
    return detail::FetchText([&](char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
      return sage_engine_describe(raw_.get(), buffer, capacity, needed, error);
    });
  }
  // softmax(scale q k^T) v over contiguous arrays. T: float or double. The lengths of the spans are checked.
  template <class T>
  void attention(const AttentionShape& shape, std::span<const T> q, std::span<const T> k, std::span<const T> v,
                 std::span<T> o) const {
    static_assert(std::is_floating_point_v<T>, "of f16 and bf16 make a plan, which takes tensors of any dtype");
    const int64_t dim_v = shape.dim_v == 0 ? shape.dim_qk : shape.dim_v;
    const auto expect = [](const char* name, size_t size, Shape lengths) {
      if (const int64_t count = CountOf(lengths); size != static_cast<uint64_t>(count))
        throw Error(
            SAGE_E_INVALID_ARGUMENT, 0,
            std::string(name) + " has " + std::to_string(size) + " elements; its shape says " + std::to_string(count));
    };
    expect("q", q.size(), {shape.batch, shape.heads_q, shape.seq_q, shape.dim_qk});
    expect("k", k.size(), {shape.batch, shape.heads_kv, shape.seq_kv, shape.dim_qk});
    expect("v", v.size(), {shape.batch, shape.heads_kv, shape.seq_kv, dim_v});
    expect("o", o.size(), {shape.batch, shape.heads_q, shape.seq_q, dim_v});
    detail::Check([&](sage_error* error) {
      return sage_attention(raw_.get(), DtypeOf<T>(), static_cast<uint32_t>(shape.layout), shape.batch, shape.heads_q,
                            shape.heads_kv, shape.seq_q, shape.seq_kv, shape.dim_qk, dim_v, q.data(), k.data(),
                            v.data(), o.data(), static_cast<uint32_t>(shape.causal), shape.scale, error);
    });
  }
  // JSON: all errors of a model file.
  std::string check(const std::string& path) const {
    return detail::FetchText([&](char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
      return sage_model_check(raw_.get(), path.c_str(), buffer, capacity, needed, error);
    });
  }
  // The same of bytes, as a Model takes them.
  std::string check(std::span<const std::byte> bytes, const std::optional<std::string>& weights_folder = {}) const {
    const char* const folder = weights_folder ? weights_folder->c_str() : nullptr;
    return detail::FetchText([&](char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
      return sage_model_check_buffer(raw_.get(), bytes.data(), bytes.size(), folder, buffer, capacity, needed, error);
    });
  }
  sage_engine* raw() const noexcept { return raw_.get(); }
  const detail::Keep& keep() const noexcept { return keep_; }

 private:
  Engine(const sage_options* options, const std::shared_ptr<detail::Callbacks>& callbacks)
      : keep_(detail::Join({}, callbacks)) {
    detail::RequireAbi(sage_abi_version());
    sage_engine* raw = nullptr;
    detail::Check([&](sage_error* error) { return sage_engine_create(options, &raw, error); });
    raw_.reset(raw);
  }
  detail::Keep keep_;  // before the handle: it is destroyed after it
  detail::Owned<sage_engine, sage_engine_destroy> raw_;
};

}  // namespace cpp
}  // namespace sage

#endif  // SAGE_CPP_ENGINE_HPP_
