// plan_cache.cc: see the header.
#include "plan_cache.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <utility>

#include "common/cache_file.h"

namespace sage::cudnn {
namespace {

// Plans are 60 to 120 KB of text.
constexpr size_t kMostFileBytes = 4u << 20;
constexpr std::string_view kMagic = "sage-engine cudnn-plan 1\n";

// FNV-1a of 64 bits: names files and finds damage; no defence against intent, which is the owner's and the mode's.
uint64_t HashOf(std::string_view text) {
  uint64_t hash = 14695981039346656037ull;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return hash;
}
std::string Hex(uint64_t number) {
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, number);
  return text;
}

std::string KeyText(const std::string& machine, const Sdpa& sdpa) { return machine + "\n" + TextOf(sdpa) + "\n"; }

}  // namespace

PlanCache::Entry& PlanCache::Use(const Sdpa& sdpa) {
  const auto [found, added] = entries_.try_emplace(sdpa);
  if (!added) uses_.erase(found->second.use);
  uses_.push_front(&found->first);
  found->second.use = uses_.begin();
  while (entries_.size() > std::max<size_t>(settings_.capacity, 1)) {
    entries_.erase(*uses_.back());
    uses_.pop_back();
    ++counters_.dropped;
  }
  return found->second;
}

bool PlanCache::Check(const Sdpa& sdpa, int64_t* workspace_bytes, Failure* failure) {
  const auto known = [&] {
    const Entry& entry = Use(sdpa);
    *failure = entry.refusal, *workspace_bytes = entry.workspace_bytes;
    return entry.checked || !entry.refusal.ok();
  };
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (known()) return failure->ok();
  }
  const std::lock_guard<std::mutex> building(building_);
  {
    const std::lock_guard<std::mutex> lock(mutex_);  // somebody else may have asked meanwhile
    if (known()) return failure->ok();
  }
  const Engines engines = Engines::Find(library_, target_, sdpa);
  *failure = engines.failure(), *workspace_bytes = engines.workspace_bytes();
  const std::lock_guard<std::mutex> lock(mutex_);
  ++counters_.checked;
  Entry& entry = Use(sdpa);
  entry.checked = failure->ok(), entry.workspace_bytes = *workspace_bytes;
  if (failure->outcome() == Outcome::kUnsupported) entry.refusal = *failure, ++counters_.refused;
  return failure->ok();
}

std::shared_ptr<const Plan> PlanCache::Get(const Sdpa& sdpa, Failure* failure) {
  const auto known = [&]() -> std::shared_ptr<const Plan> {
    const Entry& entry = Use(sdpa);
    *failure = entry.refusal;
    return entry.plan;
  };
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (auto plan = known(); plan != nullptr || !failure->ok()) return plan;
  }
  const std::lock_guard<std::mutex> building(building_);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (auto plan = known(); plan != nullptr || !failure->ok()) return plan;
  }
  std::shared_ptr<const Plan> plan = Read(sdpa);
  const bool read = plan != nullptr;
  if (!read) plan = Plan::Build(library_, target_, sdpa, failure);
  if (!read && plan != nullptr) Write(sdpa, *plan);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (plan != nullptr) ++(read ? counters_.read : counters_.built);
  Entry& entry = Use(sdpa);
  entry.plan = plan;
  if (plan == nullptr && failure->outcome() == Outcome::kUnsupported) entry.refusal = *failure, ++counters_.refused;
  return plan;
}

PlanCache::Counters PlanCache::counters() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return counters_;
}

std::string PlanCache::TakeNote() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(note_, {});
}

void PlanCache::Note(const std::string& text) {
  const std::lock_guard<std::mutex> lock(mutex_);
  note_ += (note_.empty() ? "" : "; ") + text;
}

std::string PlanCache::FileOf(const Sdpa& sdpa) const {
  return settings_.folder + "/" + Hex(HashOf(KeyText(settings_.machine, sdpa))) + ".plan";
}

// magic, key, bytes and hash of the plan's text on a line, the text.
std::shared_ptr<const Plan> PlanCache::Read(const Sdpa& sdpa) {
  if (settings_.folder.empty()) return nullptr;
  const std::string path = FileOf(sdpa), key = KeyText(settings_.machine, sdpa);
  std::string text, why;
  const auto ignored = [&](const std::string& reason) {
    Note("cudnn's plan in " + path + " is ignored: " + reason);
    return nullptr;
  };
  if (!plugins::ReadCacheFile(path, kMostFileBytes, &text, &why)) return why.empty() ? nullptr : ignored(why);
  std::string_view rest(text);
  if (!rest.starts_with(kMagic)) return ignored("it is no plan, or of another version of this plugin");
  rest.remove_prefix(kMagic.size());
  if (!rest.starts_with(key)) return ignored("it was made for another call, cuDNN, device or driver");
  rest.remove_prefix(key.size());
  const size_t line = rest.find('\n');
  if (line == std::string_view::npos) return ignored("it is damaged");
  const std::string_view body = rest.substr(line + 1);
  if (rest.substr(0, line) != std::to_string(body.size()) + " " + Hex(HashOf(body))) return ignored("it is damaged");
  Failure failure;
  auto plan = Plan::FromText(library_, target_, body, &failure);
  if (plan == nullptr) return ignored(failure.text);
  // Ask has announced what the engines declare; a plan that needs more cannot run in it.
  int64_t declared = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    declared = Use(sdpa).workspace_bytes;
  }
  if (plan->workspace_bytes() > declared) return ignored("it needs more workspace than its engine declares");
  return plan;
}

void PlanCache::Write(const Sdpa& sdpa, const Plan& plan) {
  if (settings_.folder.empty()) return;
  Failure failure;
  std::string why;
  const std::string path = FileOf(sdpa), body = plan.Text(&failure);
  if (!failure.ok()) why = failure.text;
  if (why.empty() && body.size() > kMostFileBytes / 2) why = "it has " + std::to_string(body.size()) + " bytes";
  if (why.empty()) {
    plugins::CacheFolder folder;
    std::string text(kMagic);
    text += KeyText(settings_.machine, sdpa) + std::to_string(body.size()) + " " + Hex(HashOf(body)) + "\n" + body;
    if (folder.Open(path, &why)) (void)folder.Replace(text, &why);
  }
  if (!why.empty()) Note("cudnn's plan is not kept in " + path + ": " + why);
}

}  // namespace sage::cudnn
