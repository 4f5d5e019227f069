#include "alert/item.h"

#include "base/clock.h"
#include "mail/mime.h"
#include <stdlib.h>

static struct str cut(struct str s, size_t max) {
    if (s.len <= max)
        return s.at ? s : STR("");
    while (max && ((unsigned char)s.at[max] & 0xc0) == 0x80) /* not within a character */
        max--;
    return str_head(s, max);
}

/* How many octets of a character that no text needs: controls, and what turns the direction of a text, so
 * that it reads as what it is not. `lines`: but ends of lines. */
static size_t harmful(struct str s, size_t i, bool lines) {
    const unsigned char *p = (const unsigned char *)s.at + i;
    size_t left = s.len - i;
    if ((*p < ' ' && !(lines && *p == '\n')) || *p == 0x7f)
        return 1;
    if (left >= 2 && p[0] == 0xc2 && p[1] < 0xa0) /* C1 */
        return 2;
    bool marks = left >= 3 && p[0] == 0xe2 && p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae;
    bool isolates = left >= 3 && p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9;
    return marks || isolates ? 3 : 0; /* U+2028 to U+202E, U+2066 to U+2069 */
}

/* In the arena. */
static struct str clean(struct arena *arena, struct str s, size_t max, bool lines) {
    s = str_copy(arena, utf8_clean(arena, cut(s, max)));
    for (size_t i = 0; i < s.len; i++) {
        size_t bad = harmful(s, i, lines);
        memset((char *)s.at + i, ' ', bad);
        i += bad ? bad - 1 : 0;
    }
    return str_trim(s);
}

static struct str keep(char **at, struct str s) {
    struct str copy = str_from(*at, s.len);
    memcpy(*at, s.at, s.len);
    (*at)[s.len] = 0;
    *at += s.len + 1;
    return copy;
}

struct alert_item *alert_item_new(const struct alert *a) {
    struct arena *arena = arena_new(0);
    struct str strings[5 + ALERT_ALSO_MAX] = {
        clean(arena, a->subject, ALERT_SUBJECT_MAX, false), clean(arena, a->tenant, ALERT_TENANT_MAX, false),
        clean(arena, a->text, ALERT_TEXT_MAX, true),        clean(arena, a->advice, ALERT_ADVICE_MAX, true),
        clean(arena, a->samples, ALERT_SAMPLES_MAX, true),
    };
    size_t also = a->also_count < ALERT_ALSO_MAX ? a->also_count : ALERT_ALSO_MAX, bytes = 0;
    for (size_t i = 0; i < also; i++)
        strings[5 + i] = clean(arena, a->also[i], ALERT_SUBJECT_MAX, false);
    for (size_t i = 0; i < 5 + also; i++)
        bytes += strings[i].len + 1;
    struct alert_item *item = xcalloc(1, sizeof *item + bytes);
    char *at = (char *)(item + 1);
    item->bytes = sizeof *item + bytes;
    item->alert = (struct alert){
        .kind = a->kind, .over = a->over, .until = a->until, .now = a->now ? a->now : clock_wall_ms()};
    item->alert.subject = keep(&at, strings[0]);
    item->alert.tenant = keep(&at, strings[1]);
    item->alert.text = keep(&at, strings[2]);
    item->alert.advice = keep(&at, strings[3]);
    item->alert.samples = keep(&at, strings[4]);
    for (size_t i = 0; i < also; i++)
        item->also[i] = keep(&at, strings[5 + i]);
    item->alert.also = item->also;
    item->alert.also_count = also;
    arena_free(arena);
    return item;
}
