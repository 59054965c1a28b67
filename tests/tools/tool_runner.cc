// tool_runner.cc: fork, exec, pipes through files (so that no pipe can fill up), a time limit.
#include "tools/tool_runner.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace sage::test {

TempFolder::TempFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "sage-test-XXXXXX").string();
  path_ = mkdtemp(name.data()) != nullptr ? name : std::string();
}
TempFolder::~TempFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}
std::string TempFolder::Write(const std::string& name, const std::string& content) const {
  std::ofstream(File(name), std::ios::binary) << content;
  return File(name);
}

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

namespace {

ToolResult Run(const std::vector<std::string>& command, const std::string& input, int limit_seconds) {
  const TempFolder folder;
  folder.Write("in", input);
  std::vector<char*> argv;
  for (const std::string& argument : command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const std::string in = folder.File("in"), out = folder.File("out"), err = folder.File("err");
  const pid_t child = fork();
  if (child == 0) {
    const int descriptors[3] = {open(in.c_str(), O_RDONLY), open(out.c_str(), O_WRONLY | O_CREAT, 0600),
                                open(err.c_str(), O_WRONLY | O_CREAT, 0600)};
    for (int i = 0; i < 3; ++i) dup2(descriptors[i], i);
    alarm(static_cast<unsigned>(limit_seconds));
    execv(argv[0], argv.data());
    _exit(127);
  }
  ToolResult result;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = ReadAll(out);
  result.err = ReadAll(err);
  return result;
}

}  // namespace

ToolResult RunTool(const std::vector<std::string>& arguments, const std::string& input, int limit_seconds) {
  std::vector<std::string> command = {SAGE_TOOL_PATH};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return Run(command, input, limit_seconds);
}

ToolResult RunShell(const std::string& script, const TempFolder& folder, int limit_seconds) {
  const std::string examples = std::string(SAGE_SOURCE_DIR) + "/examples";
  return Run({"/bin/bash", "-c",
              "TOOL='" SAGE_TOOL_PATH "' MODELS='" + examples + "/models' TICKS='" + examples + "/ticks' DIR='" +
                  folder.path() + "'\n" + script},
             {}, limit_seconds);
}

}  // namespace sage::test
