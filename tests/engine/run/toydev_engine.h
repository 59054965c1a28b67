// toydev_engine.h: engines with toy devices (toydev/), for tests of sessions on them.
#ifndef SAGE_TESTS_ENGINE_RUN_TOYDEV_ENGINE_H_
#define SAGE_TESTS_ENGINE_RUN_TOYDEV_ENGINE_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "graph_builder.h"

namespace sage::test {

inline std::shared_ptr<Engine> ToyEngine(std::vector<std::pair<std::string, std::string>> options = {},
                                         const std::vector<std::string>& plugins = {SAGE_TOYDEV}) {
  std::string paths;
  for (const std::string& plugin : plugins) paths += (paths.empty() ? "" : ":") + plugin;
  options.push_back({"plugins", paths});
  return PlainEngine(options);
}

inline std::unique_ptr<Session> Open(const GraphBuilder& builder, std::shared_ptr<Engine> engine,
                                     const SessionOptions& options = {}) {
  auto session = Session::Create(std::move(engine), builder.Share(), options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  return std::move(*session);
}

}  // namespace sage::test

#endif  // SAGE_TESTS_ENGINE_RUN_TOYDEV_ENGINE_H_
