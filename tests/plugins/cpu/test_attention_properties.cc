// test_attention_properties.cc: what must hold bit for bit, whatever the numbers: two ways of saying the same call give
// the same bits, and what a row may not see cannot change it. Under every instruction set.
#include <doctest/doctest.h>

#include "attention_testing.h"

namespace sage::test {
namespace {

// Both calls, each under every instruction set; the same bits in O.
void CheckSame(AttentionCase a, AttentionCase b) {
  for (const std::string& isa : Isas()) {
    CAPTURE(isa);
    CpuBackend cpu(isa);
    REQUIRE(RunOn(cpu, a) == "");
    REQUIRE(RunOn(cpu, b) == "");
    CHECK(SameBits(a.O(), b.O()));
  }
}

AttentionCase Typical(sage_dtype dtype, uint64_t seed) { return AttentionCase(dtype, {2, 6, 2, 37, 150, 24}, seed); }

}  // namespace

TEST_CASE("P4 GQA equals K and V repeated, bit for bit") {
  for (const sage_dtype dtype : {SAGE_F32, SAGE_F64, SAGE_BF16}) {
    AttentionCase grouped = Typical(dtype, 5).Causal(SAGE_ALIGN_BOTTOM_RIGHT), repeated = grouped;
    for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) {
      const OwnedTensor& from = grouped[slot];
      OwnedTensor to(dtype, {2, 6, 150, 24});
      to.FillBy([&](uint64_t i) {
        const int64_t n = static_cast<int64_t>(i), rest = n % (150 * 24), head = n / (150 * 24) % 6;
        return from.At({n / (150 * 24 * 6), head / 3, rest / 24, rest % 24});
      });
      repeated[slot] = to;
    }
    CheckSame(grouped, repeated);
  }
}

TEST_CASE("P7 packed sequences equal the same sequences alone, bit for bit, and padding with lengths too") {
  const std::vector<int64_t> q_rows{5, 0, 130, 1}, k_rows{17, 9, 131, 200};
  AttentionCase packed;
  packed.Q() = OwnedTensor(SAGE_F32, {136, 4, 16}).FillNormal(1);
  packed.K() = OwnedTensor(SAGE_F32, {357, 2, 16}).FillNormal(2);
  packed.V() = OwnedTensor(SAGE_F32, {357, 2, 8}).FillNormal(3);
  packed.O() = OwnedTensor(SAGE_F32, {136, 4, 8});
  packed.Integers(SAGE_ATTN_CU_SEQLENS_Q, {5}, {0, 5, 5, 135, 136});
  packed.Integers(SAGE_ATTN_CU_SEQLENS_K, {5}, {0, 17, 26, 157, 357});
  packed.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
  for (const std::string& isa : Isas()) {
    CAPTURE(isa);
    CpuBackend cpu(isa);
    REQUIRE(RunOn(cpu, packed) == "");
    int64_t q_begin = 0, k_begin = 0;
    AttentionCase padded(SAGE_F32, {4, 4, 2, 130, 200, 16, 8}, 9);
    padded.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
    padded.Integers(SAGE_ATTN_SEQUSED_Q, {4}, {5, 0, 130, 1});
    padded.Integers(SAGE_ATTN_SEQUSED_K, {4}, {17, 9, 131, 200});
    const auto value = [](const OwnedTensor& from, int64_t row, int64_t head, int64_t c) {
      return from.At({row, head, c});
    };
    for (int64_t b = 0; b < 4; ++b) {
      const int64_t rows = q_rows[static_cast<size_t>(b)], keys = k_rows[static_cast<size_t>(b)];
      AttentionCase alone(SAGE_F32, {1, 4, 2, rows, keys, 16, 8}, 9);
      alone.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
      for (int64_t h = 0; h < 4; ++h) {
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t c = 0; c < 16; ++c) {
            alone.Q().Set({0, h, i, c}, value(packed.Q(), q_begin + i, h, c));
            padded.Q().Set({b, h, i, c}, value(packed.Q(), q_begin + i, h, c));
          }
        }
      }
      for (int64_t h = 0; h < 2; ++h) {
        for (int64_t j = 0; j < keys; ++j) {
          for (int64_t c = 0; c < 16; ++c) {
            alone.K().Set({0, h, j, c}, value(packed.K(), k_begin + j, h, c));
            padded.K().Set({b, h, j, c}, value(packed.K(), k_begin + j, h, c));
            if (c >= 8) continue;
            alone.V().Set({0, h, j, c}, value(packed.V(), k_begin + j, h, c));
            padded.V().Set({b, h, j, c}, value(packed.V(), k_begin + j, h, c));
          }
        }
      }
      REQUIRE(RunOn(cpu, alone) == "");
      for (int64_t h = 0; h < 4; ++h)
        for (int64_t i = 0; i < rows; ++i)
          for (int64_t c = 0; c < 8; ++c) REQUIRE(alone.O().At({0, h, i, c}) == value(packed.O(), q_begin + i, h, c));
      q_begin += rows, k_begin += keys;
    }
    REQUIRE(RunOn(cpu, padded) == "");
    q_begin = 0;
    for (int64_t b = 0; b < 4; ++b) {
      const int64_t rows = q_rows[static_cast<size_t>(b)];
      for (int64_t h = 0; h < 4; ++h)
        for (int64_t i = 0; i < 130; ++i)
          for (int64_t c = 0; c < 8; ++c)
            REQUIRE(padded.O().At({b, h, i, c}) == (i < rows ? value(packed.O(), q_begin + i, h, c) : 0.0));
      q_begin += rows;
    }
  }
}

