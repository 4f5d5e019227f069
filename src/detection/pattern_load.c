/* The section `detection`, and the actions of policies. */
#include "detection/pattern_rules.h"

static const char *const action_words[] = {"off", "alert", "high-risk", "restrict-today", "restrict", NULL};
const char *const pattern_policy_words[] = {"off",      "alert",     "high-risk", "restrict-today",
                                            "restrict", "detection", NULL};
enum { AS_DETECTION = PATTERN_RESTRICT + 1 };
#define DAY_MS INT64_C(86400000)

/* Numbers: option, member, default, least, most, what it is. */
#define PATTERN_NUMBERS(X)                                                                                   \
    X("spam-share", shares[SIGN_SPAM].share, "300", 1, 1000,                                                 \
      "Of a thousand messages of the last hour, or of 24, so many judged spam are too many.")                \
    X("spam-minimum", shares[SIGN_SPAM].least, "10", 1, 1000000,                                             \
      "Messages judged spam below which the share says nothing; of a connector three times as many, of a "   \
      "tenant ten times.")                                                                                   \
    X("spam-restrict-share", shares[SIGN_SPAM].restrict_share, "600", 0, 1000,                               \
      "From this share on, with three times the minimum, `high-risk` becomes `restrict-today`; 0: never.")   \
    X("unknown-share", shares[SIGN_UNKNOWN].share, "400", 1, 1000,                                           \
      "Of a thousand recipients with a final answer, so many that don't exist are too many.")                \
    X("unknown-minimum", shares[SIGN_UNKNOWN].least, "20", 1, 1000000,                                       \
      "Unknown recipients below which the share says nothing.")                                              \
    X("unknown-restrict-share", shares[SIGN_UNKNOWN].restrict_share, "600", 0, 1000,                         \
      "As `spam-restrict-share`.")                                                                           \
    X("refusal-share", shares[SIGN_REFUSALS].share, "200", 1, 1000,                                          \
      "Of a thousand recipients with a final answer, so many refused as spam are too many.")                 \
    X("refusal-minimum", shares[SIGN_REFUSALS].least, "10", 1, 1000000,                                      \
      "Refusals below which the share says nothing.")                                                        \
    X("refusal-restrict-share", shares[SIGN_REFUSALS].restrict_share, "500", 0, 1000,                        \
      "As `spam-restrict-share`.")                                                                           \
    X("growth", growth, "10", 2, 1000,                                                                       \
      "Recipients of an hour, or of 24, are growth when they are so many times the most that is usual for "  \
      "the "                                                                                                 \
      "sender.")                                                                                             \
    X("growth-hour", growth_hour, "200", 1, 1000000, "Recipients of an hour below which nothing is growth.") \
    X("growth-day", growth_day, "500", 1, 10000000, "Recipients of 24 hours below which nothing is growth.") \
    X("destinations", destinations, "50", 3, 1000000,                                                        \
      "Domains in 24 hours that the sender never wrote to are many from here on, when they are three times " \
      "the "                                                                                                 \
      "usual too.")                                                                                          \
    X("network", network, "50", 1, 1000000,                                                                  \
      "Recipients in an hour from networks (/24, /48) that are new within a day are much from here on.")     \
    X("ndr-surge", surge, "50", 5, 1000000,                                                                  \
      "Reports of failed delivery in half an hour, of a tenant, below which nothing is a surge.")            \
    X("ndr-growth", surge_growth, "5", 2, 1000, "A surge is so many times the usual number of them.")

const struct config_option detection_options[] = {
    {.name = "apply",
     .kind = CONFIG_BOOL,
     .preset = "on",
     .doc = "`off`: what senders do is remembered, but nobody is found suspicious."},
    {.name = "senders",
     .kind = CONFIG_INTEGER,
     .preset = "200000",
     .min = 100,
     .max = 20000000,
     .reload = CONFIG_RESTART,
     .doc = "Of how many senders, connectors, tenants and forwards the pattern is kept, 544 bytes each when "
            "they "
            "are active; the least recently active make room."},
#define X(option_, member_, preset_, min_, max_, doc_)                                                       \
    {.name = option_, .kind = CONFIG_INTEGER, .preset = preset_, .min = min_, .max = max_, .doc = doc_},
    PATTERN_NUMBERS(X)
#undef X
        {.name = "learning",
         .kind = CONFIG_DURATION,
         .preset = "7d",
         .max = 60 * DAY_MS,
         .doc =
             "How long a sender must be known before growth, new destinations and new networks are judged."},
#define X(name_, option_, cause_, preset_, doc_)                                                             \
    {.name = option_,                                                                                        \
     .kind = CONFIG_ENUM,                                                                                    \
     .preset = preset_,                                                                                      \
     .words = action_words,                                                                                  \
     .doc = "What happens to a sender " doc_ "; a policy may say otherwise."},
    PATTERN_SIGNS(X)
#undef X
        {.name = "on-connector",
         .kind = CONFIG_ENUM,
         .preset = "high-risk",
         .words = action_words,
         .doc = "The most that happens to a connector with such signs."},
    {.name = "on-tenant",
     .kind = CONFIG_ENUM,
     .preset = "alert",
     .words = action_words,
     .doc = "The most that happens to a tenant of whose mail much is judged spam."},
    {.kind = CONFIG_END},
};

struct pattern_rules pattern_rules_load(const struct config_node *node) {
    struct pattern_rules r = {
#define X(option_, member_, preset_, min_, max_, doc_) .member_ = (uint32_t)config_integer(node, option_),
        PATTERN_NUMBERS(X)
#undef X
            .apply = config_bool(node, "apply"),
        .senders = (uint32_t)config_integer(node, "senders"),
        .learning_ms = config_duration_ms(node, "learning"),
        .connector = (uint8_t)config_enum(node, "on-connector"),
        .tenant = (uint8_t)config_enum(node, "on-tenant"),
    };
#define X(name_, option_, cause_, preset_, doc_)                                                             \
    r.actions.of[SIGN_##name_] = (uint8_t)config_enum(node, option_);
    PATTERN_SIGNS(X)
#undef X
    return r;
}

struct pattern_rules pattern_rules_default(void) {
    static const struct config_option root[] = {
        {.name = "detection", .kind = CONFIG_SECTION, .options = detection_options, .doc = "."},
        {.kind = CONFIG_END},
    };
    struct arena *arena = arena_new(0);
    struct config_errors *errors = config_errors_new();
    const struct config_node *node = config_parse(arena, STR(""), "defaults", root, errors);
    struct pattern_rules r = pattern_rules_load(config_section_or_empty(node, "detection"));
    config_errors_free(errors);
    arena_free(arena);
    return r;
}

struct pattern_actions pattern_actions_load(const struct config_node *policy,
                                            const struct pattern_actions *detection) {
    struct pattern_actions a = *detection;
    int word;
#define X(name_, option_, cause_, preset_, doc_)                                                             \
    word = config_enum(policy, option_);                                                                     \
    if (word >= 0 && word != AS_DETECTION)                                                                   \
        a.of[SIGN_##name_] = (uint8_t)word;
    PATTERN_SIGNS(X)
#undef X
    return a;
}
