/*
 * As much CBOR (RFC 8949) as firmware needs for events and commands: a writer into a buffer, and a
 * reader that finds a field of a map. No allocation; any bytes may be read.
 */
#ifndef LINLI_CBOR_H
#define LINLI_CBOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes. What has no room sets `overflow`, and nothing more is written. */
typedef struct {
    uint8_t *bytes;
    size_t room, length;
    bool overflow;
} linli_writer;

void linli_write_map(linli_writer *w, size_t fields);
void linli_write_array(linli_writer *w, size_t items);
void linli_write_text(linli_writer *w, const char *text);
void linli_write_uint(linli_writer *w, uint64_t number);
void linli_write_bool(linli_writer *w, bool flag);

/* A value in a buffer: from its first byte on. */
typedef struct {
    const uint8_t *bytes;
    size_t length;
} linli_value;

/* The value of a text key in a map. False if it is no map, or the key isn't there. Lengths must be
 * definite, as the gateway's are. */
bool linli_field(const uint8_t *map, size_t length, const char *key, linli_value *value);
bool linli_read_uint(const linli_value *value, uint64_t *number);
/* Text isn't ended by a NUL. */
bool linli_read_text(const linli_value *value, const char **text, size_t *length);
bool linli_read_bytes(const linli_value *value, const uint8_t **bytes, size_t *length);
bool linli_text_is(const linli_value *value, const char *text);

#endif
