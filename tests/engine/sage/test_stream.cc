// What holds for every SAGE graph: the records of docs/ticks.md as they stand there, replay to the same bytes with one
// thread and with two, snapshots that continue byte for byte, no allocation per tick, and faults that leave no trace.
#include <doctest/doctest.h>

#include <fstream>
#include <random>

#include "engine/sage/program_fixture.h"
#include "support/heap_count.h"

namespace {

using namespace sage;
using namespace sage::testing;

// The indented JSON lines of docs/ticks.md, in order.
std::vector<std::string> DocumentedRecords() {
  std::ifstream file(SAGE_SOURCE_DIR "/docs/ticks.md");
  REQUIRE_MESSAGE(file.good(), "docs/ticks.md is not there");
  std::vector<std::string> out;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("    {")) out.push_back(line.substr(4));
  }
  return out;
}

SageAttention Narrow(SageAttention attention) {
  attention.d_model = 4, attention.query_heads = attention.kv_heads = 1, attention.head_dim = 4;
  attention.gamma = 0;
  return attention;
}

TEST_CASE("G12 the records in docs/ticks.md are what the graphs answer") {
  const auto records = DocumentedRecords();
  REQUIRE(records.size() >= 8);
  MetabolicParams metabolic;
  metabolic.attention = Narrow({});
  FusionParams fusion;
  fusion.attention = Narrow({});
  ExpertParams expert;
  expert.attention = Narrow({});
  expert.num_experts = 4, expert.top_k = 2;
  const Model::Content models[] = {metabolic, fusion, expert};
  for (size_t i = 0; i < 3; ++i) {
    auto program = Make(models[i]);
    std::string record = Run(*program, records[2 * i]), documented = records[2 * i + 1];
    for (std::string* text : {&record, &documented}) {
      const std::string backend = "\"backend\":\"" + Text(*text, "backend") + '"';
      text->erase(text->find(backend), backend.size() + 1);  // which backend ran is the machine's
    }
    CHECK_MESSAGE(SameRecord(record, documented), record);
  }
  auto program = Make(metabolic);
  for (int i = 0; i < 612; ++i) REQUIRE(program->Tick("{\"ts\":1,\"targets\":[]}").ok());
  const std::string fault =
      Fault(*program, R"({"ts":61.3,"targets":[{"id":"door","salience":0.5},{"id":"lamp","salience":1.4}]})");
  CHECK(fault == records[6]);
  program = Make(metabolic);
  for (int i = 0; i < 611; ++i) REQUIRE_FALSE(program->Tick("").ok());
  Run(*program, records[0]);
  std::string snapshot;
  REQUIRE(program->Snapshot(&snapshot).ok());
  std::string documented = records[7];
  const size_t sha = documented.find("9c1f...");
  REQUIRE(sha != std::string::npos);
  documented.erase(sha, 7);  // a model made by hand has no file to sum
  CHECK(snapshot == documented);
}

// A stream of one kind: varying targets, sensors and rows, every state, bad ticks in between.
std::vector<std::string> Stream(int kind, uint32_t seed, int ticks, double start = 0) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> unit(0, 1);
  const auto numbers = [&](size_t n) {
    JsonWriter out;
    out.BeginArray();
    for (size_t i = 0; i < n; ++i) out.Number(unit(random));
    out.EndArray();
    return std::string(out.text());
  };
  const auto number = [&](double scale = 1.0) {
    return numbers(1).size() > 0 ? std::to_string(unit(random) * scale) : "";
  };
  std::vector<std::string> out;
  for (int tick = 0; tick < ticks; ++tick) {
    std::string text = "{\"ts\":" + std::to_string(start + tick * 7.5) + ",";
    if (kind == 0) {
      text += "\"state_embedding\":" + numbers(8) + ",\"targets\":[";
      const size_t n = random() % 9;
      const double loud = tick % 5 == 0 ? 1 : .25;  // long calms, so that REST and DREAM are reached
      for (size_t i = 0; i < n; ++i) {
        text += (i > 0 ? ",{\"id\":\"t" : "{\"id\":\"t") + std::to_string(i) +
                "\",\"salience\":" + number(tick > ticks / 2 ? .25 : loud) +
                (i % 3 < 2 ? ",\"embedding\":" + numbers(8) : "") + "}";
      }
      text += "]}";
    } else if (kind == 1) {
      text += "\"goal\":" + numbers(8) + ",\"sensors\":[";
      const size_t n = random() % 6;
      for (size_t i = 0; i < n; ++i) {
        text += (i > 0 ? ",{\"id\":\"s" : "{\"id\":\"s") + std::to_string(i) + "\",\"salience\":" + number() +
                ",\"trust\":" + number() + ",\"window\":[";
        for (size_t t = 0, rows = random() % 4; t < rows; ++t) text += (t > 0 ? "," : "") + numbers(8);
        text += "]}";
      }
      text += "]}";
    } else {
      text += "\"router_logits\":" + numbers(9) + ",\"trust\":" + numbers(9) + ",\"context_embedding\":" + numbers(8) +
              ",\"loaded\":[0,3,5],\"clusters\":[0,0,0,1,1,1,0,0,1]}";
    }
    out.push_back(text);
    if (tick % 11 == 4) out.push_back("{\"ts\":-1}");
  }
  return out;
}

