/*
 * The device's side of the Linli link, for firmware: see LINK.md.
 *
 * C99, no allocation, no dependencies beyond the headers that a freestanding compiler has, no I/O and
 * no clock of its own. Everything is in one struct of about 3.3 KB; see LINLI_PAYLOAD_MAX.
 *
 * The firmware does three things in its main loop:
 *
 *     while (uart_has_a_byte()) linli_link_byte(&link, uart_byte(), now_ms());
 *     if (uart_is_idle() && (length = linli_link_next(&link, now_ms(), frame)) > 0)
 *         uart_send(frame, length);
 *
 * and keeps its events itself, in memory that lasts; the link asks for them each time that it sends
 * them, and says when they are on the gateway's disk.
 */
#ifndef LINLI_LINK_H
#define LINLI_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINLI_VERSION 1

/* The largest payload of a frame: 256 to 1,024. A smaller one needs less memory. */
#ifndef LINLI_PAYLOAD_MAX
#define LINLI_PAYLOAD_MAX 1024
#endif

/* The largest command that is put together out of several frames: at least LINLI_PAYLOAD_MAX. 700
 * codes have at most 42,000 bytes. */
#ifndef LINLI_COMMAND_MAX
#define LINLI_COMMAND_MAX LINLI_PAYLOAD_MAX
#endif

#define LINLI_WINDOW 8
#define LINLI_HEADER_BYTES 10
#define LINLI_PLAIN_MAX (LINLI_HEADER_BYTES + LINLI_PAYLOAD_MAX + 4)
/* What linli_link_next() writes at most. */
#define LINLI_FRAME_MAX (LINLI_PLAIN_MAX + LINLI_PLAIN_MAX / 254 + 1 + 2)

/* How many ids of commands are remembered. */
#define LINLI_IDS 64

enum linli_kind {
    LINLI_HELLO = 1,
    LINLI_WELCOME = 2,
    LINLI_ASK = 3,
    LINLI_EVENTS = 4,
    LINLI_COMMAND = 5,
    LINLI_ACK = 6
};

enum linli_flag {
    LINLI_OVER = 1,
    LINLI_BUSY = 2,
    LINLI_AGAIN = 4,
    LINLI_WITHHELD = 8
};

/* A frame's header, and where its payload is. */
typedef struct {
    uint8_t version;
    bool from_gateway;
    uint8_t address;
    uint8_t kind;
    uint8_t flags;
    uint16_t session;
    uint16_t seq;
    uint16_t ack;
    const uint8_t *payload;
    size_t length;
} linli_frame;

/* What the device is. The texts must stay where they are. */
typedef struct {
    uint8_t address;          /* 1 to 126 */
    bool polled;              /* several devices share the line */
    uint32_t baud;
    uint32_t boot;            /* new at every start, as in the events */
    const char *device;       /* its id, or NULL */
    const char *model;        /* or NULL */
    const char *firmware;     /* or NULL */
} linli_config;

/* What the firmware does. All are called from linli_link_byte() or linli_link_next(). */
typedef struct {
    void *context;
    /* How many payloads of events aren't promised yet. */
    size_t (*waiting)(void *context);
    /* Writes one of them, 0 being the oldest, with `age` worked out anew; returns its length. Asked
     * for again, it holds the same events. */
    size_t (*payload)(void *context, size_t index, uint8_t *into, size_t room);
    /* So many of the oldest payloads are on the gateway's disk: forget them. */
    void (*promised)(void *context, size_t count);
    /* A command came, good for so many milliseconds. Withheld: there was no room for it, and only its
     * id, its kind and its length are here; answer with a result 'failed', and if it was 'codes' drop
     * the list. Return false if it can't be taken now: it comes again. */
    bool (*command)(void *context, const uint8_t *command, size_t length, uint32_t left_ms,
                    bool withheld);
} linli_firmware;

typedef struct {
    linli_config config;
    linli_firmware firmware;

    uint16_t hello_number;
    bool hello_was_said;
    uint32_t hello_due_ms, hello_pause_ms;

    bool linked;
    uint16_t session;
    uint16_t payload_max, window, turn_bytes;
    uint16_t acked, next, top;
    bool again_is_due;        /* something is on its way, and again_at_ms counts */
    uint32_t again_at_ms, again_ms;
    uint16_t read;
    bool read_due;
    uint32_t parts;           /* bytes of a command that came so far */

    bool turn;
    uint32_t turn_sent;
    bool heard;
    uint32_t heard_ms;

    size_t received;          /* bytes since the last delimiter */
    bool overlong;
    uint8_t in[LINLI_FRAME_MAX];
    uint8_t plain[LINLI_PLAIN_MAX];
    uint8_t whole[LINLI_COMMAND_MAX];
} linli_link;

/* Begins, after a start of the firmware. */
void linli_link_init(linli_link *link, const linli_config *config, const linli_firmware *firmware);

/* A byte came. */
void linli_link_byte(linli_link *link, uint8_t byte, uint32_t now_ms);

/* The next frame to be sent, of at most LINLI_FRAME_MAX bytes; 0 if there is none. To be called when
 * the line is free to take it: point to point often, on a shared line once bytes have come. */
size_t linli_link_next(linli_link *link, uint32_t now_ms, uint8_t *out);

/* Whether the gateway was heard lately. */
bool linli_link_is_linked(const linli_link *link, uint32_t now_ms);

/* How large a payload of events may be. */
size_t linli_link_payload_max(const linli_link *link);

/* The parts, for tests and for other tools. */
uint32_t linli_crc32(const uint8_t *bytes, size_t length);
size_t linli_cobs_encode(const uint8_t *plain, size_t length, uint8_t *coded);
/* In place is allowed. Returns SIZE_MAX if it is no coded form, or longer than `room`. */
size_t linli_cobs_decode(const uint8_t *coded, size_t length, uint8_t *plain, size_t room);
/* With both delimiters. `plain` is LINLI_PLAIN_MAX bytes to work in. */
size_t linli_frame_encode(const linli_frame *frame, uint8_t *plain, uint8_t *out);
/* What stood between two delimiters; the payload then points into `plain`. */
bool linli_frame_decode(const uint8_t *coded, size_t length, uint8_t *plain, linli_frame *frame);
/* The payload of a hello. Returns its length, or 0 if there is no room. */
size_t linli_hello_payload(const linli_config *config, uint8_t *into, size_t room);

/* Commands once: the ids that were carried out, the oldest overwritten. Keep it in lasting memory,
 * and write it before the coil fires. An id is kept as 64 bits of a hash. */
typedef struct {
    uint64_t ids[LINLI_IDS];
    uint8_t next;
} linli_once;

/* Whether the id is new; it is remembered then. */
bool linli_once_is_new(linli_once *once, const char *id, size_t length);

#endif
