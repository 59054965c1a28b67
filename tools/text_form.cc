// text_form.cc: FlatBuffers' parser one way, a walk along the schema the other.
#include "text_form.h"

#include <flatbuffers/flatbuffers.h>
#include <flatbuffers/idl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <regex>

#include "schemas/model_generated.h"
#include "schemas/model_text.h"

namespace sage {
namespace {

constexpr size_t kMaxText = size_t{64} << 20;

Status Bad(std::string message) { return Status(SAGE_E_BAD_DATA, std::move(message)); }

flatbuffers::IDLOptions ParserOptions() {
  flatbuffers::IDLOptions options;
  options.strict_json = true;
  return options;
}

// Levenshtein's distance, given up above `limit`.
size_t Distance(std::string_view a, std::string_view b, size_t limit) {
  if (a.size() > b.size() + limit || b.size() > a.size() + limit) return limit + 1;
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

// The nearest field or enumerator of the schema, or empty. Names are compared without regard to case.
std::string NearestInSchema(const flatbuffers::Parser& parser, std::string_view given) {
  if (given.empty() || given.size() > 64) return "";
  const auto lower = [](std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return out;
  };
  const std::string wanted = lower(given);
  size_t best = std::max<size_t>(2, given.size() / 3) + 1;
  std::string nearest;
  const auto consider = [&](const std::string& name) {
    const size_t distance = Distance(wanted, lower(name), best);
    if (distance >= best) return;
    best = distance;
    nearest = name;
  };
  for (const flatbuffers::StructDef* table : parser.structs_.vec) {
    for (const flatbuffers::FieldDef* field : table->fields.vec) consider(field->name);
  }
  for (const flatbuffers::EnumDef* enumeration : parser.enums_.vec) {
    for (const flatbuffers::EnumVal* value : enumeration->Vals()) consider(value->name);
  }
  return nearest;
}

// The parser's "12: 34: error: unknown field: algoritm, originally at: ..." as a sentence of ours.
std::string ParserMessage(const flatbuffers::Parser& parser) {
  std::string text = parser.error_;
  text = text.substr(0, text.find(", originally at"));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  std::smatch found;
  std::string place;
  if (std::regex_search(text, found, std::regex(R"(^[^0-9]*(\d+): (\d+): error: )"))) {
    place = fmt::format("line {}, column {}: ", found[1].str(), found[2].str());
    text = text.substr(static_cast<size_t>(found.length(0)));
  }
  if (text.size() > 300) text.resize(300);
  std::string hint;
  if (std::regex_search(
          text, found,
          std::regex(
              R"(unknown (?:field|enum value|enum identifier|union type|type name)[^:]*: *"?([A-Za-z0-9_]+))"))) {
    const std::string nearest = NearestInSchema(parser, found[1].str());
    if (!nearest.empty() && nearest != found[1].str()) hint = fmt::format("; did you mean \"{}\"?", nearest);
  }
  return place + text + hint;
}

Status LoadSchema(flatbuffers::Parser* parser) {
  if (!parser->Parse(kModelSchemaText))
    return Status(SAGE_E_INTERNAL, fmt::format("the built-in schema does not parse: {}", parser->error_));
  return {};
}

std::vector<uint8_t> Finished(const flatbuffers::Parser& parser) {
  const uint8_t* bytes = parser.builder_.GetBufferPointer();
  return {bytes, bytes + parser.builder_.GetSize()};
}

// The first character that is neither blank nor in a comment, and whether all of it is text at all.
size_t FirstToken(std::string_view text) {
  size_t i = text.substr(0, 3) == "\xEF\xBB\xBF" ? 3 : 0;
  while (i < text.size()) {
    if (text.compare(i, 2, "//") == 0) {
      i = std::min(text.find('\n', i), text.size());
    } else if (text.compare(i, 2, "/*") == 0) {
      const size_t end = text.find("*/", i + 2);
      i = end == std::string_view::npos ? text.size() : end + 2;
    } else if (std::strchr(" \t\r\n", text[i]) != nullptr && text[i] != '\0') {
      ++i;
    } else {
      break;
    }
  }
  return i;
}

bool IsSchemaWord(std::string_view text) {
  for (const std::string_view word : {"namespace", "table", "enum", "struct", "union", "include", "attribute",
                                      "root_type", "file_identifier", "file_extension", "rpc_service"}) {
    if (text.substr(0, word.size()) == word && text.size() > word.size() && std::strchr(" \t\r\n\"", text[word.size()]))
      return true;
  }
  return false;
}

// ---- binary to JSON
// ---------------------------------------------------------------------------------------------------

// One value on its way to text: a scalar, or members that are laid out once their width is known.
struct Piece {
  std::string scalar;
  char open = 0;  // '{', '[' or 0
  std::vector<std::pair<std::string, Piece>> members;
  size_t width = 0;  // on one line
};

constexpr size_t kLine = 100;

void Measure(Piece* piece) {
  if (piece->open == 0) {
    piece->width = piece->scalar.size();
    return;
  }
  piece->width = piece->members.empty() ? 2 : 4;
  for (auto& [key, value] : piece->members) {
    Measure(&value);
    piece->width += value.width + (key.empty() ? 2 : key.size() + 6);
  }
}

void Write(const Piece& piece, size_t indent, size_t used, std::string* out) {
  if (piece.open == 0) {
    *out += piece.scalar;
    return;
  }
  const char close = piece.open == '{' ? '}' : ']';
  const bool one_line = indent > 0 && indent + used + piece.width <= kLine;
  *out += piece.open;
  bool first = true;
  for (const auto& [key, value] : piece.members) {
    if (!first) *out += ',';
    first = false;
    if (one_line)
      *out += ' ';
    else
      out->append(1, '\n').append(indent + 2, ' ');
    const size_t label = key.empty() ? 0 : key.size() + 4;
    if (!key.empty()) out->append("\"").append(key).append("\": ");
    Write(value, indent + 2, one_line ? 0 : label, out);
  }
  if (!piece.members.empty()) {
    if (one_line)
      *out += ' ';
    else
      out->append(1, '\n').append(indent, ' ');
  }
  *out += close;
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
        else
          out += c;
    }
  }
  return out + "\"";
}

std::string NumberText(double value) {
  // JSON has no word for these; FlatBuffers' parser takes them as strings.
  if (std::isnan(value)) return "\"nan\"";
  if (std::isinf(value)) return value < 0 ? "\"-inf\"" : "\"inf\"";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return {buffer, end};
}

class Walker {
 public:
  explicit Walker(bool defaults) : defaults_(defaults) {}

