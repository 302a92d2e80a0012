/* The reference against link-vectors.json. The gateway's tests make vectors.h from the file, and build
 * and run this. Says what is wrong, and ends with 1 if anything is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../linli_cbor.h"
#include "../linli_link.h"
#include "vectors.h"

#define COUNT(of) (sizeof(of) / sizeof((of)[0]))

static int wrong, checked;
static uint8_t plain[LINLI_PLAIN_MAX], out[LINLI_FRAME_MAX];

static void check(int holds, const char *what, const char *name)
{
    checked++;
    if (!holds) {
        wrong++;
        printf("%s: %s\n", what, name);
    }
}

static int same(const uint8_t *one, size_t length, const uint8_t *other, size_t other_length)
{
    return length == other_length && memcmp(one, other, length) == 0;
}

static void frames(void)
{
    for (size_t i = 0; i < COUNT(FRAMES); i++) {
        linli_frame is = FRAMES[i].frame, read;
        size_t length = linli_frame_encode(&is, plain, out);
        check(same(out, length, FRAMES[i].wire, FRAMES[i].length), "written", FRAMES[i].name);
        check(linli_frame_decode(FRAMES[i].wire + 1, FRAMES[i].length - 2, plain, &read), "read",
              FRAMES[i].name);
        check(read.version == is.version && read.from_gateway == is.from_gateway
                  && read.address == is.address && read.kind == is.kind && read.flags == is.flags
                  && read.session == is.session && read.seq == is.seq && read.ack == is.ack
                  && same(read.payload, read.length, is.payload, is.length),
              "meant", FRAMES[i].name);
    }
}

/* Counts frames as linli_link_byte() finds them. */
static void streams(void)
{
    for (size_t i = 0; i < COUNT(STREAMS); i++) {
        static uint8_t in[LINLI_FRAME_MAX];
        size_t received = 0, found = 0;
        int overlong = 0;
        linli_frame frame;
        for (size_t at = 0; at < STREAMS[i].length; at++) {
            uint8_t byte = STREAMS[i].wire[at];
            if (byte == 0) {
                found += received > 0 && !overlong && linli_frame_decode(in, received, plain, &frame);
                received = 0;
                overlong = 0;
            } else if (received < sizeof in) {
                in[received++] = byte;
            } else {
                overlong = 1;
            }
        }
        check(found == STREAMS[i].frames, "frames in", STREAMS[i].name);
    }
}

static void parts(void)
{
    for (size_t i = 0; i < COUNT(CRCS); i++)
        check(linli_crc32(CRCS[i].bytes, CRCS[i].length) == CRCS[i].crc, "crc", CRCS[i].name);
    for (size_t i = 0; i < COUNT(STUFFED); i++) {
        uint8_t coded[2048], back[2048];
        size_t length = linli_cobs_encode(STUFFED[i].plain, STUFFED[i].plain_length, coded);
        check(same(coded, length, STUFFED[i].coded, STUFFED[i].coded_length), "stuffed", "cobs");
        length = linli_cobs_decode(coded, length, back, sizeof back);
        check(same(back, length, STUFFED[i].plain, STUFFED[i].plain_length), "unstuffed", "cobs");
    }
    linli_config config = {3, false, 115200, 4711, "bank-a", "LX-16", "2.4.1"};
    size_t length = linli_hello_payload(&config, out, sizeof out);
    linli_value value;
    uint64_t n = 0;
    check(length > 0 && linli_field(out, length, "boot", &value) && linli_read_uint(&value, &n)
              && n == 4711,
          "boot in", "hello");
    check(linli_field(out, length, "model", &value) && linli_text_is(&value, "LX-16"), "model in",
          "hello");
    check(!linli_field(out, length, "mode", &value), "no such field in", "hello");
}

/* Any bytes: nothing is read or written beyond its place (the tests build this with sanitizers too). */
static void anything(void)
{
    uint32_t seed = 1;
    static uint8_t bytes[LINLI_FRAME_MAX];
    for (int round = 0; round < 20000; round++) {
        size_t length = 0, wanted;
        linli_frame frame;
        linli_value value;
        seed = seed * 1664525 + 1013904223;
        wanted = seed >> 16 & 127;
        for (; length < wanted; length++) {
            seed = seed * 1664525 + 1013904223;
            bytes[length] = (uint8_t)(seed >> 24);
        }
        linli_frame_decode(bytes, length, plain, &frame);
        if (linli_field(bytes, length, "a", &value)) {
            const char *text;
            linli_read_text(&value, &text, &length);
        }
        bytes[0] = 0xa2; /* a map, at least */
        linli_field(bytes, wanted, "id", &value);
    }
    check(linli_cobs_decode((const uint8_t *)"\x05\x01", 2, plain, 10) == SIZE_MAX, "too short",
          "cobs");
    check(linli_cobs_decode((const uint8_t *)"\x05\x01\x01\x01\x01", 5, plain, 3) == SIZE_MAX,
          "no room", "cobs");
}

static void once(void)
{
    linli_once ids;
    char id[16];
    memset(&ids, 0, sizeof ids);
    for (int i = 0; i < 70; i++) {
        sprintf(id, "c-%d", i);
        check(linli_once_is_new(&ids, id, strlen(id)), "new", id);
        check(!linli_once_is_new(&ids, id, strlen(id)), "known", id);
    }
    check(!linli_once_is_new(&ids, "c-7", 3), "still known", "c-7");
    check(linli_once_is_new(&ids, "c-1", 3), "forgotten", "c-1");
}

int main(void)
{
    frames();
    streams();
    parts();
    anything();
    once();
    printf("%d checks, %d wrong\n", checked, wrong);
    return wrong != 0;
}
