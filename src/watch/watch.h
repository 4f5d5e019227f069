/* watch.h - the watch over this node's source addresses: whether receivers can confirm their names, and
 * whether blocklists have them (identity/gate.h, identity/blocklist.h).
 *
 * It belongs to the API's worker: its fibers ask the DNS, tell the workers what rests, raise alerts, and keep
 * what is believed in <state>/watch.json. Opened before the workers run, so that no restart wakes anybody.
 */
#pragma once
#include "api/api.h"
#include "flow/flow.h"
#include "identity/blocklist.h"
#include "identity/gate.h"
#include "identity/watch_history.h"
#include "rt/fiber.h"

/* An address of this node's site. */
struct watch_target {
    struct ip ip;
    const struct pool *pool;
    bool gated;       /* the gate asks about it */
    bool asking;      /* at this moment */
    size_t listed_at; /* its index for the blocklists + 1; 0: they are not asked about it */
    char *reasons[2]; /* why it rests, as told to the workers; NULL: it does not. Index: enum watch_tells */
    bool alerts[2];   /* an alert is open */
    bool beyond[2];   /* it is one of those that share one */
};
enum watch_tells { WATCH_LISTED, WATCH_UNCONFIRMED };
enum watch_said { WATCH_SAID_NOTHING, WATCH_SAID_BELIEVED, WATCH_SAID_PARTLY, WATCH_SAID_NOT };

struct watch {
    struct flow *flow;
    struct settings *settings; /* lists and pools below are its */
    struct gate *gate;
    struct blocklist_watch *lists; /* NULL: none are watched */
    struct watch_target *targets;
    size_t count;
    struct map *by_ip; /* address -> struct watch_target */
    struct ip *listed; /* the addresses that blocklists are asked about */
    struct watch_target **listed_targets;
    size_t listed_count;
    size_t *out; /* of each pool of the settings: how many of its addresses rest */
    /* enum watch_tells: alerts of single addresses that are open; addresses beyond those that may have one of
     * their own; whether the alert that they share is open */
    size_t own_alerts[2], beyond[2];
    bool shared_alert[2];
    unsigned char *said; /* of each list, enum watch_said: what the log says of it */
    uint64_t generation; /* of the five above */
    size_t witness;      /* the one asked last */
    size_t cursor;       /* of the gate's search */
    size_t fresh;        /* of its search for those never asked */
    unsigned asking;
    int64_t gate_free_at, sweep_at, save_at, save_failed; /* wall ms */
    int64_t now;                                          /* wall ms of the last turn */
    bool dirty;                                           /* there is news to save */
    struct waiters news;
    const char *path;
    struct buf changes; /* lines for the history that wait to be written */
    bool silent;        /* what is told is nothing new */
};

/* ---- watch.c ---- */

/* When all rooms are open, before the workers run. What it writes in the arena lives as long as it. */
struct watch *watch_open(struct flow *, struct settings *, struct arena *);
/* A fiber of the API's worker, from start to end; `arg` is the watch. */
void watch_sources(void *arg);
/* When all fibers have ended. NULL is fine; returns NULL. */
struct watch *watch_close(struct watch *);

/* ---- watch_adopt.c ---- */

/* A configuration becomes the watch's: what is known of its addresses stays known. */
void watch_adopt(struct watch *, struct settings *);
void watch_forget(struct watch *);                                          /* frees all of it */
struct watch_target *watch_target(const struct watch *, const struct ip *); /* NULL: not ours */

/* ---- watch_ask.c ---- */

/* Starts what is due; the wall ms of what comes next. In a fiber. */
int64_t watch_ask(struct watch *);

/* ---- watch_tell.c ---- */

/* Compares what is believed of the address with what the workers were told, and tells the difference. */
void watch_tell(struct watch *, struct watch_target *);
/* Tells what they were told once more. */
void watch_tell_again(struct watch *, const struct watch_target *);
/* For the history; `by` is a list or a cause. */
void watch_change(struct watch *, const struct ip *, enum watch_event, struct str by, struct str text);
/* The history of that, where it rests or did `before`. */
void watch_rested(struct watch *, const struct watch_target *, enum watch_tells, bool before);
/* Raises the alerts that are true of it, and ends those that are over. */
void watch_alert(struct watch *, struct watch_target *);
/* Raises or ends the alert that addresses share when many are in trouble. */
void watch_alert_shared(struct watch *);
#define WATCH_SHARED_SUBJECT "more addresses"
/* Does it rest? */
bool watch_out(const struct watch_target *);
/* Its address is no longer one of this node. */
void watch_drop(struct watch *, struct watch_target *);
/* Is it in force on the list, and when did that begin? */
bool watch_listed(const struct watch *, const struct watch_target *, size_t list,
                  struct blocklist_entry *ret);

/* ---- watch_show.c: for the API, on its worker ---- */

void watch_status(const struct watch *, void (*add)(void *, const char *, const char *, int64_t), void *to);
void watch_metrics(const struct watch *, void (*add)(void *, const struct api_metric *), void *to);
/* How many lists have the address, and their names. */
int64_t watch_listings(const struct watch *, const struct ip *, struct arena *, struct str *ret_names);
/* FCrDNS and lists of an address; and, from the store of alerts, its history. Copied into the arena. */
void watch_show(const struct watch *, const struct ip *, struct arena *, struct api_source_detail *ret);
void watch_history(struct log *, const char *trace_dir, const struct ip *, struct arena *,
                   struct api_source_detail *ret);
