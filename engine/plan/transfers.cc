// transfers.cc: one walk over the nodes that keeps, for every copy of every tensor, who wrote it and when, and for
// every stream, how far the CPU and the other streams have waited for it.
#include "plan/transfers.h"

#include <algorithm>
#include <map>

#include "plan/place_graph.h"
#include "run/tensor_copy.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

constexpr size_t kNoItem = SIZE_MAX;
constexpr uint64_t kDeviceAlignment = 256;  // as workspaces on a device

class Walk {
 public:
  Walk(const PlanContext& context, GraphPlan* plan)
      : context_(context),
        plan_(*plan),
        places_(PlacementDomains(context)),
        masks_(plan->tensors.size(), 1),
        streams_(std::max<size_t>(context.domains.size(), 1)) {}

  Status Run();

 private:
  // A block of an arena: a tensor's home, or its image in another place.
  struct Item {
    size_t tensor = 0;
    uint32_t place = 0, domain = 0;
    uint64_t bytes = 0;
    int64_t first = INT64_MAX, last = -1;
    std::vector<uint32_t> streams;  // those that may still touch it, though the CPU is past that step
  };
  // A tensor's bytes in one place. writer 0: the CPU, or the caller before the run.
  struct Location {
    uint32_t writer = 0;
    uint64_t when = 0;
    size_t item = kNoItem;
  };
  struct Stream {
    uint64_t enqueued = 0, finished = 0;  // by the clock: last work given to it, and known to be done by the CPU
    std::map<uint32_t, uint64_t> waited;  // up to when it waits for each other stream
  };

  void MakeHomes();
  int64_t End() const { return static_cast<int64_t>(context_.graph.nodes.size()); }
  uint64_t Alignment(uint32_t domain) const { return domain == 0 ? kArenaAlignment : kDeviceAlignment; }
  Location& At(size_t tensor, uint32_t place) { return locations_[{tensor, place}]; }
  void Touch(const Location& location, uint32_t stream, int64_t step);
  void Synchronise(uint32_t stream, int64_t step);
  // What was written there must be there for `reader` (a domain; 0 = the CPU).
  void OrderAfter(uint32_t writer, uint64_t when, uint32_t reader, int64_t step);
  void Bring(size_t tensor, uint32_t place, int64_t step);
  void Copy(size_t tensor, uint32_t from, uint32_t to, int64_t step);
  void Node(size_t index);
  Status PackArenas();

  const PlanContext& context_;
  GraphPlan& plan_;
  const Places places_;
  std::vector<uint32_t> masks_;  // per tensor, by root
  std::map<std::pair<size_t, uint32_t>, Location> locations_;
  std::vector<Item> items_;
  std::vector<Stream> streams_;  // by domain
  uint64_t clock_ = 0;
};

void Walk::Touch(const Location& location, uint32_t stream, int64_t step) {
  if (location.item == kNoItem) return;
  Item& item = items_[location.item];
  item.first = std::min(item.first, step);
  item.last = std::max(item.last, step);
  if (stream != 0 && stream != item.domain &&
      std::find(item.streams.begin(), item.streams.end(), stream) == item.streams.end())
    item.streams.push_back(stream);
}

void Walk::Synchronise(uint32_t stream, int64_t step) {
  streams_[stream].finished = clock_;
  for (Item& item : items_) {
    if (std::erase(item.streams, stream) > 0) item.last = std::max(item.last, step);
  }
  PlannedAction action;
  action.kind = PlannedAction::Kind::kSynchronise;
  action.domain = stream;
  plan_.actions.push_back(action);
}

void Walk::OrderAfter(uint32_t writer, uint64_t when, uint32_t reader, int64_t step) {
  if (writer == 0 || writer == reader || when <= streams_[writer].finished) return;
  if (reader == 0 || context_.domains[writer]->type() != context_.domains[reader]->type()) {
    Synchronise(writer, step);
    return;
  }
  uint64_t& waited = streams_[reader].waited[writer];
  if (when <= waited) return;
  waited = clock_;
  PlannedAction action;
  action.kind = PlannedAction::Kind::kOrder;
  action.domain = reader, action.other = writer;
  action.event = plan_.devices[writer].events++;
  plan_.actions.push_back(action);
}

