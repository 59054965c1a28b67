// kind_server.h: a kind of op, or several that are served alike, as the backend's instance asks and plans them.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KIND_SERVER_H_
#define SAGE_PLUGINS_COMMON_CUDA_KIND_SERVER_H_

#include <cstdint>
#include <memory>

#include "common/backend.h"
#include "common/cuda/device.h"

namespace sage::cuda {

// Every call may come from several threads at once. The contract of each is that of plugins::Backend.
class KindServer {
 public:
  KindServer() = default;
  KindServer(const KindServer&) = delete;
  KindServer& operator=(const KindServer&) = delete;
  virtual ~KindServer() = default;

  virtual uint64_t kinds() const = 0;  // SAGE_KIND_BIT of each, of which no other server has any
  // Only ops of kinds(), of which RefuseInGeneral (refusals.h) has nothing to say.
  virtual void Ask(const plugins::OpView& view, uint64_t features, const Device& device, sage_answer* answer) const = 0;
  virtual sage_status Plan(const plugins::OpView& view, uint64_t features, Device& device, const sage_host& host,
                           const plugins::KernelPlan* like, std::unique_ptr<plugins::KernelPlan>* out,
                           sage_error* err) const = 0;
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_KIND_SERVER_H_