TEST_CASE("pages in any order equal contiguous keys, bit for bit") {
  AttentionCase plain = Typical(SAGE_F32, 11).Causal(SAGE_ALIGN_BOTTOM_RIGHT), paged = plain;
  const std::vector<double> table{3, 9, 0, 7, 5, 1, 8, 2, 4, 6};  // two rows of five pages of 30 keys
  for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) {
    OwnedTensor pages(SAGE_F32, {10, 2, 30, 24});
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t h = 0; h < 2; ++h)
        for (int64_t j = 0; j < 150; ++j)
          for (int64_t c = 0; c < 24; ++c)
            pages.Set({static_cast<int64_t>(table[static_cast<size_t>(b * 5 + j / 30)]), h, j % 30, c},
                      plain[slot].At({b, h, j, c}));
    paged[slot] = pages;
  }
  paged.Integers(SAGE_ATTN_BLOCK_TABLE, {2, 5}, table);
  CheckSame(plain, paged);
}

TEST_CASE("P8 R17 bool, bit, block and CSR masks and a bias of -inf say the same, bit for bit") {
  // Block masks have key tiles of their own length, and sums their order by it: one length for all here.
  AttentionCase plain = Typical(SAGE_F32, 21);
  plain.attributes.block_kv = 128;
  AttentionCase masked = plain;
  OwnedTensor& mask = masked.OverScores(SAGE_ATTN_MASK, SAGE_BOOL);
  const auto kept = [](int64_t i, int64_t j) { return (i * 7 + j * 3) % 5 < 2 && j < 140 && i != 4; };
  // Any byte but 0 is true.
  mask.FillBy([&](uint64_t n) {
    return kept(static_cast<int64_t>(n / 150 % 37), static_cast<int64_t>(n % 150)) ? (n % 3 == 0 ? 4.0 : 1.0) : 0.0;
  });

  AttentionCase biased = plain;
  biased.OverScores(SAGE_ATTN_BIAS, SAGE_F32).FillBy([&](uint64_t n) {
    return kept(static_cast<int64_t>(n / 150 % 37), static_cast<int64_t>(n % 150)) ? 0.0 : -HUGE_VAL;
  });
  CheckSame(masked, biased);

  AttentionCase bits = plain;
  bits[SAGE_ATTN_BIT_MASK] = OwnedTensor(SAGE_U8, {2, 6, 37, 19}).FillBy([&](uint64_t n) {
    double byte = 0;
    for (int64_t bit = 0; bit < 8; ++bit) {
      const int64_t j = static_cast<int64_t>(n % 19) * 8 + bit;
      if (kept(static_cast<int64_t>(n / 19 % 37), j)) byte += std::ldexp(1.0, static_cast<int>(bit));
    }
    return byte;
  });
  CheckSame(masked, bits);

  AttentionCase blocks = Typical(SAGE_F32, 21), columns = blocks;
  blocks.attributes.mask_block_q = blocks.attributes.mask_block_kv = 1;
  blocks[SAGE_ATTN_BLOCK_MASK] = OwnedTensor(SAGE_U8, {1, 1, 37, 150}).FillBy([&](uint64_t n) {
    return kept(static_cast<int64_t>(n / 150), static_cast<int64_t>(n % 150)) ? 200.0 : 0.0;
  });
  CheckSame(masked, blocks);

  std::vector<double> offsets{0}, indices;
  for (int64_t i = 0; i < 37; ++i) {
    for (int64_t j = 0; j < 150; ++j)
      if (kept(i, j)) indices.push_back(static_cast<double>(j));
    offsets.push_back(static_cast<double>(indices.size()));
  }
  columns.attributes.mask_block_q = columns.attributes.mask_block_kv = 1;
  columns.Integers(SAGE_ATTN_CSR_INDPTR, {1, 1, 38}, offsets);
  columns.Integers(SAGE_ATTN_CSR_INDICES, {static_cast<int64_t>(indices.size())}, indices);
  CheckSame(masked, columns);
}

