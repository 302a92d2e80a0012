/*
 * A device on a terminal, as small as firmware can be: the reference in linli_link.c, a file in place of
 * lasting memory, printf in place of a lock. The gateway's tests speak with it, kill it and start it
 * again.
 *
 *     device TTY FILE ADDRESS free|polled EVENTS
 *
 * Each start is a boot that reports EVENTS events. Prints "open ID" for each lock that it opens, "codes
 * LENGTH" for each list, "withheld KIND", and "idle" whenever all its events are promised.
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../linli_cbor.h"
#include "../linli_link.h"

#define EVENTS_MAX 512

typedef struct {
    uint32_t boot;
    uint32_t seq;
    char command[65];   /* a result of it; empty: an alarm */
    bool done;
} stored_event;

/* What lasts. */
typedef struct {
    uint32_t boot, seq;
    size_t waiting;
    stored_event events[EVENTS_MAX];
    linli_once once;
} memory;

static memory lasting;
static const char *file, *temporary;

/* The old content or the new one, after a power cut too. */
static void keep(void)
{
    FILE *out = fopen(temporary, "wb");
    if (out == NULL || fwrite(&lasting, sizeof lasting, 1, out) != 1 || fclose(out) != 0
        || rename(temporary, file) != 0) {
        perror(file);
        exit(2);
    }
}

static void say(const char *command, bool done)
{
    if (lasting.waiting == EVENTS_MAX)
        return;
    stored_event *event = &lasting.events[lasting.waiting++];
    event->boot = lasting.boot;
    event->seq = ++lasting.seq;
    event->done = done;
    strcpy(event->command, command);
}

static size_t waiting(void *context)
{
    (void)context;
    return lasting.waiting;
}

static size_t payload(void *context, size_t index, uint8_t *into, size_t room)
{
    const stored_event *event = &lasting.events[index];
    linli_writer w = {into, room, 0, false};
    (void)context;
    bool result = event->command[0] != 0;
    linli_write_map(&w, result ? 5 : 4);
    linli_write_text(&w, "kind");
    linli_write_text(&w, result ? "result" : "alarm");
    linli_write_text(&w, "boot");
    linli_write_uint(&w, event->boot);
    linli_write_text(&w, "seq");
    linli_write_uint(&w, event->seq);
    if (result) {
        linli_write_text(&w, "command");
        linli_write_text(&w, event->command);
        linli_write_text(&w, "outcome");
        linli_write_text(&w, event->done ? "done" : "refused");
    } else {
        linli_write_text(&w, "alarm");
        linli_write_text(&w, "tamper");
    }
    return w.overflow ? 0 : w.length;
}

static void promised(void *context, size_t count)
{
    (void)context;
    lasting.waiting -= count;
    memmove(lasting.events, lasting.events + count, lasting.waiting * sizeof lasting.events[0]);
    keep();
    if (lasting.waiting == 0) {
        printf("idle\n");
        fflush(stdout);
    }
}

static bool command(void *context, const uint8_t *bytes, size_t length, uint32_t left_ms, bool withheld)
{
    linli_value value, kind;
    const char *text;
    size_t size;
    char id[65];
    (void)context;
    (void)left_ms; /* it is carried out at once */
    if (!linli_field(bytes, length, "id", &value) || !linli_read_text(&value, &text, &size)
        || size > 64 || !linli_field(bytes, length, "kind", &kind))
        return true;
    memcpy(id, text, size);
    id[size] = 0;
    if (withheld) {
        printf("withheld %s\n", id);
        fflush(stdout);
        return true;
    }
    bool is_new = linli_once_is_new(&lasting.once, id, size);
    say(id, is_new);
    keep(); /* before the coil fires */
    if (is_new && linli_text_is(&kind, "open"))
        printf("open %s\n", id);
    else if (is_new && linli_text_is(&kind, "codes"))
        printf("codes %lu\n", (unsigned long)length);
    fflush(stdout);
    return true;
}

static uint32_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)(now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

int main(int argc, char **argv)
{
    static linli_link link;
    static uint8_t frame[LINLI_FRAME_MAX];
    static char beside[512];
    if (argc != 6) {
        fprintf(stderr, "device TTY FILE ADDRESS free|polled EVENTS\n");
        return 2;
    }
    int tty = open(argv[1], O_RDWR | O_NOCTTY);
    struct termios raw;
    if (tty < 0 || tcgetattr(tty, &raw) != 0) {
        perror(argv[1]);
        return 2;
    }
    raw.c_iflag = raw.c_oflag = raw.c_lflag = 0;
    raw.c_cflag = CS8 | CREAD | CLOCAL;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(tty, TCSANOW, &raw);

    file = argv[2];
    snprintf(beside, sizeof beside, "%s.new", file);
    temporary = beside;
    FILE *in = fopen(file, "rb");
    if (in != NULL) {
        if (fread(&lasting, sizeof lasting, 1, in) != 1)
            memset(&lasting, 0, sizeof lasting);
        fclose(in);
    }
    lasting.boot++;
    lasting.seq = 0;
    for (int n = atoi(argv[5]); n > 0; n--)
        say("", false);
    keep();

    linli_config config = {(uint8_t)atoi(argv[3]), strcmp(argv[4], "polled") == 0, 115200,
                           lasting.boot, "bank-c", "reference", "1"};
    linli_firmware firmware = {NULL, waiting, payload, promised, command};
    linli_link_init(&link, &config, &firmware);
    for (;;) {
        struct pollfd ready = {tty, POLLIN, 0};
        uint8_t bytes[64];
        if (poll(&ready, 1, 5) > 0) {
            ssize_t got = read(tty, bytes, sizeof bytes);
            if (got <= 0)
                return 0;
            for (ssize_t i = 0; i < got; i++)
                linli_link_byte(&link, bytes[i], now_ms());
        }
        size_t length;
        while ((length = linli_link_next(&link, now_ms(), frame)) > 0)
            for (size_t sent = 0; sent < length;) {
                ssize_t put = write(tty, frame + sent, length - sent);
                if (put <= 0)
                    return 0;
                sent += (size_t)put;
            }
    }
}
