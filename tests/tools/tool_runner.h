// tool_runner.h: runs the sage-engine of this build as a user would and keeps what it said.
#ifndef SAGE_TESTS_TOOLS_TOOL_RUNNER_H_
#define SAGE_TESTS_TOOLS_TOOL_RUNNER_H_

#include <string>
#include <vector>

namespace sage::test {

struct ToolResult {
  int code = -1;  // exit code; 128 + n when ended by signal n
  std::string out, err;
};

// A folder of its own for the test's files, removed at the end.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  // Writes and returns the path.
  std::string Write(const std::string& name, const std::string& content) const;

 private:
  std::string path_;
};

std::string ReadAll(const std::string& path);

// Standard input is `input`. Ended after limit_seconds (code 137).
ToolResult RunTool(const std::vector<std::string>& arguments, const std::string& input = {}, int limit_seconds = 60);

// The same through bash, for what needs a shell's pipes, redirections and signals: $TOOL is the tool, $MODELS and
// $TICKS the examples' folders, $DIR the caller's folder.
ToolResult RunShell(const std::string& script, const TempFolder& folder, int limit_seconds = 60);

}  // namespace sage::test

#endif  // SAGE_TESTS_TOOLS_TOOL_RUNNER_H_
