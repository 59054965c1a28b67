// attention_trial.cc: see attention_trial.h.
#include "attention_trial.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "sage/support/check_op.h"

namespace sage::cpu {
namespace {

constexpr double kLeastWindowNs = 100e3;

// Those that a caller says by bit. Masks and biases that are data are left out: they cost every tile the same.
constexpr uint64_t kStoodFor =
    SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_WINDOW_LEFT | SAGE_ATTN_F_WINDOW_RIGHT | SAGE_ATTN_F_SCALE;

// Numbers of magnitude [0.5, 1) with any sign, made as bits: the exponent of a half under random mantissas.
template <class Word>
void FillWords(void* data, int64_t count, int mantissa, Word half) {
  uint64_t state = 1;
  auto* words = static_cast<Word*>(data);
  for (int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const auto random = static_cast<Word>(state >> (64 - 8 * sizeof(Word)));
    const auto kept = static_cast<Word>((Word{1} << mantissa) - 1u);
    const auto sign = static_cast<Word>(Word{1} << (8 * sizeof(Word) - 1));
    words[i] = static_cast<Word>((random & (kept | sign)) | half);
  }
}

void Fill(sage_dtype dtype, void* data, int64_t count) {
  if (dtype == SAGE_F64) return FillWords<uint64_t>(data, count, 52, 1022ull << 52);
  if (dtype == SAGE_F32) return FillWords<uint32_t>(data, count, 23, 126u << 23);
  if (dtype == SAGE_BF16) return FillWords<uint16_t>(data, count, 7, 126u << 7);
  FillWords<uint16_t>(data, count, 10, 14u << 10);  // f16
}

}  // namespace

AttentionTrial::AttentionTrial(const AttentionDesign& like) : context_(*like.context) {
  context_.num_workers = 1;
  context_.tuner = nullptr;
}

bool AttentionTrial::SetSize(const AttentionDesign& like, int64_t rows, int64_t keys, std::string* why) {
  const AttentionSizes& sizes = like.bounds;
  const int64_t group = std::min(sizes.group, rows), queries = rows / group;
  const int64_t shapes[4][4] = {{1, group, queries, sizes.dim_qk},
                                {1, 1, keys, sizes.dim_qk},
                                {1, 1, keys, sizes.dim_v},
                                {1, group, queries, sizes.dim_v}};
  double bytes = 0;
  for (uint32_t slot = 0; slot < 4; ++slot) {
    const sage_dtype dtype = like.view->Slot(slot).dtype;
    sage_tensor_init(&tensors_[slot], dtype, 4, shapes[slot], nullptr);
    double elements = static_cast<double>(ElementSize(dtype));
    for (const int64_t size : shapes[slot]) elements *= static_cast<double>(size);
    bytes += elements;
  }
  if (bytes > static_cast<double>(kMostBytes)) *why = "heads are too wide for the scratch tensors";
  return bytes <= static_cast<double>(kMostBytes);
}

bool AttentionTrial::TakeIn(const AttentionDesign& like, TileSize tiles, OpView* view, uint64_t* features,
                            std::string* why) {
  const sage_attention_attributes& theirs = like.view->attributes.attention;
  sage_attention_attributes attributes{};
  attributes.struct_size = static_cast<uint32_t>(sizeof attributes);
  attributes.alignment = SAGE_ALIGN_BOTTOM_RIGHT;
  attributes.features = like.features & kStoodFor;
  attributes.scale = theirs.scale, attributes.softcap = theirs.softcap;
  attributes.window_left = theirs.window_left, attributes.window_right = theirs.window_right;
  attributes.algorithm = SAGE_ALGORITHM_FLASH;
  attributes.block_q = static_cast<uint32_t>(tiles.rows), attributes.block_kv = static_cast<uint32_t>(tiles.keys);
  const sage_tensor* slots[4] = {&tensors_[0], &tensors_[1], &tensors_[2], &tensors_[3]};
  sage_op op{};
  op.struct_size = static_cast<uint32_t>(sizeof op);
  op.kind = SAGE_OP_ATTENTION;
  op.accuracy = like.view->op.accuracy;
  op.requirements = like.view->op.requirements;
  op.attributes = &attributes;
  op.num_slots = 4, op.slots = slots;
  return support::TakeInOp(&op, view, why) == SAGE_OK && support::CheckOp(*view, why) == SAGE_OK &&
         support::DeriveAttentionFeatures(*view, features, why) == SAGE_OK;
}

std::unique_ptr<AttentionTrial> AttentionTrial::Make(const AttentionDesign& like, const std::vector<TileSize>& tiles,
                                                     double budget_ns, int turns, std::string* why) {
  // From what shows most to what still shows something. The rows are whole tiles of every candidate, or nearly.
  constexpr int64_t kSizes[][2] = {{1152, 8192}, {1152, 4096}, {576, 4096}, {576, 2048},
                                   {576, 1024},  {576, 512},   {384, 256}};
  std::unique_ptr<AttentionTrial> trial(new AttentionTrial(like));
  const double all_rows = static_cast<double>(like.longest_q) * static_cast<double>(like.bounds.group);
  bool fits = false;
  std::vector<double> prices(tiles.size());
  for (const auto& [most_rows, most_keys] : kSizes) {
    const int64_t rows = all_rows < static_cast<double>(most_rows) ? static_cast<int64_t>(all_rows) : most_rows;
    // Queries in the middle of a square see half of its keys: what they do on the average.
    const bool half = (like.features & SAGE_ATTN_F_CAUSAL) != 0 && like.longest_q == like.longest_kv;
    const int64_t queries = std::max<int64_t>(rows / std::min(like.bounds.group, rows), 1);
    const int64_t middle = half ? (like.longest_kv + queries + 1) / 2 : like.longest_kv;
    if (!trial->SetSize(like, rows, std::clamp<int64_t>(middle, 1, most_keys), why)) continue;
    double total = 0;
    for (size_t i = 0; i < tiles.size(); ++i) {
      OpView view;
      uint64_t features = 0;
      if (!trial->TakeIn(like, tiles[i], &view, &features, why)) return nullptr;
      prices[i] = DesignAttention(trial->context_, view, features).alone_ns;
      total += std::max(prices[i], kLeastWindowNs) * (turns + 1);  // one to warm up
    }
    fits = total <= budget_ns;
    if (fits) break;
    *why = "the time allowed is too short";
  }
  if (!fits) return nullptr;

  sage_error err{};
  err.struct_size = static_cast<uint32_t>(sizeof err);
  const auto failed = [&] {
    *why = err.message;
    return nullptr;
  };
  for (sage_tensor& tensor : trial->tensors_) {
    int64_t count = 1;
    for (uint32_t axis = 0; axis < tensor.rank; ++axis) count *= tensor.shape[axis];
    std::shared_ptr<HostBlock>& block = trial->blocks_.emplace_back();
    const auto bytes = static_cast<uint64_t>(count * ElementSize(tensor.dtype));
    if (HostBlock::Make(like.context->host, bytes, 64, &block, &err) != SAGE_OK) return failed();
    Fill(tensor.dtype, block->data(), count);
    tensor.data = block->data();
  }
  uint64_t workspace = 1;
  for (size_t i = 0; i < tiles.size(); ++i) {
    Candidate& candidate = *trial->candidates_.emplace_back(std::make_unique<Candidate>());
    uint64_t features = 0;
    if (!trial->TakeIn(like, tiles[i], &candidate.view, &features, why)) return nullptr;
    if (PlanAttention(trial->context_, candidate.view, features, nullptr, &candidate.plan, &err) != SAGE_OK)
      return failed();
    candidate.repeats = static_cast<int>(std::ceil(kLeastWindowNs / std::max(prices[i], 100.0)));
    workspace = std::max(workspace, candidate.plan->workspace_bytes);
  }
  if (HostBlock::Make(like.context->host, workspace, 64, &trial->workspace_, &err) != SAGE_OK) return failed();
  return trial;
}

bool AttentionTrial::Run(size_t i) {
  const Candidate& candidate = *candidates_[i];
  sage_run_args args{};
  args.struct_size = static_cast<uint32_t>(sizeof args);
  args.num_slots = candidate.view.op.num_slots;
  args.slots = candidate.view.pointers.data();
  args.workspace = workspace_->data();
  args.workspace_bytes = workspace_->bytes();
  for (int repeat = 0; repeat < candidate.repeats; ++repeat)
    if (candidate.plan->Run(args, nullptr) != SAGE_OK) return false;
  return true;
}

}  // namespace sage::cpu
