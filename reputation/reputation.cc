// reputation.cc: the trust store on SQLite. Statements are prepared once; a mutex makes a store free-threaded.
#include "sage/reputation.h"

#include <sqlite3.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "sage/support/guard.h"

namespace {

constexpr int kApplicationId = 0x53414745;  // "SAGE", so that another program's database is not taken for ours
constexpr int kVersion = 1;
constexpr int kBusyMilliseconds = 2000;
constexpr size_t kMaxText = 256;

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

}  // namespace

struct sage_reputation {
  std::mutex mutex;
  std::string path;
  std::unique_ptr<sqlite3, CloseDatabase> database;  // before the statements: they are finalised first
  Statement get, put, row, forget_one, forget_all, list, begin, commit, rollback;
};

namespace {

sage_status CodeOf(int result) {
  switch (result & 0xff) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
    case SQLITE_MISMATCH:
      return SAGE_E_BAD_DATA;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return SAGE_E_BUSY;
    case SQLITE_NOMEM:
      return SAGE_E_OUT_OF_MEMORY;
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_FULL:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return SAGE_E_IO;
    default:
      return SAGE_E_INTERNAL;
  }
}

sage_status Failed(const sage_reputation& store, int result, sage_error* err) {
  const char* text = store.database != nullptr ? sqlite3_errmsg(store.database.get()) : sqlite3_errstr(result);
  const char* hint = CodeOf(result) == SAGE_E_BAD_DATA
                         ? "; it is damaged or no trust store: name another file, or restore a copy"
                     : CodeOf(result) == SAGE_E_BUSY ? "; another process has been writing for two seconds: try again"
                                                     : "";
  return sage_fail(err, CodeOf(result), "reputation store \"%s\": %s%s", store.path.c_str(), text, hint);
}

// Ends every statement it is given at the end of a call, so that no lock stays.
class Use {
 public:
  explicit Use(const Statement& statement) : statement_(statement.get()) {}
  ~Use() { sqlite3_reset(statement_), sqlite3_clear_bindings(statement_); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  sqlite3_stmt* get() const { return statement_; }

 private:
  sqlite3_stmt* statement_;
};

int Step(const Statement& statement) {
  const Use use(statement);
  const int result = sqlite3_step(use.get());
  return result == SQLITE_DONE || result == SQLITE_ROW ? SQLITE_OK : result;
}

sage_status CheckText(const char* name, const char* text, sage_error* err) {
  if (text == nullptr)
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "%s is null; expected 1 to 256 bytes of UTF-8", name);
  const size_t size = std::strlen(text);
  if (size == 0 || size > kMaxText)
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "%s has %zu bytes; expected 1 to 256 of UTF-8", name, size);
  return SAGE_OK;
}

sage_status CheckKey(const char* component, int64_t expert, const char* context, sage_error* err) {
  if (const sage_status status = CheckText("component", component, err); status != SAGE_OK) return status;
  if (const sage_status status = CheckText("context", context, err); status != SAGE_OK) return status;
  if (expert < 0)
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "expert is %lld; experts are numbered from 0",
                     static_cast<long long>(expert));
  return SAGE_OK;
}

void BindKey(sqlite3_stmt* statement, const char* component, int64_t layer, const char* context, int64_t expert) {
  sqlite3_bind_text(statement, 1, component, -1, SQLITE_STATIC);
  sqlite3_bind_int64(statement, 2, layer);
  sqlite3_bind_text(statement, 3, context, -1, SQLITE_STATIC);
  sqlite3_bind_int64(statement, 4, expert);
}

// What is stored is believed only within its range: a file edited by hand must not put a trust of 7 into a tick.
int ReadEntry(sqlite3_stmt* statement, int column, double* trust, int64_t* samples) {
  *trust = sqlite3_column_double(statement, column);
  *samples = sqlite3_column_int64(statement, column + 1);
  return *trust >= 0 && *trust <= 1 && *samples >= 0 ? SQLITE_OK : SQLITE_CORRUPT;
}

int Get(const sage_reputation& store, const char* component, int64_t layer, const char* context, int64_t expert,
        double* trust, int64_t* samples) {
  *trust = SAGE_REPUTATION_PRIOR, *samples = 0;
  const Use use(store.get);
  BindKey(use.get(), component, layer, context, expert);
  const int result = sqlite3_step(use.get());
  if (result == SQLITE_DONE) return SQLITE_OK;
  return result == SQLITE_ROW ? ReadEntry(use.get(), 0, trust, samples) : result;
}

