/* surge_inside.h - what surge*.c share. Not for others. */
#pragma once
#include "base/map.h"
#include "detection/surge.h"

enum { STEPS = 3, STEP_MS = 600000, TOP = 6, NAME = 128, SAMPLES = 6, STEPS_A_DAY = 144, ORDINARY = 100 };
enum { STEPS_BACK = 6 }; /* a clock that goes back by less is waited for */

enum share { SHARE_IN, SHARE_UNSENT, SHARE_FAILED, SHARE_UNKNOWN, SHARE_SPAM, SHARES };
enum axis { AXIS_DOMAIN, AXIS_SENDER, AXIS_SERVER, AXIS_RECIPIENT, AXES }; /* RECIPIENT: of what comes in */

/* The most frequent names, by the method of Space-Saving: none with over a sixth of all is missing, and of
 * `count` all but `missed` are certainly its own. */
struct top {
    struct top_name {
        uint32_t hash, count, missed;
        char name[NAME];
    } at[TOP];
};

struct step {
    uint32_t counts[SHARES];
    struct top tops[AXES];
};

struct tenant_reports {
    char name[NAME];
    int64_t step; /* number of the newest */
    struct step steps[STEPS];
    uint32_t usual; /* of half an hour, in sixteenths */
    bool active;
    enum surge_cause cause;
    struct sample {
        char trace_id[32], recipient[NAME], reply[NAME];
    } samples[SAMPLES];
    unsigned sampled;
};
_Static_assert(sizeof(struct tenant_reports) <= SURGE_BYTES, "SURGE_BYTES");

struct surge {
    struct pattern_rules rules;
    struct map *tenants;
};

/* Cuts to what there is room for, and ends it with a NUL. */
void surge_keep(char *to, size_t size, struct str from);
uint32_t surge_hash(struct str name);
/* Found or made. */
struct tenant_reports *surge_tenant(struct surge *, struct str tenant, int64_t now);
