// bench_report.cc: see bench_report.h.
#include "report/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common.h"
#include "output.h"

namespace sage::tool {
namespace {

using Json = nlohmann::ordered_json;

Json NumberOrNull(double value) { return std::isfinite(value) ? Json(value) : Json(); }
std::string NumberOrNothing(double value) { return std::isfinite(value) ? fmt::format("{}", value) : std::string(); }

// For people: "-" where there is no figure.
std::string Figure(double value, const char* format) {
  return std::isfinite(value) && value > 0 ? fmt::format(fmt::runtime(format), value) : "-";
}
std::string ErrorFigure(double value) { return std::isnan(value) ? "-" : fmt::format("{:.2g}", value); }
std::string Time(double ns) { return std::isfinite(ns) ? Duration(ns) : "-"; }

constexpr const char* kHeads[] = {"backend", "threads", "median", "p90",           "p99",      "min",
                                  "GFLOP/s", "GB/s",    "runs",   "max abs error", "rel error"};

std::vector<std::string> Cells(const BenchRow& row) {
  const double median = row.Percentile(50);
  return {row.backend,
          fmt::format("{}", row.threads),
          Time(median),
          Time(row.Percentile(90)),
          Time(row.Percentile(99)),
          Time(row.Percentile(0)),
          Figure(row.flops / median, "{:.1f}"),
          Figure(row.bytes / median, "{:.2f}"),
          fmt::format("{}", row.samples.size()),
          ErrorFigure(row.max_abs_err),
          ErrorFigure(row.rel_err)};
}

std::string Machine(const Roofline& roofline) {
  std::string text = fmt::format(
      "This machine, one thread, in the same run: {:.0f} GFLOP/s of fp32 multiply-adds, {:.1f} GB/s read from memory.",
      roofline.fma_gflops, roofline.stream_gbps);
  if (roofline.footprint_gbps > 0)
    text += fmt::format(" As many bytes as K and V have ({}), read again and again by {} thread{}: {:.1f} GB/s.",
                        Bytes(roofline.footprint_bytes), roofline.threads, roofline.threads == 1 ? "" : "s",
                        roofline.footprint_gbps);
  return text;
}

std::string Markdown(const std::vector<BenchRow>& rows, const Roofline& roofline) {
  std::string out = fmt::format("`{}`\n\n|", rows[0].problem);
  for (const char* head : kHeads) out += fmt::format(" {} |", head);
  out += "\n|---";
  for (size_t i = 1; i < std::size(kHeads); ++i) out += "|--:";
  out += "|\n";
  std::string notes;
  for (const BenchRow& row : rows) {
    out += fmt::format("| {} |\n", fmt::join(Cells(row), " | "));
    if (!row.note.empty()) notes += fmt::format("\n{}: {}.\n", row.backend, row.note);
  }
  return out + notes + "\n" + Machine(roofline) + "\n";
}

std::string Escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

// The table, and the medians as bars on one scale.
std::string Html(const std::vector<BenchRow>& rows, const Roofline& roofline) {
  const std::string title = Escaped(rows[0].problem);
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>sage-engine bench {}</title>\n"
      "<style>\nbody {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 62em; padding: 0 1em }}\n"
      "code {{ font-size: 1.1em }}\ntable {{ border-collapse: collapse; margin: 1em 0 }}\n"
      "th, td {{ padding: .25em .8em; border-bottom: 1px solid #ccc; text-align: right }}\n"
      "th:first-child, td:first-child {{ text-align: left }}\nrect {{ fill: #36c }}\n"
      "@media (prefers-color-scheme: dark) {{ body {{ background: #111; color: #eee }} text {{ fill: #eee }} }}\n"
      "</style>\n<h1><code>{}</code></h1>\n<table>\n<tr>",
      title, title);
  for (const char* head : kHeads) out += fmt::format("<th>{}</th>", head);
  out += "</tr>\n";
  double longest = 0;
  for (const BenchRow& row : rows) {
    out += "<tr>";
    for (const std::string& cell : Cells(row)) out += fmt::format("<td>{}</td>", Escaped(cell));
    out += "</tr>\n";
    if (std::isfinite(row.Percentile(50))) longest = std::max(longest, row.Percentile(50));
  }
  out += fmt::format("</table>\n<svg width=\"100%\" height=\"{}\" role=\"img\" aria-label=\"medians\">\n",
                     rows.size() * 26);
  for (size_t i = 0; i < rows.size(); ++i) {
    const double median = rows[i].Percentile(50);
    const double share = std::isfinite(median) && longest > 0 ? median / longest : 0;
    out += fmt::format(
        "<text x=\"0\" y=\"{0}\">{1}</text><rect x=\"20%\" y=\"{2}\" width=\"{3:.2f}%\" height=\"16\"/>"
        "<text x=\"{4:.2f}%\" y=\"{0}\">{5}</text>\n",
        i * 26 + 17, Escaped(rows[i].backend), i * 26 + 4, share * 60, 21 + share * 60, Time(median));
  }
  out += "</svg>\n";
  for (const BenchRow& row : rows)
    if (!row.note.empty()) out += fmt::format("<p>{}: {}.</p>\n", Escaped(row.backend), Escaped(row.note));
  return out + fmt::format("<p>{}</p>\n</html>\n", Machine(roofline));
}

std::string Csv(const std::vector<BenchRow>& rows) {
  std::string out =
      "problem,backend,threads,dtype,median_ns,p90_ns,p99_ns,min_ns,samples,flops,gflops,bytes,gbps,max_abs_err,"
      "rel_err\n";
  for (const BenchRow& row : rows) {
    std::string name;
    for (const char c : row.problem) name += c == '"' ? std::string("\"\"") : std::string(1, c);
    const double median = row.Percentile(50);
    out += fmt::format("\"{}\",{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", name, row.backend, row.threads, row.dtype,
                       NumberOrNothing(median), NumberOrNothing(row.Percentile(90)),
                       NumberOrNothing(row.Percentile(99)), NumberOrNothing(row.Percentile(0)), row.samples.size(),
                       row.flops, NumberOrNothing(row.flops / median), row.bytes, NumberOrNothing(row.bytes / median),
                       NumberOrNothing(row.max_abs_err), NumberOrNothing(row.rel_err));
  }
  return out;
}

std::string JsonReport(const std::vector<BenchRow>& rows, const Roofline& roofline, bool raw_samples) {
  Json report;
  report["rows"] = Json::array();
  for (const BenchRow& row : rows) {
    const double median = row.Percentile(50);
    Json json;
    json["problem"] = row.problem, json["backend"] = row.backend, json["threads"] = row.threads,
    json["dtype"] = row.dtype;
    json["median_ns"] = NumberOrNull(median), json["p90_ns"] = NumberOrNull(row.Percentile(90)),
    json["p99_ns"] = NumberOrNull(row.Percentile(99)), json["min_ns"] = NumberOrNull(row.Percentile(0)),
    json["samples"] = row.samples.size();
    json["flops"] = row.flops, json["gflops"] = NumberOrNull(row.flops / median), json["bytes"] = row.bytes,
    json["gbps"] = NumberOrNull(row.bytes / median);
    json["max_abs_err"] = NumberOrNull(row.max_abs_err), json["rel_err"] = NumberOrNull(row.rel_err);
    if (row.kv_bytes > 0) json["kv_bytes"] = row.kv_bytes, json["kv_gbps"] = NumberOrNull(row.kv_bytes / median);
    if (!row.note.empty()) json["note"] = row.note;
    if (raw_samples) json["samples_ns"] = row.samples;
    report["rows"].push_back(std::move(json));
  }
  report["roofline"] = {{"fma_gflops", roofline.fma_gflops}, {"stream_gbps", roofline.stream_gbps}, {"threads", 1}};
  if (roofline.bf16_gflops > 0) report["roofline"]["bf16_gflops"] = roofline.bf16_gflops;
  if (roofline.footprint_gbps > 0)
    report["roofline"]["same_threads"] = {{"threads", roofline.threads},
                                          {"fma_gflops", roofline.threads_fma_gflops},
                                          {"bf16_gflops", roofline.threads_bf16_gflops},
                                          {"footprint_bytes", roofline.footprint_bytes},
                                          {"footprint_gbps", roofline.footprint_gbps},
                                          {"footprint_gbps_best", roofline.footprint_gbps_best}};
  return JsonText(report) + "\n";
}

}  // namespace

double BenchRow::Percentile(double p) const {
  if (samples.empty()) return NAN;
  std::vector<double> sorted = samples;
  std::sort(sorted.begin(), sorted.end());
  const auto rank = static_cast<size_t>(std::ceil(p / 100 * static_cast<double>(sorted.size())));
  return sorted[std::min(sorted.size() - 1, rank == 0 ? 0 : rank - 1)];
}

std::string BenchReport(const std::string& format, const std::vector<BenchRow>& rows, const Roofline& roofline,
                        bool raw_samples) {
  if (format == "json") return JsonReport(rows, roofline, raw_samples);
  if (format == "csv") return Csv(rows);
  if (format == "html") return Html(rows, roofline);
  return Markdown(rows, roofline);
}

}  // namespace sage::tool
