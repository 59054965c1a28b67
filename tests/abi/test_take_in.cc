// The struct_size rule: shorter is zero-extended, longer passes with a zero tail only, garbage is refused unscanned,
// and out-structs are written to the caller's size and not past it.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "sage/support/check_op.h"
#include "sage/support/op_view.h"
#include "sage/support/refuse.h"
#include "sage/support/take_in.h"

namespace {

// The same address, of which the compiler no longer knows how much lies behind it: it would warn about sizes that the
// rule, which it does not know either, keeps apart.
template <class T>
T* Opaque(T* pointer) {
  asm volatile("" : "+r"(pointer));
  return pointer;
}

std::vector<unsigned char> Bytes(uint32_t size, unsigned char fill) {
  std::vector<unsigned char> bytes(std::max<uint32_t>(size, 8), fill);
  std::memcpy(bytes.data(), &size, sizeof size);
  return bytes;
}

TEST_CASE("take_in: a shorter struct is zero-extended, at any alignment") {
  std::vector<unsigned char> theirs(17, 0x11);
  const uint32_t size = 16;
  std::memcpy(theirs.data() + 1, &size, 4);
  sage_norm_attributes mine;
  std::memset(&mine, 0xFF, sizeof mine);
  REQUIRE(sage_take_in(&mine, sizeof mine, Opaque(theirs.data() + 1)) == SAGE_OK);
  CHECK(mine.struct_size == sizeof mine);
  CHECK(mine.mode == 0x11111111u);
  CHECK(mine.axis == 0x11111111);
  CHECK(mine.reserved == 0x11111111u);
  CHECK(mine.epsilon == 0);
}

TEST_CASE("take_in: a longer struct passes with a zero tail, and is an unknown field otherwise, whichever byte it is") {
  for (uint32_t extra : {1u, 8u, 100u}) {
    auto theirs = Bytes(sizeof(sage_op) + extra, 0);
    sage_op mine;
    CHECK(sage_take_in(&mine, sizeof mine, theirs.data()) == SAGE_OK);
    CHECK(mine.struct_size == sizeof mine);
    for (uint32_t i = 0; i < extra; ++i) {
      auto tampered = theirs;
      tampered[sizeof(sage_op) + i] = 1;
      CHECK(sage_take_in(&mine, sizeof mine, tampered.data()) == SAGE_E_UNKNOWN_FIELD);
    }
  }
}

TEST_CASE("take_in: a size that cuts a field is refused: half a pointer is an address") {
  for (uint32_t size = 8; size < sizeof(sage_tensor); ++size) {
    const auto theirs = Bytes(size, 0x11);
    sage_tensor mine;
    CHECK(sage_take_in(&mine, sizeof mine, Opaque(theirs.data())) ==
          (size % 8 == 0 ? SAGE_OK : SAGE_E_INVALID_ARGUMENT));
    if (size % 8 == 0) CHECK(mine.data == nullptr);
  }
}

TEST_CASE("take_in: null and garbage sizes are refused") {
  sage_op mine;
  CHECK(sage_take_in(&mine, sizeof mine, nullptr) == SAGE_E_INVALID_ARGUMENT);
  for (uint32_t size : {0u, 1u, 7u, 4097u, 5000u, 0xFFFFFFFFu}) {
    uint32_t theirs[2] = {size, 0};
    CHECK(sage_take_in(&mine, sizeof mine, Opaque(&theirs[0])) == SAGE_E_INVALID_ARGUMENT);
  }
}

TEST_CASE("give_out: written to the caller's size, the rest untouched, a longer caller gets zeros") {
  sage_answer mine{};
  mine.struct_size = sizeof mine;
  std::memset(mine.reason, 'r', sizeof mine.reason);
  for (uint32_t size : {8u, 16u, 41u, static_cast<uint32_t>(sizeof mine), static_cast<uint32_t>(sizeof mine) + 40}) {
    std::vector<unsigned char> theirs(sizeof mine + 128, 0x5C);
    std::memcpy(theirs.data(), &size, 4);
    sage_give_out(theirs.data(), &mine, sizeof mine);
    uint32_t kept = 0;
    std::memcpy(&kept, theirs.data(), 4);
    CHECK(kept == size);
    for (size_t i = size; i < theirs.size(); ++i) REQUIRE(theirs[i] == 0x5C);
    for (size_t i = 4; i < std::min<size_t>(size, sizeof mine); ++i)
      REQUIRE(theirs[i] == reinterpret_cast<const unsigned char*>(&mine)[i]);
    for (size_t i = sizeof mine; i < size; ++i) REQUIRE(theirs[i] == 0);
  }
  for (uint32_t size : {0u, 7u, 5000u}) {
    unsigned char theirs[64];
    std::memset(theirs, 0x5C, sizeof theirs);
    std::memcpy(theirs, &size, 4);
    sage_give_out(Opaque(&theirs[0]), &mine, sizeof mine);
    for (size_t i = 4; i < sizeof theirs; ++i) REQUIRE(theirs[i] == 0x5C);
  }
  sage_give_out(nullptr, &mine, sizeof mine);
}

TEST_CASE("errors and refusals are cut to fit and end in NUL; a success clears") {
  sage_error error{};
  error.struct_size = sizeof error;
  const std::string text(2000, 'x');
  CHECK(sage_fail(Opaque(&error), SAGE_E_IO, "%s", text.c_str()) == SAGE_E_IO);
  CHECK(error.status == SAGE_E_IO);
  CHECK(std::strlen(error.message) == sizeof error.message - 1);
  CHECK(sage_succeed(Opaque(&error)) == SAGE_OK);
  CHECK(error.status == SAGE_OK);
  CHECK(error.message[0] == '\0');
  CHECK(sage_fail(nullptr, SAGE_E_IO, "no slot") == SAGE_E_IO);
  sage_answer answer;
  sage_refuse(&answer, 5, "%s", text.c_str());
  CHECK(answer.verdict == SAGE_NO);
  CHECK(answer.blocking == 5);
  CHECK(std::strlen(answer.reason) == sizeof answer.reason - 1);
  sage_accept(&answer, 12.5, SAGE_COST_MODEL, SAGE_ACCURACY_NATIVE, 640, "%s", text.c_str());
  CHECK(answer.struct_size == sizeof answer);
  CHECK(answer.verdict == SAGE_YES);
  CHECK(answer.blocking == 0);
  CHECK(answer.cost_ns == 12.5);
  CHECK(answer.cost_source == SAGE_COST_MODEL);
  CHECK(answer.accuracy == SAGE_ACCURACY_NATIVE);
  CHECK(answer.workspace_bytes == 640);
  CHECK(std::strlen(answer.reason) == sizeof answer.reason - 1);
}

struct Unary {
  sage_tensor x{}, y{};
  const sage_tensor* slots[4] = {&x, &y, nullptr, nullptr};
  sage_unary_attributes attributes{sizeof attributes, SAGE_FN_RELU, 0};
  sage_op op{};
  Unary() {
    const int64_t shape[] = {2, 3};
    sage_tensor_init(&x, SAGE_F32, 2, shape, nullptr);
    sage_tensor_init(&y, SAGE_F32, 2, shape, nullptr);
    op.struct_size = sizeof op;
    op.kind = SAGE_OP_UNARY;
    op.num_slots = 2;
    op.attributes = &attributes;
    op.slots = slots;
  }
  sage_status TakeIn() {
    sage::support::OpView view;
    std::string why;
    const sage_status status = sage::support::TakeInOp(&op, &view, &why);
    CHECK((status == SAGE_OK) == why.empty());
    return status;
  }
};

TEST_CASE("TakeInOp: a view owns copies; absent attributes are zero; device 0 means CPU") {
  Unary unary;
  unary.x.device_type = 0;
  unary.op.attributes = nullptr;
  sage::support::OpView view;
  std::string why;
  REQUIRE(sage::support::TakeInOp(&unary.op, &view, &why) == SAGE_OK);
  CHECK(view.Slot(0).device_type == SAGE_CPU);
  CHECK(view.attributes.unary.struct_size == sizeof(sage_unary_attributes));
  CHECK(view.attributes.unary.function == 0);
  CHECK(view.op.slots == view.pointers.data());
  CHECK(view.pointers[0] != &unary.x);
}

TEST_CASE("TakeInOp: what is newer than this build is an unknown field, wherever it is") {
  const auto expect = [](auto&& change, sage_status status) {
    Unary unary;
    change(unary);
    CHECK(unary.TakeIn() == status);
  };
  expect([](Unary& u) { u.op.kind = 60; }, SAGE_E_UNKNOWN_FIELD);
  expect([](Unary& u) { u.op.requirements = 1u << 30; }, SAGE_E_UNKNOWN_FIELD);
  expect([](Unary& u) { u.op.accuracy = 4; }, SAGE_E_UNKNOWN_FIELD);
  expect([](Unary& u) { u.op.dynamic_axes = 1u << 10; }, SAGE_E_UNKNOWN_FIELD);
  expect([](Unary& u) { u.x.flags = 4; }, SAGE_E_UNKNOWN_FIELD);
  expect([](Unary& u) { u.slots[3] = &u.x, u.op.num_slots = 4; }, SAGE_E_UNKNOWN_FIELD);
  expect([](Unary& u) { u.op.num_slots = 4; }, SAGE_OK);
  expect([](Unary& u) { u.op.kind = 0; }, SAGE_E_INVALID_ARGUMENT);
  expect([](Unary& u) { u.op.slots = nullptr; }, SAGE_E_INVALID_ARGUMENT);
  expect([](Unary& u) { u.op.num_slots = 100000; }, SAGE_E_INVALID_ARGUMENT);
  expect([](Unary& u) { u.x.struct_size = 0; }, SAGE_E_INVALID_ARGUMENT);
  expect([](Unary& u) { u.attributes.struct_size = 5000; }, SAGE_E_INVALID_ARGUMENT);
  expect([](Unary& u) { u.op.struct_size = 7; }, SAGE_E_INVALID_ARGUMENT);
}

// The struct of a kind with its reserved field set, if it has one, and the rest zero.
template <class Struct>
sage_status TakeInReserved(uint32_t kind, bool* has) {
  Struct attributes{};
  attributes.struct_size = sizeof attributes;
  CHECK(sage::support::AttributesSize(kind) == sizeof attributes);
  *has = requires { attributes.reserved; };
  if constexpr (requires { attributes.reserved; }) attributes.reserved = 1;
  sage_op op{};
  op.struct_size = sizeof op;
  op.kind = kind;
  op.attributes = &attributes;
  sage::support::OpView view;
  std::string why;
  const sage_status status = sage::support::TakeInOp(&op, &view, &why);
  if (*has) CHECK(why == "the attributes of " + std::string(sage::support::KindName(kind)) + " set a reserved field");
  return status;
}

TEST_CASE("TakeInOp: every kind's attributes have their size, and a reserved field that is set is an unknown field") {
  int reserved = 0;
  const auto check = [&reserved](auto take_in, uint32_t kind) {
    bool has = false;
    const sage_status status = take_in(kind, &has);
    CHECK(status == (has ? SAGE_E_UNKNOWN_FIELD : SAGE_OK));
    reserved += has ? 1 : 0;
  };
  check(TakeInReserved<sage_attention_attributes>, SAGE_OP_ATTENTION);
  check(TakeInReserved<sage_linear_attributes>, SAGE_OP_LINEAR);
  check(TakeInReserved<sage_norm_attributes>, SAGE_OP_NORM);
  check(TakeInReserved<sage_unary_attributes>, SAGE_OP_UNARY);
  check(TakeInReserved<sage_binary_attributes>, SAGE_OP_BINARY);
  check(TakeInReserved<sage_softmax_attributes>, SAGE_OP_SOFTMAX);
  check(TakeInReserved<sage_reduce_attributes>, SAGE_OP_REDUCE);
  check(TakeInReserved<sage_gather_attributes>, SAGE_OP_GATHER);
  check(TakeInReserved<sage_concat_attributes>, SAGE_OP_CONCAT);
  check(TakeInReserved<sage_slice_attributes>, SAGE_OP_SLICE);
  check(TakeInReserved<sage_permute_attributes>, SAGE_OP_PERMUTE);
  check(TakeInReserved<sage_topk_attributes>, SAGE_OP_TOPK);
  check(TakeInReserved<sage_rope_attributes>, SAGE_OP_ROPE);
  check(TakeInReserved<sage_pool_attributes>, SAGE_OP_POOL);
  CHECK(reserved == 7);
  CHECK(sage::support::AttributesSize(SAGE_OP_MATMUL) == 0);
  CHECK(sage::support::AttributesSize(SAGE_OP_POOL + 1) == 0);
}

}  // namespace