TEST_CASE("P8 lengths say what a bool mask of the same lengths says, bit for bit") {
  AttentionCase lengths = Typical(SAGE_F32, 23), masked = lengths;
  lengths.Integers(SAGE_ATTN_SEQUSED_K, {2}, {129, 3});
  masked.OverScores(SAGE_ATTN_MASK, SAGE_BOOL).FillBy([](uint64_t n) {
    const uint64_t batch = n / (6 * 37 * 150);
    return n % 150 < (batch == 0 ? 129u : 3u) ? 1.0 : 0.0;
  });
  CheckSame(lengths, masked);
}

TEST_CASE("P2 R4 alignments agree when square, an unlimited window is causal, one query sees one key or all") {
  AttentionCase top(SAGE_F32, {1, 2, 2, 70, 70, 16}, 31), bottom = top, window = top;
  CheckSame(top.Causal(SAGE_ALIGN_TOP_LEFT), bottom.Causal(SAGE_ALIGN_BOTTOM_RIGHT));
  CheckSame(top, window.Window(INT64_MAX, 0, SAGE_ALIGN_TOP_LEFT));

  AttentionCase first(SAGE_F32, {1, 2, 2, 1, 70, 16}, 32), last = first, all = first;
  CheckSame(last.Causal(SAGE_ALIGN_BOTTOM_RIGHT), all);
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa);
    REQUIRE(RunOn(cpu, first.Causal(SAGE_ALIGN_TOP_LEFT)) == "");
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t c = 0; c < 16; ++c) CHECK(first.O().At({0, h, 0, c}) == first.V().At({0, h, 0, c}));
    first.attributes.features = 0;
  }
}

TEST_CASE("R14 R23 any number of threads and every repetition give the same bits") {
  for (const std::string& isa : Isas()) {
    CAPTURE(isa);
    AttentionCase one(SAGE_F32, {2, 6, 2, 190, 300, 32}, 41);
    one.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
    CpuBackend alone(isa);
    REQUIRE(RunOn(alone, one) == "");
    for (const uint32_t workers : {1u, 2u, 3u, 8u}) {
      AttentionCase many = one;
      many.O().Fill(7);
      CpuBackend cpu(isa, workers, workers == 3 ? Threads::kSimulated : Threads::kReal);
      for (int repetition = 0; repetition < 2; ++repetition) {
        REQUIRE(RunOn(cpu, many) == "");
        CHECK(BitwiseEqual(one.O(), many.O()));
        CHECK(BitwiseEqual(one[SAGE_ATTN_LSE], many[SAGE_ATTN_LSE]));
      }
      if (workers > 1) CHECK(cpu.host.parallel_calls() > 0);
    }
  }
}

