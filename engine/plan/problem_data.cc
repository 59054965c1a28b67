// problem_data.cc: seeded data for a problem's tensors. The same line gives the same bytes everywhere.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "plan/elements.h"
#include "plan/problem.h"
#include "plan/problem_distribution.h"
#include "plan/problem_grammar.h"
#include "plan/problem_random.h"
#include "sage/masks.h"
#include "sage/support/attention_dims.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

// Calls visit(pointer to the element, index of the element along the last axis, linear index) for every element once;
// axes that repeat by stride 0 are visited once.
template <class Visit>
void ForElements(const sage_tensor& tensor, Visit&& visit) {
  int64_t index[SAGE_MAX_RANK] = {};
  for (uint32_t axis = 0; axis < tensor.rank; ++axis)
    if (tensor.shape[axis] == 0) return;
  const int64_t size = support::DtypeSize(tensor.dtype);
  for (int64_t linear = 0;; ++linear) {
    int64_t offset = 0;
    for (uint32_t axis = 0; axis < tensor.rank; ++axis) offset += index[axis] * tensor.stride[axis];
    visit(static_cast<unsigned char*>(tensor.data) + offset * size, tensor.rank == 0 ? 0 : index[tensor.rank - 1],
          linear);
    uint32_t axis = tensor.rank;
    while (axis > 0) {
      --axis;
      const bool repeats = tensor.stride[axis] == 0;
      if (!repeats && ++index[axis] < tensor.shape[axis]) break;
      index[axis] = 0;
      if (axis == 0) return;
    }
    if (tensor.rank == 0) return;
  }
}

void FillNormal(const sage_tensor& tensor, Random& random) {
  const bool real = support::IsFloat(tensor.dtype) || tensor.dtype == SAGE_F8_E4M3FN || tensor.dtype == SAGE_F8_E5M2;
  const double factor = real ? 1 : tensor.dtype == SAGE_I8 ? 30 : tensor.dtype == SAGE_BOOL ? 0 : 100;
  ForElements(tensor, [&](unsigned char* element, int64_t, int64_t) {
    StoreElement(element, tensor.dtype, factor * random.Normal());
  });
}

void FillUniform(const sage_tensor& tensor, double low, double high, Random& random) {
  ForElements(tensor, [&](unsigned char* element, int64_t, int64_t) {
    StoreElement(element, tensor.dtype, low + (high - low) * random.Uniform());
  });
}

// Mask entries that keep with probability p; the first of every row always, so that most rows see a key.
void FillKeep(const sage_tensor& tensor, double p, Random& random) {
  ForElements(tensor, [&](unsigned char* element, int64_t column, int64_t) {
    if (tensor.dtype == SAGE_BOOL) {
      *element = column == 0 || random.Uniform() < p ? 1 : 0;
      return;
    }
    unsigned bits = column == 0 ? 1 : 0;
    for (unsigned bit = 0; bit < 8; ++bit) bits |= random.Uniform() < p ? 1u << bit : 0;
    *element = static_cast<unsigned char>(bits);
  });
}

void FillIndices(const sage_tensor& tensor, int64_t bound, Random& random) {
  ForElements(tensor, [&](unsigned char* element, int64_t, int64_t) {
    StoreElement(element, tensor.dtype, static_cast<double>(random.Below(bound)));
  });
}

void StoreAt(const sage_tensor& tensor, int64_t index, int64_t value) {
  StoreElement(static_cast<unsigned char*>(tensor.data) + index * tensor.stride[0] * 4, tensor.dtype,
               static_cast<double>(value));
}

int64_t LoadAt(const sage_tensor& tensor, int64_t index) {
  return static_cast<int64_t>(
      LoadElement(static_cast<const unsigned char*>(tensor.data) + index * tensor.stride[0] * 4, tensor.dtype));
}

// Uneven sequences that sum to `rows`, none longer than `longest` (0 = any). False if they cannot.
bool FillStarts(const sage_tensor& starts, int64_t rows, int64_t longest, Random& random) {
  const int64_t count = starts.shape[0] - 1;
  if (longest <= 0) longest = rows;
  if (count == 0 || rows > longest * count) {
    StoreAt(starts, 0, 0);
    return rows == 0;
  }
  StoreAt(starts, 0, 0);
  int64_t begin = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t rest = rows - begin, later = count - i - 1;
    const int64_t least = std::max<int64_t>(0, rest - later * longest), most = std::min(rest, longest);
    int64_t length = later == 0 ? rest : std::min(most, random.Below(2 * (rest / (later + 1)) + 2));
    length = std::max(length, least);
    begin += length;
    StoreAt(starts, i + 1, begin);
  }
  return true;
}

