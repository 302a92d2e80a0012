/* See linli_link.h. The numbers in brackets are sections of LINK.md. */
#include "linli_link.h"

#include <string.h>

#include "linli_cbor.h"

#define HELLO_FIRST_MS 500
#define HELLO_LONGEST_MS 8000
#define AGAIN_LONGEST_MS 16000
#define BUSY_MS 5000
#define ALIVE_MS 6000

/* Whether a moment has come. The clock may go round. */
static bool reached(uint32_t now_ms, uint32_t at_ms) { return (int32_t)(now_ms - at_ms) >= 0; }

/* Whether a number of a frame is later than another. They go round at 65,536. */
static bool later(uint16_t one, uint16_t other)
{
    return one != other && (uint16_t)(one - other) < 0x8000;
}

static void put16(uint8_t *to, uint16_t n)
{
    to[0] = (uint8_t)(n >> 8);
    to[1] = (uint8_t)n;
}

static uint16_t get16(const uint8_t *from) { return (uint16_t)(from[0] << 8 | from[1]); }

static uint32_t get32(const uint8_t *from)
{
    return (uint32_t)get16(from) << 16 | get16(from + 2);
}

/* -- Frames (2) --------------------------------------------------------------------------------- */

uint32_t linli_crc32(const uint8_t *bytes, size_t length)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xedb88320 & (0 - (crc & 1)));
    }
    return ~crc;
}

size_t linli_cobs_encode(const uint8_t *plain, size_t length, uint8_t *coded)
{
    size_t at = 0, out = 0;
    for (;;) {
        size_t run = 0;
        while (run < 254 && at + run < length && plain[at + run] != 0)
            run++;
        coded[out++] = (uint8_t)(run + 1);
        memcpy(coded + out, plain + at, run);
        out += run;
        at += run;
        if (at == length)
            return out;
        if (run < 254)
            at++; /* the zero */
    }
}

size_t linli_cobs_decode(const uint8_t *coded, size_t length, uint8_t *plain, size_t room)
{
    size_t at = 0, out = 0;
    while (at < length) {
        uint8_t code = coded[at++];
        size_t run = code - 1u;
        if (code == 0 || run > length - at || run > room - out)
            return SIZE_MAX;
        for (; run > 0; run--) {
            if (coded[at] == 0)
                return SIZE_MAX;
            plain[out++] = coded[at++];
        }
        if (code != 0xff && at < length) {
            if (out == room)
                return SIZE_MAX;
            plain[out++] = 0;
        }
    }
    return out;
}

size_t linli_frame_encode(const linli_frame *frame, uint8_t *plain, uint8_t *out)
{
    size_t length = LINLI_HEADER_BYTES + frame->length;
    plain[0] = frame->version;
    plain[1] = (uint8_t)(frame->address | (frame->from_gateway ? 0x80 : 0));
    plain[2] = frame->kind;
    plain[3] = frame->flags;
    put16(plain + 4, frame->session);
    put16(plain + 6, frame->seq);
    put16(plain + 8, frame->ack);
    if (frame->length > 0)
        memmove(plain + LINLI_HEADER_BYTES, frame->payload, frame->length);
    uint32_t crc = linli_crc32(plain, length);
    put16(plain + length, (uint16_t)(crc >> 16));
    put16(plain + length + 2, (uint16_t)crc);
    out[0] = 0;
    size_t coded = linli_cobs_encode(plain, length + 4, out + 1);
    out[1 + coded] = 0;
    return coded + 2;
}

