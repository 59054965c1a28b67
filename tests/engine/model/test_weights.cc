// Weight files: opened beneath the folder only, exactly as long as said, and every header that lies is refused.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "model/open_beneath.h"
#include "model/safetensors.h"
#include "model/sha256.h"
#include "model/weights.h"
#include "model_text.h"
#include "weight_files.h"

using namespace sage;
using namespace sage::test;

namespace {

// Two float arrays, [2,3] and [1].
std::vector<uint8_t> SmallFile() {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6, 7};
  std::vector<uint8_t> data(values.size() * sizeof(float));
  std::memcpy(data.data(), values.data(), data.size());
  return Safetensors(
      R"({"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"F32","shape":[1],"data_offsets":[24,28]}})",
      data);
}

std::string ModelWith(const std::string& file, uint64_t size, const std::string& more = "",
                      const std::string& weight = "\"key\": \"w\"", const std::string& tensor = "") {
  GraphText graph;
  graph.head = "\"weight_files\": [{\"path\": \"" + file + "\", \"size\": " + std::to_string(size) + more + "}], ";
  graph.tensors = "{\"name\": \"w\"" + tensor + ", \"weight\": {" + weight + "}}";
  graph.nodes = NodeText("n", "Unary", "\"x\": \"w\", \"out\": \"y\"");
  graph.outputs = "\"y\"";
  return graph.Json();
}

}  // namespace

