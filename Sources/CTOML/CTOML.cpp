#include "CTOML.h"

#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

/* toml++ asserts that it was written rightly, and 3.3 was not: `[=]` fails in parse_key(). assert()
 * would abort, and with NDEBUG the assertions turn into __builtin_assume(), which is worse. */
struct Unexpected {};

}  // namespace

#undef NDEBUG
#define TOML_ASSERT(expression) (static_cast<bool>(expression) ? void() : throw Unexpected())
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_MAX_NESTED_VALUES SLUICE_TOML_DEPTH

/* In its predicates over characters an "unreachable" branch is reached by U+00A1 to U+0499 (`é`)
 * where they ask for blanks; false is the right answer there. They are noexcept. */
#include <toml++/impl/forward_declarations.h>
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE return {}
#include <toml++/impl/unicode.h>
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE throw Unexpected()
#include <toml++/toml.h>

struct sluice_toml_document {
    toml::table root;
    std::vector<sluice_toml_node> nodes;
    std::string error;
    uint32_t line = 0, column = 0;
};

namespace {

/* toml++ 3.3 bounds nested values, not the parts of a dotted key: `a.a.a…` of a megabyte would
 * overflow the stack when its tables are freed. This finds such a key ahead of it, knowing just
 * enough of the syntax (strings, comments) to tell a key's dots from others. */
class DottedKeys {
  public:
    explicit DottedKeys(std::string_view text) : text(text) {}

    /* True, with the place, where a dotted key has too many parts. */
    bool tooDeep(uint32_t &line, uint32_t &column) {
        size_t dots = 0;
        while (at < text.size()) {
            char c = text[at];
            if (c == '"' || c == '\'') {
                skipString(c);
                continue;
            }
            if (c == '#') {
                while (at < text.size() && text[at] != '\n') ++at;
                continue;
            }
            if (c == '.') {
                if (++dots >= SLUICE_TOML_DEPTH) {
                    line = lines;
                    column = static_cast<uint32_t>(at - lineStart + 1);
                    return true;
                }
            } else if (c == '=' || c == ',' || c == '[' || c == ']' || c == '{' || c == '}') {
                dots = 0;
            } else if (c == '\n') {
                dots = 0;
                newline();
            }
            ++at;
        }
        return false;
    }

  private:
    std::string_view text;
    size_t at = 0, lineStart = 0;
    uint32_t lines = 1;

    void newline() {
        ++lines;
        lineStart = at + 1;
    }

    bool three(char quote) const {
        return at + 2 < text.size() && text[at] == quote && text[at + 1] == quote &&
               text[at + 2] == quote;
    }

