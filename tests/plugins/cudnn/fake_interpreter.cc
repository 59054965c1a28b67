// fake_interpreter.cc: see the header.
#include "fake_interpreter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "fake_arithmetic.h"

namespace sage::cudnn::fake {
namespace {

using Numbers = std::vector<int64_t>;

class Interpreter {
 public:
  explicit Interpreter(const Interpretation& what) : what_(what) {
    for (const Operation& op : what.graph.operations)
      for (const auto& [attribute, tensor] : op.operands)
        if (!IsOutput(op.kind, attribute)) ++reads_left_[tensor->uid];
  }

  Answer Run() {
    for (const Operation& op : what_.graph.operations) {
      switch (op.kind) {
        case kOperationPointwise:
          RunPointwise(op);
          break;
        case kOperationMatmul:
          RunMatmul(op);
          break;
        case kOperationReduction:
          RunReduction(op);
          break;
        case kOperationPagedCacheLoad:
          RunPagedLoad(op);
          break;
        default:
          RunSdpa(op);
      }
      if (!answer_.ok()) return answer_;
      // A large graph's intermediates are not all kept at once.
      for (const auto& [attribute, tensor] : op.operands)
        if (!IsOutput(op.kind, attribute) && --reads_left_[tensor->uid] == 0) values_.erase(tensor->uid);
    }
    return {};
  }

 private:
  void RunPointwise(const Operation& op) {
    const Tensor &x = *op.At(kOperationPointwiseX), &y = *op.At(kOperationPointwiseY);
    const Tensor *b = op.At(kOperationPointwiseB), *t = op.At(kOperationPointwiseT);
    Values result(y.dims);
    Pointwise(op.mode, op.axis, Get(x), b == nullptr ? nullptr : &Get(*b), t == nullptr ? nullptr : &Get(*t), &result);
    for (const Tensor* input : {&x, b, t})
      if (input != nullptr) PassRows(*input, y);
    Put(y, std::move(result));
  }

  void RunReduction(const Operation& op) {
    const Tensor &x = *op.At(kOperationReductionX), &y = *op.At(kOperationReductionY);
    Values result(y.dims);
    Reduce(op.mode, Get(x), &result);
    PassRows(x, y);
    Put(y, std::move(result));
  }

  void RunMatmul(const Operation& op) {
    const Tensor &a = *op.At(kOperationMatmulA), &b = *op.At(kOperationMatmulB), &c = *op.At(kOperationMatmulC);
    const auto rank = static_cast<int>(c.rank());
    const auto rows = Lengths(op.At(kOperationMatmulRows), a.dims[a.rank() - 2]);
    const auto columns = Lengths(op.At(kOperationMatmulColumns), b.dims[b.rank() - 1]);
    const auto inner = Lengths(op.At(kOperationMatmulInner), b.dims[b.rank() - 2]);
    if (!answer_.ok()) return;
    const Values& left = Get(a, rank - 2, rows);
    const Values& right = columns != nullptr ? Get(b, rank - 1, columns) : Get(b, rank - 2, inner);
    if (!answer_.ok()) return;
    Values result(c.dims);
    Product(left, right, &result);
    if (op.pads) Pad(rows.get(), columns.get(), op.padding_value, &result);
    if (rows != nullptr) rows_[c.uid] = rows;
    Put(c, std::move(result));
  }

  void RunPagedLoad(const Operation& op) {
    const Tensor& y = *op.At(kPagedLoadY);
    const bool transposed = IsTransposedLoad(y);
    const int64_t most = y.dims[transposed ? 3 : 2];
    const auto lengths = Lengths(op.At(kPagedLoadLengths), most);
    if (!answer_.ok()) return;
    Values result = LoadPages(*op.At(kPagedLoadContainer), *op.At(kPagedLoadTable), most, *lengths);
    if (!answer_.ok()) return;
    Put(y, transposed ? Transposed(result) : std::move(result));
  }