// t <- 0.9 t + 0.1 q, within the caller's transaction.
int AddSample(const sage_reputation& store, const char* component, int64_t layer, const char* context, int64_t expert,
              double quality, double* trust, int64_t* samples) {
  if (const int result = Get(store, component, layer, context, expert, trust, samples); result != SQLITE_OK)
    return result;
  *trust = (1 - SAGE_REPUTATION_RATE) * *trust + SAGE_REPUTATION_RATE * quality;
  *samples += 1;
  const Use use(store.put);
  BindKey(use.get(), component, layer, context, expert);
  sqlite3_bind_double(use.get(), 5, *trust);
  sqlite3_bind_int64(use.get(), 6, *samples);
  const int result = sqlite3_step(use.get());
  return result == SQLITE_DONE ? SQLITE_OK : result;
}

// Runs body inside BEGIN IMMEDIATE ... COMMIT; anything else rolls back.
template <class Body>
int InTransaction(const sage_reputation& store, Body&& body) {
  int result = Step(store.begin);
  if (result != SQLITE_OK) return result;
  result = body();
  if (result == SQLITE_OK) result = Step(store.commit);
  if (result != SQLITE_OK) Step(store.rollback);
  return result;
}

int ReadPragma(sqlite3* database, const char* sql, int* value) {
  sqlite3_stmt* raw = nullptr;
  int result = sqlite3_prepare_v2(database, sql, -1, &raw, nullptr);
  const Statement statement(raw);
  if (result != SQLITE_OK) return result;
  result = sqlite3_step(raw);
  if (result == SQLITE_ROW) *value = sqlite3_column_int(raw, 0);
  return result == SQLITE_ROW || result == SQLITE_DONE ? SQLITE_OK : result;
}

// A new file becomes a store, a store of this version is taken as it is, anything else is refused.
sage_status Adopt(sage_reputation& store, sage_error* err) {
  sqlite3* database = store.database.get();
  int application = 0, version = 0, tables = 0;
  int result = ReadPragma(database, "PRAGMA application_id", &application);
  if (result == SQLITE_OK) result = ReadPragma(database, "PRAGMA user_version", &version);
  if (result == SQLITE_OK) result = ReadPragma(database, "SELECT count(*) FROM sqlite_master", &tables);
  if (result != SQLITE_OK) return Failed(store, result, err);
  if (tables == 0 && application == 0 && version == 0) {
    char create[512];
    std::snprintf(
        create, sizeof create,
        "BEGIN IMMEDIATE;"
        "CREATE TABLE IF NOT EXISTS trust(component TEXT NOT NULL, layer INTEGER NOT NULL, context TEXT NOT NULL,"
        " expert INTEGER NOT NULL, trust REAL NOT NULL, samples INTEGER NOT NULL,"
        " PRIMARY KEY(component, layer, context, expert)) WITHOUT ROWID;"
        "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
        kApplicationId, kVersion);
    result = sqlite3_exec(database, create, nullptr, nullptr, nullptr);
    return result == SQLITE_OK ? SAGE_OK : Failed(store, result, err);
  }
  if (application != kApplicationId)
    return sage_fail(err, SAGE_E_BAD_DATA,
                     "\"%s\" is a database of another program, not a trust store; name another file",
                     store.path.c_str());
  if (version != kVersion)
    return sage_fail(err, SAGE_E_BAD_DATA, "\"%s\" is a trust store of version %d; this library knows version %d: %s",
                     store.path.c_str(), version, kVersion,
                     version > kVersion ? "install a newer one" : "it is damaged");
  return SAGE_OK;
}

sage_status Prepare(sage_reputation& store, sage_error* err) {
  struct {
    Statement* statement;
    const char* sql;
  } const all[] = {
      {&store.get, "SELECT trust, samples FROM trust WHERE component=?1 AND layer=?2 AND context=?3 AND expert=?4"},
      {&store.put,
       "INSERT INTO trust(component, layer, context, expert, trust, samples) VALUES(?1,?2,?3,?4,?5,?6)"
       " ON CONFLICT(component, layer, context, expert) DO UPDATE SET trust=?5, samples=?6"},
      {&store.row,
       "SELECT expert, trust, samples FROM trust WHERE component=?1 AND layer=?2 AND context=?3 AND expert<?4"},
      {&store.forget_one, "DELETE FROM trust WHERE component=?1 AND layer=?2 AND context=?3 AND expert=?4"},
      {&store.forget_all, "DELETE FROM trust WHERE component=?1 AND layer=?2 AND expert=?4"},
      {&store.list,
       "SELECT component, layer, expert, context, trust, samples FROM trust ORDER BY component, layer, expert, "
       "context"},
      {&store.begin, "BEGIN IMMEDIATE"},
      {&store.commit, "COMMIT"},
      {&store.rollback, "ROLLBACK"},
  };
  for (const auto& [statement, sql] : all) {
    sqlite3_stmt* raw = nullptr;
    const int result = sqlite3_prepare_v3(store.database.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
    statement->reset(raw);
    if (result != SQLITE_OK) return Failed(store, result, err);
  }
  return SAGE_OK;
}

void AppendJsonText(std::string* out, const unsigned char* text) {
  *out += '"';
  for (; text != nullptr && *text != 0; ++text) {
    if (*text == '"' || *text == '\\') {
      *out += '\\', *out += static_cast<char>(*text);
    } else if (*text < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", *text);
      *out += escape;
    } else {
      *out += static_cast<char>(*text);
    }
  }
  *out += '"';
}

// Guard and lock round every entry.
template <class Body>
sage_status Entry(const char* name, sage_reputation* store, sage_error* err, Body&& body) {
  return sage::support::Guard(name, err, [&]() -> sage_status {
    if (store == nullptr) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "%s: the store is null", name);
    const std::lock_guard<std::mutex> lock(store->mutex);
    const sage_status status = body();
    return status == SAGE_OK ? sage_succeed(err) : status;
  });
}

}  // namespace

