#include "policy/verdict.h"

const char *verdict_name(enum verdict v) {
    switch (v) {
    case VERDICT_SPAM:
        return "spam";
    case VERDICT_MALWARE:
        return "malware";
    default:
        return "clean";
    }
}

static const char gtube[] = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

bool gtube_feed(struct gtube_finder *f, struct str chunk) {
    size_t i = 0;
    while (!f->found && i < chunk.len) {
        if (f->matched == 0) {
            const char *start = memchr(chunk.at + i, gtube[0], chunk.len - i);
            if (!start)
                break;
            i = (size_t)(start - chunk.at) + 1;
            f->matched = 1;
            continue;
        }
        /* The first letter stands nowhere else but at the end: a mismatch starts over at most one back. */
        char c = chunk.at[i++];
        if (c == gtube[f->matched])
            f->matched++;
        else
            f->matched = c == gtube[0];
        f->found = f->matched == sizeof gtube - 1;
    }
    return f->found;
}

/* "Yes" matches "YES" and "Yes, score=9.1", but not "Yesterday". */
static bool value_matches(struct str value, struct str wanted) {
    if (!str_starts_nocase(value, wanted))
        return false;
    char next = value.len > wanted.len ? ascii_lower(value.at[wanted.len]) : ' ';
    return !(next >= 'a' && next <= 'z') && !(next >= '0' && next <= '9');
}

enum verdict verdict_of(struct arena *arena, const struct policy *p, const struct connector *connector,
                        const struct header *header, bool gtube_found, struct str *ret_why) {
    *ret_why = STR("");
    if (gtube_found) {
        *ret_why = STR("the message has the GTUBE test string");
        return VERDICT_SPAM;
    }
    if (!connector || !connector->trust_verdict || !p->verdict_header_name.len)
        return VERDICT_CLEAN;
    for (const struct header_field *f = NULL; (f = header_find(header, p->verdict_header_name, f));) {
        if (!value_matches(header_unfold(arena, f->value), p->verdict_header_value))
            continue;
        *ret_why = str_printf(arena, "the trusted connector \"%.*s\" marked the message with %.*s: %.*s",
                              STR_FMT(connector->name), STR_FMT(p->verdict_header_name),
                              STR_FMT(p->verdict_header_value));
        return VERDICT_SPAM;
    }
    return VERDICT_CLEAN;
}
