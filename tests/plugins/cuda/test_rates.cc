// test_rates.cc: the table that decides between engines of attention: what is shipped, what is found in it, and files
// of a user's own, whatever they hold.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <random>

#include "common/cuda/roofline.h"
#include "rates_testing.h"

namespace sage::cuda {

using test::Error;

TEST_CASE("cuda rates: what is shipped can be read and says that nobody has measured it yet") {
  std::vector<RateRow> rows;
  CHECK(ParseRates(ShippedRates(), &rows) == "");
  CHECK(rows.size() > 60);
  CHECK(AttentionRates().rows().size() == rows.size());
  for (const RateRow& row : rows) {
    CAPTURE(row.engine);
    CAPTURE(row.length);
    CHECK(row.rate.share < 0.75);  // nobody has come further
    CHECK(row.rate.source != RateSource::kMeasured);
    CHECK(!row.rate.of_file);
    if (row.engine != "cudnn") CHECK(row.rate.source == RateSource::kEstimate);
  }
  // 691 and 644 TFLOP/s of 64 heads over 8 of 128 at 8k.
  const double peak = RooflineOf(FakeH200()).tensor_flops / 1e3;
  CHECK(ShareOf({}, "cudnn", Prefill(8192, 128)) * peak == doctest::Approx(691).epsilon(0.002));
  CHECK(ShareOf({}, "cudnn", Prefill(8192, 128, true)) * peak == doctest::Approx(644).epsilon(0.002));
}

TEST_CASE("cuda rates: of our own on Hopper its instructions go before portable ones in 16 bits and in 8") {
  const AttentionRates rates;
  for (const int32_t dim : {64, 128, 256})
    for (const bool causal : {false, true})
      for (const int32_t length : {64, 1024, 3000, 8192, 1 << 17}) {
        CAPTURE(dim);
        CAPTURE(causal);
        CAPTURE(length);
        const AttentionArguments a = Prefill(length, dim, causal);
        CHECK(ShareOf(rates, "cuda.hopper", a) > ShareOf(rates, "cuda.int8", a));
        CHECK(ShareOf(rates, "cuda.int8", a) > ShareOf(rates, "cuda.portable", a));
      }
}

TEST_CASE("cuda rates: between two lengths the share follows the logarithm and beyond them it stays") {
  const AttentionRates rates = Loaded(
      "cudnn 90 128 prefill none 1024 0.2 measured\n"
      "cudnn 90 128 prefill none 16384 0.6 published\n"
      "cudnn 90 128 prefill none 4096 0.5 estimate\n");
  CHECK(ShareOf(rates, "cudnn", Prefill(1024, 128)) == 0.2);
  CHECK(ShareOf(rates, "cudnn", Prefill(2048, 128)) == doctest::Approx(0.35));
  CHECK(ShareOf(rates, "cudnn", Prefill(4096, 128)) == 0.5);
  CHECK(ShareOf(rates, "cudnn", Prefill(8192, 128)) == doctest::Approx(0.55));
  CHECK(ShareOf(rates, "cudnn", Prefill(100, 128)) == 0.2);
  CHECK(ShareOf(rates, "cudnn", Prefill(1 << 20, 128)) == 0.6);
  // The source is the lesser of both.
  CHECK(rates.Find("cudnn", FakeH200(), Prefill(1024, 128))->source == RateSource::kMeasured);
  CHECK(rates.Find("cudnn", FakeH200(), Prefill(1025, 128))->source == RateSource::kEstimate);
  CHECK(rates.Find("cudnn", FakeH200(), Prefill(8192, 128))->source == RateSource::kEstimate);
  CHECK(rates.Find("cudnn", FakeH200(), Prefill(16384, 128))->source == RateSource::kPublished);
}

TEST_CASE("cuda rates: the smallest dimension that is enough and the architecture itself before its range") {
  const AttentionRates rates = Loaded(
      "cudnn 8x 256 prefill none 1024 0.1 measured\n"
      "cudnn 8x 64 prefill none 1024 0.2 measured\n"
      "cudnn 86 128 prefill none 1024 0.3 measured\n"
      "cudnn 12x 128 prefill none 1024 0.4 measured\n");
  const auto at = [&](int major, int minor, int32_t dim) {
    return ShareOf(rates, "cudnn", Prefill(1024, dim), Board(major, minor));
  };
  CHECK(at(8, 0, 32) == 0.2);
  CHECK(at(8, 9, 64) == 0.2);
  CHECK(at(8, 9, 65) == 0.1);
  CHECK(at(8, 9, 256) == 0.1);
  CHECK(at(8, 9, 257) == 0);
  CHECK(at(8, 6, 64) == 0.3);
  CHECK(at(8, 6, 129) == 0.1);
  CHECK(at(12, 0, 128) == 0.4);
  CHECK(at(12, 1, 128) == 0.4);
  CHECK(at(7, 5, 64) == 0);
  // The larger dimension of Q's and V's counts.
  AttentionArguments wide = Prefill(1024, 64);
  wide.dim_v = 128;
  CHECK(ShareOf(rates, "cudnn", wide, Board(8, 0)) == 0.1);
  wide.dim_qk = 192;
  CHECK(ShareOf(rates, "cudnn", wide, Board(8, 6)) == 0.1);
  CHECK(ShareOf(rates, "cuda.portable", wide, Board(8, 6)) == 0);
}

TEST_CASE("cuda rates: classes of queries and masks") {
  const AttentionRates rates = Loaded(
      "cudnn 80 128 prefill none 1024 0.1 measured\n"
      "cudnn 80 128 prefill causal 1024 0.2 measured\n"
      "cudnn 80 64 prefill window 1024 0.3 measured\n"
      "cudnn 80 128 decode none 1024 0.4 measured\n");
  AttentionArguments a = Prefill(1024, 128);
  const auto share = [&] { return ShareOf(rates, "cudnn", a, Board(8, 0)); };  // of which nothing is shipped
  CHECK(share() == 0.1);
  a.window_left = 1023;  // hides nothing
  CHECK(share() == 0.1);
  a.window_left = INT64_MAX;
  CHECK(share() == 0.1);
  a.window_left = 1022;  // has no row at 128
  CHECK(share() == 0.2);
  a.dim_qk = a.dim_v = 64;
  CHECK(share() == 0.3);
  a.window_left = -1, a.window_right = 0;
  CHECK(share() == 0.3);
  a.causal = true;  // hides what the window would
  CHECK(share() == 0.2);
  // Eight heads share one: up to eight queries are few.
  for (const int32_t queries : {1, 8, 9}) {
    CAPTURE(queries);
    a.seq_q = queries;
    CHECK(share() == (queries <= 8 ? 0.4 : 0.2));
    a.window_left = 5;
    CHECK(share() == (queries <= 8 ? 0.4 : 0.3));
    a.window_left = -1;
  }
  // Not of 16 bits.
  a.type = AttentionType::kF32;
  CHECK(share() == 0);
  // Nothing to compute is no division by zero.
  a = {};
  a.heads_k = 0, a.seq_q = a.seq_kv = 0;
  CHECK(share() == 0.4);
}

TEST_CASE("cuda rates: a curve of a file takes the place of the shipped one and leaves the others") {
  const AttentionRates rates = Loaded("# mine\n\n\tcudnn  90 128 prefill none 8192 0.3 measured # 321\r\n");
  CHECK(ShareOf(rates, "cudnn", Prefill(8192, 128)) == 0.3);
  CHECK(ShareOf(rates, "cudnn", Prefill(2048, 128)) == 0.3);  // lengths of another board do not go on with it
  CHECK(ShareOf(rates, "cudnn", Prefill(32768, 128)) == 0.3);
  const AttentionRates shipped;
  CHECK(ShareOf(rates, "cudnn", Prefill(8192, 128, true)) == ShareOf(shipped, "cudnn", Prefill(8192, 128, true)));
  CHECK(ShareOf(rates, "cudnn", Prefill(8192, 64)) == ShareOf(shipped, "cudnn", Prefill(8192, 64)));
  CHECK(ShareOf(rates, "cuda.hopper", Prefill(8192, 128)) == ShareOf(shipped, "cuda.hopper", Prefill(8192, 128)));
  const auto words = [](const AttentionRates& table, const AttentionArguments& a) {
    return std::string(table.SourceText(table.Find("cudnn", FakeH200(), a)));
  };
  CHECK(words(rates, Prefill(8192, 128)).find("rates of ") == 0);
  CHECK(words(rates, Prefill(8192, 128)).find("rates.txt") != std::string::npos);
  CHECK(words(shipped, Prefill(8192, 128)) == "a published rate");
  CHECK(words(shipped, Prefill(600, 128)) == "an estimate");
  CHECK(words(shipped, Prefill(8192, 512)) == "an estimate");
}

// S15: a file is somebody's.
TEST_CASE("cuda rates: what is wrong with a file is said with its line") {
  const std::string good = "cudnn 90 128 prefill none 1024 0.5 measured\n";
  const struct {
    std::string text, words;
  } cases[] = {
      {"", "there is no row in it, expected: ENGINE ARCHITECTURE D"},
      {"# nothing\n", "there is no row in it"},
      {good + "cudnn 90 128\n", "line 2: fields are missing, expected: ENGINE"},
      {good + "cudnn 90 128 prefill none 1024 0.5 measured twice", "line 2: \"twice\" is one field too many"},
      {"cuda.fast 90 128 prefill none 1024 0.5 measured",
       "line 1: the engine is \"cuda.fast\", expected one of: cudnn, cuda.plain, cuda.small, cuda.decode, "
       "cuda.portable, cuda.int8, cuda.hopper"},
      {"cudnn sm_90 128 prefill none 1024 0.5 measured", "the architecture is \"sm_90\", expected one as 90"},
      {"cudnn 9 128 prefill none 1024 0.5 measured", "the architecture is \"9\""},
      {"cudnn 090 128 prefill none 1024 0.5 measured", "the architecture is \"090\""},
      {"cudnn x 128 prefill none 1024 0.5 measured", "the architecture is \"x\""},
      {"cudnn 1000 128 prefill none 1024 0.5 measured", "the architecture is \"1000\""},
      {"cudnn 999x 128 prefill none 1024 0.5 measured", "the architecture is \"999x\""},
      {"cudnn 90 0 prefill none 1024 0.5 measured", "the dimension is \"0\""},
      {"cudnn 90 -128 prefill none 1024 0.5 measured", "the dimension is \"-128\""},
      {"cudnn 90 99999999999999999999 prefill none 1024 0.5 measured", "the dimension is \"99999999999999999999\""},
      {"cudnn 90 128 chat none 1024 0.5 measured",
       "the class of queries is \"chat\", expected one of: prefill, decode"},
      {"cudnn 90 128 prefill some 1024 0.5 measured", "the mask is \"some\", expected one of: none, causal, window"},
      {"cudnn 90 128 decode causal 1024 0.5 measured", "decode has masks none and window"},
      {"cudnn 90 128 prefill none 1e3 0.5 measured", "the length is \"1e3\""},
      {"cudnn 90 128 prefill none 268435457 0.5 measured", "the length is \"268435457\""},
      {"cudnn 90 128 prefill none 1024 nan measured", "the share is \"nan\""},
      {"cudnn 90 128 prefill none 1024 inf measured", "the share is \"inf\""},
      {"cudnn 90 128 prefill none 1024 1e999 measured", "the share is \"1e999\""},
      {"cudnn 90 128 prefill none 1024 0 measured", "the share is \"0\""},
      {"cudnn 90 128 prefill none 1024 1e-999 measured", "the share is \"1e-999\""},
      {"cudnn 90 128 prefill none 1024 -0.5 measured", "the share is \"-0.5\""},
      {"cudnn 90 128 prefill none 1024 691 measured", "the share is \"691\", expected a share of the device's peak"},
      {"cudnn 90 128 prefill none 1024 0,5 measured", "the share is \"0,5\""},
      {"cudnn 90 128 prefill none 1024 0.5 guessed",
       "the source is \"guessed\", expected one of: estimate, published, measured"},
      {good + "\n" + good, "line 3: line 1 has a rate of the same engine"},
      {std::string("cudnn\0 90 128 prefill none 1024 0.5 measured", 44), "the engine is \"cudnn?\""},
      {std::string(300, 'a') + "\x1b[2J 1 2 3 4 5 6 7", "the engine is \"" + std::string(40, 'a') + "...\""},
  };
  for (const auto& [text, words] : cases) {
    CAPTURE(text);
    const RatesFile file(text);
    AttentionRates rates;
    Error error;
    CHECK(LoadRates(file.path, &rates, &error) == SAGE_E_INVALID_ARGUMENT);
    CHECK_MESSAGE(error.Says(words), error.message);
    CHECK(error.Says("create: rates is \""));
    CHECK(rates.rows().size() == AttentionRates().rows().size());
  }
}

// Every field, sign and separator in every other's place.
TEST_CASE("cuda rates: whatever a text holds it is read or refused") {
  const std::string_view shipped = ShippedRates();
  std::mt19937 random(5);
  int read = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text(shipped.substr(random() % shipped.size(), random() % 300));
    for (uint32_t n = random() % 4; n > 0 && !text.empty(); --n)
      text[random() % text.size()] = n == 1 ? static_cast<char>(random()) : shipped[random() % shipped.size()];
    std::vector<RateRow> rows;
    const std::string wrong = ParseRates(text, &rows);
    CHECK(wrong.empty() == !rows.empty());
    CHECK(wrong.size() < 300);
    for (const RateRow& row : rows) {
      CHECK((row.rate.share > 0 && row.rate.share <= 4));
      CHECK((row.dim > 0 && row.length > 0 && row.architecture >= 10));
    }
    read += wrong.empty() ? 1 : 0;
  }
  CHECK(read > 10);
}