TEST_CASE("sha256: the published examples") {
  const auto digest = [](const std::string& text) {
    return Sha256Hex({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  };
  CHECK(digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(digest(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("weights: an array is found, mapped or copied, whatever its alignment") {
  TemporaryFolder folder;
  std::vector<uint8_t> file = SmallFile();
  // One more blank in the header: the floats now start at an odd byte.
  const std::string header(file.begin() + 8, file.end() - 28);
  const std::vector<uint8_t> odd = Safetensors(header + " ", std::vector<uint8_t>(file.end() - 28, file.end()));
  REQUIRE(((odd.size() - 28) % 4) != ((file.size() - 28) % 4));
  folder.Write("a.safetensors", odd);
  for (const bool copy : {false, true}) {
    auto model =
        Model::LoadBuffer(Compile(ModelWith("a.safetensors", odd.size())), folder.path(), {.copy_weights = copy});
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    const auto graph = std::get<std::shared_ptr<const Graph>>((*model)->content());
    const GraphTensor& w = graph->tensors[0];
    CHECK(*w.dtype == SAGE_F32);
    REQUIRE(w.shape->size() == 2);
    CHECK((*w.shape)[1].size == 3);
    REQUIRE(w.constant->bytes == 24);
    float last = 0;
    std::memcpy(&last, static_cast<const char*>(w.constant->data) + 20, sizeof last);
    CHECK(last == 6);
  }
}

TEST_CASE("weights: what does not fit is refused with both sides named") {
  TemporaryFolder folder;
  const std::vector<uint8_t> file = SmallFile();
  const uint64_t size = file.size();
  folder.Write("a.safetensors", file);
  const auto error = [&](const std::string& json) { return ErrorOf(json, folder.path()); };
  CHECK(error(ModelWith("a.safetensors", size)) == "");
  CHECK(error(ModelWith("a.safetensors", size, ", \"sha256\": \"" + Sha256Hex(file) + "\"")) == "");
  CHECK_CONTAINS(error(ModelWith("a.safetensors", size, ", \"sha256\": \"" + std::string(64, 'a') + "\"")),
                 "has sha256");
  CHECK_CONTAINS(error(ModelWith("a.safetensors", size, ", \"sha256\": \"abc\"")), "64 hexadecimal digits");
  CHECK_CONTAINS(error(ModelWith("a.safetensors", size + 1)), "the model says " + std::to_string(size + 1));
  CHECK_CONTAINS(error(ModelWith("a.safetensors", size - 1)), "the model says " + std::to_string(size - 1));
  CHECK_CONTAINS(error(ModelWith("a.safetensors", 0)), "size is missing");
  CHECK_CONTAINS(error(ModelWith("b.safetensors", size)), "No such file");
  CHECK_CONTAINS(error(ModelWith("a.safetensors", size, "", "\"key\": \"ww\"")),
                 "tensors[0].w: key \"ww\" is not in \"a.safetensors\"; did you mean \"w\"?");
  CHECK_CONTAINS(error(ModelWith("a.safetensors", size, "", "\"file\": \"a.safetensor\", \"key\": \"w\"")),
                 "did you mean \"a.safetensors\"?");
  CHECK_CONTAINS(error(ModelWith("a.safetensors", size, "", "")), "needs a key");
  const std::string shape = ", \"shape\": [{\"size\": 3}, {\"size\": 2}]";
  CHECK_CONTAINS(error(ModelWith("a.safetensors", size, "", "\"key\": \"w\"", shape)), "must be [3, 2], \"w\"");
  CHECK_CONTAINS(error(ModelWith("a.safetensors", size, "", "\"key\": \"w\"", ", \"dtype\": \"F16\"")),
                 "must be f16, \"w\"");
  CHECK_CONTAINS(ErrorOf(ModelWith("a.safetensors", size)), "without the folder where its weights lie");
  const auto limited =
      Model::LoadBuffer(Compile(ModelWith("a.safetensors", size)), folder.path(), {.max_weight_bytes = 10});
  REQUIRE_FALSE(limited.ok());
  CHECK_CONTAINS(limited.status().message(), "above the limit of 10 bytes");
  // A file that could not be read is one error, not one for each tensor in it.
  const std::string missing = error(ModelWith("b.safetensors", size));
  CHECK(missing.find('\n') == std::string::npos);
}

TEST_CASE("weights: raw files are read by offset, and never past their end") {
  TemporaryFolder folder;
  folder.Write("raw.bin", std::vector<uint8_t>(10, 1));
  const auto error = [&](const std::string& weight, const std::string& tensor) {
    return ErrorOf(ModelWith("raw.bin", 10, ", \"format\": \"RAW\"", weight, tensor), folder.path());
  };
  const std::string two = ", \"dtype\": \"F32\", \"shape\": [{\"size\": 2}]";
  CHECK(error("\"offset\": 0", two) == "");
  CHECK(error("\"offset\": 2", two) == "");
  CHECK_CONTAINS(error("\"offset\": 3", two), "needs 2 elements of f32 from byte 3 on, \"raw.bin\" has 10 bytes");
  CHECK_CONTAINS(error("\"offset\": 18446744073709551615", two), "has 10 bytes");
  CHECK_CONTAINS(error("", ", \"dtype\": \"F32\""), "declare dtype and shape");
  CHECK_CONTAINS(error("\"key\": \"w\"", two), "a RAW file has no names");
  CHECK_CONTAINS(error("", ", \"dtype\": \"F64\", \"shape\": [{\"size\": 4611686018427387904}, {\"size\": 8}]"),
                 "tensors[0].w");
  CHECK(error("", ", \"dtype\": \"BOOL\", \"shape\": [{\"size\": 10}]") == "");
  folder.Write("raw.bin", std::vector<uint8_t>(10, 2));
  CHECK_CONTAINS(error("", ", \"dtype\": \"BOOL\", \"shape\": [{\"size\": 10}]"), "neither 0 nor 1");
}

TEST_CASE("weights: no path leaves the model's folder, and only regular files are opened") {
  TemporaryFolder outside, folder;
  const std::vector<uint8_t> file = SmallFile();
  outside.Write("secret", file);
  folder.Write("good", file);
  std::filesystem::create_directory(folder.File("sub"));
  folder.Write("sub/inner", file);
  std::filesystem::create_symlink(outside.File("secret"), folder.File("absolute_link"));
  std::filesystem::create_symlink("../" + std::filesystem::path(outside.path()).filename().string() + "/secret",
                                  folder.File("relative_link"));
  std::filesystem::create_directory_symlink(outside.path(), folder.File("folder_link"));
  std::filesystem::create_symlink("sub/inner", folder.File("inside_link"));
  std::filesystem::create_symlink("loop", folder.File("loop"));
  REQUIRE(mkfifo(folder.File("fifo").c_str(), 0600) == 0);
  const auto error = [&](const std::string& path) { return ErrorOf(ModelWith(path, file.size()), folder.path()); };
  CHECK(error("good") == "");
  CHECK(error("sub/inner") == "");
  CHECK(error("inside_link") == "");
  for (const char* path : {"absolute_link", "relative_link", "folder_link/secret", "loop"}) {
    CAPTURE(path);
    CHECK_CONTAINS(error(path), "leads out of the model's folder by a link");
  }
  CHECK_CONTAINS(error("/etc/passwd"), "is absolute");
  CHECK_CONTAINS(error("../secret"), "leaves the folder by \"..\"");
  CHECK_CONTAINS(error("sub/../../secret"), "leaves the folder");
  CHECK_CONTAINS(error("sub//inner"), "empty part");
  CHECK_CONTAINS(error("./good"), "empty part or a \".\"");
  CHECK_CONTAINS(error(""), "is empty");
  CHECK_CONTAINS(error("fifo"), "is no regular file");
  CHECK_CONTAINS(error("sub"), "is no regular file");
}

TEST_CASE("weights: walking where the kernel cannot resolve: the same traps, and no link at all is followed") {
  TemporaryFolder outside, folder;
  const std::vector<uint8_t> file = SmallFile();
  outside.Write("secret", file);
  folder.Write("good", file);
  std::filesystem::create_directories(folder.File("sub/deep"));
  folder.Write("sub/deep/inner", file);
  std::filesystem::create_symlink(outside.File("secret"), folder.File("absolute_link"));
  std::filesystem::create_symlink("../" + std::filesystem::path(outside.path()).filename().string() + "/secret",
                                  folder.File("relative_link"));
  std::filesystem::create_directory_symlink(outside.path(), folder.File("folder_link"));
  std::filesystem::create_directory_symlink(outside.path(), folder.File("sub/deep/folder_link"));
  std::filesystem::create_directory_symlink("/proc/self/root", folder.File("magic_link"));
  std::filesystem::create_symlink("sub/deep/inner", folder.File("inside_link"));
  std::filesystem::create_directory_symlink("sub", folder.File("inside_folder_link"));
  std::filesystem::create_symlink("loop", folder.File("loop"));
  REQUIRE(mkfifo(folder.File("fifo").c_str(), 0600) == 0);
  const Descriptor root(open(folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(root.get() >= 0);
  const auto walked = [&](const std::string& path) {
    errno = 0;
    return OpenBeneathByWalking(root.get(), path).get() >= 0 ? 0 : errno;
  };
  const auto kernel = [&](const std::string& path) {
    errno = 0;
    return OpenBeneathByKernel(root.get(), path).get() >= 0 ? 0 : errno;
  };
  const bool new_kernel = kernel("good") == 0;
  if (!new_kernel) MESSAGE("this kernel or sandbox has no openat2: only the walk is tested");
  for (const char* path : {"good", "sub/deep/inner", "fifo"}) {
    CAPTURE(path);
    CHECK(walked(path) == 0);
    if (new_kernel) CHECK(kernel(path) == 0);
  }
  for (const char* path : {"absolute_link", "relative_link", "folder_link/secret", "sub/deep/folder_link/secret",
                           "magic_link/etc/passwd", "loop"}) {
    CAPTURE(path);
    CHECK(walked(path) == ELOOP);
    if (new_kernel) CHECK((kernel(path) == EXDEV || kernel(path) == ELOOP));
  }
  for (const char* path : {"inside_link", "inside_folder_link/deep/inner"}) {
    CAPTURE(path);
    CHECK(walked(path) == ELOOP);  // safe, if strict: the walk cannot tell where a link would lead
    if (new_kernel) CHECK(kernel(path) == 0);
  }
  for (const char* path : {"..", "../secret", "sub/../../secret", "sub/..", "", "sub//deep", "/etc/passwd"}) {
    CAPTURE(path);
    CHECK(walked(path) != 0);
    if (new_kernel && path[0] == '.') CHECK(kernel(path) == EXDEV);
  }
  CHECK(walked("none") == ENOENT);
  CHECK(walked("good/inner") == ENOTDIR);
}

TEST_CASE("weights: without openat2, as on an old kernel or in a sandbox, models load all the same, and links do not") {
  TemporaryFolder outside, folder;
  const std::vector<uint8_t> file = SmallFile();
  outside.Write("secret", file);
  folder.Write("good", file);
  std::filesystem::create_symlink(outside.File("secret"), folder.File("link"));
  for (const int answer : {ENOSYS, EPERM}) {
    CAPTURE(answer);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      // From here on the kernel answers openat2 as an old one does.
      const sock_filter steps[] = {
          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(answer)),
          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      };
      const sock_fprog program{static_cast<unsigned short>(std::size(steps)), const_cast<sock_filter*>(steps)};
      if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(77);
      if (ErrorOf(ModelWith("good", file.size()), folder.path()) != "") _exit(1);
      if (!Contains(ErrorOf(ModelWith("link", file.size()), folder.path()), "by a link")) _exit(2);
      if (!Contains(ErrorOf(ModelWith("none", file.size()), folder.path()), "No such file")) _exit(3);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    REQUIRE(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
      MESSAGE("skipped: no system call filter may be set here");
    else
      CHECK(WEXITSTATUS(status) == 0);
  }
}

TEST_CASE("safetensors: headers that lie are refused") {
  const auto error = [](const std::string& header, size_t data) {
    const auto parsed = ParseSafetensors(Safetensors(header, std::vector<uint8_t>(data)));
    return parsed.ok() ? "" : parsed.status().message();
  };
  const auto entry = [](const std::string& inside) { return "{\"w\":{" + inside + "}}"; };
  CHECK(error("{}", 0) == "");
  CHECK(error(R"({"__metadata__":{"a":"b"}})", 0) == "");
  CHECK(error(entry(R"("dtype":"F32","shape":[],"data_offsets":[0,4])"), 4) == "");
  CHECK(error(entry(R"("dtype":"F32","shape":[0,7],"data_offsets":[0,0])"), 0) == "");
  CHECK(error(entry(R"("dtype":"E8M0","shape":[4],"data_offsets":[0,4])"), 4) == "");  // of a later format: not ours
  CHECK_CONTAINS(error(entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), 4),
                 "need 8 bytes, data_offsets give 4");
  CHECK_CONTAINS(error(entry(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])"), 3), "cut short");
  CHECK_CONTAINS(error(entry(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), 4), "do not lie in");
  CHECK_CONTAINS(error(entry(R"("dtype":"F32","shape":[1],"data_offsets":[1,5])"), 5), "leaves a hole");
  CHECK_CONTAINS(error(entry(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])"), 5), "1 bytes that no entry");
  CHECK_CONTAINS(error(entry(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), 4), "no whole number >= 0");
  CHECK_CONTAINS(error(entry(R"("dtype":"F32","shape":[1.5],"data_offsets":[0,4])"), 4), "no whole number >= 0");
  CHECK_CONTAINS(error(entry(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4])"), 4),
                 "entry \"w\"");
  CHECK_CONTAINS(error(entry(R"("dtype":3,"shape":[1],"data_offsets":[0,4])"), 4), "dtype is missing or no string");
  CHECK_CONTAINS(error(entry(R"("dtype":"F32","data_offsets":[0,4])"), 4), "shape is missing");
  CHECK_CONTAINS(error(entry(R"("dtype":"F32","shape":[1],"data_offsets":[0])"), 4), "array of two numbers");
  CHECK_CONTAINS(error(R"({"w":4})", 0), "must be an object");
  CHECK_CONTAINS(error("[]", 0), "no JSON object");
  CHECK_CONTAINS(error("{\"w\"", 0), "header, byte");
  CHECK_CONTAINS(
      error(
          R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
          3),
      "overlaps the one before it");
  CHECK_CONTAINS(
      error(
          R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
          0),
      "header, byte");
  CHECK_FALSE(ParseSafetensors(std::vector<uint8_t>(7)).ok());
  CHECK_FALSE(ParseSafetensors(std::vector<uint8_t>(8, 0xFF)).ok());
  // Two bytes of header, of which the file says three.
  CHECK_CONTAINS(ParseSafetensors(std::vector<uint8_t>{3, 0, 0, 0, 0, 0, 0, 0, '{', '}'}).status().message(),
                 "say a header of 3 bytes, the file has 2");
  CHECK_FALSE(ParseSafetensors(std::vector<uint8_t>(64, 0)).ok());
}

TEST_CASE("weights: the example layer's file is the one these tests make") {
  CHECK(ReadBytes(SAGE_SOURCE_DIR "/examples/models/gqa_layer.safetensors") == GqaLayerWeights());
  const auto graph =
      LoadGraph(ReadText(SAGE_SOURCE_DIR "/examples/models/gqa_layer.json"), SAGE_SOURCE_DIR "/examples/models");
  CHECK(graph->nodes.size() == 5);
  CHECK(graph->tensors[1].constant->bytes == 48 * 48 * 4);
}
