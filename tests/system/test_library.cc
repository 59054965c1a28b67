// libsage.so as a file: what it needs, what it shows, and that loading it leaves the process as it was.
#include <doctest/doctest.h>
#include <elf.h>
#include <unistd.h>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "sage/sage.h"

namespace {

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The parts of a shared object that the dynamic linker reads.
struct Dynamic {
  std::set<std::string> needed, exported;
  bool executable_stack = true, text_relocations = false;
};

template <class T>
T At(const std::string& bytes, uint64_t offset) {
  REQUIRE(offset + sizeof(T) <= bytes.size());
  T out;
  std::memcpy(&out, bytes.data() + offset, sizeof out);
  return out;
}

Dynamic ReadDynamic(const std::string& path) {
  const std::string bytes = Read(path);
  const auto header = At<Elf64_Ehdr>(bytes, 0);
  Dynamic out;
  for (uint16_t i = 0; i < header.e_phnum; ++i) {
    const auto segment = At<Elf64_Phdr>(bytes, header.e_phoff + i * sizeof(Elf64_Phdr));
    if (segment.p_type == PT_GNU_STACK) out.executable_stack = (segment.p_flags & PF_X) != 0;
  }
  std::vector<Elf64_Shdr> sections;
  for (uint16_t i = 0; i < header.e_shnum; ++i)
    sections.push_back(At<Elf64_Shdr>(bytes, header.e_shoff + i * sizeof(Elf64_Shdr)));
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != SHT_DYNAMIC && section.sh_type != SHT_DYNSYM) continue;
    const Elf64_Shdr& strings = sections.at(section.sh_link);
    const auto text = [&](uint64_t offset) { return std::string(bytes.c_str() + strings.sh_offset + offset); };
    for (uint64_t at = 0; at < section.sh_size; at += section.sh_entsize) {
      if (section.sh_type == SHT_DYNAMIC) {
        const auto entry = At<Elf64_Dyn>(bytes, section.sh_offset + at);
        if (entry.d_tag == DT_NEEDED) out.needed.insert(text(entry.d_un.d_val));
        if (entry.d_tag == DT_TEXTREL) out.text_relocations = true;
      } else {
        const auto symbol = At<Elf64_Sym>(bytes, section.sh_offset + at);
        const bool defined = symbol.st_shndx != SHN_UNDEF && symbol.st_shndx != SHN_ABS;
        if (defined && ELF64_ST_BIND(symbol.st_info) != STB_LOCAL) out.exported.insert(text(symbol.st_name));
      }
    }
  }
  return out;
}

// The functions sage.h, sparse.h and quantize.h declare.
std::set<std::string> Declared() {
  std::string header;
  for (const char* name : {"sage.h", "sparse.h", "quantize.h"})
    header += Read(std::string(SAGE_SOURCE_DIR "/abi/sage/") + name);
  const std::regex function(R"(SAGE_API[^;(]*?\b(sage_\w+)\()");
  std::set<std::string> names;
  for (std::sregex_iterator match(header.begin(), header.end(), function), end; match != end; ++match)
    names.insert((*match)[1]);
  return names;
}

void CheckFloatingPoint() {
  volatile double tiny = std::numeric_limits<double>::denorm_min();
  CHECK(tiny * 1.0 != 0.0);
  volatile float small = std::numeric_limits<float>::min();
  CHECK(small / 2.0f != 0.0f);
#if defined(__SSE2__)
  CHECK((_mm_getcsr() & 0x8040u) == 0);  // flush to zero, denormals are zero
#endif
}

}  // namespace

TEST_CASE("libsage.so needs libc, libm, libstdc++, libgcc_s and nothing else") {
  const Dynamic library = ReadDynamic(SAGE_LIBRARY);
  CHECK_FALSE(library.needed.empty());
  for (const std::string& name : library.needed) {
    const bool allowed = name == "libc.so.6" || name == "libm.so.6" || name == "libstdc++.so.6" ||
                         name == "libgcc_s.so.1" || name.starts_with("ld-linux") || name.starts_with("libasan.so") ||
                         name.starts_with("libubsan.so") || name.starts_with("libtsan.so");
    CHECK_MESSAGE(allowed, name);
  }
  CHECK_FALSE(library.executable_stack);
  CHECK_FALSE(library.text_relocations);
}