TEST_CASE("cuda rates: what is no file of rates is refused and not read") {
  const test::Folder folder;
  const std::string fifo = folder.path + "/fifo", large = folder.path + "/large";
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  std::ofstream(large) << std::string((64 << 10) + 1, '\n');
  const struct {
    std::string path;
    sage_status status;
    const char* words;
  } cases[] = {
      {"", SAGE_E_INVALID_ARGUMENT, "rates is empty, expected a file of rates"},
      {folder.path + "/none", SAGE_E_NOT_FOUND, "which cannot be read (No such file"},
      {folder.path, SAGE_E_INVALID_ARGUMENT, "which is no regular file"},
      {fifo, SAGE_E_INVALID_ARGUMENT, "which is no regular file"},
      {"/dev/zero", SAGE_E_INVALID_ARGUMENT, "which is no regular file"},
      {large, SAGE_E_INVALID_ARGUMENT, "which has more than 65536 bytes"},
  };
  for (const auto& [path, status, words] : cases) {
    CAPTURE(path);
    AttentionRates rates;
    Error error;
    CHECK(LoadRates(path, &rates, &error) == status);
    CHECK_MESSAGE(error.Says(words), error.message);
    CHECK(LoadRates(path, &rates, nullptr) == status);
  }
  // At the limit it is read.
  std::string text = "cudnn 90 128 prefill none 1024 0.5 measured\n";
  text.resize(64 << 10, '\n');
  CHECK(ShareOf(Loaded(text), "cudnn", Prefill(1024, 128)) == 0.5);
}

}  // namespace sage::cuda
