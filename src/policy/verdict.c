#include "policy/verdict.h"

const char *verdict_name(enum verdict v) {
    switch (v) {
    case VERDICT_UNSCANNED:
        return "unscanned";
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

static const char eicar[] = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";

bool eicar_feed(struct eicar_finder *f, struct str chunk) {
    size_t i = 0;
    while (!f->found && i < chunk.len) {
        if (f->elsewhere) {
            const char *end = memchr(chunk.at + i, '\n', chunk.len - i);
            if (!end)
                break;
            i = (size_t)(end - chunk.at) + 1;
            *f = (struct eicar_finder){0};
            continue;
        }
        char c = chunk.at[i++];
        if (c == '\n')
            f->matched = 0;
        else if (c == eicar[f->matched])
            f->found = ++f->matched == sizeof eicar - 1;
        else
            f->elsewhere = true;
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

/* Has the header that field with that value? */
static bool marked(struct arena *arena, const struct header *header, const struct verdict_header *mark) {
    for (const struct header_field *f = NULL; mark->name.len && (f = header_find(header, mark->name, f));)
        if (value_matches(header_unfold(arena, f->value), mark->value))
            return true;
    return false;
}

static struct str trusted(struct arena *arena, const struct connector *connector,
                          const struct verdict_header *mark) {
    return str_printf(arena, "the trusted connector \"%.*s\" marked the message with %.*s: %.*s",
                      STR_FMT(connector->name), STR_FMT(mark->name), STR_FMT(mark->value));
}

enum verdict verdict_of(struct arena *arena, const struct policy *p, const struct connector *connector,
                        const struct header *header, struct verdict_marks marks, struct str *ret_why) {
    bool trust = connector && connector->trust_verdict;
    *ret_why = STR("");
    if (marks.eicar) {
        *ret_why = STR("the message has the EICAR test string");
        return VERDICT_MALWARE;
    }
    if (trust && marked(arena, header, &p->malware_header)) {
        *ret_why = trusted(arena, connector, &p->malware_header);
        return VERDICT_MALWARE;
    }
    if (marks.gtube) {
        *ret_why = STR("the message has the GTUBE test string");
        return VERDICT_SPAM;
    }
    if (trust && marked(arena, header, &p->spam_header)) {
        *ret_why = trusted(arena, connector, &p->spam_header);
        return VERDICT_SPAM;
    }
    return VERDICT_CLEAN;
}
