// workspace.cc: the bands.
#include "run/workspace.h"

#include <string.h>

#include <algorithm>

#include "fmt/format.h"

namespace sage {
namespace {

constexpr unsigned char kPattern = 0x5A;

bool Holds(const unsigned char* band) {
  uint64_t difference = 0;
  for (uint64_t i = 0; i < Workspace::kBand; ++i) difference |= static_cast<uint64_t>(band[i] ^ kPattern);
  return difference == 0;
}

}  // namespace

Status Workspace::Allocate(std::shared_ptr<Host> host, int32_t device_type, int32_t device_id, uint64_t bytes,
                           bool guarded) {
  Release();
  const bool on_cpu = device_type == 0 || device_type == SAGE_CPU;
  const uint64_t align = on_cpu ? 64 : 256;
  if (bytes == 0 && !guarded) return {};
  if (bytes > UINT64_MAX - align - kBand)
    return Status(SAGE_E_OUT_OF_MEMORY, fmt::format("a workspace of {} bytes is asked for", bytes));
  void* memory = nullptr;
  // The band below fills the last bytes of what keeps the scratch aligned.
  SAGE_RETURN_IF_ERROR(host->Alloc(device_type, device_id, guarded ? align + bytes + kBand : bytes, align, &memory));
  host_ = std::move(host);
  device_type_ = device_type, device_id_ = device_id;
  memory_ = static_cast<unsigned char*>(memory);
  data_ = guarded ? memory_ + align : memory_;
  bytes_ = bytes;
  guarded_ = guarded;
  Arm(bytes);
  return {};
}

void Workspace::Release() {
  if (memory_ != nullptr) host_->Free(device_type_, device_id_, memory_);
  host_.reset();
  memory_ = nullptr, data_ = nullptr, bytes_ = used_ = 0, guarded_ = false;
}

void Workspace::Arm(uint64_t used) {
  used_ = std::min(used, bytes_);
  if (!guarded_) return;
  memset(data() - kBand, kPattern, kBand);
  memset(data() + used_, kPattern, kBand);
}

bool Workspace::BandsIntact() const { return Holds(data() - kBand) && Holds(data() + used_); }

Status WorkspaceOverrun(const std::string& backend, uint64_t used) {
  return Status(SAGE_E_INTERNAL,
                fmt::format("{}: wrote outside the workspace of {} bytes it had asked for; its results are not to be "
                            "trusted, do not use this plugin",
                            backend, used));
}

}  // namespace sage
