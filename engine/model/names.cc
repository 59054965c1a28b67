// names.cc: see names.h.
#include "model/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "options.h"

namespace sage {
namespace {

// Bytes of the UTF-8 sequence at the front of text, 0 when it is none: overlong forms, surrogates and numbers above
// U+10FFFF are none.
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const uint8_t second = byte(1);
  if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) || (lead == 0xF0 && second < 0x90) ||
      (lead == 0xF4 && second > 0x8F))
    return 0;
  return length;
}

}  // namespace

const char* NameFault(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.size() > kMaxNameBytes) return "is longer than 256 bytes";
  while (!name.empty()) {
    const size_t length = SequenceLength(name);
    if (length == 0) return "is not UTF-8";
    const auto first = static_cast<uint8_t>(name.front());
    if (length == 1 && (first < 0x20 || first == 0x7F)) return "has a control character";
    name.remove_prefix(length);
  }
  return nullptr;
}

std::string DidYouMean(std::string_view given, const std::vector<std::string_view>& known) {
  // The edit distance is quadratic in the lengths; names from a hostile file must not make it a way to hang.
  constexpr size_t kLongest = 64, kMostCandidates = 4096, kFarthest = 4;
  if (given.size() > kLongest) return "";
  std::vector<std::string_view> candidates;
  for (const std::string_view name : known) {
    const size_t difference = name.size() > given.size() ? name.size() - given.size() : given.size() - name.size();
    if (difference <= kFarthest && name.size() <= kLongest) candidates.push_back(name);
    if (candidates.size() == kMostCandidates) break;
  }
  const std::string near = NearestName(given, candidates);
  return near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near);
}

bool IsBackendName(std::string_view name) {
  return !name.empty() && name.size() <= 32 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

}  // namespace sage
