/* settings.h - `identity { }`: what an operator may say about the DNS of the addresses.
 */
#pragma once
#include "base/ip_range.h"
#include "config/config.h"

struct pools;

/* A zone that is ours, as configured. */
struct identity_zone {
    struct str name; /* lower case, no final dot */
    bool delegated;  /* RFC 2317: "16-28.2.0.192.in-addr.arpa" and the like; then: */
    struct ip_range range;
};

struct name_server {
    struct str name;     /* lower case, no final dot */
    const struct ip *at; /* its addresses, where the zone holds it itself; may be none */
    size_t count;
};

/* When the daemon repeats the survey (survey.h). */
enum identity_check {
    IDENTITY_CHECK_OFF,
    IDENTITY_CHECK_TTL,   /* when the first of the answers has ended, within bounds */
    IDENTITY_CHECK_EVERY, /* as often as is said */
};

struct identity_settings {
    struct str domain; /* the includes for customers are spf.DOMAIN and POOL.spf.DOMAIN */
    bool domain_given; /* else it is the organisational domain of the first site's EHLO name */
    const struct identity_zone *zones;
    size_t zone_count;
    const struct name_server *servers;
    size_t server_count;
    struct str contact;   /* "hostmaster@example.net" */
    struct str dmarc;     /* "p=none" */
    int64_t ttl;          /* seconds */
    struct str primary;   /* "192.0.2.53@53", where updates go; empty: not set */
    const char *key;      /* absolute name of the TSIG key's file; NULL: updates are not signed */
    bool confirm;         /* an address that is not forward-confirmed rests (gate.h) */
    bool confirm_private; /* private ones too: somebody wrote so */
    int64_t recheck_ms;   /* after a denial */
    enum identity_check check;
    unsigned check_rate; /* questions a second */
    int64_t check_ms;    /* IDENTITY_CHECK_EVERY */
};

/* The table of `identity`, for the configuration's root. */
extern const struct config_option identity_options[];
/* `state` is where relative file names start. Problems go to `errors`; the result then lacks what was wrong.
 * In the arena. */
struct identity_settings identity_load(struct arena *, const struct config_node *root, const char *state,
                                       const struct pools *, struct config_errors *);
