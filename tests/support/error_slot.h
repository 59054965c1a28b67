// error_slot.h: an error slot as a caller makes one: zeroed, its struct_size set.
#ifndef SAGE_TESTS_SUPPORT_ERROR_SLOT_H_
#define SAGE_TESTS_SUPPORT_ERROR_SLOT_H_

#include <string_view>

#include "sage/types.h"

namespace sage::test {

struct Error : sage_error {
  Error() : sage_error{} { struct_size = sizeof(sage_error); }
  bool Says(std::string_view part) const { return std::string_view(message).find(part) != std::string_view::npos; }
};

}  // namespace sage::test

#endif  // SAGE_TESTS_SUPPORT_ERROR_SLOT_H_
