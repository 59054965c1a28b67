// The mask of a partition: its goldens, its closed forms against the definition, and the problem string's data of it.
#include "sage/masks.h"

#include <doctest/doctest.h>

#include <set>
#include <vector>

#include "plan/problem.h"
#include "sage/support/check_op.h"

using namespace sage;

namespace {

MincutMask Make(int64_t seq, int64_t parts) {
  const Result<MincutMask> made = MincutMask::Create(seq, parts);
  REQUIRE_MESSAGE(made.ok(), made.status().message());
  return *made;
}

// By the words of sparse.h, with a list of starts.
std::vector<std::vector<bool>> ByDefinition(int64_t seq, int64_t parts) {
  std::vector<int64_t> starts;
  for (int64_t chunk = 0; chunk < parts; ++chunk) starts.push_back(chunk * (seq / parts));
  std::vector<std::vector<bool>> mask(static_cast<size_t>(seq), std::vector<bool>(static_cast<size_t>(seq)));
  for (int64_t i = 0; i < seq; ++i) {
    int64_t mine = 0;
    for (const int64_t start : starts)
      if (start <= i) mine = start;
    for (int64_t j = mine; j <= i; ++j) mask[static_cast<size_t>(i)][static_cast<size_t>(j)] = true;
    for (const int64_t start : starts) {
      if (i < start || i >= start + 4) continue;
      for (const int64_t earlier : starts)
        if (earlier < start) mask[static_cast<size_t>(i)][static_cast<size_t>(earlier)] = true;
    }
  }
  return mask;
}

}  // namespace

TEST_CASE("R17 mincut mask goldens: kept positions of all causal ones") {
  const struct {
    int64_t seq, parts;
    uint64_t kept, causal;
  } goldens[] = {{32, 3, 200, 528}, {64, 3, 727, 2080}, {16, 2, 76, 136}, {64, 8, 400, 2080}};
  for (const auto& [seq, parts, kept, causal] : goldens) {
    CAPTURE(seq);
    CAPTURE(parts);
    const MincutMask mask = Make(seq, parts);
    CHECK(mask.Positions() == kept);
    CHECK(mask.Tiles(1, 1) == kept);
    CHECK(Make(seq, 1).Positions() == causal);
  }
}

TEST_CASE("R17 mincut mask: positions, rows and tiles are those of the definition, whatever the sizes") {
  for (const int64_t seq : {1, 2, 3, 5, 7, 16, 17, 31, 64, 97})
    for (int64_t parts = 1; parts <= seq; parts += parts < 9 ? 1 : 11) {
      CAPTURE(seq);
      CAPTURE(parts);
      const MincutMask mask = Make(seq, parts);
      const auto expected = ByDefinition(seq, parts);
      uint64_t kept = 0;
      bool same = true;
      for (int64_t i = 0; i < seq; ++i)
        for (int64_t j = 0; j < seq; ++j) {
          const bool keep = expected[static_cast<size_t>(i)][static_cast<size_t>(j)];
          same = same && mask.Keeps(i, j) == keep;
          kept += keep;
        }
      CHECK(same);
      CHECK_FALSE(mask.Keeps(seq - 1, seq));
      CHECK(mask.Positions() == kept);
      for (const auto& [tile_q, tile_kv] :
           {std::pair<int64_t, int64_t>{1, 1}, {4, 4}, {16, 8}, {3, 5}, {64, 64}, {200, 1}}) {
        CAPTURE(tile_q);
        CAPTURE(tile_kv);
        uint64_t tiles = 0;
        for (int64_t row = 0; row < (seq + tile_q - 1) / tile_q; ++row) {
          std::set<int64_t> columns;
          for (int64_t i = row * tile_q; i < std::min(seq, (row + 1) * tile_q); ++i)
            for (int64_t j = 0; j < seq; ++j)
              if (expected[static_cast<size_t>(i)][static_cast<size_t>(j)]) columns.insert(j / tile_kv);
          const MincutMask::TileRow tile_row = mask.Row(row, tile_q, tile_kv);
          std::vector<int64_t> visited;
          mask.ForColumns(tile_row, tile_kv, [&visited](int64_t column) { visited.push_back(column); });
          CHECK(visited == std::vector<int64_t>(columns.begin(), columns.end()));
          CHECK(tile_row.columns == static_cast<int64_t>(columns.size()));
          tiles += columns.size();
        }
        CHECK(mask.Tiles(tile_q, tile_kv) == tiles);
      }
    }
}

