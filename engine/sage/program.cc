// program.cc: which program a model asks for.
#include "sage/program.h"

#include "sage/sage_program.h"

namespace sage {

Result<std::unique_ptr<Program>> Program::Create(std::shared_ptr<Engine> engine, std::shared_ptr<const Model> model,
                                                 const SessionOptions& options) {
  switch (model->kind()) {
    case SAGE_MODEL_EXPERT:
      return MakeExpertProgram(std::move(engine), std::move(model), options);
    case SAGE_MODEL_METABOLIC:
      return MakeMetabolicProgram(std::move(engine), std::move(model), options);
    case SAGE_MODEL_FUSION:
      return MakeFusionProgram(std::move(engine), std::move(model), options);
    default:
      return Status(SAGE_E_UNSUPPORTED,
                    "an op graph takes inputs, not ticks; expert, metabolic and fusion graphs take ticks");
  }
}

}  // namespace sage
