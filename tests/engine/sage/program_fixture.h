// program_fixture.h: a SAGE program on models made by hand, and its records read back.
#ifndef SAGE_TESTS_ENGINE_SAGE_PROGRAM_FIXTURE_H_
#define SAGE_TESTS_ENGINE_SAGE_PROGRAM_FIXTURE_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"
#include "model/sage_params.h"
#include "sage/program.h"

namespace sage::testing {

ExpertParams SmallExperts(int64_t n, double gamma);  // d_model 8, 4 query heads, 2 kv heads, d 2, k 2
MetabolicParams SmallMetabolic(double gamma);        // d_model 8, 2 heads x 4
FusionParams SmallFusion(double gamma);              // d_model 8, 4 query heads, 2 kv heads, d 2, K 3

// Threads 1 unless said; the engine is shared by all programs of one thread count.
std::unique_ptr<Program> Make(const Model::Content& content, int threads = 1);
std::string Run(Program& program, const std::string& tick);    // the record; CHECKs that the tick was good
std::string Fault(Program& program, const std::string& tick);  // the error record; CHECKs that it was not

// The tick is refused with this error.code, this error.at, and these words in its error.message.
void Refuses(Program& program, const std::string& tick, const char* code, const char* at, const char* words);

// A value of a record by its path: Num(record, "decisions.weights.vision"), array elements by number.
double Num(const std::string& record, const std::string& path);
std::string Text(const std::string& record, const std::string& path);
std::vector<double> List(const std::string& record, const std::string& path);  // of an array's or object's numbers
bool Has(const std::string& record, const std::string& path);
bool Flagged(const std::string& record, const std::string& flag);

// Equal as JSON with numbers equal to 1e-12 (absolute and relative), keys in the same order.
bool SameRecord(const std::string& a, const std::string& b);

}  // namespace sage::testing

#endif  // SAGE_TESTS_ENGINE_SAGE_PROGRAM_FIXTURE_H_