TEST_CASE("libsage.so, stripped, is under 1.5 MB") {
  const std::string kind = SAGE_BUILD_KIND, sanitizers = SAGE_SANITIZERS, strip = SAGE_STRIP;
  if (kind != "Release" || !sanitizers.empty()) {
    MESSAGE("skipped: a Release build without sanitizers is what is installed; this is "
            << kind << (sanitizers.empty() ? "" : " with ") << sanitizers);
    return;
  }
  if (strip.empty()) {
    MESSAGE("skipped: there is no strip on this machine");
    return;
  }
  char path[] = "/tmp/sage-stripped-XXXXXX";
  const int file = mkstemp(path);
  REQUIRE(file >= 0);
  close(file);
  const std::string command = "'" + strip + "' -o '" + path + "' '" SAGE_LIBRARY "'";
  REQUIRE_MESSAGE(std::system(command.c_str()) == 0, command);
  const size_t bytes = Read(path).size();
  // The same library: stripping takes no exported symbol.
  const Dynamic stripped = ReadDynamic(path), whole = ReadDynamic(SAGE_LIBRARY);
  CHECK(std::remove(path) == 0);
  CHECK(stripped.exported == whole.exported);
  CHECK(stripped.needed == whole.needed);
  MESSAGE("stripped: " << bytes << " bytes");
  CHECK(bytes > 100000);
  CHECK(bytes < 1500000);
}

TEST_CASE("libsage.so shows the functions of its public headers and nothing else") {
  const std::set<std::string> declared = Declared();
  CHECK(declared.size() > 40);
  std::set<std::string> exported = ReadDynamic(SAGE_LIBRARY).exported;
  exported.erase("SAGE_0");  // the version node itself
  std::vector<std::string> missing, extra;
  std::set_difference(declared.begin(), declared.end(), exported.begin(), exported.end(), std::back_inserter(missing));
  std::set_difference(exported.begin(), exported.end(), declared.begin(), declared.end(), std::back_inserter(extra));
  for (const std::string& name : missing) CHECK_MESSAGE(false, "declared and not exported: " << name);
  for (const std::string& name : extra) CHECK_MESSAGE(false, "exported and not declared: " << name);
}

TEST_CASE("every plugin of the build shows its entry only") {
  for (const char* path : {SAGE_PLUGIN_LIBRARIES}) {
    CAPTURE(path);
    std::set<std::string> exported = ReadDynamic(path).exported;
    CHECK(exported.erase(SAGE_PLUGIN_ENTRY_NAME) == 1);
    for (const std::string& name : exported) CHECK_MESSAGE(!name.starts_with("sage"), name);
  }
}

TEST_CASE("denormal numbers stay what they are, before and after libsage and its plugins were loaded and have run") {
  CheckFloatingPoint();
  sage_engine* engine = nullptr;
  REQUIRE(sage_engine_create(nullptr, &engine, nullptr) == SAGE_OK);
  CheckFloatingPoint();
  float q[8] = {1, 2, 3, 4, 5, 6, 7, 8}, o[8];
  CHECK(sage_attention(engine, SAGE_F32, 0, 1, 1, 1, 2, 2, 4, 4, q, q, q, o, 0, 0, nullptr) == SAGE_OK);
  CheckFloatingPoint();
  sage_engine_destroy(engine);
  CheckFloatingPoint();
}

TEST_CASE("version, build and status names") {
  CHECK(std::regex_match(sage_version(), std::regex(R"(\d+\.\d+\.\d+)")));
  CHECK(sage_abi_version() == (uint32_t{SAGE_ABI_MAJOR} << 16 | SAGE_ABI_MINOR));
  CHECK(std::strlen(sage_build_info()) > 10);
  CHECK(std::string(sage_status_name(SAGE_E_BUSY)) == "SAGE_E_BUSY");
  CHECK(std::string(sage_status_name(-5)) == "unknown");
}