  Result<Piece> Table(const flatbuffers::Table& table, const flatbuffers::StructDef& definition) {
    Piece out;
    out.open = '{';
    int64_t union_type = 0;
    for (const flatbuffers::FieldDef* field : definition.fields.vec) {
      if (field->deprecated) continue;
      const flatbuffers::Type& type = field->value.type;
      const auto offset = static_cast<flatbuffers::voffset_t>(field->value.offset);
      const bool present = table.CheckField(offset);
      Piece value;
      if (flatbuffers::IsScalar(type.base_type)) {
        if (!present && !defaults_) {
          if (type.base_type == flatbuffers::BASE_TYPE_UTYPE) union_type = 0;
          continue;
        }
        if (!present && field->IsScalarOptional()) {
          value.scalar = "null";
        } else {
          SAGE_ASSIGN_OR_RETURN(value.scalar, present ? Stored(table, *field) : Default(*field));
        }
        if (type.base_type == flatbuffers::BASE_TYPE_UTYPE) union_type = table.GetField<uint8_t>(offset, 0);
      } else {
        if (!present) continue;
        SAGE_ASSIGN_OR_RETURN(value, Pointer(table, *field, union_type));
      }
      out.members.emplace_back(field->name, std::move(value));
      // Strings and vectors may be shared in a hostile file, so its text could be far larger than itself.
      if (written_ > kMaxText) return Bad("its text would be larger than any model may be: the file is damaged");
    }
    return out;
  }

 private:
  static Result<std::string> Integer(int64_t number, const flatbuffers::Type& type) {
    if (type.enum_def != nullptr) {
      const flatbuffers::EnumVal* value = type.enum_def->ReverseLookup(number);
      if (value != nullptr) return Quoted(value->name);
      // An enumerator of a newer schema has no name here; as a number it would not compile again either.
      return Bad(fmt::format("{} {} is not known to this build", type.enum_def->name, number));
    }
    if (type.base_type == flatbuffers::BASE_TYPE_BOOL) return std::string(number != 0 ? "true" : "false");
    return fmt::format("{}", number);
  }

