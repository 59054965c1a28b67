// verbs.h: one function a verb; each adds its subcommand and leaves what to do in *action.
#ifndef SAGE_TOOLS_VERBS_H_
#define SAGE_TOOLS_VERBS_H_

#include <functional>

namespace CLI {
class App;
}

namespace sage::tool {

using Action = std::function<int()>;  // returns an exit code or throws Failure

void AddRun(CLI::App& app, Action* action);
void AddExplain(CLI::App& app, Action* action);
void AddValidate(CLI::App& app, Action* action);
void AddDump(CLI::App& app, Action* action);
void AddConvert(CLI::App& app, Action* action);
void AddPlugin(CLI::App& app, Action* action);
void AddBench(CLI::App& app, Action* action);
void AddMemory(CLI::App& app, Action* action);
void AddDoctor(CLI::App& app, Action* action);
void AddManual(CLI::App& app, Action* action);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_VERBS_H_
