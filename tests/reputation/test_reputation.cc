// test_reputation.cc: the trust store: its formula, its file, and what it does with files that are not its own.
#include <doctest/doctest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "sage/reputation.h"
#include "support/error_slot.h"

namespace {

using sage::test::Error;

// A path nothing stands at, removed at the end.
struct TempPath {
  std::string path;
  TempPath() {
    std::string name = (std::filesystem::temp_directory_path() / "sage-trust-XXXXXX").string();
    const int descriptor = mkstemp(name.data());
    if (descriptor >= 0) close(descriptor);
    std::filesystem::remove(name);
    path = name;
  }
  ~TempPath() {
    std::error_code ignored;
    for (const char* suffix : {"", "-journal", "-wal", "-shm"}) std::filesystem::remove(path + suffix, ignored);
  }
};

struct Store {
  sage_reputation* handle = nullptr;
  explicit Store(const std::string& path) {
    Error error;
    const sage_status status = sage_reputation_open(path.c_str(), &handle, &error);
    REQUIRE_MESSAGE(status == SAGE_OK, error.message);
  }
  ~Store() { sage_reputation_close(handle); }
  double Update(int64_t expert, double quality, const char* context = "math") {
    Error error;
    double trust = -1;
    const sage_status status =
        sage_reputation_update(handle, "router", 3, expert, context, quality, &trust, nullptr, &error);
    REQUIRE_MESSAGE(status == SAGE_OK, error.message);
    return trust;
  }
  double Trust(int64_t expert, const char* context = "math", int64_t* samples = nullptr) {
    Error error;
    double trust = -1;
    REQUIRE(sage_reputation_get(handle, "router", 3, expert, context, &trust, samples, &error) == SAGE_OK);
    return trust;
  }
};

bool Says(const Error& error, const char* part) { return std::string(error.message).find(part) != std::string::npos; }

}  // namespace

TEST_CASE("G14 trust follows quality by t <- 0.9 t + 0.1 q from 0.5") {
  const TempPath file;
  Store store(file.path);
  CHECK(store.Trust(7) == 0.5);
  double t = 0;
  for (int i = 0; i < 10; ++i) t = store.Update(0, 0.9);
  CHECK(t == doctest::Approx(0.76053).epsilon(1e-5));
  for (int i = 0; i < 5; ++i) t = store.Update(1, 0.3);
  CHECK(t == doctest::Approx(0.41810).epsilon(1e-5));
  for (int i = 0; i < 10; ++i) t = store.Update(2, 0.85);
  CHECK(t == doctest::Approx(0.72796).epsilon(1e-5));
}

TEST_CASE("G14 what was learned is there when the file is opened again, by context") {
  const TempPath file;
  {
    Store store(file.path);
    store.Update(4, 1, "math"), store.Update(4, 1, "math"), store.Update(4, 0, "poetry");
  }
  Store store(file.path);
  int64_t samples = 0;
  CHECK(store.Trust(4, "math", &samples) == doctest::Approx(0.595));
  CHECK(samples == 2);
  CHECK(store.Trust(4, "poetry") == doctest::Approx(0.45));
  CHECK(store.Trust(4, "cooking", &samples) == 0.5);
  CHECK(samples == 0);
}

TEST_CASE("G14 a row of trust for N experts, priors where nothing is known, other contexts left out") {
  const TempPath file;
  Store store(file.path);
  store.Update(1, 1), store.Update(3, 0), store.Update(3, 0), store.Update(9, 1), store.Update(0, 1, "poetry");
  double trust[5] = {-1, -1, -1, -1, -1};
  int64_t samples[5] = {};
  Error error;
  REQUIRE(sage_reputation_row(store.handle, "router", 3, "math", 5, trust, samples, &error) == SAGE_OK);
  CHECK(trust[0] == 0.5);
  CHECK(trust[1] == doctest::Approx(0.55));
  CHECK(trust[3] == doctest::Approx(0.405));
  CHECK(samples[3] == 2);
  CHECK(samples[4] == 0);
}