  // softmax(scale Q K^T) V of all keys, or of those within the lengths.
  void RunSdpa(const Operation& op) {
    const Tensor &q = *op.At(kSdpaQ), &k = *op.At(kSdpaK), &v = *op.At(kSdpaV), &o = *op.At(kSdpaO);
    const Tensor *table_k = op.At(kSdpaPageTableK), *table_v = op.At(kSdpaPageTableV);
    const Tensor *scale = op.At(kSdpaScale), *statistics = op.At(kSdpaStatistics);
    const auto keys_in = [](const Tensor& cache, const Tensor* table) {
      return table == nullptr ? cache.dims[2] : cache.dims[2] * table->dims[2];
    };
    // A table of V may be longer than K's: the shorter one bounds the lengths.
    const int64_t keys = std::min(keys_in(k, table_k), keys_in(v, table_v));
    const auto rows = Lengths(op.At(kSdpaLengthsQ), q.dims[2]), lengths = Lengths(op.At(kSdpaLengthsKv), keys);
    if (!answer_.ok()) return;
    const Values& queries = Get(q, 2, rows);
    const auto cached = [&](const Tensor& cache, const Tensor* table) {
      return table == nullptr ? Get(cache, 2, lengths) : LoadPages(cache, *table, keys, *lengths);
    };
    const Values k_rows = cached(k, table_k), v_rows = cached(v, table_v);
    if (!answer_.ok()) return;
    Values scores(Numbers{q.dims[0], q.dims[1], q.dims[2], keys}), lse(Numbers{q.dims[0], q.dims[1], q.dims[2], 1});
    Product(queries, Transposed(k_rows), &scores);
    const double factor = scale == nullptr ? 1.0 : Get(*scale).data[0];
    const int64_t rows_in_batch = q.dims[1] * q.dims[2];
    for (size_t row = 0; row < lse.data.size(); ++row) {
      const auto batch = static_cast<size_t>(static_cast<int64_t>(row) / rows_in_batch);
      const int64_t in_use = lengths == nullptr ? keys : (*lengths)[batch];
      double* const line = scores.data.data() + static_cast<int64_t>(row) * keys;
      double maximum = -std::numeric_limits<double>::infinity(), sum = 0;
      for (int64_t i = 0; i < keys; ++i) {
        line[i] = i < in_use ? line[i] * factor : -std::numeric_limits<double>::infinity();
        if (!(line[i] <= maximum)) maximum = line[i];
      }
      for (int64_t i = 0; i < keys; ++i) sum += line[i] = std::exp(line[i] - maximum);
      for (int64_t i = 0; i < keys; ++i) line[i] /= sum;
      lse.data[row] = maximum + std::log(sum);
    }
    RoundTo(q.type, &scores.data);  // P is multiplied in the type of V
    Values result(o.dims);
    Product(scores, v_rows, &result);
    for (const Tensor* output : {&o, statistics})
      if (output != nullptr && rows != nullptr) rows_[output->uid] = rows;
    Put(o, std::move(result));
    if (statistics != nullptr) Put(*statistics, std::move(lse));
  }

  // (b,h,most,d) of the pages that the lengths need.
  Values LoadPages(const Tensor& container, const Tensor& table, int64_t most, const Numbers& lengths) {
    const int64_t heads = container.dims[1], page = container.dims[2], width = container.dims[3];
    const auto batches = static_cast<int64_t>(lengths.size());
    Values out(Numbers{batches, heads, most, width});
    const auto* const bytes = static_cast<const char*>(Memory(container));
    const auto* const numbers = static_cast<const char*>(Memory(table));
    const int64_t size = ElementSize(container.type);
    for (int64_t batch = 0; batch < batches; ++batch) {
      const int64_t length = lengths[static_cast<size_t>(batch)];
      const int64_t pages = (length + page - 1) / page;
      const int64_t end = what_.reads_page_tails ? std::min(pages * page, most) : length;
      for (int64_t row = 0; row < end; ++row) {
        const int64_t column = row / page, entry = batch * table.strides[0] + column * table.strides[2];
        const auto number = static_cast<int64_t>(ReadElement(kInt32, numbers + entry * ElementSize(kInt32)));
        if (number < 0 || number >= container.dims[0]) {
          Fail("page " + std::to_string(column) + " of batch " + std::to_string(batch) + " is " +
               std::to_string(number) + " of a container of " + std::to_string(container.dims[0]));
          return out;
        }
        for (int64_t head = 0; head < heads; ++head) {
          const int64_t from =
              number * container.strides[0] + head * container.strides[1] + row % page * container.strides[2];
          double* const to = out.data.data() + ((batch * heads + head) * most + row) * width;
          for (int64_t i = 0; i < width; ++i)
            to[i] = ReadElement(container.type, bytes + (from + i * container.strides[3]) * size);
        }
      }
    }
    return out;
  }

  void* Memory(const Tensor& tensor) const { return what_.bound.at(tensor.uid); }

  void Fail(std::string text) {
    if (answer_.ok()) answer_ = {kOutOfBound, std::move(text)};
  }

