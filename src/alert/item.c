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

/* In the arena. */
static struct str clean(struct arena *arena, struct str s, size_t max, bool lines) {
    s = str_copy(arena, utf8_clean(arena, cut(s, max)));
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if ((c < ' ' && !(lines && c == '\n')) || c == 0x7f)
            ((char *)s.at)[i] = ' ';
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
