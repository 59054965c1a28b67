// test_tune_file.cc: the file of tuned tiles: what is written is read, and whatever else lies there is ignored in a
// sentence and never in the way.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>

#include "support/temporary_folder.h"
#include "tune_file.h"

namespace sage::cpu {
namespace {

using test::Folder;

TunedTiles Choice(int number) {
  return {"a machine, 2 threads", "problem " + std::to_string(number), 48 + number % 900, 512, 1 + number / 1000.0};
}

std::string Text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void Write(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

// Why a file is ignored; no choice may come of it.
std::string Ignored(const std::string& path) {
  std::string note;
  CHECK(ReadTuneFile(path, &note).empty());
  return note;
}

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

size_t FilesIn(const std::string& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

TEST_CASE("N21 tune file: what is stored is read, by one key once, and is JSON") {
  const Folder folder;
  const std::string path = folder.path + "/a/b/tune.json";
  std::string note;
  CHECK(ReadTuneFile(path, &note).empty());
  CHECK(note.empty());  // none is no news
  for (const int number : {1, 2, 3, 2}) {
    TunedTiles choice = Choice(number);
    choice.rows += number == 2 && ReadTuneFile(path, &note).size() == 3 ? 6 : 0;
    REQUIRE(StoreTuned(path, choice, &note));
    CHECK(note.empty());
  }
  const std::vector<TunedTiles> read = ReadTuneFile(path, &note);
  CHECK(note.empty());
  REQUIRE(read.size() == 3);
  CHECK(read[0].problem == "problem 1");
  CHECK(read[1].problem == "problem 3");
  CHECK(read[2].problem == "problem 2");  // the newest last
  CHECK(read[2].machine == "a machine, 2 threads");
  CHECK(read[2].rows == 56);
  CHECK(read[2].keys == 512);
  CHECK(read[2].gain == doctest::Approx(1.002));
  const auto json = nlohmann::json::parse(Text(path));
  CHECK(json["format"] == "sage-engine tune-cpu 1");
  CHECK(json["choices"].size() == 3);
  struct stat about {};
  REQUIRE(stat(path.c_str(), &about) == 0);
  CHECK((about.st_mode & 0777) == 0600);
  REQUIRE(stat((folder.path + "/a").c_str(), &about) == 0);
  CHECK((about.st_mode & 0777) == 0700);
  CHECK(FilesIn(folder.path + "/a/b") == 1);
}

TEST_CASE("N21 tune file: it stays bounded, the oldest go") {
  const Folder folder;
  const std::string path = folder.path + "/tune.json";
  std::string note;
  TunedTiles choice = Choice(0);
  choice.machine = std::string(kMostTuneName, 'm');
  for (size_t i = 0; i < kMostTuned + 3; ++i) {
    choice.problem = TuneName(std::to_string(1000 + i) + std::string(kMostTuneName, 'p'));
    REQUIRE(StoreTuned(path, choice, &note));
  }
  const std::vector<TunedTiles> read = ReadTuneFile(path, &note);
  CHECK(note.empty());
  REQUIRE(read.size() == kMostTuned);
  CHECK(read.front().problem.starts_with("1003"));
  CHECK(Text(path).size() < kMostTuneBytes);
}

TEST_CASE("N21 tune file: names hold nothing that would end them") {
  CHECK(TuneName("CPU \"x\" \\ \n \x01 caf\xc3\xa9") == "CPU ?x? ? ? ? caf??");
  CHECK(TuneName(std::string(1000, 'x')).size() == kMostTuneName);
}

TEST_CASE("N21 tune file: every cut, and every changed byte that is no digit, letter or end, is damage") {
  const Folder folder;
  const std::string path = folder.path + "/tune.json";
  std::string note;
  REQUIRE(StoreTuned(path, Choice(1), &note));
  REQUIRE(StoreTuned(path, Choice(2), &note));
  const std::string whole = Text(path);
  for (size_t size = 0; size < whole.size(); ++size) {
    Write(path, whole.substr(0, size));
    CHECK_MESSAGE(Contains(Ignored(path), "is ignored: it is"), size);  // damaged, or of a version that has no number
  }
  for (size_t at = 0; at < whole.size(); ++at)
    for (const char byte : {'\0', '"', '\\', '\x80'}) {
      std::string changed = whole;
      if (changed[at] == byte) continue;
      changed[at] = byte;
      Write(path, changed);
      // A quote within a name ends it early, and then what follows is not what is expected.
      CHECK_MESSAGE(!Ignored(path).empty(), at);
    }
  Write(path, whole + "x");
  CHECK(Contains(Ignored(path), "it is damaged"));
  for (const char* numbers : {"\"rows\": 0,", "\"rows\": 1025,", "\"rows\": -4,", "\"rows\": 4e9,", "\"rows\": ,"}) {
    std::string changed = whole;
    changed.replace(changed.find("\"rows\": 49,"), 11, numbers);
    Write(path, changed);
    CHECK_MESSAGE(Contains(Ignored(path), "it is damaged"), numbers);
  }
  for (const char* gain : {"nan", "inf", "0.9", "-1", "1e9", ""}) {
    std::string changed = whole;
    changed.replace(changed.find("1.0010"), 6, gain);
    Write(path, changed);
    CHECK_MESSAGE(Contains(Ignored(path), "it is damaged"), gain);
  }
  // The next choice that is stored starts anew.
  REQUIRE(StoreTuned(path, Choice(5), &note));
  CHECK(ReadTuneFile(path, &note).size() == 1);
}

TEST_CASE("N21 tune file: another version, too much, a link, a folder, a pipe: ignored, each in its sentence") {
  const Folder folder;
  const std::string path = folder.path + "/tune.json", other = folder.path + "/other.json";
  std::string note;
  REQUIRE(StoreTuned(other, Choice(1), &note));
  std::string next = Text(other);
  next.replace(next.find("tune-cpu 1"), 10, "tune-cpu 2");
  Write(path, next);
  CHECK(Contains(Ignored(path), "it is of another version"));
  Write(path, Text(other) + std::string(kMostTuneBytes, ' '));
  CHECK(Contains(Ignored(path), "bytes, at most"));
  std::filesystem::remove(path);

  std::filesystem::create_symlink(other, path);
  CHECK(Contains(Ignored(path), "it is a symbolic link"));
  const std::string before = Text(other);
  CHECK(!StoreTuned(path, Choice(2), &note));
  CHECK(Contains(note, "not a regular file"));
  CHECK(std::filesystem::is_symlink(path));
  CHECK(Text(other) == before);
  std::filesystem::remove(path);

  REQUIRE(mkfifo(path.c_str(), 0600) == 0);
  CHECK(Contains(Ignored(path), "it is not a regular file"));  // and does not wait for a writer
  CHECK(!StoreTuned(path, Choice(2), &note));
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  CHECK(Contains(Ignored(path), "it is not a regular file"));
  CHECK(!StoreTuned(path, Choice(2), &note));
  CHECK(Contains(note, "is not written"));
}

TEST_CASE("N21 tune file: where it cannot be written is said, and nothing is left behind") {
  const Folder folder;
  std::string note;
  Write(folder.path + "/file", "x");
  CHECK(!StoreTuned(folder.path + "/file/tune.json", Choice(1), &note));
  CHECK(Contains(note, "is not written: Not a directory"));
  CHECK(!StoreTuned("/proc/no-such-folder/tune.json", Choice(1), &note));
  CHECK(Contains(note, "is not written"));
  CHECK(!StoreTuned("relative.json", Choice(1), &note));
  CHECK(Contains(note, "an absolute path"));
  CHECK(!StoreTuned(folder.path + "/" + std::string(300, 'x'), Choice(1), &note));
  CHECK(FilesIn(folder.path) == 1);
  if (geteuid() == 0) return;  // who may write everywhere
  REQUIRE(chmod(folder.path.c_str(), 0500) == 0);
  CHECK(!StoreTuned(folder.path + "/tune.json", Choice(1), &note));
  CHECK(Contains(note, "Permission denied"));
  REQUIRE(chmod(folder.path.c_str(), 0700) == 0);
}

TEST_CASE("N21 tune file: threads that write at once never tear it, and lose nothing while the lock is had") {
  const Folder folder;
  const std::string path = folder.path + "/tune.json";
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 2; ++thread)
    threads.emplace_back([&, thread] {
      std::string note;
      for (int i = 0; i < 20; ++i) CHECK(StoreTuned(path, Choice(100 * thread + i), &note));
    });
  std::string note;
  for (int i = 0; i < 200; ++i) {
    ReadTuneFile(path, &note);
    CHECK_MESSAGE(note.empty(), note);
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(ReadTuneFile(path, &note).size() >= 20);
  CHECK(FilesIn(folder.path) == 1);
}

}  // namespace
}  // namespace sage::cpu
