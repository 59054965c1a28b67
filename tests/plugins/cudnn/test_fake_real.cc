// test_fake_real.cc: the fake cuDNN beside the real one, where it is: descriptors need no device. What the real one
// refuses the fake has to refuse, or a graph that passes here fails there; the fake may refuse more.
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "cudnn/library.h"
#include "fake_cudnn.h"
#include "graph_testing.h"

namespace sage::cudnn::fake {
namespace {

struct Case {
  const char* name;
  std::function<void(Graphs&)> write;
  bool fake_alone = false;  // the fake refuses what the real one takes
};

const Dims kP{2, 4, 8, 8}, kRows{2, 1, 1, 1};

Case Tensor(const char* name, int type, const Dims& dims, const Dims& strides, Graphs::Kind kind = Graphs::kBound) {
  return {name, [=](Graphs& g) { g.Tensor(1, type, dims, strides, kind); }};
}
Case Pointwise(const char* name, int mode, int type, const Dims& x, const Dims& b, int out, const Dims& y,
               bool has_t = false, int64_t axis = -1) {
  return {name, [=](Graphs& g) {
            g.Pointwise(mode, g.Tensor(1, type, x), b.empty() ? nullptr : g.Tensor(2, type, b), g.Tensor(3, out, y),
                        has_t ? g.Tensor(4, kBoolean, y) : nullptr, axis);
          }};
}
Case Matmul(const char* name, const Dims& a, const Dims& b, const Dims& c) {
  return {name, [=](Graphs& g) { g.Matmul(g.Tensor(1, kHalf, a), g.Tensor(2, kHalf, b), g.Tensor(3, kFloat, c)); }};
}
Case Rows(const char* name, const Dims& rows) {
  return {name, [=](Graphs& g) {
            g.Matmul(g.Tensor(1, kHalf, {2, 4, 8, 16}), g.Tensor(2, kHalf, {2, 4, 16, 8}), g.Tensor(3, kFloat, kP),
                     g.Tensor(4, kInt32, rows));
          }};
}
Case Paged(const char* name, const Dims& container, int64_t columns, const Dims& y, const Dims& strides) {
  return {name, [=](Graphs& g) {
            g.PagedLoad(g.Tensor(1, kHalf, container), g.Tensor(2, kInt32, {2, 1, columns, 1}),
                        g.Tensor(3, kInt32, kRows), g.Tensor(4, kHalf, y, strides, Graphs::kVirtual));
          }};
}
Case Alone(Case of) {
  of.fake_alone = true;
  return of;
}

std::vector<Case> Cases() {
  return {
      Tensor("a tensor", kFloat, {2, 3, 4, 5}, {60, 20, 5, 1}),
      Tensor("a stride of 0", kFloat, {2, 1, 1, 4}, {0, 4, 4, 1}),
      Tensor("a negative stride", kFloat, {2, 2}, {-2, 1}),
      Tensor("fewer strides", kFloat, {2, 3, 4, 5}, {20, 5, 1}),
      Tensor("by value", kFloat, {1, 1, 1, 1}, {1, 1, 1, 1}, Graphs::kByValue),
      Tensor("several by value", kFloat, {1, 1, 2, 2}, {4, 4, 2, 1}, Graphs::kByValue),
      Alone(Tensor("two by value", kFloat, {1, 1, 1, 2}, {2, 2, 2, 1}, Graphs::kByValue)),
      Alone(Tensor("a dimension of 0", kFloat, {0, 2}, {2, 1})),
      {"ragged",
       [](Graphs& g) {
         g.Tensor(1, kHalf, {2, 4, 8, 16}, {512, 16, 64, 1}, Graphs::kBound, g.Tensor(2, kInt32, {3, 1, 1, 1}));
       }},
      {"ragged with 64 bits",
       [](Graphs& g) {
         g.Tensor(1, kHalf, {2, 4, 8, 16}, {512, 16, 64, 1}, Graphs::kBound, g.Tensor(2, kInt64, {3, 1, 1, 1}));
       }},
      {"ragged with too many offsets",
       [](Graphs& g) {
         g.Tensor(1, kHalf, {2, 4, 8, 16}, {512, 16, 64, 1}, Graphs::kBound, g.Tensor(2, kInt32, {5, 1, 1, 1}));
       }},
      {"ragged with floats",
       [](Graphs& g) {
         g.Tensor(1, kHalf, {2, 4, 8, 16}, {512, 16, 64, 1}, Graphs::kBound, g.Tensor(2, kFloat, {3, 1, 1, 1}));
       }},
      Pointwise("an addition", kAdd, kFloat, kP, {1, 4, 1, 1}, kFloat, kP),
      Pointwise("an addition without B", kAdd, kFloat, kP, {}, kFloat, kP),
      Pointwise("an addition of two ranks", kAdd, kFloat, kP, {8}, kFloat, kP),
      Alone(Pointwise("an addition that does not broadcast", kAdd, kFloat, kP, {1, 3, 1, 1}, kFloat, kP)),
      Alone(Pointwise("a comparison as a float", kLess, kInt32, kP, kP, kFloat, kP)),
      Pointwise("a comparison", kLess, kInt32, kP, kP, kBoolean, kP),
      Pointwise("a selection", kSelect, kFloat, kP, kP, kFloat, kP, true),
      Pointwise("a selection without T", kSelect, kFloat, kP, kP, kFloat, kP),
      Pointwise("an index", kIndex, kFloat, kP, {}, kInt32, kP, false, 2),
      Pointwise("an index without its axis", kIndex, kFloat, kP, {}, kInt32, kP),
      Pointwise("an index along no axis", kIndex, kFloat, kP, {}, kInt32, kP, false, 7),
      Pointwise("an addition with an axis", kAdd, kInt32, kP, {1, 1, 1, 1}, kInt32, kP, false, 3),
      Matmul("a product", {2, 4, 8, 16}, {2, 4, 16, 8}, kP),
      Matmul("a product of fewer heads", {2, 4, 8, 16}, {2, 2, 16, 8}, kP),
      Matmul("a product of heads that do not divide", {2, 4, 8, 16}, {2, 3, 16, 8}, kP),
      Matmul("a product of other depths", {2, 4, 8, 16}, {2, 4, 15, 8}, kP),
      Matmul("a product of other rows", {2, 4, 8, 16}, {2, 4, 16, 8}, {2, 4, 7, 8}),
      Rows("rows in use", kRows),
      Rows("rows in use of other batches", {3, 1, 1, 1}),
      {"a reduction",
       [](Graphs& g) {
         g.Reduce(kReduceMaximum, g.Tensor(1, kFloat, kP), g.Tensor(2, kFloat, {2, 4, 8, 1}));
       }},
      Paged("pages", {6, 2, 16, 32}, 3, {2, 2, 48, 32}, {3072, 1536, 32, 1}),
      Paged("pages turned", {6, 2, 16, 32}, 3, {2, 2, 32, 48}, {3072, 1536, 1, 32}),
      Paged("a last page in part", {6, 2, 16, 32}, 3, {2, 2, 40, 32}, {2560, 1280, 32, 1}),
      Paged("too few pages", {6, 2, 16, 32}, 2, {2, 2, 48, 32}, {3072, 1536, 32, 1}),
      Paged("pages of 12 rows", {6, 2, 12, 32}, 4, {2, 2, 48, 32}, {3072, 1536, 32, 1}),
      Paged("pages of other heads", {6, 3, 16, 32}, 3, {2, 2, 48, 32}, {3072, 1536, 32, 1}),
      {"finalized twice", [](Graphs& g) { g.Finalize(g.Tensor(1, kFloat, kP)); }},
      {"a tensor without anything", [](Graphs& g) { g.Finalize(g.Make(kTensor)); }},
      {"a type of descriptor that there is not", [](Graphs& g) { g.Make(999); }},
      {"an attribute of another descriptor",
       [](Graphs& g) { g.Set<int>(g.Make(kTensor), kMatmulMathType, kTypeDataType, {kFloat}); }},
      {"an attribute of another type",
       [](Graphs& g) {
         g.Set<int64_t>(g.Make(kTensor), kTensorDimensions, kTypeDouble, {1, 1});
       }},
      {"two of one",
       [](Graphs& g) {
         g.Set<int>(g.Make(kTensor), kTensorDataType, kTypeDataType, {kFloat, kFloat});
       }},
      {"more uids than pointers",
       [](Graphs& g) {
         const Descriptor pack = g.Make(kVariantPack);
         g.Set<int64_t>(pack, kVariantPackUniqueIds, kTypeInt64, {1, 2});
         g.Set<void*>(pack, kVariantPackPointers, kTypeVoidPointer, {pack});
         g.Finalize(pack);
       }},
  };
}

}  // namespace

TEST_CASE("G7 cudnn: what the real one refuses the fake refuses") {
  Library real;
  std::string why;
  if (!Load("", &real, &why)) {
    MESSAGE("skipped: ", why);
    return;
  }
  MESSAGE(real.path, " ", VersionText(real.GetVersion()));
  const Library fake = Begin();
  for (const Case& each : Cases()) {
    Graphs theirs(real), ours(fake);
    (void)theirs.Take();  // no handle without a device
    each.write(theirs), each.write(ours);
    CAPTURE(each.name);
    CAPTURE(theirs.text());
    CAPTURE(ours.text());
    CHECK((ours.status() != kSuccess) == (theirs.status() != kSuccess || each.fake_alone));
    if (theirs.status() == kSuccess || ours.status() == kSuccess) continue;
    CHECK(real.GetErrorString(ours.status()) == std::string(fake.GetErrorString(ours.status())));
  }
}

}  // namespace sage::cudnn::fake
