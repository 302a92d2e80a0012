/* See linli_cbor.h. */
#include "linli_cbor.h"

#include <string.h>

enum { UINT = 0, BYTES = 2, TEXT = 3, ARRAY = 4, MAP = 5, TAG = 6, SIMPLE = 7 };

/* Nested deeper than this is not read. */
#define DEPTH_MAX 16

static void put(linli_writer *w, const void *bytes, size_t length)
{
    if (w->overflow || length > w->room - w->length) {
        w->overflow = true;
        return;
    }
    memcpy(w->bytes + w->length, bytes, length);
    w->length += length;
}

/* The shortest form, as deterministic encoding wants it. */
static void head(linli_writer *w, unsigned major, uint64_t n)
{
    uint8_t bytes[9];
    unsigned size = n < 24 ? 0 : n <= 0xff ? 1 : n <= 0xffff ? 2 : n <= 0xffffffff ? 4 : 8;
    unsigned info = size == 0 ? (unsigned)n : size == 1 ? 24 : size == 2 ? 25 : size == 4 ? 26 : 27;
    bytes[0] = (uint8_t)(major << 5 | info);
    for (unsigned i = 0; i < size; i++)
        bytes[1 + i] = (uint8_t)(n >> (8 * (size - 1 - i)));
    put(w, bytes, 1 + size);
}

void linli_write_map(linli_writer *w, size_t fields) { head(w, MAP, fields); }
void linli_write_array(linli_writer *w, size_t items) { head(w, ARRAY, items); }
void linli_write_uint(linli_writer *w, uint64_t number) { head(w, UINT, number); }
void linli_write_bool(linli_writer *w, bool flag) { head(w, SIMPLE, flag ? 21 : 20); }

void linli_write_text(linli_writer *w, const char *text)
{
    head(w, TEXT, strlen(text));
    put(w, text, strlen(text));
}

/* The head at `at`: its major type, its number, and where what follows begins. */
static bool read_head(const uint8_t *bytes, size_t length, size_t *at, unsigned *major, uint64_t *n)
{
    if (*at >= length)
        return false;
    unsigned info = bytes[*at] & 31;
    *major = bytes[(*at)++] >> 5;
    *n = info;
    if (info < 24)
        return true;
    if (info > 27)
        return false;
    size_t size = (size_t)1 << (info - 24);
    if (size > length - *at)
        return false;
    *n = 0;
    for (size_t i = 0; i < size; i++)
        *n = *n << 8 | bytes[(*at)++];
    return true;
}

/* Passes over a value. Every value takes a byte at least, so the work is bounded by the length. */
static bool skip(const uint8_t *bytes, size_t length, size_t *at, unsigned depth)
{
    unsigned major;
    uint64_t n;
    if (depth > DEPTH_MAX || !read_head(bytes, length, at, &major, &n))
        return false;
    switch (major) {
    case BYTES:
    case TEXT:
        if (n > length - *at)
            return false;
        *at += (size_t)n;
        return true;
    case ARRAY:
    case MAP:
        if (n > length - *at)
            return false;
        for (uint64_t left = major == MAP ? 2 * n : n; left > 0; left--)
            if (!skip(bytes, length, at, depth + 1))
                return false;
        return true;
    case TAG:
        return skip(bytes, length, at, depth + 1);
    default:
        return true;
    }
}

bool linli_field(const uint8_t *map, size_t length, const char *key, linli_value *value)
{
    size_t at = 0;
    unsigned major;
    uint64_t fields, n;
    if (!read_head(map, length, &at, &major, &fields) || major != MAP)
        return false;
    for (; fields > 0; fields--) {
        size_t begin = at;
        if (!skip(map, length, &at, 1))
            return false;
        size_t name = begin;
        bool is_key = read_head(map, length, &name, &major, &n) && major == TEXT
                      && n == strlen(key) && memcmp(map + name, key, (size_t)n) == 0;
        begin = at;
        if (!skip(map, length, &at, 1))
            return false;
        if (is_key) {
            value->bytes = map + begin;
            value->length = at - begin;
            return true;
        }
    }
    return false;
}

bool linli_read_uint(const linli_value *value, uint64_t *number)
{
    size_t at = 0;
    unsigned major;
    return read_head(value->bytes, value->length, &at, &major, number) && major == UINT;
}

static bool read_string(const linli_value *value, unsigned wanted, const uint8_t **bytes,
                        size_t *length)
{
    size_t at = 0;
    unsigned major;
    uint64_t n;
    if (!read_head(value->bytes, value->length, &at, &major, &n) || major != wanted
        || n > value->length - at)
        return false;
    *bytes = value->bytes + at;
    *length = (size_t)n;
    return true;
}

bool linli_read_text(const linli_value *value, const char **text, size_t *length)
{
    const uint8_t *bytes;
    if (!read_string(value, TEXT, &bytes, length))
        return false;
    *text = (const char *)bytes;
    return true;
}

bool linli_read_bytes(const linli_value *value, const uint8_t **bytes, size_t *length)
{
    return read_string(value, BYTES, bytes, length);
}

bool linli_text_is(const linli_value *value, const char *text)
{
    const char *is;
    size_t length;
    return linli_read_text(value, &is, &length) && length == strlen(text)
           && memcmp(is, text, length) == 0;
}