bool linli_frame_decode(const uint8_t *coded, size_t length, uint8_t *plain, linli_frame *frame)
{
    size_t all = linli_cobs_decode(coded, length, plain, LINLI_PLAIN_MAX);
    if (all == SIZE_MAX || all < LINLI_HEADER_BYTES + 4)
        return false;
    size_t said = all - 4;
    if (linli_crc32(plain, said) != get32(plain + said))
        return false;
    frame->version = plain[0];
    frame->from_gateway = (plain[1] & 0x80) != 0;
    frame->address = plain[1] & 0x7f;
    frame->kind = plain[2];
    frame->flags = plain[3];
    frame->session = get16(plain + 4);
    frame->seq = get16(plain + 6);
    frame->ack = get16(plain + 8);
    frame->payload = plain + LINLI_HEADER_BYTES;
    frame->length = said - LINLI_HEADER_BYTES;
    return true;
}

/* -- Hello and welcome (5) ---------------------------------------------------------------------- */

/* The keys stand in the order of deterministic encoding: the shorter first. */
size_t linli_hello_payload(const linli_config *config, uint8_t *into, size_t room)
{
    linli_writer w = {into, room, 0, false};
    linli_write_map(&w, 5u + (config->device != NULL) + (config->model != NULL)
                            + (config->firmware != NULL));
    linli_write_text(&w, "max");
    linli_write_uint(&w, LINLI_PAYLOAD_MAX);
    linli_write_text(&w, "boot");
    linli_write_uint(&w, config->boot);
    if (config->model != NULL) {
        linli_write_text(&w, "model");
        linli_write_text(&w, config->model);
    }
    if (config->device != NULL) {
        linli_write_text(&w, "device");
        linli_write_text(&w, config->device);
    }
    linli_write_text(&w, "window");
    linli_write_uint(&w, LINLI_WINDOW);
    linli_write_text(&w, "command");
    linli_write_uint(&w, LINLI_COMMAND_MAX);
    linli_write_text(&w, "version");
    linli_write_uint(&w, LINLI_VERSION);
    if (config->firmware != NULL) {
        linli_write_text(&w, "firmware");
        linli_write_text(&w, config->firmware);
    }
    return w.overflow ? 0 : w.length;
}

static bool number(const linli_frame *frame, const char *key, uint64_t least, uint64_t most,
                   uint64_t *n)
{
    linli_value value;
    return linli_field(frame->payload, frame->length, key, &value) && linli_read_uint(&value, n)
           && *n >= least && *n <= most;
}

/* Twice the longest frame's time, and a second (7). */
static uint32_t again_first_ms(const linli_link *l)
{
    uint32_t baud = l->config.baud == 0 ? 1 : l->config.baud;
    return 1000 + 2 * (uint32_t)(((uint64_t)LINLI_FRAME_MAX * 10000 + baud - 1) / baud);
}

static void welcomed(linli_link *l, const linli_frame *frame)
{
    uint64_t boot, max, window, turn;
    if (l->linked || frame->ack != l->hello_number || !number(frame, "boot", 0, UINT32_MAX, &boot)
        || boot != l->config.boot || !number(frame, "max", 256, UINT16_MAX, &max)
        || !number(frame, "window", 1, 255, &window) || !number(frame, "turn", 1, UINT16_MAX, &turn))
        return;
    l->linked = true;
    l->session = frame->session;
    l->payload_max = (uint16_t)(max < LINLI_PAYLOAD_MAX ? max : LINLI_PAYLOAD_MAX);
    l->window = (uint16_t)(window < LINLI_WINDOW ? window : LINLI_WINDOW);
    l->turn_bytes = (uint16_t)turn;
    l->acked = l->top = l->read = 0;
    l->next = 1;
    l->again_is_due = false;
    l->again_ms = again_first_ms(l);
    l->read_due = true;
    l->parts = 0;
    l->hello_pause_ms = HELLO_FIRST_MS;
}

static void lose_session(linli_link *l, uint32_t now_ms)
{
    if (l->linked)
        l->hello_number++;
    l->linked = false;
    l->hello_due_ms = now_ms;
    l->hello_pause_ms = HELLO_FIRST_MS;
}

/* -- What comes (6) ----------------------------------------------------------------------------- */

