// session.hpp: models and their sessions: inputs, runs, outputs, ticks, state.
//
// Part of sage.hpp, which says how all of it is used.
#ifndef SAGE_CPP_SESSION_HPP_
#define SAGE_CPP_SESSION_HPP_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine.hpp"

namespace sage {
inline namespace cpp {

enum class Direction : uint32_t { kInput = SAGE_INPUT, kOutput = SAGE_OUTPUT };

struct IoInfo {
  std::string name;
  sage_dtype dtype = 0;
  std::vector<int64_t> shape;  // -1: any length
};

class Model {
 public:
  Model(const Engine& engine, const std::string& path) : keep_(engine.keep()) {
    Take([&](sage_model** out, sage_error* error) { return sage_model_load(engine.raw(), path.c_str(), out, error); });
  }
  // From bytes, which are copied. weights_folder: where its relative paths begin.
  Model(const Engine& engine, std::span<const std::byte> bytes, const std::optional<std::string>& weights_folder = {})
      : keep_(engine.keep()) {
    Take([&](sage_model** out, sage_error* error) {
      return sage_model_load_buffer(engine.raw(), bytes.data(), bytes.size(),
                                    weights_folder ? weights_folder->c_str() : nullptr, out, error);
    });
  }
  uint32_t kind() const { return sage_model_kind(raw_.get()); }  // SAGE_MODEL_*
  std::vector<IoInfo> io(Direction direction) const {
    const auto side = static_cast<uint32_t>(direction);
    std::vector<IoInfo> all(sage_model_io_count(raw_.get(), side));
    for (uint32_t i = 0; i < all.size(); ++i) {
      const char* name = nullptr;
      uint32_t rank = 0;
      int64_t shape[SAGE_MAX_RANK];
      detail::Check([&](sage_error* error) {
        return sage_model_io_info(raw_.get(), side, i, &name, &all[i].dtype, &rank, shape, error);
      });
      all[i].name = name == nullptr ? "" : name;
      all[i].shape.assign(shape, shape + rank);
    }
    return all;
  }
  sage_model* raw() const noexcept { return raw_.get(); }
  const detail::Keep& keep() const noexcept { return keep_; }

 private:
  template <class Load>
  void Take(Load&& load) {
    sage_model* raw = nullptr;
    detail::Check([&](sage_error* error) { return load(&raw, error); });
    raw_.reset(raw);
  }
  detail::Keep keep_;
  detail::Owned<sage_model, sage_model_destroy> raw_;
};

class Session {
 public:
  explicit Session(const Model& model, const Options* options = nullptr)
      : keep_(detail::Join(model.keep(), options == nullptr ? nullptr : options->keep())) {
    sage_session* raw = nullptr;
    detail::Check([&](sage_error* error) {
      return sage_session_create(model.raw(), options == nullptr ? nullptr : options->raw(), &raw, error);
    });
    raw_.reset(raw);
  }

  // Copied; stays set.
  template <std::ranges::contiguous_range Range>
  void set_input(uint32_t index, const Range& data, Shape shape) {
    using T = std::ranges::range_value_t<Range>;
    set_input(index, DtypeOf<T>(), shape, std::ranges::data(data), std::ranges::size(data) * sizeof(T));
  }
  void set_input(uint32_t index, sage_dtype dtype, Shape shape, const void* data, uint64_t bytes) {
    detail::Check([&](sage_error* error) {
      return sage_session_set_input(raw_.get(), index, dtype, static_cast<uint32_t>(shape.size()), shape.data(), data,
                                    bytes, error);
    });
  }
  void run() {
    detail::Check([&](sage_error* error) { return sage_session_run(raw_.get(), error); });
  }
  IoInfo output_info(uint32_t index) const {
    IoInfo info;
    uint32_t rank = 0;
    int64_t shape[SAGE_MAX_RANK];
    detail::Check([&](sage_error* error) {
      return sage_session_output_info(raw_.get(), index, &info.dtype, &rank, shape, nullptr, error);
    });
    info.shape.assign(shape, shape + rank);
    return info;
  }
  // A copy of the last run's. T must be the output's type.
  template <class T>
  std::vector<T> output(uint32_t index) const {
    const IoInfo info = output_info(index);
    if (info.dtype != DtypeOf<T>())
      throw Error(SAGE_E_INVALID_ARGUMENT, 0,
                  "output " + std::to_string(index) + " has another type than was asked for");
    std::vector<T> data(static_cast<size_t>(CountOf(info.shape)));
    detail::Check([&](sage_error* error) {
      return sage_session_get_output(raw_.get(), index, data.data(), data.size() * sizeof(T), error);
    });
    return data;
  }
  // Used in place until bound again; the caller keeps the memory. nullopt unbinds.
  void bind(Direction direction, uint32_t index, const std::optional<Tensor>& tensor) {
    detail::Check([&](sage_error* error) {
      return sage_session_bind(raw_.get(), static_cast<uint32_t>(direction), index, tensor ? &tensor->raw() : nullptr,
                               error);
    });
  }
  template <std::ranges::contiguous_range Range>
  requires std::ranges::borrowed_range<Range>
  void bind(Direction direction, uint32_t index, Range&& data, Shape shape) {
    using T = std::ranges::range_value_t<Range>;
    detail::Check([&](sage_error* error) {
      return sage_session_bind_flat(
          raw_.get(), static_cast<uint32_t>(direction), index, DtypeOf<T>(), static_cast<uint32_t>(shape.size()),
          shape.data(), const_cast<T*>(std::ranges::data(data)), std::ranges::size(data) * sizeof(T), error);
    });
  }
  void set_stream(int32_t device_type, int32_t device_id, void* stream) {
    detail::Check(
        [&](sage_error* error) { return sage_session_set_stream(raw_.get(), device_type, device_id, stream, error); });
  }
  void cancel() noexcept { sage_session_cancel(raw_.get()); }

  // One tick of an expert, metabolic or fusion graph: JSON in, the decision's JSON out. After a bad tick
  // (SAGE_E_BAD_DATA) the state is as before, and decision() has its error record.
  std::string tick(std::string_view json) {
    detail::Check([&](sage_error* error) { return sage_session_tick(raw_.get(), json.data(), json.size(), error); });
    return decision();
  }
  std::string decision() {
    return detail::FetchText([&](char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
      return sage_session_decision(raw_.get(), buffer, capacity, needed, error);
    });
  }
  std::vector<std::byte> snapshot() {
    return detail::Fetch<std::vector<std::byte>>(
        [&](void* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
          return sage_session_snapshot(raw_.get(), buffer, capacity, needed, error);
        });
  }
  void restore(std::span<const std::byte> bytes) {
    detail::Check(
        [&](sage_error* error) { return sage_session_restore(raw_.get(), bytes.data(), bytes.size(), error); });
  }
  std::string explain() {
    return detail::FetchText([&](char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
      return sage_session_explain(raw_.get(), buffer, capacity, needed, error);
    });
  }
  // JSON: how far each attention of the last run or tick is from exact. Takes the option accuracy_report.
  std::string accuracy() {
    return detail::FetchText([&](char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
      return sage_session_accuracy(raw_.get(), buffer, capacity, needed, error);
    });
  }
  std::string trace() {
    return detail::FetchText([&](char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
      return sage_session_trace(raw_.get(), buffer, capacity, needed, error);
    });
  }
  sage_session* raw() const noexcept { return raw_.get(); }

 private:
  detail::Keep keep_;
  detail::Owned<sage_session, sage_session_destroy> raw_;
};

}  // namespace cpp
}  // namespace sage

#endif  // SAGE_CPP_SESSION_HPP_
