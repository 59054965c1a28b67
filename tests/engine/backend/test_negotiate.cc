// Negotiation of versions and tables, without a file: every refusal names what is wrong and what to do.
#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "backend/plugin_loader.h"

using namespace sage;

namespace {

// The table under test; a query has no argument of ours to reach it by.
sage_plugin g_table;
alignas(8) unsigned char g_longer[sizeof(sage_plugin) + 64];
bool g_null = false, g_throw = false, g_long = false;

const sage_plugin* Query(uint32_t, uint32_t) {
  if (g_throw) throw 7;
  if (g_null) return nullptr;
  return g_long ? reinterpret_cast<const sage_plugin*>(g_longer) : &g_table;
}

sage_plugin Good() {
  sage_plugin table{};
  table.struct_size = sizeof table;
  table.abi_major = SAGE_ABI_MAJOR;
  table.name = "good_1";
  table.version = "1.0.0";
  table.build = "by hand";
  table.kinds = SAGE_KIND_BIT(SAGE_OP_ATTENTION);
  table.device_type = SAGE_CPU;
  table.probe = [](const sage_host*, int32_t, uint32_t*, sage_answer*, sage_error*) -> sage_status { return 0; };
  table.create = [](const sage_host*, int32_t, const char*, sage_instance**, sage_error*) -> sage_status { return 0; };
  table.destroy = [](sage_instance*) {};
  table.ask = [](sage_instance*, const sage_op*, sage_answer*, sage_error*) -> sage_status { return 0; };
  table.plan = [](sage_instance*, const sage_op*, const sage_plan*, sage_plan**, sage_plan_info*,
                  sage_error*) -> sage_status { return 0; };
  table.plan_destroy = [](sage_plan*) {};
  table.run = [](const sage_plan*, const sage_run_args*, sage_error*) -> sage_status { return 0; };
  return table;
}

Status Negotiate(const sage_plugin& table, PluginFile* file) {
  g_table = table;
  g_null = g_throw = g_long = false;
  return NegotiatePlugin(Query, "/opt/libgood.so", file);
}

// The refusal of a table, which must name the path and each word.
void Refused(const sage_plugin& table, std::initializer_list<const char*> words) {
  PluginFile file;
  const Status status = Negotiate(table, &file);
  CHECK(status.code() == SAGE_E_ABI_MISMATCH);
  CHECK(file.table == nullptr);
  CHECK(status.message().find("/opt/libgood.so") != std::string::npos);
  for (const char* word : words) {
    INFO(status.message());
    CHECK(status.message().find(word) != std::string::npos);
  }
}

template <class Change>
sage_plugin But(Change change) {
  sage_plugin table = Good();
  change(table);
  return table;
}

}  // namespace

TEST_CASE("a good table is copied, so that later writes of the plugin change nothing") {
  PluginFile file;
  REQUIRE(Negotiate(Good(), &file).ok());
  CHECK(file.agreed_minor == 0);
  CHECK(std::string(file.table->name) == "good_1");
  g_table.run = nullptr;
  const bool kept = file.table->run != nullptr;
  CHECK(kept);
}

TEST_CASE("a newer minor is accepted, its longer table read up to what we know, the agreed minor is ours") {
  const sage_plugin newer = But([](sage_plugin& table) {
    table.abi_minor = 7;
    table.struct_size = sizeof g_longer;
  });
  std::memset(g_longer, 0xff, sizeof g_longer);
  std::memcpy(g_longer, &newer, sizeof newer);
  g_null = g_throw = false, g_long = true;
  PluginFile file;
  CHECK(NegotiatePlugin(Query, "/opt/libgood.so", &file).ok());
  CHECK(file.agreed_minor == SAGE_ABI_MINOR);
  CHECK(file.table->struct_size == sizeof(sage_plugin));
}

TEST_CASE("another major: both versions, both paths and what to do") {
  Refused(But([](sage_plugin& table) { table.abi_major = 2, table.abi_minor = 3; }),
          {"ABI 2.3", "speaks ABI 1.0", LibraryPath().c_str(), "install a newer libsage"});
  Refused(But([](sage_plugin& table) { table.abi_major = 0; }), {"abi_major is 0"});
  g_null = true;
  PluginFile file;
  const Status status = NegotiatePlugin(Query, "/opt/libgood.so", &file);
  CHECK(status.code() == SAGE_E_ABI_MISMATCH);
  CHECK(status.message().find("no table for ABI major 1") != std::string::npos);
  g_null = false;
}

TEST_CASE("a minor that asks for a newer host, and numbers that make no sense") {
  Refused(But([](sage_plugin& table) { table.abi_minor = table.abi_minor_min = 4; }),
          {"needs ABI 1.4", "speaks ABI 1.0", "install a newer libsage"});
  Refused(But([](sage_plugin& table) { table.abi_minor = 1, table.abi_minor_min = 2; }), {"make no sense"});
  Refused(But([](sage_plugin& table) { table.abi_minor = 4000000000u; }), {"make no sense"});
}

TEST_CASE("zero, short and absurd struct sizes") {
  for (const uint32_t size : {0u, 4u, uint32_t{sizeof(sage_plugin)} - 8, 1u << 20, UINT32_MAX})
    Refused(But([size](sage_plugin& table) { table.struct_size = size; }),
            {std::to_string(size).c_str(), "its author has to mend it"});
}

TEST_CASE("null entries are refused by name") {
  Refused(But([](sage_plugin& table) { table.probe = nullptr; }), {"`probe` is null"});
  Refused(But([](sage_plugin& table) { table.create = nullptr; }), {"`create` is null"});
  Refused(But([](sage_plugin& table) { table.destroy = nullptr; }), {"`destroy` is null"});
  Refused(But([](sage_plugin& table) { table.ask = nullptr; }), {"`ask` is null"});
  Refused(But([](sage_plugin& table) { table.plan = nullptr; }), {"`plan` is null"});
  Refused(But([](sage_plugin& table) { table.plan_destroy = nullptr; }), {"`plan_destroy` is null"});
  Refused(But([](sage_plugin& table) { table.run = nullptr; }), {"`run` is null"});
  Refused(But([](sage_plugin& table) { table.device_type = SAGE_CUDA; }), {"`device` is null"});
}

TEST_CASE("names, texts, kinds and devices") {
  Refused(But([](sage_plugin& table) { table.name = nullptr; }), {"name is null"});
  for (const char* name : {"", "CPU", "a-b", "a b", "../x", "a123456789012345678901234567890123", "\x01"})
    Refused(But([name](sage_plugin& table) { table.name = name; }), {"is not [a-z0-9_]{1,32}"});
  Refused(But([](sage_plugin& table) { table.version = nullptr; }), {"version is null"});
  Refused(But([](sage_plugin& table) { table.version = ""; }), {"version is empty"});
  Refused(But([](sage_plugin& table) { table.build = nullptr; }), {"build is null"});
  Refused(But([](sage_plugin& table) { table.kinds = 0; }), {"kinds are 0"});
  Refused(But([](sage_plugin& table) { table.device_type = -1; }), {"device_type is -1"});
  PluginFile file;
  CHECK(Negotiate(But([](sage_plugin& table) { table.device_type = 0; }), &file).ok());
  CHECK(file.table->device_type == SAGE_CPU);
}

TEST_CASE("a query that throws") {
  g_throw = true;
  PluginFile file;
  const Status status = NegotiatePlugin(Query, "/opt/libgood.so", &file);
  g_throw = false;
  CHECK(status.code() == SAGE_E_ABI_MISMATCH);
  CHECK(status.message().find("threw") != std::string::npos);
}