  static Result<std::string> Stored(const flatbuffers::Table& table, const flatbuffers::FieldDef& field) {
    const auto offset = static_cast<flatbuffers::voffset_t>(field.value.offset);
    const flatbuffers::Type& type = field.value.type;
    switch (type.base_type) {
      case flatbuffers::BASE_TYPE_UTYPE:
      case flatbuffers::BASE_TYPE_BOOL:
      case flatbuffers::BASE_TYPE_UCHAR:
        return Integer(table.GetField<uint8_t>(offset, 0), type);
      case flatbuffers::BASE_TYPE_INT:
        return Integer(table.GetField<int32_t>(offset, 0), type);
      case flatbuffers::BASE_TYPE_UINT:
        return Integer(table.GetField<uint32_t>(offset, 0), type);
      case flatbuffers::BASE_TYPE_LONG:
        return Integer(table.GetField<int64_t>(offset, 0), type);
      case flatbuffers::BASE_TYPE_ULONG:
        return fmt::format("{}", table.GetField<uint64_t>(offset, 0));
      case flatbuffers::BASE_TYPE_DOUBLE:
        return NumberText(table.GetField<double>(offset, 0));
      default:
        return Status(SAGE_E_INTERNAL, fmt::format("field {} has a type the text form does not write", field.name));
    }
  }

  static Result<std::string> Default(const flatbuffers::FieldDef& field) {
    const flatbuffers::Type& type = field.value.type;
    const std::string& text = field.value.constant;
    if (type.base_type == flatbuffers::BASE_TYPE_DOUBLE) return NumberText(std::strtod(text.c_str(), nullptr));
    if (type.base_type == flatbuffers::BASE_TYPE_ULONG) return text;
    return Integer(std::strtoll(text.c_str(), nullptr, 10), type);
  }

  Result<Piece> Pointer(const flatbuffers::Table& table, const flatbuffers::FieldDef& field, int64_t union_type) {
    const auto offset = static_cast<flatbuffers::voffset_t>(field.value.offset);
    const flatbuffers::Type& type = field.value.type;
    Piece out;
    switch (type.base_type) {
      case flatbuffers::BASE_TYPE_STRING:
        out.scalar = Text(*table.GetPointer<const flatbuffers::String*>(offset));
        return out;
      case flatbuffers::BASE_TYPE_STRUCT:
        return Table(*table.GetPointer<const flatbuffers::Table*>(offset), *type.struct_def);
      case flatbuffers::BASE_TYPE_UNION: {
        const flatbuffers::EnumVal* member = type.enum_def->ReverseLookup(union_type, true);
        if (member == nullptr || member->union_type.struct_def == nullptr)
          return Bad(fmt::format("{} {} is not known to this build", type.enum_def->name, union_type));
        return Table(*table.GetPointer<const flatbuffers::Table*>(offset), *member->union_type.struct_def);
      }
      case flatbuffers::BASE_TYPE_VECTOR:
        return Vector(table, offset, type);
      default:
        return Status(SAGE_E_INTERNAL, fmt::format("field {} has a type the text form does not write", field.name));
    }
  }

  Result<Piece> Vector(const flatbuffers::Table& table, flatbuffers::voffset_t offset, const flatbuffers::Type& type) {
    Piece out;
    out.open = '[';
    const auto add = [&](Piece piece) { out.members.emplace_back("", std::move(piece)); };
    if (type.element == flatbuffers::BASE_TYPE_STRUCT) {
      for (const auto* item :
           *table.GetPointer<const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::Table>>*>(offset)) {
        SAGE_ASSIGN_OR_RETURN(Piece piece, Table(*item, *type.struct_def));
        add(std::move(piece));
      }
    } else if (type.element == flatbuffers::BASE_TYPE_STRING) {
      for (const auto* item :
           *table.GetPointer<const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>*>(offset)) {
        Piece piece;
        piece.scalar = Text(*item);
        add(std::move(piece));
      }
    } else if (type.element == flatbuffers::BASE_TYPE_DOUBLE) {
      // The verifier does not align a vector's elements: copied, never dereferenced.
      const auto& items = *table.GetPointer<const flatbuffers::Vector<double>*>(offset);
      for (size_t i = 0; i < items.size(); ++i) {
        double item = 0;
        std::memcpy(&item, items.Data() + i * sizeof item, sizeof item);
        Piece piece;
        piece.scalar = NumberText(item);
        add(std::move(piece));
      }
    } else if (type.element == flatbuffers::BASE_TYPE_INT) {
      for (const int32_t item : *table.GetPointer<const flatbuffers::Vector<int32_t>*>(offset)) {
        Piece piece;
        piece.scalar = fmt::format("{}", item);
        add(std::move(piece));
      }
    } else {
      return Status(SAGE_E_INTERNAL, "the schema has a kind of vector the text form does not write");
    }
    written_ += 8 * out.members.size();
    return out;
  }

