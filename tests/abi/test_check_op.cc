// The wall that keeps bad ops out of every backend: for each rule one op that just breaks it, refused with a sentence
// that names the culprit.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>

#include "plan/problem.h"
#include "sage/support/check_op.h"

namespace {

using sage::Problem;

sage_status Check(const sage_op& op, std::string* why) {
  sage::support::OpView view;
  const sage_status status = sage::support::TakeInOp(&op, &view, why);
  return status != SAGE_OK ? status : sage::support::CheckOp(view, why);
}

std::unique_ptr<Problem> Parse(const char* line) {
  auto problem = sage::ParseProblem(line);
  REQUIRE_MESSAGE(problem.ok(), problem.status().message());
  return std::move(*problem);
}

using Change = std::function<void(Problem&)>;

// The line is legal; after the change it is refused with `status`, and the sentence holds `word`.
void Refused(const char* line, const char* word, const Change& change, sage_status status = SAGE_E_INVALID_ARGUMENT) {
  const auto problem = Parse(line);
  change(*problem);
  std::string why;
  const sage_status got = Check(problem->op, &why);
  CAPTURE(line);
  CAPTURE(why);
  CHECK(got == status);
  CHECK(why.find(word) != std::string::npos);
}

void Drop(Problem& p, uint32_t slot) { p.pointers[slot] = nullptr; }
void Put(Problem& p, uint32_t slot, sage_dtype dtype, std::initializer_list<int64_t> shape) {
  sage_tensor_init(&p.tensors[slot], dtype, static_cast<uint32_t>(shape.size()), shape.begin(), nullptr);
  p.pointers[slot] = &p.tensors[slot];
}

constexpr const char* kPlain = "b2.hq4.hkv2.sq3.skv5.d8.f32";
constexpr const char* kVarlen = "b2.hq4.hkv2.sq3.skv5.d8.f32:varlen";
constexpr const char* kPaged = "b2.hq4.hkv2.sq3.skv8.d8.f32:kvlens,page=4";

TEST_CASE("tensors: rank, lengths, strides, dtype and device") {
  Refused(kPlain, "rank", [](Problem& p) { p.tensors[0].rank = 9; });
  Refused(kPlain, "length -1", [](Problem& p) { p.tensors[0].shape[0] = -1; });
  Refused(kPlain, "no dtype", [](Problem& p) { p.tensors[0].dtype = 0; });
  Refused(
      kPlain, "dtype 0x12345", [](Problem& p) { p.tensors[0].dtype = 0x12345; }, SAGE_E_UNKNOWN_FIELD);
  Refused(kPlain, "device", [](Problem& p) { p.tensors[0].device_type = -1; });
  for (const int64_t stride : {INT64_MAX, INT64_MIN, INT64_MIN + 1, int64_t{1} << 60})
    for (uint32_t axis = 0; axis < 4; ++axis)
      Refused(kPlain, "Q", [&](Problem& p) { p.tensors[0].stride[axis] = stride; });
  for (const int64_t length : {INT64_MAX, int64_t{1} << 57, int64_t{1} << 62})
    for (uint32_t axis = 0; axis < 4; ++axis)
      Refused(kPlain, "", [&](Problem& p) { p.tensors[0].shape[axis] = length, p.tensors[0].stride[axis] = 0; });
  // Each stride is possible, the steps along it or all of them together are not.
  Refused(kPlain, "reaches further", [](Problem& p) { p.tensors[0].stride[1] = int64_t{1} << 53; });
  Refused(kPlain, "reaches further", [](Problem& p) {
    for (uint32_t axis = 0; axis < 4; ++axis) p.tensors[0].stride[axis] = int64_t{1} << 50;
    p.tensors[0].stride[0] = int64_t{1} << 53;
  });
  // Many lengths that only overflow together, one of them zero.
  Refused("unary X=f32[2,2,2,2] Y=f32[2,2,2,2]:fn=relu", "elements", [](Problem& p) {
    for (sage_tensor& t : p.tensors) t.shape[0] = 0, t.shape[1] = t.shape[2] = t.shape[3] = int64_t{1} << 30;
  });
  Refused(kPlain, "repeat", [](Problem& p) { p.tensors[SAGE_ATTN_O].stride[2] = 0; });
  Refused(kPlain, "constant", [](Problem& p) { p.tensors[SAGE_ATTN_O].flags = SAGE_TENSOR_CONSTANT; });
  Refused(kPlain, "CPU memory",
          [](Problem& p) { p.tensors[0].flags = SAGE_TENSOR_CONSTANT, p.tensors[0].device_type = 2; });
  Refused(kPlain, "dynamic", [](Problem& p) { p.op.dynamic_axes = SAGE_AXIS_M; });
  Refused(kPlain, "aliases", [](Problem& p) { p.op.aliases = 1; });
}

TEST_CASE("what is odd but legal passes") {
  std::string why;
  for (const char* line :
       {"b0.hq4.sq3.d8.f32", "b2.hq4.sq0.skv0.d8.f32", "b2.hq4.sq3.skv0.d8.f32:causal=br", "b1.hq1.sq1.d1.f32:scale=0",
        "b2.hq4.hkv2.hv1.sq3.skv5.d8.dv0.f32", "b2.hq4.sq3.d8.i8", "b2.hq4.sq3.d8.i8:o=f32,scale_q=token,scale_k=head",
        "b2.hq4.hkv2.sq3.skv8.d8.f32:varlen,kvlens,page=4", "b2.hq4.hkv2.sq3.skv8.d8.f32:varlen,page=4,append",
        "b2.hq4.hkv2.sq3.skv9.d8.f32:varlen,append", "linear X=f32[0,4] W=f32[2,4] Y=f32[0,2]",
        "linear X=f32[3,0] W=f32[2,0] Y=f32[3,2]"}) {
    const auto problem = Parse(line);
    CAPTURE(why);
    CHECK(Check(problem->op, &why) == SAGE_OK);
  }
  // An output of length 1 may have any stride, inputs may repeat or walk back.
  const auto problem = Parse("b1.hq4.sq3.d8.f32");
  problem->tensors[SAGE_ATTN_O].stride[0] = 0;
  problem->tensors[SAGE_ATTN_K].stride[1] = 0;
  problem->tensors[SAGE_ATTN_V].stride[2] = -8;
  CHECK(Check(problem->op, &why) == SAGE_OK);
}

TEST_CASE("attention: shapes and dtypes must agree") {
  for (uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O}) {
    Refused(kPlain, "needs", [&](Problem& p) { Drop(p, slot); });
    Refused(kPlain, "", [&](Problem& p) { p.tensors[slot].rank = 3; });
    for (uint32_t axis = 0; axis < 4; ++axis)
      if (slot != SAGE_ATTN_Q && !(slot == SAGE_ATTN_V && (axis == 1 || axis == 3)) &&
          !(slot == SAGE_ATTN_K && axis == 1))
        Refused(kPlain, "shape", [&](Problem& p) { p.tensors[slot].shape[axis] += 1; });
  }
  Refused(kPlain, "multiple", [](Problem& p) { Put(p, SAGE_ATTN_K, SAGE_F32, {2, 3, 5, 8}); });
  Refused(kPlain, "head", [](Problem& p) { Put(p, SAGE_ATTN_K, SAGE_F32, {2, 0, 5, 8}); });
  Refused(kPlain, "head dimension", [](Problem& p) {
    Put(p, SAGE_ATTN_Q, SAGE_F32, {2, 4, 3, 0}), Put(p, SAGE_ATTN_K, SAGE_F32, {2, 2, 5, 0});
  });
  Refused(kPlain, "V is f16", [](Problem& p) { p.tensors[SAGE_ATTN_V].dtype = SAGE_F16; });
  Refused(kPlain, "O is f16", [](Problem& p) { p.tensors[SAGE_ATTN_O].dtype = SAGE_F16; });
  Refused(kPlain, "f64", [](Problem& p) { p.tensors[1].dtype = p.tensors[2].dtype = SAGE_F64; });
  Refused(kPlain, "i64", [](Problem& p) { p.tensors[0].dtype = SAGE_I64; });
  Refused(kPlain, "2^62", [](Problem& p) {  // broadcasts reach nowhere, but the scores cannot be counted
    Put(p, SAGE_ATTN_Q, SAGE_F32, {1, 4, int64_t{1} << 40, 8}),
        Put(p, SAGE_ATTN_O, SAGE_F32, {1, 4, int64_t{1} << 40, 8});
    for (uint32_t slot : {1u, 2u}) Put(p, slot, SAGE_F32, {1, 2, int64_t{1} << 40, 8});
  });
}