TEST_CASE("N3 a causal row keeps its bits when later keys and values change, or do not exist") {
  for (const sage_dtype dtype : {SAGE_F32, SAGE_F64}) {
    AttentionCase before(dtype, {1, 3, 1, 140, 140, 20}, 51), after, shorter;
    after = before.Causal(SAGE_ALIGN_TOP_LEFT);
    for (int64_t j = 77; j < 140; ++j)
      for (int64_t c = 0; c < 20; ++c)
        after.V().Set({0, 0, j, c}, j % 2 == 0 ? NAN : HUGE_VAL), after.K().Set({0, 0, j, c}, NAN);
    shorter = before;
    shorter.K() = Part(before.K(), 2, 0, 77), shorter.V() = Part(before.V(), 2, 0, 77);
    for (const std::string& isa : Isas()) {
      CAPTURE(isa);
      CpuBackend cpu(isa);
      REQUIRE(RunOn(cpu, before) == "");
      REQUIRE(RunOn(cpu, after) == "");
      REQUIRE(RunOn(cpu, shorter) == "");
      const OwnedTensor want = Part(before.O(), 2, 0, 77);
      CHECK(SameBits(want, Part(after.O(), 2, 0, 77)));
      CHECK(SameBits(want, Part(shorter.O(), 2, 0, 77)));
    }
  }
}

TEST_CASE("R11 what nobody may see does not leak: NaN and Inf behind masks, lengths and windows") {
  AttentionCase clean = Typical(SAGE_F32, 61);
  OwnedTensor& mask = clean.OverScores(SAGE_ATTN_MASK, SAGE_BOOL);
  mask.FillBy([](uint64_t n) { return n % 150 % 3 == 0 || n / 150 % 37 == 0 ? 0.0 : 1.0; });
  clean.Integers(SAGE_ATTN_SEQUSED_K, {2}, {140, 33});
  clean.Causal(SAGE_ALIGN_TOP_LEFT).WithLse();
  AttentionCase dirty = clean;
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t j = 0; j < 150; ++j)
        for (int64_t c = 0; c < 24; ++c)
          if (j % 3 == 0 || j > 36 || j >= (b == 0 ? 140 : 33)) {
            dirty.K().Set({b, h, j, c}, j % 2 == 0 ? NAN : -HUGE_VAL);
            dirty.V().Set({b, h, j, c}, j % 2 == 0 ? HUGE_VAL : NAN);
          }
  CheckSame(clean, dirty);
  for (const std::string& isa : Isas()) {
    CpuBackend cpu(isa);
    REQUIRE(RunOn(cpu, dirty) == "");
    CHECK(std::isfinite(LargestMagnitude(dirty.O())));
    for (int64_t c = 0; c < 24; ++c) CHECK(dirty.O().At({0, 0, 0, c}) == 0.0);  // the mask leaves row 0 nothing
    CHECK(dirty[SAGE_ATTN_LSE].At({0, 0, 0}) == -HUGE_VAL);
  }
}

TEST_CASE("NaN in one query stays in its row, over one chunk of keys and several") {
  for (const int64_t keys : {150, 1100}) {
    AttentionCase clean(SAGE_F32, {2, 6, 2, 37, keys, 24}, 71), dirty = clean;
    for (int64_t c = 0; c < 24; ++c) dirty.Q().Set({1, 4, 20, c}, NAN);
    for (const std::string& isa : Isas()) {
      CAPTURE(isa);
      CpuBackend cpu(isa, keys > 512 ? 3 : 1);  // split, where there are several chunks
      REQUIRE(RunOn(cpu, clean) == "");
      REQUIRE(RunOn(cpu, dirty) == "");
      for (uint64_t n = 0; n < clean.O().size(); ++n) {
        const bool row = n / 24 == (1 * 6 + 4) * 37 + 20;
        if (row)
          REQUIRE(std::isnan(dirty.O().Get(n)));
        else
          REQUIRE(dirty.O().Get(n) == clean.O().Get(n));
      }
    }
  }
}