    void skipString(char quote) {
        bool isLong = three(quote);
        at += isLong ? 3 : 1;
        while (at < text.size()) {
            char c = text[at];
            if (c == '\n') {
                if (!isLong) return;
                newline();
            } else if (c == '\\' && quote == '"') {
                /* The escaped byte is no end; an escaped line end is still a line. */
                if (at + 1 < text.size() && text[at + 1] != '\n') ++at;
            } else if (c == quote && (!isLong || three(quote))) {
                at += isLong ? 3 : 1;
                /* A long string may end in up to five quotes. */
                for (int more = 0; isLong && more < 2 && at < text.size() && text[at] == quote;
                     ++more)
                    ++at;
                return;
            }
            ++at;
        }
    }
};

struct Key {
    const char *bytes = nullptr;
    size_t length = 0;
    toml::source_position place{};
};

void add(std::vector<sluice_toml_node> &nodes, const toml::node &node, const Key &key);

void addChildren(
    std::vector<sluice_toml_node> &nodes, const toml::node &node, sluice_toml_node &flat) {
    if (const toml::table *table = node.as_table()) {
        flat.kind = SLUICE_TOML_TABLE;
        flat.children = table->size();
        nodes.push_back(flat);
        for (auto &&[key, value] : *table) {
            std::string_view text = key.str();
            add(nodes, value, Key{text.data(), text.size(), key.source().begin});
        }
    } else if (const toml::array *array = node.as_array()) {
        flat.kind = SLUICE_TOML_ARRAY;
        flat.children = array->size();
        nodes.push_back(flat);
        for (const toml::node &value : *array) add(nodes, value, Key{});
    }
}

/* Recursive as deep as the document: bounded by SLUICE_TOML_DEPTH squared. */
void add(std::vector<sluice_toml_node> &nodes, const toml::node &node, const Key &key) {
    sluice_toml_node flat{};
    flat.line = node.source().begin.line;
    flat.column = node.source().begin.column;
    flat.key = key.bytes;
    flat.key_length = key.length;
    flat.key_line = key.place.line;
    flat.key_column = key.place.column;
    if (const auto *text = node.as_string()) {
        flat.kind = SLUICE_TOML_STRING;
        flat.text = text->get().data();
        flat.text_length = text->get().size();
    } else if (const auto *integer = node.as_integer()) {
        flat.kind = SLUICE_TOML_INTEGER;
        flat.integer = integer->get();
    } else if (const auto *number = node.as_floating_point()) {
        flat.kind = SLUICE_TOML_FLOAT;
        flat.number = number->get();
    } else if (const auto *boolean = node.as_boolean()) {
        flat.kind = SLUICE_TOML_BOOLEAN;
        flat.boolean = boolean->get();
    } else if (node.is_table() || node.is_array()) {
        addChildren(nodes, node, flat);
        return;
    } else {
        flat.kind = SLUICE_TOML_MOMENT;
    }
    nodes.push_back(flat);
}

/* Nothing where toml++ met what it did not expect. */
std::optional<toml::parse_result> attempt(std::string_view bytes) {
    try {
        return toml::parse(bytes);
    } catch (Unexpected) {
        return std::nullopt;
    }
}

/* Where an unexpected byte stands, which toml++ does not tell: at the end of the shortest beginning
 * of the text that it does not expect either. */
void locate(sluice_toml_document &document, std::string_view bytes) {
    size_t good = 0, bad = bytes.size();
    while (bad - good > 1) {
        size_t middle = good + (bad - good) / 2;
        (attempt(bytes.substr(0, middle)) ? good : bad) = middle;
    }
    while (good > 0 && (bytes[good] & 0xc0) == 0x80) --good; /* to the character's first byte */
    document.line = document.column = 1;
    for (char c : bytes.substr(0, good)) {
        if (c == '\n') {
            ++document.line;
            document.column = 1;
        } else if ((c & 0xc0) != 0x80) {
            /* Columns are code points: a continuation byte is none. */
            ++document.column;
        }
    }
    document.error = "this character cannot stand here";
}

void parse(sluice_toml_document &document, std::string_view bytes) {
    if (DottedKeys(bytes).tooDeep(document.line, document.column)) {
        document.error = "a dotted key has too many parts";
        return;
    }
    std::optional<toml::parse_result> result = attempt(bytes);
    if (!result) {
        locate(document, bytes);
        return;
    }
    if (!*result) {
        document.error = std::string(result->error().description());
        document.line = result->error().source().begin.line;
        document.column = result->error().source().begin.column;
        if (document.error.empty()) document.error = "syntax error";
        return;
    }
    document.root = std::move(*result).table();
    add(document.nodes, document.root, Key{});
}

}  // namespace

extern "C" {

sluice_toml_document *sluice_toml_parse(const char *bytes, size_t length) {
    sluice_toml_document *document = nullptr;
    try {
        document = new sluice_toml_document();
        parse(*document, std::string_view(bytes, length));
        return document;
    } catch (...) {
        delete document;
        return nullptr;
    }
}

const char *sluice_toml_error(
    const sluice_toml_document *document, uint32_t *line, uint32_t *column) {
    if (document->error.empty()) return nullptr;
    *line = document->line;
    *column = document->column;
    return document->error.c_str();
}

size_t sluice_toml_count(const sluice_toml_document *document) { return document->nodes.size(); }

const sluice_toml_node *sluice_toml_at(const sluice_toml_document *document, size_t index) {
    return &document->nodes[index];
}

void sluice_toml_free(sluice_toml_document *document) { delete document; }
}
