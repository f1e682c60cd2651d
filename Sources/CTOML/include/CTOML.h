/* toml++ as a flat list of nodes that C can read. No exception leaves; every string is UTF-8 with
 * its length and lives as long as its document. */
#ifndef SLUICE_CTOML_H
#define SLUICE_CTOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Arrays, inline tables and dotted keys may nest this deep. */
#define SLUICE_TOML_DEPTH 32

typedef enum {
    SLUICE_TOML_TABLE,
    SLUICE_TOML_ARRAY,
    SLUICE_TOML_STRING,
    SLUICE_TOML_INTEGER,
    SLUICE_TOML_FLOAT,
    SLUICE_TOML_BOOLEAN,
    SLUICE_TOML_MOMENT, /* a date, a time, or both */
} sluice_toml_kind;

/* One node. The nodes of a document stand in preorder: a table or an array, then its `children`
 * children, each with all that is below it. */
typedef struct {
    sluice_toml_kind kind;
    uint32_t line, column;         /* of the value, from 1, columns in code points; 0: unknown */
    uint32_t key_line, key_column; /* of the key */
    const char *key;               /* NULL in an array, and at the root */
    size_t key_length;
    const char *text; /* of a string */
    size_t text_length;
    int64_t integer;
    double number;
    bool boolean;
    size_t children;
} sluice_toml_node;

typedef struct sluice_toml_document sluice_toml_document;

/* Parses `length` bytes. NULL only where memory ran out; a syntax error is in the document. */
sluice_toml_document *sluice_toml_parse(const char *bytes, size_t length);

/* The sentence of the syntax error, with its place; NULL where there is none. */
const char *sluice_toml_error(
    const sluice_toml_document *document, uint32_t *line, uint32_t *column);

size_t sluice_toml_count(const sluice_toml_document *document);

/* `index` must be below the count. */
const sluice_toml_node *sluice_toml_at(const sluice_toml_document *document, size_t index);

void sluice_toml_free(sluice_toml_document *document);

#ifdef __cplusplus
}
#endif

#endif