support::AttentionDims DimsOf(const Problem& problem) {
  return support::ReadAttentionDims(problem.pointers.data(), static_cast<uint32_t>(problem.pointers.size()));
}

void FillCsr(const Problem& problem, Random& random) {
  const sage_tensor &offsets = problem.tensors[SAGE_ATTN_CSR_INDPTR], &indices = problem.tensors[SAGE_ATTN_CSR_INDICES];
  const sage_attention_attributes& a = problem.attributes.attention;
  const int64_t keys = DimsOf(problem).seq_kv;
  const int64_t columns = (keys + a.mask_block_kv - 1) / a.mask_block_kv;
  const int64_t rows = offsets.shape[2] - 1, total = indices.shape[0];
  const int64_t all_rows = std::max<int64_t>(1, offsets.shape[0] * offsets.shape[1] * rows);
  int64_t next = 0, row_number = 0;
  std::vector<int64_t> order(static_cast<size_t>(columns));
  for (int64_t group = 0; group < offsets.shape[0] * offsets.shape[1]; ++group) {
    auto* line = static_cast<unsigned char*>(offsets.data) +
                 4 * ((group / offsets.shape[1]) * offsets.stride[0] + (group % offsets.shape[1]) * offsets.stride[1]);
    StoreElement(line, SAGE_I32, static_cast<double>(next));
    for (int64_t row = 0; row < rows; ++row) {
      ++row_number;
      const int64_t target = static_cast<int64_t>(static_cast<double>(total) * static_cast<double>(row_number) /
                                                  static_cast<double>(all_rows));
      const int64_t kept = std::clamp<int64_t>(std::min(target, total) - next, 0, columns);
      std::iota(order.begin(), order.end(), 0);
      for (int64_t i = 0; i < kept; ++i)
        std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(i + random.Below(columns - i))]);
      std::sort(order.begin(), order.begin() + kept);
      for (int64_t i = 0; i < kept; ++i) StoreAt(indices, next++, order[static_cast<size_t>(i)]);
      StoreElement(line + 4 * (row + 1) * offsets.stride[2], SAGE_I32, static_cast<double>(next));
    }
  }
  for (int64_t i = next; i < total; ++i) StoreAt(indices, i, 0);  // behind the last row: never read
}

// Every mask slot holds the same partition's mask, as far as its form can say it.
void FillMincut(const Problem& problem) {
  const sage_attention_attributes& a = problem.attributes.attention;
  const Result<MincutMask> made = MincutMask::Create(DimsOf(problem).seq_q, problem.mincut);
  if (!made.ok()) return;  // the line was refused
  const MincutMask& mask = *made;
  const auto& t = problem.tensors;
  // visit(element, row, column) over a tensor whose last two axes are rows and columns.
  const auto fill = [&t](uint32_t slot, auto&& value) {
    const int64_t rows = t[slot].shape[2], columns = t[slot].shape[3];
    ForElements(t[slot], [&](unsigned char* element, int64_t column, int64_t linear) {
      *element = value(linear / columns % rows, column);
    });
  };
  if (problem.Has(SAGE_ATTN_MASK))
    fill(SAGE_ATTN_MASK, [&](int64_t i, int64_t j) { return static_cast<unsigned char>(mask.Keeps(i, j) ? 1 : 0); });
  if (problem.Has(SAGE_ATTN_BIT_MASK))
    fill(SAGE_ATTN_BIT_MASK, [&](int64_t i, int64_t byte) {
      unsigned bits = 0;
      for (int64_t bit = 0; bit < 8; ++bit) bits |= mask.Keeps(i, byte * 8 + bit) ? 1u << bit : 0;
      return static_cast<unsigned char>(bits);
    });
  if (problem.Has(SAGE_ATTN_BLOCK_MASK)) {
    std::vector<unsigned char> line(static_cast<size_t>(t[SAGE_ATTN_BLOCK_MASK].shape[3]));
    int64_t line_row = -1;
    fill(SAGE_ATTN_BLOCK_MASK, [&](int64_t row, int64_t column) {
      if (row != line_row) {
        std::fill(line.begin(), line.end(), static_cast<unsigned char>(0));
        mask.ForColumns(mask.Row(row, a.mask_block_q, a.mask_block_kv), a.mask_block_kv,
                        [&line](int64_t kept) { line[static_cast<size_t>(kept)] = 1; });
        line_row = row;
      }
      return line[static_cast<size_t>(column)];
    });
  }
  if (!problem.Has(SAGE_ATTN_CSR_INDPTR)) return;
  const sage_tensor &offsets = t[SAGE_ATTN_CSR_INDPTR], &indices = t[SAGE_ATTN_CSR_INDICES];
  int64_t next = 0, kept = 0;
  MincutMask::TileRow row;
  ForElements(offsets, [&](unsigned char* element, int64_t i, int64_t) {
    if (i > 0) {
      row = mask.Row(i - 1, a.mask_block_q, a.mask_block_kv);
      mask.ForColumns(row, a.mask_block_kv, [&](int64_t column) { StoreAt(indices, next++, column); });
      kept += row.columns;
    }
    StoreElement(element, SAGE_I32, static_cast<double>(kept));
  });
}