TEST_CASE("R17 mincut mask of sizes that cannot be is refused") {
  for (const auto& [seq, parts] :
       {std::pair<int64_t, int64_t>{0, 1}, {-1, 1}, {8, 0}, {8, 9}, {8, -3}, {(1 << 24) + 1, 4}})
    CHECK(MincutMask::Create(seq, parts).status().code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(MincutMask::Create(1 << 24, 1 << 24).ok());
}

TEST_CASE("R17 problem string: mincut fills every form of mask, and they agree") {
  auto parsed = ParseProblem("b2.hq3.hkv3.sq37.skv37.d8.f32:mask=11qk,bitmask=bhqk,blockmask=8x4/bh,mincut=5");
  REQUIRE_MESSAGE(parsed.ok(), parsed.status().message());
  ProblemData data;
  REQUIRE(MakeProblemTensors(parsed->get(), 1 << 20, &data).ok());
  const Problem& problem = **parsed;
  const MincutMask mask = Make(37, 5);
  const auto at = [&problem](uint32_t slot, int64_t b, int64_t h, int64_t r, int64_t c) {
    const sage_tensor& t = problem.tensors[slot];
    return static_cast<const unsigned char*>(
        t.data)[b * t.stride[0] + h * t.stride[1] + r * t.stride[2] + c * t.stride[3]];
  };
  bool same = true;
  std::set<std::pair<int64_t, int64_t>> tiles;
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t h = 0; h < 3; ++h)
      for (int64_t i = 0; i < 37; ++i)
        for (int64_t j = 0; j < 37; ++j) {
          const bool keep = mask.Keeps(i, j);
          same = same && (at(SAGE_ATTN_MASK, b, h, i, j) != 0) == keep &&
                 ((at(SAGE_ATTN_BIT_MASK, b, h, i, j / 8) >> (j % 8) & 1) != 0) == keep;
          if (keep) tiles.insert({i / 8, j / 4});
        }
  CHECK(same);
  for (int64_t r = 0; r < 5; ++r)
    for (int64_t c = 0; c < 10; ++c) CHECK((at(SAGE_ATTN_BLOCK_MASK, 1, 2, r, c) != 0) == tiles.contains({r, c}));
  CHECK(ProblemLine(problem) == "b2.hq3.hkv3.sq37.skv37.d8.f32:mask=11qk,bitmask=bhqk,blockmask=8x4/bh,mincut=5");

  auto sparse = ParseProblem("b2.hq2.sq32.d8.f32:csr=1x1/b1,mincut=3,seed=4");
  REQUIRE_MESSAGE(sparse.ok(), sparse.status().message());
  CHECK((*sparse)->tensors[SAGE_ATTN_CSR_INDICES].shape[0] == 400);
  ProblemData more;
  REQUIRE(MakeProblemTensors(sparse->get(), 1 << 20, &more).ok());
  const auto* offsets = static_cast<const int32_t*>((*sparse)->tensors[SAGE_ATTN_CSR_INDPTR].data);
  const auto* indices = static_cast<const int32_t*>((*sparse)->tensors[SAGE_ATTN_CSR_INDICES].data);
  const MincutMask small = Make(32, 3);
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t i = 0; i < 32; ++i) {
      std::vector<int64_t> row;
      for (int64_t j = 0; j < 32; ++j)
        if (small.Keeps(i, j)) row.push_back(j);
      CHECK(std::vector<int64_t>(indices + offsets[b * 33 + i], indices + offsets[b * 33 + i + 1]) == row);
    }
  CHECK(offsets[65] == 400);
  CHECK(ProblemLine(**sparse) == "b2.hq2.hkv2.sq32.skv32.d8.f32:csr=1x1/b1/400,mincut=3,seed=4");
}

TEST_CASE("R17 problem string: a mincut that does not fit its line is refused") {
  for (const char* line :
       {"hq1.sq8.d8.f32:mincut=2", "hq1.sq8.skv9.d8.f32:mask=11qk,mincut=2", "hq1.sq8.d8.f32:mask=111k,mincut=2",
        "hq1.sq8.d8.f32:mask=11qk,mincut=9", "hq1.sq8.d8.f32:mask=11qk,mincut=0",
        "hq1.sq8.d8.f32:csr=1x1/11/3,mincut=2", "hq1.sq16777216.d8.f32:csr=1x1/11,mincut=1"}) {
    CAPTURE(line);
    CHECK(ParseProblem(line).status().code() == SAGE_E_INVALID_ARGUMENT);
  }
}