std::unique_ptr<Program> MakeKind(int kind, int threads) {
  if (kind == 0) {
    MetabolicParams params = SmallMetabolic(1);
    params.transitions.dream_probability = .7;
    return Make(params, threads);
  }
  if (kind == 1) {
    FusionParams params = SmallFusion(1);
    params.interrupt_salience = .97, params.interrupt_hold_ticks = 2, params.age_rate = .1;
    return Make(params, threads);
  }
  ExpertParams params = SmallExperts(9, 1);
  params.attention.weights = WeightSource::kSeeded;
  params.attention.scale = .7;
  params.return_weights = true;
  auto program = Make(params, threads);
  std::vector<float> table(72);
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i * i % 17) - 8;
  const int64_t shape[] = {9, 8};
  REQUIRE(program->SetInput(0, SAGE_F32, shape, table.data(), 288).ok());
  return program;
}

std::string Replay(Program& program, const std::vector<std::string>& stream, size_t begin = 0, size_t end = SIZE_MAX) {
  std::string out;
  for (size_t i = begin; i < std::min(end, stream.size()); ++i) {
    (void)program.Tick(stream[i]);
    out += program.Decision();
    out += '\n';
  }
  return out;
}

TEST_CASE("G13 a stream replayed gives the same bytes, with one thread and with two") {
  for (int kind = 0; kind < 3; ++kind) {
    const auto stream = Stream(kind, 40 + static_cast<uint32_t>(kind), 120);
    const std::string once = Replay(*MakeKind(kind, 1), stream);
    CHECK(once == Replay(*MakeKind(kind, 1), stream));
    CHECK(once == Replay(*MakeKind(kind, 2), stream));
    if (kind == 0) {
      for (const char* state : {"\"WAKE\"", "\"FOCUS\"", "\"REST\"", "\"DREAM\"", "\"CRISIS\""}) {
        CHECK(once.find(state) != std::string::npos);
      }
    }
  }
}

TEST_CASE("G13 a snapshot restored anywhere continues byte for byte") {
  for (int kind = 0; kind < 3; ++kind) {
    const auto stream = Stream(kind, 50 + static_cast<uint32_t>(kind), 60);
    const std::string whole = Replay(*MakeKind(kind, 1), stream);
    for (size_t cut = 0; cut <= stream.size(); cut += 13) {
      auto first = MakeKind(kind, 1), second = MakeKind(kind, 1);
      const std::string head = Replay(*first, stream, 0, cut);
      std::string snapshot, again;
      REQUIRE(first->Snapshot(&snapshot).ok());
      const Status restored = second->Restore(snapshot);
      REQUIRE_MESSAGE(restored.ok(), restored.message());
      REQUIRE(second->Snapshot(&again).ok());
      CHECK(snapshot == again);
      CHECK(head + Replay(*second, stream, cut) == whole);
    }
  }
}

TEST_CASE("G13 a snapshot that does not fit is refused and changes nothing") {
  auto program = MakeKind(0, 1);
  Replay(*program, Stream(0, 60, 30));
  std::string before, after;
  REQUIRE(program->Snapshot(&before).ok());
  const auto refuses = [&](std::string from, const std::string& to, const char* words) {
    std::string text = before;
    const size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    text.replace(at, from.size(), to);
    const Status status = program->Restore(text);
    CHECK(status.code() == SAGE_E_BAD_DATA);
    CHECK_MESSAGE(status.message().find(words) != std::string::npos, status.message());
  };
  refuses("\"sage_snapshot\":1", "\"sage_snapshot\":2", "version 2");
  refuses("MetabolicGraph", "FusionGraph", "FusionGraph");
  refuses("\"model_sha256\":\"\"", "\"model_sha256\":\"ab\"", "belongs to the model ab");
  refuses("\"line\"", "\"lines\"", "did you mean \"line\"?");
  refuses("\"name\":\"", "\"name\":\"X", "there is no state");
  refuses("\"trigger\":\"", "\"trigger\":\"X", "there is no trigger");
  for (size_t cut = 0; cut < before.size(); ++cut) {
    CHECK_FALSE(program->Restore(std::string_view(before).substr(0, cut)).ok());
  }
  for (size_t bit = 0; bit < before.size() * 8; bit += 3) {
    std::string flipped = before;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    auto other = MakeKind(0, 1);
    (void)other->Restore(flipped);
    if (bit > 240) break;  // a program each; the first fields are the telling ones
  }
  REQUIRE(program->Snapshot(&after).ok());
  CHECK(before == after);
}