sage_status sage_reputation_open(const char* path, sage_reputation** out, sage_error* err) {
  if (out != nullptr) *out = nullptr;
  return sage::support::Guard("sage_reputation_open", err, [&]() -> sage_status {
    if (path == nullptr || out == nullptr || path[0] == '\0')
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                       "sage_reputation_open: a path and a place for the handle are needed");
    auto store = std::make_unique<sage_reputation>();
    store->path = path;
    sqlite3* raw = nullptr;
    // The mutex of the store serialises; SQLite's own is not needed.
    const int result =
        sqlite3_open_v2(path, &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
    store->database.reset(raw);
    if (result != SQLITE_OK) return Failed(*store, result, err);
    sqlite3_busy_timeout(raw, kBusyMilliseconds);
    sqlite3_extended_result_codes(raw, 1);
    if (const sage_status status = Adopt(*store, err); status != SAGE_OK) return status;
    if (const sage_status status = Prepare(*store, err); status != SAGE_OK) return status;
    *out = store.release();
    return sage_succeed(err);
  });
}

void sage_reputation_close(sage_reputation* store) { delete store; }

sage_status sage_reputation_update(sage_reputation* store, const char* component, int64_t layer, int64_t expert,
                                   const char* context, double quality, double* trust, int64_t* samples,
                                   sage_error* err) {
  return Entry("sage_reputation_update", store, err, [&]() -> sage_status {
    if (const sage_status status = CheckKey(component, expert, context, err); status != SAGE_OK) return status;
    if (!(quality >= 0 && quality <= 1))
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "quality is %g; it must lie in [0, 1]", quality);
    double after = 0;
    int64_t count = 0;
    const int result = InTransaction(
        *store, [&] { return AddSample(*store, component, layer, context, expert, quality, &after, &count); });
    if (result != SQLITE_OK) return Failed(*store, result, err);
    if (trust != nullptr) *trust = after;
    if (samples != nullptr) *samples = count;
    return SAGE_OK;
  });
}

sage_status sage_reputation_update_many(sage_reputation* store, const char* component, int64_t layer,
                                        const char* context, const int64_t* experts, const double* quality,
                                        uint64_t count, sage_error* err) {
  return Entry("sage_reputation_update_many", store, err, [&]() -> sage_status {
    if (const sage_status status = CheckKey(component, 0, context, err); status != SAGE_OK) return status;
    if (count > 0 && (experts == nullptr || quality == nullptr))
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "experts or quality is null");
    for (uint64_t i = 0; i < count; ++i) {
      if (experts[i] < 0 || !(quality[i] >= 0 && quality[i] <= 1))
        return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                         "sample %llu: expert %lld, quality %g; experts are numbered from 0, quality lies in [0, 1]",
                         static_cast<unsigned long long>(i), static_cast<long long>(experts[i]), quality[i]);
    }
    const int result = InTransaction(*store, [&] {
      double trust = 0;
      int64_t samples = 0;
      for (uint64_t i = 0; i < count; ++i)
        if (const int added = AddSample(*store, component, layer, context, experts[i], quality[i], &trust, &samples);
            added != SQLITE_OK)
          return added;
      return SQLITE_OK;
    });
    return result == SQLITE_OK ? SAGE_OK : Failed(*store, result, err);
  });
}

sage_status sage_reputation_get(sage_reputation* store, const char* component, int64_t layer, int64_t expert,
                                const char* context, double* trust, int64_t* samples, sage_error* err) {
  return Entry("sage_reputation_get", store, err, [&]() -> sage_status {
    if (const sage_status status = CheckKey(component, expert, context, err); status != SAGE_OK) return status;
    double value = 0;
    int64_t count = 0;
    if (const int result = Get(*store, component, layer, context, expert, &value, &count); result != SQLITE_OK)
      return Failed(*store, result, err);
    if (trust != nullptr) *trust = value;
    if (samples != nullptr) *samples = count;
    return SAGE_OK;
  });
}