  std::string Text(const flatbuffers::String& text) {
    written_ += text.size();
    return Quoted(std::string_view(text.c_str(), text.size()));
  }

  bool defaults_;
  size_t written_ = 0;
};

}  // namespace

Result<std::vector<uint8_t>> ModelToBinary(std::string_view text) {
  const std::vector<uint8_t> as_is(text.begin(), text.end());
  if (text.size() >= 8 && text.substr(4, 4) == fb::ModelIdentifier()) return as_is;
  const size_t first = FirstToken(text);
  if (first == text.size()) return as_is;
  const bool json = text[first] == '{', schema = IsSchemaWord(text.substr(first));
  if (!json && !schema) return as_is;
  if (text.size() > kMaxText)
    return Bad(fmt::format("the text has {} bytes, at most {} are read", text.size(), kMaxText));
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos)
    return Bad(fmt::format("there is a NUL at byte {}: this is no text", nul));

  flatbuffers::Parser ours(ParserOptions());
  SAGE_RETURN_IF_ERROR(LoadSchema(&ours));
  const std::string copy(text.substr(text.substr(0, 3) == "\xEF\xBB\xBF" ? 3 : 0));
  if (json) {
    if (!ours.ParseJson(copy.c_str())) return Bad(ParserMessage(ours));
    return Finished(ours);
  }
  // Their schema, then data. It may be an older copy of ours: what both have must agree. Nothing is included, since
  // that would read files of the text's choosing.
  if (std::regex_search(copy, std::regex(R"((^|\n)\s*include\s)")))
    return Bad("includes are not followed: put the whole schema and the data into one text, or hand in JSON");
  flatbuffers::Parser theirs;
  if (!theirs.Parse(copy.c_str())) return Bad(ParserMessage(theirs));
  if (theirs.builder_.GetSize() == 0)
    return Bad(
        "this is a FlatBuffers schema, not a model: it has no data after the schema; `sage-engine convert IN.json "
        "OUT.fbs` makes a model");
  if (theirs.root_struct_def_ == nullptr || theirs.root_struct_def_->name != ours.root_struct_def_->name)
    return Bad("the schema's root_type is not Model: this is not the schema of a model");
  if (const std::string difference = ours.ConformTo(theirs); !difference.empty())
    return Bad(fmt::format("the schema in this text contradicts the one of this build: {}", difference));
  std::vector<uint8_t> bytes = Finished(theirs);
  if (bytes.size() < 8 || std::memcmp(bytes.data() + 4, fb::ModelIdentifier(), 4) != 0)
    return Bad("the schema in this text has no file_identifier \"SAG1\"");
  return bytes;
}

Result<std::string> ModelToJson(std::span<const uint8_t> model, bool defaults) {
  // In memory of our own, at an alignment that the format wants.
  const std::vector<uint8_t> bytes(model.begin(), model.end());
  if (bytes.size() < 8 || std::memcmp(bytes.data() + 4, fb::ModelIdentifier(), 4) != 0)
    return Bad("this is not a model: bytes 4 to 7 of a binary one are \"SAG1\", and JSON begins with {");
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), 16, 65536);
  if (bytes.size() > kMaxText || !fb::VerifyModelBuffer(verifier))
    return Bad("the bytes are no complete model: damaged, cut short, or something else");
  flatbuffers::Parser parser(ParserOptions());
  SAGE_RETURN_IF_ERROR(LoadSchema(&parser));
  const auto* root = flatbuffers::GetRoot<flatbuffers::Table>(bytes.data());
  Walker walker(defaults);
  SAGE_ASSIGN_OR_RETURN(Piece piece, walker.Table(*root, *parser.root_struct_def_));
  Measure(&piece);
  std::string out;
  Write(piece, 0, 0, &out);
  return out + "\n";
}

}  // namespace sage