TEST_CASE("attention: numbers in range and with their bits") {
  const auto a = [](auto&& change) { return [change](Problem& p) { change(p.attributes.attention); }; };
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  Refused(kPlain, "scale", a([=](auto& x) { x.scale = nan, x.features |= SAGE_ATTN_F_SCALE; }));
  Refused(kPlain, "scale", a([=](auto& x) { x.scale = inf, x.features |= SAGE_ATTN_F_SCALE; }));
  Refused(kPlain, "SCALE", a([](auto& x) { x.scale = 0.5; }));
  Refused(kPlain, "softcap", a([](auto& x) { x.softcap = -1; }));
  Refused(kPlain, "softcap", a([=](auto& x) { x.softcap = nan; }));
  Refused(kPlain, "dropout_p", a([](auto& x) { x.dropout_p = 1; }));
  Refused(kPlain, "dropout_p", a([=](auto& x) { x.dropout_p = nan; }));
  Refused(kPlain, "PHILOX", a([](auto& x) { x.dropout_p = 0.5; }));
  Refused(kPlain, "window", a([](auto& x) { x.window_left = -1; }));
  Refused(kPlain, "window_left", a([](auto& x) { x.window_left = 3; }));
  Refused(kPlain, "window_right", a([](auto& x) { x.window_right = 3; }));
  Refused(kPlain, "alignment", a([](auto& x) { x.features |= SAGE_ATTN_F_CAUSAL; }));
  Refused(kPlain, "alignment", [](Problem& p) { Put(p, SAGE_ATTN_ALIBI, SAGE_F32, {4}); });
  Refused(kPlain, "alignment 3", a([](auto& x) { x.alignment = 3; }), SAGE_E_UNKNOWN_FIELD);
  Refused(kPlain, "algorithm 3", a([](auto& x) { x.algorithm = 3; }), SAGE_E_UNKNOWN_FIELD);
  Refused(kPlain, "block_q", a([](auto& x) { x.block_q = 1u << 20; }));
  Refused(kPlain, "max_seq", a([](auto& x) { x.max_seq_q = 3; }));
  Refused(kVarlen, "max_seq", a([](auto& x) { x.max_seq_kv = -3; }));
  Refused(kPlain, "mask_block", a([](auto& x) { x.mask_block_q = 4; }));
  Refused(kPlain, "scale_block", a([](auto& x) { x.scale_block = 4; }));
  Refused(kPlain, "reserved", a([](auto& x) { x.reserved = 4; }), SAGE_E_UNKNOWN_FIELD);
  Refused(kPlain, "newer", a([](auto& x) { x.features |= 1ull << 40; }), SAGE_E_UNKNOWN_FIELD);
  Refused(kPlain, "feature bits", a([](auto& x) { x.features |= SAGE_ATTN_F_SINKS; }));
  Refused("b2.hq4.sq3.d8.f32:causal=tl", "feature bits", a([](auto& x) { x.features |= SAGE_ATTN_F_BOTTOM_RIGHT; }));
}

