#include "detection/sender_cause.h"

const char *sender_cause_word(enum sender_cause cause) {
    switch (cause) {
#define X(name, number, word, text)                                                                          \
    case CAUSE_##name:                                                                                       \
        return word;
        SENDER_CAUSES(X)
#undef X
    default:
        return NULL;
    }
}

const char *sender_cause_text(enum sender_cause cause) {
    switch (cause) {
#define X(name, number, word, text)                                                                          \
    case CAUSE_##name:                                                                                       \
        return text;
        SENDER_CAUSES(X)
#undef X
    default:
        return NULL;
    }
}

struct str sender_counts_text(struct arena *arena, const struct sender_counts *c) {
    uint64_t per_mille = c->mail ? (uint64_t)c->spam * 1000 / c->mail : 0;
    return str_printf(arena,
                      "OutboundSpamLast24Hours=%u;OutboundMailLast24Hours=%u;OutboundSpamPercent=%llu;"
                      "OutboundRecipientsLast24Hours=%u;UnknownRecipientsLast24Hours=%u;"
                      "DestinationsLast24Hours=%u;SpamRefusalsLast24Hours=%u",
                      c->spam, c->mail, (unsigned long long)per_mille, c->recipients, c->unknown,
                      c->destinations, c->refusals);
}
