// Where plugins come from, and which files are refused. Real libraries in folders made for the test.
#include <doctest/doctest.h>
#include <elf.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "backend/plugin_file.h"
#include "backend/plugin_loader.h"
#include "backend/shared_object.h"

using namespace sage;
namespace fs = std::filesystem;

namespace {

const fs::path kFixtures = TOY_FOLDER;

// A fresh folder, gone at the end; 0755 all the way (below /tmp, which is sticky).
class Folder {
 public:
  Folder() {
    char name[] = "/tmp/sage-loader-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path_ = name;
    REQUIRE(chmod(name, 0755) == 0);
  }
  ~Folder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }
  std::string Put(const std::string& fixture, const std::string& name) const {
    fs::copy_file(kFixtures / fixture, path_ / name);
    REQUIRE(chmod((path_ / name).c_str(), 0644) == 0);
    return path_ / name;
  }
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name) << text;
    REQUIRE(chmod((path_ / name).c_str(), 0644) == 0);
    return path_ / name;
  }

 private:
  fs::path path_;
};

// The variable for one scope.
class PluginPath {
 public:
  explicit PluginPath(const std::string& value) { setenv("SAGE_PLUGIN_PATH", value.c_str(), 1); }
  ~PluginPath() { unsetenv("SAGE_PLUGIN_PATH"); }
};

bool Says(const std::string& text, std::initializer_list<std::string> words) {
  return std::all_of(words.begin(), words.end(), [&text](const std::string& word) {
    const bool there = text.find(word) != std::string::npos;
    if (!there) MESSAGE("missing '" << word << "' in: " << text);
    return there;
  });
}

PluginFile Load(const std::string& path) { return LoadPluginFile(path, "option", true); }

int OpenDescriptors() {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

}  // namespace

TEST_CASE("a good library by absolute path, by a link, and the path reported is the resolved one") {
  const Folder folder;
  const std::string path = folder.Put("libtoy.so", "libtoy.so");
  const PluginFile file = Load(path);
  REQUIRE_MESSAGE(file.refused.ok(), file.refused.message());
  CHECK(file.path == path);
  CHECK(std::string(file.table->name) == "toy");
  CHECK(std::string(file.table->version) == "1.2.3");
  fs::create_symlink(path, folder.path() / "link.so");
  const PluginFile linked = Load(folder.path() / "link.so");
  CHECK(linked.refused.ok());
  CHECK(linked.path == path);
}

TEST_CASE("relative, empty and missing paths, folders, pipes, dangling links") {
  const Folder folder;
  CHECK(Load("").refused.code() == SAGE_E_INVALID_ARGUMENT);
  for (const char* relative : {"libtoy.so", "./libtoy.so", "../libtoy.so"})
    CHECK(Says(Load(relative).refused.message(), {relative, "absolute path is expected"}));
  const PluginFile missing = Load(folder.path() / "none.so");
  CHECK(missing.refused.code() == SAGE_E_NOT_FOUND);
  CHECK(missing.refused.native_code() == ENOENT);
  CHECK(Says(missing.refused.message(), {"none.so", "No such file"}));
  CHECK(Says(Load(folder.path()).refused.message(), {"is a folder"}));
  REQUIRE(mkfifo((folder.path() / "pipe.so").c_str(), 0644) == 0);
  CHECK(Says(Load(folder.path() / "pipe.so").refused.message(), {"a regular file is expected"}));
  fs::create_symlink(folder.path() / "nowhere.so", folder.path() / "dangling.so");
  CHECK(Load(folder.path() / "dangling.so").refused.code() == SAGE_E_NOT_FOUND);
}

TEST_CASE("what others may write is not loaded: the file, its folder, a folder above; a sticky one is fine") {
  const Folder folder;
  const std::string path = folder.Put("libtoy.so", "libtoy.so");
  const bool group_is_me = IsPrivateGroup(geteuid(), getegid());
  for (const mode_t mode : {0664u, 0646u}) {
    if (mode == 0664 && group_is_me) continue;
    REQUIRE(chmod(path.c_str(), mode) == 0);
    CHECK(Says(Load(path).refused.message(), {path, "may be written", "chmod go-w"}));
  }
  REQUIRE(chmod(path.c_str(), 0644) == 0);
  fs::create_directory(folder.path() / "inner");
  REQUIRE(chmod((folder.path() / "inner").c_str(), 0755) == 0);
  const std::string inner = folder.Put("libtoy.so", "inner/libtoy.so");
  CHECK(Load(inner).refused.ok());
  for (const mode_t mode : {0775u, 0777u}) {
    if (mode == 0775 && group_is_me) continue;
    REQUIRE(chmod(folder.path().c_str(), mode) == 0);
    CHECK(Says(Load(path).refused.message(), {"may be written", folder.path()}));
    CHECK(Says(Load(inner).refused.message(), {"may be written", folder.path()}));
  }
  REQUIRE(chmod(folder.path().c_str(), 01777) == 0);
  CHECK(Load(path).refused.ok());
}