  // What lies past the rows and columns in use is `value`.
  static void Pad(const Numbers* rows, const Numbers* columns, double value, Values* result) {
    const size_t rank = result->dims.size();
    const int64_t height = result->dims[rank - 2], width = result->dims[rank - 1];
    const auto count = static_cast<int64_t>(result->data.size()), each = count / result->dims[0];
    for (int64_t place = 0; place < count; ++place) {
      const auto batch = static_cast<size_t>(place / each);
      const bool past_rows = rows != nullptr && place / width % height >= (*rows)[batch];
      const bool past_columns = columns != nullptr && place % width >= (*columns)[batch];
      if (past_rows || past_columns) result->data[static_cast<size_t>(place)] = value;
    }
  }

  // Null of null. Each is at most `most`.
  std::shared_ptr<const Numbers> Lengths(const Tensor* tensor, int64_t most) {
    if (tensor == nullptr) return nullptr;
    auto lengths = std::make_shared<Numbers>();
    for (const double value : Load(*tensor, Memory(*tensor), {}).data) lengths->push_back(static_cast<int64_t>(value));
    for (size_t i = 0; i < lengths->size(); ++i)
      if ((*lengths)[i] < 0 || (*lengths)[i] > most)
        Fail("the length of batch " + std::to_string(i) + ", " + std::to_string((*lengths)[i]) + ", is not in 0 to " +
             std::to_string(most));
    return lengths;
  }

  // Where each batch of a ragged tensor begins; the rows in use must lie before the next one.
  Numbers Starts(const Tensor& tensor, int axis, const Numbers& rows) {
    const Tensor& offsets = *tensor.ragged;
    Numbers starts;
    for (const double value : Load(offsets, Memory(offsets), {}).data) starts.push_back(static_cast<int64_t>(value));
    for (size_t i = 0; i < rows.size(); ++i) {
      const int64_t needed = rows[i] * tensor.strides[static_cast<size_t>(axis)];
      if (starts[i] < 0 || starts[i + 1] - starts[i] < needed)
        Fail("batch " + std::to_string(i) + " of a ragged tensor begins at " + std::to_string(starts[i]) +
             " and ends at " + std::to_string(starts[i + 1]) + ", and its " + std::to_string(rows[i]) + " rows need " +
             std::to_string(needed) + " elements");
    }
    return starts;
  }

  // What an operation made, or what is in memory: of ragged tensors the rows in use.
  const Values& Get(const Tensor& tensor, int axis = -1, const std::shared_ptr<const Numbers>& rows = nullptr) {
    const auto found = values_.find(tensor.uid);
    if (found != values_.end()) return found->second;
    Part part;
    Numbers starts;
    if (tensor.ragged != nullptr) {
      starts = Starts(tensor, axis, *rows);
      if (!answer_.ok()) return values_[tensor.uid] = Values(tensor.dims);
      part = {axis, rows.get(), &starts};
    }
    return values_[tensor.uid] = Load(tensor, Memory(tensor), part);
  }

  // Rows in use of an operand are those of the result, if they are the result's rows.
  void PassRows(const Tensor& from, const Tensor& to) {
    const auto found = rows_.find(from.uid);
    if (found == rows_.end() || to.rank() < 2) return;
    const size_t axis = to.rank() - 2;
    if (from.dims[axis] == to.dims[axis]) rows_[to.uid] = found->second;
  }

  void Put(const Tensor& tensor, Values result) {
    RoundTo(tensor.type, &result.data);
    if (!tensor.is_virtual) {
      const auto found = rows_.find(tensor.uid);
      Part part;
      Numbers starts;
      if (found != rows_.end()) part = {static_cast<int>(tensor.rank()) - 2, found->second.get(), nullptr};
      if (tensor.ragged != nullptr) {
        if (part.rows == nullptr) return Fail("a ragged tensor is made of rows whose lengths are not known");
        starts = Starts(tensor, part.axis, *part.rows);
        part.starts = &starts;
      }
      if (!answer_.ok()) return;
      Store(tensor, Memory(tensor), part, result);
    }
    if (reads_left_.count(tensor.uid) != 0) values_[tensor.uid] = std::move(result);
  }

  const Interpretation& what_;
  Answer answer_;
  std::map<int64_t, Values> values_;                        // a node's address stays, whatever is added
  std::map<int64_t, std::shared_ptr<const Numbers>> rows_;  // in use, by batch; of what a product with overrides made
  std::map<int64_t, int> reads_left_;
};

}  // namespace

Answer Interpret(const Interpretation& what) { return Interpreter(what).Run(); }

}  // namespace sage::cudnn::fake
