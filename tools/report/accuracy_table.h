// accuracy_table.h: what sage_session_accuracy says, as a table for people, and judged by bounds.
#ifndef SAGE_TOOLS_REPORT_ACCURACY_TABLE_H_
#define SAGE_TOOLS_REPORT_ACCURACY_TABLE_H_

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "run/distance.h"

namespace sage::tool {

// What is still near enough. The defaults are the bars of SageAttention's scheme with 8-bit Q K^T and 8-bit P V (mode
// FULL of the INT8 backend), which its kernels are built to keep on distributions that are hard for it.
struct AccuracyBounds {
  double min_cosine = 0.9998, max_rel_l1 = 0.02;
  std::optional<double> max_rmse, max_abs_error;  // in the output's own unit, so without a default

  nlohmann::ordered_json ToJson() const;
};

// What a node of a report is called: its name, with that of a SAGE graph's session where it does not begin with it.
std::string PlaceOf(const nlohmann::ordered_json& node);

// The members of one output as sage_session_accuracy writes them.
nlohmann::ordered_json DistanceJson(const Distance& distance);

// One sentence for each bound that an output's numbers are beyond; none = within. A number that is not there (JSON has
// no infinity) is beyond, and so is every NaN or infinity that only one side has.
std::vector<std::string> Beyond(const nlohmann::ordered_json& output, const AccuracyBounds& bounds);

// The nodes of a report, one line an output; what could not be measured with its reason. bounds (optional): a column
// that says which are within.
void PrintAccuracy(std::FILE* out, const nlohmann::ordered_json& report, const AccuracyBounds* bounds);
// The same columns for the outputs of a model: [{"name", "dtype", and the numbers}].
void PrintOutputs(std::FILE* out, const nlohmann::ordered_json& outputs, const AccuracyBounds& bounds);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_REPORT_ACCURACY_TABLE_H_
