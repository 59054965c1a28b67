// test_session_memory.cc: results are read as long as the memory they lie in is the session's to read, and no longer.
#include <doctest/doctest.h>

#include "graph_builder.h"

using namespace sage;
using namespace sage::test;

namespace {

// relu(x) [n], x itself, a view of x, and one of relu(x).
struct Fixture {
  std::unique_ptr<Session> session;
  Fixture() {
    GraphBuilder g;
    const Dim n = g.Symbol("n", 1000);
    const int32_t x = g.Input("x", SAGE_F32, {n});
    const int32_t y = g.Unary("relu", x);
    g.Output(y);
    g.Output(x);
    g.Output(g.Reshape("view", x, {n, Fixed(1)}));
    g.Output(g.Reshape("relu view", y, {n, Fixed(1)}));
    auto made = Session::Create(PlainEngine(), g.Share(), SessionOptions{});
    REQUIRE_MESSAGE(made.ok(), made.status().message());
    session = std::move(*made);
  }
  Status Bind(uint32_t direction, uint32_t index, std::vector<float>& memory) {
    sage_tensor tensor;
    const int64_t shape[] = {static_cast<int64_t>(memory.size()), 1};
    sage_tensor_init(&tensor, SAGE_F32, index < 2 ? 1 : 2, shape, memory.data());
    return session->Bind(direction, index, &tensor);
  }
  void Run() {
    const Status status = session->Run();
    REQUIRE_MESSAGE(status.ok(), status.message());
  }
  // Which outputs can be read, a digit each.
  std::string Readable() const {
    std::string readable;
    for (uint32_t i = 0; i < 4; ++i) {
      const Result<sage_tensor> output = session->Output(i);
      if (output.ok()) readable += std::to_string(i);
      if (!output.ok()) CHECK(output.status().message().find("has no contents") != std::string::npos);
    }
    return readable;
  }
};

}  // namespace

TEST_CASE("session: results in an input's memory end when the input is bound, unbound or set anew") {
  Fixture f;
  std::vector<float> memory(100, 5), other(100, 6);
  REQUIRE(f.Bind(SAGE_INPUT, 0, memory).ok());
  f.Run();
  CHECK(f.Readable() == "0123");
  CHECK(Get(*f.session, 2) == memory);
  SUBCASE("unbound") { REQUIRE(f.session->Bind(SAGE_INPUT, 0, nullptr).ok()); }
  SUBCASE("bound elsewhere") { REQUIRE(f.Bind(SAGE_INPUT, 0, other).ok()); }
  SUBCASE("set") { REQUIRE(Set(*f.session, 0, {100}, other).ok()); }
  CHECK(f.Readable() == "03");
  CHECK(Get(*f.session, 0) == std::vector<float>(100, 5));
  std::vector<float> read(100);
  const Status gone = f.session->GetOutput(1, read.data(), 400);
  CHECK(gone.code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(gone.message() ==
        "output 1 \"x\" has no contents: its memory, or that of an input it lies in, was bound, unbound or set anew "
        "since "
        "the last run");
  REQUIRE(Set(*f.session, 0, {100}, other).ok());
  f.Run();
  CHECK(f.Readable() == "0123");
  CHECK(Get(*f.session, 1) == other);
}

TEST_CASE("session: results in the session's own input end when it is set, smaller, as large or larger") {
  Fixture f;
  REQUIRE(Set(*f.session, 0, {100}, std::vector<float>(100, 5)).ok());
  f.Run();
  for (const int64_t rows : {10, 100, 1000}) {
    CHECK(f.Readable() == "0123");
    REQUIRE(Set(*f.session, 0, {rows}, std::vector<float>(static_cast<size_t>(rows), 7)).ok());
    CHECK(f.Readable() == "03");
    f.Run();
  }
}

TEST_CASE("session: results in an output's memory end when it is bound elsewhere or unbound") {
  Fixture f;
  std::vector<float> first(100), second(100);
  REQUIRE(Set(*f.session, 0, {100}, std::vector<float>(100, 5)).ok());
  REQUIRE(f.Bind(SAGE_OUTPUT, 0, first).ok());
  f.Run();
  CHECK(f.Readable() == "0123");
  // Output 3 is a view of it, unbound: its contents lie in what was bound for output 0.
  SUBCASE("bound elsewhere") { REQUIRE(f.Bind(SAGE_OUTPUT, 0, second).ok()); }
  SUBCASE("unbound") { REQUIRE(f.session->Bind(SAGE_OUTPUT, 0, nullptr).ok()); }
  CHECK(f.Readable() == "12");
  f.Run();
  CHECK(f.Readable() == "0123");
  // A result that lay in the session's own memory ends, too, once memory for the next is given.
  REQUIRE(f.Bind(SAGE_OUTPUT, 3, first).ok());
  CHECK(f.Readable() == "012");
}
