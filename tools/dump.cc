// dump.cc: the verb `dump`: a model as text, JSON, a drawing, what it becomes when lowered, or its memory map.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "common.h"
#include "output.h"
#include "text_form.h"
#include "verbs.h"

namespace sage::tool {
namespace {

using Json = nlohmann::ordered_json;

struct DumpFlags {
  EngineFlags engine;
  std::string model;
  bool json = false, dot = false, lowered = false, memory = false;
};

// The fields of an op that name what it writes; every other string that is a tensor's name is read.
bool NamesOutput(const std::string& field) {
  static const std::set<std::string> fields = {"out", "values", "indices_out", "lse", "weights", "scores"};
  return fields.count(field) != 0;
}

struct Edges {
  std::vector<std::string> reads, writes;
};

Edges EdgesOf(const Json& node) {
  Edges edges;
  const std::string type = node.value("op_type", "");
  // Words that are values of enums or plain settings, not tensors.
  static const std::set<std::string> settings = {"layout", "align",      "function",   "kind",
                                                 "style",  "activation", "granularity"};
  const Json op = node.value("op", Json::object());  // named: items() of a temporary would outlive it
  for (const auto& [field, value] : op.items()) {
    if (settings.count(field) != 0) continue;
    if (value.is_string()) {
      const bool topk_indices = type == "TopK" && field == "indices";
      (NamesOutput(field) || topk_indices ? edges.writes : edges.reads).push_back(value.get<std::string>());
    } else if (value.is_array() && field == "inputs") {
      for (const Json& item : value)
        if (item.is_string()) edges.reads.push_back(item.get<std::string>());
    } else if (value.is_object() && value.contains("scale") && value["scale"].is_string()) {
      edges.reads.push_back(value["scale"].get<std::string>());
    }
  }
  return edges;
}

std::string Quoted(const std::string& text) { return JsonText(Json(text)); }

void PrintDot(const Json& model) {
  fmt::print("digraph {} {{\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n",
             Quoted(model.value("name", "model")));
  const Json graph = model.value("graph", Json::object());
  const std::string type = model.value("graph_type", "");
  if (type != "OpGraph") {
    fmt::print("  {} -> {} -> {} [label=\"\"];\n}}\n", Quoted("policy: tick and state to tensors and bias"),
               Quoted("op graph: attention"), Quoted("decision of " + type));
    return;
  }
  std::map<std::string, std::string> producer;
  for (const Json& input : graph.value("inputs", Json::array())) {
    producer[input.get<std::string>()] = "in:" + input.get<std::string>();
    fmt::print("  {} [label={}, shape=ellipse];\n", Quoted("in:" + input.get<std::string>()),
               Quoted(input.get<std::string>()));
  }
  for (const Json& node : graph.value("nodes", Json::array())) {
    const std::string name = node.value("name", "?");
    fmt::print("  {} [label={}];\n", Quoted(name), Quoted(name + "\n" + node.value("op_type", "?")));
    const Edges edges = EdgesOf(node);
    for (const std::string& tensor : edges.reads)
      if (producer.count(tensor) != 0)
        fmt::print("  {} -> {} [label={}];\n", Quoted(producer[tensor]), Quoted(name), Quoted(tensor));
    for (const std::string& tensor : edges.writes) producer[tensor] = name;
  }
  for (const Json& output : graph.value("outputs", Json::array())) {
    const std::string name = output.get<std::string>();
    fmt::print("  {} [label={}, shape=ellipse];\n", Quoted("out:" + name), Quoted(name));
    if (producer.count(name) != 0) fmt::print("  {} -> {};\n", Quoted(producer[name]), Quoted("out:" + name));
  }
  fmt::print("}}\n");
}

std::string DimText(const Json& dim) {
  return dim.contains("symbol") ? dim["symbol"].get<std::string>() : fmt::format("{}", dim.value("size", int64_t{0}));
}

void PrintText(const Json& model, uint64_t bytes) {
  fmt::print("{}  {}, {}\n", model.value("name", "(no name)"), model.value("graph_type", "?"),
             Bytes(static_cast<double>(bytes)));
  if (model.contains("description")) fmt::print("{}\n", model["description"].get<std::string>());
  for (const Json& file : model.value("weight_files", Json::array()))
    fmt::print("weights {}  {}{}\n", file.value("path", "?"), Bytes(file.value("size", 0.0)),
               file.contains("sha256") ? ", sha256 " + file["sha256"].get<std::string>() : "");
  if (model.contains("policy")) fmt::print("policy {}\n", JsonText(model["policy"]));
  const Json graph = model.value("graph", Json::object());
  if (model.value("graph_type", "") != "OpGraph") {
    for (const auto& [key, value] : graph.items()) fmt::print("  {:<24} {}\n", key, JsonText(value));
    return;
  }
  for (const Json& symbol : graph.value("symbols", Json::array()))
    fmt::print("symbol {} <= {}\n", symbol.value("name", "?"), symbol.value("max", uint64_t{0}));
  for (const Json& tensor : graph.value("tensors", Json::array())) {
    std::vector<std::string> dims;
    for (const Json& dim : tensor.value("shape", Json::array())) dims.push_back(DimText(dim));
    fmt::print("tensor {:<12} {}{}\n", tensor.value("name", "?"),
               !tensor.contains("dtype") && !tensor.contains("shape")
                   ? std::string("as its file says")
                   : fmt::format("{} [{}]", tensor.value("dtype", "as its file says"), fmt::join(dims, ", ")),
               tensor.contains("weight")
                   ? " weight " + tensor["weight"].value("key", tensor["weight"].value("file", ""))
               : tensor.contains("values") ? " constant"
                                           : "");
  }
  for (const Json& node : graph.value("nodes", Json::array())) {
    const Edges edges = EdgesOf(node);
    fmt::print("node   {:<12} {:<10} {} -> {}{}\n", node.value("name", "?"), node.value("op_type", "?"),
               fmt::join(edges.reads, ", "), fmt::join(edges.writes, ", "),
               node.contains("policy") ? "  policy " + JsonText(node["policy"]) : "");
  }
  fmt::print("in     {}\nout    {}\n", JsonText(graph.value("inputs", Json::array())),
             JsonText(graph.value("outputs", Json::array())));
}

// One plan's tensors: where each lies, and what it all adds up to.
void PrintMemory(const Json& plan, const std::vector<std::string>& nodes) {
  const auto node = [&](int64_t number) {
    if (number < 0) return std::string("-");
    return static_cast<size_t>(number) < nodes.size() ? nodes[static_cast<size_t>(number)] : fmt::format("{}", number);
  };
  fmt::print("  {:<24} {:<9} {:>12} {:>12}  {}\n", "tensor", "where", "offset", "bytes", "first to last node");
  for (const Json& tensor : plan.value("tensors", Json::array())) {
    const std::string view = tensor.contains("of") ? " of " + tensor["of"].get<std::string>() : "";
    fmt::print("  {:<24} {:<9} {:>12} {:>12}  {} .. {}\n", tensor.value("name", "?"), tensor.value("where", "?") + view,
               tensor.contains("offset") ? JsonText(tensor["offset"]) : "-", tensor.value("bytes", uint64_t{0}),
               node(tensor.value("first", int64_t{-1})), node(tensor.value("last", int64_t{-1})));
  }
  const std::pair<const char*, const char*> totals[] = {
      {"arena_bytes", "arena"},
      {"live_peak_bytes", "  alive at once, at most"},
      {"workspace_bytes", "scratch of the largest node"},
      {"border_bytes", "inputs and outputs"},
      {"planned_bytes", "planned together"},
      {"prepack_bytes", "constants packed by backends"},
      {"max_memory_bytes", "limit"},
  };
  for (const auto& [key, name] : totals)
    if (plan.contains(key))
      fmt::print("  {:<34} {:>24}  {}\n", name, JsonText(plan[key]), Bytes(plan[key].get<double>()));
}

int DumpMemory(const DumpFlags& flags, const Json& explain) {
  if (flags.json) {
    Json plans = explain.value("sessions", Json::array());
    if (!explain.contains("sessions")) {
      plans.push_back(explain);
      plans[0].erase("nodes");
      plans[0].erase("warnings");
    }
    fmt::print("{}\n", JsonText(plans));
    return kExitOk;
  }
  fmt::print("at the largest shapes the model allows, 64 bytes aligned\n");
  if (!explain.contains("sessions")) {
    std::vector<std::string> nodes;
    for (const Json& node : explain.value("nodes", Json::array())) nodes.push_back(node.value("name", "?"));
    PrintMemory(explain, nodes);
    return kExitOk;
  }
  for (const Json& session : explain["sessions"]) {
    fmt::print("\n{}\n", session.value("name", "?"));
    PrintMemory(session, {});
  }
  return kExitOk;
}

int Dump(const DumpFlags& flags) {
  const ModelBytes model = ReadModelBytes(flags.model);
  if (flags.lowered || flags.memory) {
    const EnginePtr engine = flags.engine.Create();
    Error error;
    sage_model* raw_model = nullptr;
    Require(sage_model_load_buffer(engine.get(), model.bytes.data(), model.bytes.size(), model.weights_folder.c_str(),
                                   &raw_model, &error),
            error, Shown(flags.model));
    const ModelPtr loaded(raw_model);
    sage_session* raw_session = nullptr;
    Require(sage_session_create(raw_model, nullptr, &raw_session, &error), error, Shown(flags.model));
    const SessionPtr session(raw_session);
    const std::string text = TextOf(sage_session_explain, session.get());
    const Json explain = Json::parse(text);
    if (flags.memory) return DumpMemory(flags, explain);
    if (flags.json) {
      fmt::print("{}\n", text);
      return kExitOk;
    }
    for (const Json& node : explain.value("nodes", Json::array()))
      fmt::print("node   {:<20} {}\n", node.value("name", "?"), node.value("problem", node.value("kind", "?")));
    return kExitOk;
  }
  const Result<std::string> text = ModelToJson(model.bytes, false);
  if (!text.ok()) throw Failure(kExitBadFile, fmt::format("{}: {}", Shown(flags.model), text.status().message()));
  const Json json = Json::parse(*text, nullptr, false);
  if (json.is_discarded()) throw Failure(kExitBadFile, Shown(flags.model) + ": its names are not UTF-8");
  if (flags.json)
    fmt::print("{}\n", JsonText(json, 2));
  else if (flags.dot)
    PrintDot(json);
  else
    PrintText(json, model.bytes.size());
  return kExitOk;
}

}  // namespace

void AddDump(CLI::App& app, Action* action) {
  auto flags = std::make_shared<DumpFlags>();
  CLI::App* verb = app.add_subcommand("dump", "show a model: text, JSON, a drawing, what it lowers to, its memory map");
  verb->add_option("model", flags->model, "the model: binary (.fbs), JSON, or - for stdin")->required();
  verb->add_flag("--json", flags->json, "as JSON");
  CLI::Option* dot = verb->add_flag("--dot", flags->dot, "as a Graphviz drawing");
  CLI::Option* lowered = verb->add_flag("--lowered", flags->lowered, "the op graph it becomes")->excludes(dot);
  verb->add_flag("--memory", flags->memory, "where each tensor lies, and how much that is")
      ->excludes(dot)
      ->excludes(lowered);
  flags->engine.AddTo(verb);
  verb->callback([flags, action] { *action = [flags] { return Dump(*flags); }; });
}

}  // namespace sage::tool
