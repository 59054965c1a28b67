// temporary_folder.h: a folder of a test's own, gone with it.
#ifndef SAGE_TESTS_SUPPORT_TEMPORARY_FOLDER_H_
#define SAGE_TESTS_SUPPORT_TEMPORARY_FOLDER_H_

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

namespace sage::test {

struct Folder {
  Folder() {
    char name[] = "/tmp/sage-test-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string path;
};

}  // namespace sage::test

#endif  // SAGE_TESTS_SUPPORT_TEMPORARY_FOLDER_H_
