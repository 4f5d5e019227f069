/* pattern_rules.h - what counts as a suspicious sending pattern, and what happens then: `detection { }`.
 */
#pragma once
#include "config/config.h"

/* In order of strength. HIGH_RISK: its mail has class high-risk while the sign lasts. */
enum pattern_action {
    PATTERN_OFF,
    PATTERN_ALERT,
    PATTERN_HIGH_RISK,
    PATTERN_RESTRICT_TODAY,
    PATTERN_RESTRICT
};

/* The signs: enum, option, the cause (sender_cause.h), default action, what it is. The first three are
 * shares. SPAM_SHARE is the first: a tenant is judged by it alone. */
#define PATTERN_SIGNS(X)                                                                                     \
    X(SPAM, "on-spam-share", SPAM_SHARE, "high-risk", "of whose mail much is judged spam")                   \
    X(UNKNOWN, "on-unknown-recipients", UNKNOWN_RECIPIENTS, "high-risk",                                     \
      "of whose recipients many don't exist (directory harvest)")                                            \
    X(REFUSALS, "on-refusals", REFUSALS, "high-risk", "whose mail receivers refuse as spam")                 \
    X(GROWTH, "on-growth", GROWTH, "alert", "who sends far more than ever")                                  \
    X(DESTINATIONS, "on-destinations", DESTINATIONS, "alert",                                                \
      "who writes to many domains for the first time")                                                       \
    X(NETWORK, "on-network", NETWORK, "alert", "who sends much from a new network")                          \
    X(TOGETHER, "on-together", NETWORK, "high-risk",                                                         \
      "with two of: a new network; growth or new destinations; half of the share of spam or of refusals")

enum pattern_sign {
#define X(name, option, cause, preset, doc) SIGN_##name,
    PATTERN_SIGNS(X)
#undef X
        SIGNS,
    SIGN_SHARES = SIGN_GROWTH /* those before it are shares */
};

struct pattern_actions {
    uint8_t of[SIGNS]; /* enum pattern_action */
};

/* Of some number of messages, or recipients, a share per mille; from `least` bad ones on. */
struct pattern_share {
    uint32_t share, least;
    uint32_t restrict_share; /* with three times `least`: HIGH_RISK becomes RESTRICT_TODAY; 0: never */
};

struct pattern_rules {
    bool apply;       /* false: counted, but nobody is found */
    uint32_t senders; /* of how many senders the history is kept */
    struct pattern_share shares[SIGN_SHARES];
    uint32_t growth;                  /* times the most that it usually has in an hour, or in a day */
    uint32_t growth_hour, growth_day; /* recipients below which nothing is growth */
    uint32_t destinations;            /* new domains in 24 hours */
    uint32_t network;                 /* recipients in an hour from networks new within a day */
    int64_t learning_ms;              /* how long a sender is known before growth and newness are judged */
    struct pattern_actions actions;
    uint8_t connector, tenant; /* the most that happens to these: pattern_action */
    uint32_t surge;            /* reports of failed delivery in half an hour */
    uint32_t surge_growth;     /* times the usual */
};

extern const struct config_option detection_options[];

/* The defaults of the table, for tests. */
struct pattern_rules pattern_rules_default(void);
/* From the section `detection`. */
struct pattern_rules pattern_rules_load(const struct config_node *);

/* A policy's own actions; what it doesn't name is as in `detection`. */
struct pattern_actions pattern_actions_load(const struct config_node *policy, const struct pattern_actions *);

/* The rows of a policy's table. */
extern const char *const pattern_policy_words[];
#define PATTERN_POLICY_OPTION(name_, option_, cause_, preset_, doc_)                                         \
    {.name = option_,                                                                                        \
     .kind = CONFIG_ENUM,                                                                                    \
     .preset = "detection",                                                                                  \
     .words = pattern_policy_words,                                                                          \
     .doc = "What happens to a sender " doc_ "; `detection`: as that section says."},
