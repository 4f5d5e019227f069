/* settings.h - what an operator may say about delivery: `delivery { }` and `destination "name" { }` (design,
 * section 6).
 *
 * All memory belongs to whoever filled the struct. The queue copies what it is
 * given (queue_set_settings), so a reload may free the old configuration at once.
 */
#pragma once
#include "base/ip.h"
#include "config/config.h"

struct delivery_settings {
    uint16_t port;                        /* 25 */
    int64_t first_retry_ms, max_retry_ms; /* 5 min, 1 h */
    int64_t expire_ms;                    /* 24 h */
    unsigned connections;                 /* 20: per receiver and pool */
    unsigned messages_per_connection;     /* 100 */
    unsigned recipients_per_transaction;  /* 50 */
    bool allow_private;                   /* false */
};

enum ehlo_choice { EHLO_BY_POOL, EHLO_SITE, EHLO_PTR, EHLO_NAME };

struct destination_settings {
    struct str name;
    const struct str *mx; /* lower case; "*.google.com" matches any name below google.com */
    size_t mx_count;
    const struct str *domains; /* lower-case A-labels; "*.example.com" too */
    size_t domain_count;
    struct str route;                 /* "host:port", "[::1]:25"; empty: by MX */
    enum ehlo_choice ehlo;            /* EHLO_BY_POOL: not set */
    struct str ehlo_name;             /* with EHLO_NAME */
    unsigned connections;             /* 0: as delivery */
    unsigned messages_per_connection; /* 0: as delivery */
};

struct destinations {
    const struct destination_settings *at; /* in written order: the first that matches counts */
    size_t count;
};

/* The tables of `delivery` and `destination`, for the configuration's root, and how they are read. Problems
 * go to `errors`; memory is the arena's. */
extern const struct config_option delivery_options[];
extern const struct config_option destination_options[];
struct delivery_settings delivery_load(const struct config_node *root, struct config_errors *);
struct destinations destinations_load(struct arena *, const struct config_node *root, struct config_errors *);

/* A pool that has a schedule of its own; 0 or less: as delivery. */
struct pool_schedule {
    struct str pool;
    int64_t first_retry_ms, max_retry_ms, expire_ms;
};

/* Where we listen. An address of all zeros (0.0.0.0, ::) stands for every address of this host. */
struct own_endpoint {
    struct ip ip;
    uint16_t port;
};

struct queue_settings {
    struct delivery_settings delivery;
    struct destinations destinations;
    const struct pool_schedule *schedules;
    size_t schedule_count;
    const struct own_endpoint *own; /* for loops to ourselves */
    size_t own_count;
    const struct str *own_names; /* node, EHLO names */
    size_t own_name_count;
};

/* The defaults that the comments above name. */
struct delivery_settings delivery_settings_default(void);

/* A deep copy in the arena. */
const struct queue_settings *queue_settings_copy(struct arena *, const struct queue_settings *);

struct destination_settings destination_settings_copy(struct arena *, const struct destination_settings *);

/* Does "*.google.com" or "mx.google.com" match this name? Without regard to case; a final dot is ignored. */
bool destination_pattern_matches(struct str pattern, struct str name);

/* The destination of a recipient's domain, NULL: none says `domains` for it. */
const struct destination_settings *destination_of_domain(const struct queue_settings *, struct str domain);
/* NULL: none has this name. */
const struct destination_settings *destination_named(const struct queue_settings *, struct str name);
/* The destination of an MX host, NULL: none. */
const struct destination_settings *destination_of_mx(const struct queue_settings *, struct str host);
