#include "detection/pattern_reply.h"

/* In the receivers' words, lower case; "a*b": a, and b after it. */
static const char *const unknown_words[] = {"user unknown",
                                            "unknown user",
                                            "recipient unknown",
                                            "unknown recipient",
                                            "no such user",
                                            "no such recipient",
                                            "no such mailbox",
                                            "no such person",
                                            "no such address",
                                            "no mailbox",
                                            "mailbox not found",
                                            "mailbox unavailable",
                                            "mailbox does not exist",
                                            "mailbox invalid",
                                            "invalid mailbox",
                                            "unknown mailbox",
                                            "invalid recipient",
                                            "recipient not found",
                                            "recipient does not exist",
                                            "user not found",
                                            "user does not exist",
                                            "user not known",
                                            "user doesn't have",
                                            "recipient*was not found",
                                            "user*was not found",
                                            "user*does not exist",
                                            "account*does not exist",
                                            "account that you tried to reach does not exist",
                                            "not a valid recipient",
                                            "not a valid mailbox",
                                            "not a known user",
                                            "not our user",
                                            "address unknown",
                                            "address does not exist",
                                            "unknown local",
                                            "unknown address",
                                            "unknown or illegal alias",
                                            "no account by that name",
                                            "is not a valid user",
                                            "rcpt*does not exist",
                                            "could not be found"};

static const char *const spam_words[] = {"spam",
                                         "unsolicited",
                                         "junk mail",
                                         "bulk mail",
                                         "bulk email",
                                         "ube",
                                         "content rejected",
                                         "unacceptable content",
                                         "phish",
                                         "nature of the content",
                                         "virus content",
                                         "mail content denied",
                                         "banned content",
                                         "message filtered",
                                         "suspicious content"};

/* Whatever else it says, this is about where the mail came from, who vouched for it, or its form. */
static const char *const address_words[] = {
    "reputation", "blacklist",  "blocklist",   "block list", "black list",  "denylist",
    "dnsbl",      "rbl",        "listed",      "spamhaus",   "spamcop",     "barracuda",
    "sorbs",      "ip address", "client host", "your ip",    "reverse dns", "ptr record",
    "rate limit", "dmarc",      "dkim",        "spf ",       " rfc "};

static bool says(struct str text, const char *words) {
    struct str rest = str_of(words), part;
    while (str_cut(&rest, '*', &part)) {
        ptrdiff_t at = str_find_nocase(text, part);
        if (at < 0)
            return false;
        text = str_from_index(text, (size_t)at + part.len);
    }
    return true;
}

static bool says_any(struct str text, const char *const *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (says(text, list[i]))
            return true;
    return false;
}
#define SAYS_ANY(text, list) says_any((text), (list), sizeof(list) / sizeof *(list))

/* "ube" stands in many words. */
static bool says_spam(struct str text) {
    for (size_t i = 0; i < sizeof spam_words / sizeof *spam_words; i++) {
        if (strcmp(spam_words[i], "ube") != 0 ? says(text, spam_words[i])
                                              : says(text, " ube") || str_starts_nocase(text, STR("ube")))
            return true;
    }
    return false;
}

static bool is_about_recipient(const struct outcome *o) {
    return str_eq(o->enhanced, STR("5.1.1")) || str_eq(o->enhanced, STR("5.1.10"));
}

enum reply_kind reply_kind(const struct outcome *o) {
    if (o->fate == OUTCOME_DONE)
        return REPLY_DELIVERED;
    if (is_about_recipient(o))
        return REPLY_UNKNOWN;
    bool policy = !o->enhanced.len || str_starts(o->enhanced, STR("5.7.")) ||
                  str_starts(o->enhanced, STR("5.6.")) || str_starts(o->enhanced, STR("5.0.")) ||
                  str_eq(o->enhanced, STR("5.3.0"));
    if (policy && says_spam(o->text))
        return SAYS_ANY(o->text, address_words) ? REPLY_OTHER : REPLY_SPAM;
    bool recipient = !o->enhanced.len || str_starts(o->enhanced, STR("5.1.")) ||
                     str_starts(o->enhanced, STR("5.0.")) || str_starts(o->enhanced, STR("5.2.1"));
    if (recipient && o->code / 100 == 5 && SAYS_ANY(o->text, unknown_words))
        return REPLY_UNKNOWN;
    return REPLY_OTHER;
}