void Walk::Copy(size_t tensor, uint32_t from, uint32_t to, int64_t step) {
  const uint32_t domain = places_.domain(from == 0 ? to : from);
  Location& source = At(tensor, from);
  OrderAfter(source.writer, source.when, domain, step);
  Touch(source, domain, step);
  Location& target = At(tensor, to);
  if (target.item == kNoItem && !(to == 0 && plan_.tensors[tensor].storage == Storage::kInput)) {
    const PlannedTensor& planned = plan_.tensors[tensor];
    target.item = items_.size();
    items_.push_back({tensor, to, places_.domain(to), std::max<uint64_t>(planned.extent, 1), INT64_MAX, -1, {}});
  }
  Touch(target, domain, step);
  target.writer = domain, target.when = streams_[domain].enqueued = ++clock_;
  masks_[tensor] |= 1u << to;

  PlannedAction action;
  action.domain = domain;
  action.tensor = static_cast<int32_t>(tensor);
  action.from = from, action.to = to;
  plan_.actions.push_back(action);
  DevicePlan& device = plan_.devices[domain];
  ++device.copies;
  device.copy_bytes += plan_.tensors[tensor].bytes;
  device.copy_ns += places_.CopyNs(places_.of(domain), plan_.tensors[tensor].bytes);
}

// The copies are those that Places::Bring has priced.
void Walk::Bring(size_t tensor, uint32_t place, int64_t step) {
  if ((masks_[tensor] >> place & 1) != 0) return;
  if ((masks_[tensor] & 1) == 0) {
    Copy(tensor, places_.Source(masks_[tensor], plan_.tensors[tensor].bytes), 0, step);
  }
  if (place != 0) Copy(tensor, 0, place, step);
}

void Walk::Node(size_t index) {
  PlannedNode& planned = *plan_.nodes[index];
  planned.first_action = static_cast<uint32_t>(plan_.actions.size());
  const auto step = static_cast<int64_t>(index);
  const sage::Node& node = context_.graph.nodes[index];
  if (planned.reshape == ReshapeMode::kView) {
    const size_t root = RootOf(plan_, node.slots[0]);
    if (plan_.tensors[root].storage != Storage::kConstant)
      Touch(At(root, places_.of(plan_.tensors[root].domain)), 0, step);
    return;
  }
  const uint32_t domain = planned.domain, place = places_.of(domain);
  const NodeMemory memory = MemoryOf(node, planned, plan_);
  for (const int32_t tensor : memory.reads) {
    const auto root = static_cast<size_t>(tensor);
    Bring(root, place, step);
    const Location& location = At(root, place);
    OrderAfter(location.writer, location.when, domain, step);
    Touch(location, domain, step);
  }
  for (const int32_t tensor : memory.changes) {
    const auto root = static_cast<size_t>(tensor);
    Bring(root, 0, step);
    // Whoever still reads what is about to change goes first.
    for (uint32_t other = 1; other < streams_.size(); ++other) {
      if (streams_[other].enqueued > streams_[other].finished)
        OrderAfter(other, streams_[other].enqueued, domain, step);
    }
    Touch(At(root, 0), domain, step);
  }
  if (domain != 0) streams_[domain].enqueued = ++clock_;
  for (const int32_t tensor : memory.changes) {
    masks_[static_cast<size_t>(tensor)] = 1;
    At(static_cast<size_t>(tensor), 0).writer = domain, At(static_cast<size_t>(tensor), 0).when = clock_;
  }
  for (const int32_t tensor : memory.writes) {
    const auto root = static_cast<size_t>(tensor);
    masks_[root] = 1u << place;
    Location& location = At(root, place);
    location.writer = domain, location.when = clock_;
    Touch(location, domain, step);
  }
}

