// The border round a plugin: what it throws, claims or overwrites becomes a NO or an error that names it.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include "backend/backend.h"
#include "support/toy_table.h"

using namespace sage;
using sage::test::Toy;
using sage::test::ToyTable;

namespace {

struct Fixture {
  std::shared_ptr<Host> host = std::make_shared<Host>(Options{}, 1, 1 << 20);
  Toy toy;
  std::shared_ptr<Backend> backend = *Backend::Create(host, ToyTable("toy"), 0, 0, toy.Options());
  sage_op op{};
  Fixture() {
    op.struct_size = sizeof op;
    op.kind = SAGE_OP_UNARY;
  }
  std::string No() {
    const sage_answer answer = backend->Ask(op, 0);
    REQUIRE(answer.verdict == SAGE_NO);
    return answer.reason;
  }
};

bool Says(const std::string& text, const char* word) {
  INFO(text);
  const bool there = text.find(word) != std::string::npos;
  CHECK(there);
  return there;
}

}  // namespace

TEST_CASE("an honest YES passes as it is") {
  Fixture f;
  const sage_answer answer = f.backend->Ask(f.op, 0);
  CHECK(answer.verdict == SAGE_YES);
  CHECK(answer.cost_ns == 1000);
  CHECK(f.backend->name() == "toy");
}

TEST_CASE("kinds and features are filtered without a call, and the reason names them") {
  Fixture f;
  sage_plugin table = ToyTable("narrow");
  table.kinds = SAGE_KIND_BIT(SAGE_OP_ATTENTION);
  table.features = SAGE_ATTN_F_SCALE;
  const auto narrow = *Backend::Create(f.host, table, 0, 0, f.toy.Options());
  Says(narrow->Ask(f.op, 0).reason, "UNARY");
  f.op.kind = 99;
  CHECK(narrow->Ask(f.op, 0).verdict == SAGE_NO);
  f.op.kind = SAGE_OP_ATTENTION;
  const sage_answer answer = narrow->Ask(f.op, SAGE_ATTN_F_SCALE | SAGE_ATTN_F_SINKS | SAGE_ATTN_F_CAUSAL);
  CHECK(answer.verdict == SAGE_NO);
  CHECK(answer.blocking == (SAGE_ATTN_F_SINKS | SAGE_ATTN_F_CAUSAL));
  Says(answer.reason, "CAUSAL, SINKS");
  CHECK(f.toy.asked == 0);
}

TEST_CASE("answers that break the contract are not believed") {
  Fixture f;
  const auto with = [&f](auto change) {
    f.toy.SayYes(1000);
    change(f.toy.answer);
    return f.No();
  };
  Says(with([](sage_answer& a) { a.cost_ns = std::nan(""); }), "cost is nan");
  Says(with([](sage_answer& a) { a.cost_ns = -1; }), "cost is -1");
  Says(with([](sage_answer& a) { a.cost_ns = std::numeric_limits<double>::infinity(); }), "cost is inf");
  Says(with([](sage_answer& a) { a.cost_source = 9; }), "source of its cost is 9");
  Says(with([](sage_answer& a) { a.accuracy = SAGE_ACCURACY_AUTO; }), "accuracy it delivers is 0");
  Says(with([](sage_answer& a) { a.accuracy = 4; }), "accuracy it delivers is 4");
  Says(with([](sage_answer& a) { a.verdict = 2; }), "verdict is 2");
  Says(with([](sage_answer& a) { a.reason[0] = '\0'; }), "reason is empty");
  Says(with([](sage_answer& a) { a.verdict = SAGE_NO, a.reason[0] = '\0'; }), "NO without a reason");
  Says(with([](sage_answer& a) { std::memset(a.reason, 'x', sizeof a.reason); }), "does not end");
  Says(with([](sage_answer& a) { a.workspace_bytes = UINT64_MAX; }), "max_memory is 1048576");
}

