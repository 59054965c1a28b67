// shortest.h: a double's shortest decimal that reads back equal, as std::to_chars writes it, in less time.
//
// A record of a tick is mostly such numbers. Only what a record is made of takes the short way: magnitudes between
// 2^-68 and 2^53 that no exponent makes shorter. Everything else is std::to_chars itself.
#ifndef SAGE_ENGINE_SHORTEST_H_
#define SAGE_ENGINE_SHORTEST_H_

namespace sage {

// Writes value, which is finite, to `to`, which has room for kShortestRoom characters; returns the end. Byte for byte
// what std::to_chars(to, to + kShortestRoom, value) writes.
inline constexpr int kShortestRoom = 32;
char* WriteShortest(double value, char* to);

}  // namespace sage

#endif  // SAGE_ENGINE_SHORTEST_H_