TEST_CASE("a group of one's own is nobody else: what umask 002 leaves is loaded, a group with others is not") {
  CHECK_FALSE(IsPrivateGroup(0, 0));
  CHECK_FALSE(IsPrivateGroup(123456, 123456));  // nobody
  const passwd* user = getpwnam("daemon");
  if (geteuid() != 0 || user == nullptr || !IsPrivateGroup(user->pw_uid, user->pw_gid)) {
    MESSAGE("skipped: root and a user \"daemon\" with a group of its own are needed");
    return;
  }
  const uid_t id = user->pw_uid;
  const gid_t group = user->pw_gid;
  CHECK_FALSE(IsPrivateGroup(id, group + 1));
  const Folder folder;
  const std::string path = folder.Put("libtoy.so", "libtoy.so");
  const auto give = [&](gid_t to, mode_t mode) {
    REQUIRE(chown(path.c_str(), id, to) == 0);
    REQUIRE(chown(folder.path().c_str(), id, to) == 0);
    REQUIRE(chmod(path.c_str(), mode & 0664) == 0);
    REQUIRE(chmod(folder.path().c_str(), mode) == 0);
  };
  const auto loads_for_its_user = [&] {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      const bool loads = setgid(group) == 0 && setuid(id) == 0 && OpenPluginFile(path, false).ok();
      _exit(loads ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  };
  give(group, 0775);
  CHECK(loads_for_its_user());
  CHECK(Says(Load(path).refused.message(), {"may be written by its group"}));  // root is somebody else
  give(group, 0777);
  CHECK_FALSE(loads_for_its_user());
  give(group + 1, 0775);
  CHECK_FALSE(loads_for_its_user());
  give(group + 1, 0755);
  CHECK(loads_for_its_user());
}

TEST_CASE("a foreign owner: refused in a folder, a warning when named") {
  if (geteuid() != 0) {
    MESSAGE("skipped: only root can give a file away");
    return;
  }
  const Folder folder;
  const std::string path = folder.Put("libtoy.so", "libtoy.so");
  if (chown(path.c_str(), 12345, 12345) != 0) {
    MESSAGE("skipped: chown is not allowed here");
    return;
  }
  const PluginFile found = LoadPluginFile(path, "SAGE_PLUGIN_PATH", false);
  CHECK(found.refused.code() == SAGE_E_IO);
  CHECK(Says(found.refused.message(), {"12345", "not loaded"}));
  const PluginFile named = Load(path);
  CHECK(named.refused.ok());
  CHECK(Says(named.warning, {"12345", "neither to root nor to you"}));
}

TEST_CASE("no ELF file, another machine's, one cut short at every length: a sentence, never a crash") {
  const Folder folder;
  CHECK(Says(Load(folder.Write("text.so", "this is no library, it only has its name")).refused.message(),
             {"text.so", "not a plugin", "64-bit ELF shared object"}));
  CHECK(Says(Load(folder.Write("long.so", std::string(4096, 'x'))).refused.message(), {"bytes of ELF"}));
  CHECK(Says(Load(folder.Write("empty.so", "")).refused.message(), {"only 0 bytes"}));
  std::ifstream stream(kFixtures / "libtoy.so", std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(stream)), {});
  REQUIRE(whole.size() > 4096);
  std::string other = whole;
  other[18] = 2, other[19] = 0;  // e_machine: SPARC
  CHECK(Says(Load(folder.Write("sparc.so", other)).refused.message(), {"another machine"}));
  other = whole;
  other[4] = 1;
  CHECK(Says(Load(folder.Write("small.so", other)).refused.message(), {"32-bit"}));
  other = whole;
  other[16] = 1;
  CHECK(Says(Load(folder.Write("object.so", other)).refused.message(), {"not a shared object"}));
  other = whole;
  for (size_t i = 32; i < 40; ++i) other[i] = '\xff';  // the table of segments at 2^64 - 1
  CHECK(Says(Load(folder.Write("lost.so", other)).refused.message(), {"cut short"}));
  // Cut inside what the dynamic linker maps. (The tail behind the last segment is sections, which it never reads.)
  for (size_t length = 0; length < whole.size() * 3 / 4; length += 97) {
    const PluginFile file = Load(folder.Write("cut" + std::to_string(length) + ".so", whole.substr(0, length)));
    if (!file.refused.ok()) CHECK_FALSE(file.refused.message().empty());
  }
}

