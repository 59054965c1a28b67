// Spans: kept in order, bounded, free-threaded, and written so that the viewers open them.
#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

#include "json.h"
#include "run/trace.h"

using namespace sage;

TEST_CASE("S17 spans are kept in order with their worker, beyond the capacity they are counted") {
  Trace trace(3);
  CHECK(trace.enabled());
  const uint64_t a = trace.Begin("a"), b = trace.Begin("b", 2), c = trace.Begin("c"), d = trace.Begin("d");
  CHECK(d == 0);
  CHECK(trace.dropped() == 1);
  trace.End(b);
  trace.End(a);
  trace.End(d);
  trace.End(99);
  const auto spans = trace.Spans();
  REQUIRE(spans.size() == 3);
  CHECK(std::string(spans[1].name) == "b");
  CHECK(spans[1].worker == 2);
  CHECK(spans[1].begin_ns >= spans[0].begin_ns);
  CHECK(spans[0].end_ns >= spans[1].end_ns);
  CHECK(spans[2].end_ns == 0);
  (void)c;
  JsonWriter out;
  out.BeginObject();
  trace.WriteEvents(out);
  out.EndObject();
  JsonReader reader;
  REQUIRE(reader.Parse(out.text()).ok());
  const JsonNode* events = reader.Find(reader.root(), "traceEvents");
  REQUIRE(events != nullptr);
  CHECK(events->size == 3);
  const JsonNode& first = reader.at(reader.IndexOf(*events) + 1);
  CHECK(reader.Text(*reader.Find(first, "name")) == "a");
  CHECK(reader.Text(*reader.Find(first, "ph")) == "X");
  for (const char* key : {"ts", "dur", "pid", "tid"}) CHECK(reader.Find(first, key) != nullptr);
  trace.Reset();
  CHECK(trace.Spans().empty());
  CHECK(trace.dropped() == 0);
  CHECK(trace.Begin("e") == 1);
}

TEST_CASE("R17 counters are kept by node and by name, from any thread, and start again with a run") {
  Trace trace(4);
  trace.EnableCounts(2);
  const std::string twin = "skipped";  // the same text at another address: plugins share no literals
  std::vector<std::thread> threads;
  for (int worker = 0; worker < 4; ++worker)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        trace.Count(1, "computed", 2);
        trace.Count(1, i % 2 == 0 ? "skipped" : twin.c_str(), 1);
      }
    });
  for (std::thread& thread : threads) thread.join();
  const auto text = [&trace](uint32_t node) {
    JsonWriter out;
    trace.WriteCounts(out, node);
    return std::string(out.text());
  };
  CHECK(text(0) == "{}");
  CHECK(text(1).find("\"computed\":8000") != std::string::npos);
  CHECK(text(1).find("\"skipped\":4000") != std::string::npos);
  CHECK(text(1).size() == std::string("{\"computed\":8000,\"skipped\":4000}").size());
  trace.Count(2, "computed", 1);  // no such node
  trace.Count(0, nullptr, 1);
  CHECK(text(2) == "{}");
  constexpr const char* kNames[] = {"a", "b", "c", "d", "e", "f", "g", "h", "one too many"};
  for (const char* name : kNames) trace.Count(0, name, 1);
  CHECK(text(0).find("\"h\":1") != std::string::npos);
  CHECK(text(0).find("too many") == std::string::npos);
  CHECK(text(1).find("8000") != std::string::npos);  // the neighbour keeps its own
  trace.Reset();
  CHECK(text(0) == "{}");
  CHECK(text(1) == "{}");
}

TEST_CASE("off by default: nothing is kept, nothing is counted") {
  Trace trace;
  CHECK_FALSE(trace.enabled());
  CHECK(trace.Begin("a") == 0);
  trace.End(0);
  trace.Count(0, "a", 1);
  CHECK(trace.Spans().empty());
  CHECK(trace.dropped() == 0);
}

TEST_CASE("spans from many threads: none lost, none shared") {
  Trace trace(4000);
  std::vector<std::thread> threads;
  for (uint32_t worker = 0; worker < 4; ++worker)
    threads.emplace_back([&trace, worker] {
      for (int i = 0; i < 1000; ++i) trace.End(trace.Begin("s", worker));
    });
  for (std::thread& thread : threads) thread.join();
  const auto spans = trace.Spans();
  REQUIRE(spans.size() == 4000);
  uint32_t of_worker[4] = {};
  for (const auto& span : spans) {
    ++of_worker[span.worker];
    CHECK(span.end_ns != 0);
  }
  for (const uint32_t count : of_worker) CHECK(count == 1000);
  CHECK(trace.dropped() == 0);
}
