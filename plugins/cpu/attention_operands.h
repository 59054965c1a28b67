// attention_operands.h: Q, K and V of a call where something other than QueryTile brings them into the kernels' form: a
// constant K packed at plan, or a backend whose kernels compute with codes of its own.
//
// Each of the answers may be no; QueryTile then packs what is stored, as ever. One object a call or a plan; every
// function is called from several workers at once.
#ifndef SAGE_PLUGINS_CPU_ATTENTION_OPERANDS_H_
#define SAGE_PLUGINS_CPU_ATTENTION_OPERANDS_H_

#include <cstdint>

namespace sage::cpu {

struct AttentionSequence;

class AttentionOperands {
 public:
  // Some rows of a query tile: `rows` points to what is stored, head and query say which they are.
  struct Queries {
    const AttentionSequence& sequence;
    int64_t b, count;
    const void* const* rows;
    const int64_t *head, *query;
  };

  virtual bool PacksQueries() const { return false; }
  virtual void PackQueries(const Queries&, char* /*to*/) const {}

  // K's panels of the tile that begins at key `first`; *count: its keys.
  virtual bool PacksKeys() const { return false; }
  virtual const char* Keys(int64_t /*b*/, int64_t /*head*/, int64_t /*first*/, int64_t* /*count*/) const {
    return nullptr;
  }

  // V of that tile as accumulate reads it; *ld: its ldv.
  virtual bool PacksValues() const { return false; }
  virtual const char* Values(int64_t /*b*/, int64_t /*head*/, int64_t /*first*/, int64_t* /*ld*/) const {
    return nullptr;
  }

  // Rows of K or V (slot) as floats, `length` a row: what is stored means something else than its numbers.
  virtual bool Converts(uint32_t /*slot*/) const { return false; }
  virtual void Convert(uint32_t /*slot*/, const AttentionSequence&, int64_t /*b*/, int64_t /*head*/, int64_t /*first*/,
                       int64_t /*count*/, const void* const* /*rows*/, int64_t /*length*/, float* /*to*/) const {}
  // Whether a few rows may read K and V where they lie, as the numbers that are stored; and then, where Converts, what
  // those of each key are to be multiplied by.
  virtual bool ReadInPlace() const { return !PacksQueries() && !PacksKeys() && !PacksValues(); }
  virtual void Factors(uint32_t /*slot*/, const AttentionSequence&, int64_t /*b*/, int64_t /*head*/, int64_t /*first*/,
                       int64_t /*count*/, float* /*to*/) const {}

 protected:
  ~AttentionOperands() = default;
};

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_ATTENTION_OPERANDS_H_
