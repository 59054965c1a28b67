// fake_rules.h: which attributes each kind of descriptor has.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_FAKE_RULES_H_
#define SAGE_TESTS_PLUGINS_CUDNN_FAKE_RULES_H_

#include <cstdint>
#include <vector>

#include "cudnn/api.h"

namespace sage::cudnn::fake {

// Of attributes that the plugin does not set itself.
inline constexpr int kTypeInt32 = 23;

struct Rule {
  int attribute = 0, type = 0;
  int64_t least = 1, most = 1;  // elements
  bool required = true;         // before it is finalized
  bool only_read = false;
  std::vector<int> kinds;  // of descriptors that kTypeDescriptor may refer to
};

// Null: no such kind, or no such attribute of it.
const std::vector<Rule>* RulesOf(int descriptor_type);
const Rule* RuleOf(int descriptor_type, int attribute);

}  // namespace sage::cudnn::fake

#endif  // SAGE_TESTS_PLUGINS_CUDNN_FAKE_RULES_H_
