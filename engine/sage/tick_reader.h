// tick_reader.h: a tick's JSON read with care: every value checked where it stands, every refusal with its place.
//
// Reading stops at the first fault: what follows a wrong value is guesswork. Nothing is allocated while ticks are good
// and no larger than the largest so far.
#ifndef SAGE_ENGINE_SAGE_TICK_READER_H_
#define SAGE_ENGINE_SAGE_TICK_READER_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"

namespace sage {

// Where in a record: "targets[1].salience". A value, cheap to pass on; the text is only made for a fault.
class Place {
 public:
  Place() = default;
  Place operator/(const char* field) const { return With(field, 0); }
  Place operator[](size_t index) const { return With(nullptr, index); }
  std::string Text() const;

 private:
  static constexpr uint32_t kMaxSteps = 6;
  struct Step {
    const char* field;  // null: an index
    size_t index;
  };
  Place With(const char* field, size_t index) const {
    Place longer = *this;
    if (longer.count_ < kMaxSteps) longer.steps_[longer.count_++] = {field, index};
    return longer;
  }
  Step steps_[kMaxSteps]{};
  uint32_t count_ = 0;
};

// The codes of an error record, and what they mean, are listed in docs/ticks.md.
struct TickFault {
  const char* code = "";
  std::string at, message;
};

class TickReader {
 public:
  static constexpr uint64_t kMaxBytes = 16u << 20;

  // One JSON object of at most kMaxBytes.
  bool Parse(std::string_view json);
  const JsonReader& json() const { return json_; }
  const TickFault& fault() const { return fault_; }
  bool Fail(const char* code, const Place& place, std::string message);

  // Refuses keys that are neither known nor begin with "x_", naming the nearest.
  bool CheckKeys(const JsonNode& object, const Place& place, std::span<const std::string_view> known);
  // What the message calls the thing whose field is wrong: salience of "lamp". Empty = none.
  void SetSubject(std::string_view id) { subject_ = id; }

  // The member's value, or null; Require makes its absence a fault.
  const JsonNode* Find(const JsonNode& object, std::string_view key) const { return json_.Find(object, key); }
  const JsonNode* Require(const JsonNode& object, const Place& place, const char* key);

  bool Array(const JsonNode& node, const Place& place, const char* what);
  bool Object(const JsonNode& node, const Place& place, const char* what);
  bool String(const JsonNode& node, const Place& place, const char* what, std::string_view* out);
  bool Bool(const JsonNode& node, const Place& place, const char* what, bool* out);
  // low <= value <= high; the largest double is no bound. JSON has no infinity and no NaN.
  bool Number(const JsonNode& node, const Place& place, const char* what, double low, double high, double* out);
  bool Integer(const JsonNode& node, const Place& place, const char* what, int64_t low, int64_t high, int64_t* out);
  // Exactly `out.size()` numbers, in an array or as {"f32": base64}; |value| <= limit.
  bool Vector(const JsonNode& node, const Place& place, const char* what, double limit, std::span<double> out);
  // An array of exactly out.size() numbers within [low, high].
  bool Numbers(const JsonNode& node, const Place& place, const char* what, double low, double high,
               std::span<double> out);
  bool Integers(const JsonNode& node, const Place& place, const char* what, int64_t low, int64_t high,
                std::span<int64_t> out);
  bool Bools(const JsonNode& node, const Place& place, const char* what, std::span<uint8_t> out);
  // Every id once; field: where an id stands in its element, as in list[i].field.
  bool Unique(std::span<const std::string_view> ids, const Place& list, const char* field, const char* what);

 private:
  bool Elements(const JsonNode& node, const Place& place, const char* what, size_t expected);
  std::string Of(const char* what) const;

  JsonReader json_;
  TickFault fault_;
  std::string_view subject_;
  std::vector<uint32_t> order_;
};

// "null", "a bool", "a number" ... of a node, for messages.
const char* JsonTypeText(JsonType type);
// In quotes, cut after 64 bytes: what a message shows of a text that came from outside.
std::string Quoted(std::string_view text);
// The shortest text of a number, as the writer writes it.
std::string NumberText(double value);

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_TICK_READER_H_
