#include "scan/words.h"

#include <math.h>
#include <stdlib.h>

enum { FIELD_MAX = 1000, SAID_MAX = 200, DETAIL_MAX = 100 };

void scan_field(struct buf *out, const char *name, struct str value) {
    value = str_head(value, FIELD_MAX);
    if (!value.len)
        return;
    buf_printf(out, "%s: ", name);
    for (size_t i = 0; i < value.len; i++)
        buf_char(out, (unsigned char)value.at[i] < ' ' || value.at[i] == 127 ? '?' : value.at[i]);
    buf_str(out, STR("\r\n"));
}

struct str scan_plain(struct arena *arena, struct str text, size_t max) {
    text = str_head(text, max);
    char *out = arena_alloc(arena, text.len + 1);
    for (size_t i = 0; i < text.len; i++)
        out[i] = text.at[i] >= ' ' && text.at[i] < 127 ? text.at[i] : '?';
    return str_from(out, text.len);
}

static int weightier(const void *a, const void *b) {
    const struct scan_symbol *x = a, *y = b;
    double difference = fabs(y->score) - fabs(x->score);
    return difference > 0 ? 1 : difference < 0 ? -1 : str_cmp(x->name, y->name);
}

/* "NAME(1.50), OTHER(-0.20)": as many as fit. */
static struct str list_symbols(struct arena *arena, struct scan_symbol *symbols, size_t count) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    qsort(symbols, count, sizeof *symbols, weightier);
    for (size_t i = 0; i < count; i++) {
        size_t before = text.len;
        struct str name = scan_plain(arena, symbols[i].name, DETAIL_MAX);
        buf_printf(&text, "%s%.*s", before ? ", " : "", STR_FMT(name));
        if (symbols[i].scored)
            buf_printf(&text, "(%.2f)", symbols[i].score);
        if (text.len > SCAN_SYMBOLS_MAX) {
            text.len = before;
            break;
        }
    }
    return str_copy(arena, buf_view(&text));
}

/* The first symbol that means malware; NULL: none. */
static const struct scan_symbol *malware(const struct scan_settings *s, const struct scan_symbol *symbols,
                                         size_t count) {
    for (size_t i = 0; i < count; i++)
        if (scan_is_malware(s, symbols[i].name))
            return &symbols[i];
    return NULL;
}

static struct outcome refusal(struct str action, struct str said) {
    bool later = str_eq_nocase(action, STR("soft reject")) || str_eq_nocase(action, STR("greylist"));
    struct outcome o = {.scope = OUTCOME_MESSAGE,
                        .fate = later ? OUTCOME_LATER : OUTCOME_NEVER,
                        .code = later ? 451 : 550,
                        .enhanced = later ? STR("4.7.1") : STR("5.7.1")};
    o.text = said.len ? said
             : later  ? STR("The spam scanner wants this message later, try again")
                      : STR("The message was refused as spam");
    return o;
}

void scan_judge(const struct scan_settings *s, struct scan_symbol *symbols, size_t count, struct str said,
                struct arena *arena, struct scan_result *r) {
    r->symbols = list_symbols(arena, symbols, count);
    const struct scan_symbol *found = malware(s, symbols, count);
    if (found) {
        struct str name = scan_plain(arena, found->name, DETAIL_MAX),
                   detail = scan_plain(arena, found->detail, DETAIL_MAX);
        r->verdict = SCAN_MALWARE;
        r->reason = str_printf(arena, "the scanner \"%.*s\" found malware: %.*s%s%.*s%s", STR_FMT(r->scanner),
                               STR_FMT(name), detail.len ? " (" : "", STR_FMT(detail), detail.len ? ")" : "");
        return;
    }
    struct str judged = str_printf(arena, "the scanner \"%.*s\" says \"%.*s\": score %.2f of %.2f",
                                   STR_FMT(r->scanner), STR_FMT(r->action), r->score, r->required);
    r->verdict = scan_action_in(s->spam_actions, s->spam_action_count, r->action) ? SCAN_SPAM : SCAN_CLEAN;
    r->reason = r->verdict == SCAN_SPAM ? judged : STR("");
    r->refuse = scan_action_in(s->refuse, s->refuse_count, r->action);
    if (r->refuse)
        r->refusal = refusal(r->action, scan_plain(arena, said, SAID_MAX));
}