static void acknowledged(linli_link *l, uint16_t ack, uint32_t now_ms)
{
    uint16_t more = (uint16_t)(ack - l->acked);
    if (more == 0 || more > (uint16_t)(l->top - l->acked))
        return;
    l->acked = ack;
    if (!later(l->next, ack))
        l->next = (uint16_t)(ack + 1);
    l->again_ms = again_first_ms(l);
    l->again_at_ms = now_ms + l->again_ms;
    l->again_is_due = l->top != l->acked;
    l->firmware.promised(l->firmware.context, more);
}

static void command_came(linli_link *l, const linli_frame *frame)
{
    l->read_due = true;
    if (!later(frame->seq, l->read) || frame->length <= 12)
        return;
    uint32_t left_ms = get32(frame->payload), offset = get32(frame->payload + 4);
    uint32_t total = get32(frame->payload + 8), length = (uint32_t)frame->length - 12;
    const uint8_t *bytes = frame->payload + 12;
    bool withheld = (frame->flags & LINLI_WITHHELD) != 0;
    if (offset > total || length > total - offset)
        return;
    if (length == total) { /* whole: it may come between the parts of another */
        if (l->firmware.command(l->firmware.context, bytes, length, left_ms, withheld))
            l->read = frame->seq;
        return;
    }
    if (offset == 0)
        l->parts = 0;
    if (offset != l->parts || total > LINLI_COMMAND_MAX)
        return;
    memcpy(l->whole + offset, bytes, length);
    if (offset + length == total
        && !l->firmware.command(l->firmware.context, l->whole, total, left_ms, withheld))
        return;
    l->parts = offset + length == total ? 0 : offset + length;
    l->read = frame->seq;
}

static void frame_came(linli_link *l, const linli_frame *frame, uint32_t now_ms)
{
    if (!frame->from_gateway || frame->address != l->config.address
        || frame->version != LINLI_VERSION)
        return;
    l->heard = true;
    l->heard_ms = now_ms;
    if (frame->flags & LINLI_OVER) {
        l->turn = true;
        l->turn_sent = 0;
    }
    if (frame->kind == LINLI_ASK) {
        lose_session(l, now_ms);
        return;
    }
    if (frame->kind == LINLI_WELCOME)
        welcomed(l, frame);
    if (!l->linked || frame->session != l->session) {
        if (l->linked || frame->kind != LINLI_WELCOME)
            lose_session(l, now_ms);
        return;
    }
    if (frame->kind == LINLI_WELCOME)
        return;
    acknowledged(l, frame->ack, now_ms);
    if (frame->flags & LINLI_AGAIN)
        l->next = (uint16_t)(l->acked + 1);
    if (frame->flags & LINLI_BUSY)
        l->again_at_ms = now_ms + BUSY_MS;
    if (frame->kind == LINLI_COMMAND)
        command_came(l, frame);
}

void linli_link_byte(linli_link *l, uint8_t byte, uint32_t now_ms)
{
    linli_frame frame;
    if (byte != 0) {
        if (l->received < sizeof l->in)
            l->in[l->received++] = byte;
        else
            l->overlong = true;
        return;
    }
    if (l->received > 0 && !l->overlong
        && linli_frame_decode(l->in, l->received, l->plain, &frame))
        frame_came(l, &frame, now_ms);
    l->received = 0;
    l->overlong = false;
}

/* -- What goes (6) ------------------------------------------------------------------------------ */

static size_t send(linli_link *l, uint8_t kind, uint8_t flags, uint16_t seq, size_t length,
                   uint8_t *out)
{
    linli_frame frame;
    frame.version = LINLI_VERSION;
    frame.from_gateway = false;
    frame.address = l->config.address;
    frame.kind = kind;
    frame.flags = flags;
    frame.session = l->linked ? l->session : 0;
    frame.seq = seq;
    frame.ack = l->linked ? l->read : 0;
    frame.payload = l->plain + LINLI_HEADER_BYTES; /* it is there already */
    frame.length = length;
    l->read_due = false;
    return linli_frame_encode(&frame, l->plain, out);
}

