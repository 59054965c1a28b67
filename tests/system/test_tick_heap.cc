// test_tick_heap.cc: from a tick's text to a decision in the caller's buffer nothing is taken from the heap, for each
// of the SAGE graphs, through the installed header: the border has its share of the promise.
#include <cstring>

#include "c_api.h"
#include "support/heap_count.h"

using namespace sage::test;

namespace {

// Allocations of ticks 3 and 4, the first two having warmed it up; each decision is read in the two steps of a caller
// who asks for the size first.
uint64_t AllocationsOf(const json& model_text, const std::vector<float>& experts, const json& tick_text,
                       const char* traced = "false") {
  const ApiEngine engine = MakeEngine();
  const ApiModel model = MakeModel(engine.get(), model_text);
  const ApiSession session = MakeSession(model.get(), {{"trace", traced}});
  Error error;
  if (!experts.empty()) {
    const int64_t shape[] = {4, static_cast<int64_t>(experts.size()) / 4};
    REQUIRE_MESSAGE(sage_session_set_input(session.get(), 0, SAGE_F32, 2, shape, experts.data(),
                                           experts.size() * sizeof(float), &error) == SAGE_OK,
                    error.message);
  }
  std::vector<char> buffer(1 << 16);
  uint64_t taken = 0;
  for (int i = 0; i < 4; ++i) {
    json tick = tick_text;
    tick["ts"] = i;
    const std::string text = tick.dump();
    const uint64_t before = HeapAllocations();
    const sage_status status = sage_session_tick(session.get(), text.data(), text.size(), &error);
    uint64_t needed = 0;
    const sage_status size = sage_session_decision(session.get(), nullptr, 0, &needed, &error);
    const sage_status read = sage_session_decision(session.get(), buffer.data(), buffer.size(), &needed, &error);
    const uint64_t after = HeapAllocations();
    REQUIRE_MESSAGE(status == SAGE_OK, error.message);
    REQUIRE(size == SAGE_OK);
    REQUIRE(read == SAGE_OK);
    CHECK(std::strlen(buffer.data()) + 1 == needed);
    if (i >= 2) taken += after - before;
  }
  uint64_t needed = 0;
  REQUIRE(sage_session_trace(session.get(), buffer.data(), buffer.size(), &needed, &error) == SAGE_OK);
  const json program = json::parse(buffer.data())["program"];
  CHECK(program.contains("ns") == (std::strcmp(traced, "true") == 0));
  if (program.contains("ns")) {
    for (const char* phase : {"read", "decide", "write"}) CHECK(program["ns"][phase].get<uint64_t>() > 0);
  }
  return taken;
}

}  // namespace

TEST_CASE("S16 G13 a tick in and its decision out take nothing from the heap, graph by graph") {
  const json attention = {{"d_model", 8}, {"query_heads", 4}, {"kv_heads", 2}, {"head_dim", 2}};
  const json vector = {1, 0.5, -2, 0, 0, 1, 0, 3};
  CHECK(AllocationsOf(
            {{"graph_type", "ExpertGraph"}, {"graph", {{"attention", attention}, {"num_experts", 4}, {"top_k", 2}}}},
            std::vector<float>(4 * 8, 0.25f),
            {{"router_logits", {1, 2, 3, 4}}, {"trust", {.1, .2, .3, .4}}, {"context_embedding", vector}}) == 0);
  for (const char* traced : {"false", "true"}) {
    CHECK(AllocationsOf({{"graph_type", "MetabolicGraph"}, {"graph", {{"attention", attention}}}}, {},
                        {{"state", "WAKE"},
                         {"state_embedding", vector},
                         {"targets",
                          {{{"id", "a"}, {"salience", .9}, {"embedding", vector}},
                           {{"id", "b"}, {"salience", .3}, {"embedding", vector}}}}},
                        traced) == 0);
  }
  CHECK(AllocationsOf(
            {{"graph_type", "FusionGraph"}, {"graph", {{"attention", attention}}}}, {},
            {{"goal", vector},
             {"sensors",
              {{{"id", "a"}, {"salience", .5}, {"trust", .5}, {"goal_relevance", .5}, {"window", {vector, vector}}},
               {{"id", "b"}, {"salience", .4}, {"trust", .5}, {"goal_relevance", .5}, {"window", {vector}}}}}}) == 0);
}