// Lengths, starts and pages: what CheckAttentionIndices accepts.
Status FillAttentionIndices(Problem* problem, Random& random) {
  const auto& t = problem->tensors;
  const sage_attention_attributes& a = problem->attributes.attention;
  const support::AttentionDims d = DimsOf(*problem);
  bool fits = true;
  if (d.varlen) fits = FillStarts(t[SAGE_ATTN_CU_SEQLENS_Q], d.seq_q, a.max_seq_q, random);
  if (d.packed_kv()) fits = fits && FillStarts(t[SAGE_ATTN_CU_SEQLENS_K], d.seq_kv, a.max_seq_kv, random);
  if (!fits)
    return Status(SAGE_E_INVALID_ARGUMENT, "problem: maxq or maxkv times b is less than the packed rows of sq or skv");
  const auto segment = [&t](uint32_t slot, int64_t b) { return LoadAt(t[slot], b + 1) - LoadAt(t[slot], b); };
  // Empty tensors may have any batch: only lengths and an append, which have memory of that size, make it worth a loop.
  const bool per_sequence = d.append || problem->Has(SAGE_ATTN_SEQUSED_Q) || problem->Has(SAGE_ATTN_SEQUSED_K);
  for (int64_t b = 0; per_sequence && b < d.batch; ++b) {
    const int64_t capacity_q = d.varlen ? segment(SAGE_ATTN_CU_SEQLENS_Q, b) : d.seq_q;
    const int64_t capacity_kv = d.packed_kv() ? segment(SAGE_ATTN_CU_SEQLENS_K, b) : d.seq_kv;
    const int64_t fresh = !d.append ? 0 : d.varlen ? capacity_q : d.seq_new;
    if (fresh > capacity_kv)
      return Status(SAGE_E_INVALID_ARGUMENT,
                    fmt::format("problem: append: {} new keys do not fit into {}", fresh, capacity_kv));
    if (problem->Has(SAGE_ATTN_SEQUSED_Q))
      StoreAt(t[SAGE_ATTN_SEQUSED_Q], b, capacity_q - random.Below(capacity_q / 2 + 1));
    if (problem->Has(SAGE_ATTN_SEQUSED_K)) {
      const int64_t room = capacity_kv - fresh;
      StoreAt(t[SAGE_ATTN_SEQUSED_K], b, room - random.Below(room / 2 + 1));
    }
  }
  if (d.paged) {
    const sage_tensor& table = t[SAGE_ATTN_BLOCK_TABLE];
    const int64_t pages = d.pages, needed = table.shape[0] * table.shape[1];
    if (needed > 0 && (pages == 0 || (d.append && pages < needed)))
      return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("problem: pages: {} are needed, {} are there", needed, pages));
    std::vector<int32_t> order(static_cast<size_t>(pages));
    std::iota(order.begin(), order.end(), 0);
    for (int64_t i = 0; i + 1 < pages; ++i)
      std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(i + random.Below(pages - i))]);
    ForElements(table, [&](unsigned char* element, int64_t, int64_t linear) {
      StoreElement(element, SAGE_I32, order[static_cast<size_t>(linear % pages)]);
    });
  }
  if (problem->mincut > 0) {
    FillMincut(*problem);
  } else if (problem->Has(SAGE_ATTN_CSR_INDPTR)) {
    FillCsr(*problem, random);
  }
  return Status();
}