TEST_CASE("chunked prefill equals the whole, bit for bit") {
  AttentionCase whole(SAGE_F32, {1, 4, 2, 100, 180, 16}, 81);
  whole.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
  for (const std::string& isa : Isas()) {
    CAPTURE(isa);
    CpuBackend cpu(isa);
    REQUIRE(RunOn(cpu, whole) == "");
    for (int64_t begin = 0; begin < 100; begin += 33) {
      const int64_t rows = std::min<int64_t>(33, 100 - begin);
      AttentionCase chunk = whole;
      chunk.Q() = Part(whole.Q(), 2, begin, rows), chunk.O() = Part(whole.O(), 2, begin, rows);
      chunk.K() = Part(whole.K(), 2, 0, 80 + begin + rows), chunk.V() = Part(whole.V(), 2, 0, 80 + begin + rows);
      REQUIRE(RunOn(cpu, chunk) == "");
      CHECK(SameBits(chunk.O(), Part(whole.O(), 2, begin, rows)));
    }
  }
}

TEST_CASE("constant keys are packed once, shared by the plans of a node, and change no bit") {
  for (const sage_dtype dtype : {SAGE_F32, SAGE_F64, SAGE_BF16}) {
    for (const int64_t rows : {1, 40}) {
      AttentionCase plain(dtype, {2, 6, 2, rows, 333, 24}, 71);
      plain.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
      AttentionCase constant = plain;
      constant.K().Constant();
      for (const std::string& isa : Isas()) {
        CAPTURE(isa);
        CpuBackend cpu(isa, 2);
        REQUIRE(RunOn(cpu, plain) == "");
        TestOp op(SAGE_OP_ATTENTION);
        constant.Describe(op);
        PlannedOp first(cpu.instance, op);
        REQUIRE(first.status() == SAGE_OK);
        const bool packs = first.info().prepack_bytes > 0;
        if (isa.find("amx") == std::string::npos) CHECK(packs);  // tiles look at every number of K each time
        PlannedOp second(cpu.instance, op, &first);
        REQUIRE(second.status() == SAGE_OK);
        CHECK(second.info().prepack_bytes == 0);
        for (PlannedOp* plan : {&first, &second}) {
          constant.O().Fill(7);
          std::string message;
          REQUIRE(plan->Run(op.slots(), &message) == SAGE_OK);
          CHECK(SameBits(plain.O(), constant.O()));
        }
      }
    }
  }
}

TEST_CASE("a plan for upper bounds gives a smaller run the bits of its own plan") {
  AttentionCase large(SAGE_F32, {3, 4, 2, 64, 300, 16}, 91);
  large.Causal(SAGE_ALIGN_BOTTOM_RIGHT);
  for (const std::string& isa : Isas()) {
    CAPTURE(isa);
    CpuBackend cpu(isa, 2);
    TestOp planned(SAGE_OP_ATTENTION);
    large.Describe(planned);
    planned.DynamicAxes(SAGE_AXIS_B | SAGE_AXIS_SQ | SAGE_AXIS_SKV);
    PlannedOp plan(cpu.instance, planned);
    REQUIRE(plan.status() == SAGE_OK);
    for (const auto& [batch, rows, keys] : {std::array<int64_t, 3>{3, 64, 300}, {1, 1, 1}, {2, 13, 129}, {1, 64, 7}}) {
      AttentionCase run = large, exact = large;
      for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O}) {
        const int64_t length = slot == SAGE_ATTN_Q || slot == SAGE_ATTN_O ? rows : keys;
        run[slot].description().shape[0] = batch;
        run[slot].description().shape[2] = length;
        exact[slot] = Part(Part(large[slot], 0, 0, batch), 2, 0, length);
      }
      TestOp now(SAGE_OP_ATTENTION);
      run.Describe(now);
      std::string message;
      CHECK(plan.Run(now.slots(), &message) == SAGE_OK);
      CHECK(message == "");
      REQUIRE(RunOn(cpu, exact) == "");
      CHECK(SameBits(run.O(), exact.O()));
    }
  }
}

}  // namespace sage::test
