// test_session_accuracy.cc: what a session reports of its attentions' accuracy, on a backend whose error is known.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "graph_builder.h"

using namespace sage;
using namespace sage::test;

namespace {

// accuracy_report is on, and a backend of class LOSSY may be taken.
SessionOptions Measured() {
  SessionOptions options;
  options.accuracy_report = true;
  options.policy.accuracy = SAGE_ACCURACY_LOSSY;
  return options;
}

std::shared_ptr<Engine> LossyEngine(const std::string& levels = "16") {
  return PlainEngine({{"plugins", SAGE_LOSSY_PLUGIN}, {"lossy.levels", levels}});
}

std::unique_ptr<Session> Open(const GraphBuilder& builder, const SessionOptions& options = Measured(),
                              std::shared_ptr<Engine> engine = LossyEngine()) {
  auto session = Session::Create(std::move(engine), builder.Share(), options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  return std::move(*session);
}

std::string Report(const Session& session) {
  JsonWriter out;
  const Status status = session.WriteAccuracyReport(out);
  REQUIRE_MESSAGE(status.ok(), status.message());
  JsonReader reader;
  REQUIRE(reader.Parse(out.text()).ok());
  return std::string(out.text());
}

bool Says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Status SetDoubles(Session& session, uint32_t index, std::vector<int64_t> shape, const std::vector<float>& values) {
  const std::vector<double> wide(values.begin(), values.end());
  return session.SetInput(index, SAGE_F64, shape, wide.data(), wide.size() * sizeof(double));
}

// Two heads of 3 queries over up to `keys` keys, grouped, with LSE; in f64, so that nothing is rounded on the way out.
GraphBuilder Grouped(int64_t keys = 5) {
  GraphBuilder g;
  const Dim rows = g.Symbol("keys", keys);
  const int32_t q = g.Input("q", SAGE_F64, {Fixed(1), Fixed(2), Fixed(3), Fixed(4)});
  const int32_t k = g.Input("k", SAGE_F64, {Fixed(1), Fixed(1), rows, Fixed(4)});
  const int32_t v = g.Input("v", SAGE_F64, {Fixed(1), Fixed(1), rows, Fixed(4)});
  const int32_t lse = g.Add("lse");
  g.Output(g.Attention("attn", q, k, v, {}, {{SAGE_ATTN_LSE, lse}}));
  g.Output(lse);
  return g;
}

void SetGrouped(Session& session, int64_t keys, uint32_t seed = 1) {
  const auto count = static_cast<size_t>(keys * 4);
  REQUIRE(SetDoubles(session, 0, {1, 2, 3, 4}, Random(24, seed)).ok());
  REQUIRE(SetDoubles(session, 1, {1, 1, keys, 4}, Random(count, seed + 1)).ok());
  REQUIRE(SetDoubles(session, 2, {1, 1, keys, 4}, Random(count, seed + 2)).ok());
}

}  // namespace

TEST_CASE("R5 accuracy: the report is the distance of the run's outputs from the reference's") {
  const GraphBuilder g = Grouped();
  auto session = Open(g);
  auto exact = Open(g, SessionOptions{}, PlainEngine());
  for (uint32_t seed = 1; seed < 4; ++seed) {
    SetGrouped(*session, 5, seed), SetGrouped(*exact, 5, seed);
    REQUIRE(session->Run().ok());
    REQUIRE(exact->Run().ok());
    REQUIRE(session->accuracy_reports().size() == 1);
    const AccuracyReport& report = session->accuracy_reports()[0];
    CHECK(report.node == "attn");
    CHECK(report.backend == "lossy");
    CHECK(report.device == "cpu");
    CHECK(report.accuracy == SAGE_ACCURACY_LOSSY);
    CHECK(report.note == "");
    CHECK(Says(report.problem, "hq2.hkv1.sq3.skv5.d4.f64"));
    REQUIRE(report.outputs.size() == 2);
    for (uint32_t i = 0; i < 2; ++i) {
      const Distance expected = DistanceOf(*session->Output(i), *exact->Output(i));
      const Distance& found = report.outputs[i].distance;
      CHECK(report.outputs[i].slot == (i == 0 ? SAGE_ATTN_O : SAGE_ATTN_LSE));
      CHECK(found.elements == (i == 0 ? 24 : 6));
      CHECK(found.cosine == expected.cosine);
      CHECK(found.rel_l1 == expected.rel_l1);
      CHECK(found.rmse == expected.rmse);
      CHECK(found.max_abs_error == expected.max_abs_error);
      CHECK(std::equal(found.worst, found.worst + 4, expected.worst));
      CHECK(found.largest == expected.largest);
      CHECK(found.non_finite == 0);
    }
    // The fault that is put in: weights in sixteenths. LSE is before them.
    CHECK(report.outputs[0].distance.rel_l1 > 1e-3);
    CHECK(report.outputs[0].distance.rel_l1 < 0.3);
    CHECK(report.outputs[1].distance.rel_l1 < 1e-12);
  }
  const std::string text = Report(*session);
  CHECK(Says(text,
             "{\"against\":\"reference\",\"nodes\":[{\"name\":\"attn\",\"backend\":\"lossy\",\"device\":\"cpu\","
             "\"accuracy\":\"lossy\""));
  CHECK(Says(text, "\"dtypes\":{\"Q\":\"f64\",\"K\":\"f64\",\"V\":\"f64\",\"O\":\"f64\"},\"measured\":true"));
  CHECK(Says(text, "\"summary\":{\"measured\":1,\"not_measured\":0,\"worst\":[{\"output\":\"O\","));
  CHECK(Says(text, "{\"output\":\"LSE\","));
}

TEST_CASE("R5 accuracy: a backend that rounds nothing is as exact as double") {
  auto session = Open(Grouped(), Measured(), LossyEngine("0"));
  SetGrouped(*session, 5);
  REQUIRE(session->Run().ok());
  CHECK(session->accuracy_reports()[0].backend == "lossy");
  CHECK(session->accuracy_reports()[0].outputs[0].distance.rel_l1 < 1e-14);
}

TEST_CASE("R5 accuracy: without the option or a good run the error says what to do") {
  const GraphBuilder g = Grouped();
  JsonWriter out;
  auto off = Open(g, SessionOptions{});
  SetGrouped(*off, 5);
  REQUIRE(off->Run().ok());
  Status status = off->WriteAccuracyReport(out);
  CHECK(status.code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(Says(status.message(), "accuracy_report = on"));
  CHECK(off->accuracy_reports().empty());

  auto session = Open(g);
  status = session->WriteAccuracyReport(out);
  CHECK(status.code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(Says(status.message(), "no run yet"));
  SetGrouped(*session, 5);
  REQUIRE(session->Run().ok());
  CHECK(session->WriteAccuracyReport(out).ok());
  REQUIRE(session->Bind(SAGE_INPUT, 0, nullptr).ok());
  CHECK_FALSE(session->Run().ok());
  CHECK(session->WriteAccuracyReport(out).code() == SAGE_E_INVALID_ARGUMENT);

  GraphBuilder none;
  none.Output(none.Unary("relu", none.Input("x", SAGE_F32, {Fixed(2)})));
  auto relu = Open(none);
  REQUIRE(Set(*relu, 0, {2}, {1, -1}).ok());
  REQUIRE(relu->Run().ok());
  CHECK(Says(Report(*relu), "\"note\":\"this model has no ATTENTION node\",\"nodes\":[]"));
}

TEST_CASE("R5 accuracy: sizes are those of the run, whatever bucket was planned, and only the last run counts") {
  auto session = Open(Grouped(1000));
  for (const int64_t keys : {700, 1, 513, 0, 90}) {
    SetGrouped(*session, keys);
    REQUIRE(session->Run().ok());
    REQUIRE(session->accuracy_reports().size() == 1);
    const AccuracyReport& report = session->accuracy_reports()[0];
    CHECK(Says(report.problem, "skv" + std::to_string(keys)));
    CHECK(report.outputs[0].distance.elements == 24);
    // One key has all the weight, no key gives zeros: neither has anything to round.
    if (keys <= 1) CHECK(report.outputs[0].distance.rel_l1 < 1e-14);
    if (keys == 700) CHECK(report.outputs[0].distance.cosine < 0.999);
  }
}

TEST_CASE("R5 accuracy: each node is measured on the inputs it had and not on what an exact run would have given it") {
  GraphBuilder g;
  const std::vector<Dim> shape = {Fixed(1), Fixed(1), Fixed(6), Fixed(4)};
  const int32_t x = g.Input("x", SAGE_F32, shape);
  const int32_t first = g.Attention("first", x, x, x);
  g.Output(g.Attention("second", first, first, first));
  g.last_node().policy.backend = "reference";
  auto session = Open(g);
  REQUIRE(Set(*session, 0, {1, 1, 6, 4}, Random(24, 5)).ok());
  REQUIRE(session->Run().ok());
  REQUIRE(session->accuracy_reports().size() == 2);
  const AccuracyReport &a = session->accuracy_reports()[0], &b = session->accuracy_reports()[1];
  CHECK(a.outputs[0].distance.rel_l1 > 1e-3);
  CHECK(b.backend == "reference");
  CHECK(b.accuracy == SAGE_ACCURACY_EXACT);
  // What `reference` loses is the rounding to f32 on the way out, and that is seen.
  CHECK(b.outputs[0].distance.rel_l1 < 1e-6);
  CHECK(b.outputs[0].distance.rel_l1 > 0);
  const std::string text = Report(*session);
  CHECK(Says(text, "\"measured\":2,\"not_measured\":0"));
  CHECK(Says(text, ",\"node\":\"first\"}"));
  CHECK_FALSE(Says(text, ",\"node\":\"second\"}"));  // it is the worst in nothing
}

TEST_CASE("R5 accuracy: a bias that repeats is read as it lies and a NaN of the backend is counted") {
  GraphBuilder g;
  const std::vector<Dim> shape = {Fixed(2), Fixed(3), Fixed(4), Fixed(8)};
  const int32_t q = g.Input("q", SAGE_F32, shape), k = g.Input("k", SAGE_F32, shape), v = g.Input("v", SAGE_F32, shape);
  const int32_t bias = g.Input("bias", SAGE_F32, {Fixed(1), Fixed(3), Fixed(1), Fixed(4)});
  g.Output(g.Attention("attn", q, k, v, {}, {{SAGE_ATTN_BIAS, bias}}));
  for (const char* levels : {"0", "-1"}) {
    auto session = Open(g, Measured(), LossyEngine(levels));
    for (uint32_t i = 0; i < 3; ++i) REQUIRE(Set(*session, i, {2, 3, 4, 8}, Random(192, i)).ok());
    REQUIRE(Set(*session, 3, {1, 3, 1, 4}, Random(12, 9)).ok());
    REQUIRE(session->Run().ok());
    const Distance& o = session->accuracy_reports()[0].outputs[0].distance;
    CHECK(session->accuracy_reports()[0].backend == "lossy");
    CHECK(o.rel_l1 < 1e-6);
    CHECK(o.non_finite == (levels[0] == '-' ? 1 : 0));
    CHECK(std::isfinite(o.cosine));
  }
}

TEST_CASE("R5 accuracy: i8 with scales is compared with what the dequantised numbers give") {
  GraphBuilder g;
  const std::vector<Dim> shape = {Fixed(1), Fixed(2), Fixed(4), Fixed(8)};
  const int32_t q = g.Input("q", SAGE_I8, shape), k = g.Input("k", SAGE_I8, shape), v = g.Input("v", SAGE_I8, shape);
  const int32_t scale_q = g.Input("sq", SAGE_F32, {Fixed(1)}), scale_k = g.Input("sk", SAGE_F32, {Fixed(1)});
  const int32_t scale_v = g.Input("sv", SAGE_F32, {Fixed(1)});
  AttentionNode node;
  node.attributes.granularity_q = node.attributes.granularity_k = node.attributes.granularity_v = SAGE_PER_TENSOR;
  const int32_t o =
      g.Attention("attn", q, k, v, node,
                  {{SAGE_ATTN_SCALE_Q, scale_q}, {SAGE_ATTN_SCALE_K, scale_k}, {SAGE_ATTN_SCALE_V, scale_v}});
  g.graph().tensors[static_cast<size_t>(o)].dtype = SAGE_F32;
  g.Output(o);
  auto session = Open(g);
  const int64_t sizes[] = {1, 2, 4, 8}, one[] = {1};
  std::vector<int8_t> values(64);
  for (uint32_t i = 0; i < 3; ++i) {
    for (size_t at = 0; at < values.size(); ++at) values[at] = static_cast<int8_t>((at * 37 + i * 11) % 200 - 100);
    REQUIRE(session->SetInput(i, SAGE_I8, sizes, values.data(), values.size()).ok());
    const float scale = 0.01f * static_cast<float>(i + 1);
    REQUIRE(session->SetInput(3 + i, SAGE_F32, one, &scale, sizeof scale).ok());
  }
  const Status status = session->Run();
  REQUIRE_MESSAGE(status.ok(), status.message());
  const AccuracyReport& report = session->accuracy_reports()[0];
  CHECK(report.note == "");
  CHECK(report.dtypes[SAGE_ATTN_Q] == SAGE_I8);
  REQUIRE(report.outputs.size() == 1);
  CHECK(report.outputs[0].distance.rel_l1 < 1e-6);
  CHECK(report.outputs[0].distance.rel_l1 > 0);  // f32 on the way out
  CHECK(report.outputs[0].distance.largest > 0);
}

TEST_CASE("R5 accuracy: a cache that the run appends to is measured as it was and changed once") {
  GraphBuilder g;
  const std::vector<Dim> cache = {Fixed(1), Fixed(1), Fixed(4), Fixed(2)},
                         fresh = {Fixed(1), Fixed(1), Fixed(1), Fixed(2)};
  const int32_t q = g.Input("q", SAGE_F32, fresh), k = g.Input("k", SAGE_F32, cache), v = g.Input("v", SAGE_F32, cache);
  const int32_t kn = g.Input("k_new", SAGE_F32, fresh), vn = g.Input("v_new", SAGE_F32, fresh);
  const int32_t used = g.Input("used", SAGE_I32, {Fixed(1)});
  g.Output(
      g.Attention("attn", q, k, v, {}, {{SAGE_ATTN_K_NEW, kn}, {SAGE_ATTN_V_NEW, vn}, {SAGE_ATTN_SEQUSED_K, used}}));
  SessionOptions options = Measured();
  options.verify = Verify::kAlways;
  const std::string cpu = SAGE_BINARY_DIR "/lib/sage/plugins/libsage_cpu.so";
  const auto engine = PlainEngine();
  if (std::filesystem::exists(cpu)) {
    REQUIRE(engine->LoadPlugin(cpu).ok());
    options.policy.backend = "cpu";
  }
  auto session = Open(g, options, engine);
  std::vector<float> keys(8, 7.0f), values(8, 7.0f);
  const int64_t sizes[] = {1, 1, 4, 2}, one[] = {1};
  for (const auto& [index, memory] : {std::pair<uint32_t, std::vector<float>*>{1, &keys}, {2, &values}}) {
    sage_tensor tensor;
    sage_tensor_init(&tensor, SAGE_F32, 4, sizes, memory->data());
    REQUIRE(session->Bind(SAGE_INPUT, index, &tensor).ok());
  }
  for (int32_t step = 0; step < 4; ++step) {
    const float f = static_cast<float>(step);
    REQUIRE(Set(*session, 0, {1, 1, 1, 2}, {f, 1}).ok());
    REQUIRE(Set(*session, 3, {1, 1, 1, 2}, {0.3f * f, 0.1f}).ok());
    REQUIRE(Set(*session, 4, {1, 1, 1, 2}, {f, -f}).ok());
    REQUIRE(session->SetInput(5, SAGE_I32, one, &step, sizeof step).ok());
    const Status status = session->Run();
    REQUIRE_MESSAGE(status.ok(), status.message());
    REQUIRE(session->accuracy_reports().size() == 1);
    const AccuracyReport& report = session->accuracy_reports()[0];
    CHECK(report.backend == options.policy.backend.value_or("reference"));
    CHECK(report.note == "");
    REQUIRE(report.outputs.size() == 1);  // O, not the caches
    CHECK(report.outputs[0].distance.rel_l1 < 1e-5);
    for (const VerifyReport& verified : session->verify_reports()) CHECK_FALSE(verified.suspicious);
    for (int32_t row = 0; row < 4; ++row) {
      CHECK(values[static_cast<size_t>(2 * row)] == (row <= step ? static_cast<float>(row) : 7.0f));
    }
  }
}

TEST_CASE("R5 accuracy: a run that is cancelled while it is measured is a cancelled one") {
  SessionOptions options = Measured();
  int polls = 0;
  options.cancel_user = &polls;
  // Not before the node, which never asks; `reference` does.
  options.cancel = [](void* user) -> int32_t { return ++*static_cast<int*>(user) > 1 ? 1 : 0; };
  auto session = Open(Grouped(), options);
  SetGrouped(*session, 5);
  const Status status = session->Run();
  CHECK(status.code() == SAGE_E_CANCELLED);
  CHECK(Says(status.message(), "node \"attn\" was compared with reference"));
  JsonWriter out;
  CHECK_FALSE(session->WriteAccuracyReport(out).ok());
  polls = -1000;
  REQUIRE(session->Run().ok());
  CHECK(session->accuracy_reports()[0].note == "");
}

TEST_CASE("R5 accuracy: measuring changes nothing of the results") {
  const GraphBuilder g = Grouped();
  auto measured = Open(g);
  SessionOptions plain;
  plain.policy.accuracy = SAGE_ACCURACY_LOSSY;
  auto unmeasured = Open(g, plain);
  SetGrouped(*measured, 5), SetGrouped(*unmeasured, 5);
  REQUIRE(measured->Run().ok());
  REQUIRE(unmeasured->Run().ok());
  for (uint32_t i = 0; i < 2; ++i) {
    const Distance apart = DistanceOf(*measured->Output(i), *unmeasured->Output(i));
    CHECK(apart.max_abs_error == 0);
    CHECK(apart.largest > 0);
  }
}
