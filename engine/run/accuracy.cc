// accuracy.cc: see the header. JSON has no infinity: a relative L1 over nothing is written as null.
#include "run/accuracy.h"

#include "plan/explain.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

void WriteOutput(JsonWriter& out, const OutputAccuracy& output) {
  const Distance& distance = output.distance;
  out.BeginObject();
  out.Member("output", support::SlotName(SAGE_OP_ATTENTION, output.slot));
  out.Member("dtype", support::DtypeName(output.dtype));
  out.Member("elements", distance.elements);
  out.Member("cosine", distance.cosine);
  out.Member("rel_l1", distance.rel_l1);
  out.Member("rmse", distance.rmse);
  out.Member("max_abs_error", distance.max_abs_error);
  out.Key("max_abs_error_at");
  if (distance.max_abs_error > 0) {
    out.BeginArray();
    for (uint32_t axis = 0; axis < distance.rank; ++axis) out.Integer(distance.worst[axis]);
    out.EndArray();
  } else {
    out.Null();
  }
  out.Member("largest", distance.largest);
  out.Member("largest_exact", distance.largest_exact);
  out.Member("non_finite", distance.non_finite);
  out.EndObject();
}

void WriteNode(JsonWriter& out, const AccuracyReport& report) {
  out.BeginObject();
  out.Member("name", report.node);
  if (!report.session.empty()) out.Member("session", report.session);
  out.Member("backend", report.backend);
  out.Member("device", report.device);
  out.Member("accuracy", AccuracyName(report.accuracy));
  out.Member("problem", report.problem);
  out.Key("dtypes");
  out.BeginObject();
  for (uint32_t slot = SAGE_ATTN_Q; slot <= SAGE_ATTN_O; ++slot) {
    out.Member(support::SlotName(SAGE_OP_ATTENTION, slot), support::DtypeName(report.dtypes[slot]));
  }
  out.EndObject();
  out.Member("measured", report.note.empty());
  if (!report.note.empty()) out.Member("note", report.note);
  out.Key("outputs");
  out.BeginArray();
  for (const OutputAccuracy& output : report.outputs) WriteOutput(out, output);
  out.EndArray();
  out.EndObject();
}

// The worst of every number over the nodes that have this output, and the node it is of where there are several.
void WriteWorst(JsonWriter& out, std::span<const AccuracyReport> reports, uint32_t slot) {
  const auto worst = [&](const char* key, auto number, bool least) {
    const AccuracyReport* at = nullptr;
    double value = 0;
    for (const AccuracyReport& report : reports) {
      for (const OutputAccuracy& output : report.outputs) {
        if (output.slot != slot) continue;
        const double found = number(output.distance);
        if (at == nullptr || (least ? found < value : found > value)) at = &report, value = found;
      }
    }
    out.Key(key);
    out.BeginObject();
    out.Member("value", value);
    out.Member("node", at->node);
    if (!at->session.empty()) out.Member("session", at->session);
    out.EndObject();
  };
  out.BeginObject();
  out.Member("output", support::SlotName(SAGE_OP_ATTENTION, slot));
  worst(
      "cosine", [](const Distance& d) { return d.cosine; }, true);
  worst(
      "rel_l1", [](const Distance& d) { return d.rel_l1; }, false);
  worst(
      "rmse", [](const Distance& d) { return d.rmse; }, false);
  worst(
      "max_abs_error", [](const Distance& d) { return d.max_abs_error; }, false);
  worst(
      "largest", [](const Distance& d) { return d.largest; }, false);
  worst(
      "non_finite", [](const Distance& d) { return static_cast<double>(d.non_finite); }, false);
  out.EndObject();
}

}  // namespace

Status NoAccuracyReport() {
  return Status(SAGE_E_INVALID_ARGUMENT,
                "this session measures no accuracy; create it with the option accuracy_report = on");
}

void WriteAccuracy(JsonWriter& out, std::span<const AccuracyReport> reports, std::string_view why_none) {
  uint64_t measured = 0;
  uint32_t slots = 0;
  for (const AccuracyReport& report : reports) {
    measured += report.note.empty() ? 1 : 0;
    for (const OutputAccuracy& output : report.outputs) slots |= 1u << output.slot;
  }
  out.BeginObject();
  out.Member("against", "reference");
  if (reports.empty()) out.Member("note", why_none);
  out.Key("nodes");
  out.BeginArray();
  for (const AccuracyReport& report : reports) WriteNode(out, report);
  out.EndArray();
  out.Key("summary");
  out.BeginObject();
  out.Member("measured", measured);
  out.Member("not_measured", reports.size() - measured);
  out.Key("worst");
  out.BeginArray();
  for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot) {
    if ((slots >> slot & 1u) != 0) WriteWorst(out, reports, slot);
  }
  out.EndArray();
  out.EndObject();
  out.EndObject();
}

}  // namespace sage
