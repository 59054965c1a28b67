// test_onnx_attention.cc: ONNX's own node cases of its Attention operator (tests/golden/onnx/attention.json, written by
// generate beside it), through sage.h, on every backend. What ONNX expects is not computed here.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include "c_api.h"
#include "plan/elements.h"

using namespace sage::test;

namespace {

struct Bytes {
  std::string name;
  sage_dtype dtype = 0;
  uint32_t size = 0;
  std::vector<int64_t> shape;
  std::vector<unsigned char> data;
};

std::vector<unsigned char> Base64(const std::string& text) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<unsigned char> out;
  uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(kDigits.find(c));
    held += 6;
    if (held < 8) continue;
    held -= 8;
    out.push_back(static_cast<unsigned char>(bits >> held));
  }
  return out;
}

Bytes Read(const json& tensor) {
  static const std::map<std::string, std::pair<sage_dtype, uint32_t>> kTypes = {
      {"F64", {SAGE_F64, 8}},   {"F32", {SAGE_F32, 4}}, {"F16", {SAGE_F16, 2}},
      {"BF16", {SAGE_BF16, 2}}, {"I32", {SAGE_I32, 4}}, {"BOOL", {SAGE_BOOL, 1}}};
  Bytes out;
  out.name = tensor["name"];
  std::tie(out.dtype, out.size) = kTypes.at(tensor["dtype"]);
  out.shape = tensor["shape"].get<std::vector<int64_t>>();
  out.data = Base64(tensor["data"]);
  return out;
}

// How many elements are off, by numpy's rule; NaN is never right: no case expects one.
size_t Off(const std::vector<unsigned char>& got, const Bytes& expected, double atol, double rtol) {
  size_t off = 0;
  for (size_t at = 0; at < expected.data.size(); at += expected.size) {
    const double a = sage::LoadElement(got.data() + at, expected.dtype);
    const double b = sage::LoadElement(expected.data.data() + at, expected.dtype);
    off += !(a == b || std::abs(a - b) <= atol + rtol * std::abs(b));
  }
  return off;
}

}  // namespace

TEST_CASE("P2 P4 P5 P8 R4 R19 ONNX's Attention node cases, on every backend and by both algorithms") {
  std::ifstream file(ONNX_CASES, std::ios::binary);
  REQUIRE(file.good());
  const json cases = json::parse(file)["cases"];
  const ApiEngine engine = MakeEngine();
  std::vector<Settings> ways = {{{"backend", "reference"}}};
  if (HasBackend(engine.get(), "cpu"))
    for (const char* algorithm : {"auto", "flash", "materialised"})
      ways.push_back({{"backend", "cpu"}, {"algorithm", algorithm}});
  size_t replayed = 0;
  for (const json& one : cases) {
    if (one.contains("refused")) continue;
    const std::string name = one["name"];
    INFO(name);
    const ApiModel model = MakeModel(engine.get(), one["model"]);
    for (const Settings& way : ways) {
      const std::string how = way.front().second + " " + way.back().second;
      INFO(how);
      const ApiSession session = MakeSession(model.get(), way);
      uint32_t index = 0;
      Error error;
      for (const json& tensor : one["inputs"]) {
        const Bytes input = Read(tensor);
        REQUIRE_MESSAGE(
            sage_session_set_input(session.get(), index++, input.dtype, static_cast<uint32_t>(input.shape.size()),
                                   input.shape.data(), input.data.data(), input.data.size(), &error) == SAGE_OK,
            error.message);
      }
      const sage_status status = sage_session_run(session.get(), &error);
      CHECK_MESSAGE(status == SAGE_OK, error.message);
      if (status != SAGE_OK) continue;
      index = 0;
      for (const json& tensor : one["expected"]) {
        const Bytes expected = Read(tensor);
        INFO(expected.name);
        std::vector<unsigned char> got(expected.data.size());
        REQUIRE_MESSAGE(sage_session_get_output(session.get(), index++, got.data(), got.size(), &error) == SAGE_OK,
                        error.message);
        CHECK(Off(got, expected, one["atol"], one["rtol"]) == 0);
      }
    }
    ++replayed;
  }
  CHECK(replayed >= 80);
}