TEST_CASE("attention: masks, lengths, pages, appends and scales") {
  Refused("b2.hq4.sq3.skv5.d8.f32:bias=bhqk", "BIAS", [](Problem& p) { p.tensors[SAGE_ATTN_BIAS].dtype = SAGE_F64; });
  Refused("b2.hq4.sq3.skv5.d8.f32:bias=bhqk", "BIAS", [](Problem& p) { p.tensors[SAGE_ATTN_BIAS].shape[1] = 1; });
  Refused("b2.hq4.sq3.skv5.d8.f32:mask=bhqk", "MASK", [](Problem& p) { p.tensors[SAGE_ATTN_MASK].dtype = SAGE_U8; });
  Refused("b2.hq4.sq3.skv9.d8.f32:bitmask=bhqk", "BIT_MASK",
          [](Problem& p) { p.tensors[SAGE_ATTN_BIT_MASK].shape[3] = 1; });
  Refused("b2.hq4.sq3.skv9.d8.f32:blockmask=2x4/bh", "BLOCK_MASK",
          [](Problem& p) { p.tensors[SAGE_ATTN_BLOCK_MASK].shape[3] = 2; });
  Refused("b2.hq4.sq3.skv9.d8.f32:blockmask=2x4/bh", "mask_block",
          [](Problem& p) { p.attributes.attention.mask_block_kv = 0; });
  Refused("b2.hq4.sq3.skv9.d8.f32:csr=2x4/bh", "together", [](Problem& p) { Drop(p, SAGE_ATTN_CSR_INDICES); });
  Refused("b2.hq4.sq3.skv9.d8.f32:csr=2x4/bh", "CSR_INDPTR",
          [](Problem& p) { p.tensors[SAGE_ATTN_CSR_INDPTR].shape[2] = 2; });
  Refused("b2.hq4.sq3.d8.f32:lse", "LSE", [](Problem& p) { p.tensors[SAGE_ATTN_LSE].dtype = SAGE_F64; });
  Refused("b2.hq4.sq3.d8.f64:sinks", "SINKS", [](Problem& p) { p.tensors[SAGE_ATTN_SINKS].dtype = SAGE_F32; });
  Refused(kVarlen, "CU_SEQLENS_K", [](Problem& p) { Drop(p, SAGE_ATTN_CU_SEQLENS_K); });
  Refused(kVarlen, "CU_SEQLENS_Q", [](Problem& p) { p.tensors[SAGE_ATTN_CU_SEQLENS_Q].shape[0] = 0; });
  Refused(kVarlen, "CU_SEQLENS_K", [](Problem& p) { p.tensors[SAGE_ATTN_CU_SEQLENS_K].shape[0] = 7; });
  Refused(kPlain, "CU_SEQLENS_K", [](Problem& p) { Put(p, SAGE_ATTN_CU_SEQLENS_K, SAGE_I32, {3}); });
  Refused(
      kVarlen, "VARLEN",
      [](Problem& p) {
        Put(p, SAGE_ATTN_MASK, SAGE_BOOL, {2, 4, 3, 5});
      },
      SAGE_E_UNSUPPORTED);
  Refused(
      kVarlen, "VARLEN",
      [](Problem& p) {
        Put(p, SAGE_ATTN_WEIGHTS, SAGE_F32, {2, 4, 3, 5});
      },
      SAGE_E_UNSUPPORTED);
  Refused(kPaged, "BLOCK_TABLE", [](Problem& p) { p.tensors[SAGE_ATTN_BLOCK_TABLE].rank = 1; });
  Refused(kPaged, "pages", [](Problem& p) { p.tensors[SAGE_ATTN_K].shape[2] = p.tensors[SAGE_ATTN_V].shape[2] = 0; });
  Refused(kPaged, "too many pages", [](Problem& p) {
    p.tensors[SAGE_ATTN_BLOCK_TABLE].shape[1] = int64_t{1} << 55, p.tensors[SAGE_ATTN_BLOCK_TABLE].stride[1] = 0;
    p.tensors[SAGE_ATTN_BLOCK_TABLE].shape[0] = 2;
  });
  const char* append = "b2.hq4.hkv2.sq3.skv8.d8.f32:append=2";
  Refused(append, "SEQUSED_K", [](Problem& p) { Drop(p, SAGE_ATTN_SEQUSED_K); });
  Refused(append, "aliases", [](Problem& p) { p.op.aliases = 0; });
  Refused(append, "together", [](Problem& p) { Drop(p, SAGE_ATTN_V_NEW); });
  Refused(append, "K is written", [](Problem& p) { p.tensors[SAGE_ATTN_K].stride[2] = 0; });
  Refused(append, "K is written", [](Problem& p) { p.tensors[SAGE_ATTN_K].flags = SAGE_TENSOR_CONSTANT; });
  Refused(append, "K_NEW", [](Problem& p) { p.tensors[SAGE_ATTN_K_NEW].dtype = SAGE_F16; });
  const char* scaled = "b2.hq4.sq3.d8.i8:scale_k=channel";
  Refused(scaled, "SCALE_K", [](Problem& p) { p.attributes.attention.granularity_k = SAGE_PER_TOKEN; });
  Refused(scaled, "granularity", [](Problem& p) { p.attributes.attention.granularity_k = 0; });
  Refused(
      scaled, "granularity", [](Problem& p) { p.attributes.attention.granularity_k = 9; }, SAGE_E_UNKNOWN_FIELD);
}

