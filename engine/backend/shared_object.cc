// shared_object.cc: the headers of an ELF file, judged before the dynamic linker believes them.
#include "backend/shared_object.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "fmt/format.h"

namespace sage {
namespace {

#if defined(__x86_64__)
constexpr uint16_t kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
#else
#error "the ELF machine number of this architecture is not known here"
#endif

// No library is as large; without a bound two segments far apart would reserve all of the address space between them.
constexpr uint64_t kMaxSpan = uint64_t{1} << 32;
// Segments are mapped by pages, of 4 KiB at least and 64 KiB at most on the machines above.
constexpr uint64_t kSmallestPage = 4096, kLargestPage = 65536;

// All of `size` bytes at `offset`; false when the file is shorter or cannot be read.
bool ReadAt(int descriptor, void* out, size_t size, uint64_t offset) {
  if (offset > static_cast<uint64_t>(INT64_MAX) - size) return false;
  char* bytes = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t got = pread(descriptor, bytes, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes += got, offset += static_cast<uint64_t>(got), size -= static_cast<size_t>(got);
  }
  return true;
}

Status NotALibrary(const char* why) {
  return Status(SAGE_E_BAD_DATA,
                fmt::format("not a plugin: {}; expected a 64-bit ELF shared object built for this machine", why));
}

// May be mapped behind `previous` (null: is the first). Linkers lay segments out in one order in file and memory, begin
// with the header, and give code bytes; where that does not hold the table says what the linker did not write.
bool Mappable(const Elf64_Phdr& segment, const Elf64_Phdr* previous) {
  const bool sane = segment.p_filesz <= segment.p_memsz && segment.p_memsz <= kMaxSpan &&
                    segment.p_vaddr <= UINT64_MAX - kMaxSpan && segment.p_align <= kMaxSpan &&
                    (segment.p_align & (segment.p_align - 1)) == 0 &&
                    segment.p_vaddr % kSmallestPage == segment.p_offset % kSmallestPage &&
                    ((segment.p_flags & PF_X) == 0 || segment.p_filesz > 0);
  if (previous == nullptr) return sane && segment.p_offset == 0;
  return sane && segment.p_vaddr >= previous->p_vaddr + previous->p_memsz &&
         (segment.p_filesz == 0 || segment.p_offset >= previous->p_offset + previous->p_filesz);
}

// Lies in one mapped segment, where file and memory correspond. What is protected after relocation may have no bytes in
// the file and ends at the end of a page; of thread-local storage only what initialises it lies in a segment.
bool Inside(const std::vector<Elf64_Phdr>& mapped, const Elf64_Phdr& part) {
  const bool protect = part.p_type == PT_GNU_RELRO;
  const uint64_t bytes = part.p_type == PT_TLS ? part.p_filesz : part.p_memsz;
  if (bytes == 0) return true;
  return part.p_memsz <= kMaxSpan && std::any_of(mapped.begin(), mapped.end(), [&](const Elf64_Phdr& segment) {
           const uint64_t size = protect ? segment.p_memsz + kLargestPage : segment.p_filesz;
           const uint64_t at = part.p_vaddr - segment.p_vaddr;
           return part.p_vaddr >= segment.p_vaddr && at < size && bytes <= size - at &&
                  part.p_offset - segment.p_offset == at;
         });
}

// What the dynamic linker, or the unwinder after it, follows to an address.
bool RefersToMemory(const Elf64_Phdr& segment) {
  return segment.p_type == PT_DYNAMIC || segment.p_type == PT_NOTE || segment.p_type == PT_TLS ||
         segment.p_type == PT_PHDR || segment.p_type == PT_GNU_EH_FRAME || segment.p_type == PT_GNU_RELRO ||
         segment.p_type == PT_GNU_PROPERTY;
}

}  // namespace

Status CheckSharedObject(int descriptor) {
  struct stat info {};
  if (fstat(descriptor, &info) != 0) return Status(SAGE_E_IO, "the plugin's file cannot be asked for its size", errno);
  const uint64_t size = static_cast<uint64_t>(info.st_size);
  Elf64_Ehdr header{};
  if (size < sizeof header || !ReadAt(descriptor, &header, sizeof header, 0)) {
    return NotALibrary(fmt::format("the file has only {} bytes", size).c_str());
  }
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return NotALibrary("the file does not begin with the bytes of ELF");
  if (header.e_ident[EI_CLASS] != ELFCLASS64) return NotALibrary("it is a 32-bit ELF file");
  if (header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != kMachine)
    return NotALibrary(fmt::format("it is built for another machine (ELF machine {})", header.e_machine).c_str());
  if (header.e_type != ET_DYN) return NotALibrary("it is an object file or a program, not a shared object");
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0)
    return NotALibrary("its table of segments is damaged");
  std::vector<Elf64_Phdr> segments(header.e_phnum);
  if (header.e_phoff > size ||
      !ReadAt(descriptor, segments.data(), segments.size() * sizeof segments[0], header.e_phoff))
    return NotALibrary("its table of segments lies beyond the end of the file, which was cut short");
  std::vector<Elf64_Phdr> mapped;
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type != PT_LOAD && segment.p_type != PT_DYNAMIC) continue;
    if (segment.p_offset > size || segment.p_filesz > size - segment.p_offset)
      return NotALibrary("one of its segments lies beyond the end of the file, which was cut short");
    if (segment.p_type != PT_LOAD) continue;
    if (!Mappable(segment, mapped.empty() ? nullptr : &mapped.back()))
      return NotALibrary("its table of segments is damaged: they do not ascend, or do not fit what they are read from");
    mapped.push_back(segment);
  }
  if (mapped.empty() || mapped.back().p_vaddr + mapped.back().p_memsz - mapped.front().p_vaddr > kMaxSpan)
    return NotALibrary("its table of segments is damaged: they span nothing, or more than 4 GiB");
  for (const Elf64_Phdr& segment : segments) {
    if (RefersToMemory(segment) && !Inside(mapped, segment))
      return NotALibrary("its table of segments is damaged: a part that the linker reads lies outside what is mapped");
  }
  return {};
}

}  // namespace sage
