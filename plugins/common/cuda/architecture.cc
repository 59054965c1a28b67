// architecture.cc: see the header.
#include "common/cuda/architecture.h"

#include <algorithm>
#include <iterator>

namespace sage::cuda {
namespace {

struct Target {
  int number = 0;    // 80, 120
  bool one = false;  // with a letter: for that architecture alone
  bool machine = false, ptx = false;
  std::string_view name;  // "90a"
};

// False at the end of the list.
bool Next(std::string_view* list, Target* out) {
  while (!list->empty()) {
    list->remove_prefix(std::min(list->find_first_not_of(' '), list->size()));
    const std::string_view word = list->substr(0, list->find(' '));
    list->remove_prefix(word.size());
    Target target;
    target.name = word.substr(0, word.find('-'));
    const std::string_view kind = word.substr(target.name.size());
    std::string_view digits = target.name;
    if (!digits.empty() && (digits.back() == 'a' || digits.back() == 'f')) target.one = true, digits.remove_suffix(1);
    if (digits.size() < 2 || digits.size() > 3) continue;
    if (!std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) continue;
    for (const char digit : digits) target.number = target.number * 10 + (digit - '0');
    target.machine = kind.empty() || kind == "-real";
    target.ptx = kind.empty() || kind == "-virtual";
    if (!target.machine && !target.ptx) continue;
    *out = target;
    return true;
  }
  return false;
}

// The embedded ones: their machine code is their own, that of boards with the same major does not run on them.
bool IsEmbedded(int number) {
  constexpr int kEmbedded[] = {53, 62, 72, 87, 101, 110};
  return std::find(std::begin(kEmbedded), std::end(kEmbedded), number) != std::end(kEmbedded);
}

}  // namespace

Code CodeFor(std::string_view list, int major, int minor) {
  const int device = major * 10 + minor;
  Code best = Code::kNone;
  for (Target target; Next(&list, &target);) {
    const bool same = target.number == device;
    const bool near = !target.one && target.number / 10 == major && target.number <= device && !IsEmbedded(device) &&
                      !IsEmbedded(target.number);
    if (target.machine && (same || near)) return Code::kMachine;
    if (target.ptx && (same || (!target.one && target.number <= device))) best = Code::kPtx;
  }
  return best;
}

bool CanBeDependent(std::string_view list, int major, int minor) {
  return major >= 9 && CodeFor(list, major, minor) == Code::kMachine;
}

std::string ListText(std::string_view list) {
  std::string machine, ptx;
  for (Target target; Next(&list, &target);) {
    if (target.machine) machine += (machine.empty() ? "sm_" : ", sm_") + std::string(target.name);
    if (target.ptx) ptx += (ptx.empty() ? "PTX " : ", PTX ") + std::string(target.name);
  }
  if (machine.empty() && ptx.empty()) return "no architecture";
  return machine + (machine.empty() || ptx.empty() ? "" : ", ") + ptx;
}

}  // namespace sage::cuda
