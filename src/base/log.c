#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct log {
    int fd;
    _Atomic int level;
};

struct log *log_new(int fd, enum log_level level) {
    struct log *log = xcalloc(1, sizeof *log);
    log->fd = fd;
    log->level = (int)level;
    return log;
}

struct log *log_free(struct log *log) {
    free(log);
    return NULL;
}

void log_set_level(struct log *log, enum log_level level) { log->level = (int)level; }

bool log_wants(const struct log *log, enum log_level level) { return log && (int)level <= log->level; }

/* C1 controls in UTF-8 are 0xc2 and one of these: to a terminal U+009B is what ESC [ is. */
static bool is_c1(const unsigned char *p) { return p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0; }

static bool plain(const char *value) {
    if (!*value)
        return false;
    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        if (*p <= ' ' || *p == '"' || *p == '\\' || *p == 0x7f || is_c1(p))
            return false;
    return true;
}

static void add_value(struct buf *line, const char *value) {
    if (plain(value)) {
        buf_str(line, str_of(value));
        return;
    }
    buf_char(line, '"');
    for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_printf(line, "\\%c", *p);
        else if (*p < ' ' || *p == 0x7f)
            buf_printf(line, "\\x%02x", *p);
        else if (is_c1(p)) {
            buf_printf(line, "\\x%02x\\x%02x", p[0], p[1]);
            p++;
        } else
            buf_char(line, (char)*p);
    }
    buf_char(line, '"');
}

void log_event(struct log *log, enum log_level level, const char *event, ...) {
    static const char *const names[] = {"error", "warning", "info", "debug"};
    if (!log_wants(log, level))
        return;
    struct buf line __attribute__((cleanup(buf_free))) = {0};
    char time[CLOCK_RFC3339_SIZE];
    buf_printf(&line, "%s %s %s", clock_rfc3339(clock_wall_ms(), time), names[level], event);
    va_list args;
    va_start(args, event);
    for (const char *name; (name = va_arg(args, const char *));) {
        const char *value = va_arg(args, const char *);
        if (!value)
            continue;
        buf_printf(&line, " %s=", name);
        add_value(&line, value);
    }
    va_end(args);
    buf_char(&line, '\n');
    ssize_t written = write(log->fd, line.at, line.len);
    (void)written; /* a log that can't be written has nobody to tell */
}
