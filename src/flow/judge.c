#include "flow/judge.h"

const struct scan_copy_place *judge_copy_place(struct flow *flow, const struct settings *settings,
                                               struct arena *arena) {
    struct scan_copy_place *place = arena_new_of(arena, struct scan_copy_place);
    *place = (struct scan_copy_place){
        .folder = settings->spool_dir,
        .min_free = (uint64_t)settings->spool.min_free,
        .held = &flow_here(flow)->copies_held,
    };
    return place;
}
