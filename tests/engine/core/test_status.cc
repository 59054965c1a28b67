// Status, and the caller's error slot: cut to fit, whole characters, never past its size.
#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "status.h"

using namespace sage;

TEST_CASE("a success clears the slot, a failure fills it, null and size 0 are left alone") {
  sage_error slot;
  std::memset(&slot, 0x7f, sizeof slot);
  slot.struct_size = sizeof slot;
  CHECK(Deliver(Status(SAGE_E_IO, "no such disk", 5), &slot) == SAGE_E_IO);
  CHECK(slot.struct_size == sizeof slot);
  CHECK(slot.status == SAGE_E_IO);
  CHECK(slot.native_code == 5);
  CHECK(std::string(slot.message) == "no such disk");
  CHECK(Deliver(Status(), &slot) == SAGE_OK);
  CHECK(slot.status == SAGE_OK);
  CHECK(slot.message[0] == '\0');

  CHECK(Deliver(Status(SAGE_E_BUSY, "x"), nullptr) == SAGE_E_BUSY);
  sage_error untouched;
  std::memset(&untouched, 0x7f, sizeof untouched);
  untouched.struct_size = 0;
  sage_error before = untouched;
  CHECK(Deliver(Status(SAGE_E_BUSY, "x"), &untouched) == SAGE_E_BUSY);
  CHECK(std::memcmp(&before, &untouched, sizeof before) == 0);
}

TEST_CASE("a long message is cut at a whole UTF-8 character, also for a shorter slot of an older caller") {
  std::string text;
  while (text.size() < 600) text += "\xe2\x82\xac";  // three bytes each
  struct {
    sage_error slot;
    unsigned char behind[64];
  } held;
  for (const uint32_t size : {uint32_t{sizeof(sage_error)}, 100u, 17u, 16u, 8u}) {
    std::memset(&held, 0x7f, sizeof held);
    held.slot.struct_size = size;
    CHECK(Deliver(Status(SAGE_E_BAD_DATA, text), &held.slot) == SAGE_E_BAD_DATA);
    CHECK(held.slot.status == SAGE_E_BAD_DATA);
    if (size > 16) {
      const size_t room = size - 16;
      const size_t length = strnlen(held.slot.message, room);
      CHECK(length < room);
      CHECK(length % 3 == 0);
      CHECK(length + 3 >= room);
    }
    const auto* bytes = reinterpret_cast<const unsigned char*>(&held);
    for (size_t i = size; i < sizeof held; ++i) REQUIRE(bytes[i] == 0x7f);
  }
}

TEST_CASE("DeliverText joins function and text, and cuts") {
  sage_error slot{};
  slot.struct_size = sizeof slot;
  CHECK(DeliverText(SAGE_E_INTERNAL, "f", "boom", &slot) == SAGE_E_INTERNAL);
  CHECK(std::string(slot.message) == "f: boom");
  CHECK(DeliverText(SAGE_E_INTERNAL, "f", std::string(2000, 'x').c_str(), &slot) == SAGE_E_INTERNAL);
  CHECK(std::strlen(slot.message) == sizeof slot.message - 1);
}

TEST_CASE("At puts a place in front, of an error only") {
  CHECK(Status().At("here").ok());
  const Status placed = Status(SAGE_E_IO, "gone", 2).At("file");
  CHECK(placed.message() == "file: gone");
  CHECK(placed.native_code() == 2);
}

TEST_CASE("every status has its name, other numbers are unknown") {
  for (int code = 0; code <= SAGE_E_INTERNAL; ++code) CHECK(std::string(StatusName(code)).starts_with("SAGE_"));
  for (const int code : {-1, SAGE_E_INTERNAL + 1, INT32_MAX, INT32_MIN})
    CHECK(std::string(StatusName(code)) == "unknown");
}