static size_t say_hello(linli_link *l, uint32_t now_ms, uint8_t *out)
{
    if (!l->config.polled && l->hello_was_said && !reached(now_ms, l->hello_due_ms))
        return 0;
    l->hello_was_said = true;
    l->hello_due_ms = now_ms + l->hello_pause_ms;
    l->hello_pause_ms = l->hello_pause_ms * 2 < HELLO_LONGEST_MS ? l->hello_pause_ms * 2
                                                                 : HELLO_LONGEST_MS;
    l->turn = false;
    size_t length = linli_hello_payload(&l->config, l->plain + LINLI_HEADER_BYTES, LINLI_PAYLOAD_MAX);
    return send(l, LINLI_HELLO, l->config.polled ? LINLI_OVER : 0, l->hello_number, length, out);
}

static size_t send_events(linli_link *l, uint32_t now_ms, uint8_t *out)
{
    if (!l->config.polled && l->again_is_due && reached(now_ms, l->again_at_ms)) {
        l->next = (uint16_t)(l->acked + 1);
        l->again_ms = l->again_ms * 2 < AGAIN_LONGEST_MS ? l->again_ms * 2 : AGAIN_LONGEST_MS;
    }
    size_t waiting = l->firmware.waiting(l->firmware.context);
    size_t most = waiting < l->window ? waiting : l->window;
    size_t index = (uint16_t)(l->next - l->acked - 1);
    if (index >= most)
        return 0;
    size_t length = l->firmware.payload(l->firmware.context, index, l->plain + LINLI_HEADER_BYTES,
                                        l->payload_max);
    uint16_t seq = l->next++;
    if (later(seq, l->top))
        l->top = seq;
    l->again_is_due = true;
    l->again_at_ms = now_ms + l->again_ms;
    l->turn_sent += (uint32_t)length;
    bool over = l->config.polled && (index + 1 == most || l->turn_sent >= l->turn_bytes);
    l->turn = l->config.polled && !over;
    return send(l, LINLI_EVENTS, over ? LINLI_OVER : 0, seq, length, out);
}

size_t linli_link_next(linli_link *l, uint32_t now_ms, uint8_t *out)
{
    if (l->config.polled && !l->turn)
        return 0;
    if (!l->linked)
        return say_hello(l, now_ms, out);
    size_t length = send_events(l, now_ms, out);
    if (length > 0)
        return length;
    if (!l->turn && !l->read_due)
        return 0;
    l->turn = false;
    return send(l, LINLI_ACK, l->config.polled ? LINLI_OVER : 0, 0, 0, out);
}

/* -- The rest ----------------------------------------------------------------------------------- */

void linli_link_init(linli_link *l, const linli_config *config, const linli_firmware *firmware)
{
    memset(l, 0, sizeof *l);
    l->config = *config;
    l->firmware = *firmware;
    l->hello_number = 1;
    l->hello_pause_ms = HELLO_FIRST_MS;
    l->payload_max = LINLI_PAYLOAD_MAX;
}

bool linli_link_is_linked(const linli_link *l, uint32_t now_ms)
{
    return l->linked && l->heard && now_ms - l->heard_ms < ALIVE_MS;
}

size_t linli_link_payload_max(const linli_link *l) { return l->payload_max; }

bool linli_once_is_new(linli_once *once, const char *id, size_t length)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a; 0 stands for 'none' */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)id[i]) * 1099511628211u;
    if (hash == 0)
        hash = 1;
    for (size_t i = 0; i < LINLI_IDS; i++)
        if (once->ids[i] == hash)
            return false;
    once->ids[once->next] = hash;
    once->next = (uint8_t)((once->next + 1) % LINLI_IDS);
    return true;
}