TEST_CASE("other kinds: shapes, dtypes, attributes") {
  Refused("linear X=f32[3,4] W=f32[2,4] Y=f32[3,2]", "W", [](Problem& p) { p.tensors[1].shape[1] = 5; });
  Refused("linear X=f32[3,4] W=f32[2,4] Y=f32[3,2]", "ELU",
          [](Problem& p) { p.attributes.linear.activation = SAGE_FN_ELU; });
  Refused("linear X=f32[3,4] W=f32[2,4] Y=f32[3,2]", "quantised", [](Problem& p) { Put(p, 4, SAGE_F32, {1}); });
  Refused(
      "linear X=f32[3,4] W=f32[2,4] Y=f32[3,2]", "activation 77",
      [](Problem& p) { p.attributes.linear.activation = 77; }, SAGE_E_UNKNOWN_FIELD);
  Refused("matmul A=f32[3,4] B=f32[4,2] C=f32[3,2]", "B has", [](Problem& p) { p.tensors[1].shape[0] = 3; });
  Refused("norm X=f32[3,4] Y=f32[3,4]:mode=layer,axis=1", "epsilon",
          [](Problem& p) { p.attributes.norm.epsilon = -1; });
  Refused("norm X=f32[3,4] Y=f32[3,4]:mode=layer,axis=1", "axis", [](Problem& p) { p.attributes.norm.axis = -1; });
  Refused("norm X=f32[3,4] Y=f32[3,4]:mode=layer,axis=1", "MEAN",
          [](Problem& p) { p.attributes.norm.mode = SAGE_NORM_BATCH; });
  Refused("binary A=f32[3] B=f32[3] Y=f32[3]:fn=add", "unset", [](Problem& p) { p.attributes.binary.function = 0; });
  Refused("softmax X=f32[3] Y=f32[3]", "Y", [](Problem& p) { p.tensors[1].shape[0] = 4; });
  Refused("reduce X=f32[3,4] Y=f32[3]:fn=sum,axes=2", "axes", [](Problem& p) { p.attributes.reduce.axes = 4; });
  Refused("reduce X=f32[3,4] Y=f32[3]:fn=sum,axes=2", "axes", [](Problem& p) { p.attributes.reduce.axes = 0; });
  Refused("gather X=f32[3,4] INDICES=i32[2] Y=f32[2,4]", "INDICES", [](Problem& p) { p.tensors[1].dtype = SAGE_F32; });
  Refused("concat Y=f32[5] X=f32[2] X=f32[3]", "Y", [](Problem& p) { p.tensors[0].shape[0] = 6; });
  Refused("concat Y=f32[5] X=f32[2] X=f32[3]", "needs", [](Problem& p) { Drop(p, 2); });
  const char* slice = "slice X=f32[9] Y=f32[3]:begin=8,step=-2";
  Refused(slice, "leave X", [](Problem& p) { p.attributes.slice.begin[0] = 3; });
  Refused(slice, "leave X", [](Problem& p) { p.attributes.slice.begin[0] = 9; });
  Refused(slice, "leave X", [](Problem& p) { p.attributes.slice.step[0] = 1; });
  Refused(slice, "step", [](Problem& p) { p.attributes.slice.step[0] = INT64_MIN; });
  Refused(slice, "leave X", [](Problem& p) { p.attributes.slice.begin[0] = INT64_MAX; });
  Refused("permute X=f32[2,3] Y=f32[3,2]:axes=1x0", "once", [](Problem& p) { p.attributes.permute.axes[1] = 1; });
  Refused("topk X=f32[9] VALUES=f32[3] INDICES=i32[3]", "first 10 of 9",
          [](Problem& p) { p.tensors[1].shape[0] = 10; });
  Refused("rope X=f32[4,2,8] POSITIONS=i32[4] Y=f32[4,2,8]:style=halves", "rotary_dim",
          [](Problem& p) { p.attributes.rope.rotary_dim = 10; });
  Refused("rope X=f32[4,2,8] POSITIONS=i32[4] Y=f32[4,2,8]:style=halves", "unset",
          [](Problem& p) { p.attributes.rope.style = 0; });
  Refused("pool X=f32[2,9,4] Y=f32[2,4]:fn=mean", "window", [](Problem& p) { p.attributes.pool.stride = 2; });
  Refused("pool X=f32[2,9,4] Y=f32[2,3,4]:fn=max,window=3", "Y", [](Problem& p) { p.attributes.pool.window = 2; });
}

