/* An alert as a mail (RFC 5322, RFC 3834: Auto-Submitted). */
#include "alert/telling.h"

#include "base/clock.h"
#include "mail/build.h"
#include "mail/mime.h"

enum { WIDTH = 76, LABEL = 10 };

static struct str upper(struct arena *arena, struct str s) {
    struct str copy = str_copy(arena, s);
    for (size_t i = 0; i < copy.len; i++)
        if (copy.at[i] >= 'a' && copy.at[i] <= 'z')
            ((char *)copy.at)[i] = (char)(copy.at[i] - 'a' + 'A');
    return copy;
}

/* "[sluice] ALARM sender-restricted bob@contoso.com (contoso)" */
static struct str subject_of(struct arena *arena, const struct telling *t) {
    if (t->event == TELLING_MORE)
        return str_printf(arena, "[sluice] %llu more alert%s on %.*s", (unsigned long long)t->count,
                          t->count == 1 ? "" : "s", STR_FMT(t->node));
    struct str state =
        t->event == TELLING_OVER ? STR("over:") : upper(arena, alert_level_word(alert_level(t->kind)));
    struct str tenant = t->tenant.len ? str_printf(arena, " (%.*s)", STR_FMT(t->tenant)) : STR("");
    struct str more = t->event == TELLING_AGAIN && t->unsaid > 1
                          ? str_printf(arena, ", %llu times more", (unsigned long long)t->unsaid)
                          : STR("");
    return str_printf(arena, "[sluice] %.*s %.*s %.*s%.*s%.*s", STR_FMT(state), STR_FMT(alert_word(t->kind)),
                      STR_FMT(t->subject), STR_FMT(tenant), STR_FMT(more));
}

/* The bytes of the next line of at most WIDTH columns, broken after a blank, or a semicolon where there is
 * none; a longer word stays whole, up to what a line may have (RFC 5322 2.1.1). */
static size_t line_length(struct str s, size_t column) {
    enum { WORD_MAX = 900 };
    size_t blank = 0, mark = 0, width = column;
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] == ' ')
            blank = i + 1;
        else if (s.at[i] == ';' && width < WIDTH)
            mark = i + 1;
        if (((unsigned char)s.at[i] & 0xc0) != 0x80 && ++width > WIDTH && (blank || mark))
            return blank ? blank : mark;
        if (i >= WORD_MAX && ((unsigned char)s.at[i] & 0xc0) != 0x80)
            return i;
    }
    return s.len;
}

/* A text of lines, each folded; continuation lines begin in `column`. */
static void add_folded(struct buf *out, struct str text, size_t column, size_t at) {
    struct str line;
    while (str_cut(&text, '\n', &line)) {
        line = str_trim(line);
        do {
            size_t len = line_length(line, column);
            for (; at < column; at++)
                buf_char(out, ' ');
            buf_str(out, str_trim(str_head(line, len)));
            buf_str(out, STR("\r\n"));
            line = str_from_index(line, len);
            at = 0;
        } while (line.len);
    }
}

static void add_row(struct buf *out, const char *label, struct str value) {
    if (!value.len)
        return;
    buf_printf(out, "%-*s", LABEL, label);
    add_folded(out, value, LABEL, LABEL);
}

static void add_time(struct buf *out, const char *label, int64_t time) {
    char text[CLOCK_RFC3339_SIZE];
    if (time)
        add_row(out, label, str_of(clock_rfc3339(time, text)));
}

static void add_counts(struct buf *out, struct arena *arena, const struct telling *t) {
    add_time(out, "First:", t->first);
    if (t->last != t->first)
        add_time(out, "Last:", t->last);
    if (t->count > 1)
        add_row(out, "Times:",
                str_printf(arena,
                           t->event == TELLING_AGAIN ? "%llu, of these %llu since the last mail" : "%llu",
                           (unsigned long long)t->count, (unsigned long long)t->unsaid));
}

static void write_text(struct buf *out, struct arena *arena, const struct telling *t) {
    if (t->event == TELLING_MORE) {
        add_folded(out, t->text, 0, 0);
        return;
    }
    if (t->event == TELLING_OVER)
        add_folded(out, str_printf(arena, "Over: %.*s.", STR_FMT(alert_title(t->kind))), 0, 0);
    else
        add_folded(out,
                   str_printf(arena, "%.*s: %.*s.",
                              STR_FMT(upper(arena, alert_level_word(alert_level(t->kind)))),
                              STR_FMT(alert_title(t->kind))),
                   0, 0);
    buf_str(out, STR("\r\n"));
    add_row(out, "What:", t->subject);
    add_row(out, "Tenant:", t->tenant);
    add_row(out, "Why:", t->text);
    add_counts(out, arena, t);
    if (t->advice.len) {
        buf_str(out, STR("\r\nWhat to do:\r\n"));
        add_folded(out, t->advice, 2, 0);
    }
    if (t->samples.len) {
        buf_str(out, STR("\r\nSamples:\r\n"));
        add_folded(out, t->samples, 2, 0);
    }
    buf_printf(out, "\r\n-- \r\nsluice on %.*s, alert %llu\r\n", STR_FMT(t->node), (unsigned long long)t->id);
}

static void write_to(struct buf *out, const struct str *to, size_t count) {
    buf_str(out, STR("To: "));
    for (size_t i = 0; i < count; i++) {
        buf_str(out, i ? STR(",\r\n ") : STR(""));
        buf_str(out, to[i]);
    }
    buf_str(out, STR("\r\n"));
}

void telling_mail(struct buf *out, const struct telling *t, struct str from, const struct str *to,
                  size_t to_count) {
    struct arena *arena = arena_new(0);
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    char date[CLOCK_RFC5322_SIZE];
    write_text(&text, arena, t);
    buf_printf(out, "Date: %s\r\nFrom: %.*s\r\n", clock_rfc5322(t->now, date), STR_FMT(from));
    write_to(out, to, to_count);
    header_write_text(out, STR("Subject"), subject_of(arena, t));
    /* One mail a telling and audience: the first recipient tells audiences apart. */
    buf_printf(out, "Message-ID: <alert.%llx.%.*s>\r\n",
               (unsigned long long)str_hash(to_count ? to[0] : STR(""), t->id),
               STR_FMT(str_printf(arena, "%llu.%lld@%.*s", (unsigned long long)t->id, (long long)t->now,
                                  STR_FMT(t->node))));
    buf_printf(out,
               "Auto-Submitted: auto-generated\r\nX-Sluice-Alert: %.*s %.*s\r\nMIME-Version: 1.0\r\n"
               "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n\r\n",
               STR_FMT(telling_event_word(t->event)), STR_FMT(t->kind ? alert_word(t->kind) : STR("none")),
               bytes_8bit(buf_view(&text)) ? "8bit" : "7bit");
    buf_str(out, buf_view(&text));
    arena_free(arena);
}
