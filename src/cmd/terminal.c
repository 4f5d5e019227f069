#include "cmd/cli.h"

#include "trace/text.h"
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

void cli_terminal(struct cli *cli) {
    struct winsize size;
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR"), *columns = getenv("COLUMNS");
    uint64_t width;
    if (!isatty(fileno(cli->out)))
        return;
    cli->width = 80;
    if (ioctl(fileno(cli->out), TIOCGWINSZ, &size) == 0 && size.ws_col)
        cli->width = size.ws_col;
    else if (columns && str_to_u64(str_of(columns), &width) && width >= 20 && width <= 1000)
        cli->width = (unsigned)width;
    cli->colour = !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
}

/* Columns that a character takes; wcwidth knows them under a UTF-8 locale. */
static unsigned columns_of(uint32_t code) {
    int width = wcwidth((wchar_t)code);
    return width < 0 ? 1 : (unsigned)width;
}

/* Controls, C1 included, and what turns the direction of text could make a terminal say what is not so. */
static bool harmful(uint32_t code) {
    return code < ' ' || (code >= 0x7f && code < 0xa0) || (code >= 0x202a && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069) || code == 0x2028 || code == 0x2029;
}

unsigned cli_width(struct str text) {
    unsigned width = 0;
    uint32_t code;
    while (text.len) {
        trace_utf8_next(&text, &code);
        width += columns_of(code);
    }
    return width;
}

void cli_wrap(struct cli *cli, unsigned column, struct str text) {
    unsigned indent = cli->width && column > cli->width / 2 ? cli->width / 2 : column, used = column;
    for (bool first = true; text.len; first = false) {
        size_t end = 0;
        while (end < text.len && text.at[end] == ' ') /* what aligns stays with its word */
            end++;
        size_t gap = end;
        while (end < text.len && text.at[end] != ' ')
            end++;
        struct str word = str_from(text.at + gap, end - gap);
        unsigned width = cli_width(word);
        if (!first && cli->width && used + gap + width > cli->width) {
            fprintf(cli->out, "\n%*s", (int)indent, "");
            used = indent;
            gap = 0;
        }
        fprintf(cli->out, "%*s%.*s", (int)gap, "", STR_FMT(word));
        used += (unsigned)gap + width;
        text = str_from_index(text, end);
    }
    fputc('\n', cli->out);
}

struct str cli_safe(struct arena *arena, struct str text, unsigned width) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    unsigned used = 0;
    size_t cut_at = 0; /* where "…" would still fit */
    while (text.len) {
        uint32_t code;
        struct str character = trace_utf8_next(&text, &code);
        if (harmful(code))
            code = ' ', character = STR(" ");
        unsigned more = columns_of(code);
        if (width && used + more > width) {
            out.len = cut_at;
            buf_str(&out, STR("\xe2\x80\xa6"));
            break;
        }
        if (used + more <= width - 1)
            cut_at = out.len + character.len;
        used += more;
        buf_str(&out, character);
    }
    return str_copy(arena, buf_view(&out));
}

const char *cli_paint(const struct cli *cli, enum cli_paint paint) {
    static const char *const codes[] = {
        [CLI_PLAIN] = "\033[0m",  [CLI_BOLD] = "\033[1m", [CLI_DIM] = "\033[2m",
        [CLI_GREEN] = "\033[32m", [CLI_RED] = "\033[31m", [CLI_YELLOW] = "\033[33m",
    };
    return cli->colour ? codes[paint] : "";
}

enum cli_paint cli_paint_of(struct str status) {
    static const struct {
        const char *word;
        enum cli_paint paint;
    } paints[] = {
        {"Delivered", CLI_GREEN},    {"SEND", CLI_GREEN},    {"healthy", CLI_GREEN},
        {"Failed", CLI_RED},         {"FAIL", CLI_RED},      {"REFUSE", CLI_RED},
        {"DROP", CLI_RED},           {"parked", CLI_RED},    {"Pending", CLI_YELLOW},
        {"DEFER", CLI_YELLOW},       {"held", CLI_YELLOW},   {"HOLD", CLI_YELLOW},
        {"resting", CLI_YELLOW},     {"Cancelled", CLI_DIM}, {"elsewhere", CLI_DIM},
        {"FilteredAsSpam", CLI_RED}, {"alarm", CLI_RED},     {"warning", CLI_YELLOW},
        {"open", CLI_YELLOW},        {"over", CLI_DIM},      {"ok", CLI_GREEN},
        {"failed", CLI_RED},
    };
    for (size_t i = 0; i < sizeof paints / sizeof paints[0]; i++)
        if (str_eq(status, str_of(paints[i].word)))
            return paints[i].paint;
    return CLI_PLAIN;
}

struct str cli_duration(struct arena *arena, int64_t ms) {
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}};
    if (ms < 0)
        ms = 0;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (ms >= 2 * units[i].ms)
            return str_printf(arena, "%lld%s", (long long)(ms / units[i].ms), units[i].unit);
    if (ms >= 10000)
        return str_printf(arena, "%llds", (long long)(ms / 1000));
    if (ms >= 1000)
        return str_printf(arena, "%.1fs", (double)ms / 1000);
    return str_printf(arena, "%lldms", (long long)ms);
}

struct str cli_bytes(struct arena *arena, int64_t bytes) {
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit < 4)
        value /= 1024, unit++;
    return str_printf(arena, value < 10 && unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}