TEST_CASE("random damage to an op's structs is answered, never followed") {
  std::mt19937_64 rng(5);
  const char* lines[] = {"b2.hq4.hkv2.sq3.skv8.d8.f32:causal=br,page=4,append=1,lse",
                         "b2.hq4.sq3.skv9.d8.f32:csr=2x4/bh", "slice X=f32[9,4] Y=f32[3,4]:begin=8x0,step=-2x1",
                         "gather X=f32[9,4] INDICES=i64[3] Y=f32[3,4]"};
  for (int i = 0; i < 40000; ++i) {
    const auto problem = Parse(lines[i % 4]);
    for (unsigned k = 0; k < 1 + rng() % 3; ++k) {
      const size_t slot = rng() % problem->tensors.size();
      auto* bytes = reinterpret_cast<unsigned char*>(&problem->tensors[slot]);
      const size_t size = sizeof(sage_tensor);
      if (rng() % 3 == 0) {
        reinterpret_cast<unsigned char*>(&problem->attributes)[4 + rng() % (sizeof problem->attributes - 4)] ^=
            static_cast<unsigned char>(1u << rng() % 8);
      } else {
        bytes[4 + rng() % (size - 4)] ^= static_cast<unsigned char>(1u << rng() % 8);
      }
    }
    std::string why;
    const sage_status status = Check(problem->op, &why);
    CHECK((status == SAGE_OK) == why.empty());
    (void)sage::ProblemString(problem->op);
  }
}

}  // namespace