TEST_CASE("asking: a failing status, an exception and a write past the answer are a NO") {
  Fixture f;
  f.toy.ask_status = SAGE_E_DEVICE;
  Says(f.No(), "the question was too hard");
  f.toy.ask_status = 1234;
  Says(f.No(), "1234, which is no status");
  f.toy.ask_status = SAGE_OK;
  f.toy.throws = true;
  Says(f.No(), "threw an exception");
  f.toy.throws = false;
  f.toy.overrun_answer = true;
  Says(f.No(), "wrote past the end of the answer");
}

TEST_CASE("plans: lies about workspace, none made, errors, exceptions; the plan outlives everything else") {
  Fixture f;
  f.toy.plan_workspace = 101;
  auto plan = f.backend->MakePlan(f.op, nullptr, 100);
  REQUIRE_FALSE(plan.ok());
  CHECK(plan.status().code() == SAGE_E_INTERNAL);
  Says(plan.status().message(), "wants 101 bytes of workspace, its answer promised at most 100");
  CHECK(f.toy.plans == 0);  // the refused plan was given back
  f.toy.plan_workspace = 100;
  f.toy.no_plan = true;
  Says(f.backend->MakePlan(f.op, nullptr, 100).status().message(), "succeeded without a plan");
  f.toy.no_plan = false;
  f.toy.plan_status = SAGE_E_OUT_OF_MEMORY;
  CHECK(f.backend->MakePlan(f.op, nullptr, 100).status().code() == SAGE_E_OUT_OF_MEMORY);
  Says(f.backend->MakePlan(f.op, nullptr, 100).status().message(), "toy: no plan today");
  f.toy.plan_status = SAGE_OK, f.toy.throws = true;
  Says(f.backend->MakePlan(f.op, nullptr, 100).status().message(), "toy: its `plan` threw");
  f.toy.throws = false;
  plan = f.backend->MakePlan(f.op, nullptr, 100);
  REQUIRE(plan.ok());
  std::shared_ptr<const Plan> held = *plan;
  plan = Status(SAGE_E_IO, "let go");
  f.backend.reset();
  f.host.reset();
  CHECK(f.toy.destroyed == 0);
  CHECK(held->Run({}).ok());
  f.toy.run_status = SAGE_E_CANCELLED;
  CHECK(held->Run({}).code() == SAGE_E_CANCELLED);
  f.toy.run_status = -3;
  CHECK(held->Run({}).code() == SAGE_E_INTERNAL);
  f.toy.throws = true;
  Says(held->Run({}).message(), "toy: its `run` threw");
  held.reset();
  CHECK(f.toy.plans == 0);
  CHECK(f.toy.destroyed == 1);
}

TEST_CASE("probe says no, create fails, create gives nothing") {
  Fixture f;
  sage_plugin table = ToyTable("other");
  table.probe = [](const sage_host*, int32_t, uint32_t*, sage_answer* out, sage_error*) -> sage_status {
    sage_refuse(out, 0, "driver 12.1 is missing");
    return SAGE_OK;
  };
  auto made = Backend::Create(f.host, table, 0, 0, f.toy.Options());
  CHECK(made.status().code() == SAGE_E_UNSUPPORTED);
  Says(made.status().message(), "other cannot run here: driver 12.1 is missing");
  made = Backend::Create(f.host, ToyTable("other"), 0, 0, "isa=avx9");
  CHECK(made.status().code() == SAGE_E_INVALID_ARGUMENT);
  table = ToyTable("other");
  table.create = [](const sage_host*, int32_t, const char*, sage_instance**, sage_error*) -> sage_status { return 0; };
  Says(Backend::Create(f.host, table, 0, 0, "").status().message(), "without an instance");
  table.create = [](const sage_host*, int32_t, const char*, sage_instance**, sage_error*) -> sage_status { throw 3; };
  Says(Backend::Create(f.host, table, 0, 0, "").status().message(), "`create` threw");
}