TEST_CASE("no field of the table of segments, however damaged, takes the process down") {
  const Folder folder;
  std::ifstream stream(kFixtures / "libtoy.so", std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(stream)), {});
  Elf64_Ehdr header;
  REQUIRE(whole.size() > sizeof header);
  std::memcpy(&header, whole.data(), sizeof header);
  int refused = 0, loaded = 0;
  for (uint16_t number = 0; number < header.e_phnum; ++number) {
    const size_t at = header.e_phoff + number * sizeof(Elf64_Phdr);
    Elf64_Phdr segment;
    REQUIRE(at + sizeof segment <= whole.size());
    std::memcpy(&segment, whole.data() + at, sizeof segment);
    for (const size_t field : {offsetof(Elf64_Phdr, p_offset), offsetof(Elf64_Phdr, p_vaddr),
                               offsetof(Elf64_Phdr, p_filesz), offsetof(Elf64_Phdr, p_memsz)}) {
      uint64_t was = 0;
      std::memcpy(&was, whole.data() + at + field, 8);
      for (const uint64_t value : {uint64_t{0}, was ^ 0x1000, was + 0x100000, was ^ 0x80000000,
                                   was ^ (uint64_t{1} << 36), ~uint64_t{0}, ~uint64_t{0} - 0xfff}) {
        if (value == was) continue;
        std::string damaged = whole;
        std::memcpy(damaged.data() + at + field, &value, 8);
        const std::string path = folder.Write("damaged.so", damaged);
        const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        REQUIRE(descriptor >= 0);
        const Status status = CheckSharedObject(descriptor);
        close(descriptor);
        CAPTURE(number);
        CAPTURE(segment.p_type);
        CAPTURE(field);
        CAPTURE(value);
        if (!status.ok()) {
          ++refused;
          CHECK(Says(status.message(), {"not a plugin"}));
          continue;
        }
        // What passes is loaded, by a child.
        const pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
          Load(path);
          _exit(0);
        }
        int result = 0;
        REQUIRE(waitpid(child, &result, 0) == child);
        CHECK((WIFEXITED(result) && WEXITSTATUS(result) == 0));
        ++loaded;
      }
    }
  }
  CHECK(refused > 50);
  MESSAGE(refused << " refused, " << loaded << " given to the linker");
}

TEST_CASE("a library that is no plugin, one of another major, one that needs a newer host, an unresolved symbol") {
  CHECK(Says(Load(kFixtures / "libtoy_no_symbol.so").refused.message(),
             {"libtoy_no_symbol.so", "exports no sage_plugin_query_v1", "no plugin of this engine"}));
  const PluginFile v2 = Load(kFixtures / "libtoy_v2.so");
  CHECK(v2.refused.code() == SAGE_E_ABI_MISMATCH);
  CHECK(Says(v2.refused.message(), {"libtoy_v2.so", "ABI major 2", "speaks ABI 1.0", LibraryPath()}));
  CHECK(Says(Load(kFixtures / "libtoy_newer.so").refused.message(), {"needs ABI 1.3"}));
  const PluginFile unresolved = Load(kFixtures / "libtoy_unresolved.so");
  CHECK(unresolved.refused.code() == SAGE_E_IO);
  CHECK(Says(unresolved.refused.message(), {"libtoy_unresolved.so", "undefined symbol", "nobody_defines_this"}));
  CHECK(unresolved.refused.message().find("/proc/self/fd") == std::string::npos);
}

TEST_CASE("libraries are told apart although their descriptors have the same number") {
  const Folder folder;
  const int before = OpenDescriptors();
  for (int round = 0; round < 20; ++round) {
    const PluginFile a = Load(kFixtures / "libtoy.so");
    const PluginFile b = Load(kFixtures / "libtoy_two.so");
    REQUIRE(a.refused.ok());
    REQUIRE(b.refused.ok());
    CHECK(std::string(a.table->name) == "toy");
    CHECK(std::string(b.table->name) == "toy_two");
  }
  CHECK(OpenDescriptors() == before);
}

