// test_sage_hpp_session.cc: models and sessions through sage.hpp: runs, ticks, state, cancelling, any order of closing.
#include <doctest/doctest.h>

#include <atomic>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "sage.hpp"
#include "text_form.h"

namespace {

using nlohmann::json;

std::string ReadFile(const std::string& path) {
  std::ifstream file(std::string(SAGE_SOURCE_DIR) + "/" + path);
  std::stringstream text;
  text << file.rdbuf();
  REQUIRE_MESSAGE(file.good(), path);
  return text.str();
}

std::vector<std::byte> Binary(const std::string& text) {
  const auto bytes = sage::ModelToBinary(text);
  if (!bytes.ok()) FAIL(bytes.status().message());
  std::vector<std::byte> out(bytes->size());
  std::transform(bytes->begin(), bytes->end(), out.begin(), [](uint8_t byte) { return std::byte{byte}; });
  return out;
}

// y = x + x over f32 [2,n].
std::string Doubling() {
  const json shape = json::array({{{"size", 2}}, {{"symbol", "n"}}});
  json symbols = json::array({{{"name", "n"}, {"max", 8}}});
  return json{{"name", "doubling"},
              {"graph_type", "OpGraph"},
              {"graph",
               {{"symbols", symbols},
                {"tensors", json::array({{{"name", "x"}, {"dtype", "F32"}, {"shape", shape}},
                                         {{"name", "y"}, {"dtype", "F32"}, {"shape", shape}}})},
                {"nodes", json::array({{{"name", "add"},
                                        {"op_type", "Binary"},
                                        {"op", {{"a", "x"}, {"b", "x"}, {"out", "y"}, {"function", "ADD"}}}}})},
                {"inputs", {"x"}},
                {"outputs", {"y"}}}}}
      .dump();
}

TEST_CASE("sage.hpp: a model runs on copies and in place, and says what goes in and out") {
  const sage::Engine engine;
  const std::vector<std::byte> bytes = Binary(Doubling());
  CHECK(json::parse(engine.check(bytes))["valid"] == true);
  const sage::Model model(engine, bytes);
  CHECK(model.kind() == SAGE_MODEL_OP_GRAPH);
  const std::vector<sage::IoInfo> inputs = model.io(sage::Direction::kInput);
  REQUIRE(inputs.size() == 1);
  CHECK(inputs[0].name == "x");
  CHECK(inputs[0].dtype == SAGE_F32);
  CHECK(inputs[0].shape.size() == 2);
  CHECK(model.io(sage::Direction::kOutput)[0].name == "y");

  sage::Session session(model);
  const std::vector<float> x{1, 2, 3, 4, 5, 6};
  const std::vector<int64_t> shape{2, 3};
  session.set_input(0, x, shape);
  session.run();
  CHECK(session.output_info(0).shape == shape);
  CHECK(session.output<float>(0) == std::vector<float>{2, 4, 6, 8, 10, 12});
  CHECK_THROWS_AS(session.output<double>(0), sage::Error);

  std::vector<float> in{1, 1, 1, 1, 1, 1}, out(6);
  session.bind(sage::Direction::kInput, 0, in, shape);
  session.bind(sage::Direction::kOutput, 0, sage::Tensor(out, shape));
  session.run();
  in[0] = 21;
  session.run();
  CHECK(out == std::vector<float>{42, 2, 2, 2, 2, 2});
  session.bind(sage::Direction::kOutput, 0, std::nullopt);
  CHECK(json::parse(session.explain()).contains("nodes"));
}

TEST_CASE("sage.hpp: ticks give decisions; a bad one is an error with its record; state goes out and in") {
  std::optional<sage::Session> session;
  std::vector<std::byte> bytes;
  {  // a session holds its model, that its engine
    const sage::Engine engine;
    bytes = Binary(ReadFile("examples/models/metabolic.json"));
    session.emplace(sage::Model(engine, bytes));
  }
  std::istringstream ticks(ReadFile("examples/ticks/metabolic.jsonl"));
  std::vector<std::string> lines(4);
  for (std::string& line : lines) REQUIRE(std::getline(ticks, line));
  const json first = json::parse(session->tick(lines[0]));
  CHECK(first.is_object());
  const std::vector<std::byte> state = session->snapshot();
  const std::string second = session->tick(lines[1]);
  CHECK(session->decision() == second);
  session->restore(state);
  CHECK(session->tick(lines[1]) == second);

  sage_status status = SAGE_OK;
  try {
    session->tick("{\"ts\":");
  } catch (const sage::Error& error) {
    status = error.status();
  }
  CHECK(status == SAGE_E_BAD_DATA);
  CHECK(json::parse(session->decision()).contains("error"));
  const std::string third = session->tick(lines[2]);
  sage::Session other(sage::Model(sage::Engine(), bytes));
  for (int i = 0; i < 2; ++i) other.tick(lines[static_cast<size_t>(i)]);
  CHECK(other.tick(lines[2]) == third);
  std::vector<std::byte> damaged = state;
  damaged[damaged.size() / 2] ^= std::byte{1};
  CHECK_THROWS_AS(other.restore(damaged), sage::Error);
}

TEST_CASE("sage.hpp: a run is cancelled by the callback, which may throw; a trace has what ran") {
  const sage::Engine engine;
  const sage::Model model(engine, Binary(Doubling()));
  std::atomic<int> mode = 0;
  sage::Options options;
  options.set("trace", "true").cancel([&mode] {
    if (mode == 2) throw 1;
    return mode == 1;
  });
  sage::Session session(model, &options);
  const std::vector<float> x(2, 1.0f);
  session.set_input(0, x, {2, 1});
  session.run();
  CHECK(json::parse(session.trace())["nodes"].size() == 1);
  CHECK_THROWS_WITH_AS(session.accuracy(), doctest::Contains("accuracy_report"), sage::Error);
  for (const int how : {1, 2}) {
    mode = how;
    sage_status status = SAGE_OK;
    try {
      session.run();
    } catch (const sage::Error& error) {
      status = error.status();
    }
    CHECK(status == SAGE_E_CANCELLED);
  }
  mode = 0;
  session.run();
  session.cancel();  // nothing runs: nothing happens
  CHECK(session.output<float>(0) == std::vector<float>{2, 2});
}

}  // namespace
