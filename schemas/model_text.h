// model_text.h: schemas/model.fbs as text, so that the tool needs no file beside it to read and write JSON.
#ifndef SAGE_SCHEMAS_MODEL_TEXT_H_
#define SAGE_SCHEMAS_MODEL_TEXT_H_

namespace sage {

extern const char kModelSchemaText[];  // NUL-terminated

}  // namespace sage

#endif  // SAGE_SCHEMAS_MODEL_TEXT_H_
