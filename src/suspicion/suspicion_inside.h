/* suspicion_inside.h - what suspicion*.c share. */
#pragma once
#include "suspicion/suspicion.h"

#include <stdatomic.h>

struct suspicion {
    struct suspicion_options options;
    struct worker *owner;
    struct pattern *pattern;
    struct surge *surge;
    struct map **views; /* of each worker: kind and name -> struct view */
    unsigned view_count;
    bool running; /* the workers are; before that, everything is this thread's */
    unsigned ticks;
    const char *path; /* of the snapshot */
    struct buf snapshot;
    size_t saved; /* places that are in it */
    bool saving;
    _Atomic uint64_t pending, lost, subjects, suspects, found;
};

/* What was found goes to the views, the desk, the log and the alerts. On the owner. */
void suspicion_act(struct suspicion *, const struct pattern_findings *, int64_t now);
void suspicion_tell_surge(struct suspicion *, const struct surge_alert *, int64_t now);
/* The views of all workers; `reason` "": no longer. */
void suspicion_show(struct suspicion *, enum pattern_kind, struct str name, struct str reason, int64_t until);

/* All of them; off: nobody. */
void suspicion_show_all(struct suspicion *, bool on);
struct map *suspicion_free_view(struct map *);

/* The snapshot. */
void suspicion_read(struct suspicion *, bool apply);
/* On the owner: begins one, unless it is under way. */
void suspicion_save(struct suspicion *);