// Inputs that are used and would move inside when smaller are staged; what nodes write lies in their device's arena.
void Walk::MakeHomes() {
  std::vector<uint8_t> used(plan_.tensors.size(), 0);
  for (size_t i = 0; i < context_.graph.nodes.size(); ++i)
    for (const int32_t tensor : context_.graph.nodes[i].slots)
      if (tensor != kNone) used[RootOf(plan_, tensor)] = 1;
  for (const int32_t output : context_.graph.outputs) used[RootOf(plan_, output)] = 1;

  plan_.border_bytes = 0;
  for (size_t i = 0; i < plan_.tensors.size(); ++i) {
    PlannedTensor& tensor = plan_.tensors[i];
    const bool input = tensor.storage == Storage::kInput;
    const bool staged = input && used[i] != 0 && VariesInside(tensor, plan_.key.fixed);
    if (input) plan_.border_bytes += tensor.bytes;
    tensor.in_arena = staged || tensor.storage == Storage::kArena;
    if (!tensor.in_arena) continue;
    const uint64_t bytes = tensor.domain == 0 ? tensor.bytes : tensor.extent;
    items_.push_back({i, places_.of(tensor.domain), tensor.domain, std::max<uint64_t>(bytes, 1), INT64_MAX, -1, {}});
    if (staged) items_.back().first = -1;
    At(i, items_.back().place).item = items_.size() - 1;
  }
  for (const int32_t output : context_.graph.outputs) {
    const PlannedTensor& tensor = plan_.tensors[static_cast<size_t>(output)];
    if (!IsContiguous(tensor.description) || VariesInside(tensor, plan_.key.fixed)) plan_.border_bytes += tensor.bytes;
  }
}

Status Walk::PackArenas() {
  for (uint32_t domain = 0; domain < streams_.size(); ++domain) {
    std::vector<MemoryItem> blocks;
    std::vector<const Item*> owners;
    for (const Item& item : items_) {
      if (item.domain != domain || item.first == INT64_MAX) continue;
      blocks.push_back({item.bytes, item.first, std::max(item.last, item.first)});
      owners.push_back(&item);
    }
    SAGE_ASSIGN_OR_RETURN(MemoryPlan arena, PlanMemory(blocks, Alignment(domain)));
    for (size_t i = 0; i < owners.size(); ++i) {
      const Item& item = *owners[i];
      PlannedTensor& tensor = plan_.tensors[item.tensor];
      if (tensor.in_arena && item.place == places_.of(tensor.domain))
        tensor.offset = arena.offsets[i];
      else
        plan_.images.push_back({static_cast<int32_t>(item.tensor), item.place, arena.offsets[i]});
    }
    (domain == 0 ? plan_.arena : plan_.devices[domain].arena) = std::move(arena);
  }
  return {};
}

Status Walk::Run() {
  plan_.actions.clear(), plan_.images.clear(), plan_.devices.clear();
  if (streams_.size() > 1) {
    plan_.prices = PlacementDomains(context_);
    plan_.devices.resize(streams_.size());
    for (size_t i = 0; i < streams_.size(); ++i) plan_.devices[i].device = context_.domains[i];
  }
  MakeHomes();
  for (size_t i = 0; i < context_.graph.nodes.size(); ++i) {
    Node(i);
    if (plan_.nodes[i]->domain != 0) plan_.devices[plan_.nodes[i]->domain].used = true;
  }
  plan_.last_actions = static_cast<uint32_t>(plan_.actions.size());
  for (const int32_t output : context_.graph.outputs) {
    const size_t root = RootOf(plan_, output);
    if (plan_.tensors[root].storage == Storage::kConstant) continue;
    Bring(root, 0, End());
    Touch(At(root, 0), 0, End());
  }
  // A run ends when its outputs are there, and leaves nothing behind that still reads or writes.
  for (uint32_t stream = 1; stream < streams_.size(); ++stream) {
    if (streams_[stream].enqueued > streams_[stream].finished) Synchronise(stream, End());
  }
  return PackArenas();
}

}  // namespace

Status PlanMemoryAndTransfers(const PlanContext& context, GraphPlan* plan) { return Walk(context, plan).Run(); }

}  // namespace sage