sage_status sage_reputation_row(sage_reputation* store, const char* component, int64_t layer, const char* context,
                                uint64_t count, double* trust, int64_t* samples, sage_error* err) {
  return Entry("sage_reputation_row", store, err, [&]() -> sage_status {
    if (const sage_status status = CheckKey(component, 0, context, err); status != SAGE_OK) return status;
    if (count > 0 && trust == nullptr)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "trust is null; expected room for %llu numbers",
                       static_cast<unsigned long long>(count));
    if (count > INT64_MAX)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "%llu experts are more than there can be",
                       static_cast<unsigned long long>(count));
    // Read first, written at the end: on an error the caller's row is as it was.
    struct Entry {
      int64_t expert, samples;
      double trust;
    };
    std::vector<Entry> entries;
    {
      const Use use(store->row);
      BindKey(use.get(), component, layer, context, static_cast<int64_t>(count));
      int result = SQLITE_OK;
      while ((result = sqlite3_step(use.get())) == SQLITE_ROW) {
        Entry entry{sqlite3_column_int64(use.get(), 0), 0, 0};
        if (ReadEntry(use.get(), 1, &entry.trust, &entry.samples) != SQLITE_OK || entry.expert < 0)
          return Failed(*store, SQLITE_CORRUPT, err);
        entries.push_back(entry);
      }
      if (result != SQLITE_DONE) return Failed(*store, result, err);
    }
    for (uint64_t i = 0; i < count; ++i) trust[i] = SAGE_REPUTATION_PRIOR;
    if (samples != nullptr)
      for (uint64_t i = 0; i < count; ++i) samples[i] = 0;
    for (const Entry& entry : entries) {
      trust[entry.expert] = entry.trust;
      if (samples != nullptr) samples[entry.expert] = entry.samples;
    }
    return SAGE_OK;
  });
}

sage_status sage_reputation_forget(sage_reputation* store, const char* component, int64_t layer, int64_t expert,
                                   const char* context, uint64_t* removed, sage_error* err) {
  return Entry("sage_reputation_forget", store, err, [&]() -> sage_status {
    if (const sage_status status = CheckKey(component, expert, context == nullptr ? "all" : context, err);
        status != SAGE_OK)
      return status;
    const Use use(context == nullptr ? store->forget_all : store->forget_one);
    BindKey(use.get(), component, layer, context == nullptr ? "" : context, expert);
    const int result = sqlite3_step(use.get());
    if (result != SQLITE_DONE) return Failed(*store, result, err);
    if (removed != nullptr) *removed = static_cast<uint64_t>(sqlite3_changes(store->database.get()));
    return SAGE_OK;
  });
}

sage_status sage_reputation_list(sage_reputation* store, char* buffer, uint64_t capacity, uint64_t* needed,
                                 sage_error* err) {
  return Entry("sage_reputation_list", store, err, [&]() -> sage_status {
    if (needed == nullptr) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "sage_reputation_list: needed is null");
    std::string text = "[";
    {
      const Use use(store->list);
      int result = SQLITE_OK;
      while ((result = sqlite3_step(use.get())) == SQLITE_ROW) {
        if (text.size() > 1) text += ',';
        char numbers[128];
        text += "{\"component\":";
        AppendJsonText(&text, sqlite3_column_text(use.get(), 0));
        std::snprintf(numbers, sizeof numbers, ",\"layer\":%lld,\"expert\":%lld,\"context\":",
                      static_cast<long long>(sqlite3_column_int64(use.get(), 1)),
                      static_cast<long long>(sqlite3_column_int64(use.get(), 2)));
        text += numbers;
        AppendJsonText(&text, sqlite3_column_text(use.get(), 3));
        std::snprintf(numbers, sizeof numbers, ",\"trust\":%.17g,\"samples\":%lld}",
                      sqlite3_column_double(use.get(), 4), static_cast<long long>(sqlite3_column_int64(use.get(), 5)));
        text += numbers;
      }
      if (result != SQLITE_DONE) return Failed(*store, result, err);
    }
    text += ']';
    *needed = text.size() + 1;
    if (buffer == nullptr) return SAGE_OK;
    if (capacity < *needed)
      return sage_fail(err, SAGE_E_BUFFER_TOO_SMALL, "sage_reputation_list: %llu bytes were given, %llu are needed",
                       static_cast<unsigned long long>(capacity), static_cast<unsigned long long>(*needed));
    std::memcpy(buffer, text.c_str(), *needed);
    return SAGE_OK;
  });
}
