// test_misuse.cc: the installed header in careless hands: error slots and structs of any size, options nobody knows,
// numbers no machine has. Each call is answered with a status and a sentence; what was asked not to be touched is not.
#include <cstring>
#include <functional>
#include <limits>

#include "c_api.h"

using namespace sage::test;

namespace {

// Where a struct of any claimed size may be put, with a pattern round it.
struct Room {
  alignas(16) unsigned char bytes[8192];
  Room() { std::memset(bytes, 0xAB, sizeof bytes); }
  void SetSize(uint32_t size) { std::memcpy(bytes, &size, sizeof size); }
  // All bytes from `begin` on are as they were.
  bool Untouched(size_t begin) const {
    for (size_t i = begin; i < sizeof bytes; ++i)
      if (bytes[i] != 0xAB) return false;
    return true;
  }
};

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();

}  // namespace

TEST_CASE("error slot: null and size 0 are not written, a short one up to its size, a long one no further than known") {
  CHECK(sage_engine_create(nullptr, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  for (uint32_t size = 0; size <= 600; ++size) {
    Room room;
    room.SetSize(size);
    CHECK(sage_engine_create(nullptr, nullptr, reinterpret_cast<sage_error*>(room.bytes)) == SAGE_E_INVALID_ARGUMENT);
    uint32_t kept = 0;
    std::memcpy(&kept, room.bytes, sizeof kept);
    REQUIRE(kept == size);
    if (size < 8) {
      REQUIRE(room.Untouched(4));
      continue;
    }
    REQUIRE(room.Untouched(size));
    sage_status status = 0;
    std::memcpy(&status, room.bytes + 4, sizeof status);
    REQUIRE(status == SAGE_E_INVALID_ARGUMENT);
    const size_t text = offsetof(sage_error, message);
    if (size > text) REQUIRE(std::memchr(room.bytes + text, 0, size - text) != nullptr);  // the text ends inside
  }
  for (const uint32_t garbage : {4097u, 65536u, UINT32_MAX}) {  // no struct is so large: not scanned, not written
    Room room;
    room.SetSize(garbage);
    CHECK(sage_engine_create(nullptr, nullptr, reinterpret_cast<sage_error*>(room.bytes)) == SAGE_E_INVALID_ARGUMENT);
    CHECK(room.Untouched(4));
  }
}

TEST_CASE("error slot: a long sentence is cut and ends in NUL; success clears what was there") {
  const ApiEngine engine = MakeEngine({{"plugin_folders", "false"}});
  Error error;
  std::memset(error.message, 'x', sizeof error.message);
  ApiModel model;
  CHECK(sage_model_load(engine.get(), ("/" + std::string(3000, 'a')).c_str(), model.out(), &error) != SAGE_OK);
  CHECK(std::memchr(error.message, 0, sizeof error.message) != nullptr);
  CHECK(std::strlen(error.message) > 300);
  CHECK(error.native_code == ENAMETOOLONG);
  uint64_t needed = 0;
  CHECK(sage_engine_describe(engine.get(), nullptr, 0, &needed, &error) == SAGE_OK);
  CHECK(error.status == SAGE_OK);
  CHECK(error.native_code == 0);
  CHECK(error.message[0] == '\0');
}

TEST_CASE("out-handles become null on failure, whatever was in them") {
  const ApiEngine engine = MakeEngine({{"plugin_folders", "false"}});
  const auto garbage = [](auto** handle) { *handle = reinterpret_cast<std::remove_pointer_t<decltype(handle)>>(0x10); };
  sage_engine* other = nullptr;
  garbage(&other);
  CHECK(sage_engine_create(ApiOptions(Settings{{"threads", "0"}}).get(), &other, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(other == nullptr);
  sage_model* model = nullptr;
  for (const sage_engine* owner : {engine.get(), static_cast<sage_engine*>(nullptr)}) {
    garbage(&model);
    CHECK(sage_model_load(const_cast<sage_engine*>(owner), "/nowhere", &model, nullptr) != SAGE_OK);
    CHECK(model == nullptr);
    garbage(&model);
    CHECK(sage_model_load_buffer(const_cast<sage_engine*>(owner), "abc", 3, nullptr, &model, nullptr) != SAGE_OK);
    CHECK(model == nullptr);
  }
  sage_session* session = nullptr;
  garbage(&session);
  CHECK(sage_session_create(nullptr, nullptr, &session, nullptr) != SAGE_OK);
  CHECK(session == nullptr);
  sage_attention_plan* plan = nullptr;
  garbage(&plan);
  const sage_op empty{};
  CHECK(sage_attention_plan_create(engine.get(), &empty, nullptr, &plan, nullptr) != SAGE_OK);
  CHECK(plan == nullptr);
  sage_attention_context* context = nullptr;
  garbage(&context);
  CHECK(sage_attention_context_create(nullptr, &context, nullptr) != SAGE_OK);
  CHECK(context == nullptr);
}

TEST_CASE("struct_size: shorter is older, longer must be zero beyond what is known, garbage is refused") {
  const ApiEngine engine = MakeEngine({{"plugin_folders", "false"}});
  AttentionProblem problem(1, 1, 1, 2, 3, 4);
  // A copy of one struct of the request with another size and tail; the status of planning it.
  const auto plan_with = [&](const void* original, size_t known, uint32_t size, unsigned char tail, auto use) {
    Room room;
    std::memset(room.bytes, 0, sizeof room.bytes);
    std::memcpy(room.bytes, original, known);
    room.SetSize(size);
    if (size > known && size < sizeof room.bytes) room.bytes[size - 1] = tail;
    sage_op op = problem.op;
    ApiPlan plan;
    Error error;
    const sage_status status =
        sage_attention_plan_create(engine.get(), use(room.bytes, &op), nullptr, plan.out(), &error);
    CHECK((status == SAGE_OK) == (error.message[0] == '\0'));
    return status;
  };
  const auto check = [&](const char* what, const void* original, size_t known, auto use) {
    INFO(std::string(what));
    const auto at = [&](size_t size, unsigned char tail = 0) {
      return plan_with(original, known, static_cast<uint32_t>(size), tail, use);
    };
    CHECK(at(known) == SAGE_OK);
    for (const size_t longer : {known + 1, known + 8, size_t{2048}, size_t{4096}}) {
      CHECK(at(longer) == SAGE_OK);
      CHECK(at(longer, 1) == SAGE_E_UNKNOWN_FIELD);
    }
    for (const size_t garbage : {size_t{0}, size_t{1}, size_t{7}, size_t{4097}, size_t{UINT32_MAX}})
      CHECK(at(garbage) == SAGE_E_INVALID_ARGUMENT);
    // An older, shorter struct ends between two fields and means zeros after them: whatever that is, it is answered.
    for (size_t shorter = 8; shorter < known; shorter += 8) (void)at(shorter);
  };
  check("op", &problem.op, sizeof problem.op,
        [](unsigned char* bytes, sage_op*) { return reinterpret_cast<const sage_op*>(bytes); });
  check("attributes", &problem.attributes, sizeof problem.attributes, [](unsigned char* bytes, sage_op* op) {
    op->attributes = bytes;
    return static_cast<const sage_op*>(op);
  });
  std::array<const sage_tensor*, 4> slots = problem.slots;
  check("a tensor", &problem.tensors[1], sizeof(sage_tensor), [&](unsigned char* bytes, sage_op* op) {
    slots[1] = reinterpret_cast<const sage_tensor*>(bytes);
    op->slots = slots.data();
    return static_cast<const sage_op*>(op);
  });
  // The shortest attributes there are: a call without any wish.
  const uint64_t least[1] = {8};
  sage_op op = problem.op;
  op.attributes = least;
  ApiPlan plan;
  CHECK(sage_attention_plan_create(engine.get(), &op, nullptr, plan.out(), nullptr) == SAGE_OK);
}

TEST_CASE("options: an unknown key or value is refused where it is used, with the nearest known one") {
  const ApiEngine engine = MakeEngine({{"plugin_folders", "false"}});
  const ApiModel model = MakeModel(engine.get(), AttentionModel().Json());
  AttentionProblem problem(1, 1, 1, 2, 3, 4);
  const auto everywhere = [&](const std::string& key, const std::string& value, const char* word,
                              bool engine_too = true) {
    CAPTURE(key);
    const ApiOptions options(Settings{{key, value}});
    Error error;
    sage_engine* made = nullptr;
    if (engine_too) {
      CHECK(sage_engine_create(options.get(), &made, &error) == SAGE_E_INVALID_ARGUMENT);
      CHECK_MESSAGE(error.Says(word), error.message);
    }
    sage_session* session = nullptr;
    CHECK(sage_session_create(model.get(), options.get(), &session, &error) == SAGE_E_INVALID_ARGUMENT);
    CHECK_MESSAGE(error.Says(word), error.message);
    sage_attention_plan* plan = nullptr;
    CHECK(sage_attention_plan_create(engine.get(), &problem.op, options.get(), &plan, &error) ==
          SAGE_E_INVALID_ARGUMENT);
    CHECK_MESSAGE(error.Says(word), error.message);
  };
  everywhere("algoritm", "flash", "did you mean 'algorithm'?");
  everywhere("bakend", "cpu", "did you mean 'backend'?");
  everywhere("max_latency_sm", "1", "did you mean 'max_latency_ms'?");
  everywhere("", "1", "known are");
  everywhere("zzzzzzzz", "1", "known are");
  everywhere(std::string(100000, 'k'), "1", "unknown option");
  everywhere("\xff\xfe", "1", "unknown option");
  everywhere(".isa", "scalar", "<backend>.<key>");
  everywhere("cpu.", "scalar", "<backend>.<key>");
  everywhere("block_q", "-1", "whole number from 0 to 65536", false);
  everywhere("block_q", "65537", "whole number", false);
  everywhere("block_kv", "1e3", "whole number", false);
  everywhere("block_kv", "99999999999999999999999", "whole number", false);
  everywhere("use_simd", "maybe", "true or false", false);
  everywhere("accuracy", "exakt", "did you mean 'exact'?", false);
  everywhere("backend", "../cpu.so", "never a path", false);
  everywhere("backend_order", "cpu,,reference", "1 to 32", false);
  everywhere("verify", std::string(5000, 'v'), "one of", false);
  // A value is one line: it may not bring an option of its own to a backend.
  sage_engine* made = nullptr;
  Error error;
  CHECK(sage_engine_create(ApiOptions(Settings{{"cpu.isa", "auto\nthreads=9"}}).get(), &made, &error) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(error.Says("one line"), error.message);
  CHECK(sage_engine_create(ApiOptions(Settings{{"no_such_backend.key", "1"}}).get(), &made, &error) ==
        SAGE_E_NOT_FOUND);
  CHECK_MESSAGE(error.Says("no_such_backend"), error.message);
  for (const char* threads : {"0", "257", "-3", "two", "1.5", " 1", "1 ", "0x10"}) {
    CHECK(sage_engine_create(ApiOptions(Settings{{"threads", threads}}).get(), &made, &error) ==
          SAGE_E_INVALID_ARGUMENT);
    CHECK_MESSAGE(error.Says("1 to 256"), error.message);
  }
  CHECK(sage_engine_create(ApiOptions(Settings{{"plugins", "relative.so"}}).get(), &made, &error) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK(made == nullptr);
}

TEST_CASE("options are copied where they are used: later changes and destroying them change nothing") {
  sage_options* options = nullptr;
  REQUIRE(sage_options_create(&options, nullptr) == SAGE_OK);
  REQUIRE(sage_options_set(options, "backend", "reference", nullptr) == SAGE_OK);
  const ApiEngine engine = MakeEngine();
  AttentionProblem problem(1, 1, 1, 2, 3, 4);
  ApiPlan plan;
  REQUIRE(sage_attention_plan_create(engine.get(), &problem.op, options, plan.out(), nullptr) == SAGE_OK);
  REQUIRE(sage_options_set(options, "backend", "nonsense", nullptr) == SAGE_OK);
  sage_options_destroy(options);
  CHECK(sage_attention_plan_backend(plan.get()) == std::string("reference"));
  problem.Run(plan.get());
}

TEST_CASE("attention: absurd numbers are refused with a sentence, before anything is read or allocated") {
  const ApiEngine engine = MakeEngine();
  struct Case {
    const char* what;
    std::function<void(AttentionProblem&)> spoil;
  };
  const std::vector<Case> cases = {
      {"rank 0", [](AttentionProblem& p) { p.tensors[0].rank = 0; }},
      {"rank 9", [](AttentionProblem& p) { p.tensors[1].rank = 9; }},
      {"rank 2^32-1", [](AttentionProblem& p) { p.tensors[2].rank = UINT32_MAX; }},
      {"a negative length", [](AttentionProblem& p) { p.tensors[0].shape[2] = -1; }},
      {"lengths whose product overflows",
       [](AttentionProblem& p) {
         for (sage_tensor& t : p.tensors) t.shape[0] = t.shape[2] = int64_t{1} << 40;
       }},
      {"the largest lengths",
       [](AttentionProblem& p) {
         for (sage_tensor& t : p.tensors) t.shape[0] = t.shape[1] = t.shape[2] = t.shape[3] = kHuge;
       }},
      {"a stride beyond the address space", [](AttentionProblem& p) { p.tensors[1].stride[2] = kHuge; }},
      {"the lowest stride", [](AttentionProblem& p) { p.tensors[1].stride[1] = INT64_MIN; }},
      {"an output that repeats", [](AttentionProblem& p) { p.tensors[3].stride[2] = 0; }},
      {"dtype 0", [](AttentionProblem& p) { p.tensors[0].dtype = 0; }},
      {"an unknown dtype", [](AttentionProblem& p) { p.tensors[0].dtype = 0xFFFFFFFF; }},
      {"two lanes", [](AttentionProblem& p) { p.tensors[0].dtype = 0x00022002; }},
      {"an unknown device",
       [](AttentionProblem& p) {
         for (auto& t : p.tensors) t.device_type = 99;
       }},
      {"a negative device",
       [](AttentionProblem& p) {
         for (auto& t : p.tensors) t.device_type = -1;
       }},
      {"unknown flags", [](AttentionProblem& p) { p.tensors[0].flags = 0x80000000; }},
      {"heads that do not divide", [](AttentionProblem& p) { p.tensors[1].shape[1] = p.tensors[2].shape[1] = 3; }},
      {"other keys than values", [](AttentionProblem& p) { p.tensors[2].shape[2] += 1; }},
      {"an unknown kind", [](AttentionProblem& p) { p.op.kind = 63; }},
      {"kind 2^32-1", [](AttentionProblem& p) { p.op.kind = UINT32_MAX; }},
      {"no slots", [](AttentionProblem& p) { p.op.slots = nullptr; }},
      {"an absent K", [](AttentionProblem& p) { p.slots[1] = nullptr; }},
      {"no slot counted", [](AttentionProblem& p) { p.op.num_slots = 0; }},
      {"2^32-1 slots", [](AttentionProblem& p) { p.op.num_slots = UINT32_MAX; }},
      {"an unknown requirement", [](AttentionProblem& p) { p.op.requirements = 0x80000000; }},
      {"an unknown accuracy", [](AttentionProblem& p) { p.op.accuracy = 77; }},
      {"an unknown axis", [](AttentionProblem& p) { p.op.dynamic_axes = 0x80000000; }},
      {"an alias of an input", [](AttentionProblem& p) { p.op.aliases = 1; }},
      {"an alias of a slot from the future", [](AttentionProblem& p) { p.op.aliases = 1ull << 63; }},
      {"a feature bit from the future", [](AttentionProblem& p) { p.attributes.features = 1ull << 60; }},
      {"causal without alignment", [](AttentionProblem& p) { p.attributes.features = SAGE_ATTN_F_CAUSAL; }},
      {"alignment 3",
       [](AttentionProblem& p) {
         p.attributes.features = SAGE_ATTN_F_CAUSAL;
         p.attributes.alignment = 3;
       }},
      {"a NaN scale",
       [](AttentionProblem& p) {
         p.attributes.features = SAGE_ATTN_F_SCALE;
         p.attributes.scale = std::nan("");
       }},
      {"an infinite softcap", [](AttentionProblem& p) { p.attributes.softcap = HUGE_VAL; }},
      {"a negative softcap", [](AttentionProblem& p) { p.attributes.softcap = -1; }},
      {"dropout of 1", [](AttentionProblem& p) { p.attributes.dropout_p = 1; }},
      {"a NaN dropout", [](AttentionProblem& p) { p.attributes.dropout_p = std::nan(""); }},
      {"a window to the left of nothing",
       [](AttentionProblem& p) {
         p.attributes.features = SAGE_ATTN_F_WINDOW_LEFT;
         p.attributes.alignment = SAGE_ALIGN_TOP_LEFT;
         p.attributes.window_left = -1;
       }},
      {"a window without its bit", [](AttentionProblem& p) { p.attributes.window_left = 5; }},
      {"algorithm 9", [](AttentionProblem& p) { p.attributes.algorithm = 9; }},
      {"a granularity without scales", [](AttentionProblem& p) { p.attributes.granularity_q = SAGE_PER_HEAD; }},
      {"reserved bits", [](AttentionProblem& p) { p.attributes.reserved = 1; }},
  };
  for (const Case& one : cases) {
    INFO(std::string(one.what));
    AttentionProblem problem(1, 2, 2, 4, 6, 8);
    one.spoil(problem);
    ApiPlan plan;
    Error error;
    const sage_status status = sage_attention_plan_create(engine.get(), &problem.op, nullptr, plan.out(), &error);
    CHECK(status != SAGE_OK);
    CHECK(status != SAGE_E_INTERNAL);
    CHECK(error.status == status);
    CHECK(std::strlen(error.message) > 10);
    CHECK(plan.get() == nullptr);
    // features answers the same descriptions, or tells the bits; it never dies of them.
    uint64_t features = 0;
    (void)sage_attention_features(&problem.op, &features, &error);
  }
  // Tile sizes are wishes; a tile larger than anything is the whole.
  AttentionProblem problem(1, 2, 2, 4, 6, 8);
  problem.attributes.block_q = problem.attributes.block_kv = UINT32_MAX;
  ApiPlan plan;
  Error error;
  const sage_status status = sage_attention_plan_create(engine.get(), &problem.op, nullptr, plan.out(), &error);
  if (status == SAGE_OK)
    problem.Run(plan.get());
  else
    CHECK(std::strlen(error.message) > 10);
}

TEST_CASE("the flat call: every number at its worst is a status, never a read") {
  const ApiEngine engine = MakeEngine();
  float value[8] = {1, 2, 3, 4, 5, 6, 7, 8}, out[8];
  const auto call = [&](std::array<int64_t, 7> n, uint32_t layout = 0, uint32_t causal = 0, double scale = 0,
                        sage_dtype dtype = SAGE_F32) {
    Error error;
    const sage_status status = sage_attention(engine.get(), dtype, layout, n[0], n[1], n[2], n[3], n[4], n[5], n[6],
                                              value, value, value, out, causal, scale, &error);
    CHECK((status == SAGE_OK) == (error.message[0] == '\0'));
    CHECK(status != SAGE_E_INTERNAL);
    return status;
  };
  for (size_t which = 0; which < 7; ++which)
    for (const int64_t bad : {int64_t{-1}, INT64_MIN, kHuge, int64_t{1} << 62}) {
      std::array<int64_t, 7> n = {1, 1, 1, 1, 1, 1, 1};
      n[which] = bad;
      CAPTURE(which);
      CAPTURE(bad);
      CHECK(call(n) != SAGE_OK);
    }
  CHECK(call({kHuge, kHuge, kHuge, kHuge, kHuge, kHuge, kHuge}) != SAGE_OK);
  CHECK(call({1, 1, 0, 1, 1, 1, 1}) != SAGE_OK);  // no head of keys for a head of queries
  CHECK(call({1, 1, 1, 1, 1, 1, 1}, 2) == SAGE_E_INVALID_ARGUMENT);
  CHECK(call({1, 1, 1, 1, 1, 1, 1}, UINT32_MAX) == SAGE_E_INVALID_ARGUMENT);
  CHECK(call({1, 1, 1, 1, 1, 1, 1}, 0, 3) == SAGE_E_INVALID_ARGUMENT);
  CHECK(call({1, 1, 1, 1, 1, 1, 1}, 0, 0, HUGE_VAL) == SAGE_E_INVALID_ARGUMENT);
  for (const sage_dtype dtype : {0u, 1u, SAGE_BOOL, SAGE_I64, 0xFFFFFFFFu})
    CHECK(call({1, 1, 1, 1, 1, 1, 1}, 0, 0, 0, dtype) != SAGE_OK);
  CHECK(call({1, 1, 1, 1, 1, 1, 1}) == SAGE_OK);
}

TEST_CASE("a lent allocator that fails, lies about alignment, or a lent parallel_for of too many: typed errors") {
  AttentionProblem problem(1, 2, 2, 300, 300, 64);
  struct Lender {
    int64_t left = 0;
    bool crooked = false;
    int64_t live = 0;
    static void* Alloc(void* user, uint64_t bytes, uint64_t align) {
      auto* self = static_cast<Lender*>(user);
      if (self->left-- <= 0) return nullptr;
      auto* memory = static_cast<unsigned char*>(std::aligned_alloc(4096, (bytes + align + 8191) / 4096 * 4096));
      ++self->live;
      return memory + (self->crooked ? 1 : 0);
    }
    static void Free(void* user, void* memory, uint64_t) {
      auto* self = static_cast<Lender*>(user);
      --self->live;
      std::free(static_cast<unsigned char*>(memory) - (self->crooked ? 1 : 0));
    }
  };
  for (const bool crooked : {false, true})
    for (int64_t granted = 0; granted < 40; ++granted) {
      Lender lender{granted, crooked, 0};
      ApiOptions options(Settings{{"plugin_environment", "false"}});
      REQUIRE(sage_options_set_allocator(options.get(), Lender::Alloc, Lender::Free, &lender, nullptr) == SAGE_OK);
      {
        sage_engine* engine = nullptr;
        sage_attention_plan* plan = nullptr;
        sage_attention_context* context = nullptr;
        Error error;
        sage_status status = sage_engine_create(options.get(), &engine, &error);
        if (status == SAGE_OK) status = sage_attention_plan_create(engine, &problem.op, nullptr, &plan, &error);
        if (status == SAGE_OK) status = sage_attention_context_create(plan, &context, &error);
        if (status == SAGE_OK) status = sage_attention_run(context, problem.slots.data(), 4, nullptr, &error);
        CHECK(status != SAGE_E_INTERNAL);
        if (status != SAGE_OK) CHECK(std::strlen(error.message) > 10);
        if (crooked) CHECK(status != SAGE_OK);
        sage_attention_context_destroy(context);
        sage_attention_plan_destroy(plan);
        sage_engine_destroy(engine);
      }
      CHECK(lender.live == 0);
    }
  ApiOptions options;
  const sage_parallel_for_fn fn = [](void*, uint64_t n, uint64_t, sage_task_fn task, void* ctx) { task(ctx, 0, n, 0); };
  for (const uint32_t workers : {0u, 257u, UINT32_MAX})
    CHECK(sage_options_set_parallel_for(options.get(), fn, workers, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
}

TEST_CASE("load_plugin: relative, missing, a folder, no library, twice: each a status, the engine goes on") {
  const ApiEngine engine = MakeEngine({{"plugin_folders", "false"}, {"plugin_environment", "false"}});
  Error error;
  const auto load = [&](const char* path) { return sage_engine_load_plugin(engine.get(), path, &error); };
  CHECK(load("") == SAGE_E_INVALID_ARGUMENT);
  CHECK(load("libsage_cpu.so") == SAGE_E_INVALID_ARGUMENT);
  CHECK(load("/nowhere/libx.so") == SAGE_E_NOT_FOUND);
  CHECK(load("/tmp") != SAGE_OK);
  CHECK(load("/dev/null") != SAGE_OK);
  CHECK(load("/etc/passwd") != SAGE_OK);
  CHECK(load(("/" + std::string(5000, 'p')).c_str()) != SAGE_OK);
  CHECK(sage_engine_backend_count(engine.get()) == 1);
  const json described = json::parse(TextOf(sage_engine_describe, engine.get()));
  CHECK(described.is_object());
  AttentionProblem problem(1, 1, 1, 2, 3, 4);
  problem.Run(problem.Plan(engine.get()).get());
}