TEST_CASE("the search: order, shadowing, broken ones in between, every folder accounted for") {
  const Folder first, second, open;
  first.Put("libtoy.so", "liba.so");
  first.Write("libbroken.so", "not a library");
  first.Write("readme.txt", "not looked at");
  first.Write(".hidden.so", "not looked at");
  second.Put("libtoy.so", "libz.so");
  second.Put("libtoy_two.so", "libb.so");
  open.Put("libtoy_two.so", "libc.so");
  REQUIRE(chmod(open.path().c_str(), 0777) == 0);
  const PluginPath variable(":relative/folder:" + first.path().string() + "::" + open.path().string() +
                            ":/none/such:" + second.path().string() + ":" + first.path().string() + "/.");
  PluginSearch search;
  search.explicit_paths = {(kFixtures / "libtoy_newer.so").string()};
  search.use_default_folders = false;
  std::vector<PluginFolder> folders;
  const std::vector<PluginFile> files = FindPlugins(search, &folders);
  REQUIRE(files.size() == 5);
  CHECK(files[0].origin == "option");
  CHECK(files[0].refused.code() == SAGE_E_ABI_MISMATCH);
  CHECK(files[1].path == first.path() / "liba.so");
  CHECK(files[1].origin == "SAGE_PLUGIN_PATH");
  CHECK(files[1].refused.ok());
  CHECK(files[1].shadowed_by.empty());
  CHECK(files[2].path == first.path() / "libbroken.so");
  CHECK_FALSE(files[2].refused.ok());
  CHECK(files[3].path == second.path() / "libb.so");
  CHECK(files[3].shadowed_by.empty());
  CHECK(files[4].path == second.path() / "libz.so");
  CHECK(files[4].refused.ok());
  CHECK(files[4].shadowed_by == files[1].path);
  REQUIRE(folders.size() == 8);
  CHECK(Says(folders[0].note, {"empty entry"}));
  CHECK(Says(folders[1].note, {"not an absolute path"}));
  CHECK(folders[2].note == "2 libraries");
  CHECK(Says(folders[3].note, {"empty entry"}));
  CHECK(Says(folders[4].note, {"skipped", "may be written"}));
  CHECK(folders[5].note == "does not exist");
  CHECK(folders[6].note == "2 libraries");
  CHECK(folders[7].note == "searched already");
  for (size_t i = 0; i < 8; ++i) CHECK_MESSAGE(folders[i].skipped == (i < 2 || i == 3 || i == 4), folders[i].note);
  search.use_environment = false;
  CHECK(FindPlugins(search, nullptr).size() == 1);
}

TEST_CASE("default folders: beside the library, then the compiled-in one, never the working folder") {
  const Folder folder;
  folder.Put("libtoy.so", "libtoy.so");
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  std::vector<PluginFolder> folders;
  PluginSearch search;
  const std::vector<PluginFile> files = FindPlugins(search, &folders);
  fs::current_path(before);
  for (const PluginFile& file : files) CHECK(file.path.find(folder.path()) == std::string::npos);
  REQUIRE(folders.size() == 2);
  CHECK(folders[0].origin == "beside libsage");
  CHECK(folders[0].path == fs::path(LibraryPath()).parent_path() / "sage/plugins");
  CHECK(folders[1].origin == "compiled-in folder");
}

