// acceptance.h: the acceptance table's rows: named ways of asking for attention, and what is known of each on a device.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_ACCEPTANCE_H_
#define SAGE_TESTS_PLUGINS_CUDNN_ACCEPTANCE_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "attention_calls.h"
#include "plan.h"
#include "support.h"

namespace sage::test {

struct Variant {
  const char* name;
  bool prefill, decode;  // whether it is asked with 512 queries, and with one
  bool unified;
  bool in_f16;  // asked in f16, too
  void (*ask)(AttentionCall& call);
};

// A row that is asked for.
struct Row {
  const Variant* variant = nullptr;
  AttentionCall call;
  bool decode = false;
  std::string Key() const;  // "causal, prefill, bf16, d 128"
};

// All, in the order of the page: bf16 over every head dimension, some of them in f16 over 128.
std::vector<Row> Rows();

// What our rules and cuDNN say to the row on a device or a described one: accepted or who refused it and why, the
// engine, its workspace, how long the plan took. What only a run shows is null.
nlohmann::ordered_json Accept(const cudnn::Library& library, const cudnn::Target& target,
                              const cudnn::Installed& installed, const Row& row);

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDNN_ACCEPTANCE_H_