TEST_CASE("G14 many samples are one transaction: all of them or none") {
  const TempPath file;
  Store store(file.path);
  Error error;
  const int64_t experts[3] = {0, 1, 0};
  const double good[3] = {1, 0, 1}, bad[3] = {1, 0, NAN};
  REQUIRE(sage_reputation_update_many(store.handle, "router", 3, "math", experts, good, 3, &error) == SAGE_OK);
  CHECK(store.Trust(0) == doctest::Approx(0.595));
  CHECK(sage_reputation_update_many(store.handle, "router", 3, "math", experts, bad, 3, &error) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK(store.Trust(0) == doctest::Approx(0.595));
}

TEST_CASE("reputation: forget and list") {
  const TempPath file;
  Store store(file.path);
  store.Update(1, 1, "a\"b"), store.Update(1, 1, "c"), store.Update(2, 1, "c");
  Error error;
  uint64_t needed = 0;
  REQUIRE(sage_reputation_list(store.handle, nullptr, 0, &needed, &error) == SAGE_OK);
  std::vector<char> text(needed);
  CHECK(sage_reputation_list(store.handle, text.data(), needed - 1, &needed, &error) == SAGE_E_BUFFER_TOO_SMALL);
  REQUIRE(sage_reputation_list(store.handle, text.data(), needed, &needed, &error) == SAGE_OK);
  CHECK(std::string(text.data()).find(R"("context":"a\"b","trust":0.55)") != std::string::npos);
  uint64_t removed = 0;
  REQUIRE(sage_reputation_forget(store.handle, "router", 3, 1, "c", &removed, &error) == SAGE_OK);
  CHECK(removed == 1);
  REQUIRE(sage_reputation_forget(store.handle, "router", 3, 1, nullptr, &removed, &error) == SAGE_OK);
  CHECK(removed == 1);
  CHECK(store.Trust(1, "c") == 0.5);
  CHECK(store.Trust(2, "c") == doctest::Approx(0.55));
}

TEST_CASE("reputation: arguments out of range are refused with what was given") {
  const TempPath file;
  Store store(file.path);
  Error error;
  for (double quality : {-0.1, 1.1, static_cast<double>(NAN), static_cast<double>(INFINITY)})
    CHECK(sage_reputation_update(store.handle, "router", 3, 0, "math", quality, nullptr, nullptr, &error) ==
          SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_reputation_update(store.handle, "router", 3, -1, "math", 1, nullptr, nullptr, &error) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK(Says(error, "-1"));
  CHECK(sage_reputation_update(store.handle, "", 3, 0, "math", 1, nullptr, nullptr, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_reputation_update(store.handle, nullptr, 3, 0, "math", 1, nullptr, nullptr, &error) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_reputation_update(store.handle, "router", 3, 0, std::string(257, 'x').c_str(), 1, nullptr, nullptr,
                               &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_reputation_update(nullptr, "router", 3, 0, "math", 1, nullptr, nullptr, &error) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_reputation_row(store.handle, "router", 3, "math", 4, nullptr, nullptr, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(store.Trust(0) == 0.5);
}

TEST_CASE("reputation: files that are no store are refused and left as they are") {
  const TempPath file;
  Error error;
  sage_reputation* store = nullptr;
  CHECK(sage_reputation_open("/nowhere/at/all.db", &store, &error) == SAGE_E_IO);
  CHECK(store == nullptr);
  {
    std::ofstream(file.path) << std::string(8192, 'x');
    CHECK(sage_reputation_open(file.path.c_str(), &store, &error) == SAGE_E_BAD_DATA);
    CHECK(Says(error, file.path.c_str()));
    CHECK(std::filesystem::file_size(file.path) == 8192);
    std::filesystem::remove(file.path);
  }
  sqlite3* other = nullptr;
  REQUIRE(sqlite3_open(file.path.c_str(), &other) == SQLITE_OK);
  REQUIRE(sqlite3_exec(other, "CREATE TABLE mine(x)", nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(other);
  CHECK(sage_reputation_open(file.path.c_str(), &store, &error) == SAGE_E_BAD_DATA);
  CHECK(Says(error, "another program"));
  std::filesystem::remove(file.path);
  { Store made(file.path); }
  REQUIRE(sqlite3_open(file.path.c_str(), &other) == SQLITE_OK);
  REQUIRE(sqlite3_exec(other, "PRAGMA user_version=99", nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(other);
  CHECK(sage_reputation_open(file.path.c_str(), &store, &error) == SAGE_E_BAD_DATA);
  CHECK(Says(error, "99"));
}

TEST_CASE("reputation: a value edited out of range is damage, not trust") {
  const TempPath file;
  {
    Store made(file.path);
    made.Update(0, 1);
  }
  sqlite3* other = nullptr;
  REQUIRE(sqlite3_open(file.path.c_str(), &other) == SQLITE_OK);
  REQUIRE(sqlite3_exec(other, "UPDATE trust SET trust=7", nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(other);
  Store store(file.path);
  Error error;
  double trust = -1;
  CHECK(sage_reputation_get(store.handle, "router", 3, 0, "math", &trust, nullptr, &error) == SAGE_E_BAD_DATA);
  CHECK(sage_reputation_row(store.handle, "router", 3, "math", 1, &trust, nullptr, &error) == SAGE_E_BAD_DATA);
  CHECK(trust == -1);
}

TEST_CASE("reputation: threads of one store and two stores of one file lose no sample") {
  const TempPath file;
  Store first(file.path), second(file.path);
  std::vector<std::thread> threads;
  for (Store* store : {&first, &first, &second})
    threads.emplace_back([store] {
      for (int i = 0; i < 20; ++i)
        sage_reputation_update(store->handle, "router", 3, 0, "math", 1, nullptr, nullptr, nullptr);
    });
  for (std::thread& thread : threads) thread.join();
  int64_t samples = 0;
  second.Trust(0, "math", &samples);
  CHECK(samples == 60);
}