TEST_CASE(
    "setuid: only the compiled-in folder is searched; paths, the variable and the folder beside libsage are not") {
  const Folder folder;
  const std::string path = folder.Put("libtoy.so", "libtoy.so");
  const PluginPath variable(folder.path().string());
  CHECK_FALSE(ProcessIsPrivileged());  // or this test proves nothing
  PluginSearch search;
  CHECK_FALSE(search.privileged);
  search.explicit_paths = {path};
  std::vector<PluginFolder> folders;
  const auto usable = [&] {
    folders.clear();
    const std::vector<PluginFile> files = FindPlugins(search, &folders);
    return std::count_if(files.begin(), files.end(), [&](const PluginFile& file) {
      return file.refused.ok() && file.path.starts_with(folder.path().string());
    });
  };
  CHECK(usable() == 2);  // by its path, and by the variable (shadowed)
  search.privileged = true;
  CHECK(usable() == 0);
  const std::vector<PluginFile> files = FindPlugins(search, nullptr);
  REQUIRE(files.size() >= 1);
  CHECK(Says(files[0].refused.message(), {path, "privileges beyond its caller's", "compiled-in folder"}));
  CHECK(files[0].table == nullptr);  // not opened, not even looked at
  for (const PluginFile& file : files) CHECK((file.origin == "option" || file.origin == "compiled-in folder"));
  REQUIRE(folders.size() == 3);
  CHECK(folders[0].origin == "SAGE_PLUGIN_PATH");
  CHECK(Says(folders[0].note, {"not read", "setuid"}));
  CHECK(folders[1].origin == "beside libsage");
  CHECK(Says(folders[1].note, {"skipped", "setuid"}));
  CHECK(folders[2].origin == "compiled-in folder");
  CHECK(folders[2].note.find("setuid") == std::string::npos);
  CHECK(Says(LoadPluginFile(path, "option", true, true).refused.message(), {"setuid"}));
  // What the compiled-in folder holds is not named by the caller.
  CHECK(LoadPluginFile(path, "compiled-in folder", false, true).refused.ok());
}

TEST_CASE("links and \"..\": what counts is where they lead, and who may write there") {
  const Folder good, open;
  const std::string path = good.Put("libtoy.so", "libtoy.so");
  open.Put("libtoy.so", "libtoy.so");
  REQUIRE(chmod(open.path().c_str(), 0777) == 0);
  // Out of a folder by "..", by a link to a folder, by a chain of links: the file found is judged where it lies.
  fs::create_directory(good.path() / "inner");
  fs::create_directory_symlink(open.path(), good.path() / "escape");
  fs::create_symlink("escape/libtoy.so", good.path() / "chain.so");
  const std::string sideways = good.path() / "inner/../../" / open.path().filename() / "libtoy.so";
  for (const std::string& leads_out :
       {sideways, (good.path() / "escape/libtoy.so").string(), (good.path() / "chain.so").string()}) {
    CAPTURE(leads_out);
    CHECK(Says(Load(leads_out).refused.message(), {"may be written", open.path().string()}));
  }
  // And the other way round: a link in an open folder to a good file is that good file.
  fs::create_symlink(path, open.path() / "link.so");
  const PluginFile linked = Load(open.path() / "link.so");
  CHECK(linked.refused.ok());
  CHECK(linked.path == path);
  const PluginFile dotted = Load(good.path() / "inner/../libtoy.so");
  CHECK(dotted.refused.ok());
  CHECK(dotted.path == path);
  fs::create_symlink("loop.so", good.path() / "loop.so");
  CHECK(Says(Load(good.path() / "loop.so").refused.message(), {"loop.so"}));
  // A searched folder, too, is judged where it leads.
  PluginSearch search;
  search.use_default_folders = false;
  std::vector<PluginFolder> folders;
  const PluginPath variable((good.path() / "escape").string());
  CHECK(FindPlugins(search, &folders).empty());
  REQUIRE(folders.size() == 1);
  CHECK(Says(folders[0].note, {"skipped", open.path().string()}));
}

TEST_CASE(
    "R16 the cache folder is XDG's, or in the home folder, or none: never relative, never for a privileged process") {
  struct Variable {
    Variable(const char* key, const char* value) : name(key) {
      if (const char* old = getenv(key)) before = old;
      value == nullptr ? unsetenv(key) : setenv(key, value, 1);
    }
    ~Variable() { before.empty() ? unsetenv(name) : setenv(name, before.c_str(), 1); }
    const char* name;
    std::string before;
  };
  const Variable home("HOME", "/home/somebody");
  {
    const Variable cache("XDG_CACHE_HOME", "/var/somewhere");
    CHECK(CacheFolder(false) == "/var/somewhere/sage-engine");
    CHECK(CacheFolder(true).empty());
  }
  for (const char* value : {static_cast<const char*>(nullptr), "", "here", "/two\nlines"}) {
    const Variable cache("XDG_CACHE_HOME", value);
    CHECK(CacheFolder(false) == "/home/somebody/.cache/sage-engine");
    CHECK(CacheFolder(true).empty());
    const Variable homeless("HOME", "..");
    CHECK(CacheFolder(false).empty());
  }
}
