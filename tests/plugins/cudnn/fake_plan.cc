// fake_plan.cc: see the header.
#include "fake_plan.h"

#include <cstdlib>
#include <map>
#include <mutex>

namespace sage::cudnn::fake {
namespace {

// Everything that ever got a text. It outlives the tests' settings, as a disk does.
struct Written {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<const Plan>> plans;
};
Written& AllWritten() {
  static Written written;
  return written;
}

std::string Quoted(const std::string& text) { return "\"" + text + "\""; }

// Of the text and the uids: plans of graphs that differ in their uids alone are not the same.
std::string DigestOf(const Graph& graph) {
  std::string all = graph.text;
  for (const Operation& op : graph.operations)
    for (const auto& [attribute, tensor] : op.operands)
      all += std::to_string(attribute) + ":" + std::to_string(tensor->uid) +
             (tensor->ragged == nullptr ? "" : ":" + std::to_string(tensor->ragged->uid)) + ";";
  uint64_t digest = 0xcbf29ce484222325ull;  // FNV-1a
  for (const char c : all) digest = (digest ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return std::to_string(digest);
}

// The value after "key":, as it is written; empty: there is none.
std::string FieldOf(const std::string& json, const std::string& key) {
  const size_t at = json.find(Quoted(key) + ":");
  if (at == std::string::npos) return "";
  const size_t begin = at + key.size() + 3;
  return json.substr(begin, json.find_first_of(",}", begin) - begin);
}

}  // namespace

Answer MakePlan(const std::shared_ptr<const Graph>& graph, const Engine& engine, const std::string& device,
                std::shared_ptr<const Plan>* out) {
  if (engine.status != kSuccess) return {engine.status, engine.text};
  if (The().judge) {
    Answer answer;
    answer.status = The().judge(kExecutionPlan, graph->text, &answer.text);
    if (!answer.ok()) return answer;
  }
  auto plan = std::make_shared<Plan>(Plan{graph, engine, ""});
  plan->json = "{" + Quoted("cudnn_version") + ":" + std::to_string(The().version) + "," + Quoted("device") + ":" +
               Quoted(device) + "," + Quoted("engine") + ":" + std::to_string(engine.index) + "," +
               Quoted("workspace") + ":" + std::to_string(engine.workspace_bytes) + "," + Quoted("graph") + ":" +
               Quoted(DigestOf(*graph)) + "}";
  Written& written = AllWritten();
  const std::lock_guard<std::mutex> lock(written.mutex);
  written.plans[plan->json] = plan;
  *out = std::move(plan);
  return {};
}

Answer LoadPlan(const std::string& json, const std::string& device, std::shared_ptr<const Plan>* out) {
  const std::string version = FieldOf(json, "cudnn_version");
  if (version.empty()) return {kBadParam, "a text that is no execution plan's"};
  if (version != std::to_string(The().version))
    return {kSerializationVersion,
            "a plan written by version " + version + ", read by " + std::to_string(The().version)};
  if (FieldOf(json, "device") != Quoted(device))
    return {kWrongArchitecture, "a plan for " + FieldOf(json, "device") + " on " + Quoted(device)};
  Written& written = AllWritten();
  const std::lock_guard<std::mutex> lock(written.mutex);
  const auto found = written.plans.find(json);
  if (found == written.plans.end()) return {kBadParam, "the text of a plan that nobody wrote, or that is damaged"};
  *out = found->second;
  return {};
}

std::string DeviceJson(const std::string& device) { return "{" + Quoted("device") + ":" + Quoted(device) + "}"; }

Answer ReadDeviceJson(const std::string& json, std::string* device) {
  const std::string field = FieldOf(json, "device");
  if (field.size() < 2 || json != DeviceJson(field.substr(1, field.size() - 2)))
    return {kBadParam, "a text that is no device's"};
  *device = field.substr(1, field.size() - 2);
  return {};
}

}  // namespace sage::cudnn::fake