void FillAttentionSlot(const sage_tensor& tensor, uint32_t slot, uint64_t seed, Random& random) {
  switch (slot) {
    case SAGE_ATTN_MASK:
    case SAGE_ATTN_BIT_MASK:
      return FillKeep(tensor, 0.75, random);
    case SAGE_ATTN_BLOCK_MASK:
      ForElements(tensor, [&](unsigned char* element, int64_t column, int64_t) {
        *element = column == 0 || random.Uniform() < 0.6 ? 1 : 0;
      });
      return;
    case SAGE_ATTN_ALIBI:
      ForElements(tensor, [&](unsigned char* element, int64_t, int64_t h) {
        StoreElement(element, tensor.dtype,
                     std::exp2(-8.0 * static_cast<double>(h + 1) / static_cast<double>(tensor.shape[0])));
      });
      return;
    case SAGE_ATTN_PHILOX: {
      const uint64_t words[2] = {seed * 7919 + 1, 11};
      ForElements(tensor, [&](unsigned char* element, int64_t, int64_t i) {
        std::memcpy(element, &words[i], sizeof words[i]);
      });
      return;
    }
    case SAGE_ATTN_SCALE_Q:
    case SAGE_ATTN_SCALE_K:
    case SAGE_ATTN_SCALE_V:
    case SAGE_ATTN_SCALE_P:
    case SAGE_ATTN_SCALE_O:
      return FillUniform(tensor, 0.01, 0.05, random);
    case SAGE_ATTN_CU_SEQLENS_Q:
    case SAGE_ATTN_CU_SEQLENS_K:
    case SAGE_ATTN_SEQUSED_Q:
    case SAGE_ATTN_SEQUSED_K:
    case SAGE_ATTN_BLOCK_TABLE:
    case SAGE_ATTN_CSR_INDPTR:
    case SAGE_ATTN_CSR_INDICES:
      return;  // together, later
    default:
      return FillNormal(tensor, random);
  }
}

void FillPlainSlot(const Problem& problem, uint32_t slot, Random& random) {
  const sage_tensor& tensor = problem.tensors[slot];
  const uint32_t kind = problem.op.kind;
  if (kind == SAGE_OP_GATHER && slot == 1)
    return FillIndices(tensor, problem.tensors[0].shape[problem.attributes.gather.axis], random);
  if (kind == SAGE_OP_ROPE && slot == 1)
    return FillIndices(tensor, problem.Has(2) ? problem.tensors[2].shape[0] : 64, random);
  if (tensor.dtype == SAGE_BOOL) return FillKeep(tensor, 0.75, random);
  if (kind == SAGE_OP_NORM && slot == 4) return FillUniform(tensor, 0.5, 2, random);
  if (kind == SAGE_OP_LINEAR && slot >= 4) return FillUniform(tensor, 0.01, 0.05, random);
  const bool positive = kind == SAGE_OP_UNARY && (problem.attributes.unary.function == SAGE_FN_LOG ||
                                                  problem.attributes.unary.function == SAGE_FN_SQRT);
  if (positive) return FillUniform(tensor, 0.01, 4, random);
  return FillNormal(tensor, random);
}

}  // namespace

void TensorExtent(const sage_tensor& tensor, int64_t* begin, uint64_t* bytes) {
  const int64_t size = support::DtypeSize(tensor.dtype);
  int64_t lowest = 0, highest = 0;
  *begin = 0, *bytes = 0;
  for (uint32_t axis = 0; axis < tensor.rank; ++axis) {
    if (tensor.shape[axis] == 0) return;
    const int64_t reach = (tensor.shape[axis] - 1) * tensor.stride[axis];
    (reach < 0 ? lowest : highest) += reach;
  }
  *begin = lowest * size;
  *bytes = static_cast<uint64_t>((highest - lowest + 1) * size);
}

Status MakeProblemTensors(Problem* problem, uint64_t max_bytes, ProblemData* out) {
  const uint32_t kind = problem->op.kind;
  uint64_t total = 0;
  for (uint32_t slot = 0; slot < problem->pointers.size(); ++slot) {
    int64_t begin = 0;
    uint64_t bytes = 0;
    if (!problem->Has(slot)) continue;
    TensorExtent(problem->tensors[slot], &begin, &bytes);
    total += bytes;  // each below 2^56, at most 4096 of them
    if (total > max_bytes)
      return Status(SAGE_E_OUT_OF_MEMORY, fmt::format("problem: its tensors need more than {} bytes", max_bytes));
  }
  out->buffers.assign(problem->pointers.size(), {});
  for (uint32_t slot = 0; slot < problem->pointers.size(); ++slot) {
    if (!problem->Has(slot)) continue;
    sage_tensor& tensor = problem->tensors[slot];
    int64_t begin = 0;
    uint64_t bytes = 0;
    TensorExtent(tensor, &begin, &bytes);
    out->buffers[slot].assign(std::max<uint64_t>(bytes, 1), 0xA5);
    tensor.data = out->buffers[slot].data() - begin;
    if (support::SlotIsOutput(kind, slot)) continue;
    Random random = StreamOf(problem->seed, slot);
    if (kind == SAGE_OP_ATTENTION) {
      FillAttentionSlot(tensor, slot, problem->seed, random);
    } else {
      FillPlainSlot(*problem, slot, random);
    }
  }
  if (kind != SAGE_OP_ATTENTION) return Status();
  if (problem->distribution != Distribution::kNormal) ApplyDistribution(*problem);
  Random random = StreamOf(problem->seed, 1000);
  return FillAttentionIndices(problem, random);
}

}  // namespace sage