TEST_CASE("G13 a bad tick counts a line and nothing else") {
  for (int kind = 0; kind < 3; ++kind) {
    const auto stream = Stream(kind, 70, 20);
    auto program = MakeKind(kind, 1);
    Replay(*program, stream);
    std::string before, after;
    REQUIRE(program->Snapshot(&before).ok());
    const std::string last(stream[stream.size() - 1]);
    for (size_t cut = 0; cut < last.size(); cut += 3) CHECK_FALSE(program->Tick(last.substr(0, cut)).ok());
    REQUIRE(program->Snapshot(&after).ok());
    const auto without_line = [](const std::string& text) {
      const size_t at = text.find("\"line\":"), end = text.find(',', at);
      return text.substr(0, at) + text.substr(end);
    };
    CHECK(without_line(before) == without_line(after));
    CHECK(Num(std::string(program->Decision()), "line") == Num(after, "line"));
  }
}

TEST_CASE("G13 any flipped bit of a tick is answered") {
  for (int kind = 0; kind < 3; ++kind) {
    const std::string tick = Stream(kind, 80, 4)[3];
    auto program = MakeKind(kind, 1);
    for (size_t bit = 0; bit < tick.size() * 8; bit += 5) {
      std::string flipped = tick;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
      (void)program->Tick(flipped);
      JsonReader reader;
      CHECK(reader.Parse(program->Decision()).ok());
    }
  }
}

TEST_CASE("S16 G13 after warm-up a tick allocates nothing") {
  for (int kind = 0; kind < 3; ++kind) {
    auto program = MakeKind(kind, 1);
    // The same ticks later: what comes after the first pass meets no size that it has not met.
    for (int pass = 0; pass < 3; ++pass) {
      std::vector<std::string> stream;
      for (const std::string& tick : Stream(kind, 90, 60, 1000 * pass)) {
        if (tick != "{\"ts\":-1}") stream.push_back(tick);
      }
      const uint64_t before = sage::test::HeapAllocations();
      bool good = true;
      for (const std::string& tick : stream) good = program->Tick(tick).ok() && good;
      const uint64_t allocations = sage::test::HeapAllocations() - before;
      CHECK(good);
      if (pass == 2) CHECK_MESSAGE(allocations == 0, "kind ", kind, ": ", allocations, " allocations");
    }
  }
}

TEST_CASE("G13 an op graph takes no ticks; other graphs have no inputs") {
  auto program = MakeKind(0, 1);
  CHECK(program->InputCount() == 0);
  CHECK(program->SetInput(0, SAGE_F32, {}, nullptr, 0).code() == SAGE_E_NOT_FOUND);
}

TEST_CASE("P12 explain lists every node once, by session; LEGACY has none") {
  for (int kind = 0; kind < 3; ++kind) {
    auto program = MakeKind(kind, 1);
    JsonWriter out;
    const Status status = program->Explain(out);
    REQUIRE_MESSAGE(status.ok(), status.message());
    const std::string text(out.text());
    CHECK(Has(text, "nodes.0.name"));
    CHECK(Has(text, "sessions.1.name"));
    CHECK(text.find("\"content.attention\"") != std::string::npos);
    JsonWriter trace;
    REQUIRE(program->WriteTrace(trace).ok());
    CHECK(Has(std::string(trace.text()), "traceEvents"));
    Replay(*program, Stream(kind, 3, 3));
    trace.Clear();
    REQUIRE(program->WriteTrace(trace).ok());
    CHECK(Has(std::string(trace.text()), "program.graph"));
    CHECK_FALSE(Has(std::string(trace.text()), "program.ns"));  // no clock is read unless asked for
  }
  FusionParams params = SmallFusion(1);
  params.attention.mode = GraphMode::kLegacy;
  JsonWriter out;
  REQUIRE(Make(params)->Explain(out).ok());
  CHECK(Text(std::string(out.text()), "nodes") == "[]");
}

}  // namespace
