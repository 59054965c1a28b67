// Which libraries are taken for OpenBLAS and which are refused, with fakes that have its names; and what of strides can
// be said to BLAS.
#include <doctest/doctest.h>

#include <string>

#include "../../../plugins/openblas/library.h"
#include "../../../plugins/openblas/product.h"

using namespace sage::openblas;

namespace {

std::string Refusal(const char* path) {
  const char* const candidates[] = {path, nullptr};
  Library library;
  std::string why;
  CHECK(!LoadLibrary(candidates, &library, &why));
  CHECK(!LibraryIsThere(candidates, &why));
  return why;
}

bool Contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("openblas: the serial build, the OpenMP build, 64-bit integers and strangers are refused with a sentence") {
  CHECK(Contains(Refusal(FAKE_SERIAL), "is the serial build, which is not safe"));
  CHECK(Contains(Refusal(FAKE_OPENMP), "is the OpenMP build"));
  CHECK(Contains(Refusal(FAKE_WIDE), "64-bit integers"));
  CHECK(Contains(Refusal(FAKE_PARTIAL), "lacks a function"));
  CHECK(Contains(Refusal("/nowhere/libopenblas.so.0"), "no OpenBLAS was found"));
  CHECK(Contains(Refusal(FAKE_SERIAL), "libopenblas0-pthread"));
}

TEST_CASE("openblas: the first candidate that will do is taken, the refused ones are passed by") {
  const char* const candidates[] = {"/nowhere/libopenblas.so.0", FAKE_SERIAL, FAKE_PTHREAD, nullptr};
  Library library;
  std::string why;
  CHECK(LoadLibrary(candidates, &library, &why));
  CHECK(library.path == FAKE_PTHREAD);
  CHECK(library.config == "FAKE");
  CHECK(why.empty());
}

TEST_CASE("openblas: layouts BLAS can be given") {
  const auto layout = [](int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride) {
    return LayoutOf(rows, columns, row_stride, column_stride);
  };
  CHECK(layout(3, 4, 4, 1).row_major);
  CHECK(layout(3, 4, 9, 1).leading == 9);
  CHECK(layout(3, 4, 1, 3).ok);
  CHECK(!layout(3, 4, 1, 3).row_major);
  CHECK(layout(3, 4, 1, 8).leading == 8);
  CHECK(!layout(3, 4, 3, 1).ok);   // rows overlap
  CHECK(!layout(3, 4, 0, 1).ok);   // repeated
  CHECK(!layout(3, 4, -4, 1).ok);  // walked back
  CHECK(!layout(3, 4, 8, 2).ok);   // every second
  CHECK(!layout(3, 4, 1, 2).ok);
  CHECK(layout(1, 4, 0, 1).leading == 4);  // a single row's stride is never walked
  CHECK(layout(3, 1, 5, 77).leading == 5);
  CHECK(layout(1, 4, 1, 6).leading == 6);
  CHECK(layout(0, 0, 0, 0).ok);
}

TEST_CASE("openblas: leading axes of LINEAR fold into rows as far as strides allow") {
  sage_tensor x{}, w{}, y{};
  const int64_t x_shape[] = {2, 3, 5, 7}, w_shape[] = {4, 7}, y_shape[] = {2, 3, 5, 4};
  sage_tensor_init(&x, SAGE_F32, 4, x_shape, nullptr);
  sage_tensor_init(&w, SAGE_F32, 2, w_shape, nullptr);
  sage_tensor_init(&y, SAGE_F32, 4, y_shape, nullptr);
  const sage_tensor* slots[] = {&x, &w, nullptr, &y};
  CHECK(ProductOf(SAGE_OP_LINEAR, slots).rows == 30);
  CHECK(ProductOf(SAGE_OP_LINEAR, slots).outer_axes == 0);
  x.stride[0] = 200;
  CHECK(ProductOf(SAGE_OP_LINEAR, slots).rows == 15);
  CHECK(ProductOf(SAGE_OP_LINEAR, slots).outer_axes == 1);
  x.stride[0] = 105;
  y.stride[0] = 70;  // the result does not follow, whatever X does
  CHECK(ProductOf(SAGE_OP_LINEAR, slots).rows == 15);
  CHECK(ProductOf(SAGE_OP_LINEAR, slots).outer_axes == 1);
  x.shape[2] = y.shape[2] = 4;  // shorter at run, strides as planned
  CHECK(ProductOf(SAGE_OP_LINEAR, slots).rows == 4);
  CHECK(ProductOf(SAGE_OP_LINEAR, slots).outer_axes == 2);
}
